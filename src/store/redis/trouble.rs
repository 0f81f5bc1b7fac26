//! What an error of Redis means, how long to wait after it, and how often to speak of it.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::clock::Now;
use crate::entropy;

/// Whether the connection is of no use any more: it is broken, or leads to a server that can't serve us now.
///
/// Other refusals (no memory, no permission, a disk that is full) concern one command.
pub(super) fn ends_connection(error: &RedisError) -> bool {
    match error.clone().into_server_errors() {
        Some(errors) => errors
            .iter()
            .any(|(_, error)| USELESS_SERVER.contains(&error.code())),
        None => true,
    }
}

/// Whether the server has forgotten our script, or never knew it.
pub(super) fn lacks_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// Whether the key holds a value of another type.
pub(super) fn is_wrong_type(error: &RedisError) -> bool {
    error.code() == Some("WRONGTYPE")
}

const USELESS_SERVER: &[&str] = &[
    "ASK",
    "CLUSTERDOWN",
    "LOADING",
    "MASTERDOWN",
    "MOVED",
    "NOAUTH",
    "READONLY",
    "TRYAGAIN",
    "WRONGPASS",
];

/// Ever longer pauses, none of them predictable, so that nodes which lost the same server don't return in step.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    /// The next pause.
    pub(super) fn pause(&mut self) -> Duration {
        let longest = self.next;
        self.next = (longest * 2).min(PAUSE_MAX);
        let half = u64::try_from(longest.as_millis() / 2).unwrap_or(u64::MAX);
        Duration::from_millis(half + entropy::number() % half.max(1))
    }

    /// All is well: the next pause is short again.
    pub(super) fn reset(&mut self) {
        self.next = PAUSE_MIN;
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: PAUSE_MIN }
    }
}

const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Something to complain about, once a minute at most.
#[derive(Debug, Default)]
pub(super) struct Complaint(Mutex<Option<Instant>>);

impl Complaint {
    /// Whether to speak now.
    pub(super) fn is_due(&self, now: Now) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| last + COMPLAIN_EVERY <= now.mono);
        if is_due {
            *last = Some(now.mono);
        }
        is_due
    }

    /// What comes next is a new story.
    pub(super) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use redis::parse_redis_value;

    use super::*;

    #[test]
    fn a_refused_command_leaves_the_connection_alone() {
        let cases = [
            ("-OOM command not allowed\r\n", false),
            ("-WRONGTYPE Operation against a key\r\n", false),
            ("-NOPERM no permissions\r\n", false),
            ("-MISCONF can't persist\r\n", false),
            ("-ERR syntax error\r\n", false),
            ("-NOSCRIPT No matching script\r\n", false),
            ("-READONLY You can't write\r\n", true),
            ("-LOADING Redis is loading\r\n", true),
            ("-NOAUTH Authentication required\r\n", true),
            ("-MOVED 1 127.0.0.1:1\r\n", true),
            ("-CLUSTERDOWN The cluster is down\r\n", true),
        ];
        for (line, ends) in cases {
            let value = parse_redis_value(line.as_bytes()).unwrap();
            let error = value.extract_error().unwrap_err();
            assert_eq!(ends_connection(&error), ends, "{line}");
        }
        assert!(ends_connection(&std::io::Error::other("gone").into()));
    }

    #[test]
    fn pauses_grow_up_to_two_seconds_and_start_anew() {
        let mut backoff = Backoff::default();
        for longest in [50, 100, 200, 400, 800, 1600, 2000, 2000] {
            let pause = backoff.pause();
            let longest = Duration::from_millis(longest);
            assert!(longest / 2 <= pause && pause < longest, "{pause:?}");
        }
        backoff.reset();
        assert!(backoff.pause() < PAUSE_MIN);
    }
}

//! The sessions of this process, spread over shards, so that busy sessions seldom wait for each other.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, DefaultHasher, Hash, Hasher},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use crate::clock::UnixMillis;
use crate::ident::SessionId;
use crate::signaling::session::Session;
use crate::signaling::session::change::Change;
use crate::signaling::session::replica::Replica;

use super::log::EntryId;

#[derive(Debug)]
pub(super) struct Table {
    shards: Box<[Mutex<HashMap<SessionId, Entry>>]>,
    hasher: std::hash::RandomState,
}

/// A locked part of the table.
pub(super) type Shard<'t> = MutexGuard<'t, HashMap<SessionId, Entry>>;

/// One session, and what this node remembers about it.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) replica: Replica,
    /// The last entry of the log that is part of what is confirmed.
    pub(super) as_of: EntryId,
    pub(super) clockface: Clockface,
    /// Since when it is kept without members.
    pub(super) kept_since: Option<Instant>,
}

/// What this node's members were told, and when they are to be told of the timer.
#[derive(Debug, Default)]
pub struct Clockface {
    /// When they are to be told of the timer next.
    pub due: Option<UnixMillis>,
    told: Latest<UnixMillis, ECHOES_MAX>,
    passed_on: Latest<Fingerprint, MESSAGES_MAX>,
}

/// What came last: at most `MAX`, and the eldest goes first.
#[derive(Debug)]
struct Latest<T, const MAX: usize>(VecDeque<T>);

/// What a message is known by: its name and its text, the stamp too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// Of an event and what it carries.
    #[must_use]
    pub fn of(event: &str, payload: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        (event, payload).hash(&mut hasher);
        Self(hasher.finish())
    }
}

impl Clockface {
    /// Members are told something with this timestamp.
    pub fn tell(&mut self, timestamp: UnixMillis) {
        self.told.add(timestamp);
    }

    /// Whether members were told something with this timestamp lately: a client that sends it is but an echo.
    #[must_use]
    pub fn echoes(&self, timestamp: UnixMillis) -> bool {
        self.told.has(&timestamp)
    }

    /// Members are passed a message of one of them, as stamped here.
    pub fn pass_on(&mut self, message: Fingerprint) {
        self.passed_on.add(message);
    }

    /// Whether members were passed this very message lately: who sends it is but an echo. A stamp alone would not do:
    /// those who speak by their own clock may hit it by chance, and what is equal may be said again.
    #[must_use]
    pub fn has_passed_on(&self, message: Fingerprint) -> bool {
        self.passed_on.has(&message)
    }
}

impl<T: PartialEq, const MAX: usize> Latest<T, MAX> {
    fn add(&mut self, new: T) {
        if self.0.back() == Some(&new) {
            return;
        }
        if self.0.len() >= MAX {
            self.0.pop_front();
        }
        self.0.push_back(new);
    }

    fn has(&self, one: &T) -> bool {
        self.0.contains(one)
    }
}

impl<T, const MAX: usize> Default for Latest<T, MAX> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

/// Clients that echo are behind by a moment, which is a few of these at most.
const ECHOES_MAX: usize = 64;
/// More than a participant's candidates at once.
const MESSAGES_MAX: usize = 256;

impl Entry {
    pub(super) fn session(&self) -> &Session {
        self.replica.session()
    }

    /// Hands a change to whoever sees to it.
    pub(super) fn commit<R>(
        &mut self,
        change: Change,
        commit: impl FnOnce(&Session, &mut Clockface, Change) -> R,
    ) -> R {
        commit(self.replica.session(), &mut self.clockface, change)
    }
}

impl Table {
    pub(super) fn shard(&self, id: &SessionId) -> Shard<'_> {
        let hash = self.hasher.hash_one(id);
        let at = hash % self.shards.len() as u64;
        lock(&self.shards[usize::try_from(at).unwrap_or_default()])
    }

    pub(super) fn for_each(&self, mut look: impl FnMut(&SessionId, &Entry)) {
        for shard in &self.shards {
            for (id, entry) in lock(shard).iter() {
                look(id, entry);
            }
        }
    }
}

impl Default for Table {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: std::hash::RandomState::new(),
        }
    }
}

const SHARDS: usize = 64;

fn lock(shard: &Mutex<HashMap<SessionId, Entry>>) -> Shard<'_> {
    // A session's functions leave it whole even if one of them panicked half-way through the news.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_members_were_told_lately_is_an_echo() {
        let mut clock = Clockface::default();
        assert!(!clock.echoes(UnixMillis(0)), "nobody was told anything");
        for millis in [30, 30, 25] {
            clock.tell(UnixMillis(millis));
        }
        assert!(clock.echoes(UnixMillis(30)) && clock.echoes(UnixMillis(25)));
        assert!(!clock.echoes(UnixMillis(29)));
        for millis in 100..100 + ECHOES_MAX as u64 {
            clock.tell(UnixMillis(millis));
        }
        assert!(clock.echoes(UnixMillis(100)));
        assert!(!clock.echoes(UnixMillis(25)), "long ago");
    }

    #[test]
    fn the_very_message_that_members_were_passed_lately_is_an_echo() {
        let mut clock = Clockface::default();
        let at = |stamp: u64| Fingerprint::of("offer", &format!(r#"{{"timestamp":{stamp}}}"#));
        clock.pass_on(at(30));
        assert!(clock.has_passed_on(at(30)));
        assert!(!clock.has_passed_on(at(31)), "it is said again");
        let other_event = Fingerprint::of("answer", r#"{"timestamp":30}"#);
        assert!(!clock.has_passed_on(other_event));
        (0..MESSAGES_MAX as u64).for_each(|more| clock.pass_on(at(100 + more)));
        assert!(clock.has_passed_on(at(100)));
        assert!(!clock.has_passed_on(at(30)), "long ago");
    }
}

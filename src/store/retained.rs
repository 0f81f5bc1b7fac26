//! Sessions without members: kept for a while, so that a reload, or a restart, finds what was there.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::ident::SessionId;

/// In the order in which they were left.
#[derive(Debug, Default)]
pub(super) struct Retained {
    left: VecDeque<(Instant, SessionId, usize)>,
    bytes: usize,
}

impl Retained {
    /// The session has no members from now on.
    pub(super) fn keep(&mut self, now: Instant, id: SessionId, bytes: usize) {
        self.bytes += bytes;
        self.left.push_back((now, id, bytes));
    }

    /// Takes those that have been kept long enough, and the oldest ones where there are too many, with the moment since
    /// which they were. Some may have members again, or have had some since.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(Instant, SessionId)> {
        let mut due = Vec::new();
        while let Some((since, _, _)) = self.left.front() {
            let is_late = *since + KEPT <= now;
            if !is_late && self.left.len() <= SESSIONS_MAX && self.bytes <= BYTES_MAX {
                break;
            }
            if let Some((since, id, bytes)) = self.left.pop_front() {
                self.bytes -= bytes;
                due.push((since, id));
            }
        }
        due
    }
}

/// Longer than any reload.
const KEPT: Duration = Duration::from_secs(600);
const SESSIONS_MAX: usize = 100_000;
const BYTES_MAX: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Now;

    #[test]
    fn they_are_kept_for_a_while_and_the_oldest_go_first_where_there_are_too_many() {
        let session = |number: usize| SessionId::parse(&number.to_string()).unwrap();
        let start = Now::read().mono;
        let mut retained = Retained::default();
        retained.keep(start, session(1), BYTES_MAX / 2);
        retained.keep(start, session(2), BYTES_MAX / 2);
        assert_eq!(retained.due(start), []);
        retained.keep(start + KEPT / 2, session(3), 1);
        assert_eq!(retained.due(start + KEPT / 2), [(start, session(1))]);
        assert_eq!(retained.due(start + KEPT), [(start, session(2))]);
        assert_eq!((retained.left.len(), retained.bytes), (1, 1));
    }
}

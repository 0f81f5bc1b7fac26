//! What is to be written of a session's keys: by which node, and when once more.
//!
//! While nodes still learn of each other's steps, each may believe for a moment that another one writes; and what one
//! writes may come after what another one wrote that knew more. So every node remembers for a while who has left, and
//! the one that writes in the end tells of them again.

use std::{
    mem,
    time::{Duration, Instant},
};

use crate::ident::ParticipantId;
use crate::signaling::session::json::Json;

/// What is to be written of a session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stale {
    /// Participants, timer and the rest.
    pub state: bool,
    /// It has, or had, a timer of ours: where it has none, a timer that is stored is the application's.
    pub timed: bool,
    /// It was ended since the keys were written.
    pub ended: bool,
    /// Redis may have an older copy: whatever stands there is replaced.
    pub anew: bool,
    /// The last signaling message.
    pub signal: Option<Json>,
    /// The last to leave come last; each once.
    departed: Vec<Departure>,
    /// When all nodes will know of the end, and of the last departure.
    settled: Option<Instant>,
}

#[derive(Clone, Debug, PartialEq)]
struct Departure {
    who: ParticipantId,
    /// When all nodes will know of it.
    settled: Instant,
}

impl Stale {
    /// The session is over.
    pub(super) fn end(&mut self, now: Instant) {
        self.ended = true;
        self.settled = Some(now + SETTLING);
    }

    /// These have left.
    pub(super) fn depart(&mut self, now: Instant, departed: impl Iterator<Item = ParticipantId>) {
        let settled = now + SETTLING;
        for who in departed {
            self.remember(Departure { who, settled });
            self.settled = Some(settled);
        }
    }

    /// Who left lately.
    pub fn departed(&self) -> impl Iterator<Item = &ParticipantId> {
        self.departed.iter().map(|departure| &departure.who)
    }

    /// Beyond what can be remembered, whatever stands in Redis is replaced.
    fn remember(&mut self, departure: Departure) {
        self.departed.retain(|known| known.who != departure.who);
        if self.departed.len() == DEPARTED_MAX {
            self.departed.remove(0);
            self.anew = true;
        }
        self.departed.push(departure);
    }

    /// What is to be written now, and what is to be kept.
    pub(super) fn split(
        mut self,
        now: Instant,
        is_keeper: bool,
        is_alone: bool,
        is_ahead: bool,
    ) -> (Option<Self>, Option<Self>) {
        if is_ahead {
            // Others read what it did no sooner than this node does.
            self.settled = self.settled.map(|_| now + SETTLING);
            for departure in &mut self.departed {
                departure.settled = now + SETTLING;
            }
        }
        let is_settled = self.settled.is_none_or(|settled| settled <= now) && !is_ahead;
        let signal = self.signal.take();
        let is_last = is_settled && self.settled.is_some();
        let writes = is_keeper && (self.state || is_last);
        let keeps = self.settled.is_some() && !is_settled && !(writes && is_alone);
        let is_told = writes || !is_keeper;
        let untold = |departure: &&Departure| departure.settled > now || !is_told;
        let later = keeps.then(|| Self {
            state: false,
            timed: self.timed,
            ended: self.ended && !writes,
            anew: self.anew && !writes,
            signal: None,
            departed: self.departed.iter().filter(untold).cloned().collect(),
            settled: self.settled,
        });
        let due = match (writes, signal) {
            (true, signal) => Some(Self {
                state: true,
                signal,
                settled: None,
                ..self
            }),
            (false, None) => None,
            (false, signal) => Some(Self {
                signal,
                ..Self::default()
            }),
        };
        (due, later)
    }

    /// Puts back what was kept; this is newer.
    pub(super) fn after(&mut self, older: Self) {
        self.state |= older.state;
        self.timed |= older.timed;
        self.ended |= older.ended;
        self.anew |= older.anew;
        self.signal = self.signal.take().or(older.signal);
        let newer = mem::replace(&mut self.departed, older.departed);
        for departure in newer {
            self.remember(departure);
        }
        self.settled = self.settled.max(older.settled);
    }
}

/// Longer than nodes take to read each other's steps, and to write what they come to.
const SETTLING: Duration = Duration::from_secs(5);
/// How many departures of a session are remembered.
const DEPARTED_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Now;

    #[test]
    fn who_left_is_told_at_once_and_again_when_all_nodes_know() {
        let now = Now::read().mono;
        let (due, later) = left(now).split(now, true, false, false);
        let due = due.unwrap();
        assert!(due.state && due.departed().eq([&alice()]));
        let later = later.unwrap();
        assert!(!later.state);
        let (due, later) = later.split(now + SETTLING / 2, true, false, false);
        assert_eq!(due, None);
        let (due, later) = later.unwrap().split(now + SETTLING, true, false, false);
        assert!(due.unwrap().departed().eq([&alice()]) && later.is_none());
    }

    #[test]
    fn another_node_remembers_who_left_in_case_it_is_to_write_in_the_end() {
        let now = Now::read().mono;
        let (due, later) = left(now).split(now, false, false, false);
        assert_eq!(due, None);
        let (due, later) = later.unwrap().split(now + SETTLING, false, false, true);
        assert_eq!(due, None, "its own steps are not yet read");
        let (due, later) = later.unwrap().split(now + SETTLING, false, false, false);
        assert_eq!(due, None, "others may read them later");
        let (due, later) = later.unwrap().split(now + 2 * SETTLING, true, false, false);
        assert!(due.unwrap().departed().eq([&alice()]) && later.is_none());
        let (due, later) = left(now).split(now + SETTLING, false, false, false);
        assert!(due.is_none() && later.is_none(), "the other one has");
    }

    #[test]
    fn a_node_that_is_alone_writes_once_and_what_has_ended_ends_once() {
        let now = Now::read().mono;
        let (due, later) = left(now).split(now, true, true, false);
        assert!(due.is_some() && later.is_none());
        let mut ended = left(now);
        ended.end(now);
        let (due, later) = ended.split(now, true, false, false);
        assert!(due.unwrap().ended && !later.unwrap().ended);
    }

    #[test]
    fn whoever_left_is_forgotten_once_all_know_although_others_leave_all_the_time() {
        let mut now = Now::read().mono;
        let mut stale = Stale::default();
        let mut told_last = 0;
        for number in 0..1000 {
            stale.state = true;
            stale.depart(now, [id(number), id(0)].into_iter());
            let (due, later) = stale.split(now, true, false, false);
            let due = due.unwrap();
            assert!(due.departed.len() <= 52, "{}", due.departed.len());
            told_last += usize::from(due.departed().any(|who| *who == id(500)));
            (stale, now) = (later.unwrap(), now + SETTLING / 50);
        }
        assert_eq!(told_last, 51, "until it is settled, and then once more");
    }

    #[test]
    fn more_departures_than_can_be_remembered_have_the_keys_replaced() {
        let now = Now::read().mono;
        let mut stale = Stale::default();
        stale.depart(now, (0..DEPARTED_MAX).map(id));
        assert!(!stale.anew);
        stale.depart(now, [id(DEPARTED_MAX - 1)].into_iter());
        assert!(!stale.anew, "the same one once more");
        stale.depart(now, [id(DEPARTED_MAX)].into_iter());
        assert!(stale.anew && stale.departed().count() == DEPARTED_MAX);
    }

    fn id(number: usize) -> ParticipantId {
        ParticipantId::parse(&format!("guest{number}")).unwrap()
    }

    fn left(now: Instant) -> Stale {
        let mut stale = Stale {
            state: true,
            ..Stale::default()
        };
        stale.depart(now, [alice()].into_iter());
        stale
    }

    fn alice() -> ParticipantId {
        ParticipantId::parse("alice").unwrap()
    }
}

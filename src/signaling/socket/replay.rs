//! What a client was sent lately, in case it did not arrive: a broken transport takes what was under way with it.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

/// The latest events for one client, oldest first.
#[derive(Debug, Default)]
pub(in crate::signaling) struct Replay {
    events: VecDeque<Sent>,
    bytes: usize,
}

#[derive(Debug)]
struct Sent {
    at: Instant,
    /// Its last argument, by which the client says what it has.
    offset: u64,
    packet: Arc<str>,
}

impl Replay {
    /// An event is on its way.
    pub(super) fn push(&mut self, now: Instant, offset: u64, packet: &Arc<str>) {
        self.bytes += packet.len();
        self.events.push_back(Sent {
            at: now,
            offset,
            packet: Arc::clone(packet),
        });
        while self.events.len() > EVENTS_MAX || self.bytes > BYTES_MAX {
            self.drop_oldest();
        }
    }

    /// Forgets what was sent more than `kept` ago: nobody may come back so late.
    pub(super) fn expire(&mut self, now: Instant, kept: Duration) {
        while self
            .events
            .front()
            .is_some_and(|sent| sent.at + kept <= now)
        {
            self.drop_oldest();
        }
        if self.events.is_empty() {
            self.events = VecDeque::new();
        }
    }

    /// What a client has not had whose last event was the one at `offset`; everything, if that is not known.
    pub(super) fn after(&self, offset: Option<u64>) -> impl Iterator<Item = (u64, Arc<str>)> {
        let last =
            offset.and_then(|offset| self.events.iter().rposition(|sent| sent.offset == offset));
        let missed = self.events.iter().skip(last.map_or(0, |last| last + 1));
        missed.map(|sent| (sent.offset, Arc::clone(&sent.packet)))
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.events.pop_front() {
            self.bytes -= oldest.packet.len();
        }
    }
}

const EVENTS_MAX: usize = 512;
const BYTES_MAX: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Now;

    #[test]
    fn a_client_gets_what_came_after_its_last_event() {
        let now = Now::read().mono;
        let mut replay = Replay::default();
        for offset in [7, 9, 8] {
            replay.push(now, offset, &offset.to_string().into());
        }
        assert_eq!(after(&replay, Some(7)), [9, 8]);
        assert_eq!(after(&replay, Some(8)), [0_u64; 0]);
        assert_eq!(after(&replay, Some(1)), [7, 9, 8]);
        assert_eq!(after(&replay, None), [7, 9, 8]);
        replay.expire(now + Duration::from_secs(120), Duration::from_secs(120));
        assert_eq!(after(&replay, None), [0_u64; 0]);
    }

    #[test]
    fn it_is_bounded() {
        let now = Now::read().mono;
        let mut replay = Replay::default();
        let large: Arc<str> = "x".repeat(BYTES_MAX / 4).into();
        for offset in 0..10 {
            replay.push(now, offset, &large);
        }
        assert_eq!(after(&replay, None), [6, 7, 8, 9]);
        for offset in 0..2000 {
            replay.push(now, offset, &"x".into());
        }
        assert_eq!(after(&replay, None).len(), EVENTS_MAX);
    }

    fn after(replay: &Replay, offset: Option<u64>) -> Vec<u64> {
        replay.after(offset).map(|(offset, _)| offset).collect()
    }
}

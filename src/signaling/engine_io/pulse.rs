//! The heartbeat: the server asks, the client answers.

use std::time::{Duration, Instant};

/// Whether a client still answers.
#[derive(Debug)]
pub(super) struct Pulse {
    interval: Duration,
    timeout: Duration,
    next: Next,
}

#[derive(Clone, Copy, Debug)]
enum Next {
    Ping(Instant),
    /// Without a pong by then, it is gone.
    Pong(Instant),
}

/// What is to be done now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Beat {
    Ping,
    Dead,
}

impl Pulse {
    pub(super) fn new(now: Instant, interval: Duration, timeout: Duration) -> Self {
        Self {
            interval,
            timeout,
            next: Next::Ping(now + interval),
        }
    }

    /// The client answered.
    pub(super) fn pong(&mut self, now: Instant) {
        self.next = Next::Ping(now + self.interval);
    }

    /// Time has passed.
    pub(super) fn beat(&mut self, now: Instant) -> Option<Beat> {
        match self.next {
            Next::Ping(at) if at <= now => {
                self.next = Next::Pong(now + self.timeout);
                Some(Beat::Ping)
            }
            Next::Pong(by) if by <= now => Some(Beat::Dead),
            Next::Ping(_) | Next::Pong(_) => None,
        }
    }

    /// When there is something to be done next.
    pub(super) fn due(&self) -> Instant {
        match self.next {
            Next::Ping(at) | Next::Pong(at) => at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Now;

    const INTERVAL: Duration = Duration::from_secs(25);
    const TIMEOUT: Duration = Duration::from_secs(20);

    #[test]
    fn a_client_that_answers_is_asked_again_after_the_interval() {
        let mut now = Now::read().mono;
        let mut pulse = Pulse::new(now, INTERVAL, TIMEOUT);
        for _ in 0..3 {
            assert_eq!((pulse.beat(now), pulse.due()), (None, now + INTERVAL));
            now += INTERVAL;
            assert_eq!((pulse.beat(now), pulse.beat(now)), (Some(Beat::Ping), None));
            now += TIMEOUT / 2;
            pulse.pong(now);
        }
    }

    #[test]
    fn a_client_that_does_not_answer_is_dead_after_the_timeout() {
        let now = Now::read().mono;
        let mut pulse = Pulse::new(now, INTERVAL, TIMEOUT);
        assert_eq!(pulse.beat(now + INTERVAL), Some(Beat::Ping));
        assert_eq!(pulse.due(), now + INTERVAL + TIMEOUT);
        assert_eq!(pulse.beat(pulse.due()), Some(Beat::Dead));
    }
}

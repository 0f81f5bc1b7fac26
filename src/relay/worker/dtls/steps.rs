//! Steps of handshakes that wait for their turns.

use std::{collections::VecDeque, time::Instant};

use crate::clock::Now;
use crate::relay::engine::five_tuple::FiveTuple;

/// Datagrams of clients that have proved their addresses, in the order in which they came; few, and none of them large.
#[derive(Debug, Default)]
pub(super) struct Steps(VecDeque<Step>);

#[derive(Debug)]
pub(super) struct Step {
    since: Instant,
    pub(super) client: FiveTuple,
    pub(super) datagram: Vec<u8>,
}

impl Steps {
    /// What there is no room for is lost, as on any network.
    pub(super) fn push(&mut self, now: Now, client: FiveTuple, datagram: &[u8]) {
        if self.0.len() < STEPS_MAX && datagram.len() <= FLIGHT_DATAGRAM_BYTES_MAX {
            self.0.push_back(Step {
                since: now.mono,
                client,
                datagram: datagram.to_vec(),
            });
        }
    }

    pub(super) fn pop(&mut self) -> Option<Step> {
        self.0.pop_front()
    }

    /// When the next one could have been taken.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.front().map(|step| step.since)
    }
}

/// The largest that a client's handshake datagrams may be.
pub(super) const FLIGHT_DATAGRAM_BYTES_MAX: usize = 4096;
/// As many as there may be half-finished handshakes.
const STEPS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::engine::five_tuple::Transport;

    #[test]
    fn what_waits_is_bounded_and_comes_in_its_order() {
        let (now, mut steps) = (Now::read(), Steps::default());
        let client = FiveTuple {
            transport: Transport::Dtls,
            client: "192.0.2.1:5000".parse().unwrap(),
            server: "198.51.100.1:5349".parse().unwrap(),
        };
        steps.push(now, client, &[7; FLIGHT_DATAGRAM_BYTES_MAX + 1]);
        assert_eq!(steps.due(), None);
        for number in 0..2 * STEPS_MAX {
            steps.push(now, client, &number.to_be_bytes());
        }
        assert_eq!(steps.due(), Some(now.mono));
        for number in 0..STEPS_MAX {
            assert_eq!(steps.pop().unwrap().datagram, number.to_be_bytes());
        }
        assert!(steps.pop().is_none());
    }
}

//! Up to which expiry whose credentials are refused, pure: what Redis is to tell nodes that start, and to be told again
//! where it has forgotten it.

use std::collections::VecDeque;

use crate::clock::UnixSeconds;
use crate::ident::ParticipantId;

/// In the order in which they were revoked.
#[derive(Debug, Default)]
pub struct Revocations(VecDeque<(ParticipantId, UnixSeconds)>);

impl Revocations {
    /// What `participant` was issued is refused up to this expiry.
    pub fn note(&mut self, now: UnixSeconds, participant: &ParticipantId, until: UnixSeconds) {
        let is_over = |(_, until): &(_, UnixSeconds)| *until <= now;
        while self.0.len() >= REVOCATIONS_MAX || self.0.front().is_some_and(is_over) {
            self.0.pop_front();
        }
        self.0.push_back((participant.clone(), until));
    }

    /// Those that still refuse something. Of one participant's, the last counts.
    pub fn lasting(&self, now: UnixSeconds) -> impl Iterator<Item = (&ParticipantId, UnixSeconds)> {
        let lasting = self.0.iter().filter(move |(_, until)| *until > now);
        lasting.map(|(participant, until)| (participant, *until))
    }
}

/// How many are remembered: about a megabyte.
const REVOCATIONS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_refuses_nothing_any_more_is_forgotten() {
        let mut revocations = Revocations::default();
        revocations.note(UnixSeconds(0), &guest(1), UnixSeconds(10));
        revocations.note(UnixSeconds(5), &guest(2), UnixSeconds(15));
        assert_eq!(lasting(&revocations, 9), [(guest(1), 10), (guest(2), 15)]);
        assert_eq!(lasting(&revocations, 10), [(guest(2), 15)]);
        revocations.note(UnixSeconds(14), &guest(2), UnixSeconds(24));
        assert_eq!(lasting(&revocations, 14), [(guest(2), 15), (guest(2), 24)]);
        assert_eq!(revocations.0.len(), 2);
    }

    #[test]
    fn beyond_what_can_be_remembered_the_latest_stay() {
        let mut revocations = Revocations::default();
        for number in 0..=REVOCATIONS_MAX {
            revocations.note(UnixSeconds(0), &guest(number), UnixSeconds(10));
        }
        let lasting = lasting(&revocations, 0);
        assert_eq!(lasting.len(), REVOCATIONS_MAX);
        assert_eq!(lasting[0], (guest(1), 10));
    }

    fn lasting(revocations: &Revocations, now: u64) -> Vec<(ParticipantId, u64)> {
        let lasting = revocations.lasting(UnixSeconds(now));
        lasting.map(|(who, until)| (who.clone(), until.0)).collect()
    }

    fn guest(number: usize) -> ParticipantId {
        ParticipantId::parse(&format!("guest{number}")).unwrap()
    }
}

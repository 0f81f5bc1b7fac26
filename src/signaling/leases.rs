//! Who may use the relay, and when it lets go of them: a participant holds it through each session they are in.

use std::{
    collections::{HashMap, hash_map::Entry},
    time::Instant,
};

use crate::clock::Now;
use crate::ident::{ParticipantId, SessionId};

/// The sessions through which each participant holds the relay.
#[derive(Debug, Default)]
pub struct Leases(HashMap<ParticipantId, Holds>);

/// Few: a participant is seldom in more than one session.
type Holds = Vec<(SessionId, Hold)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// A member of the session.
    Present,
    /// Lost without a goodbye; may return.
    Away { since: Instant },
}

/// A hold that ends unless its participant returns in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absence {
    participant: ParticipantId,
    session: SessionId,
    since: Instant,
}

impl Absence {
    /// Who is awaited.
    #[must_use]
    pub fn participant(&self) -> &ParticipantId {
        &self.participant
    }

    /// Where they are awaited.
    #[must_use]
    pub fn session(&self) -> &SessionId {
        &self.session
    }
}

impl Leases {
    /// The participant is in the session, for the first time or again. True if they held the relay through it
    /// already.
    pub fn hold(&mut self, participant: &ParticipantId, session: &SessionId) -> bool {
        self.set(participant, session, Hold::Present)
    }

    /// The participant left the session. True if that was the last one: the relay must let go now.
    #[must_use]
    pub fn release(&mut self, participant: &ParticipantId, session: &SessionId) -> bool {
        let Entry::Occupied(mut entry) = self.0.entry(participant.clone()) else {
            return true;
        };
        entry.get_mut().retain(|(held, _)| held != session);
        let last = entry.get().is_empty();
        if last {
            entry.remove();
        }
        last
    }

    /// The participant's transport is lost: to be followed by [`lapse`](Self::lapse) after the grace.
    #[must_use]
    pub fn suspend(
        &mut self,
        now: Now,
        participant: &ParticipantId,
        session: &SessionId,
    ) -> Absence {
        let since = now.mono;
        self.set(participant, session, Hold::Away { since });
        Absence {
            participant: participant.clone(),
            session: session.clone(),
            since,
        }
    }

    /// The grace of an absence is over. True if the relay must let go now: the participant did not return, and is
    /// in no other session.
    #[must_use]
    pub fn lapse(&mut self, absence: &Absence) -> bool {
        let away = Hold::Away {
            since: absence.since,
        };
        let holds = self.0.get(&absence.participant).into_iter().flatten();
        let still_away = holds
            .filter(|(session, _)| *session == absence.session)
            .any(|(_, hold)| *hold == away);
        still_away && self.release(&absence.participant, &absence.session)
    }

    /// The sessions through which a participant holds the relay.
    pub fn sessions_of(&self, participant: &ParticipantId) -> impl Iterator<Item = &SessionId> {
        let holds = self.0.get(participant).into_iter().flatten();
        holds.map(|(session, _)| session)
    }

    fn set(&mut self, participant: &ParticipantId, session: &SessionId, hold: Hold) -> bool {
        let holds = self
            .0
            .entry(participant.clone())
            .or_insert_with(|| Vec::with_capacity(1));
        match holds.iter_mut().find(|(held, _)| held == session) {
            Some((_, present)) => {
                *present = hold;
                true
            }
            None => {
                holds.push((session.clone(), hold));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn leaving_the_last_session_lets_go() {
        let mut leases = Leases::default();
        leases.hold(&alice(), &session("one"));
        leases.hold(&alice(), &session("two"));
        assert!(!leases.release(&alice(), &session("one")));
        assert!(leases.release(&alice(), &session("two")));
        assert!(leases.0.is_empty());
    }

    #[test]
    fn an_absence_lets_go_when_nobody_returned() {
        let mut leases = Leases::default();
        leases.hold(&alice(), &session("one"));
        let absence = leases.suspend(Now::read(), &alice(), &session("one"));
        assert!(leases.lapse(&absence));
        assert!(!leases.lapse(&absence), "once");
    }

    #[test]
    fn who_returns_keeps_the_relay() {
        let mut leases = Leases::default();
        let absence = leases.suspend(Now::read(), &alice(), &session("one"));
        leases.hold(&alice(), &session("one"));
        assert!(!leases.lapse(&absence));
        assert!(leases.release(&alice(), &session("one")));
    }

    #[test]
    fn a_second_absence_has_a_grace_of_its_own() {
        let mut leases = Leases::default();
        let now = Now::read();
        let first = leases.suspend(now, &alice(), &session("one"));
        leases.hold(&alice(), &session("one"));
        let later = now.advanced(Duration::from_secs(1));
        let second = leases.suspend(later, &alice(), &session("one"));
        assert!(!leases.lapse(&first));
        assert!(leases.lapse(&second));
    }

    #[test]
    fn an_awaited_return_outlives_a_goodbye_elsewhere() {
        let mut leases = Leases::default();
        let absence = leases.suspend(Now::read(), &alice(), &session("one"));
        leases.hold(&alice(), &session("two"));
        assert!(!leases.release(&alice(), &session("two")));
        assert!(leases.lapse(&absence));
    }

    fn alice() -> ParticipantId {
        ParticipantId::parse("alice").unwrap()
    }

    fn session(id: &str) -> SessionId {
        SessionId::parse(id).unwrap()
    }
}

//! Which kinds of candidates each participant has offered here: what the server knows of how media may travel.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::ident::{ParticipantId, SessionId};

use super::candidates::Kinds;

/// Of those who are in a session, and through this node.
#[derive(Debug, Default)]
pub(super) struct Offered(Mutex<HashMap<SessionId, HashMap<ParticipantId, Kinds>>>);

impl Offered {
    /// A message of a member's names these.
    pub(super) fn note(&self, session: &SessionId, who: &ParticipantId, kinds: Kinds) {
        if kinds == Kinds::default() {
            return;
        }
        let mut offered = self.offered();
        let of_session = match offered.get_mut(session) {
            Some(of_session) => of_session,
            None => offered.entry(session.clone()).or_default(),
        };
        match of_session.get_mut(who) {
            Some(known) => *known |= kinds,
            None => drop(of_session.insert(who.clone(), kinds)),
        }
    }

    /// They have left.
    pub(super) fn forget(&self, session: &SessionId, who: &ParticipantId) {
        let mut offered = self.offered();
        let Some(of_session) = offered.get_mut(session) else {
            return;
        };
        of_session.remove(who);
        if of_session.is_empty() {
            offered.remove(session);
        }
    }

    /// Nothing of those who have offered none.
    pub(super) fn of(&self, session: &SessionId, who: &ParticipantId) -> Kinds {
        let offered = self.offered();
        let kinds = offered
            .get(session)
            .and_then(|of_session| of_session.get(who));
        kinds.copied().unwrap_or_default()
    }

    fn offered(&self) -> MutexGuard<'_, HashMap<SessionId, HashMap<ParticipantId, Kinds>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_add_up_until_their_participant_leaves() {
        let offered = Offered::default();
        let session = SessionId::parse("reading").unwrap();
        let [asha, ben] = ["asha", "ben"].map(|id| ParticipantId::parse(id).unwrap());
        let host = Kinds {
            host: true,
            ..Kinds::default()
        };
        let relay = Kinds {
            relay: true,
            ..Kinds::default()
        };
        offered.note(&session, &asha, host);
        offered.note(&session, &asha, relay);
        offered.note(&session, &ben, Kinds::default());
        assert_eq!(
            offered.of(&session, &asha),
            Kinds {
                host: true,
                relay: true,
                ..host
            }
        );
        assert_eq!(offered.of(&session, &ben), Kinds::default());
        offered.forget(&session, &asha);
        assert_eq!(offered.of(&session, &asha), Kinds::default());
        assert!(offered.offered().is_empty());
    }
}

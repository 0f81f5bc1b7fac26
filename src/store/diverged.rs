//! Sessions that go their own way here, until they are what all nodes have in common again.

use std::collections::HashMap;

use crate::ident::SessionId;

/// Those sessions, and how far each has come.
#[derive(Debug, Default)]
pub(super) struct Diverged(HashMap<SessionId, Stage>);

/// Entries are meant by their numbers among those of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// This was the last entry when it diverged. It cannot be made anew before a later one is read: until then others may
    /// have appended what this node would overwrite.
    After(u64),
    /// This entry makes it anew, if nothing happens to the session before it in the log.
    Anew(u64),
}

impl Diverged {
    /// A session goes its own way; `appended` is the last entry.
    pub(super) fn add(&mut self, id: &SessionId, appended: u64) {
        self.0.insert(id.clone(), Stage::After(appended));
    }

    /// Sessions that can be made anew once the entry `read` has been read, as many as may be on their way at once.
    pub(super) fn due(&self, read: u64) -> Vec<SessionId> {
        let due = |stage: &Stage| match stage {
            Stage::After(appended) => *appended < read,
            Stage::Anew(_) => false,
        };
        let on_their_way = self
            .0
            .values()
            .filter(|stage| matches!(stage, Stage::Anew(_)));
        let room = AT_ONCE_MAX.saturating_sub(on_their_way.count());
        let due = self.0.iter().filter(|(_, stage)| due(stage));
        due.take(room).map(|(id, _)| id.clone()).collect()
    }

    /// The entry `number` makes a session anew.
    pub(super) fn renew(&mut self, id: &SessionId, number: u64) {
        self.0.insert(id.clone(), Stage::Anew(number));
    }

    /// Something happens to a session: an entry that is to make it anew, and has not been read, is void.
    pub(super) fn interrupt(&mut self, id: &SessionId, appended: u64) {
        if let Some(stage) = self.0.get_mut(id) {
            stage.interrupt(appended);
        }
    }

    /// The same for every session.
    pub(super) fn interrupt_all(&mut self, appended: u64) {
        for stage in self.0.values_mut() {
            stage.interrupt(appended);
        }
    }

    /// The entry `number` is read that was to make a session anew. False if it is void.
    pub(super) fn is_renewed(&mut self, id: &SessionId, number: u64) -> bool {
        let is_valid = self.0.get(id) == Some(&Stage::Anew(number));
        if is_valid {
            self.0.remove(id);
        }
        is_valid
    }
}

/// Other entries wait beside them.
const AT_ONCE_MAX: usize = 64;

impl Stage {
    fn interrupt(&mut self, appended: u64) {
        match self {
            Self::Anew(_) => *self = Self::After(appended),
            Self::After(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_made_anew_once_a_later_entry_is_read_and_again_if_something_came_between() {
        let (one, two) = (session("one"), session("two"));
        let mut diverged = Diverged::default();
        diverged.add(&one, 7);
        assert_eq!(diverged.due(7), [], "that one had been appended before");
        assert_eq!(diverged.due(8), std::slice::from_ref(&one));
        diverged.renew(&one, 9);
        assert_eq!(diverged.due(10), [], "it is on its way");
        diverged.interrupt(&two, 10);
        diverged.interrupt(&one, 10);
        assert!(!diverged.is_renewed(&one, 9));
        assert_eq!(
            (diverged.due(10), diverged.due(11)),
            (vec![], vec![one.clone()])
        );
        diverged.renew(&one, 12);
        diverged.interrupt_all(12);
        assert!(!diverged.is_renewed(&one, 12));
        diverged.renew(&one, 13);
        assert!(diverged.is_renewed(&one, 13));
        assert_eq!(diverged.due(u64::MAX), []);
    }

    #[test]
    fn what_diverges_again_is_not_made_anew_by_what_was_before() {
        let one = session("one");
        let mut diverged = Diverged::default();
        diverged.renew(&one, 3);
        diverged.add(&one, 3);
        assert!(!diverged.is_renewed(&one, 3));
        assert_eq!(diverged.due(4), [one]);
    }

    fn session(id: &str) -> SessionId {
        SessionId::parse(id).unwrap()
    }
}

//! Changes that wait to be written: those of one name become one, and each name is written now and then.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use super::change::Merge;

/// Changes by name. Each name is in exactly one of the two lines.
#[derive(Debug)]
pub(super) struct Waiting<C> {
    changes: HashMap<Arc<str>, C>,
    /// First come, first served; both lines are in the order of time.
    fresh: VecDeque<(Instant, Arc<str>)>,
    /// Those that were refused, apart: they must not hold up the others.
    refused: VecDeque<(Instant, Arc<str>)>,
}

impl<C: Merge> Waiting<C> {
    /// How many names wait.
    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Adds a change that is due [`WRITE_EVERY`] after the first one of its name. Says whether no other was waiting.
    pub(super) fn push(&mut self, name: &str, change: C, now: impl FnOnce() -> Instant) -> bool {
        if let Some(older) = self.changes.get_mut(name) {
            older.then(change);
            return false;
        }
        let name: Arc<str> = name.into();
        let is_first = self.fresh.is_empty();
        self.fresh
            .push_back((now() + WRITE_EVERY, Arc::clone(&name)));
        self.changes.insert(name, change);
        is_first
    }

    /// Puts back what was taken and not written. What came in the meantime is newer.
    pub(super) fn put_back(&mut self, name: Arc<str>, mut change: C, why: NotWritten) {
        if let Some(newer) = self.changes.remove(&name) {
            change.then(newer);
        } else {
            match why {
                NotWritten::Interrupted(now) => self.fresh.push_front((now, Arc::clone(&name))),
                NotWritten::Refused(now) => {
                    self.refused
                        .push_back((now + ASK_AGAIN_AFTER, Arc::clone(&name)));
                }
            }
        }
        self.changes.insert(name, change);
    }

    /// Takes up to `max` changes that are due, the oldest first.
    pub(super) fn take_due(&mut self, now: Instant, max: usize) -> Vec<(Arc<str>, C)> {
        let mut taken = Vec::new();
        for line in [&mut self.fresh, &mut self.refused] {
            while taken.len() < max
                && let Some((_, name)) = line.pop_front_if(|(due, _)| *due <= now)
            {
                taken.extend(self.changes.remove_entry(&name));
            }
        }
        taken
    }

    /// Makes everything due that was not refused a moment ago.
    pub(super) fn hurry(&mut self, now: Instant) {
        for (due, _) in &mut self.fresh {
            *due = now.min(*due);
        }
    }

    /// When the next change is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let fronts = [self.fresh.front(), self.refused.front()];
        fronts.into_iter().flatten().map(|(due, _)| *due).min()
    }
}

impl<C> Default for Waiting<C> {
    fn default() -> Self {
        Self {
            changes: HashMap::new(),
            fresh: VecDeque::new(),
            refused: VecDeque::new(),
        }
    }
}

/// Why a change that was taken comes back.
#[derive(Clone, Copy, Debug)]
pub(super) enum NotWritten {
    /// The connection was lost: it is the first to go when there is a new one.
    Interrupted(Instant),
    /// Redis said no to this one.
    Refused(Instant),
}

/// A key is written at most this often.
const WRITE_EVERY: Duration = Duration::from_millis(100);
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use crate::clock::Now;

    use super::{super::change::Lasting, *};

    #[test]
    fn changes_of_one_name_become_one_and_names_keep_their_order() {
        let (mut waiting, now) = (Waiting::default(), Now::read().mono);
        for (name, text) in [("a", "1"), ("b", "2"), ("a", "3")] {
            waiting.push(name, value(text), || now);
        }
        assert_eq!(waiting.take_due(now, 9).len(), 0);
        assert_eq!(waiting.next_due(), Some(now + WRITE_EVERY));
        let taken = waiting.take_due(now + WRITE_EVERY, 9);
        assert_eq!(taken, [("a".into(), value("3")), ("b".into(), value("2"))]);
        assert!(waiting.is_empty() && waiting.next_due().is_none());
    }

    #[test]
    fn what_comes_back_neither_overwrites_the_newer_nor_holds_up_the_others() {
        let (mut waiting, now) = (Waiting::default(), Now::read().mono);
        waiting.push("a", value("old"), || now);
        waiting.push("b", value("2"), || now);
        let due = now + WRITE_EVERY;
        let mut taken = waiting.take_due(due, 9);
        waiting.push("a", value("new"), || due);
        let (b, a) = (taken.pop().unwrap(), taken.pop().unwrap());
        waiting.put_back(a.0, a.1, NotWritten::Interrupted(due));
        waiting.put_back(b.0, b.1, NotWritten::Refused(due));
        let later = waiting.take_due(due + WRITE_EVERY, 9);
        assert_eq!(later, [("a".into(), value("new"))]);
        let last = waiting.take_due(due + ASK_AGAIN_AFTER, 9);
        assert_eq!(last, [("b".into(), value("2"))]);
        assert!(waiting.is_empty());
    }

    fn value(text: &str) -> Lasting {
        Some((text.to_owned(), Duration::from_secs(1)))
    }
}

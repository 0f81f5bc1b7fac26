//! What is to become of a session's keys, and how two changes become one.

use std::time::Duration;

/// What changes in the keys of one session; `None` leaves a key as it is. An inner `None` deletes the key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyChange {
    /// `participants:{session}`.
    pub participants: Option<Participants>,
    /// `timer:{session}`, and how long it lives.
    pub timer: Option<Option<(String, Duration)>>,
    /// `signaling:{session}`.
    pub signaling: Option<Option<String>>,
    /// `setu:session:{session}`.
    pub snapshot: Option<Option<String>>,
}

/// What changes in `participants:{session}`, which the application changes too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Participants {
    /// Ids of the application, those that are in neither list, keep their places.
    Update {
        /// Who is there, in join order.
        present: Vec<String>,
        /// Who has left since the last change, some of whom may be present again.
        absent: Vec<String>,
    },
    /// Whatever stood there is dropped: a session that has ended, or a Redis that came back with an older copy.
    Replace {
        /// Who is there, in join order.
        present: Vec<String>,
    },
}

/// A change that swallows a newer one.
pub(super) trait Merge {
    /// Afterwards `self` does what `self` and then `newer` would have done.
    fn then(&mut self, newer: Self);
}

impl Merge for KeyChange {
    fn then(&mut self, newer: Self) {
        let Self {
            participants,
            timer,
            signaling,
            snapshot,
        } = newer;
        if let Some(newer) = participants {
            match &mut self.participants {
                Some(older) => older.then(newer),
                none => *none = Some(newer),
            }
        }
        if timer.is_some() {
            self.timer = timer;
        }
        if signaling.is_some() {
            self.signaling = signaling;
        }
        if snapshot.is_some() {
            self.snapshot = snapshot;
        }
    }
}

impl Merge for Participants {
    fn then(&mut self, newer: Self) {
        let (present, absent) = match newer {
            Self::Replace { .. } => {
                *self = newer;
                return;
            }
            Self::Update { present, absent } => (present, absent),
        };
        let (Self::Update {
            present: roster, ..
        }
        | Self::Replace { present: roster }) = self;
        roster.retain(|id| !absent.contains(id) && !present.contains(id));
        roster.extend(present);
        if let Self::Update { absent: gone, .. } = self {
            add_missing(gone, absent);
        }
    }
}

/// A value and how long it lives, or `None` to delete.
pub(super) type Lasting = Option<(String, Duration)>;

/// The newer one counts.
impl Merge for Lasting {
    fn then(&mut self, newer: Self) {
        *self = newer;
    }
}

fn add_missing(ids: &mut Vec<String>, more: Vec<String>) {
    for id in more {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn merged_changes_of_participants_do_what_they_would_have_done_one_by_one(
            stored in ids(),
            changes in prop::collection::vec(change(), 1..5),
        ) {
            let mut one_by_one = stored.clone();
            for change in &changes {
                one_by_one = applied(one_by_one, change);
            }
            let last = present(changes.last().unwrap()).clone();
            let merged = changes.into_iter().reduce(|mut older, newer| {
                older.then(newer);
                older
            });
            let mut merged = applied(stored, &merged.unwrap());
            let in_order = merged.iter().filter(|id| last.contains(id)).cloned();
            prop_assert_eq!(in_order.collect::<Vec<_>>(), last);
            merged.sort();
            one_by_one.sort();
            prop_assert_eq!(merged, one_by_one);
        }
    }

    #[test]
    fn a_newer_value_counts_and_what_it_leaves_alone_stays() {
        let text = |text: &str| Some(Some(text.to_owned()));
        let mut change = KeyChange {
            signaling: text("old"),
            snapshot: text("kept"),
            timer: Some(Some((String::new(), Duration::ZERO))),
            ..KeyChange::default()
        };
        change.then(KeyChange {
            signaling: text("new"),
            timer: Some(None),
            ..KeyChange::default()
        });
        assert_eq!(change.signaling, text("new"));
        assert_eq!(change.snapshot, text("kept"));
        assert_eq!(change.timer, Some(None));
    }

    /// What `participants.lua` does.
    fn applied(stored: Vec<String>, change: &Participants) -> Vec<String> {
        let present = present(change);
        let mut next = present.iter();
        let mut ids = Vec::new();
        if let Participants::Update { absent, .. } = change {
            for id in stored.into_iter().filter(|id| !absent.contains(id)) {
                let place = present.contains(&id).then(|| next.next()).flatten();
                ids.push(place.cloned().unwrap_or(id));
            }
        }
        ids.extend(next.cloned());
        ids
    }

    fn present(change: &Participants) -> &Vec<String> {
        let (Participants::Update { present, .. } | Participants::Replace { present }) = change;
        present
    }

    fn ids() -> impl Strategy<Value = Vec<String>> {
        let some = prop::sample::subsequence(vec!["a", "b", "c", "d", "e"], 0..=5).prop_shuffle();
        some.prop_map(|ids| ids.into_iter().map(str::to_owned).collect())
    }

    fn change() -> impl Strategy<Value = Participants> {
        prop_oneof![
            4 => (ids(), ids()).prop_map(|(present, absent)| Participants::Update { present, absent }),
            1 => ids().prop_map(|present| Participants::Replace { present }),
        ]
    }
}

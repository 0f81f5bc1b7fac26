//! When sessions are due: one entry each.

use std::{collections::BTreeMap, time::Instant};

use crate::clock::Now;
use crate::relay::engine::five_tuple::FiveTuple;

/// What is to be done later, the soonest first.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    entries: BTreeMap<Entry, FiveTuple>,
    next_number: u64,
}

/// Names an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    /// When it is due.
    pub(super) at: Instant,
    number: u64,
}

impl Agenda {
    pub(super) fn next(&self) -> Option<Instant> {
        self.entries.first_key_value().map(|(entry, _)| entry.at)
    }

    pub(super) fn add(&mut self, at: Instant, client: FiveTuple) -> Entry {
        self.next_number += 1;
        let entry = Entry {
            at,
            number: self.next_number,
        };
        self.entries.insert(entry, client);
        entry
    }

    pub(super) fn cancel(&mut self, entry: Option<Entry>) {
        if let Some(entry) = entry {
            self.entries.remove(&entry);
        }
    }

    pub(super) fn pop_due(&mut self, now: Now) -> Option<FiveTuple> {
        let first = self.entries.first_entry()?;
        (first.key().at <= now.mono).then(|| first.remove())
    }
}

//! One queue of deadlines with lazy deletion: an entry may be out of date, but none is missing.

use std::{cmp::Reverse, collections::BinaryHeap, time::Instant};

/// When to look at which slot of the allocation table.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    heap: BinaryHeap<Reverse<(Instant, usize)>>,
}

impl Deadlines {
    pub(super) fn push(&mut self, at: Instant, slot: usize) {
        self.heap.push(Reverse((at, slot)));
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// The slot of the earliest deadline that has come.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<usize> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, slot))| slot)
    }

    /// Entries, those out of date included.
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Starts over with entries that are all up to date.
    pub(super) fn rebuild(&mut self, entries: impl Iterator<Item = (Instant, usize)>) {
        self.heap = entries.map(Reverse).collect();
    }
}

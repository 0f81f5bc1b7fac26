//! One queue of deadlines with lazy deletion: an entry may be out of date, but none is missing.

use std::{cmp::Reverse, collections::BinaryHeap, time::Instant};

/// When to look at what: a slot of the allocation table, a connection.
#[derive(Debug)]
pub(super) struct Deadlines<K> {
    heap: BinaryHeap<Reverse<(Instant, K)>>,
}

impl<K: Copy + Ord> Deadlines<K> {
    pub(super) fn push(&mut self, at: Instant, key: K) {
        self.heap.push(Reverse((at, key)));
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// What the earliest deadline that has come is about.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, key))| key)
    }

    /// Entries, those out of date included.
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Starts over with entries that are all up to date.
    pub(super) fn rebuild(&mut self, entries: impl Iterator<Item = (Instant, K)>) {
        self.heap = entries.map(Reverse).collect();
    }
}

impl<K: Ord> Default for Deadlines<K> {
    fn default() -> Self {
        Self {
            heap: BinaryHeap::new(),
        }
    }
}

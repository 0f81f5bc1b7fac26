//! What is counted of Redis.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::metrics::histogram::{Distribution, Histogram};

use super::Redis;

/// Everything since the start.
#[derive(Debug, Default)]
pub(super) struct Stats {
    /// Connections that came about.
    pub(super) connections: AtomicU64,
    /// Entries for which there was no room.
    pub(super) dropped: AtomicU64,
    /// From sending entries to their confirmation.
    pub(super) append: Histogram,
}

/// Redis in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Whether it is there and takes what it is given.
    pub is_live: bool,
    /// How often it was connected to.
    pub connections: u64,
    /// Entries that wait to be appended, or to be confirmed.
    pub waiting_entries: usize,
    /// Their bytes.
    pub waiting_bytes: usize,
    /// Keys, and sessions whose keys, wait to be written.
    pub waiting_keys: usize,
    /// Entries that were dropped, as too much waited.
    pub dropped: u64,
    /// From sending entries to their confirmation.
    pub append: Distribution,
}

impl Redis {
    /// The state in numbers.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let stats = &self.shared.stats;
        let (waiting_entries, waiting_bytes) = self.shared.outbox.load();
        Snapshot {
            is_live: self.is_live(),
            connections: stats.connections.load(Ordering::Relaxed),
            waiting_entries,
            waiting_bytes,
            waiting_keys: self.shared.write_behind.waiting(),
            dropped: stats.dropped.load(Ordering::Relaxed),
            append: stats.append.read(),
        }
    }
}

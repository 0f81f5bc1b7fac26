//! A token bucket that threads share without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

/// Holds the moment at which it will be full again, in nanoseconds: taking something moves it on, time catches up.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    full_at: AtomicU64,
}

impl Bucket {
    /// Takes what the bucket regains in `cost` nanoseconds, of all that it regains in `burst`. What costs more than the
    /// whole bucket is let through when it is full: a small limit slows large datagrams down, and stops none for ever.
    pub(super) fn take(&self, now: u64, cost: u64, burst: u64) -> bool {
        let taken = |full_at: u64| {
            let full_at = full_at.max(now).saturating_add(cost);
            (full_at <= now.saturating_add(burst.max(cost))).then_some(full_at)
        };
        let order = Ordering::Relaxed;
        self.full_at.fetch_update(order, order, taken).is_ok()
    }

    /// Gives back what was taken and not used.
    pub(super) fn give_back(&self, cost: u64) {
        self.full_at.fetch_sub(cost, Ordering::Relaxed);
    }

    pub(super) fn is_full(&self, now: u64) -> bool {
        self.full_at.load(Ordering::Relaxed) <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_at_once_or_one_by_one() {
        let bucket = Bucket::default();
        let take = |now| bucket.take(now, 10, 30);
        assert!(take(1000) && take(1000) && take(1000) && !take(1000));
        assert!(!take(1009) && take(1010) && !take(1010));
        assert!(bucket.is_full(1040) && !bucket.is_full(1039));
        assert!(take(9000) && take(9000) && take(9000) && !take(9000));
    }

    #[test]
    fn what_costs_more_than_all_waits_for_a_full_bucket() {
        let bucket = Bucket::default();
        assert!(bucket.take(0, 500, 30));
        assert!(!bucket.take(499, 500, 30) && !bucket.take(469, 1, 30));
        assert!(bucket.take(500, 500, 30));
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let bucket = Bucket::default();
        assert!(bucket.take(7, 30, 30) && !bucket.take(7, 30, 30));
        bucket.give_back(30);
        assert!(bucket.take(7, 30, 30));
    }
}

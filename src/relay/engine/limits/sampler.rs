//! What happens again and again, and is to be a line in the log now and then.

use std::sync::atomic::{AtomicU64, Ordering};

use super::SECOND_NANOS;

/// Counts occurrences, and says when it is time to log them: the first at once, then once a second at most.
#[derive(Debug, Default)]
pub(crate) struct Sampler {
    total: AtomicU64,
    logged: AtomicU64,
    silent_until: AtomicU64,
}

impl Sampler {
    /// Counts one; `Some` of how many there were since the last line when another one is due.
    pub(crate) fn count(&self, now: u64) -> Option<u64> {
        let order = Ordering::Relaxed;
        let total = self.total.fetch_add(1, order) + 1;
        let silent_until = self.silent_until.load(order);
        if now < silent_until {
            return None;
        }
        let next = now.saturating_add(SECOND_NANOS);
        let mine = self
            .silent_until
            .compare_exchange(silent_until, next, order, order);
        mine.ok()?;
        Some(total.saturating_sub(self.logged.swap(total, order)))
    }

    /// How many there were.
    pub(crate) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_a_second_says_how_many_there_were() {
        let sampler = Sampler::default();
        assert_eq!(sampler.count(5), Some(1));
        for _ in 0..9 {
            assert_eq!(sampler.count(6), None);
        }
        assert_eq!(sampler.count(5 + SECOND_NANOS), Some(10));
        assert_eq!(sampler.count(6 + SECOND_NANOS), None);
        assert_eq!(sampler.total(), 12);
    }
}

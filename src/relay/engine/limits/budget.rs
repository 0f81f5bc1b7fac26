//! How many bytes an allocation may relay: a share of its own, of its user's, and of everybody's.

use std::sync::Arc;

use super::SECOND_NANOS;
use super::bucket::Bucket;
use super::refusals::Limit;

/// Bytes a second; `None`: as many as come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rates {
    pub(super) all: Option<u32>,
    pub(super) user: Option<u32>,
    pub(super) allocation: Option<u32>,
}

/// The shares that count for one allocation: none where no bytes are limited, and nothing is then spent on them.
#[derive(Debug)]
pub(super) struct Budget(Box<[Share]>);

/// One of them, with a second's worth of bytes at most.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) limit: Limit,
    pub(super) bytes_per_second: u32,
    pub(super) bucket: Arc<Bucket>,
}

impl Budget {
    pub(super) fn new(shares: impl Iterator<Item = Share>) -> Self {
        Self(shares.collect())
    }

    pub(super) fn is_unlimited(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes these bytes from every share, or from none.
    pub(super) fn admit(&self, now: u64, bytes: usize) -> Result<(), Limit> {
        for (index, share) in self.0.iter().enumerate() {
            if share.bucket.take(now, share.cost(bytes), SECOND_NANOS) {
                continue;
            }
            for taken in &self.0[..index] {
                taken.bucket.give_back(taken.cost(bytes));
            }
            return Err(share.limit);
        }
        Ok(())
    }
}

impl Share {
    /// The nanoseconds in which as many bytes come again.
    fn cost(&self, bytes: usize) -> u64 {
        (bytes as u64).saturating_mul(SECOND_NANOS) / u64::from(self.bytes_per_second.max(1))
    }
}

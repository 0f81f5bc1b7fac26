//! A bound for each source that changes while it is in use.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{PerSource, Source};

/// A [`PerSource`] that threads read without a lock.
#[derive(Debug)]
pub struct Bound(AtomicU64);

impl Bound {
    /// With this bound at first.
    #[must_use]
    pub fn new(limit: PerSource) -> Self {
        Self(AtomicU64::new(pack(limit)))
    }

    /// From now on this one holds.
    pub fn set(&self, limit: PerSource) {
        self.0.store(pack(limit), Ordering::Relaxed);
    }

    /// The bound that holds for this source, if any does.
    #[must_use]
    pub fn max_for(&self, source: Source) -> Option<u32> {
        unpack(self.0.load(Ordering::Relaxed)).max_for(source)
    }
}

const IS_BOUND: u64 = 1 << 32;
const COUNTS_LOOPBACK: u64 = 1 << 33;

fn pack(limit: PerSource) -> u64 {
    let max = limit.max.map_or(0, |max| u64::from(max) | IS_BOUND);
    let loopback = if limit.counts_loopback {
        COUNTS_LOOPBACK
    } else {
        0
    };
    max | loopback
}

fn unpack(packed: u64) -> PerSource {
    let max = u32::try_from(packed & u64::from(u32::MAX)).unwrap_or(u32::MAX);
    PerSource {
        max: (packed & IS_BOUND != 0).then_some(max),
        counts_loopback: packed & COUNTS_LOOPBACK != 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bound_comes_out_as_it_went_in() {
        for max in [None, Some(0), Some(1), Some(u32::MAX)] {
            for counts_loopback in [false, true] {
                let limit = PerSource {
                    max,
                    counts_loopback,
                };
                assert_eq!(unpack(pack(limit)), limit);
            }
        }
    }
}

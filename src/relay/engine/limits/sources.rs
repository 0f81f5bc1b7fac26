//! How often each source may do something, in memory that no number of sources makes grow.

use std::{
    hash::{BuildHasher, RandomState},
    sync::OnceLock,
};

use super::SECOND_NANOS;
use super::bucket::Bucket;
use crate::source::{Bound, PerSource, Source};

/// A bucket for each source; sources that the hash brings together share one. Nobody can know which those are.
#[derive(Debug)]
pub(super) struct Sources {
    limit: Bound,
    period_nanos: u64,
    burst_nanos: u64,
    /// Made for the first limit.
    buckets: OnceLock<Box<[Bucket]>>,
    hasher: RandomState,
}

impl Sources {
    /// So often a second, and twice as often at once.
    pub(super) fn per_second(limit: PerSource) -> Self {
        Self::new(limit, SECOND_NANOS, 2 * SECOND_NANOS)
    }

    /// So often a minute, and as often at once.
    pub(super) fn per_minute(limit: PerSource) -> Self {
        Self::new(limit, 60 * SECOND_NANOS, 60 * SECOND_NANOS)
    }

    fn new(limit: PerSource, period_nanos: u64, burst_nanos: u64) -> Self {
        Self {
            limit: Bound::new(limit),
            period_nanos,
            burst_nanos,
            buckets: OnceLock::new(),
            hasher: RandomState::new(),
        }
    }

    /// From now on so often. What was done lately counts as if it had always been so.
    pub(super) fn set_limit(&self, limit: PerSource) {
        self.limit.set(limit);
    }

    pub(super) fn admit(&self, now: u64, source: Source) -> bool {
        let Some(max) = self.limit.max_for(source) else {
            return true;
        };
        let hash = self.hasher.hash_one(source.network());
        let slot = usize::try_from(hash % BUCKETS as u64).unwrap_or_default();
        let cost = self.period_nanos / u64::from(max.max(1));
        let buckets = self.buckets.get_or_init(new_buckets);
        buckets
            .get(slot)
            .is_none_or(|bucket| bucket.take(now, cost, self.burst_nanos))
    }
}

fn new_buckets() -> Box<[Bucket]> {
    (0..BUCKETS).map(|_| Bucket::default()).collect()
}

/// Half a mebibyte.
const BUCKETS: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn twice_a_seconds_worth_at_once_and_then_one_by_one() {
        let sources = Sources::per_second(per_source(50));
        let (alice, bob) = (source("192.0.2.1"), source("192.0.2.2"));
        let admitted = |now| (0..1000).filter(|_| sources.admit(now, alice)).count();
        assert_eq!(admitted(SECOND_NANOS), 100);
        assert!(sources.admit(SECOND_NANOS, bob));
        assert_eq!(admitted(2 * SECOND_NANOS), 50);
        assert_eq!(admitted(9 * SECOND_NANOS), 100);
    }

    #[test]
    fn a_minutes_worth_at_once() {
        let sources = Sources::per_minute(per_source(60));
        let alice = source("2001:db8::1");
        let admitted = |now| (0..1000).filter(|_| sources.admit(now, alice)).count();
        assert_eq!(admitted(0), 60);
        assert!(!sources.admit(0, source("2001:db8::2")));
        assert_eq!(admitted(SECOND_NANOS), 1);
        assert_eq!(admitted(61 * SECOND_NANOS), 60);
    }

    #[test]
    fn a_flood_of_sources_silences_few_of_the_others() {
        let sources = Sources::per_second(per_source(1));
        for stranger in 0..2000 {
            let stranger = Source(Ipv4Addr::from_bits(0x0100_0000 + stranger).into());
            while sources.admit(0, stranger) {}
        }
        let others = (0..1000).map(|other| Source(Ipv4Addr::from_bits(0x0200_0000 + other).into()));
        let silenced = others.filter(|other| !sources.admit(0, *other)).count();
        // One in 33, and some luck.
        assert!(silenced < 80, "{silenced}");
    }

    #[test]
    fn without_a_limit_nothing_is_kept_and_all_is_admitted() {
        let sources = Sources::per_second(PerSource::default());
        assert!((0..1000).all(|_| sources.admit(0, source("192.0.2.1"))));
        assert!(sources.buckets.get().is_none());
    }

    #[test]
    fn a_limit_can_come_change_and_go() {
        let sources = Sources::per_second(PerSource::default());
        let alice = source("192.0.2.1");
        let admitted = |now| (0..1000).filter(|_| sources.admit(now, alice)).count();
        assert_eq!(admitted(0), 1000);
        sources.set_limit(per_source(10));
        assert_eq!(admitted(0), 20);
        sources.set_limit(per_source(5));
        assert_eq!(admitted(2 * SECOND_NANOS), 10);
        sources.set_limit(PerSource::default());
        assert_eq!(admitted(2 * SECOND_NANOS), 1000);
    }

    #[test]
    fn loopback_counts_where_that_is_said() {
        for counts_loopback in [false, true] {
            let limit = PerSource {
                counts_loopback,
                ..per_source(1)
            };
            let sources = Sources::per_second(limit);
            let admitted = (0..10).filter(|_| sources.admit(0, source("127.0.0.1")));
            assert_eq!(admitted.count() == 2, counts_loopback);
        }
    }

    fn source(ip: &str) -> Source {
        Source(ip.parse().unwrap())
    }

    fn per_source(max: u32) -> PerSource {
        PerSource {
            max: Some(max),
            counts_loopback: false,
        }
    }
}

//! How often a source may do something: so many a minute, all at once or one by one.

use std::{
    collections::HashMap,
    mem,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{Bound, Network, PerSource, Source};
use crate::clock::Now;

/// Lets each source do something so often a minute. It remembers few sources, whoever asks, and the latest best.
#[derive(Debug)]
pub struct Throttle {
    per_minute: Bound,
    generations: Mutex<Generations>,
    refused: AtomicU64,
}

/// The moments at which sources may do everything again. Every access moves a source to the young ones; when there are
/// enough of them, they become the old ones, and the old ones before them are forgotten.
#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Network, Instant>,
    old: HashMap<Network, Instant>,
}

impl Throttle {
    /// Nobody has done anything yet.
    #[must_use]
    pub fn new(per_minute: PerSource) -> Self {
        Self {
            per_minute: Bound::new(per_minute),
            generations: Mutex::default(),
            refused: AtomicU64::new(0),
        }
    }

    /// How often it has let nobody do it.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// From now on each source may do it so often a minute.
    pub fn set_limit(&self, per_minute: PerSource) {
        self.per_minute.set(per_minute);
    }

    /// Counts what `source` is about to do.
    ///
    /// # Errors
    /// It did that too often: how long it has to wait.
    pub fn admit(&self, now: Now, source: Source) -> Result<(), Duration> {
        let Some(max) = self.per_minute.max_for(source) else {
            return Ok(());
        };
        let each = MINUTE / max.max(1);
        let mut generations = self
            .generations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let network = source.network();
        let rested = generations.take(network).unwrap_or(now.mono).max(now.mono);
        let wait = (rested + each).saturating_duration_since(now.mono + MINUTE);
        let admitted = wait.is_zero() && max > 0;
        let rested = if admitted { rested + each } else { rested };
        generations.put(network, rested);
        if admitted {
            return Ok(());
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        Err(wait)
    }
}

impl Generations {
    fn take(&mut self, network: Network) -> Option<Instant> {
        let young = self.young.remove(&network);
        young.or_else(|| self.old.remove(&network))
    }

    fn put(&mut self, network: Network, rested: Instant) {
        if self.young.len() >= GENERATION_MAX {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(network, rested);
    }
}

const MINUTE: Duration = Duration::from_secs(60);
/// Two of these are kept: 10,000 sources.
const GENERATION_MAX: usize = 5000;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::source::tests::{per_source, source};

    #[test]
    fn a_minutes_worth_at_once_and_then_one_by_one() {
        let throttle = Throttle::new(per_source(6));
        let (alice, bob) = (source("192.0.2.1"), source("192.0.2.2"));
        let mut now = Now::read();
        for _ in 0..6 {
            assert_eq!(throttle.admit(now, alice), Ok(()));
        }
        assert_eq!(throttle.admit(now, alice), Err(TEN_SECONDS));
        assert_eq!(throttle.admit(now, bob), Ok(()));
        now = now.advanced(TEN_SECONDS);
        assert_eq!(throttle.admit(now, alice), Ok(()));
        assert_eq!(throttle.admit(now, alice), Err(TEN_SECONDS));
        now = now.advanced(MINUTE);
        for _ in 0..6 {
            assert_eq!(throttle.admit(now, alice), Ok(()));
        }
        assert_eq!(throttle.admit(now, alice), Err(TEN_SECONDS));
    }

    #[test]
    fn to_ask_in_vain_makes_the_wait_no_longer() {
        let throttle = Throttle::new(per_source(1));
        let (alice, now) = (source("192.0.2.1"), Now::read());
        assert_eq!(throttle.admit(now, alice), Ok(()));
        for _ in 0..100 {
            assert_eq!(throttle.admit(now, alice), Err(MINUTE));
        }
        assert_eq!(throttle.admit(now.advanced(MINUTE), alice), Ok(()));
    }

    #[test]
    fn a_flood_of_sources_takes_bounded_memory_and_frees_nobody_who_goes_on() {
        let throttle = Throttle::new(per_source(1));
        let (alice, now) = (source("192.0.2.1"), Now::read());
        assert_eq!(throttle.admit(now, alice), Ok(()));
        for stranger in 0..100_000 {
            let ip = Ipv4Addr::from_bits(stranger);
            let _ = throttle.admit(now, Source(ip.into()));
            if stranger % 1000 == 0 {
                assert!(throttle.admit(now, alice).is_err());
            }
            assert!(throttle.kept() <= 2 * GENERATION_MAX);
        }
    }

    #[test]
    fn loopback_goes_free_unless_it_counts() {
        let throttle = Throttle::new(per_source(1));
        for _ in 0..3 {
            assert_eq!(throttle.admit(Now::read(), source("127.0.0.1")), Ok(()));
        }
    }

    const TEN_SECONDS: Duration = Duration::from_secs(10);

    impl Throttle {
        fn kept(&self) -> usize {
            let generations = self.generations.lock().unwrap();
            generations.young.len() + generations.old.len()
        }
    }
}

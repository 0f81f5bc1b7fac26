//! How much in a second: from what was counted then and now.

use std::{
    collections::HashMap,
    hash::Hash,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::relay::engine::{Traffic, Usage};

/// What is relayed in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rate {
    pub(super) packets_per_second: u64,
    pub(super) bits_per_second: u64,
}

impl Rate {
    pub(super) fn between(earlier: Traffic, later: Traffic, passed: Duration) -> Self {
        Self {
            packets_per_second: per_second(earlier.packets, later.packets, passed),
            bits_per_second: per_second(earlier.bytes, later.bytes, passed).saturating_mul(8),
        }
    }
}

/// What somebody, or one allocation, relays.
#[derive(Clone, Copy, Default)]
pub(super) struct Relaying {
    pub(super) usage: Usage,
    /// Both ways together; `None` until it has been seen twice.
    pub(super) rate: Option<Rate>,
}

impl Relaying {
    /// Of several together; a rate where any has one.
    pub(super) fn add(&mut self, more: &Self) {
        self.usage += more.usage;
        self.rate = match (self.rate, more.rate) {
            (Some(one), Some(other)) => Some(Rate {
                packets_per_second: one.packets_per_second + other.packets_per_second,
                bits_per_second: one.bits_per_second + other.bits_per_second,
            }),
            (one, other) => one.or(other),
        };
    }
}

/// Counters that went down began anew.
pub(super) fn per_second(earlier: u64, later: u64, passed: Duration) -> u64 {
    let counted = later.saturating_sub(earlier);
    let millis = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX).max(1);
    counted.saturating_mul(1000) / millis
}

/// What many of a kind relay: rates of those that were seen a second ago too.
pub(super) struct Meters<K> {
    at: Instant,
    seen: HashMap<K, Usage>,
    rates: HashMap<K, Rate>,
}

impl<K: Hash + Eq + Clone> Meters<K> {
    pub(super) fn new(at: Instant) -> Self {
        Self {
            at,
            seen: HashMap::new(),
            rates: HashMap::new(),
        }
    }

    /// The figures of now, with their rates. What is not among them is forgotten.
    pub(super) fn read(&mut self, at: Instant, usage: HashMap<K, Usage>) -> HashMap<K, Relaying> {
        let passed = at.saturating_duration_since(self.at);
        if passed >= SHORTEST {
            let rate = |(key, now): (&K, &Usage)| {
                let earlier = self.seen.get(key)?;
                Some((key.clone(), Rate::between(both(earlier), both(now), passed)))
            };
            self.rates = usage.iter().filter_map(rate).collect();
            self.seen.clone_from(&usage);
            self.at = at;
        } else {
            // A newcomer's page: their rates come with the next figures.
            for (key, now) in &usage {
                self.seen.entry(key.clone()).or_insert(*now);
            }
        }
        let relaying = usage.into_iter().map(|(key, usage)| {
            let rate = self.rates.get(&key).copied();
            (key, Relaying { usage, rate })
        });
        relaying.collect()
    }
}

fn both(usage: &Usage) -> Traffic {
    let mut sum = usage.to_peers;
    sum += usage.to_clients;
    sum
}

/// Over less than this, a rate says nothing.
pub(super) const SHORTEST: Duration = Duration::from_millis(700);

#[cfg(test)]
mod tests {
    use super::*;

    const START: Traffic = Traffic {
        packets: 10,
        bytes: 1000,
    };

    #[test]
    fn a_rate_is_counted_per_second() {
        let later = Traffic {
            packets: 60,
            bytes: 11_000,
        };
        let rate = Rate::between(START, later, Duration::from_millis(500));
        assert_eq!(
            (rate.packets_per_second, rate.bits_per_second),
            (100, 160_000)
        );
        assert_eq!(
            Rate::between(later, START, Duration::from_secs(1)),
            Rate::default()
        );
        assert_eq!(per_second(0, 5, Duration::ZERO), 5000);
    }

    #[test]
    fn meters_tell_a_rate_of_what_they_have_seen_before() {
        let start = crate::clock::Now::read().mono;
        let mut meters = Meters::new(start);
        let mut read = |millis, bytes| {
            let usage = Usage {
                to_peers: Traffic { packets: 1, bytes },
                ..Usage::default()
            };
            let at = start + Duration::from_millis(millis);
            meters.read(at, HashMap::from([("alice", usage)]))["alice"].rate
        };
        assert_eq!(read(1000, 100), None);
        assert_eq!(read(2000, 350).unwrap().bits_per_second, 2000);
        assert_eq!(
            read(2100, 360).unwrap().bits_per_second,
            2000,
            "too soon for another"
        );
        assert_eq!(read(3000, 350).unwrap().bits_per_second, 0);
    }
}

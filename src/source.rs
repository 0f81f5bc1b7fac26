//! Where clients come from, and how much one source may have or do.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

mod bound;
mod throttle;

pub use bound::Bound;
pub use throttle::Throttle;

/// The address that a client speaks from. HTTP puts it into each request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source(pub IpAddr);

/// What counts as one source: an IPv4 address, or an IPv6 /64, since whoever has one address of it has all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network(IpAddr);

/// A bound for each source; by default none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerSource {
    /// The bound; without one there is no limit.
    pub max: Option<u32>,
    /// Whether loopback counts too. A proxy on this machine that names no client would make one source of them all.
    pub counts_loopback: bool,
}

impl Source {
    /// Whether this is our own machine.
    #[must_use]
    pub fn is_loopback(self) -> bool {
        self.0.to_canonical().is_loopback()
    }

    /// The source that this address counts to.
    #[must_use]
    pub fn network(self) -> Network {
        Network(match self.0.to_canonical() {
            IpAddr::V4(ip) => ip.into(),
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & IPV6_NETWORK).into(),
        })
    }
}

impl PerSource {
    /// The same bound for whoever it is.
    #[must_use]
    pub fn everywhere(max: Option<u32>) -> Self {
        Self {
            max,
            counts_loopback: true,
        }
    }

    /// The bound that holds for this source, if any does.
    #[must_use]
    pub fn max_for(self, source: Source) -> Option<u32> {
        self.max
            .filter(|_| self.counts_loopback || !source.is_loopback())
    }
}

/// The first 64 bits.
const IPV6_NETWORK: u128 = !0 << 64;

/// How many of something each source has at a time: connections, sockets.
#[derive(Debug)]
pub struct Seats {
    limit: Bound,
    taken: Mutex<HashMap<Network, u32>>,
}

/// One of them, given back when it is dropped.
#[derive(Debug)]
pub struct Seat(Option<(Arc<Seats>, Network)>);

impl Seats {
    /// None is taken yet.
    #[must_use]
    pub fn new(limit: PerSource) -> Arc<Self> {
        Arc::new(Self {
            limit: Bound::new(limit),
            taken: Mutex::default(),
        })
    }

    /// One more for `source`; `None` when it has as many as it may.
    #[must_use]
    pub fn take(self: &Arc<Self>, source: Source) -> Option<Seat> {
        let max = self.limit.max_for(source);
        let network = source.network();
        let mut taken = self.taken();
        let seats = taken.get(&network).copied().unwrap_or_default();
        if max.is_some_and(|max| seats >= max) {
            return None;
        }
        taken.insert(network, seats.saturating_add(1));
        Some(Seat(Some((Arc::clone(self), network))))
    }

    /// From now on each source may have so many. Whoever has more keeps them.
    pub fn set_limit(&self, limit: PerSource) {
        self.limit.set(limit);
    }

    fn give_back(&self, network: Network) {
        let mut taken = self.taken();
        let Some(seats) = taken.get_mut(&network) else {
            return;
        };
        *seats -= 1;
        if *seats == 0 {
            taken.remove(&network);
        }
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<Network, u32>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// One that counts to nobody.
    #[must_use]
    pub fn uncounted() -> Self {
        Self(None)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some((seats, network)) = self.0.take() {
            seats.give_back(network);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_an_ipv4_address_or_an_ipv6_64() {
        let cases = [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("2001:db8::1", "2001:db8::ffff:0:0:2", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
        ];
        for (one, other, same) in cases {
            let is_same = source(one).network() == source(other).network();
            assert_eq!(is_same, same, "{one} {other}");
        }
    }

    #[test]
    fn no_source_has_more_seats_than_it_may() {
        let seats = Seats::new(per_source(2));
        let (alice, bob) = (source("192.0.2.1"), source("192.0.2.2"));
        let first = seats.take(alice);
        let _second = seats.take(alice).unwrap();
        assert!(seats.take(alice).is_none() && seats.take(bob).is_some());
        drop(first);
        assert!(seats.take(alice).is_some());
    }

    #[test]
    fn a_new_limit_counts_those_who_came_before_it_and_turns_nobody_out() {
        let seats = Seats::new(PerSource::default());
        let alice = source("192.0.2.1");
        let first = seats.take(alice);
        let second = seats.take(alice);
        seats.set_limit(per_source(1));
        assert!(first.is_some() && second.is_some() && seats.take(alice).is_none());
        drop(first);
        assert!(seats.take(alice).is_none());
        drop(second);
        assert!(seats.take(alice).is_some());
    }

    #[test]
    fn of_whoever_is_gone_nothing_is_kept() {
        let seats = Seats::new(per_source(2));
        drop(seats.take(source("192.0.2.1")));
        let closed = Seats::new(per_source(0));
        assert!(closed.take(source("192.0.2.1")).is_none());
        assert!(seats.taken().is_empty() && closed.taken().is_empty());
    }

    #[test]
    fn loopback_counts_only_where_that_is_said() {
        for counts_loopback in [true, false] {
            let limit = PerSource {
                counts_loopback,
                ..per_source(0)
            };
            let seats = Seats::new(limit);
            for ip in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
                let refused = seats.take(source(ip)).is_none();
                assert_eq!(refused, counts_loopback, "{ip}");
            }
        }
    }

    pub(super) fn source(ip: &str) -> Source {
        Source(ip.parse().unwrap())
    }

    pub(super) fn per_source(max: u32) -> PerSource {
        PerSource {
            max: Some(max),
            counts_loopback: false,
        }
    }
}

//! What limits and the peer policy refuse: a counter each, and now and then a line in the log.

use super::sampler::Sampler;
use crate::relay::engine::policy::Denial;

/// A limit that refuses something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Allocates refused, as there are as many allocations as there may be.
    Allocations,
    /// Allocates refused, as their user has as many allocations as one may have.
    AllocationsPerUser,
    /// Datagrams dropped, as all together relay too much.
    Bytes,
    /// Datagrams dropped, as their user relays too much.
    BytesPerUser,
    /// Datagrams dropped, as their allocation relays too much.
    BytesPerAllocation,
    /// Unproven requests left without an answer.
    UnauthenticatedReplies,
    /// Wrong credentials left without an answer.
    FailedLogins,
    /// Connections closed at once, as there are as many as there may be.
    Connections,
    /// Connections closed at once, as their source has as many as one may have.
    ConnectionsPerSource,
}

impl Limit {
    /// Every limit, in the order of their counters.
    pub const ALL: [Self; 9] = [
        Self::Allocations,
        Self::AllocationsPerUser,
        Self::Bytes,
        Self::BytesPerUser,
        Self::BytesPerAllocation,
        Self::UnauthenticatedReplies,
        Self::FailedLogins,
        Self::Connections,
        Self::ConnectionsPerSource,
    ];

    /// Its name in `[limits]`.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Allocations => "allocations",
            Self::AllocationsPerUser => "allocations_per_user",
            Self::Bytes => "bytes_per_second",
            Self::BytesPerUser => "bytes_per_second_per_user",
            Self::BytesPerAllocation => "bytes_per_second_per_allocation",
            Self::UnauthenticatedReplies => "unauthenticated_replies_per_second",
            Self::FailedLogins => "failed_logins_per_minute",
            Self::Connections => "connections",
            Self::ConnectionsPerSource => "connections_per_source",
        }
    }
}

/// What has been refused since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    limits: [u64; Limit::ALL.len()],
    peers: [u64; Denial::ALL.len()],
}

impl Refused {
    /// How often this limit has refused something.
    #[must_use]
    pub fn by(&self, limit: Limit) -> u64 {
        self.limits[limit as usize]
    }

    /// How often a peer of this kind was denied, to a request or to a datagram.
    #[must_use]
    pub fn peers(&self, denial: Denial) -> u64 {
        self.peers[denial as usize]
    }
}

/// The counters themselves, shared by all workers.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    limits: [Sampler; Limit::ALL.len()],
    peers: [Sampler; Denial::ALL.len()],
}

impl Refusals {
    pub(super) fn count(&self, now: u64, limit: Limit) {
        if let Some(refused) = self.limits[limit as usize].count(now) {
            tracing::warn!(limit = limit.key(), refused, "a limit refuses");
        }
    }

    /// Who asks for what no browser asks for may be looking for a way in.
    pub(super) fn count_denial(&self, now: u64, denial: Denial) {
        let Some(denied) = self.peers[denial as usize].count(now) else {
            return;
        };
        let kind = denial.name();
        match denial.is_ordinary() {
            true => tracing::debug!(kind, denied, "a peer is denied"),
            false => tracing::warn!(kind, denied, "a peer is denied"),
        }
    }

    pub(super) fn refused(&self) -> Refused {
        Refused {
            limits: std::array::from_fn(|index| self.limits[index].total()),
            peers: std::array::from_fn(|index| self.peers[index].total()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_has_its_own_counter_and_name() {
        let refusals = Refusals::default();
        let mut names: Vec<_> = Limit::ALL.map(Limit::key).into();
        for (index, limit) in Limit::ALL.into_iter().enumerate() {
            assert_eq!(limit as usize, index);
            refusals.count(0, limit);
            assert_eq!(refusals.refused().by(limit), 1);
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Limit::ALL.len());
    }
}

//! What the engine counts: plain integers, handed out as snapshots.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// Why a datagram was dropped in silence, or a peer's connection closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// Its first byte belongs to neither STUN nor ChannelData.
    UnknownProtocol,
    /// A STUN or ChannelData message that contradicts its own lengths, or lacks the cookie.
    Malformed,
    /// The FINGERPRINT does not match.
    WrongFingerprint,
    /// A method, or a class of one, that this server does not have; responses too.
    UnknownMethod,
    /// An indication with a comprehension-required attribute that this server does not know.
    UnknownAttribute,
    /// No allocation on this five-tuple, or on this relay socket.
    NoAllocation,
    /// The channel is not bound.
    NoChannel,
    /// No permission for the peer.
    NoPermission,
    /// The peer policy forbids the peer.
    ForbiddenPeer,
    /// The payload does not fit into one message to the client.
    TooLong,
    /// More bytes than `[limits]` has for the allocation, its user, or all.
    OverLimit,
    /// A Send indication, where the allocation relays connections.
    WrongTransport,
    /// A peer connected to an allocation that has as many connections as it may.
    TooManyConnections,
}

impl DropReason {
    /// Every reason, in the order of their counters.
    pub const ALL: [Self; 13] = [
        Self::UnknownProtocol,
        Self::Malformed,
        Self::WrongFingerprint,
        Self::UnknownMethod,
        Self::UnknownAttribute,
        Self::NoAllocation,
        Self::NoChannel,
        Self::NoPermission,
        Self::ForbiddenPeer,
        Self::TooLong,
        Self::OverLimit,
        Self::WrongTransport,
        Self::TooManyConnections,
    ];
}

/// Packets and payload bytes in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Datagrams relayed.
    pub packets: u64,
    /// Their payload.
    pub bytes: u64,
}

impl Traffic {
    pub(super) fn count(&mut self, payload_bytes: usize) {
        self.packets += 1;
        self.bytes += payload_bytes as u64;
    }
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
    }
}

/// One engine's state in numbers; those of several workers are added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Allocations alive.
    pub allocations: u64,
    /// Permissions held by them, those that lapsed unnoticed included.
    pub permissions: u64,
    /// Channel bindings held by them, those that lapsed unnoticed included.
    pub channels: u64,
    /// Connections to peers of TCP allocations, those in the making included.
    pub peer_connections: u64,
    /// Relayed from clients to peers since the start.
    pub to_peers: Traffic,
    /// Relayed from peers to clients since the start.
    pub to_clients: Traffic,
    /// Requests answered with success since the start.
    pub successes: u64,
    /// Requests answered with an error since the start, challenges included.
    pub refusals: u64,
    /// CreatePermission and ChannelBind requests refused since the start for a peer that was not signaled.
    pub unsignaled_refused: u64,
    /// Those that named such a peer and were let through, as that is only observed.
    pub unsignaled_observed: u64,
    drops: [u64; DropReason::ALL.len()],
}

impl Snapshot {
    /// Datagrams dropped for this reason since the start.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize]
    }

    pub(super) fn count_drop(&mut self, reason: DropReason) {
        self.drops[reason as usize] += 1;
    }
}

impl AddAssign for Snapshot {
    fn add_assign(&mut self, other: Self) {
        self.allocations += other.allocations;
        self.permissions += other.permissions;
        self.channels += other.channels;
        self.peer_connections += other.peer_connections;
        self.to_peers += other.to_peers;
        self.to_clients += other.to_clients;
        self.successes += other.successes;
        self.refusals += other.refusals;
        self.unsignaled_refused += other.unsignaled_refused;
        self.unsignaled_observed += other.unsignaled_observed;
        for (sum, more) in self.drops.iter_mut().zip(other.drops) {
            *sum += more;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter() {
        let mut snapshot = Snapshot::default();
        for (index, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
            snapshot.count_drop(reason);
        }
        snapshot += snapshot;
        assert_eq!(snapshot.drops, [2; DropReason::ALL.len()]);
    }
}

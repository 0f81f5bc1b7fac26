//! What the engine counts: plain integers, handed out as snapshots.

use std::ops::{AddAssign, SubAssign};

use serde::{Deserialize, Serialize};

use crate::relay::engine::ending::Ending;
use crate::relay::engine::five_tuple::Transport;
use crate::relay::engine::outcome::RelayTransport;
use crate::relay::wire::request::Method;
use crate::relay::wire::response::ErrorCode;

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
    /// More ICMP messages than a client is told of in a second.
    IcmpOverLimit,
    /// A Send indication, where the allocation relays connections.
    WrongTransport,
    /// A peer connected to an allocation that has as many connections as it may.
    TooManyConnections,
    /// Several allocations share the relayed transport address, and nothing tells for which of them it is.
    Ambiguous,
    /// A Send indication to a peer that another allocation on the same relayed transport address has.
    PeerTaken,
}

impl DropReason {
    /// Every reason, in the order of their counters.
    pub const ALL: [Self; 16] = [
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
        Self::IcmpOverLimit,
        Self::WrongTransport,
        Self::TooManyConnections,
        Self::Ambiguous,
        Self::PeerTaken,
    ];

    /// One word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::UnknownProtocol => "unknown_protocol",
            Self::Malformed => "malformed",
            Self::WrongFingerprint => "wrong_fingerprint",
            Self::UnknownMethod => "unknown_method",
            Self::UnknownAttribute => "unknown_attribute",
            Self::NoAllocation => "no_allocation",
            Self::NoChannel => "no_channel",
            Self::NoPermission => "no_permission",
            Self::ForbiddenPeer => "forbidden_peer",
            Self::TooLong => "too_long",
            Self::OverLimit => "over_limit",
            Self::IcmpOverLimit => "icmp_over_limit",
            Self::WrongTransport => "wrong_transport",
            Self::TooManyConnections => "too_many_connections",
            Self::Ambiguous => "ambiguous",
            Self::PeerTaken => "peer_taken",
        }
    }
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

/// Allocations alive, and what they hold, lapsed or not: summed as it changes, as they are many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    alive: [[u64; RelayTransport::ALL.len()]; Transport::ALL.len()],
    permissions: u64,
    channels: u64,
}

impl Held {
    /// Of one allocation.
    pub(super) fn by_one(
        client: Transport,
        relayed: RelayTransport,
        permissions: usize,
        channels: usize,
    ) -> Self {
        let mut held = Self {
            alive: Default::default(),
            permissions: permissions as u64,
            channels: channels as u64,
        };
        held.alive[client as usize][relayed as usize] = 1;
        held
    }

    /// The allocations.
    pub(super) fn allocations(&self) -> u64 {
        self.alive.as_flattened().iter().sum()
    }
}

impl AddAssign for Held {
    fn add_assign(&mut self, more: Self) {
        add(self.alive.as_flattened_mut(), more.alive.as_flattened());
        self.permissions += more.permissions;
        self.channels += more.channels;
    }
}

impl SubAssign for Held {
    fn sub_assign(&mut self, less: Self) {
        let alive = self.alive.as_flattened_mut().iter_mut();
        for (sum, less) in alive.zip(less.alive.as_flattened()) {
            *sum -= less;
        }
        self.permissions -= less.permissions;
        self.channels -= less.channels;
    }
}

/// One engine's state in numbers; those of several workers are added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Allocations alive.
    pub allocations: u64,
    /// The same by how their clients come, and what is relayed.
    alive: [[u64; RelayTransport::ALL.len()]; Transport::ALL.len()],
    /// Allocations made since the start, by how their clients came.
    made: [u64; Transport::ALL.len()],
    /// Allocations ended since the start.
    ended: [u64; Ending::ALL.len()],
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
    /// ICMP messages that clients were told of since the start.
    pub icmp: u64,
    /// Requests answered with success since the start.
    successes: [u64; Method::ALL.len()],
    /// Requests answered with an error since the start, challenges included.
    refusals: [u64; ErrorCode::ALL.len()],
    /// Requests of classic STUN that were told over DTLS that it is not spoken here: 500.
    pub classic_refusals: u64,
    /// Requests since the start whose credentials proved nothing, answered or not.
    pub failed_logins: u64,
    /// CreatePermission and ChannelBind requests refused since the start for a peer that was not signaled.
    pub unsignaled_refused: u64,
    /// Those that named such a peer and were let through, as that is only observed.
    pub unsignaled_observed: u64,
    /// CreatePermission and ChannelBind requests refused since the start (508), as another allocation on the same
    /// relayed transport address has the peer.
    pub peers_taken: u64,
    /// Allocations made since the start that share a relayed transport address with an earlier one.
    pub shared: u64,
    drops: [u64; DropReason::ALL.len()],
}

impl Snapshot {
    /// Datagrams dropped for this reason since the start.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize]
    }

    /// Allocations alive whose clients come over `client`, and for whom `relayed` is relayed.
    #[must_use]
    pub fn allocations_over(&self, client: Transport, relayed: RelayTransport) -> u64 {
        self.alive[client as usize][relayed as usize]
    }

    /// Allocations made since the start for clients that came over this transport.
    #[must_use]
    pub fn made_over(&self, client: Transport) -> u64 {
        self.made[client as usize]
    }

    /// Allocations that have ended like this since the start.
    #[must_use]
    pub fn ended(&self, ending: Ending) -> u64 {
        self.ended[ending as usize]
    }

    /// Requests of this method answered with success since the start.
    #[must_use]
    pub fn successes_of(&self, method: Method) -> u64 {
        self.successes[method as usize]
    }

    /// Requests answered with this error since the start.
    #[must_use]
    pub fn refusals_with(&self, code: ErrorCode) -> u64 {
        self.refusals[code as usize]
    }

    /// Requests answered with any error since the start.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        self.refusals.iter().sum::<u64>() + self.classic_refusals
    }

    pub(super) fn count_drop(&mut self, reason: DropReason) {
        self.drops[reason as usize] += 1;
    }

    pub(super) fn set_held(&mut self, held: Held) {
        self.allocations = held.allocations();
        self.alive = held.alive;
        self.permissions = held.permissions;
        self.channels = held.channels;
    }

    pub(super) fn count_made(&mut self, client: Transport) {
        self.made[client as usize] += 1;
    }

    pub(super) fn count_ended(&mut self, ending: Ending) {
        self.ended[ending as usize] += 1;
    }

    pub(super) fn count_success(&mut self, method: Method) {
        self.successes[method as usize] += 1;
    }

    pub(super) fn count_refusal(&mut self, code: ErrorCode) {
        self.refusals[code as usize] += 1;
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
        self.icmp += other.icmp;
        self.classic_refusals += other.classic_refusals;
        self.failed_logins += other.failed_logins;
        self.unsignaled_refused += other.unsignaled_refused;
        self.unsignaled_observed += other.unsignaled_observed;
        self.peers_taken += other.peers_taken;
        self.shared += other.shared;
        add(self.alive.as_flattened_mut(), other.alive.as_flattened());
        add(&mut self.made, &other.made);
        add(&mut self.ended, &other.ended);
        add(&mut self.successes, &other.successes);
        add(&mut self.refusals, &other.refusals);
        add(&mut self.drops, &other.drops);
    }
}

fn add(sums: &mut [u64], more: &[u64]) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum += more;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_counter_and_two_snapshots_add_up() {
        let mut snapshot = Snapshot::default();
        for (index, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
            snapshot.count_drop(reason);
        }
        for (index, ending) in Ending::ALL.into_iter().enumerate() {
            assert_eq!(ending as usize, index);
            snapshot.count_ended(ending);
        }
        for (index, method) in Method::ALL.into_iter().enumerate() {
            assert_eq!(method as usize, index);
            snapshot.count_success(method);
        }
        for (index, code) in ErrorCode::ALL.into_iter().enumerate() {
            assert_eq!(code as usize, index);
            snapshot.count_refusal(code);
        }
        let mut held = Held::default();
        for (index, client) in Transport::ALL.into_iter().enumerate() {
            assert_eq!(client as usize, index);
            snapshot.count_made(client);
            for (index, relayed) in RelayTransport::ALL.into_iter().enumerate() {
                assert_eq!(relayed as usize, index);
                held += Held::by_one(client, relayed, 2, 3);
            }
        }
        snapshot.set_held(held);
        snapshot += snapshot;
        assert_eq!(snapshot.drops, [2; DropReason::ALL.len()]);
        assert_eq!(snapshot.ended, [2; Ending::ALL.len()]);
        assert_eq!(snapshot.successes, [2; Method::ALL.len()]);
        assert_eq!(snapshot.refusals, [2; ErrorCode::ALL.len()]);
        assert_eq!(snapshot.made, [2; Transport::ALL.len()]);
        assert_eq!(snapshot.alive, [[2; 2]; Transport::ALL.len()]);
        assert_eq!(snapshot.allocations, 16);
        assert_eq!((snapshot.permissions, snapshot.channels), (32, 48));
        held -= Held::by_one(Transport::Tls, RelayTransport::Tcp, 16, 24);
        assert_eq!(held.alive, [[1, 1], [1, 1], [1, 0], [1, 1]]);
        assert_eq!((held.permissions, held.channels), (0, 0));
    }
}

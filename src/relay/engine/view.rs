//! Allocations as an operator sees them.

use std::{fmt, net::SocketAddr, time::Duration};

use crate::clock::Now;
use crate::ident::UserId;
use crate::relay::engine::Engine;
use crate::relay::engine::allocation::Allocation;
use crate::relay::engine::counters::Traffic;
use crate::relay::engine::ending::Ending;
use crate::relay::engine::five_tuple::FiveTuple;

/// Names one allocation for as long as it lives, and no other one after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AllocationId(pub(super) u64);

impl AllocationId {
    /// What [`Display`](fmt::Display) wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let number = u64::from_str_radix(text, 16).ok().map(Self);
        number.filter(|id| id.to_string() == text)
    }
}

impl fmt::Display for AllocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One allocation, alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllocationView {
    /// An [`AllocationId`], in words.
    pub id: String,
    /// Whose it is.
    pub user: UserId,
    /// Who is connected, to where, over which transport.
    pub client: FiveTuple,
    /// The relayed transport address, as clients and peers are told.
    pub relayed: SocketAddr,
    /// The one of the other family, where it has both.
    pub additional_relayed: Option<SocketAddr>,
    /// How long ago it was made.
    pub age: Duration,
    /// How long it lives on unless refreshed.
    pub remaining: Duration,
    /// Peers that may be reached now.
    pub permissions: u64,
    /// Channels bound now.
    pub channels: u64,
    /// Relayed from the client to peers.
    pub to_peers: Traffic,
    /// Relayed from peers to the client.
    pub to_clients: Traffic,
}

/// A few of the allocations that match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SomeAllocations {
    /// How many match.
    pub matching: usize,
    /// Those that are told of.
    pub views: Vec<AllocationView>,
}

impl Engine {
    /// The allocations of these users, alive.
    #[must_use]
    pub fn allocations_of(&self, now: Now, users: &[UserId]) -> Vec<AllocationView> {
        let found = users.iter().flat_map(|user| self.allocations.of_user(user));
        let alive = found.filter(|found| found.lives(now));
        alive.map(|found| AllocationView::of(now, found)).collect()
    }

    /// At most so many of the allocations whose user's name has `text` in it, in small letters.
    #[must_use]
    pub fn some_allocations(&self, now: Now, text: &str, at_most: usize) -> SomeAllocations {
        let mut found = SomeAllocations::default();
        for allocation in self.allocations.iter().filter(|found| found.lives(now)) {
            let name = allocation.owner.user().name();
            if text.is_empty() || name.to_lowercase().contains(text) {
                found.matching += 1;
                if found.views.len() < at_most {
                    found.views.push(AllocationView::of(now, allocation));
                }
            }
        }
        found
    }

    /// The allocations alive.
    #[must_use]
    pub fn allocations(&self, now: Now) -> Vec<AllocationView> {
        let alive = self.allocations.iter().filter(|found| found.lives(now));
        alive.map(|found| AllocationView::of(now, found)).collect()
    }

    /// Ends one allocation; its user may make another. Says whether there was one.
    pub fn close_allocation(&mut self, now: Now, id: AllocationId) -> bool {
        debug_assert!(self.effects.is_empty() && self.pending.is_none());
        let found = self.allocations.iter().find(|other| other.id == id);
        let Some(client) = found.map(|allocation| allocation.client) else {
            return false;
        };
        self.let_go(now, client, Ending::Closed);
        true
    }
}

impl AllocationView {
    pub(super) fn of(now: Now, allocation: &Allocation) -> Self {
        let expires_at = allocation.halves.last_expiry();
        Self {
            id: allocation.id.to_string(),
            user: allocation.owner.user().clone(),
            client: allocation.client,
            relayed: allocation.halves.first().relayed.0,
            additional_relayed: allocation.halves.second().map(|half| half.relayed.0),
            age: now.mono.saturating_duration_since(allocation.made_at),
            remaining: expires_at.saturating_duration_since(now.mono),
            permissions: allocation.permissions.live(now) as u64,
            channels: allocation.channels.live(now) as u64,
            to_peers: allocation.to_peers,
            to_clients: allocation.to_clients,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_only_as_it_was_written() {
        for number in [0, 1, 0xDEAD_BEEF, u64::MAX] {
            let id = AllocationId(number);
            assert_eq!(AllocationId::parse(&id.to_string()), Some(id));
        }
        for text in ["", "0", "+000000000000001", "00000000000000FF", "zz", "é"] {
            assert_eq!(AllocationId::parse(text), None, "{text:?}");
        }
    }
}

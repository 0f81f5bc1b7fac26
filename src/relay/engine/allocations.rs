//! The one table of allocations and its indexes. Only `insert` and `remove` change them.

use std::{collections::HashMap, time::Instant};

use rustc_hash::FxHashMap;
use slab::Slab;

use crate::clock::{Now, UnixSeconds};
use crate::ident::UserId;
use crate::relay::engine::auth::Identity;
use crate::relay::engine::channel::Channels;
use crate::relay::engine::counters::Traffic;
use crate::relay::engine::deadlines::Deadlines;
use crate::relay::engine::five_tuple::{Family, FiveTuple, RelayKey};
use crate::relay::engine::halves::{Half, Halves};
use crate::relay::engine::icmp::IcmpBudget;
use crate::relay::engine::limits::Place;
use crate::relay::engine::permission::Permissions;
use crate::relay::engine::view::AllocationId;
use crate::relay::wire::connection::ConnectionId;
use crate::relay::wire::message::TransactionId;

/// What a client holds ([RFC 8656 §3.2](https://www.rfc-editor.org/rfc/rfc8656#section-3.2)).
#[derive(Debug)]
pub(super) struct Allocation {
    pub(super) id: AllocationId,
    pub(super) client: FiveTuple,
    pub(super) halves: Halves,
    /// Who made it, with the key that they made it with.
    pub(super) owner: Identity,
    /// What it counts in the limits.
    pub(super) place: Place,
    pub(super) made_at: Instant,
    pub(super) permissions: Permissions,
    pub(super) channels: Channels,
    /// Its connections to peers; `None` where it relays datagrams.
    pub(super) connections: Option<Vec<ConnectionId>>,
    pub(super) to_peers: Traffic,
    pub(super) to_clients: Traffic,
    pub(super) icmp: IcmpBudget,
    /// The Allocate that made it, and its answer: a retransmission gets the same once more.
    pub(super) made_by: TransactionId,
    pub(super) answer: Vec<u8>,
}

impl Allocation {
    /// Whether peers of this family can be reached.
    pub(super) fn reaches(&self, now: Now, family: Family) -> bool {
        self.halves.of(now, family).is_some()
    }

    /// One that has expired is as good as gone, even before its deadline is handled.
    pub(super) fn lives(&self, now: Now) -> bool {
        self.halves.live(now)
    }
}

/// Every allocation of one engine.
#[derive(Debug, Default)]
pub(super) struct Allocations {
    table: Slab<Allocation>,
    by_client: FxHashMap<FiveTuple, usize>,
    /// At the relay's number: workers number their sockets from 0 upwards.
    by_relay: Vec<Option<usize>>,
    by_user: HashMap<UserId, Vec<usize>>,
    deadlines: Deadlines<usize>,
}

impl Allocations {
    pub(super) fn has(&self, client: &FiveTuple) -> bool {
        self.by_client.contains_key(client)
    }

    pub(super) fn by_client(&self, now: Now, client: FiveTuple) -> Option<&Allocation> {
        let slot = *self.by_client.get(&client)?;
        self.table
            .get(slot)
            .filter(|allocation| allocation.lives(now))
    }

    pub(super) fn by_client_mut(&mut self, now: Now, client: FiveTuple) -> Option<&mut Allocation> {
        let slot = *self.by_client.get(&client)?;
        self.table
            .get_mut(slot)
            .filter(|allocation| allocation.lives(now))
    }

    pub(super) fn by_relay_mut(&mut self, now: Now, relay: RelayKey) -> Option<&mut Allocation> {
        let slot = (*self.by_relay.get(relay.0 as usize)?)?;
        self.table
            .get_mut(slot)
            .filter(|allocation| allocation.halves.with(now, relay).is_some())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Allocation> {
        self.table.iter().map(|(_, allocation)| allocation)
    }

    pub(super) fn of_user(&self, user: &UserId) -> impl Iterator<Item = &Allocation> {
        let slots = self.by_user.get(user).into_iter().flatten();
        slots.filter_map(|slot| self.table.get(*slot))
    }

    /// The caller has seen to it that neither five-tuple nor any of its relays is taken.
    pub(super) fn insert(&mut self, allocation: Allocation) {
        let entry = self.table.vacant_entry();
        let slot = entry.key();
        for half in allocation.halves.iter() {
            let relay = half.relay.0 as usize;
            if self.by_relay.len() <= relay {
                self.by_relay.resize(relay + 1, None);
            }
            self.by_relay[relay] = Some(slot);
        }
        self.by_client.insert(allocation.client, slot);
        let user = allocation.owner.user.clone();
        let expires_at = allocation.halves.next_expiry();
        entry.insert(allocation);
        self.by_user.entry(user).or_default().push(slot);
        self.deadlines.push(expires_at, slot);
        self.keep_deadlines_short();
        debug_assert!(self.consistent());
    }

    pub(super) fn remove(&mut self, client: FiveTuple) -> Option<Allocation> {
        let slot = self.by_client.remove(&client)?;
        let allocation = self.table.try_remove(slot)?;
        for half in allocation.halves.iter() {
            self.by_relay[half.relay.0 as usize] = None;
        }
        let user = &allocation.owner.user;
        if let Some(slots) = self.by_user.get_mut(user) {
            slots.retain(|other| *other != slot);
            if slots.is_empty() {
                self.by_user.remove(user);
            }
        }
        debug_assert!(self.consistent());
        Some(allocation)
    }

    /// Removes one family of an allocation that has both, with its permissions and channels.
    pub(super) fn remove_half(&mut self, client: FiveTuple, family: Family) -> Option<Half> {
        let slot = *self.by_client.get(&client)?;
        let allocation = self.table.get_mut(slot)?;
        let half = allocation.halves.remove(family)?;
        allocation.permissions.forget(half.family());
        allocation.channels.forget(half.family());
        self.by_relay[half.relay.0 as usize] = None;
        debug_assert!(self.consistent());
        Some(half)
    }

    /// Whose time is over, which family of theirs; the caller removes it before asking again.
    pub(super) fn next_expired(&mut self, now: Now) -> Option<(FiveTuple, Family)> {
        while let Some(slot) = self.deadlines.pop_due(now.mono) {
            let Some(allocation) = self.table.get(slot) else {
                continue;
            };
            // The other half is looked at next, for its own deadline.
            self.deadlines.push(allocation.halves.next_expiry(), slot);
            if let Some(half) = allocation.halves.expired(now) {
                return Some((allocation.client, half.family()));
            }
        }
        None
    }

    /// Removes one of the user's, made with a credential that expires at or before `until`.
    pub(super) fn remove_of(&mut self, user: &UserId, until: UnixSeconds) -> Option<Allocation> {
        let mut slots = self.by_user.get(user)?.iter();
        let ends = |slot: &&usize| self.table[**slot].owner.ends_by(until);
        let slot = *slots.find(ends)?;
        self.remove(self.table[slot].client)
    }

    /// Moves the expiry of the allocation on this five-tuple, or of one family of it.
    pub(super) fn set_expiry(
        &mut self,
        client: FiveTuple,
        family: Option<Family>,
        expires_at: Instant,
    ) {
        let Some(&slot) = self.by_client.get(&client) else {
            return;
        };
        let Some(allocation) = self.table.get_mut(slot) else {
            return;
        };
        // A later expiry is found when the earlier deadline comes; an earlier one needs a deadline of its own.
        if expires_at < allocation.halves.next_expiry() {
            self.deadlines.push(expires_at, slot);
        }
        allocation.halves.set_expiry(family, expires_at);
        self.keep_deadlines_short();
    }

    /// At or before the next expiry.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Clients that come and go quickly leave deadlines behind.
    fn keep_deadlines_short(&mut self) {
        if self.deadlines.len() > 2 * self.table.len() + DEADLINES_SLACK {
            let entries = self.table.iter();
            self.deadlines
                .rebuild(entries.map(|(slot, allocation)| (allocation.halves.next_expiry(), slot)));
        }
    }

    fn consistent(&self) -> bool {
        let of_users: usize = self.by_user.values().map(Vec::len).sum();
        let of_relays = self.by_relay.iter().flatten().count();
        let halves = self
            .iter()
            .map(|allocation| allocation.halves.iter().count());
        let indexed = |(slot, allocation): (usize, &Allocation)| {
            let user = self.by_user.get(&allocation.owner.user);
            let mut halves = allocation.halves.iter();
            self.by_client.get(&allocation.client) == Some(&slot)
                && halves.all(|half| self.by_relay[half.relay.0 as usize] == Some(slot))
                && user.is_some_and(|slots| slots.contains(&slot))
        };
        [self.by_client.len(), of_users] == [self.table.len(); 2]
            && of_relays == halves.sum::<usize>()
            && self.table.iter().all(indexed)
    }
}

const DEADLINES_SLACK: usize = 64;

//! The one table of allocations and its indexes. Only what is here changes them.

use std::{collections::HashMap, time::Instant};

use rustc_hash::FxHashMap;
use slab::Slab;
use smallvec::SmallVec;

use crate::clock::{Now, UnixSeconds};
use crate::ident::UserId;
use crate::relay::engine::allocation::Allocation;
use crate::relay::engine::clients::Clients;
use crate::relay::engine::counters::{DropReason, Held};
use crate::relay::engine::deadlines::Deadlines;
use crate::relay::engine::five_tuple::{Family, FiveTuple, PeerAddr, RelayKey};
use crate::relay::engine::halves::Half;
use crate::relay::engine::outcome::OpenedRelay;
use crate::relay::engine::relays::{Claim, Incoming, Relays, Taken};
use crate::relay::engine::view::AllocationId;
use crate::relay::wire::ice::Check;
use crate::relay::wire::message::TransactionId;
use crate::relay::wire::mobility::Ticket;

/// Every allocation of one engine.
#[derive(Debug)]
pub(super) struct Allocations {
    table: Slab<Allocation>,
    /// Two for one that is moving.
    by_client: Clients,
    by_ticket: FxHashMap<Ticket, usize>,
    relays: Relays,
    by_user: HashMap<UserId, SmallVec<[u32; 4]>>,
    deadlines: Deadlines<usize>,
    /// What all of them hold.
    held: Held,
    /// Relays that are nobody's since somebody was removed.
    closed: SmallVec<[RelayKey; 2]>,
}

impl Allocations {
    pub(super) fn new(relays: Relays) -> Self {
        Self {
            table: Slab::new(),
            by_client: Clients::default(),
            by_ticket: FxHashMap::default(),
            relays,
            by_user: HashMap::new(),
            deadlines: Deadlines::default(),
            held: Held::default(),
            closed: SmallVec::new(),
        }
    }

    pub(super) fn has(&self, client: &FiveTuple) -> bool {
        self.slot_of(client).is_some()
    }

    pub(super) fn by_client(&self, now: Now, client: FiveTuple) -> Option<&Allocation> {
        let slot = self.slot_of(&client)?;
        self.table
            .get(slot)
            .filter(|allocation| allocation.lives(now))
    }

    pub(super) fn by_client_mut(&mut self, now: Now, client: FiveTuple) -> Option<&mut Allocation> {
        let slot = self.slot_of(&client)?;
        self.table
            .get_mut(slot)
            .filter(|allocation| allocation.lives(now))
    }

    /// The allocation of whoever sends data from this five-tuple, and its slot: one that was moving here has arrived.
    pub(super) fn by_sender(
        &mut self,
        now: Now,
        client: &FiveTuple,
    ) -> Option<(usize, &mut Allocation)> {
        let slot = self.slot_of(client)?;
        if self.table.get(slot)?.moves_to(client) {
            self.arrive(slot, *client);
        }
        let allocation = self.table.get_mut(slot)?;
        allocation.lives(now).then_some((slot, allocation))
    }

    pub(super) fn at(&mut self, slot: usize) -> Option<&mut Allocation> {
        self.table.get_mut(slot)
    }

    pub(super) fn by_ticket(&self, now: Now, ticket: Ticket) -> Option<&Allocation> {
        let slot = *self.by_ticket.get(&ticket)?;
        self.table
            .get(slot)
            .filter(|allocation| allocation.lives(now))
    }

    /// The allocation that a datagram from a peer, or a peer's connection, is for.
    pub(super) fn receiver(
        &mut self,
        now: Now,
        relay: RelayKey,
        incoming: Incoming<'_>,
    ) -> Result<&mut Allocation, DropReason> {
        let peer = incoming.peer;
        let receiver = self.relays.receiver(now, relay, incoming, &self.table)?;
        let slot = receiver.slot as usize;
        if receiver.is_new {
            self.meet(now, slot, peer);
        }
        let lives = |found: &&mut Allocation| found.halves.with(now, relay).is_some();
        let found = self.table.get_mut(slot).filter(lives);
        let allocation = found.ok_or(DropReason::NoAllocation)?;
        if !allocation.permissions.permit(now, peer.0.ip()) {
            return Err(DropReason::NoPermission);
        }
        Ok(allocation)
    }

    /// Keeps in mind that a peer is the allocation's from now on, as its check says.
    #[cold]
    fn meet(&mut self, now: Now, slot: usize, peer: PeerAddr) {
        let (relays, table) = (&mut self.relays, &mut self.table);
        // Where it has too many peers already, each check tells anew.
        let _ = relays.claim(now, slot, &[peer], Claim::Heard, table);
    }

    /// Keeps in mind what a datagram to this peer tells of its sender, where others may share its relayed address.
    pub(super) fn leave_traces(
        &mut self,
        now: Now,
        slot: usize,
        peer: PeerAddr,
        payload: &[u8],
    ) -> Result<(), Taken> {
        let check = Check::parse(payload);
        let claim = match check {
            Some(_) => Claim::Checked,
            None => Claim::Named,
        };
        self.relays
            .claim(now, slot, &[peer], claim, &mut self.table)?;
        if let Some(check) = check
            && let Some(allocation) = self.table.get_mut(slot)
        {
            allocation.traces.learn(now, peer, check.from);
        }
        Ok(())
    }

    /// The same of what goes by a channel: whoever has bound it has named the peer.
    pub(super) fn leave_traces_by_channel(
        &mut self,
        now: Now,
        relay: RelayKey,
        slot: usize,
        peer: PeerAddr,
        payload: &[u8],
    ) -> Result<(), Taken> {
        if !Check::may_be(payload) && self.relays.goes_on(now, relay, slot, peer) {
            return Ok(());
        }
        self.leave_traces(now, slot, peer, payload)
    }

    /// Keeps in mind that these peers are this client's: all of them, or none where another one has one of them.
    pub(super) fn claim(
        &mut self,
        now: Now,
        client: FiveTuple,
        peers: &[PeerAddr],
    ) -> Result<(), Taken> {
        match self.slot_of(&client) {
            Some(slot) => {
                let table = &mut self.table;
                self.relays.claim(now, slot, peers, Claim::Named, table)
            }
            None => Ok(()),
        }
    }

    /// The same of those that it permits from now on. One that it had and permits still may be another one's by now: that
    /// is left to that one.
    pub(super) fn claim_permitted(
        &mut self,
        now: Now,
        client: FiveTuple,
        peers: &[PeerAddr],
    ) -> Result<(), Taken> {
        let Some(slot) = self.slot_of(&client) else {
            return Ok(());
        };
        let was_its = |peer: PeerAddr| {
            self.table.get(slot).is_some_and(|allocation| {
                allocation.traces.knows(peer) && allocation.permissions.permit(now, peer.0.ip())
            })
        };
        let is_left =
            |peer: PeerAddr| was_its(peer) && !self.relays.is_free(now, slot, peer, &self.table);
        let peers = peers.iter().copied().filter(|peer| !is_left(*peer));
        let peers: SmallVec<[PeerAddr; 8]> = peers.collect();
        self.claim(now, client, &peers)
    }

    pub(super) fn relays(&self) -> &Relays {
        &self.relays
    }

    /// A relay that one more allocation of this user may share.
    pub(super) fn to_share(
        &self,
        family: Family,
        a_port_is_free: bool,
        user: &UserId,
    ) -> Option<OpenedRelay> {
        let is_theirs = |slot: u32| {
            let found = self.table.get(slot as usize);
            found.is_some_and(|allocation| allocation.owner.user() == user)
        };
        self.relays.to_share(family, a_port_is_free, is_theirs)
    }

    /// A relay that is nobody's any more: to be closed.
    pub(super) fn poll_closed(&mut self) -> Option<RelayKey> {
        self.closed.pop()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Allocation> {
        self.table.iter().map(|(_, allocation)| allocation)
    }

    /// Lets what each holds be changed.
    pub(super) fn change_all(&mut self, mut change: impl FnMut(&mut Allocation)) {
        for (_, allocation) in &mut self.table {
            self.held -= allocation.held();
            change(allocation);
            self.held += allocation.held();
        }
        debug_assert!(self.consistent());
    }

    pub(super) fn of_user(&self, user: &UserId) -> impl Iterator<Item = &Allocation> {
        let slots = self.by_user.get(user).into_iter().flatten();
        slots.filter_map(|slot| self.table.get(*slot as usize))
    }

    /// The caller has seen to it that the five-tuple is not taken, nor any of its relays unless it is to be shared.
    /// `may_share` says whether others may have its relays, too.
    pub(super) fn insert(&mut self, now: Now, mut allocation: Allocation, may_share: bool) {
        let slot = self.table.vacant_key();
        for half in allocation.halves.iter() {
            let transport = allocation.relays();
            self.relays
                .hold(now, half, slot, transport, may_share, &self.table);
        }
        self.by_client.insert(&allocation.client, slot);
        if let Some(mobility) = &allocation.mobility {
            self.by_ticket.insert(mobility.ticket, slot);
        }
        let of_user = self.by_user.entry(allocation.owner.user().clone());
        let of_user = of_user.or_default();
        if let Some(other) = of_user.first() {
            let other = &self.table[*other as usize];
            allocation.owner.share(&other.owner);
        }
        allocation.at_user = of_user.len();
        of_user.push(slot as u32);
        self.deadlines.push(allocation.halves.next_expiry(), slot);
        self.held += allocation.held();
        self.table.insert(allocation);
        self.keep_deadlines_short();
        debug_assert!(self.consistent());
    }

    pub(super) fn remove(&mut self, now: Now, client: FiveTuple) -> Option<Allocation> {
        let slot = self.slot_of(&client)?;
        let allocation = self.table.try_remove(slot)?;
        self.by_client.remove(&allocation.client, slot);
        if let Some(mobility) = &allocation.mobility {
            self.by_ticket.remove(&mobility.ticket);
            if let Some(next) = mobility.next {
                self.by_client.remove(&next, slot);
            }
        }
        for half in allocation.halves.iter() {
            self.let_go(now, half, slot, allocation.traces.peers());
        }
        self.remove_of_user(&allocation);
        self.held -= allocation.held();
        debug_assert!(self.consistent());
        Some(allocation)
    }

    /// The user's last one takes its place.
    fn remove_of_user(&mut self, allocation: &Allocation) {
        let user = allocation.owner.user();
        let Some(slots) = self.by_user.get_mut(user) else {
            return;
        };
        slots.swap_remove(allocation.at_user);
        if slots.is_empty() {
            self.by_user.remove(user);
        } else if let Some(moved) = slots.get(allocation.at_user) {
            self.table[*moved as usize].at_user = allocation.at_user;
        }
    }

    /// How many there are, and what they hold.
    pub(super) fn held(&self) -> Held {
        self.held
    }

    /// One of them held this before a request changed its permissions or channels, and holds that now.
    pub(super) fn recount(&mut self, before: Held, now: Held) {
        self.held -= before;
        self.held += now;
        debug_assert!(self.consistent());
    }

    /// Gives the mobile allocation on `at` another ticket, and a second five-tuple where `client` is another one.
    pub(super) fn renew(
        &mut self,
        at: FiveTuple,
        client: FiveTuple,
        make: impl FnOnce(AllocationId, u64) -> Ticket,
    ) -> Option<Ticket> {
        let slot = self.slot_of(&at)?;
        let allocation = self.table.get_mut(slot)?;
        let mobility = allocation.mobility.as_mut()?;
        self.by_ticket.remove(&mobility.ticket);
        mobility.ticket = make(allocation.id, mobility.tickets);
        mobility.tickets += 1;
        self.by_ticket.insert(mobility.ticket, slot);
        if client != allocation.client && mobility.next != Some(client) {
            if let Some(abandoned) = mobility.next.replace(client) {
                self.by_client.remove(&abandoned, slot);
            }
            self.by_client.insert(&client, slot);
        }
        let ticket = mobility.ticket;
        debug_assert!(self.consistent());
        Some(ticket)
    }

    /// Keeps the answer to the Refresh that brought the last ticket.
    pub(super) fn set_renewed_by(&mut self, client: FiveTuple, by: TransactionId, answer: &[u8]) {
        let slot = self.slot_of(&client);
        let allocation = slot.and_then(|slot| self.table.get_mut(slot));
        if let Some(mobility) = allocation.and_then(|found| found.mobility.as_mut()) {
            mobility.renewed_by = Some((by, answer.to_vec()));
        }
    }

    /// One of the two five-tuples of a moving allocation is no more: it goes on at the other one. `false` for any other.
    pub(super) fn leave(&mut self, client: FiveTuple) -> bool {
        let Some(slot) = self.slot_of(&client) else {
            return false;
        };
        let Some(allocation) = self.table.get_mut(slot) else {
            return false;
        };
        let Some(next) = allocation.next() else {
            return false;
        };
        if client == allocation.client {
            self.arrive(slot, next);
        } else {
            self.by_client.remove(&client, slot);
            allocation.set_next(None);
        }
        debug_assert!(self.consistent());
        true
    }

    /// The old five-tuple is nobody's any more.
    fn arrive(&mut self, slot: usize, client: FiveTuple) {
        if let Some(allocation) = self.table.get_mut(slot) {
            self.by_client.remove(&allocation.client, slot);
            self.held -= allocation.held();
            allocation.client = client;
            allocation.set_next(None);
            self.held += allocation.held();
        }
        debug_assert!(self.consistent());
    }

    /// Removes one family of an allocation that has both, with its permissions and channels.
    pub(super) fn remove_half(
        &mut self,
        now: Now,
        client: FiveTuple,
        family: Family,
    ) -> Option<Half> {
        let slot = self.slot_of(&client)?;
        let allocation = self.table.get_mut(slot)?;
        let half = allocation.halves.remove(family)?;
        self.held -= allocation.held();
        allocation.permissions.forget(half.family());
        allocation.channels.forget(half.family());
        self.held += allocation.held();
        let is_others = |peer: PeerAddr| Family::of(peer.0.ip()) != half.family();
        let peers = allocation.traces.forget(is_others);
        self.let_go(now, &half, slot, peers);
        debug_assert!(self.consistent());
        Some(half)
    }

    /// `peers` are those that the allocation has named, of any family.
    fn let_go(
        &mut self,
        now: Now,
        half: &Half,
        slot: usize,
        peers: impl IntoIterator<Item = PeerAddr>,
    ) {
        if self.relays.let_go(now, half, slot, peers) {
            self.closed.push(half.relay);
        }
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
    pub(super) fn remove_of(
        &mut self,
        now: Now,
        user: &UserId,
        until: UnixSeconds,
    ) -> Option<Allocation> {
        let mut slots = self.by_user.get(user)?.iter();
        let ends = |slot: &&u32| self.table[**slot as usize].owner.ends_by(until);
        let slot = *slots.find(ends)?;
        self.remove(now, self.table[slot as usize].client)
    }

    /// Moves the expiry of the allocation on this five-tuple, or of one family of it.
    pub(super) fn set_expiry(
        &mut self,
        client: FiveTuple,
        family: Option<Family>,
        expires_at: Instant,
    ) {
        let Some(slot) = self.slot_of(&client) else {
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

    fn slot_of(&self, client: &FiveTuple) -> Option<usize> {
        let is_theirs = |slot| {
            let found: Option<&Allocation> = self.table.get(slot);
            found.is_some_and(|allocation| allocation.is_at(client))
        };
        self.by_client.find(client, is_theirs)
    }

    fn consistent(&self) -> bool {
        let of_users: usize = self.by_user.values().map(SmallVec::len).sum();
        let halves = self
            .iter()
            .map(|allocation| allocation.halves.iter().count());
        let indexed = |(slot, allocation): (usize, &Allocation)| {
            let user = self.by_user.get(allocation.owner.user());
            let mut halves = allocation.halves.iter();
            self.slot_of(&allocation.client) == Some(slot)
                && halves.all(|half| self.relays.is_held_by(half.relay, slot))
                && user.is_some_and(|slots| slots[allocation.at_user] as usize == slot)
        };
        let mut held = Held::default();
        self.iter().for_each(|allocation| held += allocation.held());
        let moving = self.iter().filter(|allocation| allocation.next().is_some());
        let mobile = self
            .iter()
            .filter(|allocation| allocation.mobility.is_some());
        [self.by_client.len() - moving.count(), of_users] == [self.table.len(); 2]
            && self.by_ticket.len() == mobile.count()
            && self.relays.holds() == halves.sum::<usize>()
            && self.held == held
            && self.table.iter().all(indexed)
    }
}

const DEADLINES_SLACK: usize = 64;

//! The relay sockets of one engine, and which allocation what comes to them is for.
//!
//! An allocation has a relayed transport address of its own while there are free ones, and shares one when there are
//! none. What comes to a shared one is told apart by the exact peer; a connectivity check also by whom it says it is for;
//! and anything else by its peer's IP address, where only one allocation permits that. A wrong delivery is worse than
//! none: what can't be told apart is dropped, and no two allocations have the same peer outside this process at a time.

mod crowd;

pub(super) use crowd::{Claim, Incoming};
use crowd::{Crowd, Receiver};

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use slab::Slab;
use smallvec::SmallVec;

use crate::clock::Now;
use crate::relay::engine::allocation::Allocation;
use crate::relay::engine::counters::DropReason;
use crate::relay::engine::five_tuple::{Family, PeerAddr, RelayKey, RelayedAddr};
use crate::relay::engine::halves::Half;
use crate::relay::engine::outcome::{OpenedRelay, RelayTransport};
use crate::relay::engine::relayed::RelayedAddrs;
use crate::relay::engine::share::Share;
use crate::relay::engine::traces::Named;

/// When allocations share a relayed transport address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PortSharing {
    /// As soon as there is one to share, even where ports are free.
    Always,
    /// When no port is free.
    #[default]
    WhenFull,
    /// Never: 508 when no port is free.
    Never,
}

/// How many allocations share one address before another port is opened, where they always share.
pub(super) const ALWAYS_SHARED_BY: usize = 16;

/// How many allocations share one address at most.
pub(super) const SHARED_BY_MAX: usize = 512;

/// How many addresses are looked at for one that none of the user's allocations has.
const LOOKED_AT_MAX: usize = 64;

/// All relay sockets of one engine.
#[derive(Debug)]
pub(super) struct Relays {
    sharing: PortSharing,
    share: Share,
    addrs: Arc<RelayedAddrs>,
    /// At the relay's number: workers number their sockets from 0 upwards.
    open: Vec<Option<Relay>>,
    /// Those that may be shared, by how many do: of IPv4, of IPv6.
    by_load: [BTreeSet<(usize, u32)>; 2],
}

/// One relay socket.
#[derive(Debug)]
struct Relay {
    relayed: RelayedAddr,
    transport: RelayTransport,
    may_be_shared: bool,
    /// Whose it is: slots of the allocations' table.
    holders: SmallVec<[u32; 2]>,
    /// Once there were several holders, or the only one was spoken to by a client of this process.
    crowd: Option<Box<Crowd>>,
}

/// How a peer is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Through the relay socket.
    Outside,
    /// It is a client of this engine, behind this relay socket.
    Inside(RelayKey),
    /// It is a client of this worker.
    Neighbour(u32),
}

/// Another allocation on the same relayed transport address has this peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken;

impl Relays {
    pub(super) fn new(sharing: PortSharing, share: Share, addrs: Arc<RelayedAddrs>) -> Self {
        Self {
            sharing,
            share,
            addrs,
            open: Vec::new(),
            by_load: Default::default(),
        }
    }

    /// The relay is this allocation's, too. One that is new may be shared later, if the caller says so.
    pub(super) fn hold(
        &mut self,
        now: Now,
        half: &Half,
        slot: usize,
        transport: RelayTransport,
        may_be_shared: bool,
        table: &Slab<Allocation>,
    ) {
        let (key, family) = (half.relay, half.family());
        if self.open.len() <= key.0 as usize {
            self.open.resize_with(key.0 as usize + 1, || None);
        }
        let place = &mut self.open[key.0 as usize];
        let load = match place {
            Some(relay) => {
                let before = relay.holders.len();
                relay.join(now, slot as u32, &self.addrs, table);
                before
            }
            None => {
                let may_be_shared = may_be_shared && self.sharing != PortSharing::Never;
                *place = Some(Relay {
                    relayed: half.relayed,
                    transport,
                    may_be_shared,
                    holders: SmallVec::from_elem(slot as u32, 1),
                    crowd: None,
                });
                if transport == RelayTransport::Udp {
                    self.addrs.enter(half.relayed, self.share.number, key);
                }
                0
            }
        };
        if self.get(key).is_some_and(|relay| relay.may_be_shared) {
            let by_load = &mut self.by_load[family as usize];
            by_load.remove(&(load, key.0));
            by_load.insert((load + 1, key.0));
        }
    }

    /// The relay is no longer this allocation's, which has named these peers; whether it is nobody's now.
    pub(super) fn let_go(
        &mut self,
        now: Now,
        half: &Half,
        slot: usize,
        peers: impl IntoIterator<Item = PeerAddr>,
    ) -> bool {
        let (key, family) = (half.relay, half.family());
        let Some(Some(relay)) = self.open.get_mut(key.0 as usize) else {
            return false;
        };
        let (load, by_load) = (relay.holders.len(), &mut self.by_load[family as usize]);
        relay.leave(now, slot as u32, peers);
        let was_listed = by_load.remove(&(load, key.0));
        if !relay.holders.is_empty() {
            if was_listed {
                by_load.insert((load - 1, key.0));
            }
            return false;
        }
        if relay.transport == RelayTransport::Udp {
            self.addrs.leave(relay.relayed);
        }
        self.open[key.0 as usize] = None;
        true
    }

    /// Whether there are relayed transport addresses of this family.
    pub(super) fn serve(&self, family: Family) -> bool {
        self.addrs.serve(family)
    }

    /// How a peer is reached.
    pub(super) fn way_to(&self, peer: SocketAddr) -> Way {
        match self.addrs.owner(peer) {
            None => Way::Outside,
            Some((worker, relay)) if worker == self.share.number => Way::Inside(relay),
            Some((worker, _)) => Way::Neighbour(worker),
        }
    }

    /// A relay for one more allocation, with a port of its own still to be had, or not. `is_theirs` tells the
    /// allocations of the same user: these name the same peers, and are kept apart where possible.
    pub(super) fn to_share(
        &self,
        family: Family,
        a_port_is_free: bool,
        is_theirs: impl Fn(u32) -> bool,
    ) -> Option<OpenedRelay> {
        let enough = match (self.sharing, a_port_is_free) {
            (PortSharing::Never, _) | (PortSharing::WhenFull, true) => return None,
            (PortSharing::Always, true) => ALWAYS_SHARED_BY,
            (PortSharing::Always | PortSharing::WhenFull, false) => SHARED_BY_MAX,
        };
        let least_loaded = self.by_load[family as usize].range(..(enough, 0));
        let relays = || {
            let keys = least_loaded.clone().take(LOOKED_AT_MAX);
            keys.filter_map(|(_, key)| Some((*key, self.get(RelayKey(*key))?)))
        };
        let holds_none = |relay: &Relay| !relay.holders.iter().any(|slot| is_theirs(*slot));
        let apart = relays().find(|(_, relay)| holds_none(relay));
        // Where a port is free, one of its own is the better way to be kept apart.
        let any = apart.or_else(|| relays().next().filter(|_| !a_port_is_free));
        any.map(|(key, relay)| OpenedRelay {
            key: RelayKey(key),
            relayed: relay.relayed,
            reservation: None,
        })
    }

    /// Whose a datagram is that came to this relay.
    pub(super) fn receiver(
        &mut self,
        now: Now,
        key: RelayKey,
        incoming: Incoming<'_>,
        table: &Slab<Allocation>,
    ) -> Result<Receiver, DropReason> {
        let relay = self.open.get_mut(key.0 as usize).and_then(Option::as_mut);
        let relay = relay.ok_or(DropReason::NoAllocation)?;
        if relay.crowd.is_none() && relay.may_be_shared && incoming.sender.is_some() {
            // Others may come, and then it must be known who had been speaking with the first one.
            relay.crowd(now, &self.addrs, table);
        }
        match &mut relay.crowd {
            None => Ok(Receiver::of(relay.holders[0])),
            Some(crowd) => crowd.receiver(now, &relay.holders, incoming, table),
        }
    }

    /// Data go from the relay to a peer that this allocation has named; `false` where it is another one's by now.
    pub(super) fn goes_on(&mut self, now: Now, key: RelayKey, slot: usize, peer: PeerAddr) -> bool {
        let relay = self.open.get_mut(key.0 as usize).and_then(Option::as_mut);
        let crowd = relay.and_then(|relay| relay.crowd.as_mut());
        crowd.is_none_or(|crowd| crowd.goes_on(now, slot as u32, peer))
    }

    /// Whether only one allocation on the relay has named this client of the process; where that has the same address,
    /// either has named the other.
    pub(super) fn is_sole(&self, key: RelayKey, peer: PeerAddr) -> bool {
        let Some(relay) = self.get(key) else {
            return true;
        };
        let at_most = if relay.relayed.0 == peer.0 { 2 } else { 1 };
        let crowd = relay.crowd.as_ref();
        crowd.is_none_or(|crowd| crowd.is_named_by(peer, at_most))
    }

    /// Whether no other allocation on the same relay has this peer.
    pub(super) fn is_free(
        &self,
        now: Now,
        slot: usize,
        peer: PeerAddr,
        table: &Slab<Allocation>,
    ) -> bool {
        let relay = relay_towards(&self.open, now, slot, peer, table);
        let crowd = relay.and_then(|(_, relay)| relay.crowd.as_ref());
        self.addrs.covers(peer.0)
            || crowd.is_none_or(|crowd| crowd.is_free(now, slot as u32, peer, table))
    }

    /// Keeps in mind that these peers are the allocation's, all or none: no other one on the same relay may have them,
    /// but for relayed transport addresses of this process.
    pub(super) fn claim(
        &mut self,
        now: Now,
        slot: usize,
        peers: &[PeerAddr],
        claim: Claim,
        table: &mut Slab<Allocation>,
    ) -> Result<(), Taken> {
        let is_free = |peer: PeerAddr| self.is_free(now, slot, peer, table);
        if let Some(taken) = peers.iter().find(|peer| !is_free(**peer)) {
            if let Some(crowd) = crowd_towards(&mut self.open, now, slot, *taken, table) {
                crowd.want(*taken);
            }
            return Err(Taken);
        }
        for peer in peers.iter().filter(|peer| peer.0.port() != 0) {
            let Some((key, relay)) = relay_towards(&self.open, now, slot, *peer, table) else {
                continue;
            };
            if !relay.may_be_shared {
                continue;
            }
            let is_alone = relay.holders.len() == 1;
            let is_known = |allocation: &Allocation| allocation.traces.knows(*peer);
            let is_new = !table.get(slot).is_some_and(is_known);
            if is_new && !self.remember(now, slot, *peer, table) {
                if !is_alone {
                    return Err(Taken);
                }
                self.keep_alone(key, Family::of(peer.0.ip()));
                continue;
            }
            let is_outside = !self.addrs.covers(peer.0);
            if let Some(Some(relay)) = self.open.get_mut(key.0 as usize)
                && let Some(crowd) = &mut relay.crowd
            {
                if is_outside {
                    let count = relay.holders.len();
                    crowd.claim(now, slot as u32, *peer, claim, count, table);
                } else if is_new {
                    crowd.name(*peer);
                }
            }
        }
        Ok(())
    }

    /// Adds a peer to those that the allocation has named, and which it may have to forget for that; `false` where there
    /// are too many.
    fn remember(
        &mut self,
        now: Now,
        slot: usize,
        peer: PeerAddr,
        table: &mut Slab<Allocation>,
    ) -> bool {
        let Some(allocation) = table.get_mut(slot) else {
            return false;
        };
        let forgotten = allocation.make_room(now);
        let has_room = !allocation.traces.is_full();
        if has_room {
            allocation.traces.add(peer);
        }
        for peer in forgotten {
            if let Some(crowd) = crowd_towards(&mut self.open, now, slot, peer, table) {
                crowd.unname(peer);
            }
        }
        has_room
    }

    /// Too many peers to keep in mind: this relay's only allocation stays the only one.
    fn keep_alone(&mut self, key: RelayKey, family: Family) {
        if let Some(Some(relay)) = self.open.get_mut(key.0 as usize) {
            relay.may_be_shared = false;
            self.by_load[family as usize].remove(&(relay.holders.len(), key.0));
        }
    }

    /// Whether the relay's allocations are, or may come to be, several.
    pub(super) fn may_be_shared(&self, key: RelayKey) -> bool {
        self.get(key).is_some_and(|relay| relay.may_be_shared)
    }

    /// Whether the relay is somebody's.
    pub(super) fn is_open(&self, key: RelayKey) -> bool {
        self.get(key).is_some()
    }

    /// How many allocations hold a relay, each as often as it holds one.
    pub(super) fn holds(&self) -> usize {
        let open = self.open.iter().flatten();
        open.map(|relay| relay.holders.len()).sum()
    }

    /// Whether this allocation is among the relay's.
    pub(super) fn is_held_by(&self, key: RelayKey, slot: usize) -> bool {
        let relay = self.get(key);
        relay.is_some_and(|relay| relay.holders.contains(&(slot as u32)))
    }

    fn get(&self, key: RelayKey) -> Option<&Relay> {
        self.open.get(key.0 as usize)?.as_ref()
    }
}

/// The relay by which an allocation reaches this peer.
fn relay_towards<'r>(
    open: &'r [Option<Relay>],
    now: Now,
    slot: usize,
    peer: PeerAddr,
    table: &Slab<Allocation>,
) -> Option<(RelayKey, &'r Relay)> {
    let half = table.get(slot)?.halves.of(now, Family::of(peer.0.ip()))?;
    let relay = open.get(half.relay.0 as usize)?.as_ref()?;
    Some((half.relay, relay))
}

/// What tells the allocations of that relay apart.
fn crowd_towards<'r>(
    open: &'r mut [Option<Relay>],
    now: Now,
    slot: usize,
    peer: PeerAddr,
    table: &Slab<Allocation>,
) -> Option<&'r mut Crowd> {
    let (key, _) = relay_towards(open, now, slot, peer, table)?;
    open.get_mut(key.0 as usize)?.as_mut()?.crowd.as_deref_mut()
}

impl Relay {
    fn join(&mut self, now: Now, slot: u32, addrs: &RelayedAddrs, table: &Slab<Allocation>) {
        self.crowd(now, addrs, table).join(now);
        self.holders.push(slot);
    }

    /// What tells its allocations apart; begins with the first one, and the peers that it has named.
    fn crowd(&mut self, now: Now, addrs: &RelayedAddrs, table: &Slab<Allocation>) -> &mut Crowd {
        let (first, family) = (self.holders[0], Family::of(self.relayed.0.ip()));
        self.crowd.get_or_insert_with(|| {
            let named = table
                .get(first as usize)
                .map_or(&[][..], |allocation| allocation.traces.named());
            let mut crowd = Box::<Crowd>::default();
            let is_reached = |named: &&Named| Family::of(named.peer.0.ip()) == family;
            for Named { peer, is_checked } in named.iter().filter(is_reached).copied() {
                let claim = match is_checked {
                    true => Claim::Checked,
                    false => Claim::Named,
                };
                match addrs.covers(peer.0) {
                    true => crowd.name(peer),
                    false => crowd.claim(now, first, peer, claim, 1, table),
                }
            }
            crowd
        })
    }

    fn leave(&mut self, now: Now, slot: u32, peers: impl IntoIterator<Item = PeerAddr>) {
        self.holders.retain(|holder| *holder != slot);
        if let Some(crowd) = &mut self.crowd {
            crowd.leave(now, slot, peers);
        }
    }
}

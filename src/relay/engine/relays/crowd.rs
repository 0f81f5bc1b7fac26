//! Several allocations on one relay socket: which of them a datagram is for. Where one is alone all is for it, and what is
//! heard then tells whom it belongs to once others come.
//!
//! A peer outside is known by its address: it is one allocation's, and nobody else may name it. A client of this process
//! is known for what it is, whatever address it shares: so many may name that, and each of them hears from its own.

use rustc_hash::{FxHashMap, FxHashSet};
use slab::Slab;

use crate::clock::Now;
use crate::relay::engine::allocations::Allocation;
use crate::relay::engine::counters::DropReason;
use crate::relay::engine::five_tuple::PeerAddr;
use crate::relay::engine::outcome::Sender;
use crate::relay::engine::traces::PEERS_MAX;
use crate::relay::engine::view::AllocationId;
use crate::relay::wire::ice::Check;

/// What tells them apart. Allocations are told by their slots in the table.
#[derive(Debug)]
pub(super) struct Crowd {
    by_peer: FxHashMap<PeerAddr, u32>,
    by_sender: FxHashMap<(PeerAddr, AllocationId), u32>,
    /// Clients of this process that several have named, or had.
    contested: FxHashSet<PeerAddr>,
    /// Until another one comes.
    is_alone: bool,
}

/// A datagram at a relay socket.
#[derive(Clone, Copy, Debug)]
pub(in crate::relay::engine) struct Incoming<'d> {
    pub(in crate::relay::engine) peer: PeerAddr,
    /// Where the peer is a client of this process.
    pub(in crate::relay::engine) sender: Option<Sender>,
    pub(in crate::relay::engine) payload: &'d [u8],
}

impl Incoming<'_> {
    /// No datagram: something that is said of a peer.
    pub(in crate::relay::engine) fn about(peer: PeerAddr) -> Self {
        Self {
            peer,
            sender: None,
            payload: &[],
        }
    }
}

/// Whose a datagram is.
pub(in crate::relay::engine) struct Receiver {
    pub(in crate::relay::engine) slot: u32,
    /// Whether who sent it is to be remembered as this one's.
    pub(in crate::relay::engine) is_new: bool,
}

impl Crowd {
    /// The first one, alone: these peers outside are its own.
    pub(super) fn new(first: u32, peers: impl Iterator<Item = PeerAddr>) -> Self {
        Self {
            by_peer: peers.map(|peer| (peer, first)).collect(),
            by_sender: FxHashMap::default(),
            contested: FxHashSet::default(),
            is_alone: true,
        }
    }

    /// Another one has come. From now on nothing is anybody's by itself, even if the others go.
    pub(super) fn join(&mut self) {
        self.is_alone = false;
    }

    /// Whether nobody else has come yet.
    pub(super) fn is_alone(&self) -> bool {
        self.is_alone
    }

    /// Its peers may send on for a while: until somebody else names them, that is for nobody.
    pub(super) fn leave(&mut self, slot: u32, remaining: usize) {
        abandon(&mut self.by_peer, slot);
        abandon(&mut self.by_sender, slot);
        if remaining <= 1 {
            self.contested.clear();
        }
    }

    /// Whether nobody but this one has a peer outside.
    pub(super) fn is_free(
        &self,
        now: Now,
        slot: u32,
        peer: PeerAddr,
        table: &Slab<Allocation>,
    ) -> bool {
        self.by_peer.get(&peer).is_none_or(|holder| {
            let other = table.get(*holder as usize);
            *holder == slot || !other.is_some_and(|other| other.holds(now, peer))
        })
    }

    /// A peer outside is this one's from now on; `count` of them are here.
    pub(super) fn claim(
        &mut self,
        slot: u32,
        peer: PeerAddr,
        count: usize,
        table: &Slab<Allocation>,
    ) {
        if self.by_peer.len() >= count * PEERS_MAX + KEPT_MAX {
            // What their holders have forgotten by now.
            self.by_peer.retain(|peer, holder| {
                let holder = table.get(*holder as usize);
                holder.is_some_and(|holder| holder.traces.knows(*peer))
            });
        }
        self.by_peer.insert(peer, slot);
    }

    /// Several have named this client of the process. No more of them than this process has relayed transport addresses.
    pub(super) fn contest(&mut self, peer: PeerAddr) {
        self.contested.insert(peer);
    }

    /// Whether one alone has named this client of the process.
    pub(super) fn is_sole(&self, peer: PeerAddr) -> bool {
        !self.contested.contains(&peer)
    }

    /// What this client of the process sends is for this one from now on.
    pub(super) fn pair(&mut self, slot: u32, peer: PeerAddr, sender: AllocationId) {
        if self.by_sender.len() >= KEPT_MAX {
            // Those that go on are found anew.
            self.by_sender.clear();
        }
        self.by_sender.insert((peer, sender), slot);
    }

    /// Which of the holders a datagram is for.
    pub(super) fn receiver(
        &self,
        now: Now,
        holders: &[u32],
        incoming: Incoming<'_>,
        table: &Slab<Allocation>,
    ) -> Result<Receiver, DropReason> {
        let among = Among {
            now,
            holders,
            incoming,
            table,
        };
        let found = match incoming.sender {
            None => self.whose_outside(&among),
            Some(sender) => self.whose_inside(sender, &among),
        };
        let alone = holders.first().filter(|_| self.is_alone);
        let found = found.or(alone.copied().map(Receiver::of));
        found.ok_or_else(|| match among.permitting().next() {
            None => DropReason::NoPermission,
            Some(_) => DropReason::Ambiguous,
        })
    }

    /// The exact peer decides, unless a check says that it has become another one's; where nothing is known of it, the
    /// check decides, and for anything else there must be only one who permits its address.
    fn whose_outside(&self, among: &Among<'_>) -> Option<Receiver> {
        let check = Check::parse(among.incoming.payload);
        if let Some(known) = self.by_peer.get(&among.incoming.peer).copied() {
            let is_for_another = check.is_some_and(|check| {
                let answers = |slot: &u32| among.answers(*slot, check);
                !answers(&known) && among.holders.iter().any(answers)
            });
            if !is_for_another {
                return somebody(known);
            }
            let holder = among.table.get(known as usize);
            if holder.is_some_and(|holder| holder.holds(among.now, among.incoming.peer)) {
                return None;
            }
        }
        match check {
            Some(check) => among.named_by(check).map(Receiver::new),
            None => only(among.permitting()).map(Receiver::of),
        }
    }

    /// What the sender was known to send to decides, unless a check turns to another one; where nothing is known of it,
    /// two who alone have named each other's addresses belong together.
    fn whose_inside(&self, sender: Sender, among: &Among<'_>) -> Option<Receiver> {
        let peer = among.incoming.peer;
        let known = self.by_sender.get(&(peer, sender.id)).copied();
        let check = Check::parse(among.incoming.payload);
        if let Some(named) = check.and_then(|check| among.named_by(check)) {
            return Some(Receiver {
                slot: named,
                is_new: known != Some(named),
            });
        }
        if let Some(known) = known {
            return somebody(known);
        }
        if check.is_some() || !sender.is_sole {
            return None;
        }
        let named_it = |slot: &u32| {
            let holder = among.table.get(*slot as usize);
            holder.is_some_and(|holder| holder.traces.knows(peer))
        };
        only(among.permitting().filter(named_it)).map(Receiver::new)
    }
}

impl Receiver {
    /// One who was known.
    pub(super) fn of(slot: u32) -> Self {
        let is_new = false;
        Self { slot, is_new }
    }

    fn new(slot: u32) -> Self {
        let is_new = true;
        Self { slot, is_new }
    }
}

/// Those who may be meant.
struct Among<'a> {
    now: Now,
    holders: &'a [u32],
    incoming: Incoming<'a>,
    table: &'a Slab<Allocation>,
}

impl Among<'_> {
    /// All who permit the peer's address.
    fn permitting(&self) -> impl Iterator<Item = u32> {
        let all = self.holders.iter().copied();
        all.filter(|slot| self.permits(*slot))
    }

    fn permits(&self, slot: u32) -> bool {
        let holder = self.table.get(slot as usize);
        holder.is_some_and(|holder| {
            let ip = self.incoming.peer.0.ip();
            holder.permissions.permit(self.now, ip)
        })
    }

    fn answers(&self, slot: u32, check: Check<'_>) -> bool {
        let holder = self.table.get(slot as usize);
        holder.is_some_and(|holder| holder.traces.answers_to(check.to))
    }

    /// The only one that a check is for.
    fn named_by(&self, check: Check<'_>) -> Option<u32> {
        only(self.permitting().filter(|slot| self.answers(*slot, check)))
    }
}

/// Who was known, where that one is there still. Whether it permits the peer is asked of every receiver later.
fn somebody(known: u32) -> Option<Receiver> {
    (known != NOBODY).then_some(Receiver::of(known))
}

fn only(mut slots: impl Iterator<Item = u32>) -> Option<u32> {
    let first = slots.next()?;
    slots.next().is_none().then_some(first)
}

/// What was this one's is nobody's; much of that is forgotten.
fn abandon<K>(known: &mut FxHashMap<K, u32>, slot: u32) {
    let mut of_nobody = 0;
    for holder in known.values_mut() {
        if *holder == slot {
            *holder = NOBODY;
        }
        of_nobody += usize::from(*holder == NOBODY);
    }
    if of_nobody > KEPT_MAX {
        known.retain(|_, holder| *holder != NOBODY);
    }
}

/// Stands for an allocation that has ended.
const NOBODY: u32 = u32::MAX;

/// How many peers of ended allocations, and how many clients of this process, are kept in mind for each relay.
const KEPT_MAX: usize = 4096;

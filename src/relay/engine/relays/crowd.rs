//! Several allocations on one relay socket: which of them a datagram is for. Where one is alone all is for it, and what is
//! heard then tells whom it belongs to once others come.
//!
//! A peer outside is known by its address: it is one allocation's, and nobody else may name it. A client of this process
//! is known for what it is, whatever address it shares: so many may name that, and each of them hears from its own.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

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
    by_peer: FxHashMap<PeerAddr, Holder>,
    /// Peers of those who have left, and when; the latest last. Some are another one's by now.
    abandoned: VecDeque<(PeerAddr, u64)>,
    /// How many have left.
    departures: u64,
    by_sender: FxHashMap<(PeerAddr, AllocationId), Pairing>,
    /// Clients of this process that several have named, or had.
    contested: FxHashSet<PeerAddr>,
    /// Until another one comes.
    is_alone: bool,
}

/// Whose a peer outside is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Slot(u32),
    /// That of the so-manieth who has left.
    Left(u64),
}

/// Whom a client of this process speaks with.
#[derive(Clone, Copy, Debug)]
struct Pairing {
    /// `None` where that one has left.
    slot: Option<u32>,
    /// Where it had spoken with another one, it may do so still: as long as it checks both, nothing tells whose its media
    /// are.
    disputed_until: Option<Instant>,
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
            by_peer: peers.map(|peer| (peer, Holder::Slot(first))).collect(),
            abandoned: VecDeque::new(),
            departures: 0,
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
        self.departures += 1;
        let left = self.departures;
        let its_peers = self.by_peer.iter_mut();
        for (peer, holder) in its_peers.filter(|(_, holder)| **holder == Holder::Slot(slot)) {
            *holder = Holder::Left(left);
            self.abandoned.push_back((*peer, left));
        }
        let too_many = self.abandoned.len().saturating_sub(KEPT_MAX);
        for (peer, left) in self.abandoned.drain(..too_many) {
            if self.by_peer.get(&peer) == Some(&Holder::Left(left)) {
                self.by_peer.remove(&peer);
            }
        }
        let pairings = self.by_sender.values_mut();
        for pairing in pairings.filter(|pairing| pairing.slot == Some(slot)) {
            pairing.slot = None;
        }
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
        let Some(Holder::Slot(holder)) = self.by_peer.get(&peer) else {
            return true;
        };
        let other = table.get(*holder as usize);
        *holder == slot || !other.is_some_and(|other| other.holds(now, peer))
    }

    /// A peer outside is this one's from now on; `count` of them are here.
    pub(super) fn claim(
        &mut self,
        slot: u32,
        peer: PeerAddr,
        count: usize,
        table: &Slab<Allocation>,
    ) {
        if self.by_peer.len() >= count * PEERS_MAX + 2 * KEPT_MAX {
            // What their holders have forgotten by now.
            self.by_peer.retain(|peer, holder| match holder {
                Holder::Left(_) => true,
                Holder::Slot(slot) => {
                    let holder = table.get(*slot as usize);
                    holder.is_some_and(|holder| holder.traces.knows(*peer))
                }
            });
        }
        self.by_peer.insert(peer, Holder::Slot(slot));
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
    pub(super) fn pair(&mut self, now: Now, slot: u32, peer: PeerAddr, sender: AllocationId) {
        if let Some(pairing) = self.by_sender.get_mut(&(peer, sender)) {
            if pairing.slot.is_some() {
                pairing.disputed_until = Some(now.mono + CONSENT_TIME);
            }
            pairing.slot = Some(slot);
            return;
        }
        if self.by_sender.len() >= KEPT_MAX {
            // Those that go on are found anew.
            self.by_sender.clear();
        }
        let pairing = Pairing {
            slot: Some(slot),
            disputed_until: None,
        };
        self.by_sender.insert((peer, sender), pairing);
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

    /// The exact peer decides, unless a check says that it is, or has become, another one's; where nothing is known of it,
    /// the check decides, and for anything else there must be only one who permits its address.
    fn whose_outside(&self, among: &Among<'_>) -> Option<Receiver> {
        let check = Check::parse(among.incoming.payload);
        match (self.by_peer.get(&among.incoming.peer), check) {
            (Some(Holder::Slot(known)), None) => Some(Receiver::of(*known)),
            (Some(Holder::Slot(known)), Some(check)) => {
                if among.may_be_for(*known, check) {
                    return Some(Receiver::of(*known));
                }
                let holder = among.table.get(*known as usize);
                let holds = |holder: &Allocation| holder.holds(among.now, among.incoming.peer);
                if holder.is_some_and(holds) {
                    return None;
                }
                among.named_by(check).map(Receiver::new)
            }
            (Some(Holder::Left(_)) | None, Some(check)) => among.named_by(check).map(Receiver::new),
            (Some(Holder::Left(_)), None) => None,
            (None, None) => only(among.permitting()).map(Receiver::of),
        }
    }

    /// What the sender was known to send to decides, unless a check is for another one; where nothing is known of it, two
    /// who alone have named each other's addresses belong together.
    fn whose_inside(&self, sender: Sender, among: &Among<'_>) -> Option<Receiver> {
        let peer = among.incoming.peer;
        let known = self.by_sender.get(&(peer, sender.id)).copied();
        let check = Check::parse(among.incoming.payload);
        if let Some(named) = check.and_then(|check| among.named_by(check)) {
            return Some(Receiver {
                slot: named,
                is_new: known.is_none_or(|known| known.slot != Some(named)),
            });
        }
        if let Some(known) = known {
            let is_its = |slot: &u32| match (check, known.disputed_until) {
                (Some(check), _) => among.may_be_for(*slot, check),
                (None, Some(disputed_until)) => disputed_until <= among.now.mono,
                (None, None) => true,
            };
            return known.slot.filter(is_its).map(Receiver::of);
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
    /// One who was known. Whether it permits the peer is asked of every receiver later.
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

    /// Whether a check that comes from one's peer can be for that one: it is for whoever is known by the name, and for
    /// nobody who is known by another.
    fn may_be_for(&self, slot: u32, check: Check<'_>) -> bool {
        let holder = self.table.get(slot as usize);
        if holder.is_some_and(|holder| holder.traces.has_fragments()) {
            return self.answers(slot, check);
        }
        let mut holders = self.holders.iter();
        !holders.any(|holder| self.answers(*holder, check))
    }

    /// The only one that a check is for.
    fn named_by(&self, check: Check<'_>) -> Option<u32> {
        only(self.permitting().filter(|slot| self.answers(*slot, check)))
    }
}

fn only(mut slots: impl Iterator<Item = u32>) -> Option<u32> {
    let first = slots.next()?;
    slots.next().is_none().then_some(first)
}

/// How long an agent goes on without an answer to its checks, which it sends every few seconds
/// ([RFC 7675 §5.1](https://www.rfc-editor.org/rfc/rfc7675#section-5.1)).
const CONSENT_TIME: Duration = Duration::from_secs(30);

/// How many peers of ended allocations, and how many clients of this process, are kept in mind for each relay.
const KEPT_MAX: usize = 4096;

//! Several allocations on one relay socket: which of them a datagram is for. Where one is alone all is for it, and what is
//! heard then tells whom it belongs to once others come.
//!
//! A peer outside is known by its address: it is one allocation's, and nobody else may name it, as long as the two speak
//! with each other. A client of this process is known for what it is, whatever address it shares: so many may name that,
//! and each of them hears from its own.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use rustc_hash::FxHashMap;
use slab::Slab;

use crate::clock::Now;
use crate::relay::engine::allocation::Allocation;
use crate::relay::engine::counters::DropReason;
use crate::relay::engine::five_tuple::PeerAddr;
use crate::relay::engine::outcome::Sender;
use crate::relay::engine::traces::PEERS_MAX;
use crate::relay::engine::view::AllocationId;
use crate::relay::wire::ice::Check;
use crate::relay::wire::message::Message;

/// What tells them apart. Allocations are told by their slots in the table. At first there is one, which has named nobody.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    by_peer: FxHashMap<PeerAddr, Hold>,
    /// Peers of those who have left, and when; the latest last. Some are another one's by now.
    abandoned: VecDeque<(PeerAddr, Departure)>,
    /// How many have left.
    departures: u64,
    by_sender: FxHashMap<(PeerAddr, AllocationId), Pairing>,
    /// By how many a relayed address of this process is named.
    named: FxHashMap<PeerAddr, u32>,
    /// Whether there were ever several.
    have_others_come: bool,
}

/// How a peer outside is, or has become, an allocation's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::relay::engine) enum Claim {
    /// It was named, or sent anything else than a check.
    Named,
    /// It was sent a check.
    Checked,
    /// It has sent one itself.
    Heard,
}

/// A peer outside, as one has it.
#[derive(Clone, Copy, Debug)]
struct Hold {
    by: Holder,
    /// Whether they speak ICE with each other: then either is heard again and again as long as it is there.
    is_checked: bool,
    /// When it was last named, or sent anything.
    said_at: Instant,
    /// When anything last came from it.
    heard_at: Option<Instant>,
    /// Whether others reach for it in vain: then it is one that speaks with many, and what it says to them says nothing.
    is_wanted: bool,
    /// Whether it has last said that it is another one's: a NAT may have given its address away.
    is_disputed: bool,
}

impl Hold {
    fn new(now: Now, slot: u32, claim: Claim) -> Self {
        Self {
            by: Holder::Slot(slot),
            is_checked: claim != Claim::Named,
            said_at: now.mono,
            heard_at: (claim == Claim::Heard).then_some(now.mono),
            is_wanted: false,
            is_disputed: false,
        }
    }

    fn renew(&mut self, now: Now, claim: Claim) {
        self.is_checked |= claim != Claim::Named;
        match claim {
            Claim::Named | Claim::Checked => self.said_at = now.mono,
            Claim::Heard => self.heard_at = Some(now.mono),
        }
    }

    /// Whether it can be another one's by now, though its address is permitted still: where they speak ICE, nothing has
    /// passed between them for so long that neither would go on.
    fn has_lapsed(&self, now: Now) -> bool {
        let last = self
            .heard_at
            .map_or(self.said_at, |at| at.max(self.said_at));
        self.is_checked && is_past(now, last, CONSENT_TIME)
    }

    /// Whether media from it are its holder's: where they speak ICE, none come before a check or an answer to one, nor
    /// when a check was another one's and none of these has come since.
    fn is_heard(&self, now: Now) -> bool {
        let is_disputed = self.is_disputed && !self.is_wanted;
        let is_near = || {
            self.heard_at
                .is_some_and(|at| !is_past(now, at, CONSENT_TIME))
        };
        !self.is_checked || !is_disputed && is_near()
    }
}

fn is_past(now: Now, at: Instant, time: Duration) -> bool {
    now.mono.saturating_duration_since(at) >= time
}

/// Whose a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Slot(u32),
    /// That of one who has left.
    Left(Departure),
}

/// That somebody has left: when, and the so-manieth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Departure {
    at: Instant,
    number: u64,
}

impl Departure {
    fn was_before(&self, now: Now, time: Duration) -> bool {
        is_past(now, self.at, time)
    }
}

/// Whom a client of this process speaks with.
#[derive(Clone, Copy, Debug)]
struct Pairing {
    with: Holder,
    /// When it last said so.
    said_at: Instant,
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
    /// Another one has come. From now on nothing is anybody's by itself, even if the others go; what came before was the
    /// only one's.
    pub(super) fn join(&mut self, now: Now) {
        if !self.have_others_come {
            let holds = self.by_peer.values_mut();
            holds.for_each(|hold| hold.heard_at = Some(now.mono));
        }
        self.have_others_come = true;
    }

    /// Its peers, of which it has named these, may send on for a while: until somebody else names them, that is for nobody.
    pub(super) fn leave(&mut self, now: Now, slot: u32, named: impl IntoIterator<Item = PeerAddr>) {
        self.departures += 1;
        let left = Departure {
            at: now.mono,
            number: self.departures,
        };
        let its_peers = self.by_peer.iter_mut();
        for (peer, hold) in its_peers.filter(|(_, hold)| hold.by == Holder::Slot(slot)) {
            hold.by = Holder::Left(left);
            self.abandoned.push_back((*peer, left));
        }
        let pairings = self.by_sender.values_mut();
        for pairing in pairings.filter(|pairing| pairing.with == Holder::Slot(slot)) {
            pairing.with = Holder::Left(left);
        }
        for peer in named {
            self.unname(peer);
        }
        let mut too_many = self.abandoned.len().saturating_sub(KEPT_MAX);
        while let Some((peer, left)) = self.abandoned.front().copied()
            && (too_many > 0 || left.was_before(now, LATE_TIME))
        {
            too_many = too_many.saturating_sub(1);
            self.abandoned.pop_front();
            let hold = self.by_peer.get(&peer);
            if hold.is_some_and(|hold| hold.by == Holder::Left(left)) {
                self.by_peer.remove(&peer);
            }
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
        let Some(hold) = self.by_peer.get(&peer) else {
            return true;
        };
        match hold.by {
            Holder::Slot(holder) => holder == slot || !holds(now, holder, hold, peer, table),
            Holder::Left(_) => true,
        }
    }

    /// Another one would have had this peer, too.
    pub(super) fn want(&mut self, peer: PeerAddr) {
        if let Some(hold) = self.by_peer.get_mut(&peer) {
            hold.is_wanted = true;
        }
    }

    /// A peer outside is this one's from now on; `count` of them are here.
    pub(super) fn claim(
        &mut self,
        now: Now,
        slot: u32,
        peer: PeerAddr,
        claim: Claim,
        count: usize,
        table: &Slab<Allocation>,
    ) {
        let by = Holder::Slot(slot);
        if let Some(hold) = self.by_peer.get_mut(&peer)
            && hold.by == by
        {
            return hold.renew(now, claim);
        }
        if self.by_peer.len() >= count * PEERS_MAX + 2 * KEPT_MAX {
            // What their holders have forgotten by now.
            self.by_peer.retain(|peer, hold| match hold.by {
                Holder::Left(_) => true,
                Holder::Slot(slot) => {
                    let holder = table.get(slot as usize);
                    holder.is_some_and(|holder| holder.traces.knows(*peer))
                }
            });
        }
        self.by_peer.insert(peer, Hold::new(now, slot, claim));
    }

    /// One more has named this relayed address of the process.
    pub(super) fn name(&mut self, peer: PeerAddr) {
        *self.named.entry(peer).or_default() += 1;
    }

    /// One of those who have named this peer is done with it.
    pub(super) fn unname(&mut self, peer: PeerAddr) {
        if let Some(count) = self.named.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                self.named.remove(&peer);
            }
        }
    }

    /// Whether no two have named this relayed address of the process.
    pub(super) fn is_sole(&self, peer: PeerAddr) -> bool {
        self.named.get(&peer).is_none_or(|count| *count < 2)
    }

    /// What this client of the process sends is for this one from now on.
    pub(super) fn pair(&mut self, now: Now, slot: u32, peer: PeerAddr, sender: AllocationId) {
        let with = Holder::Slot(slot);
        if let Some(pairing) = self.by_sender.get_mut(&(peer, sender)) {
            if pairing.with != with && matches!(pairing.with, Holder::Slot(_)) {
                pairing.disputed_until = Some(now.mono + CONSENT_TIME);
            }
            (pairing.with, pairing.said_at) = (with, now.mono);
            return;
        }
        if self.by_sender.len() >= KEPT_MAX {
            self.forget_senders();
        }
        let pairing = Pairing {
            with,
            said_at: now.mono,
            disputed_until: None,
        };
        self.by_sender.insert((peer, sender), pairing);
    }

    /// Forgets half of the senders to whoever has most of them, the ones not heard of for longest: whoever has many does
    /// not cost others theirs.
    fn forget_senders(&mut self) {
        let holder = |pairing: &Pairing| match pairing.with {
            Holder::Slot(slot) => Some(slot),
            Holder::Left(_) => None,
        };
        let mut counts = FxHashMap::<_, usize>::default();
        for pairing in self.by_sender.values() {
            *counts.entry(holder(pairing)).or_default() += 1;
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        let Some((most, count)) = most else {
            return;
        };
        let its_own = self.by_sender.values();
        let its_own = its_own.filter(|pairing| holder(pairing) == most);
        let mut said_at: Vec<_> = its_own.map(|pairing| pairing.said_at).collect();
        let (_, middle, _) = said_at.select_nth_unstable(count / 2);
        self.by_sender
            .retain(|_, pairing| holder(pairing) != most || pairing.said_at > *middle);
    }

    /// Which of the holders a datagram is for.
    pub(super) fn receiver(
        &mut self,
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
        let alone = holders.first().filter(|_| !self.have_others_come);
        let found = found.or(alone.copied().map(Receiver::of));
        found.ok_or_else(|| match among.permitting().next() {
            None => DropReason::NoPermission,
            Some(_) => DropReason::Ambiguous,
        })
    }

    /// The exact peer decides, unless a check says that it is, or has become, another one's; where nothing is known of it,
    /// the check decides, and for anything else there must be only one who permits its address.
    fn whose_outside(&mut self, among: &Among<'_>) -> Option<Receiver> {
        let Incoming { peer, payload, .. } = &among.incoming;
        let check = Check::parse(payload);
        let left = match self.by_peer.get_mut(peer) {
            None => None,
            Some(hold) => match hold.by {
                Holder::Slot(known) => return among.whose_held(known, hold, check),
                Holder::Left(left) => Some(left),
            },
        };
        if let Some(check) = check {
            return among.named_by(check).map(Receiver::new);
        }
        if left.is_some_and(|left| !left.was_before(among.now, LATE_TIME)) {
            return None;
        }
        // A relayed address of this process that is nobody's now, or ICMP about it.
        if self.named.contains_key(peer) {
            return only(among.naming()).map(Receiver::of);
        }
        only(among.permitting()).map(Receiver::of)
    }

    /// What the sender was known to send to decides, unless a check is for another one; where nothing is known of it, two
    /// who alone have named each other's addresses belong together, until others name them too.
    fn whose_inside(&self, sender: Sender, among: &Among<'_>) -> Option<Receiver> {
        let peer = among.incoming.peer;
        let known = self.by_sender.get(&(peer, sender.id)).copied();
        let check = Check::parse(among.incoming.payload);
        if let Some(named) = check.and_then(|check| among.named_by(check)) {
            return Some(Receiver::new(named));
        }
        if let Some(known) = known {
            match known.with {
                Holder::Slot(slot) => {
                    let is_its = match (check, known.disputed_until) {
                        (Some(check), _) => among.may_be_for(slot, check),
                        (None, Some(disputed_until)) => disputed_until <= among.now.mono,
                        (None, None) => true,
                    };
                    return is_its.then_some(Receiver::of(slot));
                }
                Holder::Left(left) if !left.was_before(among.now, CONSENT_TIME) => return None,
                Holder::Left(_) => {}
            }
        }
        if check.is_some() || !sender.is_sole {
            return None;
        }
        // What is for the only one there is its own. Later it may be another's as well.
        let is_new = !self.have_others_come;
        only(among.naming()).map(|slot| Receiver { slot, is_new })
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
    /// Whose a datagram is of a peer that `known` has.
    fn whose_held(
        &self,
        known: u32,
        hold: &mut Hold,
        check: Option<Check<'_>>,
    ) -> Option<Receiver> {
        let payload = self.incoming.payload;
        let is_stun = check.is_some() || Message::parse(payload).is_some();
        let is_its = match check {
            Some(check) => self.may_be_for(known, check),
            // An answer to a check of its own may be the first that it hears, or that there is nobody.
            None if is_stun || payload.is_empty() => !hold.has_lapsed(self.now),
            None => hold.is_heard(self.now),
        };
        if is_its {
            if !payload.is_empty() {
                hold.heard_at = Some(self.now.mono);
            }
            hold.is_checked |= check.is_some_and(|check| self.answers(known, check));
            hold.is_disputed &= !is_stun;
            return Some(Receiver::of(known));
        }
        let named = check.and_then(|check| self.named_by(check));
        if holds(self.now, known, hold, self.incoming.peer, self.table) {
            hold.is_disputed |= named.is_some();
            return None;
        }
        named.map(Receiver::new)
    }

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

    /// Those of them who have named the peer itself.
    fn naming(&self) -> impl Iterator<Item = u32> {
        let has_named = |slot: &u32| {
            let holder = self.table.get(*slot as usize);
            holder.is_some_and(|holder| holder.traces.knows(self.incoming.peer))
        };
        self.permitting().filter(has_named)
    }

    fn answers(&self, slot: u32, check: Check<'_>) -> bool {
        let holder = self.table.get(slot as usize);
        holder.is_some_and(|holder| holder.traces.answers_to(check.to))
    }

    /// Whether a check that comes from one's peer can be for that one: it is for whoever is known by the name, and for
    /// nobody who is known by another, unless there is nobody else.
    fn may_be_for(&self, slot: u32, check: Check<'_>) -> bool {
        let holder = self.table.get(slot as usize);
        if self.answers(slot, check) || self.holders.len() == 1 {
            return true;
        }
        if holder.is_some_and(|holder| holder.traces.tells_fragments()) {
            return false;
        }
        let mut holders = self.holders.iter();
        !holders.any(|holder| self.answers(*holder, check))
    }

    /// The only one that a check is for, or the first of one agent's.
    fn named_by(&self, check: Check<'_>) -> Option<u32> {
        let mut named = self.permitting().filter(|slot| self.answers(*slot, check));
        let first = named.next()?;
        let agent = |slot: u32| {
            let holder = self.table.get(slot as usize)?;
            Some((holder.owner.user(), holder.client.client.ip()))
        };
        named
            .all(|other| agent(other) == agent(first))
            .then_some(first)
    }
}

/// Whether a peer is this one's still, and nobody else's.
fn holds(now: Now, slot: u32, hold: &Hold, peer: PeerAddr, table: &Slab<Allocation>) -> bool {
    let holder = table.get(slot as usize);
    !hold.has_lapsed(now) && holder.is_some_and(|holder| holder.holds(now, peer))
}

fn only(mut slots: impl Iterator<Item = u32>) -> Option<u32> {
    let first = slots.next()?;
    slots.next().is_none().then_some(first)
}

/// How long what is for an ended allocation may come, most likely.
const LATE_TIME: Duration = Duration::from_secs(120);

/// How long an agent goes on without an answer to its checks, which it sends every few seconds
/// ([RFC 7675 §5.1](https://www.rfc-editor.org/rfc/rfc7675#section-5.1)).
const CONSENT_TIME: Duration = Duration::from_secs(30);

/// How many peers of ended allocations, and how many clients of this process, are kept in mind for each relay.
const KEPT_MAX: usize = 4096;

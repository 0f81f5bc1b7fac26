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
    /// It was named, or sent anything but a check.
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
    /// When they last spoke: it was named, or sent anything, or media or an answer came from it; what only asks who is
    /// there goes on where nobody is.
    spoke_at: Instant,
    /// When anything last came from it; or, once it had, went there but a check, which may go unanswered.
    heard_at: Option<Instant>,
    /// Until when what comes may be for whoever had it before, unless that is STUN for this one.
    inherited_until: Option<Instant>,
    /// Whether others reach for it in vain: then it is one that speaks with many, and what it says to them says nothing.
    is_wanted: bool,
    /// Whether it has last said that it is another one's: a NAT may have given its address away.
    is_disputed: bool,
}

impl Hold {
    /// `before` is how another one had it.
    fn new(now: Now, slot: u32, claim: Claim, before: Option<&Self>) -> Self {
        let before = before.filter(|_| claim != Claim::Heard);
        Self {
            by: Holder::Slot(slot),
            is_checked: claim != Claim::Named,
            spoke_at: now.mono,
            heard_at: (claim == Claim::Heard).then_some(now.mono),
            inherited_until: before.and_then(|before| before.may_go_on_until(now)),
            is_wanted: false,
            is_disputed: false,
        }
    }

    /// How long a peer may go on speaking to whom it has had.
    fn may_go_on_until(&self, now: Now) -> Option<Instant> {
        let ended_at = match self.by {
            Holder::Slot(_) => now.mono,
            Holder::Left(left) => left.at,
        };
        let own = self.is_checked.then(|| ended_at + CONSENT_TIME);
        own.max(self.inherited_until)
    }

    fn renew(&mut self, now: Now, claim: Claim) {
        match claim {
            Claim::Named => {
                self.spoke_at = now.mono;
                self.heard_at = self.heard_at.map(|_| now.mono);
            }
            Claim::Checked => {
                self.spoke_at = now.mono;
                // What came before the first check is no answer to it.
                self.heard_at = self.heard_at.filter(|_| self.is_checked);
                self.is_checked = true;
            }
            Claim::Heard => {
                self.heard_at = Some(now.mono);
                self.is_checked = true;
            }
        }
    }

    /// Whether it can be another one's by now, though its address is permitted still: where they speak ICE, nothing has
    /// passed between them for so long that neither would go on.
    fn has_lapsed(&self, now: Now) -> bool {
        self.is_checked && is_past(now, self.spoke_at, CONSENT_TIME)
    }

    /// Whether media from it are its holder's: where they speak ICE, none come before a check or an answer to one, nor
    /// when a check was another one's and none of these has come since; nor after a long silence, but for the only one
    /// who permits its address.
    fn is_heard(&self, now: Now, is_only: impl FnOnce() -> bool) -> bool {
        let is_inherited = self.inherited_until.is_some_and(|until| now.mono < until);
        let is_disputed = self.is_disputed && !self.is_wanted;
        let may_be_its = |at| !is_past(now, at, CONSENT_TIME) || is_only();
        !is_inherited && (!self.is_checked || !is_disputed && self.heard_at.is_some_and(may_be_its))
    }

    /// Something has come that is its holder's.
    fn hear(&mut self, now: Now, heard: Heard) {
        self.heard_at = Some(now.mono);
        if matches!(heard, Heard::Media | Heard::Answer) {
            self.spoke_at = now.mono;
        }
        if matches!(heard, Heard::Answer | Heard::OwnCheck) {
            self.is_disputed = false;
            self.inherited_until = None;
        }
    }
}

/// What has come from a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Media,
    /// To a check, which nobody else can have sent it.
    Answer,
    /// A check that names its holder.
    OwnCheck,
    /// Any other STUN.
    Stun,
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
        let before = self.by_peer.get(&peer);
        let hold = Hold::new(now, slot, claim, before);
        self.by_peer.insert(peer, hold);
    }

    /// Data go to a peer that this one has named; `false` where it is another one's by now.
    pub(super) fn goes_on(&mut self, now: Now, slot: u32, peer: PeerAddr) -> bool {
        match self.by_peer.get_mut(&peer) {
            // A client of this process.
            None => true,
            Some(hold) if hold.by == Holder::Slot(slot) => {
                hold.renew(now, Claim::Named);
                true
            }
            Some(_) => false,
        }
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

    /// Whether so many at most have named this relayed address of the process.
    pub(super) fn is_named_by(&self, peer: PeerAddr, at_most: u32) -> bool {
        self.named.get(&peer).is_none_or(|count| *count <= at_most)
    }

    /// What this client of the process sends is for this one from now on, and until then may be for another one.
    fn pair(
        &mut self,
        now: Now,
        slot: u32,
        peer: PeerAddr,
        sender: AllocationId,
        disputed_until: Option<Instant>,
    ) {
        let with = Holder::Slot(slot);
        if let Some(pairing) = self.by_sender.get_mut(&(peer, sender)) {
            (pairing.with, pairing.said_at) = (with, now.mono);
            pairing.disputed_until = pairing.disputed_until.max(disputed_until);
            return;
        }
        if self.by_sender.len() >= KEPT_MAX {
            self.forget_senders();
        }
        let pairing = Pairing {
            with,
            said_at: now.mono,
            disputed_until,
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
    fn whose_inside(&mut self, sender: Sender, among: &Among<'_>) -> Option<Receiver> {
        let peer = among.incoming.peer;
        let known = self.by_sender.get(&(peer, sender.id)).copied();
        let check = Check::parse(among.incoming.payload);
        if let Some(check) = check
            && let Some(named) = among.named_by(check)
        {
            let (slot, disputed_until) = among.partner(known, named, check);
            self.pair(among.now, slot, peer, sender.id, disputed_until);
            return Some(Receiver::of(slot));
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
        let slot = only(among.naming())?;
        if !self.have_others_come {
            // What is for the only one there is its own. Later it may be another's as well.
            self.pair(among.now, slot, peer, sender.id, None);
        }
        Some(Receiver::of(slot))
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
        let (now, payload) = (self.now, self.incoming.payload);
        let another = || {
            let named = check.and_then(|check| self.named_by(check));
            named.filter(|slot| *slot != known)
        };
        let heard = match check {
            Some(check) if self.answers(known, check) => Heard::OwnCheck,
            Some(_) => Heard::Stun,
            None => match Message::parse(payload) {
                Some(message) if message.is_response() => Heard::Answer,
                Some(_) => Heard::Stun,
                None => Heard::Media,
            },
        };
        let is_its = match check {
            Some(check) => {
                self.may_be_for(known, check) && !(hold.has_lapsed(now) && another().is_some())
            }
            None if heard == Heard::Media && !payload.is_empty() => {
                hold.is_heard(now, || only(self.permitting()) == Some(known))
            }
            // An answer to a check of its own may be the first that it hears, or that there is nobody.
            None => true,
        };
        if is_its {
            if !payload.is_empty() {
                hold.hear(now, heard);
            }
            hold.is_checked |= heard == Heard::OwnCheck;
            return Some(Receiver::of(known));
        }
        let another = another();
        if holds(now, known, hold, self.incoming.peer, self.table) {
            hold.is_disputed |= another.is_some();
            return None;
        }
        another.map(Receiver::new)
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

    /// Those of them who have named the peer itself; without the sender, who shares it with others.
    fn naming(&self) -> impl Iterator<Item = u32> {
        let sender = self.incoming.sender.filter(|_| self.holders.len() > 1);
        let has_named = move |slot: &u32| {
            let holder = self.table.get(*slot as usize);
            holder.is_some_and(|holder| {
                let is_sender = sender.is_some_and(|sender| sender.id == holder.id);
                !is_sender && holder.traces.knows(self.incoming.peer)
            })
        };
        self.permitting().filter(has_named)
    }

    fn answers(&self, slot: u32, check: Check<'_>) -> bool {
        self.called_at(slot, check).is_some()
    }

    /// When one last called itself by the name that a check is for.
    fn called_at(&self, slot: u32, check: Check<'_>) -> Option<Instant> {
        let holder = self.table.get(slot as usize)?;
        holder.traces.called_at(check.to)
    }

    /// With whom a client of this process speaks by its check, which names somebody, and until when its media may be for
    /// another one, with whom it has spoken.
    fn partner(
        &self,
        known: Option<Pairing>,
        named: u32,
        check: Check<'_>,
    ) -> (u32, Option<Instant>) {
        let now = self.now;
        match known.map(|known| known.with) {
            // The same agent's: it stays with that one as long as this is there.
            Some(Holder::Slot(slot)) if let Some(at) = self.called_at(slot, check) => {
                let has_gone = is_past(now, at, CONSENT_TIME);
                (if has_gone { named } else { slot }, None)
            }
            Some(Holder::Slot(_)) => (named, Some(now.mono + CONSENT_TIME)),
            Some(Holder::Left(left)) => (named, Some(left.at + CONSENT_TIME)),
            None => (named, None),
        }
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

    /// The only one that a check is for; of one agent's the one by which it has spoken last.
    fn named_by(&self, check: Check<'_>) -> Option<u32> {
        let user = |slot: u32| Some(self.table.get(slot as usize)?.owner.user());
        let called = |slot| Some((self.called_at(slot, check)?, slot));
        let named = self.permitting().filter_map(called);
        let mut named = named.peekable();
        let (_, first) = *named.peek()?;
        let latest = named.try_fold(None, |latest, one| {
            (user(one.1) == user(first)).then(|| latest.max(Some(one)))
        });
        latest.flatten().map(|(_, slot)| slot)
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

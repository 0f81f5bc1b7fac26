//! Channels ([RFC 8656 §12](https://www.rfc-editor.org/rfc/rfc8656#section-12)): numbers that stand for peers.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::clock::Now;
use crate::relay::engine::allocation::Allocation;
use crate::relay::engine::counters::Snapshot;
use crate::relay::engine::five_tuple::{Family, PeerAddr};
use crate::relay::engine::peers::Peers;
use crate::relay::wire::channel_data::{ChannelNumber, ChannelRange};
use crate::relay::wire::request::Request;
use crate::relay::wire::response::ErrorCode;

/// How long a binding lives unless refreshed ([RFC 8656 §12](https://www.rfc-editor.org/rfc/rfc8656#section-12)).
pub const CHANNEL_LIFETIME: Duration = Duration::from_secs(600);

/// How many channels one allocation may bind at a time.
pub const CHANNELS_MAX: usize = 1024;

/// The binding that a ChannelBind asks for, if it may be made.
pub(super) fn admit(
    now: Now,
    request: &Request<'_>,
    allocation: &mut Allocation,
    admission: &Peers,
    range: ChannelRange,
    counters: &mut Snapshot,
) -> Result<(ChannelNumber, PeerAddr), ErrorCode> {
    let number = request.channel_number()?;
    let number = number.and_then(|number| ChannelNumber::new(number, range));
    let number = number.ok_or(ErrorCode::BadRequest)?;
    let peer = request.peer()?;
    // RFC 8656 §12.2: what contradicts an earlier binding is said before what may not be bound at all.
    let is_bound = allocation.channels.are_bound(now, number, PeerAddr(peer))?;
    if !allocation.reaches(now, Family::of(peer.ip())) {
        return Err(ErrorCode::PeerAddressFamilyMismatch);
    }
    admission.admit(now, allocation.owner.user(), peer, counters)?;
    if !is_bound && allocation.channels.len() >= CHANNELS_MAX {
        return Err(ErrorCode::InsufficientCapacity);
    }
    Ok((number, PeerAddr(peer)))
}

/// Binds the channel and permits the peer, or does neither.
pub(super) fn bind(
    now: Now,
    allocation: &mut Allocation,
    number: ChannelNumber,
    peer: PeerAddr,
) -> Result<(), ErrorCode> {
    allocation.permissions.install(now, vec![peer.0.ip()])?;
    allocation.channels.bind(now, number, peer);
    Ok(())
}

/// How many bindings are found by looking at each: more of them are indexed.
const SCANNED_MAX: usize = 8;

/// The channel bindings of one allocation. Most allocations have one or two.
#[derive(Debug, Default)]
pub(super) struct Channels {
    bindings: SmallVec<[Binding; 1]>,
    index: Option<Box<Index>>,
}

#[derive(Clone, Copy, Debug)]
struct Binding {
    number: ChannelNumber,
    peer: PeerAddr,
    until: Instant,
}

/// Where in `bindings` each is.
#[derive(Debug, Default)]
struct Index {
    by_number: FxHashMap<ChannelNumber, usize>,
    by_peer: FxHashMap<PeerAddr, usize>,
}

impl Channels {
    /// The peer that a channel is bound to.
    pub(super) fn peer(&self, now: Now, number: ChannelNumber) -> Option<PeerAddr> {
        let binding = self.of_number(number)?;
        binding.lives(now).then_some(binding.peer)
    }

    /// The channel that a peer is bound to.
    pub(super) fn number(&self, now: Now, peer: PeerAddr) -> Option<ChannelNumber> {
        let binding = self.of_peer(peer)?;
        binding.lives(now).then_some(binding.number)
    }

    /// Whether `number` and `peer` are bound to each other; 400 unless they are, or both are free.
    fn are_bound(
        &mut self,
        now: Now,
        number: ChannelNumber,
        peer: PeerAddr,
    ) -> Result<bool, ErrorCode> {
        if self.number(now, peer) == Some(number) {
            return Ok(true);
        }
        self.keep(|binding| binding.lives(now));
        if self.of_number(number).is_some() || self.of_peer(peer).is_some() {
            return Err(ErrorCode::BadRequest);
        }
        Ok(false)
    }

    /// Binds or refreshes what was admitted.
    fn bind(&mut self, now: Now, number: ChannelNumber, peer: PeerAddr) {
        let until = now.mono + CHANNEL_LIFETIME;
        let bound = self.bindings.iter_mut().find(|bound| bound.peer == peer);
        if let Some(binding) = bound {
            binding.until = until;
            return;
        }
        let at = self.bindings.len();
        self.bindings.push(Binding {
            number,
            peer,
            until,
        });
        match &mut self.index {
            Some(index) => index.insert(at, &self.bindings[at]),
            None => self.reindex(),
        }
    }

    /// Unbinds those of this family.
    pub(super) fn forget(&mut self, family: Family) {
        self.retain(|peer| Family::of(peer.ip()) != family);
    }

    /// Unbinds those of peers that are not to be kept.
    pub(super) fn retain(&mut self, is_kept: impl Fn(SocketAddr) -> bool) {
        self.keep(|binding| is_kept(binding.peer.0));
    }

    /// How many are bound now.
    pub(super) fn live(&self, now: Now) -> usize {
        let alive = self.bindings.iter().filter(|binding| binding.lives(now));
        alive.count()
    }

    /// How many are kept, lapsed ones included.
    pub(super) fn len(&self) -> usize {
        self.bindings.len()
    }

    fn of_number(&self, number: ChannelNumber) -> Option<&Binding> {
        match &self.index {
            None => self.bindings.iter().find(|bound| bound.number == number),
            Some(index) => self.bindings.get(*index.by_number.get(&number)?),
        }
    }

    fn of_peer(&self, peer: PeerAddr) -> Option<&Binding> {
        match &self.index {
            None => self.bindings.iter().find(|bound| bound.peer == peer),
            Some(index) => self.bindings.get(*index.by_peer.get(&peer)?),
        }
    }

    fn keep(&mut self, stays: impl Fn(&Binding) -> bool) {
        let before = self.bindings.len();
        self.bindings.retain(|binding| stays(binding));
        if self.bindings.len() < before {
            self.reindex();
        }
    }

    fn reindex(&mut self) {
        self.index = None;
        if self.bindings.len() > SCANNED_MAX {
            let mut index = Box::<Index>::default();
            for (at, binding) in self.bindings.iter().enumerate() {
                index.insert(at, binding);
            }
            self.index = Some(index);
        }
    }
}

impl Binding {
    fn lives(&self, now: Now) -> bool {
        now.mono < self.until
    }
}

impl Index {
    fn insert(&mut self, at: usize, binding: &Binding) {
        self.by_number.insert(binding.number, at);
        self.by_peer.insert(binding.peer, at);
    }
}

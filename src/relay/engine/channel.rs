//! Channels ([RFC 8656 §12](https://www.rfc-editor.org/rfc/rfc8656#section-12)): numbers that stand for peers.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use rustc_hash::FxHashMap;

use crate::clock::Now;
use crate::relay::engine::allocations::Allocation;
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

/// Handles ChannelBind: binds the channel and permits the peer, or does neither.
pub(super) fn bind(
    now: Now,
    request: &Request<'_>,
    allocation: &mut Allocation,
    admission: &Peers,
    range: ChannelRange,
    counters: &mut Snapshot,
) -> Result<(), ErrorCode> {
    let number = request.channel_number()?;
    let number = number.and_then(|number| ChannelNumber::new(number, range));
    let number = number.ok_or(ErrorCode::BadRequest)?;
    let peer = request.peer()?;
    if !allocation.reaches(now, Family::of(peer.ip())) {
        return Err(ErrorCode::PeerAddressFamilyMismatch);
    }
    admission.admit(now, &allocation.owner.user, peer, counters)?;
    allocation.channels.admit(now, number, PeerAddr(peer))?;
    allocation.permissions.install(now, vec![peer.ip()])?;
    allocation.channels.bind(now, number, PeerAddr(peer));
    Ok(())
}

/// The channel bindings of one allocation.
#[derive(Debug, Default)]
pub(super) struct Channels {
    by_number: FxHashMap<ChannelNumber, Binding>,
    by_peer: FxHashMap<PeerAddr, ChannelNumber>,
}

#[derive(Clone, Copy, Debug)]
struct Binding {
    peer: PeerAddr,
    until: Instant,
}

impl Channels {
    /// The peer that a channel is bound to.
    pub(super) fn peer(&self, now: Now, number: ChannelNumber) -> Option<PeerAddr> {
        let binding = self.by_number.get(&number)?;
        (now.mono < binding.until).then_some(binding.peer)
    }

    /// The channel that a peer is bound to.
    pub(super) fn number(&self, now: Now, peer: PeerAddr) -> Option<ChannelNumber> {
        let number = *self.by_peer.get(&peer)?;
        self.peer(now, number).map(|_| number)
    }

    /// Makes sure that `number` and `peer` are bound to each other or both free, and that there is room.
    fn admit(&mut self, now: Now, number: ChannelNumber, peer: PeerAddr) -> Result<(), ErrorCode> {
        if self.number(now, peer) == Some(number) {
            return Ok(());
        }
        self.by_number.retain(|_, binding| now.mono < binding.until);
        self.by_peer
            .retain(|_, number| self.by_number.contains_key(number));
        if self.by_number.contains_key(&number) || self.by_peer.contains_key(&peer) {
            return Err(ErrorCode::BadRequest);
        }
        if self.by_number.len() >= CHANNELS_MAX {
            return Err(ErrorCode::InsufficientCapacity);
        }
        Ok(())
    }

    /// Binds or refreshes what was admitted.
    fn bind(&mut self, now: Now, number: ChannelNumber, peer: PeerAddr) {
        let until = now.mono + CHANNEL_LIFETIME;
        self.by_number.insert(number, Binding { peer, until });
        self.by_peer.insert(peer, number);
        debug_assert_eq!(self.by_number.len(), self.by_peer.len());
    }

    /// Unbinds those of this family.
    pub(super) fn forget(&mut self, family: Family) {
        let stays = |peer: &PeerAddr| Family::of(peer.0.ip()) != family;
        self.by_number.retain(|_, binding| stays(&binding.peer));
        self.by_peer.retain(|peer, _| stays(peer));
    }

    /// Unbinds those of peers that are not to be kept.
    pub(super) fn retain(&mut self, is_kept: impl Fn(SocketAddr) -> bool) {
        self.by_number.retain(|_, binding| is_kept(binding.peer.0));
        self.by_peer
            .retain(|_, number| self.by_number.contains_key(number));
    }

    /// How many are bound now.
    pub(super) fn live(&self, now: Now) -> usize {
        let is_live = |binding: &&Binding| now.mono < binding.until;
        self.by_number.values().filter(is_live).count()
    }

    /// How many are kept, lapsed ones included.
    pub(super) fn len(&self) -> usize {
        self.by_number.len()
    }
}

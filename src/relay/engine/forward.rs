//! Data on its way ([RFC 8656 §11, §12.6, §12.7](https://www.rfc-editor.org/rfc/rfc8656#section-11)): no allocation, no
//! timer, no copy.

use crate::clock::Now;
use crate::relay::engine::Engine;
use crate::relay::engine::allocation::Allocation;
use crate::relay::engine::counters::DropReason;
use crate::relay::engine::five_tuple::{Family, FiveTuple, PeerAddr, RelayKey, RelayedAddr};
use crate::relay::engine::limits::Limits;
use crate::relay::engine::outcome::{Outcome, Sender};
use crate::relay::engine::relays::{Incoming, Taken, Way};
use crate::relay::engine::view::AllocationId;
use crate::relay::wire::channel_data::ChannelData;
use crate::relay::wire::datagram::Datagram;
use crate::relay::wire::frame::Frame;
use crate::relay::wire::message::{Message, TransactionId};
use crate::relay::wire::send::{Discard, SendIndication};

impl Engine {
    pub(super) fn forward_channel_data<'d>(
        &mut self,
        now: Now,
        client: &FiveTuple,
        datagram: Datagram<'d>,
    ) -> Result<Outcome<'d>, DropReason> {
        let ChannelData { number, payload } =
            ChannelData::parse(datagram, self.channels).ok_or(DropReason::Malformed)?;
        let (slot, allocation) = self
            .allocations
            .by_sender(now, client)
            .ok_or(DropReason::NoAllocation)?;
        let peer = allocation
            .channels
            .peer(now, number)
            .ok_or(DropReason::NoChannel)?;
        let path = path(now, allocation, peer)?;
        let bytes = payload.bytes();
        if self.allocations.relays().may_be_shared(path.relay) {
            let (relay, allocations) = (path.relay, &mut self.allocations);
            let left = allocations.leave_traces_by_channel(now, relay, slot, peer, bytes);
            left.map_err(|Taken| DropReason::PeerTaken)?;
        }
        let allocation = self.allocations.at(slot).ok_or(DropReason::NoAllocation)?;
        spend(now, &self.limits, allocation, bytes.len())?;
        allocation.to_peers.count(bytes.len());
        self.counters.to_peers.count(bytes.len());
        self.leave(now, path, payload, false)
    }

    pub(super) fn forward_send<'d>(
        &mut self,
        now: Now,
        client: &FiveTuple,
        message: &Message<'d>,
    ) -> Result<Outcome<'d>, DropReason> {
        let send = SendIndication::parse(message).map_err(|discard| match discard {
            Discard::Incomplete => DropReason::Malformed,
            Discard::UnknownAttribute => DropReason::UnknownAttribute,
        })?;
        let (slot, allocation) = self
            .allocations
            .by_sender(now, client)
            .ok_or(DropReason::NoAllocation)?;
        if allocation.connections.is_some() {
            return Err(DropReason::WrongTransport);
        }
        let peer = PeerAddr(send.peer);
        let path = path(now, allocation, peer)?;
        if !self.peers.admits_data(now, send.peer) {
            return Err(DropReason::ForbiddenPeer);
        }
        if self.allocations.relays().may_be_shared(path.relay) {
            let left = self.allocations.leave_traces(now, slot, peer, send.payload);
            left.map_err(|Taken| DropReason::PeerTaken)?;
        }
        let allocation = self.allocations.at(slot).ok_or(DropReason::NoAllocation)?;
        spend(now, &self.limits, allocation, send.payload.len())?;
        allocation.to_peers.count(send.payload.len());
        self.counters.to_peers.count(send.payload.len());
        self.leave(now, path, send.payload.into(), send.dont_fragment)
    }

    /// Sends a datagram on its way: to a relayed transport address of this process without leaving it.
    fn leave<'d>(
        &mut self,
        now: Now,
        path: Path,
        payload: Datagram<'d>,
        dont_fragment: bool,
    ) -> Result<Outcome<'d>, DropReason> {
        let Path {
            sender: id,
            relay,
            from,
            peer,
        } = path;
        let relays = self.allocations.relays();
        let sender = || Sender {
            id,
            is_sole: relays.is_sole(relay, peer),
        };
        let is_too_long = || {
            let family = Family::of(peer.0.ip());
            payload.bytes().len() > family.datagram_bytes_max()
        };
        match relays.way_to(peer.0) {
            Way::Outside => Ok(Outcome::ToPeer {
                relay,
                peer,
                payload: payload.into_bytes(),
                dont_fragment,
            }),
            // No socket would take it: a stream's frames can be longer than any datagram.
            Way::Inside(_) | Way::Neighbour(_) if is_too_long() => Err(DropReason::TooLong),
            Way::Inside(theirs) => {
                let sender = Some(sender());
                self.forward_to_client(now, theirs, PeerAddr(from.0), sender, payload)
            }
            Way::Neighbour(worker) => Ok(Outcome::ToNeighbour {
                worker,
                to: RelayedAddr(peer.0),
                from,
                sender: sender(),
                payload: payload.into_bytes(),
            }),
        }
    }

    pub(super) fn forward_to_client<'b>(
        &mut self,
        now: Now,
        relay: RelayKey,
        peer: PeerAddr,
        sender: Option<Sender>,
        payload: Datagram<'b>,
    ) -> Result<Outcome<'b>, DropReason> {
        let incoming = Incoming {
            peer,
            sender,
            payload: payload.bytes(),
        };
        let allocation = self.allocations.receiver(now, relay, incoming)?;
        let client = allocation.client;
        let payload_bytes = payload.bytes().len();
        spend(now, &self.limits, allocation, payload_bytes)?;
        let frame = match allocation.channels.number(now, peer) {
            Some(number) => Frame::channel_data(number, payload, client.transport.is_stream()),
            None => Frame::data_indication(peer.0, self.transaction_ids.next(), payload),
        };
        let frame = frame.ok_or(DropReason::TooLong)?;
        allocation.to_clients.count(payload_bytes);
        self.counters.to_clients.count(payload_bytes);
        Ok(Outcome::ToClient { client, frame })
    }
}

/// Which way a client's datagram leaves.
struct Path {
    sender: AllocationId,
    relay: RelayKey,
    from: RelayedAddr,
    peer: PeerAddr,
}

/// The allocation's way to a peer that it permits.
fn path(now: Now, allocation: &Allocation, peer: PeerAddr) -> Result<Path, DropReason> {
    if !allocation.permissions.permit(now, peer.0.ip()) {
        return Err(DropReason::NoPermission);
    }
    // Whom a permission names, a relay reached; it may have expired since.
    let half = allocation.halves.of(now, Family::of(peer.0.ip()));
    let half = half.ok_or(DropReason::NoPermission)?;
    Ok(Path {
        sender: allocation.id,
        relay: half.relay,
        from: half.relayed,
        peer,
    })
}

/// Takes a payload from the allocation's budget.
fn spend(
    now: Now,
    limits: &Limits,
    allocation: &Allocation,
    payload_bytes: usize,
) -> Result<(), DropReason> {
    let admitted = allocation.place.admit_bytes(now, payload_bytes);
    admitted.map_err(|limit| {
        limits.refuse(now, limit);
        DropReason::OverLimit
    })
}

/// The transaction ids of Data indications: spread evenly, and secret to nobody, as nothing answers an indication.
#[derive(Debug)]
pub(super) struct TransactionIds {
    state: u64,
}

impl TransactionIds {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    pub(super) fn next(&mut self) -> TransactionId {
        let mut id = [0; 12];
        id[..8].copy_from_slice(&self.number().to_be_bytes());
        id[8..].copy_from_slice(&self.number().to_be_bytes()[..4]);
        id
    }

    /// SplitMix64.
    fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

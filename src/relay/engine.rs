//! The TURN server without sockets, clocks or randomness: datagrams and time in, outcomes and effects out.

use std::{
    fmt,
    net::SocketAddr,
    ops::RangeInclusive,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::clock::{Now, UnixSeconds};
use crate::credentials::{Credentials, Tokens};
use crate::ident::UserId;
use crate::logging::Redacted;
use crate::relay::wire::classic;
use crate::relay::wire::datagram::Datagram;
use crate::relay::wire::demux::{self, Protocol};
use crate::relay::wire::message::{Fingerprint, Message};
use crate::relay::wire::request::Request;
use crate::relay::wire::send::SendIndication;

pub mod allocate;
mod allocation;
mod allocations;
pub mod alternate;
mod auth;
pub mod channel;
mod clients;
pub mod counters;
mod deadlines;
pub mod discovery;
mod effects;
pub mod ending;
pub mod five_tuple;
mod forward;
mod halves;
pub mod icmp;
pub mod limits;
mod made;
mod mobility;
mod nonce;
pub mod outcome;
mod peers;
pub mod permission;
pub mod policy;
mod refresh;
mod relayed;
mod relays;
mod requests;
mod revoked;
mod rules;
pub mod share;
pub mod signaled;
mod signature;
pub mod tcp;
mod traces;
pub mod usage;
mod view;

pub use crate::relay::wire::channel_data::ChannelRange;
pub use counters::{DropReason, Snapshot, Traffic};
pub use ending::Ending;
pub use outcome::{
    Effect, OpenedRelay, Outcome, PortKind, PortRequest, RelayRefused, RelayTransport,
    ReservationToken, Sender,
};
pub use relayed::RelayedAddrs;
pub use relays::PortSharing;
pub use rules::Rules;
pub use usage::Usage;
pub use view::{AllocationId, AllocationView, SomeAllocations};

use allocate::Pending;
use allocation::Allocation;
use allocations::Allocations;
use alternate::Alternate;
use auth::Authenticator;
use discovery::Square;
use effects::Effects;
use five_tuple::{Family, FiveTuple, PeerAddr, RelayKey, RelayedAddr, Transport};
use forward::TransactionIds;
use limits::Limits;
use mobility::Tickets;
use peers::Peers;
use policy::PeerPolicy;
use relays::{Relays, Way};
use share::Share;
use signaled::{PeerMode, SignaledPeers};
use tcp::Connections;
use usage::Finished;

/// What the operator decides about the relay; the realm comes with the credentials.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who may allocate.
    pub auth: Auth,
    /// Where clients find out how their NAT behaves; empty: nowhere.
    pub discovery: Vec<Square>,
    /// Which channel numbers clients may bind.
    pub channels: ChannelRange,
    /// SOFTWARE in Allocate and Refresh answers; `None` hides it.
    pub software: Option<String>,
    /// The lifetimes granted: the shortest is the default too. [`allocate::LIFETIMES`], unless a test is in a hurry.
    pub lifetimes: RangeInclusive<Duration>,
    /// Whether Refresh, CreatePermission and ChannelBind refuse a credential that expired since the Allocate.
    pub strict_expiry: bool,
    /// Which peers may be reached.
    pub policy: PeerPolicy,
    /// Which of these a participant may name.
    pub peer_mode: PeerMode,
    /// Where clients are sent when this server is full.
    pub alternates: Vec<Alternate>,
    /// Lets in clients with access tokens too.
    pub tokens: Option<Tokens>,
    /// Signs nonces: random, the same for all workers, since a client's packets may reach any of them.
    pub nonce_key: Redacted<[u8; 32]>,
    /// Whether there are TCP allocations ([RFC 6062](https://www.rfc-editor.org/rfc/rfc6062)).
    pub tcp_relay: bool,
    /// Which worker of how many the engine is; the others have the same settings but for this.
    pub share: Share,
    /// Whether allocations may move to another five-tuple ([RFC 8016](https://www.rfc-editor.org/rfc/rfc8016)).
    pub mobility: bool,
    /// When allocations share a relayed transport address.
    pub port_sharing: PortSharing,
    /// The relayed transport addresses of all workers.
    pub relayed: Arc<RelayedAddrs>,
}

/// Who may allocate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Whoever proves a long-term credential.
    Required,
    /// Anyone.
    None,
}

/// One worker's TURN server: every input returns at once, and its effects are drained before the next.
pub struct Engine {
    discovery: Vec<Square>,
    channels: ChannelRange,
    software: Option<String>,
    lifetimes: RangeInclusive<Duration>,
    peers: Peers,
    authenticator: Authenticator,
    alternates: Vec<Alternate>,
    allocations: Allocations,
    tcp_relay: bool,
    /// Whether this server is about to end: no allocation begins.
    is_draining: bool,
    connections: Connections,
    pending: Option<Pending>,
    effects: Effects,
    transaction_ids: TransactionIds,
    /// Where allocations may move.
    tickets: Option<Tickets>,
    /// Workers begin at random: an id is never that of another worker's allocation, nor of one before a restart.
    next_id: u64,
    counters: Snapshot,
    limits: Arc<Limits>,
    finished: Finished,
}

impl Engine {
    /// An engine without allocations. `seed` varies the transaction ids of its Data indications and its allocations'
    /// ids.
    #[must_use]
    pub fn new(
        settings: Settings,
        credentials: Arc<Credentials>,
        signaled: Arc<SignaledPeers>,
        limits: Arc<Limits>,
        seed: u64,
    ) -> Self {
        let Settings {
            auth,
            discovery,
            channels,
            software,
            lifetimes,
            strict_expiry,
            policy,
            peer_mode,
            alternates,
            tokens,
            nonce_key,
            tcp_relay,
            share,
            mobility,
            port_sharing,
            relayed,
        } = settings;
        let tickets = mobility.then(|| Tickets::new(Redacted::clone(&nonce_key), share));
        let connections = Connections::new(Redacted::clone(&nonce_key), share);
        Self {
            discovery,
            channels,
            software,
            lifetimes,
            peers: Peers {
                policy,
                mode: peer_mode,
                signaled,
                limits: Arc::clone(&limits),
            },
            authenticator: Authenticator::new(auth, strict_expiry, nonce_key, credentials, tokens),
            alternates,
            allocations: Allocations::new(Relays::new(port_sharing, share, relayed)),
            tcp_relay,
            is_draining: false,
            connections,
            pending: None,
            effects: Effects::default(),
            transaction_ids: TransactionIds::new(seed),
            tickets,
            next_id: seed,
            counters: Snapshot::default(),
            limits,
            finished: Finished::default(),
        }
    }

    /// Takes a datagram, or one message of a stream, from a client. `client.server` is the local address it arrived at.
    pub fn handle_client<'d>(
        &mut self,
        now: Now,
        client: FiveTuple,
        datagram: impl Into<Datagram<'d>>,
    ) -> Outcome<'d> {
        debug_assert!(self.effects.is_empty() && self.pending.is_none());
        let datagram = datagram.into();
        let outcome = match demux::classify(datagram.bytes()) {
            Protocol::Stun => self.handle_stun(now, client, datagram.into_bytes()),
            Protocol::ChannelData => self.forward_channel_data(now, &client, datagram),
            Protocol::Unknown => Err(DropReason::UnknownProtocol),
        };
        outcome.unwrap_or_else(|reason| self.dropped(reason))
    }

    /// Takes a datagram that a peer sent to a relayed transport address.
    pub fn handle_peer<'b>(
        &mut self,
        now: Now,
        relay: RelayKey,
        peer: PeerAddr,
        payload: impl Into<Datagram<'b>>,
    ) -> Outcome<'b> {
        debug_assert!(self.effects.is_empty() && self.pending.is_none());
        // The kernel may add a scope or flow label, which permissions and channels know nothing of.
        let peer = PeerAddr(SocketAddr::new(peer.0.ip(), peer.0.port()));
        let outcome = self.forward_to_client(now, relay, peer, None, payload.into());
        outcome.unwrap_or_else(|reason| self.dropped(reason))
    }

    /// Takes a datagram that a client of another worker sent to a relayed transport address of this one.
    pub fn handle_neighbour<'d>(
        &mut self,
        now: Now,
        to: RelayedAddr,
        from: RelayedAddr,
        sender: Sender,
        payload: &'d [u8],
    ) -> Outcome<'d> {
        debug_assert!(self.effects.is_empty() && self.pending.is_none());
        let (peer, sender) = (PeerAddr(from.0), Some(sender));
        let outcome = match self.allocations.relays().way_to(to.0) {
            Way::Inside(relay) => self.forward_to_client(now, relay, peer, sender, payload.into()),
            // It closed a moment ago.
            Way::Outside | Way::Neighbour(_) => Err(DropReason::NoAllocation),
        };
        outcome.unwrap_or_else(|reason| self.dropped(reason))
    }

    /// Answers the one [`Effect::OpenRelay`] of the last [`handle_client`](Self::handle_client), before any other input.
    pub fn handle_relay_opened(&mut self, now: Now, opened: Result<OpenedRelay, RelayRefused>) {
        debug_assert!(self.effects.is_empty() && self.pending.is_some());
        if let Some(pending) = self.pending.take() {
            self.allocate_on(now, pending, opened);
        }
    }

    /// A TCP or TLS connection, or a DTLS session, ended: its allocation goes at once, unless it is on its way to or
    /// from there.
    pub fn handle_client_closed(&mut self, now: Now, client: FiveTuple) {
        debug_assert!(self.effects.is_empty() && self.pending.is_none());
        if !self.allocations.leave(client) {
            self.let_go(now, client, Ending::Disconnected);
        }
    }

    /// Counts a datagram that was dropped before it got here.
    pub fn count_drop(&mut self, reason: DropReason) {
        self.counters.count_drop(reason);
    }

    /// Removes what has expired.
    pub fn handle_timeout(&mut self, now: Now) {
        debug_assert!(self.effects.is_empty() && self.pending.is_none());
        self.expire(now);
    }

    /// From now on every Allocate is refused as if the server were full, and everything else goes on.
    pub fn drain(&mut self) {
        self.is_draining = true;
    }

    /// Ends the user's credentials that expire at or before `until`, and the allocations made with them.
    pub fn revoke(&mut self, now: Now, user: &UserId, until: UnixSeconds) {
        debug_assert!(self.effects.is_empty() && self.pending.is_none());
        self.authenticator.revoke(now, user, until);
        while let Some(allocation) = self.allocations.remove_of(now, user, until) {
            self.close(now, allocation, Ending::Revoked);
        }
    }

    /// Ends every allocation: nothing is relayed from here any more.
    pub fn end_all(&mut self, now: Now, why: Ending) {
        debug_assert!(self.effects.is_empty() && self.pending.is_none());
        let clients: Vec<_> = self.allocations.iter().map(|any| any.client).collect();
        for client in clients {
            self.let_go(now, client, why);
        }
    }

    /// Whether [`poll_effect`](Self::poll_effect) has something.
    #[must_use]
    pub fn has_effects(&self) -> bool {
        !self.effects.is_empty()
    }

    /// What the worker must do next.
    pub fn poll_effect(&mut self) -> Option<Effect<'_>> {
        self.effects.poll()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due: a peek; may be early, never late.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let deadlines = [
            self.allocations.next_deadline(),
            self.connections.next_deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Whether an allocation lives on this five-tuple.
    #[must_use]
    pub fn has_allocation(&self, client: &FiveTuple) -> bool {
        self.allocations.has(client)
    }

    /// The state in numbers.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = self.counters;
        snapshot.set_held(self.allocations.held());
        snapshot.peer_connections = self.connections.len() as u64;
        snapshot
    }

    fn handle_stun<'d>(
        &mut self,
        now: Now,
        client: FiveTuple,
        datagram: &'d [u8],
    ) -> Result<Outcome<'d>, DropReason> {
        let Some(message) = Message::parse(datagram) else {
            return self.handle_unreadable(client, datagram);
        };
        let fingerprint = message.fingerprint();
        if fingerprint == Fingerprint::Wrong {
            return Err(DropReason::WrongFingerprint);
        }
        if message.typ == SendIndication::TYPE {
            return self.forward_send(now, &client, &message);
        }
        let request = Request::new(message, fingerprint).ok_or(DropReason::UnknownMethod)?;
        self.handle_request(now, client, &request);
        Ok(Outcome::Handled)
    }

    /// Classic STUN is told so over DTLS, and nothing elsewhere.
    fn handle_unreadable<'d>(
        &mut self,
        client: FiveTuple,
        message: &[u8],
    ) -> Result<Outcome<'d>, DropReason> {
        let refusal = match client.transport {
            Transport::Dtls => classic::refusal(message),
            Transport::Udp | Transport::Tcp | Transport::Tls => None,
        };
        let message = refusal.ok_or(DropReason::Malformed)?;
        self.counters.classic_refusals += 1;
        self.effects.respond(client, message);
        Ok(Outcome::Handled)
    }

    fn expire(&mut self, now: Now) {
        while let Some((client, family)) = self.allocations.next_expired(now) {
            self.let_go_of(now, client, family, Ending::Expired);
        }
        self.expire_connections(now);
    }

    fn let_go(&mut self, now: Now, client: FiveTuple, why: Ending) {
        if let Some(allocation) = self.allocations.remove(now, client) {
            self.close(now, allocation, why);
        }
    }

    /// Ends one family of an allocation; the allocation, where that was its only one.
    fn let_go_of(&mut self, now: Now, client: FiveTuple, family: Family, why: Ending) {
        match self.allocations.remove_half(now, client, family) {
            Some(half) => {
                self.close_connections_of(now, client, half.family());
                self.close_relays();
            }
            None => self.let_go(now, client, why),
        }
    }

    fn close(&mut self, now: Now, allocation: Allocation, why: Ending) {
        ending::tell(now, &allocation, why);
        self.counters.count_ended(why);
        let (to_peers, to_clients) = (allocation.to_peers, allocation.to_clients);
        self.finished
            .add(allocation.owner.user(), to_peers, to_clients);
        self.close_connections(now, &allocation);
        self.close_relays();
    }

    fn close_relays(&mut self) {
        while let Some(relay) = self.allocations.poll_closed() {
            self.effects.push(Effect::CloseRelay(relay));
        }
    }

    fn dropped<'d>(&mut self, reason: DropReason) -> Outcome<'d> {
        self.counters.count_drop(reason);
        Outcome::Dropped(reason)
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("snapshot", &self.snapshot())
            .finish_non_exhaustive()
    }
}

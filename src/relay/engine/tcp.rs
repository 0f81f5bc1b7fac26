//! TCP allocations ([RFC 6062](https://www.rfc-editor.org/rfc/rfc6062)): connections to peers, and the client's
//! connections that are bound to them.

mod connections;
mod ids;

pub(super) use connections::Connections;

use std::time::Duration;

use crate::clock::Now;
use crate::logging::Redacted;
use crate::relay::engine::Engine;
use crate::relay::engine::allocation::Allocation;
use crate::relay::engine::allocations::Allocations;
use crate::relay::engine::auth::Identity;
use crate::relay::engine::counters::DropReason;
use crate::relay::engine::five_tuple::{Family, FiveTuple, PeerAddr, RelayKey};
use crate::relay::engine::outcome::Effect;
use crate::relay::engine::relays::Incoming;
use crate::relay::engine::requests::owned;
use crate::relay::engine::tcp::connections::{Asked, Connection, State};
use crate::relay::wire::connection::{self, ConnectionId};
use crate::relay::wire::request::{Method, Request};
use crate::relay::wire::response::ErrorCode;

/// How long a peer may take to answer a Connect
/// ([RFC 6062 §5.2](https://www.rfc-editor.org/rfc/rfc6062#section-5.2): at least 30 s).
pub const CONNECT_TIME_MAX: Duration = Duration::from_secs(30);

/// How long a connection waits for its ConnectionBind
/// ([RFC 6062 §5.2, §5.3](https://www.rfc-editor.org/rfc/rfc6062#section-5.2)).
pub const BIND_TIME_MAX: Duration = Duration::from_secs(30);

/// How many connections to peers one allocation may have at a time, those still to be made included: each costs two
/// descriptors.
pub const CONNECTIONS_MAX: usize = 64;

impl Engine {
    /// A peer has connected to a relayed transport address: the name of its connection, or `None` where it must be
    /// closed at once ([RFC 6062 §5.3](https://www.rfc-editor.org/rfc/rfc6062#section-5.3)).
    pub fn handle_peer_accepted(
        &mut self,
        now: Now,
        relay: RelayKey,
        peer: PeerAddr,
    ) -> Option<ConnectionId> {
        debug_assert!(self.effects.is_empty() && self.pending.is_none());
        self.accept(now, relay, peer)
            .map_err(|reason| self.counters.count_drop(reason))
            .ok()
    }

    /// The connection of an [`Effect::ConnectPeer`] stands.
    pub fn handle_peer_connected(&mut self, now: Now, id: ConnectionId) {
        debug_assert!(self.effects.is_empty() && self.pending.is_none());
        self.expire(now);
        if let Some((client, asked)) = self.connections.stands(now, id) {
            let response = self.success(asked.reply_to).connection(id);
            let message = response.finish(asked.by.key());
            self.succeed(client, Method::Connect, message);
        }
    }

    /// A connection to a peer could not be made, or has ended.
    pub fn handle_peer_closed(&mut self, now: Now, id: ConnectionId) {
        debug_assert!(self.effects.is_empty() && self.pending.is_none());
        if let Some(connection) = self.connections.remove(id) {
            self.forget(now, id, connection);
        }
    }

    /// Bytes are to pass between a peer and the connection bound to it: whether they may, or must wait for the limits.
    #[must_use]
    pub fn handle_spliced(
        &mut self,
        now: Now,
        id: ConnectionId,
        towards: Towards,
        bytes: usize,
    ) -> bool {
        let Some(client) = self.connections.client_of(id) else {
            return false;
        };
        let Some(allocation) = self.allocations.by_client_mut(now, client) else {
            return false;
        };
        // Not counted as refused: a stream that waits loses nothing.
        if allocation.place.admit_bytes(now, bytes).is_err() {
            return false;
        }
        let (one, all) = match towards {
            Towards::Peer => (&mut allocation.to_peers, &mut self.counters.to_peers),
            Towards::Client => (&mut allocation.to_clients, &mut self.counters.to_clients),
        };
        one.count(bytes);
        all.count(bytes);
        true
    }

    /// Handles Connect ([RFC 6062 §5.2](https://www.rfc-editor.org/rfc/rfc6062#section-5.2)); the answer comes with
    /// the connection. Needs no permission: the client itself names the peer.
    pub(super) fn connect(
        &mut self,
        now: Now,
        client: FiveTuple,
        request: &Request<'_>,
        identity: &Identity,
    ) -> Result<(), ErrorCode> {
        let allocation = owned(&mut self.allocations, now, client, identity)?;
        let Some(open) = &mut allocation.connections else {
            return Err(ErrorCode::Forbidden);
        };
        let peer = PeerAddr(request.peer()?);
        let half = allocation.halves.of(now, Family::of(peer.0.ip()));
        let half = half.ok_or(ErrorCode::PeerAddressFamilyMismatch)?;
        let (relay, relayed) = (half.relay, half.relayed);
        self.peers
            .admit(now, identity.user(), peer.0, &mut self.counters)?;
        // A socket that connects to its own address meets itself.
        if peer.0 == relayed.0 {
            return Err(ErrorCode::Forbidden);
        }
        if open
            .iter()
            .any(|id| self.connections.is_connect_to(*id, peer))
        {
            return Err(ErrorCode::ConnectionAlreadyExists);
        }
        if open.len() >= CONNECTIONS_MAX {
            return Err(ErrorCode::InsufficientCapacity);
        }
        let asked = Asked {
            reply_to: request.reply_to,
            by: identity.clone(),
        };
        let until = now.mono + CONNECT_TIME_MAX;
        let id = self
            .connections
            .insert(client, peer, State::Connecting { until, asked });
        open.push(id);
        self.effects.push(Effect::ConnectPeer { id, relay, peer });
        Ok(())
    }

    /// Handles ConnectionBind ([RFC 6062 §5.4](https://www.rfc-editor.org/rfc/rfc6062#section-5.4)).
    pub(super) fn bind_connection(
        &mut self,
        now: Now,
        client: FiveTuple,
        request: &Request<'_>,
        identity: &Identity,
    ) -> Result<ConnectionId, ErrorCode> {
        let is_control = self.allocations.by_client(now, client).is_some();
        if !client.transport.is_stream() || is_control {
            return Err(ErrorCode::BadRequest);
        }
        let id = request.connection_id()?;
        let control = self
            .connections
            .unbound(now, id)
            .ok_or(ErrorCode::BadRequest)?;
        owned(&mut self.allocations, now, control, identity)?;
        self.connections.bind(id);
        Ok(id)
    }

    /// Ends what nobody has answered or bound in time.
    pub(super) fn expire_connections(&mut self, now: Now) {
        while let Some((id, connection)) = self.connections.remove_due(now) {
            self.effects.push(Effect::ClosePeer(id));
            self.forget(now, id, connection);
        }
    }

    /// Ends one, whatever it has come to.
    pub(super) fn close_connection(&mut self, now: Now, id: ConnectionId) {
        if let Some(connection) = self.connections.remove(id) {
            self.effects.push(Effect::ClosePeer(id));
            self.forget(now, id, connection);
        }
    }

    /// The connections of an allocation end with it.
    pub(super) fn close_connections(&mut self, now: Now, allocation: &Allocation) {
        for id in allocation.connections.iter().flatten() {
            if let Some(connection) = self.connections.remove(*id) {
                self.effects.push(Effect::ClosePeer(*id));
                self.answer_failed(now, connection);
            }
        }
    }

    /// Those of one family end with its relayed transport address.
    pub(super) fn close_connections_of(&mut self, now: Now, client: FiveTuple, family: Family) {
        for id in self.connections.of(client, family) {
            self.close_connection(now, id);
        }
    }

    fn accept(
        &mut self,
        now: Now,
        relay: RelayKey,
        peer: PeerAddr,
    ) -> Result<ConnectionId, DropReason> {
        let allocation = self
            .allocations
            .receiver(now, relay, Incoming::about(peer))?;
        let client = allocation.client;
        let open = allocation
            .connections
            .as_mut()
            .filter(|open| open.len() < CONNECTIONS_MAX)
            .ok_or(DropReason::TooManyConnections)?;
        let until = now.mono + BIND_TIME_MAX;
        let id = self
            .connections
            .insert(client, peer, State::Unbound { until });
        open.push(id);
        let buffer = self.effects.buffer();
        let message = connection::attempt(buffer, peer.0, id, self.transaction_ids.next());
        self.effects.respond(client, message);
        Ok(id)
    }

    fn forget(&mut self, now: Now, id: ConnectionId, connection: Connection) {
        let allocation = self.allocations.by_client_mut(now, connection.client);
        if let Some(open) = allocation.and_then(|allocation| allocation.connections.as_mut()) {
            open.retain(|other| *other != id);
        }
        self.answer_failed(now, connection);
    }

    /// Whoever waits for the connection need wait no longer.
    fn answer_failed(&mut self, now: Now, connection: Connection) {
        match connection.state {
            State::Connecting { asked, .. } => {
                tracing::debug!(peer = %Redacted::new(connection.peer.0), "no connection to a peer");
                let code = ErrorCode::ConnectionTimeoutOrFailure;
                self.refuse(now, connection.client, asked.reply_to, &asked.by, code);
            }
            State::Unbound { .. } | State::Bound => {}
        }
    }
}

/// The allocation that a request is about: that of its five-tuple, or the one that a ConnectionBind's connection belongs
/// to.
pub(super) fn subject<'a>(
    now: Now,
    allocations: &'a Allocations,
    connections: &Connections,
    client: FiveTuple,
    request: &Request<'_>,
) -> Option<&'a Allocation> {
    let control = match request.method {
        Method::ConnectionBind => connections.client_of(request.connection_id().ok()?)?,
        Method::Binding
        | Method::Allocate
        | Method::Refresh
        | Method::CreatePermission
        | Method::ChannelBind
        | Method::Connect => client,
    };
    allocations.by_client(now, control)
}

/// Which way relayed bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Towards {
    /// From the client.
    Peer,
    /// From the peer.
    Client,
}

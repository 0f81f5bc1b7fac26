//! The one table of connections to peers, and when each must have been made, or bound.

use std::{mem, net::SocketAddr, time::Instant};

use rustc_hash::FxHashMap;

use crate::clock::Now;
use crate::logging::Redacted;
use crate::relay::engine::auth::Identity;
use crate::relay::engine::deadlines::Deadlines;
use crate::relay::engine::five_tuple::{Family, FiveTuple, PeerAddr};
use crate::relay::engine::share::Share;
use crate::relay::engine::tcp::BIND_TIME_MAX;
use crate::relay::engine::tcp::ids::ConnectionIds;
use crate::relay::wire::connection::ConnectionId;
use crate::relay::wire::response::ReplyTo;

/// Every connection to a peer of one engine.
#[derive(Debug)]
pub(in crate::relay::engine) struct Connections {
    ids: ConnectionIds,
    by_id: FxHashMap<ConnectionId, Connection>,
    deadlines: Deadlines<ConnectionId>,
}

/// A connection between a relayed transport address and a peer.
#[derive(Debug)]
pub(super) struct Connection {
    /// The control connection of its allocation.
    pub(super) client: FiveTuple,
    pub(super) peer: PeerAddr,
    /// Whether the client asked for it; else the peer came by itself.
    is_asked_for: bool,
    pub(super) state: State,
}

/// How far it has come.
#[derive(Debug)]
pub(super) enum State {
    /// The peer has not answered yet.
    Connecting { until: Instant, asked: Asked },
    /// It waits for a ConnectionBind.
    Unbound { until: Instant },
    /// The client's bytes go through it.
    Bound,
}

/// The Connect request that waits for a connection.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) reply_to: ReplyTo,
    pub(super) by: Identity,
}

impl Connections {
    /// `key` makes the names: secret, whoever else has it.
    pub(in crate::relay::engine) fn new(key: Redacted<[u8; 32]>, share: Share) -> Self {
        Self {
            ids: ConnectionIds::new(key, share),
            by_id: FxHashMap::default(),
            deadlines: Deadlines::default(),
        }
    }

    /// At or before the next one that is due.
    pub(in crate::relay::engine) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// How many there are.
    pub(in crate::relay::engine) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn insert(
        &mut self,
        client: FiveTuple,
        peer: PeerAddr,
        state: State,
    ) -> ConnectionId {
        let id = loop {
            let id = self.ids.next();
            if !self.by_id.contains_key(&id) {
                break id;
            }
        };
        self.watch(id, state.until());
        let is_asked_for = match state {
            State::Connecting { .. } => true,
            State::Unbound { .. } | State::Bound => false,
        };
        let connection = Connection {
            client,
            peer,
            is_asked_for,
            state,
        };
        self.by_id.insert(id, connection);
        id
    }

    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        self.by_id.remove(&id)
    }

    /// Those of one allocation that lead to peers of this family, in no order.
    pub(super) fn of(&self, client: FiveTuple, family: Family) -> Vec<ConnectionId> {
        let all = self
            .by_id
            .iter()
            .filter(|(_, found)| found.client == client && Family::of(found.peer.0.ip()) == family);
        all.map(|(id, _)| *id).collect()
    }

    /// Those with such peers.
    pub(in crate::relay::engine) fn with_peers(
        &self,
        is_such: impl Fn(SocketAddr) -> bool,
    ) -> Vec<ConnectionId> {
        let all = self.by_id.iter().filter(|(_, found)| is_such(found.peer.0));
        all.map(|(id, _)| *id).collect()
    }

    /// Whose allocation it belongs to.
    pub(super) fn client_of(&self, id: ConnectionId) -> Option<FiveTuple> {
        self.by_id.get(&id).map(|connection| connection.client)
    }

    /// Whether a Connect to this peer made it, or is to make it.
    pub(super) fn is_connect_to(&self, id: ConnectionId, peer: PeerAddr) -> bool {
        let connection = self.by_id.get(&id);
        connection.is_some_and(|connection| connection.is_asked_for && connection.peer == peer)
    }

    /// The peer has answered: whom to tell.
    pub(super) fn stands(&mut self, now: Now, id: ConnectionId) -> Option<(FiveTuple, Asked)> {
        let connection = self.by_id.get_mut(&id)?;
        let until = now.mono + BIND_TIME_MAX;
        match mem::replace(&mut connection.state, State::Unbound { until }) {
            State::Connecting { asked, .. } => {
                let client = connection.client;
                self.watch(id, Some(until));
                Some((client, asked))
            }
            state @ (State::Unbound { .. } | State::Bound) => {
                connection.state = state;
                None
            }
        }
    }

    /// Whose allocation it belongs to, if a ConnectionBind may have it.
    pub(super) fn unbound(&self, now: Now, id: ConnectionId) -> Option<FiveTuple> {
        let connection = self.by_id.get(&id)?;
        match connection.state {
            State::Unbound { until } if now.mono < until => Some(connection.client),
            State::Unbound { .. } | State::Connecting { .. } | State::Bound => None,
        }
    }

    pub(super) fn bind(&mut self, id: ConnectionId) {
        if let Some(connection) = self.by_id.get_mut(&id) {
            connection.state = State::Bound;
        }
    }

    /// Removes one whose time is over.
    pub(super) fn remove_due(&mut self, now: Now) -> Option<(ConnectionId, Connection)> {
        while let Some(id) = self.deadlines.pop_due(now.mono) {
            let until = self.by_id.get(&id).and_then(|found| found.state.until());
            // The deadline of an earlier state says nothing.
            if until.is_some_and(|until| until <= now.mono) {
                return self.by_id.remove(&id).map(|connection| (id, connection));
            }
        }
        None
    }

    /// Clients that connect and close quickly leave deadlines behind.
    fn watch(&mut self, id: ConnectionId, until: Option<Instant>) {
        if let Some(until) = until {
            self.deadlines.push(until, id);
        }
        if self.deadlines.len() > 2 * self.by_id.len() + DEADLINES_SLACK {
            let entries = self.by_id.iter();
            let waiting = entries.filter_map(|(id, found)| Some((found.state.until()?, *id)));
            self.deadlines.rebuild(waiting);
        }
    }
}

impl State {
    fn until(&self) -> Option<Instant> {
        match self {
            Self::Connecting { until, .. } | Self::Unbound { until } => Some(*until),
            Self::Bound => None,
        }
    }
}

const DEADLINES_SLACK: usize = 64;

//! TCP allocations: connections to peers and from them, and what they are bound to.

use std::net::SocketAddr;

use proptest::prelude::*;
use setu::relay::engine::Effect;
use setu::relay::engine::five_tuple::RelayKey;
use setu::relay::engine::tcp::Towards;
use setu::relay::wire::connection::ConnectionId;
use stun::attributes::{ATTR_CONNECTION_ID, ATTR_XOR_PEER_ADDRESS};

use super::reference::{CAROL, Connection, PEERS, State, family_of};
use super::{LOGINS, Play, Scene, code_of, peer, station, tuple, user};
use crate::bytes::*;

#[derive(Clone, Debug)]
pub(super) enum Operation {
    Allocate {
        station: usize,
        user: usize,
        is_v6: bool,
    },
    Connect {
        station: usize,
        user: usize,
        peer: usize,
    },
    /// Of a connection, named as in [`Play::id`].
    PeerAnswers(usize),
    PeerCloses(usize),
    PeerComes {
        station: usize,
        peer: usize,
    },
    Bind {
        station: usize,
        user: usize,
        back: usize,
    },
    Bytes(usize),
}

pub(super) fn operation(scene: &Scene) -> impl Strategy<Value = Operation> + use<> {
    let (station, user, peer) = (|| station(scene), || user(scene), || peer(scene));
    let back = || 0..3_usize;
    prop_oneof![
        3 => (station(), user(), any::<bool>()).prop_map(|(station, user, is_v6)| {
            Operation::Allocate { station, user, is_v6 }
        }),
        3 => (station(), user(), peer()).prop_map(|(station, user, peer)| {
            Operation::Connect { station, user, peer }
        }),
        2 => back().prop_map(Operation::PeerAnswers),
        1 => back().prop_map(Operation::PeerCloses),
        2 => (station(), peer()).prop_map(|(station, peer)| Operation::PeerComes { station, peer }),
        3 => (station(), user(), back()).prop_map(|(station, user, back)| {
            Operation::Bind { station, user, back }
        }),
        1 => back().prop_map(Operation::Bytes),
    ]
}

impl Play {
    pub(super) fn stream(&mut self, operation: &Operation) -> Result<(), TestCaseError> {
        match *operation {
            Operation::Allocate {
                station,
                user,
                is_v6,
            } => self.allocate_tcp(station, user, is_v6),
            Operation::Connect {
                station,
                user,
                peer,
            } => self.connect(station, user, peer),
            Operation::PeerAnswers(back) => self.peer_answers(back),
            Operation::PeerCloses(back) => self.peer_closes(back),
            Operation::PeerComes { station, peer } => self.peer_comes(station, peer),
            Operation::Bind {
                station,
                user,
                back,
            } => self.bind_connection(station, user, back),
            Operation::Bytes(back) => self.bytes(back),
        }
    }

    /// One that there is or was; the latest is 0.
    fn id(&self, back: usize) -> Option<ConnectionId> {
        self.ids.iter().rev().nth(back).copied()
    }

    fn allocate_tcp(
        &mut self,
        station: usize,
        user: usize,
        is_v6: bool,
    ) -> Result<(), TestCaseError> {
        if self.is_spliced(station) {
            return Ok(());
        }
        let request = Builder::request(ALLOCATE).attr(attr::REQUESTED_TRANSPORT, &[6, 0, 0, 0]);
        let request = request.family(1 + u8::from(is_v6));
        let answer = self.ask(station, user, request);
        let is_stream = tuple(station).transport.is_stream();
        if !is_stream && self.model.proven(user, None).is_ok() && self.model.at(station).is_none() {
            prop_assert_eq!(answer.code(), 400);
            return Ok(());
        }
        if self.is_refused(station, user, &answer)? {
            return Ok(());
        }
        let mut allocation = self.allocated(user, 600, &answer);
        allocation.is_tcp = true;
        prop_assert!(allocation.halves.keys().eq(&[1 + u8::from(is_v6)]));
        self.model.allocations.insert(station, allocation);
        Ok(())
    }

    fn connect(&mut self, station: usize, user: usize, peer: usize) -> Result<(), TestCaseError> {
        if self.is_spliced(station) {
            return Ok(());
        }
        let login = match user {
            CAROL => (self.carol.0.as_str(), self.carol.1.as_str()),
            _ => LOGINS[user],
        };
        let request = Builder::request(CONNECT).peer(PEERS[peer]);
        let request = self.desk.sign(tuple(station), login, request);
        let got = self.desk.send(tuple(station), &request);
        let peer: SocketAddr = PEERS[peer].parse().unwrap();
        if let Err(code) = self.model.connect(station, user, peer) {
            prop_assert_eq!(got.answer().code(), code);
            return Ok(());
        }
        prop_assert!(got.is_silence());
        let Some(Effect::ConnectPeer { id, peer: to, .. }) = self.desk.world.effects.pop() else {
            return Err(TestCaseError::fail("nobody connects"));
        };
        prop_assert_eq!(to.0, peer);
        self.remember(id, station, peer, State::Connecting(self.model.now + 30));
        Ok(())
    }

    fn remember(&mut self, id: ConnectionId, station: usize, peer: SocketAddr, state: State) {
        self.ids.push(id);
        let connection = Connection {
            station,
            peer,
            is_asked_for: matches!(state, State::Connecting(_)),
            state,
        };
        self.model.connections.insert(id.0, connection);
    }

    fn peer_answers(&mut self, back: usize) -> Result<(), TestCaseError> {
        let Some(id) = self.id(back) else {
            return Ok(());
        };
        let answer = self.desk.world.peer_connected(id);
        let connection = self.model.connections.get_mut(&id.0);
        match connection {
            Some(connection) if matches!(connection.state, State::Connecting(_)) => {
                let named = answer.unwrap().0.get(ATTR_CONNECTION_ID).unwrap();
                prop_assert_eq!(named, id.to_be_bytes());
                connection.state = State::Unbound(self.model.now + 30);
            }
            Some(_) | None => prop_assert!(answer.is_none()),
        }
        Ok(())
    }

    fn peer_closes(&mut self, back: usize) -> Result<(), TestCaseError> {
        let Some(id) = self.id(back) else {
            return Ok(());
        };
        let answer = self.desk.world.peer_closed(id);
        let code = answer.map(|answer| answer.code());
        let ended = self.model.end_connection(id.0);
        let waited = ended.filter(|found| matches!(found.state, State::Connecting(_)));
        prop_assert_eq!(code, waited.map(|_| 447));
        Ok(())
    }

    fn peer_comes(&mut self, station: usize, peer: usize) -> Result<(), TestCaseError> {
        let peer: SocketAddr = PEERS[peer].parse().unwrap();
        let allocation = self.model.at(station).filter(|found| found.is_tcp);
        let Some(allocation) = allocation else {
            return Ok(());
        };
        let Some((relay, _)) = allocation.halves.get(&family_of(peer)) else {
            return Ok(());
        };
        let may = allocation.permissions.contains_key(&peer.ip());
        let world = &mut self.desk.world;
        let (id, heard) = world.peer_accepted(RelayKey(*relay), &peer.to_string());
        prop_assert_eq!((id.is_some(), heard.is_some()), (may, may));
        let (Some(id), Some((to, attempt))) = (id, heard) else {
            return Ok(());
        };
        prop_assert_eq!(to, tuple(station));
        prop_assert_eq!(attempt.0.get(ATTR_CONNECTION_ID).unwrap(), id.to_be_bytes());
        prop_assert!(attempt.has(ATTR_XOR_PEER_ADDRESS));
        self.remember(id, station, peer, State::Unbound(self.model.now + 30));
        Ok(())
    }

    fn bind_connection(
        &mut self,
        station: usize,
        user: usize,
        back: usize,
    ) -> Result<(), TestCaseError> {
        let Some(id) = self.id(back).filter(|_| !self.is_spliced(station)) else {
            return Ok(());
        };
        let request = Builder::request(CONNECTION_BIND);
        let request = request.attr(ATTR_CONNECTION_ID.0, &id.to_be_bytes());
        let answer = self.ask(station, user, request);
        let is_stream = tuple(station).transport.is_stream();
        let expected = self.model.bind_connection(station, user, id.0, is_stream);
        prop_assert_eq!(answer.code(), code_of(&expected));
        if expected.is_ok() {
            let spliced = self.desk.world.effects.pop();
            let is_ours = matches!(spliced, Some(Effect::Splice { client, id: bound })
                if (client, bound) == (tuple(station), id));
            prop_assert!(is_ours);
        }
        Ok(())
    }

    fn bytes(&mut self, back: usize) -> Result<(), TestCaseError> {
        let Some(id) = self.id(back) else {
            return Ok(());
        };
        let lives = self.model.connections.contains_key(&id.0);
        let (now, engine) = (self.desk.world.now, &mut self.desk.world.engine);
        for towards in [Towards::Peer, Towards::Client] {
            prop_assert_eq!(engine.handle_spliced(now, id, towards, 1000), lives);
        }
        Ok(())
    }
}

const CONNECT: u16 = 0x00A;
const CONNECTION_BIND: u16 = 0x00B;

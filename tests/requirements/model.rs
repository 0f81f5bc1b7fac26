//! Random sequences of client, peer and operator operations with time, against a reference model small enough to be
//! seen to be right: every outcome must be equal.

mod data;
mod reference;
mod streams;

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use proptest::prelude::*;
use setu::clock::UnixSeconds;
use setu::ident::UserId;
use setu::relay::engine::five_tuple::{FiveTuple, Transport};
use setu::relay::wire::attributes::ATTR_MOBILITY_TICKET;
use setu::relay::wire::connection::ConnectionId;

use crate::bytes::*;
use crate::desk::*;
use reference::{ALICE as ALICES, Allocation, CAROL, Model, PEERS, family_of};

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_does_what_the_model_does(operations in operations(&EVERYTHING)) {
        play(&operations)?;
    }

    #[test]
    fn the_engine_does_what_the_model_does_with_connections(operations in operations(&CONNECTIONS)) {
        play(&operations)?;
    }

    #[test]
    fn the_engine_does_what_the_model_does_with_credentials_that_end(operations in operations(&LONG_CALLS)) {
        play(&operations)?;
    }
}

/// Who meets where, and what they mostly do.
struct Scene {
    stations: &'static [usize],
    users: &'static [usize],
    /// How many of them are good.
    peers: usize,
    requests: u32,
    data: u32,
    streams: u32,
    wait: RangeInclusive<u64>,
}

const EVERYTHING: Scene = Scene {
    stations: &[0, 1, 2, 3, 4],
    users: &[ALICES, ALICES, ALICES, 1, CAROL, CAROL],
    peers: PEERS.len(),
    requests: 4,
    data: 12,
    streams: 10,
    wait: 1..=400,
};
const CONNECTIONS: Scene = Scene {
    stations: &[1, 3, 4],
    users: &[ALICES, ALICES, ALICES, ALICES, 1, CAROL],
    peers: 2,
    requests: 1,
    data: 1,
    streams: 40,
    wait: 1..=25,
};
const LONG_CALLS: Scene = Scene {
    stations: &[0, 1],
    users: &[CAROL, CAROL, CAROL, ALICES],
    peers: 1,
    requests: 8,
    data: 2,
    streams: 1,
    wait: 300..=2000,
};

fn play(operations: &[Operation]) -> Result<(), TestCaseError> {
    let mut play = Play::new();
    for operation in operations {
        play.step(operation)?;
        let Play { desk, model, .. } = &play;
        let relays: usize = model
            .allocations
            .values()
            .map(|found| found.halves.len())
            .sum();
        prop_assert_eq!(desk.allocations(), model.allocations.len() as u64);
        prop_assert_eq!(desk.world.open.len(), relays);
        let connections = desk.world.snapshot().peer_connections;
        prop_assert_eq!(connections, model.connections.len() as u64);
    }
    play.desk.wait(3600);
    let snapshot = play.desk.world.snapshot();
    prop_assert_eq!((snapshot.allocations, snapshot.peer_connections), (0, 0));
    prop_assert_eq!(play.desk.world.open.len(), 0);
    prop_assert_eq!(play.desk.world.engine.poll_timeout(), None);
    Ok(())
}

#[derive(Clone, Debug)]
enum Operation {
    Allocate {
        station: usize,
        user: usize,
        families: Families,
        lifetime: u32,
        is_mobile: bool,
    },
    Refresh {
        station: usize,
        user: usize,
        family: Option<u8>,
        lifetime: u32,
    },
    /// With a ticket of those that were given; the latest is 0.
    Move {
        station: usize,
        user: usize,
        back: usize,
        lifetime: u32,
    },
    Permit {
        station: usize,
        user: usize,
        peers: Vec<usize>,
    },
    Bind {
        station: usize,
        user: usize,
        number: u16,
        peer: usize,
    },
    Data(data::Operation),
    Stream(streams::Operation),
    Wait(u64),
    Close(usize),
    /// Carol is out, with every credential that she has.
    Revoke,
    /// Carol has another credential.
    Issue,
}

#[derive(Clone, Copy, Debug)]
enum Families {
    V4,
    V6,
    Both,
}

fn operations(scene: &Scene) -> impl Strategy<Value = Vec<Operation>> {
    proptest::collection::vec(operation(scene), 1..100)
}

fn operation(scene: &Scene) -> impl Strategy<Value = Operation> + use<> {
    let (station, user) = (|| station(scene), || user(scene));
    let lifetime = || prop_oneof![2 => Just(0_u32), 3 => 1..4000_u32];
    let families = prop_oneof![Just(Families::V4), Just(Families::V6), Just(Families::Both)];
    let family = prop_oneof![3 => Just(None), 1 => Just(Some(1)), 1 => Just(Some(2))];
    prop_oneof![
        scene.requests => (station(), user(), families, 0..4000_u32, any::<bool>()).prop_map(
            |(station, user, families, lifetime, is_mobile)| {
                Operation::Allocate { station, user, families, lifetime, is_mobile }
            },
        ),
        scene.requests => (station(), user(), family, lifetime()).prop_map(|(station, user, family, lifetime)| {
            Operation::Refresh { station, user, family, lifetime }
        }),
        scene.requests => (station(), user(), 0..3_usize, lifetime()).prop_map(|(station, user, back, lifetime)| {
            Operation::Move { station, user, back, lifetime }
        }),
        scene.requests => (station(), user(), proptest::collection::vec(peer(scene), 1..4)).prop_map(
            |(station, user, peers)| Operation::Permit { station, user, peers },
        ),
        scene.requests => (station(), user(), number(), peer(scene)).prop_map(|(station, user, number, peer)| {
            Operation::Bind { station, user, number, peer }
        }),
        scene.data => data::operation(scene).prop_map(Operation::Data),
        scene.streams => streams::operation(scene).prop_map(Operation::Stream),
        3 => scene.wait.clone().prop_map(Operation::Wait),
        1 => station().prop_map(Operation::Close),
        1 => Just(Operation::Revoke),
        1 => Just(Operation::Issue),
    ]
}

fn station(scene: &Scene) -> impl Strategy<Value = usize> + use<> {
    proptest::sample::select(scene.stations)
}

fn user(scene: &Scene) -> impl Strategy<Value = usize> + use<> {
    proptest::sample::select(scene.users)
}

fn peer(scene: &Scene) -> impl Strategy<Value = usize> + use<> {
    0..scene.peers
}

fn number() -> impl Strategy<Value = u16> {
    prop_oneof![Just(0x4000_u16), Just(0x4001), Just(0x4FFF), Just(0x5000)]
}

/// The engine and the model side by side, and what clients were told that nobody could guess.
struct Play {
    desk: Desk,
    model: Model,
    carol: (String, String),
    tickets: Vec<Vec<u8>>,
    ids: Vec<ConnectionId>,
}

impl Play {
    fn new() -> Self {
        let mut desk = Desk::new();
        desk.world.relays_max = 100;
        let model = Model {
            carols_end: CREDENTIAL_SECONDS,
            ..Model::default()
        };
        Self {
            carol: desk.world.issue("carol"),
            desk,
            model,
            tickets: Vec::new(),
            ids: Vec::new(),
        }
    }

    fn step(&mut self, operation: &Operation) -> Result<(), TestCaseError> {
        match operation {
            Operation::Allocate { .. } => self.allocate(operation)?,
            Operation::Refresh { .. } => self.refresh(operation)?,
            Operation::Move { .. } => self.move_to(operation)?,
            Operation::Permit { .. } => self.permit(operation)?,
            Operation::Bind { .. } => self.bind(operation)?,
            Operation::Data(operation) => self.relay(operation)?,
            Operation::Stream(operation) => self.stream(operation)?,
            Operation::Wait(secs) => self.wait(*secs)?,
            Operation::Close(station) => self.close(*station),
            Operation::Revoke => {
                let until = self.carol.0.split_once(':').unwrap().0;
                let until = UnixSeconds(until.parse().unwrap());
                let carol = UserId::Participant("carol".into());
                self.desk.world.revoke(&carol, until);
                self.model.revoke();
            }
            Operation::Issue => {
                self.carol = self.desk.world.issue("carol");
                self.model.carols_end = self.model.now + CREDENTIAL_SECONDS;
            }
        }
        Ok(())
    }

    /// Signs as the user, and sends; 0 or the code of the refusal.
    fn ask(&mut self, station: usize, user: usize, request: Builder) -> Parsed {
        let login = match user {
            CAROL => (self.carol.0.as_str(), self.carol.1.as_str()),
            _ => LOGINS[user],
        };
        self.desk.ask(tuple(station), login, request)
    }

    /// A connection that carries a peer's bytes is none of TURN's.
    fn is_spliced(&self, station: usize) -> bool {
        self.model.spliced.contains_key(&station)
    }

    fn allocate(&mut self, operation: &Operation) -> Result<(), TestCaseError> {
        let Operation::Allocate {
            station,
            user,
            families,
            lifetime,
            is_mobile,
        } = *operation
        else {
            return Ok(());
        };
        if self.is_spliced(station) {
            return Ok(());
        }
        let request = Builder::request(ALLOCATE).udp().lifetime(lifetime);
        let request = match families {
            Families::V4 => request,
            Families::V6 => request.family(2),
            Families::Both => request.additional(2),
        };
        let request = match is_mobile {
            true => request.attr(ATTR_MOBILITY_TICKET.0, &[]),
            false => request,
        };
        let answer = self.ask(station, user, request);
        if self.is_refused(station, user, &answer)? {
            return Ok(());
        }
        let expected: &[u8] = match families {
            Families::V4 => &[1],
            Families::V6 => &[2],
            Families::Both => &[1, 2],
        };
        let allocation = self.allocated(user, lifetime, &answer);
        prop_assert!(allocation.halves.keys().eq(expected));
        prop_assert_eq!(allocation.ticket.is_some(), is_mobile);
        self.tickets.extend(allocation.ticket.clone());
        self.model.allocations.insert(station, allocation);
        Ok(())
    }

    /// Whether an Allocate is refused, as it must be.
    fn is_refused(
        &self,
        station: usize,
        user: usize,
        answer: &Parsed,
    ) -> Result<bool, TestCaseError> {
        let expected = match self.model.proven(user, None) {
            Err(code) => code,
            Ok(()) if self.model.at(station).is_some() => 437,
            Ok(()) => 0,
        };
        prop_assert_eq!(answer.code(), expected);
        Ok(expected != 0)
    }

    /// What an answer says that there is now.
    fn allocated(&self, user: usize, lifetime: u32, answer: &Parsed) -> Allocation {
        let end = self.model.now + u64::from(lifetime.clamp(600, 3600));
        let relay = |relayed: &SocketAddr| u32::from(relayed.port()) - 49160;
        let halves = answer.relayed();
        let halves = halves
            .iter()
            .map(|half| (family_of(*half), (relay(half), end)));
        Allocation {
            user,
            credential: match user {
                CAROL => self.model.carols_end,
                _ => 0,
            },
            halves: halves.collect(),
            permissions: BTreeMap::new(),
            channels: BTreeMap::new(),
            is_tcp: false,
            ticket: answer.get(ATTR_MOBILITY_TICKET.0).map(<[u8]>::to_vec),
            next: None,
        }
    }

    fn refresh(&mut self, operation: &Operation) -> Result<(), TestCaseError> {
        let Operation::Refresh {
            station,
            user,
            family,
            lifetime,
        } = *operation
        else {
            return Ok(());
        };
        if self.is_spliced(station) {
            return Ok(());
        }
        let request = Builder::request(REFRESH).lifetime(lifetime);
        let request = match family {
            Some(family) => request.family(family),
            None => request,
        };
        let answer = self.ask(station, user, request);
        let expected = self.model.refresh(station, user, family, lifetime);
        prop_assert_eq!(answer.code(), code_of(&expected));
        if expected.is_ok() {
            prop_assert_eq!(answer.lifetime(), granted(lifetime));
            prop_assert!(!answer.has(ATTR_MOBILITY_TICKET.0));
        }
        Ok(())
    }

    fn move_to(&mut self, operation: &Operation) -> Result<(), TestCaseError> {
        let Operation::Move {
            station,
            user,
            back,
            lifetime,
        } = *operation
        else {
            return Ok(());
        };
        let ticket = self.tickets.iter().rev().nth(back);
        let Some(ticket) = ticket.cloned().filter(|_| !self.is_spliced(station)) else {
            return Ok(());
        };
        let request = Builder::request(REFRESH).lifetime(lifetime);
        let request = request.attr(ATTR_MOBILITY_TICKET.0, &ticket);
        let answer = self.ask(station, user, request);
        let moved = self.model.move_to(station, user, &ticket, lifetime);
        prop_assert_eq!(answer.code(), code_of(&moved));
        let Ok(allocation) = moved else {
            return Ok(());
        };
        prop_assert_eq!(answer.lifetime(), granted(lifetime));
        let next = answer.get(ATTR_MOBILITY_TICKET.0);
        prop_assert_eq!(next.is_some(), lifetime > 0);
        let Some(next) = next else {
            allocation.halves.clear();
            self.model.wait(0);
            return Ok(());
        };
        prop_assert!(!self.tickets.iter().any(|before| before == next));
        allocation.ticket = Some(next.to_vec());
        self.tickets.push(next.to_vec());
        Ok(())
    }

    fn permit(&mut self, operation: &Operation) -> Result<(), TestCaseError> {
        let Operation::Permit {
            station,
            user,
            peers,
        } = operation
        else {
            return Ok(());
        };
        if self.is_spliced(*station) {
            return Ok(());
        }
        let peers: Vec<_> = peers.iter().map(|peer| PEERS[*peer]).collect();
        let request = Builder::request(CREATE_PERMISSION);
        let request = peers
            .iter()
            .fold(request, |request, peer| request.peer(peer));
        let peers: Vec<_> = peers.iter().map(|peer| peer.parse().unwrap()).collect();
        let expected = self.model.permit(*station, *user, &peers);
        let answer = self.ask(*station, *user, request);
        prop_assert_eq!(answer.code(), code_of(&expected));
        Ok(())
    }

    fn bind(&mut self, operation: &Operation) -> Result<(), TestCaseError> {
        let Operation::Bind {
            station,
            user,
            number,
            peer,
        } = *operation
        else {
            return Ok(());
        };
        if self.is_spliced(station) {
            return Ok(());
        }
        let request = Builder::request(CHANNEL_BIND).channel(number);
        let answer = self.ask(station, user, request.peer(PEERS[peer]));
        let peer = PEERS[peer].parse().unwrap();
        let expected = self.model.bind(station, user, number, peer);
        prop_assert_eq!(answer.code(), code_of(&expected));
        Ok(())
    }

    /// Those who still wait for connections hear that there will be none.
    fn wait(&mut self, secs: u64) -> Result<(), TestCaseError> {
        let heard = self.desk.wait_heard(secs);
        let expected = self.model.wait(secs);
        let to: HashSet<_> = heard.iter().map(|(to, _)| *to).collect();
        let waiting: HashSet<_> = expected
            .iter()
            .map(|(station, _)| tuple(*station))
            .collect();
        prop_assert_eq!(heard.len(), expected.len());
        prop_assert!(heard.iter().all(|(_, answer)| answer.code() == 447));
        prop_assert_eq!(to, waiting);
        Ok(())
    }

    fn close(&mut self, station: usize) {
        if !tuple(station).transport.is_stream() {
            return;
        }
        match self.model.spliced.get(&station) {
            // The worker sees both ends.
            Some(id) => {
                let id = *id;
                self.desk.world.peer_closed(ConnectionId(id));
                self.model.end_connection(id);
            }
            None => {
                self.desk.world.close_connection(tuple(station));
                self.model.close(station);
            }
        }
    }
}

fn code_of<T>(expected: &Result<T, u16>) -> u16 {
    expected.as_ref().err().copied().unwrap_or_default()
}

fn granted(lifetime: u32) -> u32 {
    match lifetime {
        0 => 0,
        asked => asked.clamp(600, 3600),
    }
}

fn tuple(station: usize) -> FiveTuple {
    let (transport, client) = STATIONS[station];
    at(transport, client)
}

const LOGINS: [Login<'_>; 2] = [ALICE, BOB];
const STATIONS: [(Transport, &str); 5] = [
    (Transport::Udp, "192.0.2.1:5000"),
    (Transport::Tcp, "192.0.2.1:5000"),
    (Transport::Udp, "[2001:db8::1]:5000"),
    (Transport::Tls, "192.0.2.2:5000"),
    (Transport::Tcp, "192.0.2.3:6000"),
];
const CREDENTIAL_SECONDS: u64 = 3600;

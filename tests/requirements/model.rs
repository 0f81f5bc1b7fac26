//! Random sequences of client, peer and operator operations with time, against a reference model small enough to be
//! seen to be right: every outcome must be equal.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;
use setu::relay::engine::five_tuple::{FiveTuple, RelayKey, Transport};

use crate::bytes::*;
use crate::desk::*;
use crate::world::Did;

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_does_what_the_model_does(operations in proptest::collection::vec(operation(), 1..80)) {
        let mut desk = Desk::new();
        desk.world.relays_max = 100;
        let mut model = Model::default();
        for operation in operations {
            step(&mut desk, &mut model, &operation)?;
            let relays: usize = model.allocations.values().map(|found| found.halves.len()).sum();
            prop_assert_eq!(desk.allocations(), model.allocations.len() as u64);
            prop_assert_eq!(desk.world.open.len(), relays);
        }
        desk.wait(3600);
        prop_assert_eq!((desk.allocations(), desk.world.open.len()), (0, 0));
    }
}

#[derive(Clone, Debug)]
enum Operation {
    Allocate {
        station: usize,
        user: usize,
        families: Families,
        lifetime: u32,
    },
    Refresh {
        station: usize,
        user: usize,
        family: Option<u8>,
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
    Send {
        station: usize,
        peer: usize,
    },
    ChannelData {
        station: usize,
        number: u16,
    },
    PeerSends {
        station: usize,
        family: u8,
        peer: usize,
    },
    Wait(u64),
    Close(usize),
}

#[derive(Clone, Copy, Debug)]
enum Families {
    V4,
    V6,
    Both,
}

fn operation() -> impl Strategy<Value = Operation> {
    let station = || 0..STATIONS.len();
    // Mostly the owner.
    let user = || prop_oneof![9 => Just(0_usize), 1 => Just(1)];
    let peer = || 0..PEERS.len();
    let number = || prop_oneof![Just(0x4000_u16), Just(0x4001), Just(0x4FFF), Just(0x5000)];
    let lifetime = || prop_oneof![2 => Just(0_u32), 3 => 1..4000_u32];
    let families = prop_oneof![Just(Families::V4), Just(Families::V6), Just(Families::Both)];
    let family = prop_oneof![3 => Just(None), 1 => Just(Some(1)), 1 => Just(Some(2))];
    prop_oneof![
        4 => (station(), user(), families, 0..4000_u32).prop_map(|(station, user, families, lifetime)| {
            Operation::Allocate { station, user, families, lifetime }
        }),
        2 => (station(), user(), family, lifetime()).prop_map(|(station, user, family, lifetime)| {
            Operation::Refresh { station, user, family, lifetime }
        }),
        4 => (station(), user(), proptest::collection::vec(peer(), 1..4)).prop_map(|(station, user, peers)| {
            Operation::Permit { station, user, peers }
        }),
        4 => (station(), user(), number(), peer()).prop_map(|(station, user, number, peer)| {
            Operation::Bind { station, user, number, peer }
        }),
        4 => (station(), peer()).prop_map(|(station, peer)| Operation::Send { station, peer }),
        4 => (station(), number()).prop_map(|(station, number)| Operation::ChannelData { station, number }),
        4 => (station(), 1..3_u8, peer()).prop_map(|(station, family, peer)| {
            Operation::PeerSends { station, family, peer }
        }),
        3 => (1..400_u64).prop_map(Operation::Wait),
        1 => station().prop_map(Operation::Close),
    ]
}

/// What RFC 8656 says there is, and nothing else: seconds since the beginning, and when each thing ends.
#[derive(Debug, Default)]
struct Model {
    now: u64,
    allocations: BTreeMap<usize, Allocation>,
}

#[derive(Debug)]
struct Allocation {
    user: usize,
    /// By family: the relay, and its end.
    halves: BTreeMap<u8, (u32, u64)>,
    permissions: BTreeMap<IpAddr, u64>,
    channels: BTreeMap<u16, (SocketAddr, u64)>,
}

impl Model {
    fn wait(&mut self, secs: u64) {
        self.now += secs;
        let now = self.now;
        for allocation in self.allocations.values_mut() {
            allocation.halves.retain(|_, (_, end)| now < *end);
            allocation.permissions.retain(|_, end| now < *end);
            allocation.channels.retain(|_, (_, end)| now < *end);
        }
        self.allocations
            .retain(|_, allocation| !allocation.halves.is_empty());
    }

    /// The allocation, or the code of the refusal.
    fn owned(&mut self, station: usize, user: usize) -> Result<&mut Allocation, u16> {
        let allocation = self.allocations.get_mut(&station).ok_or(437_u16)?;
        if allocation.user == user {
            Ok(allocation)
        } else {
            Err(441)
        }
    }

    fn refresh(&mut self, station: usize, user: usize, family: Option<u8>, lifetime: u32) -> u16 {
        let now = self.now;
        let allocation = match self.owned(station, user) {
            Ok(allocation) => allocation,
            Err(code) => return code,
        };
        if family.is_some_and(|family| !allocation.halves.contains_key(&family)) {
            return 443;
        }
        let is_meant = |found: &u8| family.is_none_or(|family| family == *found);
        allocation.halves.retain(|found, (_, end)| {
            if is_meant(found) {
                *end = now + u64::from(lifetime.clamp(600, 3600));
            }
            lifetime > 0 || !is_meant(found)
        });
        self.wait(0);
        0
    }

    fn permit(&mut self, station: usize, user: usize, peers: &[SocketAddr]) -> u16 {
        let end = self.now + 300;
        let allocation = match self.owned(station, user) {
            Ok(allocation) => allocation,
            Err(code) => return code,
        };
        if peers.iter().any(|peer| !allocation.reaches(*peer)) {
            return 443;
        }
        if peers.iter().any(|peer| is_forbidden(*peer)) {
            return 403;
        }
        allocation
            .permissions
            .extend(peers.iter().map(|peer| (peer.ip(), end)));
        0
    }

    fn bind(&mut self, station: usize, user: usize, number: u16, peer: SocketAddr) -> u16 {
        let now = self.now;
        let allocation = match self.owned(station, user) {
            Ok(allocation) => allocation,
            Err(code) => return code,
        };
        if number > 0x4FFF {
            return 400;
        }
        if !allocation.reaches(peer) {
            return 443;
        }
        if is_forbidden(peer) {
            return 403;
        }
        let taken = |(other, (bound, _)): (&u16, &(SocketAddr, u64))| {
            (*other == number) != (*bound == peer)
        };
        if allocation.channels.iter().any(taken) {
            return 400;
        }
        allocation.channels.insert(number, (peer, now + 600));
        allocation.permissions.insert(peer.ip(), now + 300);
        0
    }
}

impl Allocation {
    fn reaches(&self, peer: SocketAddr) -> bool {
        self.halves.contains_key(&family_of(peer))
    }

    fn sends_to(&self, peer: SocketAddr) -> bool {
        self.reaches(peer) && !is_forbidden(peer) && self.permissions.contains_key(&peer.ip())
    }
}

#[expect(clippy::too_many_lines, reason = "an arm for each operation")]
fn step(desk: &mut Desk, model: &mut Model, operation: &Operation) -> Result<(), TestCaseError> {
    match operation {
        Operation::Allocate {
            station,
            user,
            families,
            lifetime,
        } => {
            allocate(desk, model, (*station, *user), *families, *lifetime)?;
        }
        Operation::Refresh {
            station,
            user,
            family,
            lifetime,
        } => {
            let request = Builder::request(REFRESH).lifetime(*lifetime);
            let request = match family {
                Some(family) => request.family(*family),
                None => request,
            };
            let expected = model.refresh(*station, *user, *family, *lifetime);
            let answer = desk.ask(tuple(*station), LOGINS[*user], request);
            prop_assert_eq!(answer.code(), expected);
            if expected == 0 {
                let granted = if *lifetime == 0 {
                    0
                } else {
                    (*lifetime).clamp(600, 3600)
                };
                prop_assert_eq!(answer.lifetime(), granted);
            }
        }
        Operation::Permit {
            station,
            user,
            peers,
        } => {
            let peers: Vec<_> = peers.iter().map(|peer| PEERS[*peer]).collect();
            let request = peers
                .iter()
                .fold(Builder::request(CREATE_PERMISSION), |request, peer| {
                    request.peer(peer)
                });
            let peers: Vec<_> = peers.iter().map(|peer| peer.parse().unwrap()).collect();
            let expected = model.permit(*station, *user, &peers);
            prop_assert_eq!(
                desk.ask(tuple(*station), LOGINS[*user], request).code(),
                expected
            );
        }
        Operation::Bind {
            station,
            user,
            number,
            peer,
        } => {
            let request = Builder::request(CHANNEL_BIND)
                .channel(*number)
                .peer(PEERS[*peer]);
            let expected = model.bind(*station, *user, *number, PEERS[*peer].parse().unwrap());
            prop_assert_eq!(
                desk.ask(tuple(*station), LOGINS[*user], request).code(),
                expected
            );
        }
        Operation::Send { .. } | Operation::ChannelData { .. } | Operation::PeerSends { .. } => {
            relay(desk, model, operation)?;
        }
        Operation::Wait(secs) => {
            model.wait(*secs);
            desk.wait(*secs);
        }
        Operation::Close(station) => {
            if tuple(*station).transport.is_stream() {
                model.allocations.remove(station);
                desk.world.close_connection(tuple(*station));
            }
        }
    }
    Ok(())
}

fn allocate(
    desk: &mut Desk,
    model: &mut Model,
    (station, user): (usize, usize),
    families: Families,
    lifetime: u32,
) -> Result<(), TestCaseError> {
    let request = Builder::request(ALLOCATE).udp().lifetime(lifetime);
    let request = match families {
        Families::V4 => request,
        Families::V6 => request.family(2),
        Families::Both => request.additional(2),
    };
    let answer = desk.ask(tuple(station), LOGINS[user], request);
    if model.allocations.contains_key(&station) {
        prop_assert_eq!(answer.code(), 437);
        return Ok(());
    }
    prop_assert_eq!(answer.code(), 0);
    let end = model.now + u64::from(lifetime.clamp(600, 3600));
    let halves: BTreeMap<_, _> = answer
        .relayed()
        .into_iter()
        .map(|relayed| (family_of(relayed), (u32::from(relayed.port()) - 49160, end)))
        .collect();
    let expected: &[u8] = match families {
        Families::V4 => &[1],
        Families::V6 => &[2],
        Families::Both => &[1, 2],
    };
    prop_assert!(halves.keys().copied().eq(expected.iter().copied()));
    let (permissions, channels) = (BTreeMap::new(), BTreeMap::new());
    model.allocations.insert(
        station,
        Allocation {
            user,
            halves,
            permissions,
            channels,
        },
    );
    Ok(())
}

/// Data, whichever way.
#[expect(clippy::too_many_lines, reason = "an arm for each operation")]
fn relay(desk: &mut Desk, model: &Model, operation: &Operation) -> Result<(), TestCaseError> {
    match operation {
        Operation::Send { station, peer } => {
            let peer: SocketAddr = PEERS[*peer].parse().unwrap();
            let send = Builder::indication(SEND)
                .peer(&peer.to_string())
                .data(b"payload")
                .done();
            let got = desk.send(tuple(*station), &send);
            let allocation = model.allocations.get(station);
            if allocation.is_some_and(|allocation| allocation.sends_to(peer)) {
                prop_assert_eq!(got.outward(), (peer, b"payload".to_vec()));
            } else {
                prop_assert!(got.is_silence());
            }
        }
        Operation::ChannelData { station, number } => {
            let got = desk.send(tuple(*station), &channel_data(*number, 4, b"data"));
            let allocation = model.allocations.get(station);
            let peer = allocation.and_then(|allocation| {
                let (peer, _) = allocation.channels.get(number)?;
                allocation.sends_to(*peer).then_some(*peer)
            });
            match peer {
                Some(peer) => prop_assert_eq!(got.outward(), (peer, b"data".to_vec())),
                None => prop_assert!(got.is_silence()),
            }
        }
        Operation::PeerSends {
            station,
            family,
            peer,
        } => {
            let peer: SocketAddr = PEERS[*peer].parse().unwrap();
            let allocation = model.allocations.get(station);
            let Some((allocation, (relay, _))) = allocation
                .and_then(|allocation| Some((allocation, allocation.halves.get(family)?)))
            else {
                return Ok(());
            };
            // A socket hears its own family only.
            if family_of(peer) != *family || is_forbidden(peer) {
                return Ok(());
            }
            let did = desk
                .world
                .peer_sends_to(RelayKey(*relay), &peer.to_string(), b"four");
            if !allocation.permissions.contains_key(&peer.ip()) {
                prop_assert!(matches!(did, Did::Dropped(_)));
                return Ok(());
            }
            let Did::ToClient(to, bytes) = did else {
                return Err(TestCaseError::fail(format!("{did:?}")));
            };
            prop_assert_eq!(to, tuple(*station));
            let channel = allocation
                .channels
                .iter()
                .find(|(_, (bound, _))| *bound == peer);
            match channel {
                Some((number, _)) => prop_assert_eq!(bytes, channel_data(*number, 4, b"four")),
                None => {
                    let data = Parsed::read(&bytes);
                    prop_assert_eq!(data.get(attr::DATA), Some(&b"four"[..]));
                    prop_assert_eq!(data.address(attr::XOR_PEER_ADDRESS), peer);
                }
            }
        }
        Operation::Allocate { .. }
        | Operation::Refresh { .. }
        | Operation::Permit { .. }
        | Operation::Bind { .. }
        | Operation::Wait(_)
        | Operation::Close(_) => {}
    }
    Ok(())
}

fn tuple(station: usize) -> FiveTuple {
    let (transport, client) = STATIONS[station];
    at(transport, client)
}

fn family_of(addr: SocketAddr) -> u8 {
    if addr.is_ipv4() { 1 } else { 2 }
}

fn is_forbidden(peer: SocketAddr) -> bool {
    peer == FORBIDDEN.parse().unwrap()
}

const LOGINS: [Login<'_>; 2] = [ALICE, BOB];
const STATIONS: [(Transport, &str); 4] = [
    (Transport::Udp, "192.0.2.1:5000"),
    (Transport::Tcp, "192.0.2.1:5000"),
    (Transport::Udp, "[2001:db8::1]:5000"),
    (Transport::Tls, "192.0.2.2:5000"),
];
const PEERS: [&str; 6] = [
    PEER,
    "203.0.113.9:7001",
    "203.0.113.10:7000",
    PEER_V6,
    "[2001:db8::a]:7000",
    FORBIDDEN,
];

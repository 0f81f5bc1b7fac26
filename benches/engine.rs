//! The engine alone, without sockets: nanoseconds for each packet and each request, among a hundred allocations.
//!
//! `cargo bench --bench engine`; compare medians of one machine in one sitting only.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

#[path = "../tests/engine/world.rs"]
#[expect(dead_code, reason = "the tests use all of it")]
mod world;

use std::{hint::black_box, net::SocketAddr};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use setu::relay::engine::five_tuple::{FiveTuple, PeerAddr, RelayKey, RelayedAddr};
use setu::relay::engine::{Effect, OpenedRelay, Outcome, PortSharing};
use setu::relay::wire::datagram::Datagram;
use stun::attributes::ATTR_DATA;
use stun::message::{
    CLASS_INDICATION, CLASS_REQUEST, Getter as _, METHOD_ALLOCATE, METHOD_BINDING,
    METHOD_CHANNEL_BIND, METHOD_CREATE_PERMISSION, METHOD_REFRESH, METHOD_SEND, MessageType,
};
use turn::proto::channum::ChannelNumber;
use turn::proto::relayaddr::RelayedAddress;

use world::{ALICE, BOB, PEER, RELAYED, World, at, lifetime, raw, udp};

criterion_group!(benches, data, requests);
criterion_main!(benches);

const CLIENTS: u16 = 100;
const PAYLOAD: [u8; 160] = [0xA5; 160];
/// As much as a worker has in front of a datagram.
const HEADROOM_BYTES: usize = 64;
const CHANNEL: u16 = 0x4001;
/// Bound to the relayed transport address of another client.
const CHANNEL_INSIDE: u16 = 0x4002;
/// Has a permission only: what it sends arrives as a Data indication.
const OTHER_PORT: &str = "203.0.113.9:7001";

fn data(criterion: &mut Criterion) {
    let mut world = crowd();
    let mut group = criterion.benchmark_group("160 bytes");
    group.throughput(Throughput::Elements(1));

    let frame = channel_data(CHANNEL);
    group.bench_function("ChannelData to the peer", |bencher| {
        let mut clients = (0..CLIENTS).cycle().map(client);
        bencher.iter(|| to_peer(&mut world, clients.next().unwrap(), &frame));
    });
    let (mut shared, reached) = sharing();
    group.bench_function("ChannelData of one of ten clients on a port", |bencher| {
        let mut clients = (0..CLIENTS).cycle().map(client);
        bencher.iter(|| to_peer(&mut shared, clients.next().unwrap(), &frame));
    });

    let mut frame = channel_data(CHANNEL_INSIDE);
    // All of them: a brief run measures only the first.
    for number in 0..CLIENTS {
        to_another(&mut world, client(number), &mut frame);
    }
    group.bench_function("ChannelData to another client", |bencher| {
        let mut clients = (0..CLIENTS).cycle().map(client);
        bencher.iter(|| to_another(&mut world, clients.next().unwrap(), &mut frame));
    });

    let indication = MessageType::new(METHOD_SEND, CLASS_INDICATION);
    let send = world.unsigned(indication, &[&at(PEER), &raw(ATTR_DATA, &PAYLOAD)]);
    group.bench_function("Send indication to the peer", |bencher| {
        let mut clients = (0..CLIENTS).cycle().map(client);
        bencher.iter(|| to_peer(&mut world, clients.next().unwrap(), &send));
    });

    let mut memory = [&[0; HEADROOM_BYTES][..], &PAYLOAD].concat();
    group.bench_function("ChannelData to one of ten clients on a port", |bencher| {
        let mut reached = reached.iter().cycle();
        bencher.iter(|| {
            let (relay, peer) = *reached.next().unwrap();
            to_client(&mut shared, relay, peer, &mut memory);
        });
    });
    for (name, peer) in [
        ("ChannelData to the client", PEER),
        ("Data indication to the client", OTHER_PORT),
    ] {
        let peer = PeerAddr(peer.parse().unwrap());
        group.bench_function(name, |bencher| {
            let mut relays = (0..u32::from(CLIENTS)).cycle().map(RelayKey);
            bencher.iter(|| to_client(&mut world, relays.next().unwrap(), peer, &mut memory));
        });
    }
}

fn requests(criterion: &mut Criterion) {
    let mut world = crowd();
    let binding = world.unsigned(MessageType::new(METHOD_BINDING, CLASS_REQUEST), &[]);
    criterion.bench_function("Binding", |bencher| {
        bencher.iter(|| answered(&mut world, BOB.address(), &binding));
    });

    let cycle = [
        world.signed(BOB, METHOD_ALLOCATE, &[&udp()]),
        world.signed(BOB, METHOD_CREATE_PERMISSION, &[&at(PEER)]),
        world.signed(BOB, METHOD_REFRESH, &[&lifetime(0)]),
    ];
    criterion.bench_function("Allocate, CreatePermission, Refresh 0", |bencher| {
        bencher.iter(|| {
            for request in &cycle {
                answered(&mut world, BOB.address(), request);
            }
        });
    });
}

/// A hundred allocations, each with a channel to [`PEER`] and one to another of them.
fn crowd() -> World {
    let mut world = World::with(|settings| settings.port_sharing = PortSharing::WhenFull);
    world.relays_max = usize::from(CLIENTS) + 1;
    let credential = (ALICE.user, ALICE.password);
    for number in 0..CLIENTS {
        let made = world.ask_as(client(number), credential, METHOD_ALLOCATE, &[&udp()]);
        assert_eq!(made.code(), 0);
    }
    for number in 0..CLIENTS {
        let other = relayed(number ^ 1).0.to_string();
        for (channel, peer) in [(CHANNEL, PEER), (CHANNEL_INSIDE, &other)] {
            let binding: [&dyn stun::message::Setter; 2] = [&ChannelNumber(channel), &at(peer)];
            let bound = world.ask_as(client(number), credential, METHOD_CHANNEL_BIND, &binding);
            assert_eq!(bound.code(), 0);
        }
    }
    world
}

/// A hundred allocations on ten ports, each with a channel to a peer of its own, and where each is reached by whom.
fn sharing() -> (World, Vec<(RelayKey, PeerAddr)>) {
    let mut world = World::with(|settings| settings.port_sharing = PortSharing::WhenFull);
    world.relays_max = usize::from(CLIENTS / 10);
    let credential = (ALICE.user, ALICE.password);
    let reached = (0..CLIENTS).map(|number| {
        let made = world.ask_as(client(number), credential, METHOD_ALLOCATE, &[&udp()]);
        let mut relayed_at = RelayedAddress::default();
        relayed_at.get_from(&made.0).unwrap();
        let peer = format!("203.0.113.9:{}", 7000 + number);
        let binding: [&dyn stun::message::Setter; 2] = [&ChannelNumber(CHANNEL), &at(&peer)];
        let bound = world.ask_as(client(number), credential, METHOD_CHANNEL_BIND, &binding);
        assert_eq!(bound.code(), 0);
        let relay = RelayKey(u32::from(relayed_at.port - relayed(0).0.port()));
        (relay, PeerAddr(peer.parse().unwrap()))
    });
    let reached = reached.collect();
    (world, reached)
}

fn client(number: u16) -> FiveTuple {
    let client = ALICE.address();
    FiveTuple {
        client: SocketAddr::new(client.client.ip(), 10_000 + number),
        ..client
    }
}

fn relayed(number: u16) -> RelayedAddr {
    RelayedAddr(SocketAddr::new(RELAYED.parse().unwrap(), 49_160 + number))
}

fn channel_data(channel: u16) -> Vec<u8> {
    let header = [channel.to_be_bytes(), 160_u16.to_be_bytes()].concat();
    [header.as_slice(), &PAYLOAD].concat()
}

fn to_peer(world: &mut World, from: FiveTuple, datagram: &[u8]) {
    let outcome = world.engine.handle_client(world.now, from, datagram);
    assert!(matches!(black_box(outcome), Outcome::ToPeer { .. }));
}

/// Both have the same number for the channel: what the datagram becomes comes again.
fn to_another(world: &mut World, from: FiveTuple, datagram: &mut [u8]) {
    let datagram = Datagram::behind(0, datagram);
    let outcome = world.engine.handle_client(world.now, from, datagram);
    assert!(matches!(black_box(outcome), Outcome::ToClient { .. }));
}

fn to_client(world: &mut World, relay: RelayKey, peer: PeerAddr, memory: &mut [u8]) {
    let datagram = Datagram::behind(HEADROOM_BYTES, memory);
    let outcome = world.engine.handle_peer(world.now, relay, peer, datagram);
    assert!(matches!(black_box(outcome), Outcome::ToClient { .. }));
}

/// The request's success response; a relay socket costs nothing here.
fn answered(world: &mut World, from: FiveTuple, request: &[u8]) {
    world.engine.handle_client(world.now, from, request);
    while let Some(effect) = world.engine.poll_effect() {
        match effect {
            Effect::OpenRelay(_) => {
                let opened = OpenedRelay {
                    key: RelayKey(CLIENTS.into()),
                    relayed: relayed(CLIENTS),
                    reservation: None,
                };
                world.engine.handle_relay_opened(world.now, Ok(opened));
            }
            // A response's lower class bit is set in errors only.
            Effect::Respond { message, .. } => assert_eq!(black_box(message)[1] & 0x10, 0),
            Effect::CloseRelay(_)
            | Effect::ConnectPeer { .. }
            | Effect::Splice { .. }
            | Effect::ClosePeer(_) => {}
        }
    }
}

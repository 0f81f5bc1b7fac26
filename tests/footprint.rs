//! What the engine takes from the heap: little for an allocation that lives, nothing for what passes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "engine/world.rs"]
#[expect(dead_code, reason = "the engine's tests use all of it")]
mod world;

use std::net::SocketAddr;

use allocation_counter::{AllocationInfo, measure};
use setu::relay::engine::five_tuple::{FiveTuple, PeerAddr, RelayKey, RelayedAddr};
use setu::relay::engine::{Effect, OpenedRelay, Outcome};
use stun::attributes::ATTR_DATA;
use stun::message::{
    CLASS_INDICATION, CLASS_REQUEST, METHOD_ALLOCATE, METHOD_BINDING, METHOD_CHANNEL_BIND,
    METHOD_CREATE_PERMISSION, METHOD_SEND, MessageType, Setter,
};
use turn::proto::channum::ChannelNumber;

use world::*;

/// As many as tables of 512 hold.
const CLIENTS: u16 = 440;
const CHANNEL: u16 = 0x4001;
/// Has a permission only: what it sends arrives as a Data indication.
const OTHER_PORT: &str = "203.0.113.9:7001";

#[test]
fn an_idle_allocation_costs_about_a_kilobyte_with_a_permission_and_a_channel() {
    for (name, one_user, bytes_max) in [("one user's", true, 850), ("each its user's", false, 1100)]
    {
        let mut world = World::new();
        let requests: Vec<_> = (0..CLIENTS)
            .map(|number| requests_of(&mut world, number, one_user))
            .collect();
        let taken = measure(|| {
            for (number, requests) in (0..).zip(&requests) {
                requests
                    .iter()
                    .for_each(|request| answer(&mut world, number, request));
            }
        });
        assert_eq!(world.snapshot().channels, u64::from(CLIENTS));
        let bytes = taken.bytes_current / i64::from(CLIENTS);
        println!("{name}: {bytes} bytes");
        assert!(bytes < bytes_max, "{name}: {bytes} bytes");
    }
}

#[test]
fn what_passes_takes_nothing_from_the_heap() {
    let mut world = World::new();
    for request in requests_of(&mut world, 0, true) {
        answer(&mut world, 0, &request);
    }
    let channel_data = [&CHANNEL.to_be_bytes()[..], &[0, 3], b"out"].concat();
    let indication = MessageType::new(METHOD_SEND, CLASS_INDICATION);
    let send = world.unsigned(indication, &[&at(PEER), &raw(ATTR_DATA, b"out")]);
    for (name, datagram) in [("ChannelData", channel_data), ("Send", send)] {
        let taken = measure(|| {
            let outcome = world
                .engine
                .handle_client(world.now, client(0), datagram.as_slice());
            assert!(matches!(outcome, Outcome::ToPeer { .. }));
        });
        assert_eq!(taken, AllocationInfo::default(), "{name}");
    }
    for peer in [PEER, OTHER_PORT] {
        let addr = PeerAddr(peer.parse().unwrap());
        let taken = measure(|| {
            let outcome = world
                .engine
                .handle_peer(world.now, RelayKey(0), addr, &b"in"[..]);
            assert!(matches!(outcome, Outcome::ToClient { .. }));
        });
        assert_eq!(taken, AllocationInfo::default(), "{peer}");
    }
}

#[test]
fn a_binding_request_takes_nothing_from_the_heap() {
    let mut world = World::new();
    let request = world.unsigned(MessageType::new(METHOD_BINDING, CLASS_REQUEST), &[]);
    let request = fingerprinted(&request);
    answer(&mut world, 0, &request);
    let taken = measure(|| answer(&mut world, 0, &request));
    assert_eq!(taken, AllocationInfo::default());
}

/// Allocate, CreatePermission and ChannelBind of one client, with a credential of its own or the one that all have.
fn requests_of(world: &mut World, number: u16, one_user: bool) -> Vec<Vec<u8>> {
    let (username, password) = match one_user {
        true => (ALICE.user.to_owned(), ALICE.password.to_owned()),
        false => world.issue(&format!("participant-{number}")),
    };
    let nonce = world.nonce(client(number));
    let requests: [(_, &[&dyn Setter]); 3] = [
        (METHOD_ALLOCATE, &[&udp()]),
        (METHOD_CREATE_PERMISSION, &[&at(PEER)]),
        (METHOD_CHANNEL_BIND, &[&ChannelNumber(CHANNEL), &at(PEER)]),
    ];
    let credential = (username.as_str(), password.as_str());
    let sign = |(method, attributes)| world.signed_with(&nonce, credential, method, attributes);
    requests.map(sign).into()
}

fn client(number: u16) -> FiveTuple {
    let client = ALICE.address();
    FiveTuple {
        client: SocketAddr::new(client.client.ip(), 10_000 + number),
        ..client
    }
}

/// Has the request answered with success; relay sockets cost nothing here.
fn answer(world: &mut World, number: u16, request: &[u8]) {
    world
        .engine
        .handle_client(world.now, client(number), request);
    while let Some(effect) = world.engine.poll_effect() {
        match effect {
            Effect::OpenRelay(_) => {
                let opened = OpenedRelay {
                    key: RelayKey(number.into()),
                    relayed: RelayedAddr(([198, 51, 100, 1], 20_000 + number).into()),
                    reservation: None,
                };
                world.engine.handle_relay_opened(world.now, Ok(opened));
            }
            // A response's lower class bit is set in errors only.
            Effect::Respond { message, .. } => assert_eq!(message[1] & 0x10, 0),
            Effect::CloseRelay(_)
            | Effect::ConnectPeer { .. }
            | Effect::Splice { .. }
            | Effect::ClosePeer(_) => panic!("{effect:?}"),
        }
    }
}

//! Relay to relay: what one client sends to another client's relayed transport address goes straight there, and is
//! treated as if it had gone through both sockets.

use setu::relay::engine::DropReason;
use setu::relay::engine::five_tuple::RelayKey;
use turn::proto::chandata::ChannelData;

use crate::world::{ALICE, BOB, Did, PEER, World};

const OF_ALICE: &str = "198.51.100.1:49160";
const OF_BOB: &str = "198.51.100.1:49161";

/// Alice and Bob, each with a channel to the other.
fn call() -> World {
    World::new()
        .allocate(ALICE)
        .allocate(BOB)
        .bind(ALICE, 0x4001, OF_BOB)
        .bind(BOB, 0x4002, OF_ALICE)
}

#[test]
fn a_datagram_to_a_relayed_address_goes_straight_to_its_client() {
    let mut world = call();
    let Did::ToClient(client, bytes) = world.send_channel(ALICE, 0x4001, b"hello") else {
        panic!("it left");
    };
    assert_eq!(client, BOB.address());
    let mut data = ChannelData {
        raw: bytes,
        ..Default::default()
    };
    data.decode().unwrap();
    assert_eq!((data.number.0, &data.data[..]), (0x4002, &b"hello"[..]));
    let snapshot = world.snapshot();
    assert_eq!((snapshot.to_peers.packets, snapshot.to_peers.bytes), (1, 5));
    assert_eq!(
        (snapshot.to_clients.packets, snapshot.to_clients.bytes),
        (1, 5)
    );
}

#[test]
fn without_a_channel_it_arrives_in_a_data_indication_from_the_senders_relayed_address() {
    let mut world = World::new()
        .allocate(ALICE)
        .allocate(BOB)
        .permit(ALICE, OF_BOB)
        .permit(BOB, OF_ALICE);
    let Did::ToClient(client, bytes) = world.send_data(ALICE, OF_BOB, b"hello") else {
        panic!("it left");
    };
    assert_eq!(client, BOB.address());
    let through_the_socket = world.peer_sends_to(RelayKey(1), OF_ALICE, b"hello");
    let Did::ToClient(_, other) = through_the_socket else {
        panic!("not relayed");
    };
    // All but the transaction id.
    assert_eq!((&bytes[..8], &bytes[20..24]), (&other[..8], &other[20..24]));
    assert_eq!(bytes.len(), other.len());
}

#[test]
fn what_no_datagram_could_carry_is_dropped() {
    let mut world = call();
    let did = world.send_channel(ALICE, 0x4001, &[7; 65_507]);
    assert!(matches!(did, Did::ToClient(..)));
    let dropped = world.send_channel(ALICE, 0x4001, &[7; 65_508]).dropped();
    assert_eq!(dropped, DropReason::TooLong);
}

#[test]
fn the_receivers_permission_decides() {
    let mut world = World::new()
        .allocate(ALICE)
        .allocate(BOB)
        .permit(ALICE, OF_BOB);
    let dropped = world.send_data(ALICE, OF_BOB, b"hello").dropped();
    assert_eq!(dropped, DropReason::NoPermission);
    let snapshot = world.snapshot();
    assert_eq!(
        (snapshot.to_peers.packets, snapshot.to_clients.packets),
        (1, 0)
    );
}

#[test]
fn an_address_that_nobody_has_any_more_is_left_to_the_socket() {
    let mut world = call();
    world.refresh(BOB, 0);
    let did = world.send_channel(ALICE, 0x4001, b"hello");
    assert!(matches!(did, Did::ToPeer(..)), "{did:?}");
}

#[test]
fn somebody_may_send_to_their_own_relayed_address() {
    let mut world = World::with_allocation(ALICE).bind(ALICE, 0x4001, OF_ALICE);
    let did = world.send_channel(ALICE, 0x4001, b"echo");
    assert!(matches!(did, Did::ToClient(client, _) if client == ALICE.address()));
}

#[test]
fn another_workers_client_is_reached_through_its_worker() {
    let mut world = World::new();
    let mut beside = world.beside().allocate(BOB);
    let (of_alice, of_bob) = (OF_ALICE, "198.51.100.1:49180");
    world = world.allocate(ALICE).bind(ALICE, 0x4001, of_bob);
    let did = world.send_channel(ALICE, 0x4001, b"hello");
    let Did::ToNeighbour(worker, to, alice, payload) = did else {
        panic!("it left another way");
    };
    assert_eq!((worker, &payload[..]), (1, &b"hello"[..]));
    assert_eq!(to, of_bob.parse().unwrap());
    let did = beside.neighbour_sends(of_bob, of_alice, alice, b"hello");
    assert_eq!(did.dropped(), DropReason::NoPermission);
    beside = beside.bind(BOB, 0x4002, of_alice);
    let did = beside.neighbour_sends(of_bob, of_alice, alice, b"hello");
    assert!(matches!(did, Did::ToClient(client, _) if client == BOB.address()));
    beside.refresh(BOB, 0);
    let did = beside.neighbour_sends(of_bob, of_alice, alice, b"late");
    assert_eq!(did.dropped(), DropReason::NoAllocation);
    let did = world.send_channel(ALICE, 0x4001, b"hello");
    assert!(matches!(did, Did::ToPeer(..)), "{did:?}");
}

#[test]
fn other_peers_are_still_reached_through_the_socket() {
    let mut world = call().bind(ALICE, 0x4003, PEER);
    let did = world.send_channel(ALICE, 0x4003, b"hello");
    assert!(matches!(did, Did::ToPeer(peer, _) if peer == PEER.parse().unwrap()));
}

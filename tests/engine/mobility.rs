//! Allocations that move with their client ([RFC 8016](https://www.rfc-editor.org/rfc/rfc8016)).

use setu::relay::engine::DropReason;
use setu::relay::engine::five_tuple::{FiveTuple, Transport};
use setu::relay::wire::attributes::ATTR_MOBILITY_TICKET;
use stun::attributes::*;
use stun::message::*;

use crate::world::*;

#[test]
fn a_ticket_is_given_to_whoever_asks_for_one() {
    let (mut world, ticket) = mobile();
    assert_eq!(ticket.len(), 24);
    let answer = world.ask(BOB, METHOD_ALLOCATE, &[&udp()]);
    assert!(!answer.has(ATTR_MOBILITY_TICKET));
    let mut again = World::new();
    let full = raw(ATTR_MOBILITY_TICKET, &ticket);
    let answer = again.ask(ALICE, METHOD_ALLOCATE, &[&udp(), &full]);
    assert_eq!(answer.code(), 400, "only an empty one asks");
}

#[test]
fn where_nobody_may_move_there_is_405() {
    let mut world = World::with(|settings| settings.mobility = false);
    let empty = raw(ATTR_MOBILITY_TICKET, &[]);
    let answer = world.ask(ALICE, METHOD_ALLOCATE, &[&udp(), &empty]);
    assert_eq!(answer.code(), 405);
    let mut world = world.allocate(ALICE);
    let ticket = raw(ATTR_MOBILITY_TICKET, &[b'g'; 24]);
    assert_eq!(world.ask(ALICE, METHOD_REFRESH, &[&ticket]).code(), 405);
    assert_eq!(world.snapshot().allocations, 1);
}

#[test]
fn both_five_tuples_work_until_data_comes_from_the_new_one() {
    let (world, ticket) = mobile();
    let mut world = world.bind(ALICE, 0x4000, PEER);
    let answer = move_to(&mut world, elsewhere(9), &ticket);
    assert_eq!((answer.code(), answer.lifetime_seconds()), (0, 600));
    assert_ne!(ticket_of(&answer), ticket, "each is good for one move");
    assert_eq!(to_whom(&mut world), ALICE.address());
    assert!(matches!(
        world.send_channel(ALICE, 0x4000, b"from the old one"),
        Did::ToPeer(..)
    ));
    assert_eq!(to_whom(&mut world), ALICE.address());
    // The client shows up where it has moved to.
    let channel_data = b"\x40\0\0\x03new";
    assert!(matches!(
        world.send(elsewhere(9), channel_data),
        Did::ToPeer(..)
    ));
    assert_eq!(to_whom(&mut world), elsewhere(9));
    assert_eq!(
        world.send_channel(ALICE, 0x4000, b"late").dropped(),
        DropReason::NoAllocation
    );
    assert_eq!(world.refresh(ALICE, 600).code(), 437);
    assert_eq!((world.snapshot().allocations, world.open.len()), (1, 1));
    // The old address is free for another allocation.
    let world = world.allocate(ALICE);
    assert_eq!(world.snapshot().allocations, 2);
}

#[test]
fn whoever_proves_a_request_from_the_new_five_tuple_is_there() {
    let requests: [(Method, &dyn Setter); 3] = [
        (METHOD_CREATE_PERMISSION, &at(PEER)),
        (METHOD_REFRESH, &lifetime(600)),
        (METHOD_REFRESH, &lifetime(0)),
    ];
    for (method, attribute) in requests {
        let (world, ticket) = mobile();
        let mut world = world.permit(ALICE, PEER);
        assert_eq!(move_to(&mut world, elsewhere(9), &ticket).code(), 0);
        let bob = (BOB.user, BOB.password);
        let answer = world.ask_as(elsewhere(9), bob, method, &[attribute]);
        assert_eq!(answer.code(), 441);
        assert_eq!(to_whom(&mut world), ALICE.address());
        let alice = (ALICE.user, ALICE.password);
        let answer = world.ask_as(elsewhere(9), alice, method, &[attribute]);
        assert_eq!(answer.code(), 0);
        if world.snapshot().allocations > 0 {
            assert_eq!(to_whom(&mut world), elsewhere(9));
        }
        assert_eq!(world.refresh(ALICE, 600).code(), 437);
    }
}

#[test]
fn a_moved_allocation_keeps_its_relay_permissions_and_lifetime_and_may_move_on() {
    let (world, ticket) = mobile();
    let mut world = world.permit(ALICE, PEER);
    let second = ticket_of(&move_to(&mut world, elsewhere(9), &ticket));
    assert_eq!(move_to(&mut world, elsewhere(8), &ticket).code(), 437);
    let answer = move_to(&mut world, elsewhere(8), &second);
    assert_eq!(answer.code(), 0);
    let third = ticket_of(&answer);
    // It never arrived at the second five-tuple, and now never will.
    let send = world.unsigned(send_indication(), &[&at(PEER), &raw(ATTR_DATA, b"x")]);
    assert_eq!(
        world.send(elsewhere(9), &send).dropped(),
        DropReason::NoAllocation
    );
    assert!(matches!(world.send(elsewhere(8), &send), Did::ToPeer(..)));
    assert_eq!(to_whom(&mut world), elsewhere(8));
    let back = world.ask(ALICE, METHOD_REFRESH, &[&raw(ATTR_MOBILITY_TICKET, &third)]);
    assert_eq!(back.code(), 0);
    world.advance(seconds(600));
    assert_eq!((world.snapshot().allocations, world.open.len()), (0, 0));
}

#[test]
fn r46_a_ticket_is_good_for_its_owner_only() {
    let (mut world, ticket) = mobile();
    let ticket_attribute = raw(ATTR_MOBILITY_TICKET, &ticket);
    let bob = (BOB.user, BOB.password);
    let answer = world.ask_as(elsewhere(9), bob, METHOD_REFRESH, &[&ticket_attribute]);
    assert_eq!(answer.code(), 441);
    let answer = world.ask_as(
        elsewhere(9),
        bob,
        METHOD_REFRESH,
        &[&ticket_attribute, &lifetime(0)],
    );
    assert_eq!(answer.code(), 441);
    assert_eq!(world.snapshot().allocations, 1);
    assert_eq!(move_to(&mut world, elsewhere(9), &ticket).code(), 0);
}

#[test]
fn what_is_no_ticket_moves_nothing() {
    let (mut world, ticket) = mobile();
    let mut flipped = ticket.clone();
    flipped[19] ^= 1;
    let cases: [(&str, &[u8], u16); 4] = [
        ("empty", &[], 400),
        ("cut short", &ticket[..19], 437),
        ("a flipped bit", &flipped, 437),
        ("zeroes", &[0; 24], 437),
    ];
    for (name, ticket, code) in cases {
        let answer = move_to(&mut world, elsewhere(9), ticket);
        assert_eq!(answer.code(), code, "{name}");
    }
    // Whoever has an allocation of their own can't take over another one.
    let mut world = world.allocate(BOB);
    let ticket = raw(ATTR_MOBILITY_TICKET, &ticket);
    assert_eq!(world.ask(BOB, METHOD_REFRESH, &[&ticket]).code(), 437);
    assert_eq!(world.snapshot().allocations, 2);
}

#[test]
fn r22_r48_a_repeated_move_gets_the_same_answer() {
    let (mut world, ticket) = mobile();
    let nonce = world.nonce(elsewhere(9));
    let attribute = raw(ATTR_MOBILITY_TICKET, &ticket);
    let alice = (ALICE.user, ALICE.password);
    let request = world.signed_with(&nonce, alice, METHOD_REFRESH, &[&attribute]);
    let first = world.send(elsewhere(9), &request).answer();
    let again = world.send(elsewhere(9), &request).answer();
    assert_eq!(first.code(), 0);
    assert_eq!(first.0.raw, again.0.raw);
    // It may never have heard the first answer: nothing says that it is there.
    assert_eq!(to_whom(&mut world.permit(ALICE, PEER)), ALICE.address());
}

#[test]
fn a_ticket_on_the_same_five_tuple_is_a_refresh_that_brings_another_one() {
    let (mut world, ticket) = mobile();
    let attribute = raw(ATTR_MOBILITY_TICKET, &ticket);
    let answer = world.ask(ALICE, METHOD_REFRESH, &[&attribute, &lifetime(900)]);
    assert_eq!((answer.code(), answer.lifetime_seconds()), (0, 900));
    assert_ne!(ticket_of(&answer), ticket);
    assert_eq!(to_whom(&mut world.permit(ALICE, PEER)), ALICE.address());
}

#[test]
fn an_allocation_may_be_deleted_from_its_new_address() {
    let (mut world, ticket) = mobile();
    let attribute = raw(ATTR_MOBILITY_TICKET, &ticket);
    let alice = (ALICE.user, ALICE.password);
    let answer = world.ask_as(
        elsewhere(9),
        alice,
        METHOD_REFRESH,
        &[&attribute, &lifetime(0)],
    );
    assert_eq!((answer.code(), answer.lifetime_seconds()), (0, 0));
    assert!(!answer.has(ATTR_MOBILITY_TICKET));
    assert_eq!((world.snapshot().allocations, world.open.len()), (0, 0));
}

#[test]
fn a_connection_that_closes_on_the_way_leaves_the_other_one() {
    let mut tcp = elsewhere(9);
    tcp.transport = Transport::Tcp;
    for (closed, left) in [(tcp, ALICE.address()), (ALICE.address(), tcp)] {
        let (world, ticket) = mobile();
        let mut world = world.permit(ALICE, PEER);
        assert_eq!(move_to(&mut world, tcp, &ticket).code(), 0);
        world.close_connection(closed);
        assert_eq!(world.snapshot().allocations, 1);
        assert_eq!(to_whom(&mut world), left);
        world.close_connection(left);
        assert_eq!((world.snapshot().allocations, world.open.len()), (0, 0));
    }
}

fn mobile() -> (World, Vec<u8>) {
    let mut world = World::new();
    let empty = raw(ATTR_MOBILITY_TICKET, &[]);
    let answer = world.ask(ALICE, METHOD_ALLOCATE, &[&udp(), &empty]);
    let ticket = ticket_of(&answer);
    (world, ticket)
}

fn move_to(world: &mut World, to: FiveTuple, ticket: &[u8]) -> Answer {
    let ticket = raw(ATTR_MOBILITY_TICKET, ticket);
    let alice = (ALICE.user, ALICE.password);
    world.ask_as(to, alice, METHOD_REFRESH, &[&ticket])
}

fn ticket_of(answer: &Answer) -> Vec<u8> {
    answer.0.get(ATTR_MOBILITY_TICKET).unwrap()
}

fn to_whom(world: &mut World) -> FiveTuple {
    let Did::ToClient(client, _) = world.peer_sends(PEER, b"in") else {
        panic!()
    };
    client
}

fn elsewhere(host: u8) -> FiveTuple {
    Client { host, ..ALICE }.address()
}

fn send_indication() -> MessageType {
    MessageType::new(METHOD_SEND, CLASS_INDICATION)
}

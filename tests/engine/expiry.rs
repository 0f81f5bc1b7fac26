//! How allocations end ([RFC 8656 §8](https://www.rfc-editor.org/rfc/rfc8656#section-8)).

use std::time::Duration;

use setu::relay::engine::DropReason;
use setu::relay::engine::five_tuple::{RelayKey, Transport};
use stun::attributes::*;
use stun::message::*;

use crate::world::*;

#[test]
fn an_allocation_ends_with_its_lifetime_and_data_does_not_refresh_it() {
    let mut world = World::with_allocation(ALICE).permit(ALICE, PEER);
    world.advance(seconds(299));
    assert!(matches!(
        world.send_data(ALICE, PEER, b"x"),
        Did::ToPeer(..)
    ));
    let mut world = world.permit(ALICE, PEER);
    world.advance(seconds(300));
    assert_eq!((world.snapshot().allocations, world.open.len()), (1, 1));
    world.advance(seconds(1));
    assert_eq!((world.snapshot().allocations, world.open.len()), (0, 0));
    assert_eq!(
        world.send_data(ALICE, PEER, b"x").dropped(),
        DropReason::NoAllocation
    );
    assert_eq!(world.refresh(ALICE, 600).code(), 437);
}

#[test]
fn an_expired_allocation_is_gone_even_before_its_timeout_is_handled() {
    let mut world = World::with_allocation(ALICE).permit(ALICE, PEER);
    world.now = world.now.advanced(seconds(600));
    assert_eq!(
        world.send_data(ALICE, PEER, b"x").dropped(),
        DropReason::NoAllocation
    );
    assert_eq!(
        world.peer_sends_to(RelayKey(0), PEER, b"x").dropped(),
        DropReason::NoAllocation
    );
    let world = world.allocate(ALICE);
    assert_eq!((world.snapshot().allocations, world.open.len()), (1, 1));
}

#[test]
fn a_refreshed_allocation_lives_as_long_as_was_granted() {
    let mut world = World::with_allocation(ALICE);
    for (asked, granted) in [(60, 600), (1800, 1800), (99_999, 3600)] {
        let answer = world.refresh(ALICE, asked);
        assert_eq!((answer.code(), answer.lifetime_seconds()), (0, granted));
    }
    world.advance(seconds(3599));
    assert_eq!(world.snapshot().allocations, 1);
    world.advance(seconds(1));
    assert_eq!((world.snapshot().allocations, world.open.len()), (0, 0));
}

#[test]
fn a_shorter_lifetime_counts_from_the_refresh() {
    let mut world = World::new();
    assert_eq!(
        world
            .ask(ALICE, METHOD_ALLOCATE, &[&udp(), &lifetime(3600)])
            .code(),
        0
    );
    assert_eq!(world.refresh(ALICE, 600).lifetime_seconds(), 600);
    world.advance(seconds(600));
    assert_eq!((world.snapshot().allocations, world.open.len()), (0, 0));
}

#[test]
fn refresh_with_lifetime_0_frees_the_port_at_once() {
    let mut world = World::with_allocation(ALICE);
    let answer = world.refresh(ALICE, 0);
    assert_eq!((answer.code(), answer.lifetime_seconds()), (0, 0));
    assert_eq!((world.snapshot().allocations, world.open.len()), (0, 0));
    assert_eq!(world.refresh(ALICE, 0).code(), 437);
    assert_eq!(world.refresh(ALICE, 600).code(), 437);
    let world = world.allocate(ALICE);
    assert_eq!(world.open.len(), 1);
}

#[test]
fn a_refresh_for_another_family_deletes_nothing() {
    let mut world = World::with_allocation(ALICE);
    for (family, seconds, code) in [
        (2, 0, 443),
        (2, 600, 443),
        (9, 0, 443),
        (1, 600, 0),
        (1, 0, 0),
    ] {
        assert_eq!(world.snapshot().allocations, 1);
        let family = raw(ATTR_REQUESTED_ADDRESS_FAMILY, &[family, 0, 0, 0]);
        let answer = world.ask(ALICE, METHOD_REFRESH, &[&lifetime(seconds), &family]);
        assert_eq!(answer.code(), code);
    }
    assert_eq!(world.snapshot().allocations, 0);
}

#[test]
fn a_closed_connection_takes_its_allocation_along_and_no_other() {
    let mut world = World::with_allocation(ALICE);
    let mut tcp = ALICE.address();
    tcp.transport = Transport::Tcp;
    let alice = (ALICE.user, ALICE.password);
    assert_eq!(
        world.ask_as(tcp, alice, METHOD_ALLOCATE, &[&udp()]).code(),
        0
    );
    world.close_connection(tcp);
    world.close_connection(tcp);
    assert_eq!((world.snapshot().allocations, world.open.len()), (1, 1));
    assert!(!world.engine.has_allocation(&tcp) && world.engine.has_allocation(&ALICE.address()));
}

#[test]
fn the_timeout_is_never_late_however_often_an_allocation_is_refreshed() {
    let mut world = World::with_allocation(ALICE);
    for round in 0..500 {
        let seconds = if round % 2 == 0 { 3600 } else { 600 };
        assert_eq!(world.refresh(ALICE, seconds).code(), 0);
        world.advance(Duration::from_millis(10));
    }
    let due = world.engine.poll_timeout().unwrap();
    assert!(due <= world.now.mono + seconds(600));
    world.advance(seconds(600));
    assert_eq!(
        (world.snapshot().allocations, world.engine.poll_timeout()),
        (0, None)
    );
}

//! Permissions ([RFC 8656 §9, §10](https://www.rfc-editor.org/rfc/rfc8656#section-9)).

use setu::relay::engine::DropReason;
use setu::relay::engine::permission::{PERMISSION_LIFETIME, PERMISSIONS_MAX};
use stun::attributes::*;
use stun::message::*;
use turn::proto::peeraddr::PeerAddress;

use crate::world::*;

const PEER_ELSEWHERE: &str = "203.0.113.9:7001";
const DENIED: &str = "203.0.113.66:7000";

#[test]
fn a_permission_is_for_an_address_whatever_the_port() {
    let mut world = World::with_allocation(ALICE).permit(ALICE, "203.0.113.9:0");
    for peer in [PEER, PEER_ELSEWHERE] {
        assert!(matches!(world.peer_sends(peer, b"in"), Did::ToClient(..)));
        assert!(matches!(
            world.send_data(ALICE, peer, b"out"),
            Did::ToPeer(..)
        ));
    }
}

#[test]
fn without_a_permission_nothing_passes_and_none_is_made() {
    let mut world = World::with_allocation(ALICE)
        .allocate(BOB)
        .permit(BOB, PEER);
    assert_eq!(
        world.send_data(ALICE, PEER, b"out").dropped(),
        DropReason::NoPermission
    );
    assert_eq!(
        world.peer_sends(PEER, b"in").dropped(),
        DropReason::NoPermission
    );
    assert_eq!(world.snapshot().dropped(DropReason::NoPermission), 2);
}

#[test]
fn a_permission_not_refreshed_for_five_minutes_stops_peer_traffic() {
    let mut world = World::with_allocation(ALICE).permit(ALICE, PEER);
    world.advance(PERMISSION_LIFETIME - seconds(1));
    assert!(matches!(
        world.peer_sends(PEER, b"in time"),
        Did::ToClient(..)
    ));
    assert!(matches!(
        world.send_data(ALICE, PEER, b"in time"),
        Did::ToPeer(..)
    ));
    world.advance(seconds(1));
    assert_eq!(
        world.peer_sends(PEER, b"late").dropped(),
        DropReason::NoPermission
    );
    assert_eq!(
        world.send_data(ALICE, PEER, b"late").dropped(),
        DropReason::NoPermission
    );
}

#[test]
fn a_refreshed_permission_lasts_five_minutes_more() {
    let mut world = World::with_allocation(ALICE).permit(ALICE, PEER);
    world.advance(PERMISSION_LIFETIME - seconds(1));
    let mut world = world.permit(ALICE, PEER_ELSEWHERE);
    world.advance(PERMISSION_LIFETIME - seconds(1));
    assert!(matches!(
        world.peer_sends(PEER, b"in time"),
        Did::ToClient(..)
    ));
}

#[test]
fn all_peers_of_a_request_are_permitted_or_none() {
    let (one, two) = (at("203.0.113.1:1"), at("203.0.113.2:2"));
    let malformed = raw(ATTR_XOR_PEER_ADDRESS, &[0, 1, 0, 0, 1, 2, 3]);
    let (v6, denied, loopback) = (at("[2001:db8::1]:1"), at(DENIED), at("127.0.0.1:1"));
    let cases: &[(&str, &[&dyn Setter], u16, u64)] = &[
        ("two", &[&one, &two], 0, 2),
        ("the same twice", &[&one, &one], 0, 1),
        ("none", &[], 400, 0),
        ("one malformed", &[&one, &malformed], 400, 0),
        ("one of IPv6", &[&one, &v6], 443, 0),
        ("one denied", &[&one, &denied], 403, 0),
        ("loopback", &[&loopback], 403, 0),
    ];
    for (name, attributes, code, permissions) in cases {
        let mut world = World::with_allocation(ALICE);
        assert_eq!(
            world
                .ask(ALICE, METHOD_CREATE_PERMISSION, attributes)
                .code(),
            *code,
            "{name}"
        );
        assert_eq!(world.snapshot().permissions, *permissions, "{name}");
    }
}

#[test]
fn the_number_of_permissions_is_bounded_and_lapsed_ones_make_room() {
    let mut world = World::with_allocation(ALICE);
    let peers = |from: usize, count: usize| -> Vec<PeerAddress> {
        let addr = |n: usize| at(&format!("203.1.{}.{}:1", n / 256, n % 256));
        (from..from + count).map(addr).collect()
    };
    let ask = |world: &mut World, peers: &[PeerAddress]| {
        let attributes: Vec<_> = peers.iter().map(|peer| peer as &dyn Setter).collect();
        world
            .ask(ALICE, METHOD_CREATE_PERMISSION, &attributes)
            .code()
    };
    assert_eq!(ask(&mut world, &peers(0, PERMISSIONS_MAX - 1)), 0);
    assert_eq!(ask(&mut world, &peers(2000, 2)), 508);
    assert_eq!(ask(&mut world, &peers(2000, 1)), 0);
    assert_eq!(ask(&mut world, &peers(0, PERMISSIONS_MAX - 1)), 0);
    assert_eq!(world.bind_channel(ALICE, 0x4000, PEER).code(), 508);
    assert_eq!(world.snapshot().channels, 0);
    world.advance(PERMISSION_LIFETIME);
    assert_eq!(ask(&mut world, &peers(2000, 2)), 0);
    assert_eq!(world.snapshot().permissions, 2);
}

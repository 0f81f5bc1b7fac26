//! Allocations with a relayed address of each family
//! ([RFC 8656 §7.2, §8.2](https://www.rfc-editor.org/rfc/rfc8656#section-7.2)).

use setu::relay::engine::five_tuple::{Family, RelayKey};
use setu::relay::engine::{DropReason, PortKind};
use setu::relay::wire::address::XorAddress;
use setu::relay::wire::attributes::{ATTR_ADDITIONAL_ADDRESS_FAMILY, ATTR_ADDRESS_ERROR_CODE};
use stun::attributes::*;
use stun::message::*;

use crate::world::*;

const PEER_V6: &str = "[2001:db8:9::9]:7000";
const V4: u8 = 1;
const V6: u8 = 2;

#[test]
fn r58_an_additional_family_gives_two_relayed_addresses() {
    let mut world = with_ipv6();
    let answer = world.ask(ALICE, METHOD_ALLOCATE, &[&udp(), &additional(V6)]);
    assert_eq!(relayed(&answer), [FIRST, "[2001:db8:1::1]:49161"]);
    assert!(!answer.has(ATTR_ADDRESS_ERROR_CODE));
    assert_eq!((world.snapshot().allocations, world.open.len()), (1, 2));
    let [view] = &world.engine.allocations(world.now)[..] else {
        panic!("not one");
    };
    assert_eq!(view.relayed.port(), 49160);
    assert_eq!(view.additional_relayed.unwrap().port(), 49161);
}

#[test]
fn r58_one_family_is_enough_and_the_other_one_says_why_it_is_missing() {
    let cases = [
        ("no IPv6", false, None, FIRST, [V6, 0, 4, 40]),
        ("no IPv6 port", true, Some(Family::V6), FIRST, [V6, 0, 5, 8]),
        (
            "no IPv4 port",
            true,
            Some(Family::V4),
            "[2001:db8:1::1]:49160",
            [V4, 0, 5, 8],
        ),
    ];
    for (name, has_ipv6, full, addr, error) in cases {
        let mut world = World::new();
        (world.has_ipv6, world.full) = (has_ipv6, full);
        let answer = world.ask(ALICE, METHOD_ALLOCATE, &[&udp(), &additional(V6)]);
        assert_eq!(relayed(&answer), [addr], "{name}");
        let told = answer.0.get(ATTR_ADDRESS_ERROR_CODE).unwrap();
        assert_eq!(told[..4], error, "{name}");
        assert!(told.len() > 4 && told[4..].is_ascii(), "{name}");
        assert_eq!(world.open.len(), 1, "{name}");
    }
}

#[test]
fn r58_with_neither_family_there_is_508() {
    let mut world = with_ipv6();
    world.relays_max = 0;
    let answer = world.ask(ALICE, METHOD_ALLOCATE, &[&udp(), &additional(V6)]);
    assert_eq!(answer.code(), 508);
    assert_eq!((world.snapshot().allocations, world.open.len()), (0, 0));
}

#[test]
fn r54_r55_r56_r57_r58_what_does_not_go_together() {
    let (v4, v6, odd) = (additional(V4), additional(V6), additional(3));
    let requested = raw(ATTR_REQUESTED_ADDRESS_FAMILY, &[V4, 0, 0, 0]);
    let short = raw(ATTR_ADDITIONAL_ADDRESS_FAMILY, &[V6]);
    let token = raw(ATTR_RESERVATION_TOKEN, &TOKEN.0);
    let pair = raw(ATTR_EVEN_PORT, &[0x80]);
    let cases: &[(&str, &[&dyn Setter], u16)] = &[
        ("additional IPv4", &[&udp(), &v4], 400),
        ("an unknown family", &[&udp(), &odd], 440),
        ("cut short", &[&udp(), &short], 400),
        ("with a requested family", &[&udp(), &requested, &v6], 400),
        ("with a token", &[&udp(), &token, &v6], 400),
        ("with a pair of ports", &[&udp(), &pair, &v6], 400),
        ("no transport comes first", &[&v4], 400),
        ("another transport comes first", &[&other(), &v4], 442),
    ];
    for (name, attributes, code) in cases {
        let mut world = with_ipv6();
        let answer = world.ask(ALICE, METHOD_ALLOCATE, attributes);
        assert_eq!(answer.code(), *code, "{name}");
        assert!(world.asked.is_none() && world.open.is_empty(), "{name}");
    }
}

#[test]
fn r57_an_even_port_may_be_asked_of_both_families() {
    let mut world = with_ipv6();
    let even = raw(ATTR_EVEN_PORT, &[0]);
    let answer = world.ask(ALICE, METHOD_ALLOCATE, &[&udp(), &even, &additional(V6)]);
    assert_eq!(relayed(&answer).len(), 2);
    assert_eq!(world.asked.unwrap().kind, PortKind::Even);
}

#[test]
fn r48_a_repeated_dual_allocate_gets_the_same_answer() {
    let mut world = with_ipv6();
    let request = world.signed(ALICE, METHOD_ALLOCATE, &[&udp(), &additional(V6)]);
    let first = world.send(ALICE.address(), &request).answer();
    let again = world.send(ALICE.address(), &request).answer();
    assert_eq!(again.0.raw, first.0.raw);
    assert_eq!(world.open.len(), 2);
}

#[test]
fn peers_of_either_family_are_reached_from_its_own_relayed_address() {
    let mut world = dual().bind(ALICE, 0x4000, PEER).permit(ALICE, PEER_V6);
    let Did::ToPeer(peer, _) = world.send_channel(ALICE, 0x4000, b"four") else {
        panic!()
    };
    assert_eq!(peer.to_string(), PEER);
    let Did::ToPeer(peer, _) = world.send_data(ALICE, PEER_V6, b"six") else {
        panic!()
    };
    assert_eq!(peer.to_string(), PEER_V6);
    assert!(matches!(
        world.peer_sends_to(RelayKey(0), PEER, b"four"),
        Did::ToClient(..)
    ));
    assert!(matches!(
        world.peer_sends_to(RelayKey(1), PEER_V6, b"six"),
        Did::ToClient(..)
    ));
}

#[test]
fn r71_one_request_may_permit_peers_of_both_families() {
    let mut world = dual();
    let answer = world.ask(ALICE, METHOD_CREATE_PERMISSION, &[&at(PEER), &at(PEER_V6)]);
    assert_eq!((answer.code(), world.snapshot().permissions), (0, 2));
}

#[test]
fn r67_a_refresh_for_one_family_touches_only_that_one() {
    for (gone, stays, peer, other) in [(V4, V6, PEER, PEER_V6), (V6, V4, PEER_V6, PEER)] {
        let mut world = dual()
            .permit(ALICE, PEER)
            .permit(ALICE, PEER_V6)
            .bind(ALICE, 0x4000, peer)
            .bind(ALICE, 0x4001, other);
        let answer = world.ask(ALICE, METHOD_REFRESH, &[&lifetime(0), &family(gone)]);
        assert_eq!((answer.code(), answer.lifetime_seconds()), (0, 0));
        let snapshot = world.snapshot();
        assert_eq!((snapshot.allocations, world.open.len()), (1, 1));
        assert_eq!((snapshot.permissions, snapshot.channels), (1, 1));
        assert_eq!(
            world.send_data(ALICE, peer, b"gone").dropped(),
            DropReason::NoPermission
        );
        assert!(matches!(
            world.send_data(ALICE, other, b"here"),
            Did::ToPeer(..)
        ));
        let mut refused = |method, attributes: &[&dyn Setter]| {
            assert_eq!(world.ask(ALICE, method, attributes).code(), 443);
        };
        refused(METHOD_REFRESH, &[&lifetime(0), &family(gone)]);
        refused(METHOD_REFRESH, &[&family(3)]);
        refused(METHOD_CREATE_PERMISSION, &[&at(other), &at(peer)]);
        let answer = world.ask(ALICE, METHOD_REFRESH, &[&lifetime(0), &family(stays)]);
        assert_eq!(answer.code(), 0);
        assert_eq!((world.snapshot().allocations, world.open.len()), (0, 0));
        assert_eq!(world.refresh(ALICE, 600).code(), 437);
    }
}

#[test]
fn r65_a_refresh_for_no_family_in_particular_deletes_both() {
    let mut world = dual();
    assert_eq!(world.refresh(ALICE, 0).code(), 0);
    assert_eq!((world.snapshot().allocations, world.open.len()), (0, 0));
}

#[test]
fn r66_r68_each_half_has_its_own_expiry() {
    for (kept, gone) in [(V4, PEER_V6), (V6, PEER)] {
        let mut world = dual();
        let answer = world.ask(ALICE, METHOD_REFRESH, &[&lifetime(900), &family(kept)]);
        assert_eq!(answer.lifetime_seconds(), 900);
        world.advance(seconds(599));
        let answer = world.ask(ALICE, METHOD_CREATE_PERMISSION, &[&at(PEER), &at(PEER_V6)]);
        assert_eq!(answer.code(), 0);
        // Its time is over, before the timeout is handled and after it.
        world.now = world.now.advanced(seconds(1));
        assert_eq!(
            world.send_data(ALICE, gone, b"late").dropped(),
            DropReason::NoPermission
        );
        world.advance(seconds(0));
        assert_eq!((world.snapshot().allocations, world.open.len()), (1, 1));
        world.advance(seconds(299));
        assert_eq!(world.snapshot().allocations, 1);
        world.advance(seconds(1));
        assert_eq!((world.snapshot().allocations, world.open.len()), (0, 0));
        assert_eq!(world.engine.poll_timeout(), None);
    }
}

#[test]
fn whatever_ends_an_allocation_frees_both_its_ports() {
    let ends: [End; 3] = [
        ("expiry", |world| world.advance(seconds(600))),
        ("its connection", |world| {
            world.close_connection(ALICE.address());
        }),
        ("an operator", |world| {
            let view = &world.engine.allocations(world.now)[0];
            let id = setu::relay::engine::AllocationId::parse(&view.id).unwrap();
            assert!(world.close_allocation(id));
        }),
    ];
    for (name, end) in ends {
        let mut world = dual();
        end(&mut world);
        assert!(world.open.is_empty(), "{name}");
        assert_eq!(world.snapshot().allocations, 0, "{name}");
    }
}

type End = (&'static str, fn(&mut World));

fn with_ipv6() -> World {
    let mut world = World::new();
    world.has_ipv6 = true;
    world
}

fn dual() -> World {
    let mut world = with_ipv6();
    let answer = world.ask(ALICE, METHOD_ALLOCATE, &[&udp(), &additional(V6)]);
    assert_eq!(relayed(&answer).len(), 2);
    world
}

/// Every XOR-RELAYED-ADDRESS, in order.
fn relayed(answer: &Answer) -> Vec<String> {
    let id = answer.0.transaction_id.0;
    let all = answer.0.attributes.0.iter();
    let relayed = all.filter(|found| found.typ == ATTR_XOR_RELAYED_ADDRESS);
    relayed
        .map(|found| XorAddress::decode(&found.value, id).unwrap().to_string())
        .collect()
}

fn additional(number: u8) -> RawAttribute {
    raw(ATTR_ADDITIONAL_ADDRESS_FAMILY, &[number, 0, 0, 0])
}

fn family(number: u8) -> RawAttribute {
    raw(ATTR_REQUESTED_ADDRESS_FAMILY, &[number, 0, 0, 0])
}

fn other() -> RawAttribute {
    raw(ATTR_REQUESTED_TRANSPORT, &[99, 0, 0, 0])
}

const FIRST: &str = "198.51.100.1:49160";

//! Allocate ([RFC 8656 §7](https://www.rfc-editor.org/rfc/rfc8656#section-7)).

use std::net::SocketAddr;

use setu::relay::engine::five_tuple::{Family, Transport};
use setu::relay::engine::{PortKind, PortRequest, RelayTransport};
use stun::attributes::*;
use stun::message::*;
use stun::uattrs::UnknownAttributes;
use stun::xoraddr::XorMappedAddress;
use turn::proto::relayaddr::RelayedAddress;

use crate::world::*;

#[test]
fn an_allocation_comes_with_its_addresses_and_lifetime_and_no_permission() {
    let mut world = World::new();
    let answer = world.ask(ALICE, METHOD_ALLOCATE, &[&udp()]);
    let (mut relayed, mut mapped) = (RelayedAddress::default(), XorMappedAddress::default());
    relayed.get_from(&answer.0).unwrap();
    mapped.get_from(&answer.0).unwrap();
    assert_eq!(
        (relayed.ip.to_string().as_str(), relayed.port),
        ("198.51.100.1", 49160)
    );
    assert_eq!(
        SocketAddr::new(mapped.ip, mapped.port),
        ALICE.address().client
    );
    assert_eq!(answer.lifetime_seconds(), 600);
    assert!(!answer.has(ATTR_SOFTWARE) && !answer.has(ATTR_RESERVATION_TOKEN));
    let snapshot = world.snapshot();
    assert_eq!(
        (
            snapshot.allocations,
            snapshot.permissions,
            snapshot.channels
        ),
        (1, 0, 0)
    );
}

#[test]
fn a_repeated_allocate_gets_the_same_answer_and_no_second_allocation() {
    let mut world = World::new();
    let request = world.signed(ALICE, METHOD_ALLOCATE, &[&udp()]);
    let first = world.send(ALICE.address(), &request).answer();
    for _ in 0..3 {
        world.advance(seconds(1));
        let again = world.send(ALICE.address(), &request).answer();
        assert_eq!(again.0.raw, first.0.raw);
    }
    assert_eq!((world.snapshot().allocations, world.open.len()), (1, 1));
}

#[test]
fn r48_a_repeated_allocate_gets_the_same_answer_whatever_happened_since() {
    let wants: [(&str, &[&dyn Setter]); 3] = [
        ("nothing more", &[&udp()]),
        ("a reserved port", &[&udp(), &raw(ATTR_EVEN_PORT, &[0x80])]),
        ("a ticket", &[&udp(), &raw(AttrType(0x8030), b"")]),
    ];
    for (name, attributes) in wants {
        let mut world = World::with(|settings| settings.software = Some("Setu".into()));
        let request = world.signed(ALICE, METHOD_ALLOCATE, attributes);
        let first = world.send(ALICE.address(), &request).answer();
        assert_eq!(first.code(), 0, "{name}");
        let mut world = world.permit(ALICE, PEER).bind(ALICE, 0x4000, PEER);
        world.advance(seconds(30));
        world.refresh(ALICE, 1800);
        let again = world.send(ALICE.address(), &request).answer();
        assert_eq!(again.0.raw, first.0.raw, "{name}");
    }
}

#[test]
fn another_allocate_on_the_same_five_tuple_is_a_mismatch() {
    let mut world = World::with_allocation(ALICE).permit(ALICE, PEER);
    assert_eq!(world.ask(ALICE, METHOD_ALLOCATE, &[&udp()]).code(), 437);
    assert!(matches!(
        world.send_data(ALICE, PEER, b"still here"),
        Did::ToPeer(..)
    ));
}

#[test]
fn transport_and_server_address_are_part_of_the_five_tuple() {
    let mut world = World::with_allocation(ALICE);
    let udp_tuple = ALICE.address();
    let mut tcp_tuple = udp_tuple;
    tcp_tuple.transport = Transport::Tcp;
    let mut other_server = udp_tuple;
    other_server.server.set_port(3479);
    for from in [tcp_tuple, other_server] {
        let answer = world.ask_as(
            from,
            (ALICE.user, ALICE.password),
            METHOD_ALLOCATE,
            &[&udp()],
        );
        assert_eq!(answer.code(), 0);
    }
    assert_eq!(world.snapshot().allocations, 3);
}

#[test]
fn lifetime_is_at_least_ten_minutes_and_at_most_an_hour() {
    let cases = [
        (0, 600),
        (1, 600),
        (600, 600),
        (601, 601),
        (3600, 3600),
        (3601, 3600),
        (u64::from(u32::MAX), 3600),
    ];
    for (asked, granted) in cases {
        let mut world = World::new();
        let answer = world.ask(ALICE, METHOD_ALLOCATE, &[&udp(), &lifetime(asked)]);
        assert_eq!(answer.lifetime_seconds(), granted, "asked for {asked}");
    }
}

#[test]
fn refusals() {
    let token = raw(ATTR_RESERVATION_TOKEN, b"reserved");
    let even = raw(ATTR_EVEN_PORT, &[0x80]);
    let family = |family| raw(ATTR_REQUESTED_ADDRESS_FAMILY, &[family, 0, 0, 0]);
    let (v4, v6, v9) = (family(1), family(2), family(9));
    let short = |typ| raw(typ, &[17, 0, 0]);
    let transport = short(ATTR_REQUESTED_TRANSPORT);
    let cases: &[(&str, &[&dyn Setter], u16)] = &[
        ("no transport", &[], 400),
        ("transport cut short", &[&transport], 400),
        ("TCP over UDP", &[&tcp()], 400),
        (
            "SCTP",
            &[&raw(ATTR_REQUESTED_TRANSPORT, &[132, 0, 0, 0])],
            442,
        ),
        ("token and even port", &[&udp(), &token, &even], 400),
        ("token and family", &[&udp(), &token, &v4], 400),
        (
            "token cut short",
            &[&udp(), &short(ATTR_RESERVATION_TOKEN)],
            400,
        ),
        (
            "family cut short",
            &[&udp(), &short(ATTR_REQUESTED_ADDRESS_FAMILY)],
            400,
        ),
        ("unknown family", &[&udp(), &v9], 440),
        ("family that the server lacks", &[&udp(), &v6], 440),
        ("even port too long", &[&udp(), &short(ATTR_EVEN_PORT)], 400),
        ("lifetime cut short", &[&udp(), &short(ATTR_LIFETIME)], 400),
    ];
    for (name, attributes, code) in cases {
        let mut world = World::new();
        assert_eq!(
            world.ask(ALICE, METHOD_ALLOCATE, attributes).code(),
            *code,
            "{name}"
        );
        assert_eq!(
            (world.snapshot().allocations, world.open.len()),
            (0, 0),
            "{name}"
        );
    }
}

#[test]
fn r53_dont_fragment_is_understood() {
    let mut world = World::new();
    let answer = world.ask(
        ALICE,
        METHOD_ALLOCATE,
        &[&udp(), &raw(ATTR_DONT_FRAGMENT, &[])],
    );
    assert_eq!(answer.code(), 0);
}

#[test]
fn unknown_required_attributes_are_named_once_each() {
    let mut world = World::new();
    let (odd, odder, optional) = (
        raw(AttrType(0x7001), b"x"),
        raw(AttrType(0x0026), b""),
        raw(AttrType(0x8001), b""),
    );
    let answer = world.ask(
        ALICE,
        METHOD_ALLOCATE,
        &[&udp(), &odd, &odder, &optional, &odd],
    );
    assert_eq!(answer.code(), 420);
    let mut unknown = UnknownAttributes(Vec::new());
    unknown.get_from(&answer.0).unwrap();
    assert_eq!(unknown.0, [odder.typ, odd.typ]);
}

#[test]
fn without_a_free_port_there_is_508_until_one_comes_back() {
    let mut world = World::new();
    world.relays_max = 1;
    let mut world = world.allocate(ALICE);
    assert_eq!(world.ask(BOB, METHOD_ALLOCATE, &[&udp()]).code(), 508);
    assert_eq!(world.refresh(ALICE, 0).code(), 0);
    assert_eq!(world.ask(BOB, METHOD_ALLOCATE, &[&udp()]).code(), 0);
}

#[test]
fn the_wanted_port_is_passed_on() {
    let token = raw(ATTR_RESERVATION_TOKEN, &TOKEN.0);
    let (even, even_with_next) = (raw(ATTR_EVEN_PORT, &[0x7F]), raw(ATTR_EVEN_PORT, &[0x80]));
    let v4 = raw(ATTR_REQUESTED_ADDRESS_FAMILY, &[1, 0, 0, 0]);
    let cases: &[(&dyn Setter, PortKind)] = &[
        (&v4, PortKind::Any),
        (&even, PortKind::Even),
        (&even_with_next, PortKind::EvenWithNext),
        (&token, PortKind::Reserved(TOKEN)),
    ];
    for (attribute, kind) in cases {
        let mut world = World::new();
        let answer = world.ask(ALICE, METHOD_ALLOCATE, &[&udp(), *attribute]);
        let (family, kind) = (Family::V4, *kind);
        assert_eq!(
            world.asked,
            Some(PortRequest {
                transport: RelayTransport::Udp,
                family,
                kind
            })
        );
        let token = answer.0.get(ATTR_RESERVATION_TOKEN).ok();
        assert_eq!(
            token,
            (kind == PortKind::EvenWithNext).then(|| TOKEN.0.to_vec())
        );
    }
}

#[test]
fn software_is_told_to_the_proven_only() {
    let mut world = World::with(|settings| settings.software = Some("Setu".to_owned()));
    assert_eq!(
        world
            .ask(ALICE, METHOD_ALLOCATE, &[&udp()])
            .text(ATTR_SOFTWARE),
        "Setu"
    );
    assert_eq!(world.refresh(ALICE, 600).text(ATTR_SOFTWARE), "Setu");
    let bare = world.unsigned(MessageType::new(METHOD_ALLOCATE, CLASS_REQUEST), &[]);
    assert!(!world.send(BOB.address(), &bare).answer().has(ATTR_SOFTWARE));
}

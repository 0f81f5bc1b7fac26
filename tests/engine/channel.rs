//! Channels ([RFC 8656 §12](https://www.rfc-editor.org/rfc/rfc8656#section-12)).

use setu::relay::engine::channel::{CHANNEL_LIFETIME, CHANNELS_MAX};
use setu::relay::engine::permission::PERMISSION_LIFETIME;
use setu::relay::engine::{ChannelRange, DropReason};
use stun::attributes::*;
use stun::message::*;
use turn::proto::channum::ChannelNumber;

use crate::world::*;

const OTHER_PEER: &str = "203.0.113.9:7001";

#[test]
fn a_channel_carries_both_ways() {
    let mut world = World::with_allocation(ALICE).bind(ALICE, 0x4000, PEER);
    let Did::ToPeer(peer, payload) = world.send_channel(ALICE, 0x4000, b"out") else {
        panic!()
    };
    assert_eq!(
        (peer.to_string().as_str(), payload.as_slice()),
        (PEER, &b"out"[..])
    );
    let Did::ToClient(client, bytes) = world.peer_sends(PEER, b"in") else {
        panic!()
    };
    assert_eq!(
        (client, bytes.as_slice()),
        (ALICE.address(), &b"\x40\0\0\x02in"[..])
    );
    let Did::ToPeer(_, payload) = world.send_channel(ALICE, 0x4000, b"") else {
        panic!()
    };
    assert!(payload.is_empty());
}

#[test]
fn another_port_of_a_bound_peer_comes_as_a_data_indication() {
    let mut world = World::with_allocation(ALICE).bind(ALICE, 0x4000, PEER);
    let Did::ToClient(_, bytes) = world.peer_sends(OTHER_PEER, b"in") else {
        panic!()
    };
    assert_eq!(decoded(&bytes).0.typ.method, METHOD_DATA);
}

#[test]
fn a_number_and_a_peer_are_bound_to_each_other_only() {
    let mut world = World::with_allocation(ALICE).bind(ALICE, 0x4000, PEER);
    assert_eq!(world.bind_channel(ALICE, 0x4000, OTHER_PEER).code(), 400);
    assert_eq!(world.bind_channel(ALICE, 0x4001, PEER).code(), 400);
    // Whatever else is wrong with the other one.
    for other in ["10.0.0.1:7000", "[2001:db8::9]:7000"] {
        assert_eq!(world.bind_channel(ALICE, 0x4000, other).code(), 400);
    }
    assert_eq!(world.bind_channel(ALICE, 0x4000, PEER).code(), 0);
    assert!(matches!(
        world.send_channel(ALICE, 0x4000, b"out"),
        Did::ToPeer(..)
    ));
    assert_eq!(world.snapshot().channels, 1);
}

#[test]
fn refused_binds_leave_nothing_behind() {
    let number = ChannelNumber(0x4000);
    let peer = at(PEER);
    let (short_number, short_peer) = (
        raw(ATTR_CHANNEL_NUMBER, &[0x40, 0]),
        raw(ATTR_XOR_PEER_ADDRESS, &[0, 1, 0, 0]),
    );
    let (low, high) = (ChannelNumber(0x3FFF), ChannelNumber(0x5000));
    let (v6, denied, nowhere) = (
        at("[2001:db8::1]:1"),
        at("203.0.113.66:1"),
        at("203.0.113.9:0"),
    );
    let cases: &[(&str, &[&dyn Setter], u16)] = &[
        ("no number", &[&peer], 400),
        ("no peer", &[&number], 400),
        ("number cut short", &[&short_number, &peer], 400),
        ("peer cut short", &[&number, &short_peer], 400),
        ("number too low", &[&low, &peer], 400),
        ("number too high", &[&high, &peer], 400),
        ("IPv6", &[&number, &v6], 443),
        ("denied", &[&number, &denied], 403),
        ("port 0", &[&number, &nowhere], 403),
    ];
    for (name, attributes, code) in cases {
        let mut world = World::with_allocation(ALICE);
        assert_eq!(
            world.ask(ALICE, METHOD_CHANNEL_BIND, attributes).code(),
            *code,
            "{name}"
        );
        let snapshot = world.snapshot();
        assert_eq!((snapshot.channels, snapshot.permissions), (0, 0), "{name}");
    }
}

#[test]
fn old_clients_may_bind_up_to_0x7fff_where_the_operator_says_so() {
    let mut world =
        World::with(|settings| settings.channels = ChannelRange::Rfc5766).allocate(ALICE);
    assert_eq!(world.bind_channel(ALICE, 0x7FFF, PEER).code(), 0);
    assert!(matches!(
        world.send_channel(ALICE, 0x7FFF, b"out"),
        Did::ToPeer(..)
    ));
}

#[test]
fn a_channel_needs_the_permission_that_it_brought() {
    let mut world = World::with_allocation(ALICE).bind(ALICE, 0x4000, PEER);
    world.advance(PERMISSION_LIFETIME);
    assert_eq!(
        world.send_channel(ALICE, 0x4000, b"out").dropped(),
        DropReason::NoPermission
    );
    assert_eq!(
        world.peer_sends(PEER, b"in").dropped(),
        DropReason::NoPermission
    );
    let mut world = world.permit(ALICE, PEER);
    assert!(matches!(
        world.send_channel(ALICE, 0x4000, b"out"),
        Did::ToPeer(..)
    ));
}

#[test]
fn a_channel_not_refreshed_for_ten_minutes_is_free_again() {
    let mut world = World::new();
    assert_eq!(
        world
            .ask(ALICE, METHOD_ALLOCATE, &[&udp(), &lifetime(3600)])
            .code(),
        0
    );
    let mut world = world.bind(ALICE, 0x4000, PEER);
    world.advance(CHANNEL_LIFETIME - seconds(1));
    let mut world = world.permit(ALICE, PEER);
    assert!(matches!(
        world.send_channel(ALICE, 0x4000, b"in time"),
        Did::ToPeer(..)
    ));
    world.advance(seconds(1));
    assert_eq!(
        world.send_channel(ALICE, 0x4000, b"late").dropped(),
        DropReason::NoChannel
    );
    let Did::ToClient(_, bytes) = world.peer_sends(PEER, b"late") else {
        panic!()
    };
    assert_eq!(decoded(&bytes).0.typ.method, METHOD_DATA);
    let world = world
        .bind(ALICE, 0x4000, OTHER_PEER)
        .bind(ALICE, 0x4001, PEER);
    assert_eq!(world.snapshot().channels, 2);
}

#[test]
fn the_number_of_channels_is_bounded() {
    let mut world = World::with_allocation(ALICE);
    for n in 0..u16::try_from(CHANNELS_MAX).unwrap() {
        assert_eq!(
            world
                .bind_channel(ALICE, 0x4000 + n, &format!("203.0.113.9:{}", 7000 + n))
                .code(),
            0
        );
    }
    assert_eq!(
        world.bind_channel(ALICE, 0x4FFF, "203.0.113.9:6999").code(),
        508
    );
    assert_eq!(world.bind_channel(ALICE, 0x4000, PEER).code(), 0);
}

#[test]
fn what_is_not_bound_or_not_whole_is_dropped() {
    let mut world = World::with_allocation(ALICE).bind(ALICE, 0x4000, PEER);
    assert_eq!(
        world.send_channel(ALICE, 0x4001, b"x").dropped(),
        DropReason::NoChannel
    );
    assert_eq!(
        world.send_channel(ALICE, 0x5000, b"x").dropped(),
        DropReason::Malformed
    );
    assert_eq!(
        world.send_channel(ALICE, 0x8000, b"x").dropped(),
        DropReason::UnknownProtocol
    );
    assert_eq!(
        world.send_channel(BOB, 0x4000, b"x").dropped(),
        DropReason::NoAllocation
    );
    let too_short = [0x40, 0, 0, 9, b'x'];
    assert_eq!(
        world.send(ALICE.address(), &too_short).dropped(),
        DropReason::Malformed
    );
    let padded = [0x40, 0, 0, 1, b'x', 0, 0, 0];
    let Did::ToPeer(_, payload) = world.send(ALICE.address(), &padded) else {
        panic!()
    };
    assert_eq!(payload, b"x");
}

#[test]
fn many_channels_are_told_apart_both_ways_and_after_some_have_lapsed() {
    let mut world = World::with_allocation(ALICE);
    let peer = |number: u16| format!("203.0.113.9:{number}");
    let bind = |world: &mut World, numbers: std::ops::Range<u16>| {
        for number in numbers {
            let bound = world.bind_channel(ALICE, 0x4000 + number, &peer(number));
            assert_eq!(bound.code(), 0, "{number}");
        }
    };
    bind(&mut world, 1..20);
    world.advance(seconds(400));
    world.refresh(ALICE, 3600);
    bind(&mut world, 15..30);
    world.advance(seconds(250));
    bind(&mut world, 30..31);
    assert_eq!(world.snapshot().channels, 16);
    for number in 1..31 {
        let sent = world.send_channel(ALICE, 0x4000 + number, b"out");
        let Did::ToClient(_, heard) = world.peer_sends(&peer(number), b"in") else {
            panic!("{number}")
        };
        let channel = (0x4000 + number).to_be_bytes();
        assert_eq!(heard.starts_with(&channel), number >= 15, "{number}");
        if let Did::ToPeer(to, _) = &sent {
            assert_eq!((to.port(), number >= 15), (number, true));
        } else {
            assert_eq!((sent.dropped(), number < 15), (DropReason::NoChannel, true));
        }
    }
}

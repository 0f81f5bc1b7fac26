//! Send and Data indications ([RFC 8656 §11](https://www.rfc-editor.org/rfc/rfc8656#section-11)).

use std::net::SocketAddr;

use setu::relay::engine::DropReason;
use setu::relay::engine::five_tuple::{RelayKey, Transport};
use stun::attributes::*;
use stun::message::*;
use turn::proto::peeraddr::PeerAddress;

use crate::world::*;

const SEND: fn() -> MessageType = || MessageType::new(METHOD_SEND, CLASS_INDICATION);

#[test]
fn payloads_pass_whole_both_ways() {
    let mut world = World::with_allocation(ALICE).permit(ALICE, PEER);
    for size in [0, 1, 2, 3, 4, 1200, 65_000] {
        let payload = vec![0xAB; size];
        let Did::ToPeer(peer, sent) = world.send_data(ALICE, PEER, &payload) else {
            panic!()
        };
        assert_eq!((peer.to_string().as_str(), &sent), (PEER, &payload));
        let Did::ToClient(client, bytes) = world.peer_sends(PEER, &payload) else {
            panic!()
        };
        let indication = decoded(&bytes);
        let mut from = PeerAddress::default();
        from.get_from(&indication.0).unwrap();
        assert_eq!(SocketAddr::new(from.ip, from.port).to_string(), PEER);
        assert_eq!(indication.0.get(ATTR_DATA).unwrap(), payload);
        assert_eq!(client, ALICE.address());
    }
    let snapshot = world.snapshot();
    assert_eq!(
        (snapshot.to_peers.packets, snapshot.to_peers.bytes),
        (7, 66_210)
    );
    assert_eq!(snapshot.to_clients, snapshot.to_peers);
}

#[test]
fn a_send_that_is_not_whole_or_not_understood_is_discarded() {
    let mut world = World::with_allocation(ALICE).permit(ALICE, PEER);
    let (peer, data) = (at(PEER), raw(ATTR_DATA, b"x"));
    let short = raw(ATTR_XOR_PEER_ADDRESS, &[0, 1, 0, 0]);
    let cases: &[(&str, &[&dyn Setter], DropReason)] = &[
        ("no data", &[&peer], DropReason::Malformed),
        ("no peer", &[&data], DropReason::Malformed),
        ("peer cut short", &[&short, &data], DropReason::Malformed),
        (
            "unknown",
            &[&peer, &data, &raw(AttrType(0x7001), b"")],
            DropReason::UnknownAttribute,
        ),
    ];
    for (name, attributes, reason) in cases {
        let bytes = world.unsigned(SEND(), attributes);
        assert_eq!(
            world.send(ALICE.address(), &bytes).dropped(),
            *reason,
            "{name}"
        );
    }
    let optional = raw(AttrType(0x8001), b"ignored");
    let bytes = world.unsigned(
        SEND(),
        &[&optional, &peer, &data, &raw(ATTR_DATA, b"second")],
    );
    let Did::ToPeer(_, payload) = world.send(ALICE.address(), &bytes) else {
        panic!()
    };
    assert_eq!(payload, b"x");
}

#[test]
fn r53_only_a_send_that_asks_for_it_leaves_unfragmented() {
    let mut world = World::with_allocation(ALICE).bind(ALICE, 0x4000, PEER);
    let (peer, data) = (at(PEER), raw(ATTR_DATA, b"x"));
    let whole = raw(ATTR_DONT_FRAGMENT, b"");
    let cases: [(&[&dyn Setter], bool); 3] = [
        (&[&peer, &data], false),
        (&[&whole, &peer, &data], true),
        (&[&peer, &data, &whole], true),
    ];
    for (attributes, unfragmented) in cases {
        let bytes = world.unsigned(SEND(), attributes);
        let Did::ToPeer(_, payload) = world.send(ALICE.address(), &bytes) else {
            panic!()
        };
        assert_eq!(
            (world.unfragmented, &payload[..]),
            (unfragmented, &b"x"[..])
        );
    }
    assert!(matches!(
        world.send_channel(ALICE, 0x4000, b"x"),
        Did::ToPeer(..)
    ));
    assert!(!world.unfragmented);
}

#[test]
fn a_send_without_an_allocation_is_dropped() {
    let mut world = World::new();
    assert_eq!(
        world.send_data(ALICE, PEER, b"x").dropped(),
        DropReason::NoAllocation
    );
    assert_eq!(
        world.peer_sends_to(RelayKey(0), PEER, b"x").dropped(),
        DropReason::NoAllocation
    );
    assert_eq!(
        world
            .peer_sends_to(RelayKey(u32::MAX), PEER, b"x")
            .dropped(),
        DropReason::NoAllocation
    );
}

#[test]
fn a_permission_does_not_open_the_ports_that_the_policy_keeps() {
    let own_listener = "203.0.113.9:3478";
    let mut world =
        World::with(|settings| settings.policy.own_listeners = vec![own_listener.parse().unwrap()])
            .allocate(ALICE)
            .permit(ALICE, PEER);
    assert_eq!(
        world.send_data(ALICE, own_listener, b"loop").dropped(),
        DropReason::ForbiddenPeer
    );
    assert_eq!(world.bind_channel(ALICE, 0x4000, own_listener).code(), 403);
}

#[test]
fn messages_to_a_stream_are_padded() {
    let mut world = World::new();
    let mut from = ALICE.address();
    from.transport = Transport::Tcp;
    let alice = (ALICE.user, ALICE.password);
    assert_eq!(
        world.ask_as(from, alice, METHOD_ALLOCATE, &[&udp()]).code(),
        0
    );
    let channel = turn::proto::channum::ChannelNumber(0x4000);
    assert_eq!(
        world
            .ask_as(from, alice, METHOD_CHANNEL_BIND, &[&channel, &at(PEER)])
            .code(),
        0
    );
    let Did::ToClient(client, bytes) = world.peer_sends(PEER, b"x") else {
        panic!()
    };
    assert_eq!(
        (client, bytes.as_slice()),
        (from, &b"\x40\0\0\x01x\0\0\0"[..])
    );
}

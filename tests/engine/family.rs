//! Allocations of IPv6 ([RFC 8656 §7.2](https://www.rfc-editor.org/rfc/rfc8656#section-7.2)): their peers are of IPv6 too.

use std::net::SocketAddr;

use stun::attributes::*;
use stun::message::*;
use turn::proto::channum::ChannelNumber;
use turn::proto::peeraddr::PeerAddress;
use turn::proto::relayaddr::RelayedAddress;

use crate::world::*;

const PEER_V6: &str = "[2001:db8:9::9]:7000";

#[test]
fn an_ipv6_allocation_relays_to_ipv6_peers() {
    let mut world = with_ipv6_allocation().permit(ALICE, PEER_V6);
    let Did::ToPeer(peer, _) = world.send_data(ALICE, PEER_V6, b"out") else {
        panic!()
    };
    assert_eq!(peer.to_string(), PEER_V6);
    let Did::ToClient(_, bytes) = world.peer_sends(PEER_V6, b"in") else {
        panic!()
    };
    let mut from = PeerAddress::default();
    from.get_from(&decoded(&bytes).0).unwrap();
    assert_eq!(SocketAddr::new(from.ip, from.port).to_string(), PEER_V6);
}

#[test]
fn an_ipv6_peer_is_known_whatever_scope_the_kernel_adds() {
    let mut world = with_ipv6_allocation().bind(ALICE, 0x4000, PEER_V6);
    let Did::ToClient(_, bytes) = world.peer_sends("[2001:db8:9::9%3]:7000", b"in") else {
        panic!()
    };
    assert_eq!(bytes, b"\x40\0\0\x02in");
}

#[test]
fn peers_of_the_other_family_are_a_mismatch() {
    let mut world = with_ipv6_allocation();
    let number = ChannelNumber(0x4000);
    assert_eq!(
        world
            .ask(ALICE, METHOD_CREATE_PERMISSION, &[&at(PEER)])
            .code(),
        443
    );
    assert_eq!(
        world
            .ask(ALICE, METHOD_CHANNEL_BIND, &[&number, &at(PEER)])
            .code(),
        443
    );
    assert_eq!(world.snapshot().permissions, 0);
}

#[test]
fn an_ipv6_address_that_carries_a_forbidden_ipv4_one_is_forbidden() {
    let mut world = with_ipv6_allocation();
    for peer in [
        "[::1]:80",
        "[::ffff:127.0.0.1]:80",
        "[::127.0.0.1]:80",
        "[2002:7f00:1::]:80",
        "[64:ff9b::7f00:1]:80",
        "[fe80::1]:80",
        "[::ffff:203.0.113.66]:80",
    ] {
        assert_eq!(
            world
                .ask(ALICE, METHOD_CREATE_PERMISSION, &[&at(peer)])
                .code(),
            403,
            "{peer}"
        );
        assert_eq!(
            world.bind_channel(ALICE, 0x4000, peer).code(),
            403,
            "{peer}"
        );
    }
}

fn with_ipv6_allocation() -> World {
    let mut world = World::new();
    world.has_ipv6 = true;
    let v6 = raw(ATTR_REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    let answer = world.ask(ALICE, METHOD_ALLOCATE, &[&udp(), &v6]);
    let mut relayed = RelayedAddress::default();
    relayed.get_from(&answer.0).unwrap();
    assert_eq!(relayed.ip.to_string(), "2001:db8:1::1");
    world
}

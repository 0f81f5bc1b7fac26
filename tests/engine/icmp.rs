//! ICMP for the client ([RFC 8656 §11.5](https://www.rfc-editor.org/rfc/rfc8656#section-11.5)).

use std::net::SocketAddr;

use setu::relay::engine::DropReason;
use setu::relay::engine::five_tuple::RelayKey;
use setu::relay::engine::icmp::ICMP_PER_SECOND_MAX;
use setu::relay::engine::permission::PERMISSION_LIFETIME;
use setu::relay::wire::attributes::ATTR_ICMP;
use setu::relay::wire::icmp::Icmp;
use stun::attributes::ATTR_DATA;
use stun::message::{CLASS_INDICATION, Getter, METHOD_DATA, MessageType};
use turn::proto::peeraddr::PeerAddress;

use crate::world::*;

#[test]
fn r76_icmp_about_a_permitted_peer_comes_as_a_data_indication_without_data() {
    let mut world = World::with_allocation(ALICE).permit(ALICE, PEER);
    let Did::ToClient(client, bytes) = world.icmp(RELAY, PEER, unreachable(PEER)) else {
        panic!()
    };
    assert_eq!(client, ALICE.address());
    let indication = decoded(&bytes);
    let message = &indication.0;
    assert_eq!(message.typ, MessageType::new(METHOD_DATA, CLASS_INDICATION));
    let mut to = PeerAddress::default();
    to.get_from(message).unwrap();
    assert_eq!(SocketAddr::new(to.ip, to.port).to_string(), PEER);
    assert_eq!(message.get(ATTR_ICMP).unwrap(), [0, 0, 6, 3, 0, 0, 0, 0]);
    assert!(!indication.has(ATTR_DATA));
    let snapshot = world.snapshot();
    assert_eq!(snapshot.to_clients.packets, 0, "it is no traffic");
}

#[test]
fn r76_a_channel_does_not_change_that() {
    let mut world = World::with_allocation(ALICE).bind(ALICE, 0x4000, PEER);
    let Did::ToClient(_, bytes) = world.icmp(RELAY, PEER, unreachable(PEER)) else {
        panic!()
    };
    assert!(decoded(&bytes).has(ATTR_ICMP));
}

#[test]
fn r76_icmp_about_anybody_else_is_dropped() {
    let mut world = World::with_allocation(ALICE).permit(ALICE, PEER);
    let other = "203.0.113.10:7000";
    assert_eq!(
        world.icmp(RELAY, other, unreachable(other)).dropped(),
        DropReason::NoPermission
    );
    assert_eq!(
        world.icmp(RelayKey(7), PEER, unreachable(PEER)).dropped(),
        DropReason::NoAllocation
    );
    world.advance(PERMISSION_LIFETIME);
    assert_eq!(
        world.icmp(RELAY, PEER, unreachable(PEER)).dropped(),
        DropReason::NoPermission
    );
}

#[test]
fn r76_icmp_is_told_at_a_sane_rate() {
    let mut world = World::with_allocation(ALICE).permit(ALICE, PEER);
    for _ in 0..3 {
        for _ in 0..ICMP_PER_SECOND_MAX {
            assert!(matches!(
                world.icmp(RELAY, PEER, unreachable(PEER)),
                Did::ToClient(..)
            ));
        }
        assert_eq!(
            world.icmp(RELAY, PEER, unreachable(PEER)).dropped(),
            DropReason::IcmpOverLimit
        );
        world.advance(seconds(1));
    }
}

fn unreachable(peer: &str) -> Icmp {
    let peer: SocketAddr = peer.parse().unwrap();
    Icmp::new(peer.ip(), 3, 3, 0).unwrap()
}

const RELAY: RelayKey = RelayKey(0);

//! What an operator decides anew while there are allocations.

use setu::relay::engine::DropReason;
use setu::relay::engine::Rules;
use setu::relay::engine::limits::Settings;
use setu::relay::engine::signaled::PeerMode;
use stun::attributes::*;
use stun::message::*;

use crate::world::*;

const CHANNEL: u16 = 0x4000;
/// In another network than the peer.
const OTHER: &str = "198.51.100.77:9000";

#[test]
fn a_peer_that_new_rules_deny_is_cut_off_at_once_and_no_other() {
    let mut world = World::with_allocation(ALICE)
        .bind(ALICE, CHANNEL, PEER)
        .bind(ALICE, CHANNEL + 1, OTHER);
    assert!(matches!(
        world.send_channel(ALICE, CHANNEL, b"before"),
        Did::ToPeer(..)
    ));
    world.apply(deny_peer);
    let dropped = world.send_channel(ALICE, CHANNEL, b"after").dropped();
    assert_eq!(dropped, DropReason::NoChannel);
    let dropped = world.send_data(ALICE, PEER, b"after").dropped();
    assert_eq!(dropped, DropReason::NoPermission);
    let dropped = world.peer_sends(PEER, b"after").dropped();
    assert_eq!(dropped, DropReason::NoPermission);
    assert_eq!(world.bind_channel(ALICE, CHANNEL, PEER).code(), 403);
    assert!(matches!(
        world.send_channel(ALICE, CHANNEL + 1, b"on"),
        Did::ToPeer(..)
    ));
    assert!(matches!(world.peer_sends(OTHER, b"on"), Did::ToClient(..)));
    let snapshot = world.snapshot();
    assert_eq!((snapshot.permissions, snapshot.channels), (1, 1));
    // The number of a channel that is gone is free for another peer.
    assert_eq!(
        world.bind_channel(ALICE, CHANNEL, "192.0.2.200:1").code(),
        0
    );
}

#[test]
fn a_peer_that_new_rules_allow_can_be_reached_at_once() {
    let private = "10.1.2.3:4000";
    let mut world = World::with_allocation(ALICE);
    assert_eq!(world.bind_channel(ALICE, CHANNEL, private).code(), 403);
    world.apply(|rules| rules.policy.allow.push("10.0.0.0/8".parse().unwrap()));
    assert_eq!(world.bind_channel(ALICE, CHANNEL, private).code(), 0);
}

#[test]
fn strictness_and_software_change_with_the_rules() {
    let mut world = World::with_allocation(ALICE);
    assert!(!world.refresh(ALICE, 600).has(ATTR_SOFTWARE));
    world.apply(|rules| rules.software = Some("Setu".to_owned()));
    assert!(world.refresh(ALICE, 600).has(ATTR_SOFTWARE));

    let mut world = World::new();
    let (name, password) = world.issue("carol");
    let credential = (name.as_str(), password.as_str());
    let from = BOB.address();
    let made = world.ask_as(
        from,
        credential,
        METHOD_ALLOCATE,
        &[&udp(), &lifetime(3600)],
    );
    assert_eq!(made.code(), 0);
    for _ in 0..2 {
        world.advance(CREDENTIAL_TTL / 2);
        world.fresh_nonce(from);
        world.ask_as(from, credential, METHOD_REFRESH, &[&lifetime(3600)]);
    }
    let refreshed = |world: &mut World| {
        let answer = world.ask_as(from, credential, METHOD_REFRESH, &[&lifetime(3600)]);
        answer.code()
    };
    assert_eq!(refreshed(&mut world), 0);
    world.apply(|rules| rules.strict_expiry = true);
    assert_eq!(refreshed(&mut world), 401);
}

#[test]
fn the_mode_of_peers_changes_with_the_rules() {
    let mut world = World::new();
    let (name, password) = world.issue("carol");
    let credential = (name.as_str(), password.as_str());
    let from = BOB.address();
    world.ask_as(from, credential, METHOD_ALLOCATE, &[&udp()]);
    for (mode, code) in [(PeerMode::Signaled, 403), (PeerMode::Observe, 0)] {
        world.apply(|rules| rules.peer_mode = mode);
        let answer = world.ask_as(from, credential, METHOD_CREATE_PERMISSION, &[&at(PEER)]);
        assert_eq!(answer.code(), code, "{mode:?}");
    }
}

#[test]
fn new_limits_hold_for_allocations_that_there_are() {
    let mut world = World::with_allocation(ALICE).bind(ALICE, CHANNEL, PEER);
    let passes = |world: &mut World| {
        let sent = (0..100).filter(|_| {
            matches!(
                world.send_channel(ALICE, CHANNEL, &[0; 100]),
                Did::ToPeer(..)
            )
        });
        sent.count()
    };
    assert_eq!(passes(&mut world), 100);
    for (limits, passing) in [
        (bytes(Some(1000), None, None), 10),
        (bytes(None, Some(2000), None), 20),
        (bytes(None, None, Some(3000)), 30),
        (bytes(None, None, None), 100),
    ] {
        world.limits.apply(limits);
        world.apply(|_| {});
        assert_eq!(passes(&mut world), passing);
        world.advance(seconds(60));
    }
}

#[test]
fn fewer_allocations_are_allowed_and_nobody_loses_theirs() {
    let mut world = World::with_allocation(ALICE).allocate(BOB);
    let at_most = |max| Settings {
        allocations: Some(max),
        ..Settings::default()
    };
    world.limits.apply(at_most(1));
    world.apply(|_| {});
    assert_eq!(world.refresh(ALICE, 600).code(), 0);
    assert_eq!(world.refresh(BOB, 600).code(), 0);
    assert_eq!(world.refresh(BOB, 0).code(), 0);
    assert_eq!(world.ask(BOB, METHOD_ALLOCATE, &[&udp()]).code(), 486);
    world.limits.apply(at_most(2));
    assert_eq!(world.ask(BOB, METHOD_ALLOCATE, &[&udp()]).code(), 0);
}

#[test]
fn a_server_that_drains_refuses_new_allocations_alone() {
    let mut world = World::with_allocation(ALICE).bind(ALICE, CHANNEL, PEER);
    world.engine.drain();
    assert_eq!(world.ask(BOB, METHOD_ALLOCATE, &[&udp()]).code(), 508);
    assert_eq!(world.refresh(ALICE, 600).code(), 0);
    assert_eq!(world.bind_channel(ALICE, CHANNEL + 1, OTHER).code(), 0);
    assert!(matches!(
        world.send_channel(ALICE, CHANNEL, b"on"),
        Did::ToPeer(..)
    ));
}

fn deny_peer(rules: &mut Rules) {
    rules.policy.deny.push("203.0.113.0/24".parse().unwrap());
}

fn bytes(allocation: Option<u32>, user: Option<u32>, all: Option<u32>) -> Settings {
    Settings {
        bytes_per_second: all,
        bytes_per_second_per_user: user,
        bytes_per_second_per_allocation: allocation,
        ..Settings::default()
    }
}

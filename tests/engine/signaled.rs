//! Peers limited to what was signaled: of CreatePermission's peers all are admitted or none, data is never looked at.

use setu::ident::{SessionId, UserId};
use setu::relay::engine::Auth;
use setu::relay::engine::signaled::PeerMode;
use stun::attributes::*;
use stun::message::*;

use crate::world::*;

const CAROL: &str = "carol";
const OTHER: &str = "203.0.113.10:7000";
const DENIED: &str = "203.0.113.66:7000";

#[test]
fn only_signaled_peers_are_permitted_and_all_of_a_request_or_none() {
    // The error where only signaled peers are admitted, and where others are observed or nobody looks.
    let relayed = format!("{RELAYED}:49161");
    let cases: &[(&str, &[&str], u16, u16)] = &[
        ("signaled", &[PEER], 0, 0),
        ("another port", &["203.0.113.9:1"], 0, 0),
        ("our own relay", &[&relayed], 0, 0),
        ("not signaled", &[OTHER], 403, 0),
        ("one of two", &[PEER, OTHER], 403, 0),
        ("denied, though signaled", &[DENIED], 403, 403),
        ("denied, and one not signaled", &[DENIED, OTHER], 403, 403),
    ];
    for (name, peers, signaled, otherwise) in cases {
        let is_unsignaled = u64::from(signaled != otherwise);
        for (mode, code, refused, observed) in [
            (PeerMode::Signaled, *signaled, is_unsignaled, 0),
            (PeerMode::Observe, *otherwise, 0, is_unsignaled),
            (PeerMode::Any, *otherwise, 0, 0),
        ] {
            let mut world = reading(mode);
            let peers: Vec<_> = peers.iter().map(|peer| at(peer)).collect();
            let peers: Vec<_> = peers.iter().map(|peer| peer as &dyn Setter).collect();
            let answer = ask(&mut world, METHOD_CREATE_PERMISSION, &peers);
            assert_eq!(answer, code, "{name}, {mode:?}");
            let snapshot = world.snapshot();
            let counted = (snapshot.unsignaled_refused, snapshot.unsignaled_observed);
            assert_eq!(counted, (refused, observed), "{name}, {mode:?}");
            let permitted = if code == 0 { peers.len() as u64 } else { 0 };
            assert_eq!(snapshot.permissions, permitted, "{name}, {mode:?}");
        }
    }
}

#[test]
fn a_channel_is_bound_to_a_signaled_peer_only() {
    let mut world = reading(PeerMode::Signaled);
    assert_eq!(bind(&mut world, 0x4000, OTHER), 403);
    let snapshot = world.snapshot();
    assert_eq!((snapshot.channels, snapshot.permissions), (0, 0));
    assert_eq!(snapshot.unsignaled_refused, 1);
    assert_eq!(bind(&mut world, 0x4000, PEER), 0);

    let mut world = reading(PeerMode::Observe);
    assert_eq!(bind(&mut world, 0x4000, OTHER), 0);
    assert_eq!(world.snapshot().unsignaled_observed, 1);
}

#[test]
fn what_is_signaled_later_is_admitted_from_then_on() {
    let mut world = reading(PeerMode::Signaled);
    assert_eq!(bind(&mut world, 0x4000, OTHER), 403);
    world
        .signaled
        .saw(&session(), ["203.0.113.10".parse().unwrap()]);
    assert_eq!(bind(&mut world, 0x4000, OTHER), 0);
}

#[test]
fn a_permission_is_not_refreshed_for_who_has_left_the_session() {
    let mut world = reading(PeerMode::Signaled);
    assert_eq!(ask(&mut world, METHOD_CREATE_PERMISSION, &[&at(PEER)]), 0);
    world.signaled.leave(&carol(), &session());
    assert!(matches!(world.peer_sends(PEER, b"in"), Did::ToClient(..)));
    assert_eq!(ask(&mut world, METHOD_CREATE_PERMISSION, &[&at(PEER)]), 403);
}

#[test]
fn a_static_user_and_anyone_are_in_no_session_and_may_name_any_peer() {
    let mut world = World::with(|settings| settings.peer_mode = PeerMode::Signaled).allocate(ALICE);
    assert_eq!(world.bind_channel(ALICE, 0x4000, PEER).code(), 0);
    let mut world = World::with(|settings| {
        settings.peer_mode = PeerMode::Signaled;
        settings.auth = Auth::None;
    });
    let request = MessageType::new(METHOD_ALLOCATE, CLASS_REQUEST);
    let allocate = world.unsigned(request, &[&udp()]);
    assert_eq!(world.send(BOB.address(), &allocate).answer().code(), 0);
    let request = MessageType::new(METHOD_CREATE_PERMISSION, CLASS_REQUEST);
    let permit = world.unsigned(request, &[&at(PEER)]);
    assert_eq!(world.send(BOB.address(), &permit).answer().code(), 0);
    assert_eq!(world.snapshot().unsignaled_refused, 0);
}

/// Carol is in a session in which [`PEER`] and [`DENIED`] were signaled, and has an allocation.
fn reading(mode: PeerMode) -> World {
    let mut world = World::with(|settings| settings.peer_mode = mode);
    world.signaled.enter(&carol(), &session());
    let ips = ["203.0.113.9", "203.0.113.66"].map(|ip| ip.parse().unwrap());
    world.signaled.saw(&session(), ips);
    assert_eq!(ask(&mut world, METHOD_ALLOCATE, &[&udp()]), 0);
    world
}

fn ask(world: &mut World, method: Method, attributes: &[&dyn Setter]) -> u16 {
    let (name, password) = world.issue(CAROL);
    let from = ALICE.address();
    world
        .ask_as(from, (&name, &password), method, attributes)
        .code()
}

fn bind(world: &mut World, number: u16, peer: &str) -> u16 {
    let number = raw(
        ATTR_CHANNEL_NUMBER,
        &[&number.to_be_bytes()[..], &[0; 2]].concat(),
    );
    ask(world, METHOD_CHANNEL_BIND, &[&number, &at(peer)])
}

fn carol() -> UserId {
    UserId::Participant(CAROL.into())
}

fn session() -> SessionId {
    SessionId::parse("reading").unwrap()
}

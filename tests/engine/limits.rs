//! Quotas and budgets ([RFC 8656 §7.2](https://www.rfc-editor.org/rfc/rfc8656#section-7.2), 486), and what is answered
//! to those who prove nothing.

use setu::relay::engine::five_tuple::{FiveTuple, Transport};
use setu::relay::engine::limits::{Limit, Settings};
use setu::relay::engine::policy::Denial;
use setu::relay::engine::{Auth, DropReason};
use setu::source::PerSource;
use stun::attributes::*;
use stun::message::*;

use crate::world::*;

#[test]
fn r59_a_user_beyond_the_quota_gets_486_while_others_allocate() {
    let mut world = World::limited(per_user(1)).allocate(ALICE);
    assert_eq!(allocate_from(&mut world, ALICE, 3), 486);
    assert_eq!(allocate_from(&mut world, BOB, 2), 0);
    assert_eq!(world.limits.refused().by(Limit::AllocationsPerUser), 1);
    assert_eq!(world.snapshot().allocations, 2);
}

#[test]
fn r56_a_family_that_is_off_is_said_before_the_quota() {
    let mut world = World::limited_of_ipv4(per_user(1)).allocate(ALICE);
    let v6 = raw(ATTR_REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    let (bob, alice) = (BOB.address(), (ALICE.user, ALICE.password));
    let answer = world.ask_as(bob, alice, METHOD_ALLOCATE, &[&udp(), &v6]);
    assert_eq!(answer.code(), 440);
}

#[test]
fn r59_release_and_expiry_make_room_at_once() {
    let mut world = World::limited(per_user(1)).allocate(ALICE);
    assert_eq!(world.refresh(ALICE, 0).code(), 0);
    assert_eq!(allocate_from(&mut world, ALICE, 3), 0);
    world.advance(seconds(601));
    assert_eq!(allocate_from(&mut world, ALICE, 4), 0);
    assert_eq!(allocate_from(&mut world, ALICE, 5), 486);
}

#[test]
fn r59_a_refused_or_failed_allocate_takes_no_place() {
    let mut world = World::limited(per_user(1));
    world.relays_max = 0;
    assert_eq!(allocate_from(&mut world, ALICE, 1), 508);
    let wrong = world.ask(ALICE, METHOD_ALLOCATE, &[]);
    assert_eq!(wrong.code(), 400);
    world.relays_max = 4;
    assert_eq!(allocate_from(&mut world, ALICE, 1), 0);
}

#[test]
fn r59_a_repeated_allocate_gets_its_answer_at_the_quota_too() {
    let mut world = World::limited(per_user(1));
    let request = world.signed(ALICE, METHOD_ALLOCATE, &[&udp()]);
    for _ in 0..3 {
        assert_eq!(world.send(ALICE.address(), &request).answer().code(), 0);
    }
    assert_eq!(world.snapshot().allocations, 1);
}

#[test]
fn r44_the_quota_counts_a_name_under_all_its_expiries() {
    let mut world = World::limited(per_user(1));
    let first = world.issue("carol");
    world.advance(seconds(10));
    let second = world.issue("carol");
    assert_ne!(first.0, second.0);
    assert_eq!(allocate_as(&mut world, &first, 1), 0);
    assert_eq!(allocate_as(&mut world, &second, 2), 486);
    let dave = world.issue("dave");
    assert_eq!(allocate_as(&mut world, &dave, 3), 0);
}

#[test]
fn r59_the_whole_server_has_a_quota_too() {
    let limits = Settings {
        allocations: Some(2),
        ..Settings::default()
    };
    let mut world = World::limited(limits).allocate(ALICE).allocate(BOB);
    assert_eq!(allocate_from(&mut world, BOB, 3), 486);
    assert_eq!(world.limits.refused().by(Limit::Allocations), 1);
    world.refresh(ALICE, 0);
    assert_eq!(allocate_from(&mut world, BOB, 3), 0);
}

#[test]
fn quotas_hold_over_all_engines_of_a_process() {
    let mut one = World::limited(per_user(1));
    let mut other = one.beside();
    assert_eq!(allocate_from(&mut one, ALICE, 1), 0);
    assert_eq!(allocate_from(&mut other, ALICE, 2), 486);
    assert_eq!(one.refresh(ALICE, 0).code(), 0);
    assert_eq!(allocate_from(&mut other, ALICE, 2), 0);
}

#[test]
fn where_nobody_proves_who_they_are_nobody_is_a_user_of_many() {
    let limits = Settings {
        bytes_per_second_per_user: Some(1),
        ..per_user(1)
    };
    let mut world = World::within(limits, |settings| settings.auth = Auth::None);
    for host in 1..=3 {
        let request = world.unsigned(MessageType::new(METHOD_ALLOCATE, CLASS_REQUEST), &[&udp()]);
        assert_eq!(world.send(from(host), &request).answer().code(), 0);
    }
}

#[test]
fn an_allocation_relays_a_seconds_worth_at_once_in_both_directions_together() {
    let limits = Settings {
        bytes_per_second_per_allocation: Some(1000),
        ..Settings::default()
    };
    let mut world = World::limited(limits)
        .allocate(ALICE)
        .bind(ALICE, 0x4000, PEER);
    assert!(matches!(
        world.send_channel(ALICE, 0x4000, &[0; 400]),
        Did::ToPeer(..)
    ));
    assert!(matches!(
        world.send_data(ALICE, PEER, &[0; 300]),
        Did::ToPeer(..)
    ));
    assert!(matches!(
        world.peer_sends(PEER, &[0; 300]),
        Did::ToClient(..)
    ));
    let over = [
        world.send_channel(ALICE, 0x4000, &[0; 1]),
        world.send_data(ALICE, PEER, &[0; 1]),
        world.peer_sends(PEER, &[0; 1]),
    ];
    for did in over {
        assert_eq!(did.dropped(), DropReason::OverLimit);
    }
    assert_eq!(world.snapshot().dropped(DropReason::OverLimit), 3);
    assert_eq!(world.limits.refused().by(Limit::BytesPerAllocation), 3);
    let snapshot = world.snapshot();
    assert_eq!(
        (snapshot.to_peers.bytes, snapshot.to_clients.bytes),
        (700, 300)
    );
    world.advance(seconds(1) / 2);
    assert!(matches!(
        world.peer_sends(PEER, &[0; 500]),
        Did::ToClient(..)
    ));
    assert_eq!(
        world.send_channel(ALICE, 0x4000, &[0; 1]).dropped(),
        DropReason::OverLimit
    );
}

#[test]
fn a_user_and_the_server_have_budgets_over_all_allocations_and_engines() {
    let cases = [
        (Some(1000), None, Limit::BytesPerUser, true),
        (None, Some(1000), Limit::Bytes, false),
    ];
    for (per_user, all, limit, bob_passes) in cases {
        let limits = Settings {
            bytes_per_second_per_user: per_user,
            bytes_per_second: all,
            ..Settings::default()
        };
        let mut one = World::limited(limits)
            .allocate(ALICE)
            .bind(ALICE, 0x4000, PEER);
        let mut other = one
            .beside()
            .allocate(ALICE)
            .bind(ALICE, 0x4000, PEER)
            .allocate(BOB)
            .bind(BOB, 0x4000, PEER);
        assert!(matches!(
            one.send_channel(ALICE, 0x4000, &[0; 1000]),
            Did::ToPeer(..)
        ));
        assert_eq!(
            other.send_channel(ALICE, 0x4000, &[0; 1]).dropped(),
            DropReason::OverLimit
        );
        assert_eq!(one.limits.refused().by(limit), 1);
        let bobs = other.send_channel(BOB, 0x4000, &[0; 1]);
        assert_eq!(matches!(bobs, Did::ToPeer(..)), bob_passes);
    }
}

#[test]
fn what_one_budget_refuses_costs_the_others_nothing() {
    let limits = Settings {
        bytes_per_second_per_allocation: Some(1000),
        bytes_per_second: Some(500),
        ..Settings::default()
    };
    let mut world = World::limited(limits)
        .allocate(ALICE)
        .bind(ALICE, 0x4000, PEER);
    for _ in 0..10 {
        let _ = world.send_channel(ALICE, 0x4000, &[0; 500]);
    }
    assert_eq!(world.limits.refused().by(Limit::Bytes), 9);
    assert_eq!(world.limits.refused().by(Limit::BytesPerAllocation), 0);
}

#[test]
fn r0d_strangers_are_answered_so_often_a_second_and_twice_as_often_at_once() {
    let mut world = World::limited(replies(50));
    let answered = |world: &mut World, from| {
        (0..1000)
            .filter(|_| matches!(ask_bare(world, METHOD_ALLOCATE, from), Did::Answered(_)))
            .count()
    };
    assert_eq!(answered(&mut world, from(1)), 100);
    // Another port is the same source, another address is not.
    let mut other_port = from(1);
    other_port.client.set_port(6000);
    assert_eq!(answered(&mut world, other_port), 0);
    assert_eq!(answered(&mut world, from(2)), 100);
    let refused = world.limits.refused().by(Limit::UnauthenticatedReplies);
    assert_eq!(refused, 900 + 1000 + 900);
    world.advance(seconds(1));
    assert_eq!(answered(&mut world, from(1)), 50);
}

#[test]
fn r93_every_kind_of_unsigned_error_is_counted_and_nothing_else() {
    let mut world = World::limited(replies(1));
    let nonce = world.fresh_nonce(ALICE.address());
    // The second and last of the burst.
    assert_eq!(
        ask_bare(&mut world, METHOD_ALLOCATE, ALICE.address())
            .answer()
            .code(),
        401
    );
    let unknown = raw(AttrType(0x7001), b"");
    let integrity = key("alice", "north");
    let stale = "forged".to_owned();
    let name = text(ATTR_USERNAME, "alice");
    let silent = [
        (
            "401",
            world.unsigned(MessageType::new(METHOD_REFRESH, CLASS_REQUEST), &[]),
        ),
        (
            "401 for a wrong password",
            world.signed_with(&nonce, ("alice", "wrong"), METHOD_ALLOCATE, &[&udp()]),
        ),
        (
            "400",
            world.unsigned(
                MessageType::new(METHOD_ALLOCATE, CLASS_REQUEST),
                &[&name, &integrity],
            ),
        ),
        (
            "438",
            world.signed_with(&stale, ("alice", "north"), METHOD_ALLOCATE, &[&udp()]),
        ),
        ("420", world.unsigned(BINDING_REQUEST, &[&unknown])),
    ];
    for (name, request) in silent {
        let did = world.send(ALICE.address(), &request);
        assert!(matches!(did, Did::Silence), "{name}: {did:?}");
    }
    for _ in 0..100 {
        let binding = world.unsigned(BINDING_REQUEST, &[]);
        assert_eq!(world.send(ALICE.address(), &binding).answer().code(), 0);
    }
    let proven = [
        (world.signed(ALICE, METHOD_REFRESH, &[]), 437),
        (world.signed(ALICE, METHOD_ALLOCATE, &[&udp()]), 0),
    ];
    for (request, code) in proven {
        assert_eq!(world.send(ALICE.address(), &request).answer().code(), code);
    }
}

#[test]
fn r0d_whoever_completed_a_handshake_is_answered_however_often() {
    let mut world = World::limited(replies(1));
    for transport in [Transport::Tcp, Transport::Tls] {
        let client = FiveTuple {
            transport,
            ..from(1)
        };
        for _ in 0..100 {
            let did = ask_bare(&mut world, METHOD_ALLOCATE, client);
            assert_eq!(did.answer().code(), 401);
        }
    }
}

#[test]
fn r0d_engines_share_the_reply_budget() {
    let mut one = World::limited(replies(50));
    let mut other = one.beside();
    let answers = (0..1000).filter(|number| {
        let world = if number % 2 == 0 {
            &mut one
        } else {
            &mut other
        };
        matches!(ask_bare(world, METHOD_ALLOCATE, from(1)), Did::Answered(_))
    });
    assert_eq!(answers.count(), 100);
}

#[test]
fn r26_beyond_the_failed_logins_wrong_ones_get_silence_and_right_ones_are_served() {
    for (name, password) in [("alice", "wrong"), ("nobody", "north")] {
        for transport in [Transport::Udp, Transport::Tcp] {
            let mut world = World::limited(Settings {
                failed_logins_per_minute: source(60),
                ..Settings::default()
            });
            let client = FiveTuple {
                transport,
                ..ALICE.address()
            };
            let nonce = world.fresh_nonce(client);
            let try_in = |world: &mut World| {
                let bytes = world.signed_with(&nonce, (name, password), METHOD_ALLOCATE, &[&udp()]);
                world.send(client, &bytes)
            };
            for _ in 0..60 {
                assert_eq!(try_in(&mut world).answer().code(), 401);
            }
            for _ in 0..10 {
                assert!(matches!(try_in(&mut world), Did::Silence));
            }
            assert_eq!(world.limits.refused().by(Limit::FailedLogins), 10);
            // Who brings none is still asked for some, and the right ones open the door.
            let bare = ask_bare(&mut world, METHOD_ALLOCATE, client).answer();
            assert_eq!(bare.code(), 401);
            let right = world.signed_with(&nonce, ("alice", "north"), METHOD_ALLOCATE, &[&udp()]);
            assert_eq!(world.send(client, &right).answer().code(), 0);
            world.advance(seconds(1));
            assert_eq!(try_in(&mut world).answer().code(), 401);
        }
    }
}

#[test]
fn denied_peers_are_counted_by_kind_for_requests_and_data() {
    let own: std::net::SocketAddr = "203.0.113.9:3478".parse().unwrap();
    let mut world = World::with(|settings| settings.policy.own_listeners = vec![own])
        .allocate(ALICE)
        .permit(ALICE, PEER);
    for (peer, denial) in [
        ("192.168.1.1:9", Denial::Private),
        ("169.254.169.254:80", Denial::LinkLocal),
        ("127.0.0.1:9", Denial::Loopback),
    ] {
        let permitted = world.ask(ALICE, METHOD_CREATE_PERMISSION, &[&at(peer)]);
        assert_eq!(permitted.code(), 403);
        assert_eq!(world.bind_channel(ALICE, 0x4000, peer).code(), 403);
        assert_eq!(world.limits.refused().peers(denial), 2, "{peer}");
    }
    let sent = world.send_data(ALICE, "203.0.113.9:3478", b"loop");
    assert_eq!(sent.dropped(), DropReason::ForbiddenPeer);
    assert_eq!(world.limits.refused().peers(Denial::Own), 1);
}

fn per_user(max: u32) -> Settings {
    Settings {
        allocations_per_user: Some(max),
        ..Settings::default()
    }
}

fn replies(max: u32) -> Settings {
    Settings {
        unauthenticated_replies_per_second: source(max),
        ..Settings::default()
    }
}

fn source(max: u32) -> PerSource {
    PerSource {
        max: Some(max),
        counts_loopback: false,
    }
}

fn from(host: u8) -> FiveTuple {
    Client { host, ..ALICE }.address()
}

fn allocate_from(world: &mut World, user: Client, host: u8) -> u16 {
    let client = Client { host, ..user };
    world.ask(client, METHOD_ALLOCATE, &[&udp()]).code()
}

fn allocate_as(world: &mut World, (name, password): &(String, String), host: u8) -> u16 {
    let credential = (name.as_str(), password.as_str());
    let answer = world.ask_as(from(host), credential, METHOD_ALLOCATE, &[&udp()]);
    answer.code()
}

fn ask_bare(world: &mut World, method: Method, from: FiveTuple) -> Did {
    let request = world.unsigned(MessageType::new(method, CLASS_REQUEST), &[]);
    world.send(from, &request)
}

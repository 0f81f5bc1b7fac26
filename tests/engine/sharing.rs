//! Shared relayed transport addresses: what is told apart, what is refused, and that nobody hears what is another's.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use setu::relay::engine::allocate::LIFETIMES;
use setu::relay::engine::five_tuple::{FiveTuple, RelayKey};
use setu::relay::engine::{DropReason, PortSharing};
use setu::relay::wire::icmp::Icmp;
use stun::message::*;
use stun::textattrs::TextAttribute;
use turn::proto::channum::ChannelNumber;

use crate::world::{ALICE, Answer, BOB, Client, Did, PEER, World, at, lifetime, raw, seconds, udp};

const SAME_IP: &str = "203.0.113.9:7001";
const ELSEWHERE: &str = "203.0.113.10:7000";
const ONLY: RelayKey = RelayKey(0);

/// So many ports, shared when none is free.
fn with_ports(count: usize) -> World {
    let mut world = World::with(|settings| settings.port_sharing = PortSharing::WhenFull);
    world.relays_max = count;
    world
}

/// Alice and Bob on one relayed transport address: there is only one port.
fn shared() -> World {
    let world = with_ports(1).allocate(ALICE).allocate(BOB);
    assert_eq!(world.open.len(), 1);
    world
}

fn reaches(world: &mut World, peer: &str, payload: &[u8]) -> Result<FiveTuple, DropReason> {
    match world.peer_sends_to(ONLY, peer, payload) {
        Did::ToClient(client, _) => Ok(client),
        Did::Dropped(reason) => Err(reason),
        did @ (Did::Answered(_) | Did::ToPeer(..) | Did::ToNeighbour(..) | Did::Silence) => {
            panic!("{did:?}")
        }
    }
}

fn check(to: &str, from: &str) -> Vec<u8> {
    let mut message = Message::new();
    let username = TextAttribute::new(stun::attributes::ATTR_USERNAME, format!("{to}:{from}"));
    message
        .build(&[
            Box::new(stun::agent::TransactionId::new()),
            Box::new(BINDING_REQUEST),
            Box::new(username),
        ])
        .unwrap();
    message.raw
}

#[test]
fn an_own_port_as_long_as_there_is_one_and_then_a_shared_one() {
    let mut world = with_ports(2);
    let crowd = Crowd::join(&mut world, 10);
    assert_eq!(world.open.len(), 2);
    let mut ports: Vec<_> = crowd
        .members
        .iter()
        .map(|member| member.relayed.port())
        .collect();
    assert_ne!(ports[0], ports[1]);
    // As evenly as can be.
    ports.sort_unstable();
    assert_eq!(ports[..5], [49160; 5]);
    assert_eq!(world.snapshot().shared, 8);
}

#[test]
fn a_relay_is_closed_with_its_last_allocation() {
    let mut world = shared();
    world.refresh(ALICE, 0);
    assert_eq!(world.open.len(), 1);
    world.refresh(BOB, 0);
    assert_eq!(world.open.len(), 0);
}

#[test]
fn never_is_never() {
    let mut world = World::new();
    world.relays_max = 1;
    let mut world = world.allocate(ALICE);
    assert_eq!(world.ask(BOB, METHOD_ALLOCATE, &[&udp()]).code(), 508);
}

#[test]
fn always_shares_although_ports_are_free() {
    let mut world = World::with(|settings| settings.port_sharing = PortSharing::Always);
    world.relays_max = 10;
    Crowd::join(&mut world, 20);
    assert_eq!(world.open.len(), 2);
}

#[test]
fn allocations_of_one_user_are_kept_apart() {
    let mut world = with_ports(3);
    let mut of_alice = Vec::new();
    for port in [6001, 6002, 6003] {
        Crowd::join(&mut world, 3);
        let client = FiveTuple {
            client: SocketAddr::new(ALICE.address().client.ip(), port),
            ..ALICE.address()
        };
        let answer = world.ask_as(
            client,
            (ALICE.user, ALICE.password),
            METHOD_ALLOCATE,
            &[&udp()],
        );
        of_alice.push(relayed(&answer).port());
    }
    of_alice.sort_unstable();
    assert_eq!(of_alice, [49160, 49161, 49162]);
}

#[test]
fn nobody_shares_with_whoever_asked_for_an_even_port() {
    let mut world = with_ports(1);
    let even = raw(stun::attributes::ATTR_EVEN_PORT, &[0]);
    assert_eq!(
        world.ask(ALICE, METHOD_ALLOCATE, &[&udp(), &even]).code(),
        0
    );
    assert_eq!(world.ask(BOB, METHOD_ALLOCATE, &[&udp()]).code(), 508);
    world.refresh(ALICE, 0);
    let mut world = world.allocate(BOB);
    assert_eq!(
        world.ask(ALICE, METHOD_ALLOCATE, &[&udp(), &even]).code(),
        508
    );
}

#[test]
fn the_exact_peer_decides() {
    let mut world = shared().permit(ALICE, PEER).bind(BOB, 0x4000, SAME_IP);
    assert_eq!(reaches(&mut world, PEER, b"x"), Ok(ALICE.address()));
    assert_eq!(reaches(&mut world, SAME_IP, b"x"), Ok(BOB.address()));
    // Either could have it.
    let ambiguous = reaches(&mut world, "203.0.113.9:9999", b"x");
    assert_eq!(ambiguous, Err(DropReason::Ambiguous));
}

#[test]
fn who_sent_to_a_peer_hears_from_it() {
    let mut world = shared()
        .permit(ALICE, SAME_IP)
        .permit(BOB, "203.0.113.9:7002");
    assert!(matches!(world.send_data(BOB, PEER, b"x"), Did::ToPeer(..)));
    assert_eq!(reaches(&mut world, PEER, b"x"), Ok(BOB.address()));
    let taken = world.send_data(ALICE, PEER, b"x").dropped();
    assert_eq!(taken, DropReason::PeerTaken);
}

#[test]
fn what_was_named_before_the_address_was_shared_counts() {
    let mut world = with_ports(1).allocate(ALICE).permit(ALICE, PEER);
    assert!(matches!(
        world.send_data(ALICE, SAME_IP, b"x"),
        Did::ToPeer(..)
    ));
    let mut world = world.allocate(BOB);
    for peer in [PEER, SAME_IP] {
        assert_eq!(world.bind_channel(BOB, 0x4000, peer).code(), 508, "{peer}");
    }
    assert_eq!(world.snapshot().peers_taken, 2);
}

#[test]
fn two_may_not_name_the_same_peer() {
    let mut world = shared().permit(ALICE, PEER);
    assert_eq!(permits(&mut world, BOB, &[ELSEWHERE, PEER]), 508);
    // All or none.
    assert_eq!(
        reaches(&mut world, ELSEWHERE, b"x"),
        Err(DropReason::NoPermission)
    );
    assert_eq!(world.bind_channel(BOB, 0x4000, PEER).code(), 508);
    assert_eq!(world.bind_channel(ALICE, 0x4000, PEER).code(), 0);
    assert_eq!(permits(&mut world, BOB, &[SAME_IP]), 0);
    assert_eq!(world.snapshot().peers_taken, 2);
}

#[test]
fn a_peer_is_free_again_when_it_is_permitted_no_more() {
    let mut world = shared().permit(ALICE, PEER);
    world.advance(seconds(301));
    assert_eq!(permits(&mut world, BOB, &[PEER]), 0);
    assert_eq!(reaches(&mut world, PEER, b"x"), Ok(BOB.address()));
    assert_eq!(permits(&mut world, ALICE, &[PEER]), 508);
}

#[test]
fn a_peer_that_its_own_agent_permits_no_more_has_no_permission() {
    let mut world = shared().permit(ALICE, PEER);
    world.advance(seconds(200));
    let mut world = world.permit(BOB, SAME_IP);
    world.advance(seconds(101));
    let lapsed = reaches(&mut world, PEER, b"x");
    assert_eq!(lapsed, Err(DropReason::NoPermission));
    assert_eq!(reaches(&mut world, SAME_IP, b"x"), Ok(BOB.address()));
}

/// Alice has sent a check to a peer, perhaps heard from it, and then nothing has passed between them for so long.
fn after_a_check_of_alices(has_heard: bool, silent_seconds: u64) -> World {
    let mut world = shared().permit(ALICE, PEER).permit(BOB, SAME_IP);
    world.send_data(ALICE, PEER, &check("peer", "alice"));
    world.send_data(BOB, SAME_IP, &check("other", "bob"));
    if has_heard {
        let heard = reaches(&mut world, PEER, &check("alice", "peer"));
        assert_eq!(heard, Ok(ALICE.address()));
    }
    world.advance(seconds(silent_seconds));
    world
}

#[test]
fn a_peer_that_an_agent_has_not_spoken_with_for_long_is_whoevers_its_check_names() {
    for has_heard in [false, true] {
        let mut world = after_a_check_of_alices(has_heard, 29);
        assert_eq!(
            reaches(&mut world, PEER, &check("bob", "third")),
            Err(DropReason::Ambiguous)
        );
        let mut world = after_a_check_of_alices(has_heard, 30);
        // Nothing says whose these are.
        assert_eq!(
            reaches(&mut world, PEER, b"media"),
            Err(DropReason::Ambiguous)
        );
        for payload in [&check("bob", "third")[..], b"media"] {
            assert_eq!(reaches(&mut world, PEER, payload), Ok(BOB.address()));
        }
        assert_eq!(
            world.send_data(ALICE, PEER, b"late").dropped(),
            DropReason::PeerTaken
        );
    }
}

#[test]
fn a_peer_that_an_agent_has_not_spoken_with_for_long_may_be_named_by_another() {
    for (silent_seconds, code) in [(29, 508), (30, 0)] {
        let mut world = after_a_check_of_alices(true, silent_seconds);
        assert_eq!(world.bind_channel(BOB, 0x4000, PEER).code(), code);
    }
}

#[test]
fn whoever_has_had_no_answer_to_its_checks_hears_no_media_of_another() {
    let mut world = after_a_check_of_alices(false, 1);
    assert_eq!(
        reaches(&mut world, PEER, b"media"),
        Err(DropReason::Ambiguous)
    );
    // An answer is for who asked.
    for payload in [&answer_to_a_check()[..], b"media"] {
        assert_eq!(reaches(&mut world, PEER, payload), Ok(ALICE.address()));
    }
}

#[test]
fn where_an_agent_and_its_peer_speak_neither_a_check_nor_a_silence_short_of_that_ends_it() {
    let mut world = after_a_check_of_alices(true, 20);
    // A media server with one port for all.
    assert_eq!(world.bind_channel(BOB, 0x4000, PEER).code(), 508);
    for _ in 0..5 {
        assert_eq!(reaches(&mut world, PEER, b"media"), Ok(ALICE.address()));
        assert_eq!(
            reaches(&mut world, PEER, &check("bob", "third")),
            Err(DropReason::Ambiguous)
        );
        world.advance(seconds(20));
    }
    // What came for another one says nothing of hers.
    world.advance(seconds(10));
    let lapsed = reaches(&mut world, PEER, &check("bob", "third"));
    assert_eq!(lapsed, Ok(BOB.address()));
}

#[test]
fn media_from_where_a_check_for_another_one_came_are_nobodys_until_its_own_agent_hears_a_check_again()
 {
    for its_own in [check("alice", "peer"), answer_to_a_check()] {
        let mut world = after_a_check_of_alices(true, 1);
        let hears = |world: &mut World, payload: &[u8]| reaches(world, PEER, payload).ok();
        assert_eq!(hears(&mut world, b"media"), Some(ALICE.address()));
        // Of somebody else at that address.
        assert_eq!(hears(&mut world, &check("nobody", "third")), None);
        assert_eq!(hears(&mut world, b"media"), Some(ALICE.address()));
        assert_eq!(hears(&mut world, &check("bob", "third")), None);
        assert_eq!(hears(&mut world, b"media"), None);
        assert_eq!(hears(&mut world, &its_own), Some(ALICE.address()));
        assert_eq!(hears(&mut world, b"media"), Some(ALICE.address()));
        // It turns out to be one that speaks with both.
        assert_eq!(hears(&mut world, &check("bob", "third")), None);
        assert_eq!(world.bind_channel(BOB, 0x4000, PEER).code(), 508);
        assert_eq!(hears(&mut world, b"media"), Some(ALICE.address()));
    }
}

#[test]
fn whoever_speaks_no_ice_with_a_peer_has_it_as_long_as_it_permits_it() {
    let mut world = shared()
        .permit(ALICE, PEER)
        .permit(ALICE, ELSEWHERE)
        .permit(BOB, SAME_IP);
    world.send_data(ALICE, ELSEWHERE, &check("other", "alice"));
    world.send_data(BOB, SAME_IP, &check("third", "bob"));
    world.send_data(ALICE, PEER, b"media");
    world.advance(seconds(250));
    assert_eq!(
        reaches(&mut world, PEER, &check("bob", "third")),
        Err(DropReason::Ambiguous)
    );
    assert_eq!(reaches(&mut world, PEER, b"media"), Ok(ALICE.address()));
}

#[test]
fn what_an_agent_heard_while_it_was_alone_is_heard_when_others_come() {
    let mut world = with_ports(1).allocate(ALICE).permit(ALICE, PEER);
    world.send_data(ALICE, PEER, &check("peer", "alice"));
    world.advance(seconds(100));
    assert_eq!(reaches(&mut world, PEER, b"media"), Ok(ALICE.address()));
    let mut world = world.allocate(BOB).permit(BOB, SAME_IP);
    assert_eq!(reaches(&mut world, PEER, b"media"), Ok(ALICE.address()));
}

#[test]
fn what_comes_on_for_who_had_a_peer_before_is_nobodys_until_the_new_one_hears_stun() {
    // The one before has left, or has not spoken with it for long; the new one first names the peer, then checks it.
    for has_left in [true, false] {
        let mut world = after_a_check_of_alices(true, if has_left { 1 } else { 31 });
        if has_left {
            world.refresh(ALICE, 0);
        }
        assert_eq!(permits(&mut world, BOB, &[PEER]), 0);
        for speaks in [false, true] {
            if speaks {
                world.send_data(BOB, PEER, &check("peer", "bob"));
            }
            let late = reaches(&mut world, PEER, b"for alice");
            assert_eq!(late, Err(DropReason::Ambiguous), "{has_left}");
        }
        for payload in [&answer_to_a_check()[..], b"media"] {
            assert_eq!(reaches(&mut world, PEER, payload), Ok(BOB.address()));
        }
    }
}

#[test]
fn who_speaks_no_ice_hears_a_peer_of_somebody_before_when_that_ones_time_is_over() {
    let mut world = after_a_check_of_alices(true, 1);
    world.refresh(ALICE, 0);
    assert_eq!(permits(&mut world, BOB, &[PEER]), 0);
    for (silent_seconds, expected) in [(29, None), (1, Some(BOB.address()))] {
        world.advance(seconds(silent_seconds));
        assert_eq!(reaches(&mut world, PEER, b"media").ok(), expected);
    }
}

#[test]
fn what_an_agent_heard_before_its_first_check_is_no_answer() {
    let mut world = shared().permit(ALICE, PEER).permit(BOB, SAME_IP);
    assert_eq!(reaches(&mut world, PEER, b"early"), Ok(ALICE.address()));
    world.send_data(ALICE, PEER, &check("peer", "alice"));
    let unanswered = reaches(&mut world, PEER, b"media");
    assert_eq!(unanswered, Err(DropReason::Ambiguous));
}

#[test]
fn a_channel_is_no_way_to_a_peer_that_is_another_ones_by_now() {
    let mut world = shared().bind(ALICE, 0x4000, PEER).permit(BOB, SAME_IP);
    let says = |world: &mut World, payload: &[u8]| world.send_channel(ALICE, 0x4000, payload);
    says(&mut world, &check("peer", "alice"));
    world.advance(seconds(30));
    assert_eq!(permits(&mut world, BOB, &[PEER]), 0);
    for payload in [&check("peer", "alice")[..], &answer_to_a_check(), b"media"] {
        assert_eq!(says(&mut world, payload).dropped(), DropReason::PeerTaken);
    }
    // That one leaves.
    world.refresh(BOB, 0);
    assert!(matches!(says(&mut world, b"media"), Did::ToPeer(..)));
}

#[test]
fn media_are_spoken_whichever_way_they_go() {
    for is_channel in [true, false] {
        let mut world = shared().bind(ALICE, 0x4000, PEER).permit(BOB, SAME_IP);
        world.send_data(ALICE, PEER, &check("peer", "alice"));
        let heard = reaches(&mut world, PEER, &answer_to_a_check());
        assert_eq!(heard, Ok(ALICE.address()));
        for _ in 0..3 {
            world.advance(seconds(20));
            match is_channel {
                true => world.send_channel(ALICE, 0x4000, b"media"),
                false => world.send_data(ALICE, PEER, b"media"),
            };
        }
        assert_eq!(world.bind_channel(BOB, 0x4000, PEER).code(), 508);
        assert_eq!(reaches(&mut world, PEER, b"report"), Ok(ALICE.address()));
    }
}

#[test]
fn a_peer_that_was_silent_for_long_is_its_agents_again_where_nobody_else_wants_it() {
    // A keepalive, or an answer; a check of its own is a matter of names.
    for stun in [keepalive(), answer_to_a_check()] {
        let mut world = after_a_check_of_alices(true, 100);
        let silent = reaches(&mut world, PEER, b"media");
        assert_eq!(silent, Err(DropReason::Ambiguous));
        for payload in [&stun[..], b"media"] {
            assert_eq!(reaches(&mut world, PEER, payload), Ok(ALICE.address()));
        }
    }
    // The only one who permits its address needs nothing of the kind.
    let mut world = after_a_check_of_alices(true, 100);
    world.refresh(BOB, 0);
    assert_eq!(reaches(&mut world, PEER, b"media"), Ok(ALICE.address()));
}

#[test]
fn what_a_dead_client_does_not_answer_keeps_no_peer_for_it() {
    for asked in [check("alice", "peer"), keepalive()] {
        let mut world = after_a_check_of_alices(true, 0);
        for _ in 0..4 {
            world.advance(seconds(10));
            let _ = reaches(&mut world, PEER, &asked);
        }
        assert_eq!(world.bind_channel(BOB, 0x4000, PEER).code(), 0);
    }
}

#[test]
fn permissions_are_refreshed_beside_one_for_a_peer_that_is_another_ones_by_now() {
    let mut world = shared()
        .permit(ALICE, PEER)
        .permit(ALICE, ELSEWHERE)
        .permit(BOB, SAME_IP);
    world.send_data(ALICE, PEER, &check("peer", "alice"));
    world.advance(seconds(30));
    assert_eq!(permits(&mut world, BOB, &[PEER]), 0);
    // Never named before: as ever.
    let others = "203.0.113.9:7002";
    assert_eq!(permits(&mut world, BOB, &[others]), 0);
    assert_eq!(permits(&mut world, ALICE, &[others]), 508);
    assert_eq!(permits(&mut world, ALICE, &[ELSEWHERE, PEER]), 0);
    world.advance(seconds(290));
    assert_eq!(reaches(&mut world, ELSEWHERE, b"x"), Ok(ALICE.address()));
    let taken = world.send_data(ALICE, PEER, b"x").dropped();
    assert_eq!(taken, DropReason::PeerTaken);
}

#[test]
fn two_on_one_address_who_alone_named_it_belong_together() {
    let mut world = with_ports(1);
    let mut crowd = Crowd::join(&mut world, 2);
    // Nobody has named the first one yet: what it says is not its own either.
    call(&mut world, &crowd.members, &[(0, 1)]);
    let early = hears(&mut world, &crowd.members[0], b"media");
    assert!(early.is_err(), "{early:?}");
    call(&mut world, &crowd.members, &[(1, 0)]);
    for (from, to) in [(0, 1), (1, 0)] {
        let heard = hears(&mut world, &crowd.members[from], b"media");
        assert_eq!(heard, Ok(crowd.members[to].address));
    }
    crowd.add(&mut world);
    call(&mut world, &crowd.members, &[(2, 0)]);
    for from in 0..3 {
        let heard = hears(&mut world, &crowd.members[from], b"media");
        assert_eq!(heard, Err(DropReason::Ambiguous));
    }
}

#[test]
fn whoever_is_checked_instead_of_one_who_has_left_hears_no_media_that_may_be_for_that_one() {
    let (mut world, members) = two_calls();
    let [a, b, _, d] = &members;
    for from in [b, d] {
        let _ = hears(&mut world, from, &check("nobody", &from.ours()));
    }
    let checks = |world: &mut World, to: &Member| hears(world, a, &check(&to.ours(), &a.ours()));
    assert_eq!(checks(&mut world, b), Ok(b.address));
    assert_eq!(hears(&mut world, a, b"media"), Ok(b.address));
    b.ask(&mut world, METHOD_REFRESH, &[&lifetime(0)]);
    assert_eq!(checks(&mut world, d), Ok(d.address));
    let late = hears(&mut world, a, b"for b");
    assert_eq!(late, Err(DropReason::Ambiguous));
    world.advance(seconds(30));
    assert_eq!(hears(&mut world, a, b"media"), Ok(d.address));
}

#[test]
fn icmp_about_an_unanswered_check_is_for_who_sent_it() {
    let mut world = after_a_check_of_alices(false, 1);
    let icmp = Icmp::new(PEER.parse::<SocketAddr>().unwrap().ip(), 3, 3, 0).unwrap();
    let told = world.icmp(ONLY, PEER, icmp);
    assert!(matches!(told, Did::ToClient(client, _) if client == ALICE.address()));
}

fn answer_to_a_check() -> Vec<u8> {
    bare(BINDING_SUCCESS)
}

/// ([RFC 8445 §11](https://www.rfc-editor.org/rfc/rfc8445#section-11)).
fn keepalive() -> Vec<u8> {
    bare(MessageType::new(METHOD_BINDING, CLASS_INDICATION))
}

fn bare(typ: MessageType) -> Vec<u8> {
    let mut message = Message::new();
    message
        .build(&[Box::new(stun::agent::TransactionId::new()), Box::new(typ)])
        .unwrap();
    message.raw
}

#[test]
fn the_only_one_who_permits_an_address_hears_all_of_it() {
    let mut world = shared().permit(ALICE, PEER).permit(BOB, ELSEWHERE);
    assert_eq!(reaches(&mut world, SAME_IP, b"x"), Ok(ALICE.address()));
    assert_eq!(
        reaches(&mut world, "203.0.113.10:1", b"x"),
        Ok(BOB.address())
    );
    let nobody = reaches(&mut world, "203.0.113.11:1", b"x");
    assert_eq!(nobody, Err(DropReason::NoPermission));
}

#[test]
fn a_check_finds_the_agent_that_it_names() {
    let mut world = shared().permit(ALICE, PEER).permit(BOB, SAME_IP);
    // Both peers are behind one NAT, which gives them other ports towards us.
    let (of_alices, of_bobs) = ("203.0.113.9:40001", "203.0.113.9:40002");
    let unknown = reaches(&mut world, of_bobs, &check("bob", "peer"));
    assert_eq!(unknown, Err(DropReason::Ambiguous));
    world.send_data(ALICE, PEER, &check("peer1", "alice"));
    world.send_data(BOB, SAME_IP, &check("peer2", "bob"));
    assert_eq!(
        reaches(&mut world, of_bobs, &check("bob", "peer2")),
        Ok(BOB.address())
    );
    assert_eq!(
        reaches(&mut world, of_alices, &check("alice", "peer1")),
        Ok(ALICE.address())
    );
    // From now on the media that follow are known, too.
    assert_eq!(reaches(&mut world, of_bobs, b"media"), Ok(BOB.address()));
    assert_eq!(
        reaches(&mut world, of_alices, b"media"),
        Ok(ALICE.address())
    );
    let third = reaches(&mut world, "203.0.113.9:40003", b"media");
    assert_eq!(third, Err(DropReason::Ambiguous));
}

#[test]
fn a_check_is_never_given_to_another_agent() {
    let mut world = shared().permit(ALICE, PEER);
    world.send_data(ALICE, PEER, &check("peer1", "alice"));
    let for_bob = reaches(&mut world, SAME_IP, &check("bob", "peer2"));
    assert_eq!(for_bob, Err(DropReason::Ambiguous));
    let mut world = world.permit(BOB, SAME_IP);
    world.send_data(BOB, SAME_IP, &check("peer2", "bob"));
    // The address is Alice's, and the check says it is for Bob.
    let disputed = reaches(&mut world, PEER, &check("bob", "peer2"));
    assert_eq!(disputed, Err(DropReason::Ambiguous));
}

#[test]
fn a_check_for_an_agent_that_has_not_spoken_is_not_given_to_one_who_has() {
    let mut world = shared().permit(ALICE, PEER);
    // As long as nobody knows how she is called it is hers: who is she to be told apart from?
    let early = reaches(&mut world, PEER, &check("alice", "sfu"));
    assert_eq!(early, Ok(ALICE.address()));
    world.send_data(ALICE, PEER, &check("sfu", "alice"));
    let for_bob = reaches(&mut world, PEER, &check("bob", "sfu"));
    assert_eq!(for_bob, Err(DropReason::Ambiguous));
    for payload in [&check("alice", "sfu")[..], b"media"] {
        assert_eq!(reaches(&mut world, PEER, payload), Ok(ALICE.address()));
    }
    // She restarts ICE: her own check says so.
    world.send_data(ALICE, PEER, &check("sfu2", "alice2"));
    let restarted = reaches(&mut world, PEER, &check("alice2", "sfu2"));
    assert_eq!(restarted, Ok(ALICE.address()));
}

#[test]
fn what_peers_of_an_ended_allocation_send_on_is_for_nobody() {
    let mut world = shared().permit(ALICE, PEER).permit(BOB, SAME_IP);
    world.refresh(ALICE, 0);
    assert_eq!(
        reaches(&mut world, PEER, b"late"),
        Err(DropReason::Ambiguous)
    );
    assert_eq!(permits(&mut world, BOB, &[PEER]), 0);
    assert_eq!(reaches(&mut world, PEER, b"x"), Ok(BOB.address()));
}

#[test]
fn whoever_sends_to_more_peers_than_are_remembered_keeps_a_port_of_its_own() {
    let mut world = with_ports(1).allocate(ALICE).permit(ALICE, PEER);
    for port in 1..=1100 {
        let did = world.send_data(ALICE, &format!("203.0.113.9:{port}"), b"x");
        assert!(matches!(did, Did::ToPeer(..)));
    }
    assert_eq!(world.ask(BOB, METHOD_ALLOCATE, &[&udp()]).code(), 508);
}

#[test]
fn forty_one_ports_carry_a_thousand_allocations() {
    let mut world = with_ports(41);
    let crowd = Crowd::join(&mut world, 1000);
    assert_eq!(world.open.len(), 41);
    for (number, member) in crowd.members.iter().enumerate() {
        // Ten peers behind each address.
        let peer = format!("203.0.114.{}:{}", number / 10, 5000 + number % 10);
        assert_eq!(
            member
                .ask(
                    &mut world,
                    METHOD_CHANNEL_BIND,
                    &[&ChannelNumber(0x4000), &at(&peer)]
                )
                .code(),
            0
        );
    }
    for (number, member) in crowd.members.iter().enumerate() {
        let peer = format!("203.0.114.{}:{}", number / 10, 5000 + number % 10);
        let did = world.peer_sends_to(member.relay(), &peer, b"x");
        assert!(matches!(did, Did::ToClient(client, _) if client == member.address));
    }
}

/// Two calls, each from one shared address to the other one.
fn two_calls() -> (World, [Member; 4]) {
    let mut world = with_ports(2);
    let crowd = Crowd::join(&mut world, 4);
    let members: [Member; 4] = crowd.members.try_into().unwrap();
    let ports = members.each_ref().map(|member| member.relayed.port());
    // The first with the second, the third with the fourth.
    assert_eq!(ports, [49160, 49161, 49160, 49161]);
    call(&mut world, &members, &[(0, 1), (1, 0), (2, 3), (3, 2)]);
    (world, members)
}

/// Each of these binds a channel to the relayed address of another one.
fn call(world: &mut World, members: &[Member], pairs: &[(usize, usize)]) {
    for (one, other) in pairs {
        let peer = members[*other].relayed.to_string();
        let binding: [&dyn Setter; 2] = [&ChannelNumber(0x4000), &at(&peer)];
        let bound = members[*one].ask(world, METHOD_CHANNEL_BIND, &binding);
        assert_eq!(bound.code(), 0, "{one}");
    }
}

/// Who hears what one of them says on its channel.
fn hears(world: &mut World, from: &Member, payload: &[u8]) -> Result<FiveTuple, DropReason> {
    let length = u16::try_from(payload.len()).unwrap();
    let bytes = [&[0x40, 0][..], &length.to_be_bytes(), payload].concat();
    let did = world.send(from.address, &bytes);
    if let Did::ToClient(client, _) = did {
        return Ok(client);
    }
    Err(did.dropped())
}

/// The two check each other, until either knows.
fn meet(world: &mut World, one: &Member, other: &Member) {
    let _ = hears(world, one, &check(&other.ours(), &one.ours()));
    for (from, to) in [(other, one), (one, other)] {
        let checked = hears(world, from, &check(&to.ours(), &from.ours()));
        assert_eq!(checked, Ok(to.address));
    }
}

#[test]
fn calls_between_the_same_two_shared_addresses_are_told_apart_by_their_checks() {
    let (mut world, members) = two_calls();
    let [a, b, c, d] = &members;
    let check_of = |from: &Member, to: &Member| check(&to.ours(), &from.ours());
    for (one, other) in [(a, b), (c, d)] {
        // Nobody knows yet who the other one is.
        let early = hears(&mut world, one, b"media");
        assert_eq!(early, Err(DropReason::Ambiguous));
        let early = hears(&mut world, one, &check_of(one, other));
        assert_eq!(early, Err(DropReason::Ambiguous));
        let back = hears(&mut world, other, &check_of(other, one));
        assert_eq!(back, Ok(one.address));
        let again = hears(&mut world, one, &check_of(one, other));
        assert_eq!(again, Ok(other.address));
    }
    for (from, to) in [(a, b), (b, a), (c, d), (d, c)] {
        assert_eq!(hears(&mut world, from, b"media"), Ok(to.address));
    }
    // What is still said to somebody who has left is for nobody.
    b.ask(&mut world, METHOD_REFRESH, &[&lifetime(0)]);
    let late = hears(&mut world, a, b"late");
    assert_eq!(late, Err(DropReason::Ambiguous));
    assert_eq!(hears(&mut world, c, b"media"), Ok(d.address));
}

#[test]
fn a_call_goes_on_when_others_come_to_its_addresses() {
    for by_check in [true, false] {
        let mut world = with_ports(2);
        let mut crowd = Crowd::join(&mut world, 2);
        call(&mut world, &crowd.members, &[(0, 1), (1, 0)]);
        let (first, second) = (crowd.members[0].address, crowd.members[1].address);
        if by_check {
            hears(&mut world, &crowd.members[0], &check("second", "first")).unwrap();
            hears(&mut world, &crowd.members[1], &check("first", "second")).unwrap();
        }
        assert_eq!(hears(&mut world, &crowd.members[0], b"media"), Ok(second));
        assert_eq!(hears(&mut world, &crowd.members[1], b"media"), Ok(first));
        for _ in 0..2 {
            crowd.add(&mut world);
        }
        call(&mut world, &crowd.members, &[(2, 3), (3, 2)]);
        let of_first = hears(&mut world, &crowd.members[0], b"media");
        let of_second = hears(&mut world, &crowd.members[1], b"media");
        assert_eq!((of_first, of_second), (Ok(second), Ok(first)), "{by_check}");
        let of_third = hears(&mut world, &crowd.members[2], b"media");
        assert_eq!(of_third, Err(DropReason::Ambiguous));
    }
}

#[test]
fn who_was_heard_alone_without_belonging_to_its_hearer_is_nobodys_when_others_come() {
    let mut world = with_ports(2);
    let mut crowd = Crowd::join(&mut world, 2);
    // The first names the second's host, and never the second.
    call(&mut world, &crowd.members, &[(1, 0)]);
    let host = SocketAddr::new(crowd.members[1].relayed.ip(), 1).to_string();
    crowd.members[0].ask(&mut world, METHOD_CREATE_PERMISSION, &[&at(&host)]);
    let heard = hears(&mut world, &crowd.members[1], b"media");
    assert_eq!(heard, Ok(crowd.members[0].address));
    crowd.add(&mut world);
    let heard = hears(&mut world, &crowd.members[1], b"media");
    assert_eq!(heard, Err(DropReason::Ambiguous));
}

#[test]
fn a_client_that_turns_to_another_one_at_the_same_address_says_so_by_its_check() {
    let (mut world, members) = two_calls();
    let [a, b, _, d] = &members;
    for from in [a, b, d] {
        let _ = hears(&mut world, from, &check("nobody", &from.ours()));
    }
    assert_eq!(
        hears(&mut world, a, &check(&b.ours(), &a.ours())),
        Ok(b.address)
    );
    assert_eq!(hears(&mut world, a, b"media"), Ok(b.address));
    assert_eq!(
        hears(&mut world, a, &check(&d.ours(), &a.ours())),
        Ok(d.address)
    );
    // It may still speak with the first one, too: whose its media are shows when no check has gone there for a while.
    let disputed = hears(&mut world, a, b"media");
    assert_eq!(disputed, Err(DropReason::Ambiguous));
    world.advance(seconds(29));
    let disputed = hears(&mut world, a, b"media");
    assert_eq!(disputed, Err(DropReason::Ambiguous));
    world.advance(seconds(1));
    assert_eq!(hears(&mut world, a, b"media"), Ok(d.address));
}

#[test]
fn who_speaks_with_two_at_the_same_address_at_once_is_heard_by_their_checks_only() {
    let (mut world, members) = two_calls();
    let [a, b, _, d] = &members;
    for from in [b, d] {
        let _ = hears(&mut world, from, &check("nobody", &from.ours()));
    }
    for round in 0..10 {
        for to in [b, d] {
            let checked = hears(&mut world, a, &check(&to.ours(), &a.ours()));
            assert_eq!(checked, Ok(to.address));
            world.advance(seconds(3));
            let media = hears(&mut world, a, b"media");
            if (round, to.number) != (0, b.number) {
                assert_eq!(media, Err(DropReason::Ambiguous));
            }
        }
    }
    // The first one leaves, and is not missed at once: what was under way for it is for nobody.
    d.ask(&mut world, METHOD_REFRESH, &[&lifetime(0)]);
    let checked = hears(&mut world, a, &check(&b.ours(), &a.ours()));
    assert_eq!(checked, Ok(b.address));
    let late = hears(&mut world, a, b"media");
    assert_eq!(late, Err(DropReason::Ambiguous));
    world.advance(seconds(30));
    assert_eq!(hears(&mut world, a, b"media"), Ok(b.address));
}

#[test]
fn a_check_for_nobody_known_is_not_given_to_whom_its_sender_speaks_with() {
    let (mut world, members) = two_calls();
    let [a, b, _, d] = &members;
    let _ = hears(&mut world, b, &check("nobody", &b.ours()));
    let checked = hears(&mut world, a, &check(&b.ours(), &a.ours()));
    assert_eq!(checked, Ok(b.address));
    let for_d = hears(&mut world, a, &check(&d.ours(), &a.ours()));
    assert_eq!(for_d, Err(DropReason::Ambiguous));
    assert_eq!(hears(&mut world, a, b"media"), Ok(b.address));
}

#[test]
fn however_many_have_left_what_was_for_the_last_of_them_is_for_nobody() {
    let mut world = with_ports(1);
    let mut crowd = Crowd::join(&mut world, 1);
    crowd.members[0].ask(&mut world, METHOD_CREATE_PERMISSION, &[&at(PEER)]);
    for round in 0..8 {
        crowd.add(&mut world);
        let last = crowd.members.last().unwrap().clone();
        let permission = last.ask(&mut world, METHOD_CREATE_PERMISSION, &[&at(SAME_IP)]);
        assert_eq!(permission.code(), 0);
        for port in 1000..1900 {
            last.send(&mut world, &format!("203.0.113.9:{port}"), b"x");
        }
        last.ask(&mut world, METHOD_REFRESH, &[&lifetime(0)]);
        for port in [1000, 1899] {
            let late = reaches(&mut world, &format!("203.0.113.9:{port}"), b"late");
            assert_eq!(late, Err(DropReason::Ambiguous), "{round}");
        }
    }
}

#[test]
fn without_checks_two_who_alone_named_each_other_belong_together() {
    let mut world = with_ports(2);
    let crowd = Crowd::join(&mut world, 4);
    let [a, b, c, d] = &crowd.members[..] else {
        panic!("four have joined");
    };
    let bind = |world: &mut World, one: &Member, other: &Member| {
        let peer = other.relayed.to_string();
        let binding: [&dyn Setter; 2] = [&ChannelNumber(0x4000), &at(&peer)];
        assert_eq!(one.ask(world, METHOD_CHANNEL_BIND, &binding).code(), 0);
    };
    bind(&mut world, a, b);
    let alone = hears(&mut world, a, b"media");
    assert_eq!(alone, Err(DropReason::NoPermission));
    bind(&mut world, b, a);
    assert_eq!(hears(&mut world, a, b"media"), Ok(b.address));
    assert_eq!(hears(&mut world, b, b"media"), Ok(a.address));
    bind(&mut world, c, d);
    bind(&mut world, d, c);
    // Of these nothing tells, nor of the first two any more: these may belong to the others.
    for from in [a, b, c, d] {
        let media = hears(&mut world, from, b"media");
        assert_eq!(media, Err(DropReason::Ambiguous));
    }
    for gone in [c, d] {
        gone.ask(&mut world, METHOD_REFRESH, &[&lifetime(0)]);
    }
    assert_eq!(hears(&mut world, a, b"media"), Ok(b.address));
    assert_eq!(hears(&mut world, b, b"media"), Ok(a.address));
}

#[test]
fn whom_a_client_was_taken_to_speak_with_costs_no_media_once_checks_tell() {
    let mut world = with_ports(2);
    let crowd = Crowd::join(&mut world, 4);
    let members: [Member; 4] = crowd.members.try_into().unwrap();
    let [a, b, c, d] = &members;
    call(&mut world, &members, &[(0, 1), (3, 2)]);
    // As far as anybody knows these two alone have to do with each other.
    assert_eq!(hears(&mut world, a, b"stray"), Ok(d.address));
    assert_eq!(hears(&mut world, d, b"stray"), Ok(a.address));
    call(&mut world, &members, &[(1, 0), (2, 3)]);
    for (one, other) in [(a, b), (c, d)] {
        meet(&mut world, one, other);
    }
    for (from, to) in [(a, b), (b, a), (c, d), (d, c)] {
        assert_eq!(hears(&mut world, from, b"media"), Ok(to.address));
    }
}

#[test]
fn whoever_comes_instead_of_a_partner_is_heard_once_nothing_is_under_way_for_that_one() {
    let mut world = with_ports(2);
    let mut crowd = Crowd::join(&mut world, 4);
    call(&mut world, &crowd.members, &[(0, 1), (1, 0)]);
    let [a, b, ..] = &crowd.members[..] else {
        panic!("four have joined");
    };
    let (a, b) = (a.clone(), b.clone());
    meet(&mut world, &a, &b);
    assert_eq!(hears(&mut world, &a, b"media"), Ok(b.address));
    b.ask(&mut world, METHOD_REFRESH, &[&lifetime(0)]);
    crowd.add(&mut world);
    let (a, new) = (&crowd.members[0], &crowd.members[4]);
    assert_eq!(new.relayed, b.relayed);
    call(&mut world, &crowd.members, &[(4, 0)]);
    assert_eq!(hears(&mut world, new, b"media"), Ok(a.address));
    let late = hears(&mut world, a, b"for b");
    assert_eq!(late, Err(DropReason::Ambiguous));
    world.advance(seconds(30));
    assert_eq!(hears(&mut world, a, b"media"), Ok(new.address));
}

#[test]
fn however_many_speak_with_one_others_keep_their_partners() {
    let (mut world, members) = two_calls();
    let [a, b, _, d] = &members;
    meet(&mut world, a, b);
    assert_eq!(hears(&mut world, a, b"media"), Ok(b.address));
    let _ = hears(&mut world, d, &check("everybody", &d.ours()));
    for _ in 0..5000 {
        // On the first one's address, and then gone.
        let visitors = Crowd::join(&mut world, 2).members;
        let mut there = visitors.iter();
        let visitor = there.find(|visitor| visitor.relayed == a.relayed).unwrap();
        call(&mut world, &[visitor.clone(), d.clone()], &[(0, 1)]);
        let checked = hears(&mut world, visitor, &check(&d.ours(), &visitor.ours()));
        assert_eq!(checked, Ok(d.address));
        for gone in &visitors {
            gone.ask(&mut world, METHOD_REFRESH, &[&lifetime(0)]);
        }
    }
    assert_eq!(hears(&mut world, a, b"media"), Ok(b.address));
}

#[test]
fn a_peer_is_its_own_as_long_as_its_channel_lives_however_many_others_it_names() {
    let mut world = with_ports(1)
        .allocate(ALICE)
        .bind(ALICE, 0x4000, PEER)
        .permit(ALICE, ELSEWHERE);
    for port in 1..1023 {
        world.send_data(ALICE, &format!("203.0.113.10:{port}"), b"x");
    }
    world.advance(seconds(299));
    let mut world = world.permit(ALICE, ELSEWHERE);
    world.advance(seconds(2));
    // The permission for the first one is over, its channel is not.
    let did = world.send_data(ALICE, "203.0.113.10:2000", b"x");
    assert!(matches!(did, Did::ToPeer(..)), "{did:?}");
    assert_eq!(world.ask(BOB, METHOD_ALLOCATE, &[&udp()]).code(), 508);
}

#[test]
fn who_has_forgotten_a_relayed_address_does_not_contest_it() {
    let mut world = with_ports(2);
    let members = Crowd::join(&mut world, 4).members;
    let [a, b, _, d] = &members[..] else {
        panic!("four have joined");
    };
    let permit = |world: &mut World, peer: &str| {
        let permitted = d.ask(world, METHOD_CREATE_PERMISSION, &[&at(peer)]);
        assert_eq!(permitted.code(), 0);
    };
    call(&mut world, &members, &[(0, 1), (1, 0)]);
    permit(&mut world, &a.relayed.to_string());
    world.advance(seconds(299));
    call(&mut world, &members, &[(0, 1), (1, 0)]);
    permit(&mut world, PEER);
    world.advance(seconds(2));
    for port in 1..1100 {
        let contested = hears(&mut world, b, b"media");
        let expected = if port < 1024 {
            Err(DropReason::Ambiguous)
        } else {
            Ok(a.address)
        };
        assert_eq!(contested, expected, "{port}");
        d.send(&mut world, &format!("203.0.113.9:{port}"), b"x");
    }
}

#[test]
fn who_is_the_only_one_left_may_have_as_many_peers_as_it_likes() {
    let mut world = shared().permit(ALICE, PEER);
    world.refresh(BOB, 0);
    for port in 1..=1100 {
        let did = world.send_data(ALICE, &format!("203.0.113.9:{port}"), b"x");
        assert!(matches!(did, Did::ToPeer(..)), "{port}: {did:?}");
    }
    assert_eq!(world.ask(BOB, METHOD_ALLOCATE, &[&udp()]).code(), 508);
}

#[test]
fn an_agent_may_have_a_name_for_each_of_its_peers() {
    let mut world = shared().permit(BOB, ELSEWHERE);
    let peer = |number: usize| format!("203.0.113.9:{}", 7000 + number);
    for number in 0..100 {
        assert_eq!(permits(&mut world, ALICE, &[&peer(number)]), 0);
        let own = check("theirs", &format!("alice{number}"));
        world.send_data(ALICE, &peer(number), &own);
    }
    for number in 0..100 {
        let theirs = check(&format!("alice{number}"), "theirs");
        let heard = reaches(&mut world, &peer(number), &theirs);
        assert_eq!(heard, Ok(ALICE.address()), "{number}");
    }
}

#[test]
fn a_check_reaches_the_allocation_by_which_its_agent_spoke_last() {
    // From the same host, and from its other address.
    for ip in [ALICE.address().client.ip(), [192, 0, 2, 99].into()] {
        let mut world = with_ports(1).allocate(ALICE).permit(ALICE, PEER);
        let second = FiveTuple {
            client: SocketAddr::new(ip, 6001),
            ..ALICE.address()
        };
        let by = (ALICE.user, ALICE.password);
        let own_peer = at(SAME_IP);
        for (method, attribute) in [
            (METHOD_ALLOCATE, &udp() as &dyn Setter),
            (METHOD_CREATE_PERMISSION, &own_peer),
        ] {
            let answer = world.ask_as(second, by, method, &[attribute]);
            assert_eq!(answer.code(), 0, "{ip}");
        }
        let data = raw(stun::attributes::ATTR_DATA, &check("peer", "alice"));
        let indication = MessageType::new(METHOD_SEND, CLASS_INDICATION);
        for round in 0..3 {
            world.send_data(ALICE, PEER, &check("peer", "alice"));
            world.advance(seconds(1));
            let sent = world.unsigned(indication, &[&own_peer, &data]);
            world.send(second, &sent);
            let from_nat = format!("203.0.113.9:{}", 4000 + round);
            let heard = reaches(&mut world, &from_nat, &check("alice", "peer"));
            assert_eq!(heard, Ok(second), "{ip}");
            world.advance(seconds(1));
        }
        // Its peers stay its own, until it has not spoken with them for long.
        let heard = reaches(&mut world, PEER, &check("alice", "peer"));
        assert_eq!(heard, Ok(ALICE.address()), "{ip}");
        world.advance(seconds(31));
        let sent = world.unsigned(indication, &[&own_peer, &data]);
        world.send(second, &sent);
        for payload in [&check("alice", "peer")[..], b"media"] {
            assert_eq!(reaches(&mut world, PEER, payload), Ok(second), "{ip}");
        }
    }
}

#[test]
fn an_agent_with_two_allocations_on_one_address_hears_from_clients_here_by_the_living_one() {
    let mut world = with_ports(1);
    let crowd = Crowd::join(&mut world, 2);
    let [a, b] = &crowd.members[..] else {
        panic!("two have joined");
    };
    let (a, mut b) = (a.clone(), b.clone());
    call(&mut world, &crowd.members, &[(0, 1), (1, 0)]);
    meet(&mut world, &a, &b);
    // The same agent's, from another address of its host.
    let mut other = b.clone();
    other.address.client = SocketAddr::from(([192, 0, 2, 78], 1));
    let answer = other.ask(&mut world, METHOD_ALLOCATE, &[&udp()]);
    assert_eq!(answer.code(), 0);
    let everybody = [a.clone(), other.clone()];
    call(&mut world, &everybody, &[(1, 0)]);
    for _ in 0..4 {
        assert_eq!(hears(&mut world, &a, b"media"), Ok(b.address));
        let own = hears(&mut world, &other, &check(&a.ours(), &b.ours()));
        assert_eq!(own, Ok(a.address));
        let checked = hears(&mut world, &a, &check(&b.ours(), &a.ours()));
        assert_eq!(checked, Ok(b.address));
        world.advance(seconds(5));
    }
    // The first one is dead, as far as anybody can tell.
    world.advance(seconds(20));
    let own = hears(&mut world, &other, &check(&a.ours(), &b.ours()));
    assert_eq!(own, Ok(a.address));
    b.address = other.address;
    for payload in [&check(&b.ours(), &a.ours())[..], b"media"] {
        assert_eq!(hears(&mut world, &a, payload), Ok(b.address));
    }
}

#[test]
fn a_check_with_a_new_name_is_for_the_only_one_there_is() {
    let mut world = shared().permit(ALICE, PEER);
    world.send_data(ALICE, PEER, &check("peer", "alice"));
    let restarted = check("alice2", "peer2");
    let told_apart = reaches(&mut world, PEER, &restarted);
    assert_eq!(told_apart, Err(DropReason::Ambiguous));
    world.refresh(BOB, 0);
    assert_eq!(reaches(&mut world, PEER, &restarted), Ok(ALICE.address()));
}

#[test]
fn a_peer_of_an_ended_allocation_is_anybodys_two_minutes_later() {
    let mut world = shared().permit(ALICE, PEER);
    world.refresh(ALICE, 0);
    assert_eq!(permits(&mut world, BOB, &[SAME_IP]), 0);
    for (waited, heard) in [(119, Err(DropReason::Ambiguous)), (1, Ok(BOB.address()))] {
        world.advance(seconds(waited));
        assert_eq!(reaches(&mut world, PEER, b"x"), heard, "{waited}");
    }
}

#[test]
fn icmp_about_a_relayed_address_is_for_the_only_one_who_named_it() {
    let mut world = shared()
        .permit(ALICE, "198.51.100.1:49200")
        .permit(BOB, "198.51.100.1:49199");
    let gone = "198.51.100.1:49200";
    let icmp = Icmp::new(gone.parse::<SocketAddr>().unwrap().ip(), 3, 3, 0).unwrap();
    let told = world.icmp(ONLY, gone, icmp);
    assert!(matches!(told, Did::ToClient(client, _) if client == ALICE.address()));
    let mut world = world.permit(BOB, gone);
    let told = world.icmp(ONLY, gone, icmp).dropped();
    assert_eq!(told, DropReason::Ambiguous);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// ICE agents come and go; each has one partner, whose address it may or may not be told before. What a partner sends
    /// reaches its agent or nobody.
    #[test]
    fn nobody_hears_what_is_for_another(steps in prop::collection::vec(step(), 1..150)) {
        let mut world = with_ports(2);
        let mut crowd = Crowd::default();
        let mut delivered = HashMap::new();
        for step in steps {
            crowd.take(&mut world, step, &mut delivered)?;
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Join,
    Leave(usize),
    /// The agent permits its partner's address: as told, or with another port.
    Permit(usize, bool),
    Bind(usize),
    /// The agent checks the partner.
    Check(usize),
    /// The partner checks the agent, from the address that was told or from that of a symmetric NAT.
    Checked(usize, bool),
    /// The partner sends media, likewise.
    Media(usize, bool),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..12_usize;
    prop_oneof![
        2 => Just(Step::Join),
        1 => who.clone().prop_map(Step::Leave),
        4 => (who.clone(), any::<bool>()).prop_map(|(who, told)| Step::Permit(who, told)),
        2 => who.clone().prop_map(Step::Bind),
        4 => who.clone().prop_map(Step::Check),
        6 => (who.clone(), any::<bool>()).prop_map(|(who, told)| Step::Checked(who, told)),
        6 => (who, any::<bool>()).prop_map(|(who, told)| Step::Media(who, told)),
        1 => (1..200_u64).prop_map(Step::Wait),
    ]
}

#[derive(Clone, Debug)]
struct Member {
    number: usize,
    address: FiveTuple,
    credential: (String, String),
    relayed: SocketAddr,
    /// Whether it has permitted the partner's address since it joined, and until when.
    permitted: Option<Instant>,
    gone: bool,
    /// Nobody refreshes.
    expires_at: Instant,
}

#[derive(Default)]
struct Crowd {
    members: Vec<Member>,
}

impl Crowd {
    fn join(world: &mut World, count: usize) -> Self {
        let mut crowd = Self::default();
        for _ in 0..count {
            crowd.add(world);
        }
        crowd
    }

    fn add(&mut self, world: &mut World) {
        let number = self.members.len();
        let unique = world.snapshot().made_over(ALICE.address().transport);
        let address = FiveTuple {
            client: SocketAddr::from(([192, 0, 2, 77], 1024 + u16::try_from(unique).unwrap())),
            ..ALICE.address()
        };
        let credential = world.issue(&format!("guest{unique}"));
        let by = (credential.0.as_str(), credential.1.as_str());
        let answer = world.ask_as(address, by, METHOD_ALLOCATE, &[&udp()]);
        assert_eq!(answer.code(), 0);
        self.members.push(Member {
            number,
            address,
            relayed: relayed(&answer),
            credential,
            permitted: None,
            gone: false,
            expires_at: world.now.mono + *LIFETIMES.start(),
        });
    }

    fn take(
        &mut self,
        world: &mut World,
        step: Step,
        delivered: &mut HashMap<usize, usize>,
    ) -> Result<(), TestCaseError> {
        match step {
            Step::Join if self.members.len() < 12 => self.add(world),
            Step::Join => {}
            Step::Wait(time) => world.advance(seconds(time)),
            Step::Leave(who) => {
                if let Some(member) = self.present(who) {
                    member.gone = true;
                    let member = member.clone();
                    member.ask(world, METHOD_REFRESH, &[&lifetime(0)]);
                }
            }
            Step::Permit(who, told) => {
                if let Some(member) = self.present(who) {
                    let until = world.now.mono + seconds(300);
                    let peer = member.partner(told);
                    let code = member
                        .clone()
                        .ask(world, METHOD_CREATE_PERMISSION, &[&at(&peer)])
                        .code();
                    if code == 0 {
                        member.permitted = Some(until);
                    }
                }
            }
            Step::Bind(who) => {
                if let Some(member) = self.present(who) {
                    let until = world.now.mono + seconds(300);
                    let binding: [&dyn Setter; 2] =
                        [&ChannelNumber(0x4000), &at(&member.partner(true))];
                    if member
                        .clone()
                        .ask(world, METHOD_CHANNEL_BIND, &binding)
                        .code()
                        == 0
                    {
                        member.permitted = Some(until);
                    }
                }
            }
            Step::Check(who) => {
                if let Some(member) = self.present(who).cloned() {
                    let sent = check(&member.theirs(), &member.ours());
                    member.send(world, &member.partner(true), &sent);
                }
            }
            Step::Checked(who, told) => self.hears(world, who, told, true, delivered)?,
            Step::Media(who, told) => self.hears(world, who, told, false, delivered)?,
        }
        Ok(())
    }

    fn present(&mut self, who: usize) -> Option<&mut Member> {
        let count = self.members.len().max(1);
        let member = self.members.get_mut(who % count);
        member.filter(|member| !member.gone)
    }

    /// A partner sends, its agent there or not.
    fn hears(
        &mut self,
        world: &mut World,
        who: usize,
        told: bool,
        as_check: bool,
        delivered: &mut HashMap<usize, usize>,
    ) -> Result<(), TestCaseError> {
        if self.members.is_empty() {
            return Ok(());
        }
        let member = &self.members[who % self.members.len()];
        // Media of an agent's own that it does not permit, or not any more, may be taken for those of the only one who
        // permits the address, as the rule says: unless the exact peer is known.
        let now = world.now.mono;
        let permits = member.permitted.is_some_and(|until| now < until) && member.is_there(now);
        if !as_check && !permits && !told {
            return Ok(());
        }
        if !world.open.contains(&member.relay().0) {
            return Ok(());
        }
        let media = [0x80, 1, 2, 3];
        let payload = if as_check {
            check(&member.ours(), &member.theirs())
        } else {
            media.to_vec()
        };
        if let Did::ToClient(client, _) =
            world.peer_sends_to(member.relay(), &member.partner(told), &payload)
        {
            let named = self
                .members
                .iter()
                .find(|other| other.address == client)
                .unwrap();
            let alone = self
                .members
                .iter()
                .filter(|other| other.is_there(now) && other.relayed == member.relayed)
                .count()
                < 2;
            prop_assert!(
                named.number == member.number || (alone && !permits) || (!permits && !as_check)
            );
            *delivered.entry(member.number).or_default() += 1;
        }
        Ok(())
    }
}

impl Member {
    fn is_there(&self, now: Instant) -> bool {
        !self.gone && now < self.expires_at
    }

    fn relay(&self) -> RelayKey {
        RelayKey(u32::from(self.relayed.port()) - 49160)
    }

    /// Six partners are behind one address.
    fn partner(&self, told: bool) -> String {
        let port = if told { 5000 } else { 6000 } + self.number;
        format!("203.0.113.{}:{port}", self.number % 2)
    }

    fn ours(&self) -> String {
        format!("agent{}", self.number)
    }

    fn theirs(&self) -> String {
        format!("partner{}", self.number)
    }

    fn ask(&self, world: &mut World, method: Method, attributes: &[&dyn Setter]) -> Answer {
        let by = (self.credential.0.as_str(), self.credential.1.as_str());
        world.ask_as(self.address, by, method, attributes)
    }

    fn send(&self, world: &mut World, peer: &str, payload: &[u8]) {
        let data = raw(stun::attributes::ATTR_DATA, payload);
        let indication = MessageType::new(METHOD_SEND, CLASS_INDICATION);
        let bytes = world.unsigned(indication, &[&at(peer), &data]);
        world.send(self.address, &bytes);
    }
}

fn permits(world: &mut World, client: Client, peers: &[&str]) -> u16 {
    let peers: Vec<_> = peers.iter().map(|peer| at(peer)).collect();
    let attributes: Vec<&dyn Setter> = peers.iter().map(|peer| peer as &dyn Setter).collect();
    world
        .ask(client, METHOD_CREATE_PERMISSION, &attributes)
        .code()
}

fn relayed(answer: &Answer) -> SocketAddr {
    let mut relayed = turn::proto::relayaddr::RelayedAddress::default();
    relayed.get_from(&answer.0).unwrap();
    SocketAddr::new(relayed.ip, relayed.port)
}

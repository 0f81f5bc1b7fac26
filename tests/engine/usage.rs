//! Who relayed how much.

use setu::ident::UserId;
use setu::relay::engine::five_tuple::RelayKey;
use setu::relay::engine::{Traffic, Usage};

use crate::world::*;

#[test]
fn what_passes_is_counted_for_its_user_in_each_direction() {
    let mut world = World::with_allocation(ALICE).bind(ALICE, 0x4000, PEER);
    world.send_channel(ALICE, 0x4000, b"12345");
    world.send_data(ALICE, PEER, b"123");
    world.send_data(ALICE, PEER, b"");
    world.peer_sends(PEER, b"1234567");
    world.peer_sends("203.0.113.9:9", b"12");
    let mut world = world.allocate(BOB).permit(BOB, PEER);
    world.peer_sends_to(RelayKey(1), PEER, b"1");
    assert_eq!(usage(&world, alice()), relayed(1, (3, 8), (2, 9)));
    assert_eq!(usage(&world, bob()), relayed(1, (0, 0), (1, 1)));
    assert_eq!(world.engine.usage().len(), 2);
    let snapshot = world.snapshot();
    assert_eq!(snapshot.to_peers, traffic(3, 8));
    assert_eq!(snapshot.to_clients, traffic(3, 10));
}

#[test]
fn what_does_not_pass_is_not_counted() {
    let mut world = World::with_allocation(ALICE).permit(ALICE, PEER);
    world.send_data(ALICE, "203.0.113.8:7000", b"no permission");
    world.send_data(ALICE, "203.0.113.9:0", b"no port");
    world.send_channel(ALICE, 0x4000, b"no channel");
    world.peer_sends("203.0.113.8:7000", b"no permission");
    assert_eq!(usage(&world, alice()), relayed(1, (0, 0), (0, 0)));
}

#[test]
fn ended_allocations_stay_in_their_users_total_until_it_is_forgotten() {
    let mut world = World::with_allocation(ALICE);
    for _ in 0..3 {
        world = world.permit(ALICE, PEER);
        world.send_data(ALICE, PEER, b"12345");
        world.peer_sends(PEER, b"1");
        world.refresh(ALICE, 0);
        world = world.allocate(ALICE);
    }
    world.advance(seconds(3600));
    assert_eq!(usage(&world, alice()), relayed(0, (3, 15), (3, 3)));
    assert_eq!(world.engine.usage()[&alice()], usage(&world, alice()));
    world.engine.forget_usage(&alice());
    assert!(world.engine.usage().is_empty());
}

#[test]
fn a_user_is_not_in_the_answer_who_never_relayed() {
    let mut world = World::with_allocation(ALICE).allocate(BOB);
    world.refresh(BOB, 0);
    let asked = [alice(), bob(), UserId::Anyone];
    let answer = world.engine.usage_of(&asked);
    assert_eq!(answer.len(), 1);
    assert_eq!(answer[&alice()].allocations, 1);
}

fn usage(world: &World, user: UserId) -> Usage {
    world.engine.usage_of(std::slice::from_ref(&user))[&user]
}

fn relayed(allocations: u64, to_peers: (u64, u64), to_clients: (u64, u64)) -> Usage {
    Usage {
        allocations,
        to_peers: traffic(to_peers.0, to_peers.1),
        to_clients: traffic(to_clients.0, to_clients.1),
    }
}

fn traffic(packets: u64, bytes: u64) -> Traffic {
    Traffic { packets, bytes }
}

fn alice() -> UserId {
    UserId::Static(ALICE.user.into())
}

fn bob() -> UserId {
    UserId::Static(BOB.user.into())
}

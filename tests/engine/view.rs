//! Allocations as an operator sees and ends them.

use setu::ident::UserId;
use setu::relay::engine::permission::PERMISSION_LIFETIME;
use setu::relay::engine::{AllocationId, Traffic};

use crate::world::*;

#[test]
fn an_allocation_is_shown_as_it_is_now() {
    let mut world = World::with_allocation(ALICE)
        .permit(ALICE, "203.0.113.1:1")
        .bind(ALICE, 0x4000, PEER);
    world.send_channel(ALICE, 0x4000, b"12345");
    world.advance(PERMISSION_LIFETIME);
    let mut world = world.permit(ALICE, PEER);
    world.peer_sends(PEER, b"123");
    let [view] = &world.engine.allocations(world.now)[..] else {
        panic!("not one");
    };
    assert_eq!(view.user, UserId::Static(ALICE.user.into()));
    assert_eq!(view.client, ALICE.address());
    assert_eq!(view.relayed.to_string(), "198.51.100.1:49160");
    assert_eq!((view.age, view.remaining), (seconds(300), seconds(300)));
    // The other permission has lapsed.
    assert_eq!((view.permissions, view.channels), (1, 1));
    let traffic = |packets, bytes| Traffic { packets, bytes };
    assert_eq!(
        (view.to_peers, view.to_clients),
        (traffic(1, 5), traffic(1, 3))
    );
}

#[test]
fn one_that_has_expired_is_not_shown() {
    let mut world = World::with_allocation(ALICE);
    world.now = world.now.advanced(seconds(600));
    assert!(world.engine.allocations(world.now).is_empty());
}

#[test]
fn a_closed_allocation_is_gone_alone_and_its_user_may_make_another() {
    let mut world = World::with_allocation(ALICE).allocate(BOB);
    let id = id_of(&world, ALICE);
    assert!(world.close_allocation(id));
    assert_eq!((world.snapshot().allocations, world.open.len()), (1, 1));
    assert!(!world.close_allocation(id), "it is gone already");
    let world = world.allocate(ALICE);
    assert_ne!(id_of(&world, ALICE), id);
}

#[test]
fn allocations_are_found_by_their_users_and_a_few_by_a_part_of_the_name() {
    let world = World::with_allocation(ALICE).allocate(BOB);
    let bob = UserId::Static(BOB.user.into());
    let of_bob = world
        .engine
        .allocations_of(world.now, &[bob.clone(), UserId::Anyone]);
    assert_eq!(
        of_bob.iter().map(|view| &view.user).collect::<Vec<_>>(),
        [&bob]
    );
    let few = |text, at_most| {
        let found = world.engine.some_allocations(world.now, text, at_most);
        (found.matching, found.views.len())
    };
    assert_eq!(few("", 10), (2, 2));
    assert_eq!(few("", 1), (2, 1));
    assert_eq!(few(&BOB.user[1..], 10), (1, 1));
    assert_eq!(few("nobody", 10), (0, 0));
}

fn id_of(world: &World, client: Client) -> AllocationId {
    let views = world.engine.allocations(world.now);
    let view = views.iter().find(|view| view.client == client.address());
    AllocationId::parse(&view.unwrap().id).unwrap()
}

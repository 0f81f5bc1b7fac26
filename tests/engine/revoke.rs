//! A participant who leaves loses their allocations at once; what they were issued is refused.

use setu::ident::{ParticipantId, UserId};
use stun::message::*;

use crate::world::*;

#[test]
fn a_revoked_participant_loses_every_allocation_and_nobody_else_does() {
    let mut world = World::with_allocation(BOB);
    let (carol, dave) = (world.issue("carol"), world.issue("dave"));
    for (host, (name, password)) in [(3, &carol), (4, &carol), (5, &dave)] {
        let from = Client { host, ..ALICE }.address();
        assert_eq!(
            world
                .ask_as(from, (name, password), METHOD_ALLOCATE, &[&udp()])
                .code(),
            0
        );
    }
    revoke(&mut world, "carol");
    assert_eq!((world.snapshot().allocations, world.open.len()), (2, 2));
    let from = Client { host: 3, ..ALICE }.address();
    for method in [METHOD_ALLOCATE, METHOD_REFRESH] {
        assert_eq!(
            world
                .ask_as(from, (&carol.0, &carol.1), method, &[&udp()])
                .code(),
            401
        );
    }
}

#[test]
fn a_credential_issued_after_the_revocation_works_at_once() {
    let mut world = World::new();
    let before = world.issue("carol");
    revoke(&mut world, "carol");
    let after = world.issue("carol");
    let from = ALICE.address();
    assert_eq!(
        world
            .ask_as(from, (&before.0, &before.1), METHOD_ALLOCATE, &[&udp()])
            .code(),
        401
    );
    assert_eq!(
        world
            .ask_as(from, (&after.0, &after.1), METHOD_ALLOCATE, &[&udp()])
            .code(),
        0
    );
}

#[test]
fn a_revocation_that_comes_late_spares_what_a_newer_credential_made() {
    let mut world = World::new();
    let (carol, _) = (ParticipantId::parse("carol").unwrap(), world.issue("carol"));
    let until = world.credentials.revoke(world.now.unix.seconds(), &carol);
    let (name, password) = world.issue("carol");
    let made = world.ask_as(
        ALICE.address(),
        (&name, &password),
        METHOD_ALLOCATE,
        &[&udp()],
    );
    assert_eq!(made.code(), 0);
    world.revoke(&UserId::of(&carol), until);
    assert_eq!(world.snapshot().allocations, 1);
}

#[test]
fn revocations_of_many_are_remembered_until_their_credentials_expire() {
    let mut world = World::new();
    let names: Vec<_> = (0..300).map(|n| format!("participant-{n}")).collect();
    let issued: Vec<_> = names.iter().map(|name| world.issue(name)).collect();
    for name in &names {
        revoke(&mut world, name);
    }
    world.advance(CREDENTIAL_TTL - seconds(1));
    for (name, password) in &issued {
        assert_eq!(
            world
                .ask_as(
                    ALICE.address(),
                    (name, password),
                    METHOD_ALLOCATE,
                    &[&udp()]
                )
                .code(),
            401
        );
    }
}

#[test]
fn a_static_user_is_nobody_who_can_be_revoked_by_that_name() {
    let mut world = World::with_allocation(ALICE);
    revoke(&mut world, ALICE.user);
    assert_eq!(world.snapshot().allocations, 1);
    assert_eq!(world.refresh(ALICE, 600).code(), 0);
}

fn revoke(world: &mut World, participant: &str) {
    let participant = ParticipantId::parse(participant).unwrap();
    let until = world
        .credentials
        .revoke(world.now.unix.seconds(), &participant);
    world.revoke(&UserId::of(&participant), until);
}

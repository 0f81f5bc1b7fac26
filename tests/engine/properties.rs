//! What must always hold.

use proptest::prelude::*;
use setu::relay::engine::AllocationView;
use setu::relay::engine::five_tuple::RelayKey;
use setu::relay::wire::attributes::ATTR_ADDITIONAL_ADDRESS_FAMILY;
use stun::attributes::ATTR_REQUESTED_ADDRESS_FAMILY;
use stun::message::*;
use turn::proto::channum::ChannelNumber;

use crate::world::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_stranger_leaves_no_trace(datagrams in proptest::collection::vec(datagram(), 1..20)) {
        let mut world = World::new();
        for bytes in datagrams {
            if let Did::Answered(answer) = world.send(ALICE.address(), &bytes) {
                prop_assert!(2 * (28 + answer.0.raw.len()) <= 5 * (28 + bytes.len()));
            }
        }
        let snapshot = world.snapshot();
        prop_assert_eq!((snapshot.allocations, world.open.len()), (0, 0));
        prop_assert_eq!(world.engine.poll_timeout(), None);
    }

    #[test]
    fn a_broken_request_makes_no_allocation(at in 0..1000_usize, mask in 1..=255_u8, cut in 0..1000_usize) {
        let mut world = World::new();
        let request = world.signed(ALICE, METHOD_ALLOCATE, &[&udp(), &lifetime(900)]);
        let mut flipped = request.clone();
        flipped[at % request.len()] ^= mask;
        world.send(ALICE.address(), &flipped);
        world.send(ALICE.address(), &request[..cut % request.len()]);
        prop_assert_eq!((world.snapshot().allocations, world.open.len()), (0, 0));
    }

    #[test]
    fn any_bytes_from_the_proven_do_no_harm(datagrams in proptest::collection::vec(datagram(), 1..20)) {
        let mut world = World::with_allocation(ALICE).bind(ALICE, 0x4000, PEER);
        for bytes in datagrams {
            world.send(ALICE.address(), &bytes);
            world.peer_sends_to(RelayKey(0), PEER, &bytes);
        }
        prop_assert_eq!((world.snapshot().allocations, world.open.len()), (1, 1));
    }

    #[test]
    fn every_relay_comes_back(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        world.has_ipv6 = true;
        for step in steps {
            take(&mut world, step);
            let relayed = |view: &AllocationView| 1 + usize::from(view.additional_relayed.is_some());
            let views = world.engine.allocations(world.now);
            prop_assert_eq!(world.snapshot().allocations, views.len() as u64);
            prop_assert_eq!(world.open.len(), views.iter().map(relayed).sum::<usize>());
            let due = world.engine.poll_timeout();
            prop_assert!(due.is_some() || world.open.is_empty(), "an allocation without a deadline");
        }
        world.advance(seconds(3600));
        prop_assert_eq!((world.snapshot().allocations, world.open.len()), (0, 0));
        prop_assert_eq!(world.engine.poll_timeout(), None);
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Allocate(u64),
    AllocateDual,
    Refresh(u64),
    RefreshFamily(u8, u64),
    Permit,
    Bind(u16),
    Close,
    Wait(u64),
}

fn step() -> impl Strategy<Value = (u8, Step)> {
    let step = prop_oneof![
        (0..4000_u64).prop_map(Step::Allocate),
        Just(Step::AllocateDual),
        prop_oneof![Just(0), 1..4000_u64].prop_map(Step::Refresh),
        (1..3_u8, prop_oneof![Just(0), 1..4000_u64]).prop_map(|(f, s)| Step::RefreshFamily(f, s)),
        Just(Step::Permit),
        (0x4000..0x4004_u16).prop_map(Step::Bind),
        Just(Step::Close),
        (0..700_u64).prop_map(Step::Wait),
    ];
    (1..7_u8, step)
}

fn take(world: &mut World, (host, step): (u8, Step)) {
    let client = Client {
        host,
        ..if host % 2 == 0 { ALICE } else { BOB }
    };
    world.fresh_nonce(client.address());
    match step {
        Step::Allocate(asked) => {
            drop(world.ask(client, METHOD_ALLOCATE, &[&udp(), &lifetime(asked)]))
        }
        Step::AllocateDual => {
            let v6 = raw(ATTR_ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
            drop(world.ask(client, METHOD_ALLOCATE, &[&udp(), &v6]));
        }
        Step::RefreshFamily(family, asked) => {
            let family = raw(ATTR_REQUESTED_ADDRESS_FAMILY, &[family, 0, 0, 0]);
            drop(world.ask(client, METHOD_REFRESH, &[&lifetime(asked), &family]));
        }
        Step::Refresh(asked) => drop(world.refresh(client, asked)),
        Step::Permit => drop(world.ask(client, METHOD_CREATE_PERMISSION, &[&at(PEER)])),
        Step::Bind(number) => {
            let peer = at(&format!("203.0.113.{host}:7000"));
            drop(world.ask(
                client,
                METHOD_CHANNEL_BIND,
                &[&ChannelNumber(number), &peer],
            ));
        }
        Step::Close => world.close_connection(client.address()),
        Step::Wait(by) => world.advance(seconds(by)),
    }
}

/// Noise, noise behind a right header, and noise in attributes.
fn datagram() -> impl Strategy<Value = Vec<u8>> {
    let noise = || proptest::collection::vec(any::<u8>(), 0..100);
    let attribute = (0..0x30_u16, noise()).prop_map(|(typ, value)| (typ, value));
    let attributes = proptest::collection::vec(attribute, 0..6);
    let typ = (
        prop_oneof![
            Just(1_u16),
            Just(3),
            Just(4),
            Just(8),
            Just(9),
            Just(0x16),
            any::<u16>()
        ],
        attributes,
    );
    prop_oneof![
        noise(),
        noise().prop_map(|body| [&[0x40, 0, 0, 10][..], &body].concat()),
        typ.prop_map(|(typ, attributes)| message(typ, &attributes)),
    ]
}

fn message(typ: u16, attributes: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (typ, value) in attributes {
        body.extend_from_slice(&typ.to_be_bytes());
        body.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
        body.extend_from_slice(value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let length = u16::try_from(body.len()).unwrap();
    [
        &typ.to_be_bytes(),
        &length.to_be_bytes(),
        &MAGIC_COOKIE.to_be_bytes()[..],
        &[9; 12],
        &body,
    ]
    .concat()
}

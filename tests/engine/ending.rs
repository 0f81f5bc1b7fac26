//! How allocations end: counted, and told in one line each.

use std::io::{self, Write};
use std::sync::{Arc, LazyLock, Mutex};

use serde_json::{Value, json};
use setu::clock::UnixSeconds;
use setu::ident::UserId;
use setu::relay::engine::{AllocationId, Ending};
use stun::message::METHOD_ALLOCATE;
use tracing::{Dispatch, subscriber::NoSubscriber};

use crate::world::*;

/// (how it ends, what ends it)
type Case = (Ending, fn(&mut World));

const CASES: &[Case] = &[
    (Ending::Expired, |world| world.advance(seconds(601))),
    (Ending::Released, |world| {
        world.refresh(ALICE, 0);
    }),
    (Ending::Disconnected, |world| {
        world.close_connection(ALICE.address());
    }),
    (Ending::Closed, |world| {
        let all = world.engine.allocations(world.now);
        let id = AllocationId::parse(&all[0].id).unwrap();
        assert!(world.close_allocation(id));
    }),
    (Ending::Stopped, |world| {
        world.engine.end_all(world.now, Ending::Stopped);
        while world.engine.poll_effect().is_some() {}
    }),
];

#[test]
fn every_end_is_counted_and_told_in_one_line() {
    for (ending, end) in CASES {
        let lines = logged(|| {
            let mut world = World::with_allocation(ALICE).bind(ALICE, 0x4000, PEER);
            world.advance(seconds(7));
            world.send_channel(ALICE, 0x4000, b"12345");
            world.peer_sends(PEER, b"12");
            world.peer_sends(PEER, b"1");
            end(&mut world);
            let snapshot = world.snapshot();
            assert_eq!(snapshot.allocations, 0, "{ending:?}");
            for other in Ending::ALL {
                let expected = u64::from(other == *ending);
                assert_eq!(snapshot.ended(other), expected, "{ending:?}: {other:?}");
            }
        });
        let [line] = lines.as_slice() else {
            panic!("{ending:?}: {lines:?}");
        };
        let seconds = if *ending == Ending::Expired { 608 } else { 7 };
        let expected = json!({
            "message": "allocation gone",
            "user": "alice",
            "transport": "udp",
            "relays": "udp",
            "relayed_port": line["relayed_port"],
            "seconds": seconds,
            "to_peers_packets": 1,
            "to_peers_bytes": 5,
            "to_clients_packets": 2,
            "to_clients_bytes": 3,
            "why": ending.name(),
        });
        assert_eq!(line, &expected);
    }
}

#[test]
fn a_revoked_participant_is_told_of_by_the_name_alone() {
    let lines = logged(|| {
        let mut world = World::new();
        let (username, password) = world.issue("carol\nuser=root");
        let made = world.ask_as(
            ALICE.address(),
            (&username, &password),
            METHOD_ALLOCATE,
            &[&udp()],
        );
        assert_eq!(made.code(), 0);
        let carol = UserId::Participant("carol\nuser=root".into());
        world.revoke(&carol, UnixSeconds(u64::MAX));
        assert_eq!(world.snapshot().ended(Ending::Revoked), 1);
    });
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0]["user"], "carol\nuser=root");
    assert_eq!(lines[0]["why"], "revoked");
}

/// Who hear nothing. Where somebody is the only one who listens in a process, tests on other threads decide by themselves
/// that nobody does, for all.
static NOT_THE_ONLY_ONES: LazyLock<[Dispatch; 2]> =
    LazyLock::new(|| [(); 2].map(|()| Dispatch::new(NoSubscriber::new())));

/// The fields of what is logged meanwhile, at the level that servers begin with.
fn logged(doing: impl FnOnce()) -> Vec<Value> {
    LazyLock::force(&NOT_THE_ONLY_ONES);
    let buffer = Buffer::default();
    let writer = buffer.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, doing);
    let text = buffer.0.lock().unwrap();
    let lines = text.split(|byte| *byte == b'\n');
    let lines = lines.filter(|line| !line.is_empty());
    let parse = |line| serde_json::from_slice::<Value>(line).unwrap()["fields"].take();
    lines.map(parse).collect()
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

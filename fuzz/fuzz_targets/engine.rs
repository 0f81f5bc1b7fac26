//! A script of clients, peers and time against the sans-IO engine: many requests rightly signed, so that what lies
//! behind the credentials is reached too.

#![no_main]
#![allow(
    dead_code,
    reason = "the test world and its bytes offer more than a script needs"
)]

#[path = "../../tests/requirements/bytes.rs"]
mod bytes;
mod tape;
#[path = "../../tests/engine/world.rs"]
mod world;

use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use setu::clock::UnixSeconds;
use setu::ident::UserId;
use setu::relay::engine::five_tuple::{FiveTuple, RelayKey, Transport};

use bytes::{Builder, Class, attr, channel_data, key, key_sha256, userhash};
use tape::Tape;
use world::{ALICE, BOB, Did, REALM, World, seconds};

fuzz_target!(|script: &[u8]| {
    let mut tape = Tape(script);
    let mut world = World::new();
    world.has_ipv6 = true;
    let carol = world.issue("carol");
    for _ in 0..STEPS_MAX {
        if tape.is_over() {
            break;
        }
        step(&mut world, &mut tape, &carol);
        let snapshot = world.snapshot();
        assert!(snapshot.allocations <= (STATIONS * TRANSPORTS.len()) as u64);
        assert!(snapshot.allocations == 0 || !world.open.is_empty());
    }
    // Nothing outlives its lifetime, whatever was done to it.
    for _ in 0..4 {
        world.advance(seconds(3600));
    }
    assert_eq!((world.snapshot().allocations, world.open.len()), (0, 0));
});

fn step(world: &mut World, tape: &mut Tape<'_>, carol: &(String, String)) {
    match tape.byte() % 12 {
        0 => {
            let (from, count) = (station(tape), tape.byte());
            stranger(world, from, tape.bytes(count.into()));
        }
        1..=4 => request(world, tape, carol),
        5 => {
            let from = station(tape);
            let indication = attributes(Builder::indication(tape.choose(METHODS)), tape);
            world.send(from, &indication.done());
        }
        6 => {
            let from = station(tape);
            let indication = Builder::indication(bytes::SEND).peer(tape.choose(PEERS));
            let count = tape.byte();
            world.send(from, &indication.data(tape.bytes(count.into())).done());
        }
        7 => {
            let (from, number, length) = (station(tape), tape.choose(CHANNELS), tape.byte());
            let payload = tape.bytes(tape.0.first().copied().unwrap_or_default().into());
            world.send(from, &channel_data(number, length.into(), payload));
        }
        8 => {
            let (relay, peer, count) = (tape.byte() % 4, tape.choose(PEERS), tape.byte());
            world.peer_sends_to(RelayKey(relay.into()), peer, tape.bytes(count.into()));
        }
        9 => world.advance(seconds(u64::from(tape.byte()) * 16)),
        10 => world.close_connection(station(tape)),
        11 => revoke(world, tape),
        12.. => {}
    }
}

/// Bytes without a proof: the answer, if there is one, is small.
fn stranger(world: &mut World, from: FiveTuple, datagram: &[u8]) {
    if let Did::Answered(answer) = world.send(from, datagram) {
        assert!(2 * (28 + answer.0.raw.len()) <= 5 * (28 + datagram.len()));
    }
}

fn request(world: &mut World, tape: &mut Tape<'_>, (carol, code): &(String, String)) {
    let from = station(tape);
    let (user, password) = match tape.byte() % 4 {
        0 => (ALICE.user, ALICE.password),
        1 => (BOB.user, BOB.password),
        2 => (carol.as_str(), code.as_str()),
        _ => ("mallory", "wrong"),
    };
    let nonce = world.nonce(from);
    let how = tape.byte();
    let request = match how & 0x40 {
        0 => Builder::request(tape.choose(METHODS)),
        _ => Builder::with_id(tape.choose(METHODS), Class::Request, [tape.byte() % 4; 12]),
    };
    let request = attributes(request, tape);
    let request = match how & 0x20 {
        0 => request.login(user, REALM, &nonce),
        _ => request
            .attr(attr::USERHASH, &userhash(user, REALM))
            .text(attr::REALM, REALM)
            .text(attr::NONCE, &nonce),
    };
    let key = match how & 0x10 {
        0 => key(user, REALM, password),
        _ => key_sha256(user, REALM, password),
    };
    let request = match how & 0x0C {
        0 | 4 => request.integrity(&key),
        8 => request.integrity_sha256(&key),
        _ => request.integrity(&key).integrity_sha256(&key),
    };
    let request = match how & 0x03 {
        0 | 1 => request,
        2 => request.fingerprint(),
        _ => attributes(request, tape),
    };
    world.send(from, &request.done());
}

/// Up to seven, half of them as they should be.
fn attributes(mut request: Builder, tape: &mut Tape<'_>) -> Builder {
    for _ in 0..tape.byte() % 8 {
        request = match tape.byte() % 16 {
            0 => request.udp(),
            1 => request.attr(attr::REQUESTED_TRANSPORT, &[6, 0, 0, 0]),
            2 => request.lifetime(tape.word().into()),
            3 => request.family(tape.byte() % 4),
            4 => request.additional(tape.byte() % 4),
            5 => request.channel(tape.choose(CHANNELS)),
            6 => request.peer(tape.choose(PEERS)),
            7 => request.attr(attr::EVEN_PORT, &[tape.byte()]),
            8 => request.attr(attr::RESERVATION_TOKEN, &world::TOKEN.0),
            9 => request.attr(attr::DONT_FRAGMENT, &[]),
            10 => request.u32(0x002A, tape.byte().into()),
            11 => request.u32(attr::PASSWORD_ALGORITHM, u32::from(tape.byte() % 4) << 16),
            12 => request.attr(attr::PASSWORD_ALGORITHMS, &[0, 2, 0, 0, 0, 1, 0, 0]),
            _ => {
                let (typ, count) = (tape.word() & 0x80FF, tape.byte() % 64);
                request.attr(typ, tape.bytes(count.into()))
            }
        };
    }
    request
}

fn revoke(world: &mut World, tape: &mut Tape<'_>) {
    let user = match tape.byte() % 2 {
        0 => UserId::Static("alice".into()),
        _ => UserId::Participant("carol".into()),
    };
    world.revoke(&user, UnixSeconds(u64::MAX));
}

fn station(tape: &mut Tape<'_>) -> FiveTuple {
    let byte = usize::from(tape.byte());
    let (host, transport) = (
        byte % STATIONS,
        TRANSPORTS[byte / STATIONS % TRANSPORTS.len()],
    );
    FiveTuple {
        transport,
        client: SocketAddr::from(([192, 0, 2, host as u8 + 1], 5000)),
        server: "198.51.100.1:3478".parse().unwrap(),
    }
}

const STEPS_MAX: usize = 64;
const STATIONS: usize = 4;
const TRANSPORTS: &[Transport] = &[Transport::Udp, Transport::Tcp, Transport::Tls];
const METHODS: &[u16] = &[
    bytes::ALLOCATE,
    bytes::REFRESH,
    bytes::CREATE_PERMISSION,
    bytes::CHANNEL_BIND,
    bytes::BINDING,
    bytes::SEND,
    bytes::DATA,
    0x00A,
    0x00B,
    0x00C,
];
const CHANNELS: &[u16] = &[0x4000, 0x4001, 0x4FFF, 0x5000, 0x3FFF, 0x7FFF];
const PEERS: &[&str] = &[
    "203.0.113.9:7000",
    "203.0.113.9:7001",
    "203.0.113.10:7000",
    "[2001:db8::9]:7000",
    "203.0.113.66:7000",
    "127.0.0.1:7000",
    "[::ffff:127.0.0.1]:7000",
    "198.51.100.1:49160",
    "203.0.113.9:0",
];

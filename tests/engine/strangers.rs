//! What those who have proved nothing are answered, and how little of it.

use setu::relay::engine::five_tuple::FiveTuple;
use stun::attributes::*;
use stun::message::*;

use crate::world::*;

const METHODS: [Method; 4] = [
    METHOD_ALLOCATE,
    METHOD_REFRESH,
    METHOD_CREATE_PERMISSION,
    METHOD_CHANNEL_BIND,
];

/// IP and UDP headers.
fn headers(from: FiveTuple) -> usize {
    match from.client.is_ipv4() {
        true => 28,
        false => 48,
    }
}

fn over_ipv6() -> FiveTuple {
    FiveTuple {
        client: "[2001:db8::9]:5000".parse().unwrap(),
        server: "[2001:db8:1::1]:3478".parse().unwrap(),
        ..ALICE.address()
    }
}

/// Every kind of datagram that an answer can be had for without a credential.
fn asked(world: &mut World, nonce: &str) -> Vec<(&'static str, Vec<u8>)> {
    let unknown: Vec<_> = (0..40).map(|n| raw(AttrType(0x7001 + n), b"")).collect();
    let unknown: Vec<_> = unknown.iter().map(|typ| typ as &dyn Setter).collect();
    let (user, realm) = (text(ATTR_USERNAME, "a"), text(ATTR_REALM, ""));
    let (nonce, forged) = (text(ATTR_NONCE, nonce), text(ATTR_NONCE, ""));
    let hash = raw(ATTR_USER_HASH, b"");
    let integrity = raw(ATTR_MESSAGE_INTEGRITY, &[0; 20]);
    let cut = raw(ATTR_MESSAGE_INTEGRITY, &[]);
    let strong = raw(ATTR_MESSAGE_INTEGRITY_SHA256, &[0; 32]);
    let cut_strong = raw(ATTR_MESSAGE_INTEGRITY_SHA256, &[]);
    let mut asked = Vec::new();
    for method in METHODS {
        let cases: [(&'static str, &[&dyn Setter]); 9] = [
            ("bare", &[]),
            ("name only", &[&user]),
            ("unknown attribute", &unknown[..1]),
            ("integrity only", &[&cut]),
            ("SHA-256 integrity only", &[&cut_strong]),
            ("cut integrity", &[&user, &realm, &forged, &cut_strong]),
            ("wrong integrity", &[&user, &realm, &forged, &integrity]),
            ("wrong SHA-256", &[&user, &realm, &nonce, &strong]),
            ("unknown hash", &[&hash, &realm, &forged, &integrity]),
        ];
        let typ = MessageType::new(method, CLASS_REQUEST);
        for (name, attributes) in cases {
            asked.push((name, world.unsigned(typ, attributes)));
        }
    }
    let typ = MessageType::new(METHOD_BINDING, CLASS_REQUEST);
    asked.push(("binding", world.unsigned(typ, &[])));
    for count in [1, 2, 3, 40] {
        let request = world.unsigned(typ, &unknown[..count]);
        asked.push(("binding with unknown attributes", request));
    }
    asked
}

#[test]
fn r0d_r93_no_unproven_datagram_is_answered_with_more_than_two_and_a_half_times_its_size() {
    for from in [ALICE.address(), over_ipv6()] {
        let mut world = World::new();
        let nonce = world.nonce(from);
        for (name, bare) in asked(&mut world, &nonce) {
            for request in [fingerprinted(&bare), bare] {
                let answer = world.send(from, &request).answer();
                let (sent, got) = (headers(from) + request.len(), answer.0.raw.len());
                let got = headers(from) + got;
                assert!(2 * got <= 5 * sent, "{name}: {got} bytes for {sent}");
                let signed = [ATTR_MESSAGE_INTEGRITY, ATTR_MESSAGE_INTEGRITY_SHA256];
                assert!(!signed.iter().any(|typ| answer.has(*typ)), "{name}");
                assert!(!answer.has(ATTR_SOFTWARE), "{name}");
            }
        }
    }
}

#[test]
fn r0d_the_smallest_allocate_gets_120_bytes_on_the_wire() {
    let mut world = World::new();
    let bare = world.unsigned(MessageType::new(METHOD_ALLOCATE, CLASS_REQUEST), &[]);
    let answer = world.send(ALICE.address(), &bare).answer();
    assert_eq!((bare.len() + 28, answer.0.raw.len() + 28), (48, 120));
}

#[test]
fn r38_hostile_user_names_are_nobodys() {
    let (from, mut world) = (ALICE.address(), World::new());
    let long: Vec<_> = [508, 509, 513, 763, 1200].map(|n| vec![b'a'; n]).into();
    let mut names: Vec<&[u8]> = vec![
        b"",
        b"\0",
        b"alice\0",
        b"\0alice",
        b"Alice",
        b"ALICE",
        b" alice",
        b"alice ",
        b"\"alice\"",
        b"alice\r\nSet-Cookie: x",
        b"%s%s%n",
        b"{0}",
        b"\xFF\xFE",
        b"\xC0\x80",
        b"alice'; DROP TABLE users; --",
        b"99999999999999999999:x",
    ];
    names.extend(long.iter().map(Vec::as_slice));
    for name in names {
        let nonce = world.nonce(from);
        let (user, realm, nonce) = (
            raw(ATTR_USERNAME, name),
            text(ATTR_REALM, REALM),
            text(ATTR_NONCE, &nonce),
        );
        let typ = MessageType::new(METHOD_ALLOCATE, CLASS_REQUEST);
        for integrity in [key("alice", "north"), key("", ""), key("\0", "north")] {
            let request = world.unsigned(typ, &[&udp(), &user, &realm, &nonce, &integrity]);
            let answer = world.send(from, &request).answer();
            assert_eq!(answer.code(), 401, "{}", name.escape_ascii());
        }
    }
    assert_eq!(world.snapshot().allocations, 0);
}

#[test]
fn r33_the_realm_of_a_request_makes_no_key() {
    let (from, mut world) = (ALICE.address(), World::new());
    let nonce = world.nonce(from);
    let theirs = stun::integrity::MessageIntegrity::new_long_term_integrity(
        "alice".into(),
        "elsewhere".into(),
        "north".into(),
    );
    for (realm, integrity, code) in [
        ("elsewhere", theirs, 401),
        ("elsewhere", key("alice", "north"), 0),
        ("", key("alice", "north"), 437),
    ] {
        let (user, realm, nonce) = (
            text(ATTR_USERNAME, "alice"),
            text(ATTR_REALM, realm),
            text(ATTR_NONCE, &nonce),
        );
        let typ = MessageType::new(METHOD_ALLOCATE, CLASS_REQUEST);
        let request = world.unsigned(typ, &[&udp(), &user, &realm, &nonce, &integrity]);
        assert_eq!(world.send(from, &request).answer().code(), code);
    }
}

#[test]
fn r10_of_repeated_attributes_the_first_counts() {
    let mut world = World::new();
    let second = lifetime(1800);
    let answer = world.ask(
        ALICE,
        METHOD_ALLOCATE,
        &[&udp(), &lifetime(900), &second, &tcp()],
    );
    assert_eq!((answer.code(), answer.lifetime_seconds()), (0, 900));
    let (first, other) = (text(ATTR_USERNAME, "bob"), text(ATTR_REALM, "elsewhere"));
    let request = world.signed(ALICE, METHOD_REFRESH, &[&first, &other]);
    assert_eq!(world.send(ALICE.address(), &request).answer().code(), 401);
}

#[test]
fn r10_r88_padding_is_written_as_zero_and_read_as_anything() {
    let mut world = World::new();
    let mut request = world.unsigned(BINDING_REQUEST, &[&raw(AttrType(0x8FFF), b"x")]);
    let length = request.len();
    request[length - 3..].copy_from_slice(b"\xAA\xBB\xCC");
    assert_eq!(world.send(ALICE.address(), &request).answer().code(), 0);
    let bare = world.unsigned(MessageType::new(METHOD_ALLOCATE, CLASS_REQUEST), &[]);
    let answer = world.send(ALICE.address(), &bare).answer();
    let mut at = 20;
    for found in &answer.0.attributes.0 {
        let end = at + 4 + usize::from(found.length);
        let padded = end.next_multiple_of(4);
        assert!(answer.0.raw[end..padded].iter().all(|byte| *byte == 0));
        at = padded;
    }
}

#[test]
fn r6_unknown_attributes_are_named_once_each_and_known_ones_are_not() {
    let mut world = World::new();
    let (one, two) = (raw(AttrType(0x7002), b""), raw(AttrType(0x7001), b"abc"));
    let optional = raw(AttrType(0xFF01), b"");
    let misplaced = raw(ATTR_MAPPED_ADDRESS, &[0; 8]);
    let code = raw(ATTR_ERROR_CODE, &[0; 4]);
    let request = world.unsigned(
        BINDING_REQUEST,
        &[&one, &two, &optional, &misplaced, &one, &code],
    );
    let answer = world.send(ALICE.address(), &request).answer();
    assert_eq!(answer.code(), 420);
    let named = answer.0.get(ATTR_UNKNOWN_ATTRIBUTES).unwrap();
    assert_eq!(named, [0x70, 0x01, 0x70, 0x02]);
    let request = world.unsigned(BINDING_REQUEST, &[&optional, &misplaced, &code]);
    assert_eq!(world.send(ALICE.address(), &request).answer().code(), 0);
}

#[test]
fn r14_software_is_told_to_the_proven_only() {
    let mut world = World::with(|settings| settings.software = Some("setu".to_owned()));
    let bare = world.unsigned(MessageType::new(METHOD_ALLOCATE, CLASS_REQUEST), &[]);
    assert!(
        !world
            .send(ALICE.address(), &bare)
            .answer()
            .has(ATTR_SOFTWARE)
    );
    for method in [METHOD_ALLOCATE, METHOD_REFRESH] {
        let answer = world.ask(ALICE, method, &[&udp()]);
        assert_eq!(answer.text(ATTR_SOFTWARE), "setu");
    }
}

//! Long-term and time-limited credentials ([RFC 8489 §9.2](https://www.rfc-editor.org/rfc/rfc8489#section-9.2)).

use setu::relay::engine::{Auth, DropReason};
use stun::attributes::*;
use stun::fingerprint::FINGERPRINT;
use stun::message::*;

use crate::world::*;

const TURN_METHODS: [Method; 4] = [
    METHOD_ALLOCATE,
    METHOD_REFRESH,
    METHOD_CREATE_PERMISSION,
    METHOD_CHANNEL_BIND,
];

#[test]
fn r23_r24_an_unsigned_request_is_challenged_with_little() {
    for method in TURN_METHODS {
        let mut world = World::new();
        let unknown = raw(AttrType(0x7001), b"");
        for attributes in [
            &[][..],
            &[&unknown as &dyn Setter],
            &[&text(ATTR_USERNAME, "alice")],
        ] {
            let request = world.unsigned(MessageType::new(method, CLASS_REQUEST), attributes);
            let answer = world.send(ALICE.address(), &request).answer();
            assert_eq!(
                (answer.code(), answer.text(ATTR_REALM).as_str()),
                (401, REALM)
            );
            let shape = [
                ATTR_ERROR_CODE,
                ATTR_REALM,
                ATTR_NONCE,
                ATTR_PASSWORD_ALGORITHMS,
            ]
            .map(|typ| typ.0);
            assert_eq!(
                answer
                    .shape()
                    .iter()
                    .map(|(typ, _)| *typ)
                    .collect::<Vec<_>>(),
                shape
            );
            let on_the_wire = |bytes: &[u8]| 28 + bytes.len();
            assert!(2 * on_the_wire(&answer.0.raw) <= 5 * on_the_wire(&request));
        }
        assert_eq!(world.snapshot().allocations, 0);
    }
}

#[test]
fn r26_r41_r42_whoever_is_refused_learns_nothing_from_the_answer() {
    let mut world = World::new();
    let (name, password) = world.issue("carol");
    let (expiry, _) = name.split_once(':').unwrap();
    let later = format!("{}:carol", expiry.parse::<u64>().unwrap() + 1);
    let other = format!("{expiry}:dave");
    let long = "x".repeat(600);
    let cases = [
        ("wrong password", "alice", "south"),
        ("empty password", "alice", ""),
        ("unknown user", "mallory", "north"),
        ("moved expiry", &later, &password),
        ("other name", &other, &password),
        ("the secret itself", &name, "current"),
        ("expiry 0", "0:carol", &password),
        ("name first", "carol:99999999999", &password),
        ("empty name", "", "north"),
        ("name of 600 bytes", &long, "north"),
    ];
    let mut shapes = Vec::new();
    for (case, username, password) in cases {
        let answer = world.ask_as(
            ALICE.address(),
            (username, password),
            METHOD_ALLOCATE,
            &[&udp()],
        );
        assert_eq!(answer.code(), 401, "{case}");
        shapes.push(answer.shape());
    }
    world.advance(CREDENTIAL_TTL);
    world.fresh_nonce(ALICE.address());
    let expired = world.ask_as(
        ALICE.address(),
        (&name, &password),
        METHOD_ALLOCATE,
        &[&udp()],
    );
    assert_eq!(expired.code(), 401);
    shapes.push(expired.shape());
    shapes.dedup();
    assert_eq!(shapes.len(), 1);
    assert_eq!(world.snapshot().allocations, 0);
}

#[test]
fn r38_a_user_name_that_is_no_text_names_nobody() {
    let mut world = World::new();
    let nonce = world.nonce(ALICE.address());
    let (user, realm, nonce) = (
        raw(ATTR_USERNAME, b"\xFF\0alice"),
        text(ATTR_REALM, REALM),
        text(ATTR_NONCE, &nonce),
    );
    let typ = MessageType::new(METHOD_ALLOCATE, CLASS_REQUEST);
    let request = world.unsigned(typ, &[&udp(), &user, &realm, &nonce, &key("", "")]);
    assert_eq!(world.send(ALICE.address(), &request).answer().code(), 401);
}

#[test]
fn r25_a_signature_needs_name_realm_and_nonce() {
    let mut world = World::new();
    let nonce = world.nonce(ALICE.address());
    let (user, realm, nonce) = (
        text(ATTR_USERNAME, "alice"),
        text(ATTR_REALM, REALM),
        text(ATTR_NONCE, &nonce),
    );
    let (integrity, cut) = (key("alice", "north"), raw(ATTR_MESSAGE_INTEGRITY, &[0; 19]));
    let cases: &[(&str, &[&dyn Setter])] = &[
        ("no user name", &[&realm, &nonce, &integrity]),
        ("no realm", &[&user, &nonce, &integrity]),
        ("no nonce", &[&user, &realm, &integrity]),
        (
            "name behind the signature",
            &[&realm, &nonce, &integrity, &user],
        ),
        ("signature cut short", &[&user, &realm, &nonce, &cut]),
    ];
    for (name, attributes) in cases {
        let request = world.unsigned(MessageType::new(METHOD_REFRESH, CLASS_REQUEST), attributes);
        let answer = world.send(ALICE.address(), &request).answer();
        assert_eq!(answer.shape().len(), 1, "{name}");
        assert_eq!(answer.code(), 400, "{name}");
    }
}

#[test]
fn r27_a_nonce_that_is_stale_or_somebody_elses_is_replaced() {
    let mut world = World::new();
    let old = world.nonce(ALICE.address());
    let of_bob = world.nonce(BOB.address());
    world.advance(seconds(3600));
    for nonce in [&old, &of_bob, "", "forged", &"A".repeat(24)] {
        let request = world.signed_with(
            nonce,
            (ALICE.user, ALICE.password),
            METHOD_ALLOCATE,
            &[&udp()],
        );
        let answer = world.send(ALICE.address(), &request).answer();
        assert_eq!(answer.code(), 438, "{nonce}");
        assert!(!answer.has(ATTR_MESSAGE_INTEGRITY));
        let fresh = answer.text(ATTR_NONCE);
        let request = world.signed_with(&fresh, (ALICE.user, ALICE.password), METHOD_REFRESH, &[]);
        assert_eq!(world.send(ALICE.address(), &request).answer().code(), 437);
    }
    let request = world.signed_with(&old, (ALICE.user, "wrong"), METHOD_ALLOCATE, &[&udp()]);
    assert_eq!(world.send(ALICE.address(), &request).answer().code(), 401);
}

#[test]
fn r30_r31_what_follows_the_signature_counts_for_nothing() {
    let mut world = World::new();
    let request = world.signed(ALICE, METHOD_ALLOCATE, &[&udp()]);
    let mut message = decoded(&request).0;
    message.add(AttrType(0x7001), b"unknown");
    message.add(ATTR_LIFETIME, &3000_u32.to_be_bytes());
    message.add(ATTR_MESSAGE_INTEGRITY, &[0; 20]);
    let answer = world.send(ALICE.address(), &message.raw).answer();
    assert_eq!((answer.code(), answer.lifetime_seconds()), (0, 600));
}

#[test]
fn r12_a_fingerprint_is_checked_and_returned() {
    let mut world = World::new();
    let request = world.signed(ALICE, METHOD_ALLOCATE, &[&udp()]);
    let mut request = fingerprinted(&request);
    let answer = world.send(ALICE.address(), &request).answer();
    assert!(answer.code() == 0 && FINGERPRINT.check(&answer.0).is_ok());
    *request.last_mut().unwrap() ^= 1;
    assert_eq!(
        world.send(ALICE.address(), &request).dropped(),
        DropReason::WrongFingerprint
    );
}

#[test]
fn r5_r21_binding_needs_no_credentials_and_knows_no_padding() {
    let mut world = World::new();
    let request = world.unsigned(BINDING_REQUEST, &[]);
    let answer = world.send(ALICE.address(), &request).answer();
    assert_eq!(
        (answer.0.typ, answer.shape()),
        (BINDING_SUCCESS, vec![(ATTR_XORMAPPED_ADDRESS.0, 8)])
    );
    for typ in [ATTR_CHANGE_REQUEST, ATTR_PADDING, ATTR_RESPONSE_PORT] {
        let request = world.unsigned(BINDING_REQUEST, &[&raw(typ, &[0; 4])]);
        assert_eq!(world.send(ALICE.address(), &request).answer().code(), 420);
    }
}

#[test]
fn r8_r9_r15_what_is_no_request_of_ours_gets_no_answer() {
    let mut world = World::new();
    let cases = [
        (METHOD_BINDING, CLASS_INDICATION),
        (METHOD_BINDING, CLASS_SUCCESS_RESPONSE),
        (METHOD_ALLOCATE, CLASS_ERROR_RESPONSE),
        (METHOD_SEND, CLASS_REQUEST),
        (METHOD_DATA, CLASS_INDICATION),
        (METHOD_CONNECTION_ATTEMPT, CLASS_REQUEST),
    ];
    for (method, class) in cases {
        let message = world.unsigned(MessageType::new(method, class), &[]);
        assert_eq!(
            world.send(ALICE.address(), &message).dropped(),
            DropReason::UnknownMethod
        );
    }
    let classic = [&[0, 1, 0, 0][..], &[7; 16]].concat();
    assert_eq!(
        world.send(ALICE.address(), &classic).dropped(),
        DropReason::Malformed
    );
}

#[test]
fn r45_requests_without_an_allocation_are_a_mismatch() {
    let mut world = World::new();
    for method in [
        METHOD_REFRESH,
        METHOD_CREATE_PERMISSION,
        METHOD_CHANNEL_BIND,
    ] {
        assert_eq!(
            world.ask(ALICE, method, &[&lifetime(0), &at(PEER)]).code(),
            437
        );
    }
}

#[test]
fn r46_another_user_can_do_nothing_with_an_allocation() {
    let mut world = World::with_allocation(ALICE);
    let bob = (BOB.user, BOB.password);
    for method in [
        METHOD_REFRESH,
        METHOD_CREATE_PERMISSION,
        METHOD_CHANNEL_BIND,
    ] {
        let answer = world.ask_as(ALICE.address(), bob, method, &[&lifetime(0), &at(PEER)]);
        assert_eq!(answer.code(), 441);
        assert!(answer.is_signed_by(BOB.user, BOB.password));
    }
    let snapshot = world.snapshot();
    assert_eq!((snapshot.allocations, snapshot.permissions), (1, 0));
}

#[test]
fn r0b_r43_a_call_outlives_its_credential_but_no_new_one_starts_with_it() {
    for (strict_expiry, code) in [(false, 0), (true, 401)] {
        let mut world = World::with(|settings| settings.strict_expiry = strict_expiry);
        let (name, password) = world.issue("carol");
        let carol = (name.as_str(), password.as_str());
        let from = ALICE.address();
        world.advance(CREDENTIAL_TTL - seconds(300));
        assert_eq!(
            world.ask_as(from, carol, METHOD_ALLOCATE, &[&udp()]).code(),
            0
        );
        world.advance(seconds(300));
        world.fresh_nonce(from);
        for method in [METHOD_REFRESH, METHOD_CREATE_PERMISSION] {
            assert_eq!(
                world.ask_as(from, carol, method, &[&at(PEER)]).code(),
                code,
                "{method}"
            );
        }
        assert_eq!(
            world.ask_as(from, carol, METHOD_ALLOCATE, &[&udp()]).code(),
            401
        );
        assert_eq!(
            world
                .ask_as(BOB.address(), carol, METHOD_ALLOCATE, &[&udp()])
                .code(),
            401
        );
    }
}

#[test]
fn a_renewed_credential_of_the_same_participant_is_as_good_as_the_first() {
    let mut world = World::new();
    let (name, password) = world.issue("carol");
    let from = ALICE.address();
    assert_eq!(
        world
            .ask_as(from, (&name, &password), METHOD_ALLOCATE, &[&udp()])
            .code(),
        0
    );
    world.advance(seconds(60));
    let (renewed, renewed_password) = world.issue("carol");
    assert_ne!(name, renewed);
    let answer = world.ask_as(from, (&renewed, &renewed_password), METHOD_REFRESH, &[]);
    assert!(answer.code() == 0 && answer.is_signed_by(&renewed, &renewed_password));
    let (dave, dave_password) = world.issue("dave");
    assert_eq!(
        world
            .ask_as(from, (&dave, &dave_password), METHOD_REFRESH, &[])
            .code(),
        441
    );
}

#[test]
fn a_server_without_authentication_asks_for_none() {
    let mut world = World::with(|settings| settings.auth = Auth::None);
    let typ = |method| MessageType::new(method, CLASS_REQUEST);
    let request = world.unsigned(typ(METHOD_ALLOCATE), &[&udp()]);
    let answer = world.send(ALICE.address(), &request).answer();
    assert!(answer.code() == 0 && !answer.has(ATTR_MESSAGE_INTEGRITY));
    let request = world.unsigned(typ(METHOD_CREATE_PERMISSION), &[&at(PEER)]);
    assert_eq!(world.send(ALICE.address(), &request).answer().code(), 0);
    let request = world.unsigned(typ(METHOD_REFRESH), &[&lifetime(0)]);
    assert_eq!(world.send(BOB.address(), &request).answer().code(), 437);
}

//! 50-64: Allocate ([RFC 8656 §7.2](https://www.rfc-editor.org/rfc/rfc8656#section-7.2)).

use setu::relay::engine::PortKind;
use setu::relay::engine::five_tuple::{Family, Transport};

use crate::bytes::*;
use crate::desk::*;
use crate::world::TOKEN;

fn allocate() -> Builder {
    Builder::request(ALLOCATE).udp()
}

fn token(request: Builder) -> Builder {
    request.attr(attr::RESERVATION_TOKEN, &TOKEN.0)
}

fn even(request: Builder, bits: u8) -> Builder {
    request.attr(attr::EVEN_PORT, &[bits])
}

/// A table's rows, each with a world of its own: the code, and no allocation where it is an error.
fn refused(rows: &[(&str, Builder, u16)]) {
    for (name, request, code) in rows {
        let mut desk = Desk::new();
        assert_eq!(desk.code(request.clone()), *code, "{name}");
        assert_eq!(
            (desk.allocations(), desk.world.open.len()),
            (0, 0),
            "{name}"
        );
    }
}

#[test]
fn r50_only_the_proven_allocate() {
    let mut desk = Desk::new();
    assert_eq!(desk.bare(home(), allocate()).code(), 401);
    assert_eq!(desk.ask(home(), ("alice", "wrong"), allocate()).code(), 401);
    assert_eq!((desk.allocations(), desk.world.asked), (0, None));
    assert_eq!(desk.code(allocate()), 0);
}

#[test]
fn r51_a_five_tuple_in_use_is_a_mismatch_and_the_old_allocation_lives() {
    let mut desk = Desk::bound();
    assert_eq!(desk.code(allocate()), 437);
    // Authentication first, the five-tuple second, all else after.
    assert_eq!(desk.code(Builder::request(ALLOCATE)), 437);
    assert_eq!(desk.ask(home(), BOB, allocate()).code(), 437);
    assert_eq!(desk.ask(home(), ("mallory", "x"), allocate()).code(), 401);
    assert_eq!(desk.on_channel(0x4000, b"x").outward().1, b"x");
    assert_eq!(desk.allocations(), 1);
}

#[test]
fn r52_the_requested_transport_is_udp() {
    let transport =
        |value: &[u8]| Builder::request(ALLOCATE).attr(attr::REQUESTED_TRANSPORT, value);
    refused(&[
        ("missing", Builder::request(ALLOCATE), 400),
        ("empty", transport(&[]), 400),
        ("one byte", transport(&[17]), 400),
        ("three bytes", transport(&[17, 0, 0]), 400),
        ("five bytes", transport(&[17, 0, 0, 0, 0]), 400),
        ("0", transport(&[0, 0, 0, 0]), 442),
        (
            "TCP, which has no place over UDP",
            transport(&[6, 0, 0, 0]),
            400,
        ),
        ("ICMP", transport(&[1, 0, 0, 0]), 442),
        ("SCTP", transport(&[132, 0, 0, 0]), 442),
        ("255", transport(&[255, 0, 0, 0]), 442),
    ]);
    // The reserved bytes are ignored.
    let mut desk = Desk::new();
    assert_eq!(desk.code(transport(&[17, 1, 2, 3])), 0);
}

#[test]
fn r54_a_token_excludes_what_it_decides() {
    refused(&[
        ("with EVEN-PORT", even(token(allocate()), 0x80), 400),
        ("with EVEN-PORT, R 0", even(token(allocate()), 0), 400),
        (
            "with REQUESTED-ADDRESS-FAMILY",
            token(allocate()).family(1),
            400,
        ),
        (
            "seven bytes",
            allocate().attr(attr::RESERVATION_TOKEN, b"reserve"),
            400,
        ),
        (
            "nine bytes",
            allocate().attr(attr::RESERVATION_TOKEN, b"reserved!"),
            400,
        ),
        ("empty", allocate().attr(attr::RESERVATION_TOKEN, b""), 400),
    ]);
}

#[test]
fn r56_a_family_that_is_not_there_is_440() {
    let mut lacking = Desk::new();
    lacking.world.has_ipv6 = false;
    assert_eq!(lacking.code(allocate().family(2)), 440);
    refused(&[
        ("0", allocate().family(0), 440),
        ("3", allocate().family(3), 440),
        ("255", allocate().family(255), 440),
    ]);
    for (family, is_ipv4) in [(None, true), (Some(1), true), (Some(2), false)] {
        let mut desk = Desk::new();
        let request = family.map_or(allocate(), |family| allocate().family(family));
        let answer = desk.ask(home(), ALICE, request);
        assert_eq!(answer.relayed().len(), 1);
        assert_eq!(answer.relayed()[0].is_ipv4(), is_ipv4, "{family:?}");
    }
}

#[test]
fn r57_an_even_port_comes_with_its_neighbour_only_when_asked() {
    refused(&[
        ("empty", allocate().attr(attr::EVEN_PORT, &[]), 400),
        (
            "two bytes",
            allocate().attr(attr::EVEN_PORT, &[0x80, 0]),
            400,
        ),
    ]);
    for (bits, kind) in [
        (0x00, PortKind::Even),
        (0x80, PortKind::EvenWithNext),
        (0x7F, PortKind::Even),
    ] {
        let mut desk = Desk::new();
        let answer = desk.ask(home(), ALICE, even(allocate(), bits));
        let asked = desk.world.asked.unwrap();
        assert_eq!((asked.family, asked.kind), (Family::V4, kind));
        assert_eq!(answer.relayed()[0].port() % 2, 0);
        let token = answer.get(attr::RESERVATION_TOKEN).map(<[u8]>::len);
        assert_eq!(token, (bits == 0x80).then_some(8));
    }
    let mut full = Desk::new();
    full.world.relays_max = 0;
    assert_eq!(full.code(even(allocate(), 0x80)), 508);
}

#[test]
fn r60_without_a_port_there_is_508_and_each_release_frees_one() {
    let mut desk = Desk::new();
    desk.world.relays_max = 3;
    for host in 1..=3 {
        assert_eq!(desk.ask(from(host), ALICE, allocate()).code(), 0);
    }
    for _ in 0..3 {
        assert_eq!(desk.ask(from(4), BOB, allocate()).code(), 508);
    }
    for host in 1..=3 {
        assert_eq!(
            desk.ask(from(host), ALICE, good(REFRESH).lifetime(0))
                .code(),
            0
        );
        assert_eq!(desk.ask(from(10 + host), BOB, allocate()).code(), 0);
        assert_eq!(desk.ask(from(20), BOB, allocate()).code(), 508);
    }
    assert_eq!((desk.allocations(), desk.world.open.len()), (3, 3));
}

#[test]
fn r61_success_tells_addresses_and_lifetime() {
    for client in ["192.0.2.1:5000", "[2001:db8::77]:9"] {
        let mut desk = Desk::new();
        let from = at(Transport::Udp, client);
        let answer = desk.ask(from, ALICE, allocate());
        assert_eq!(answer.relayed(), ["198.51.100.1:49160".parse().unwrap()]);
        assert_eq!(answer.address(attr::XOR_MAPPED_ADDRESS), from.client);
        assert_eq!(answer.lifetime(), 600);
        let last = *answer.types().last().unwrap();
        assert_eq!(last, attr::MESSAGE_INTEGRITY);
        assert!(!answer.has(attr::RESERVATION_TOKEN));
    }
}

#[test]
fn r62_lifetimes_are_ten_minutes_to_an_hour() {
    let asked = [0, 1, 599, 600, 601, 3599, 3600, 3601, 86_400, u32::MAX];
    for seconds in asked {
        let mut desk = Desk::new();
        let answer = desk.ask(home(), ALICE, allocate().lifetime(seconds));
        assert_eq!(answer.lifetime(), seconds.clamp(600, 3600), "{seconds}");
        desk.wait(u64::from(answer.lifetime()) - 1);
        assert_eq!(desk.allocations(), 1);
        desk.wait(1);
        assert_eq!((desk.allocations(), desk.world.open.len()), (0, 0));
    }
    for malformed in [&[][..], &[0, 0, 3], &[0, 0, 3, 0, 0]] {
        let mut desk = Desk::new();
        let answer = desk.ask(home(), ALICE, allocate().attr(attr::LIFETIME, malformed));
        assert!(answer.code() == 400 || answer.lifetime() == 600);
    }
}

#[test]
fn r64_at_birth_there_is_no_permission_and_no_channel() {
    let mut desk = Desk::allocated();
    let snapshot = desk.world.snapshot();
    assert_eq!((snapshot.permissions, snapshot.channels), (0, 0));
    assert!(desk.send_to(PEER, b"x").is_silence());
    assert!(desk.peer_sends(PEER, b"x").is_silence());
    assert!(desk.on_channel(0x4000, b"x").is_silence());
}

#[test]
fn r53_dont_fragment_is_supported_or_said_not_to_be() {
    let mut desk = Desk::new();
    let answer = desk.ask(home(), ALICE, allocate().attr(attr::DONT_FRAGMENT, &[]));
    let send = Builder::indication(SEND)
        .peer(PEER)
        .data(b"x")
        .attr(attr::DONT_FRAGMENT, &[]);
    match answer.code() {
        420 => assert_eq!(answer.unknown(), [attr::DONT_FRAGMENT]),
        code => assert_eq!(code, 0),
    }
    if answer.code() == 420 {
        assert_eq!(desk.code(allocate()), 0);
    }
    assert_eq!(desk.permit(PEER), 0);
    let got = desk.send(home(), &send.done());
    assert_eq!(got.is_silence(), answer.code() == 420, "{got:?}");
}

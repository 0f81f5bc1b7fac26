//! 1-22: STUN messages and framing ([RFC 8489](https://www.rfc-editor.org/rfc/rfc8489)).

use proptest::prelude::*;
use setu::relay::engine::five_tuple::Transport;

use crate::bytes::*;
use crate::desk::*;

#[test]
fn r1_what_has_no_stun_header_is_dropped_in_silence() {
    let whole = Builder::request(BINDING)
        .attr(attr::SOFTWARE, b"abcd")
        .done();
    let changed = |at: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[at] = byte;
        bytes
    };
    let odd = Builder::request(BINDING).raw(&[0, 0]).done();
    let cases = [
        ("first bit", changed(0, 0x80)),
        ("second bit", changed(0, 0x40)),
        ("length not a multiple of 4", changed(3, 7)),
        ("a body that is no multiple of 4", odd),
        ("cookie, first byte", changed(4, 0x20)),
        ("cookie, last byte", changed(7, 0x43)),
    ];
    let mut desk = Desk::allocated();
    assert_eq!(desk.send(home(), &whole).answer().code(), 0);
    for (name, bytes) in cases {
        assert!(desk.send(home(), &bytes).is_silence(), "{name}");
    }
}

#[test]
fn r2_a_length_that_is_not_the_datagrams_is_dropped() {
    let whole = || Builder::request(BINDING).attr(attr::SOFTWARE, b"abcd");
    let cases = [
        ("four more than there are", whole().length(12)),
        ("the most", whole().length(0xFFFC)),
        ("four fewer", whole().length(4)),
        ("none", whole().length(0)),
    ];
    let mut desk = Desk::new();
    for (name, request) in cases {
        assert!(desk.send(home(), &request.done()).is_silence(), "{name}");
    }
    let junk = [&whole().done()[..], b"junk"].concat();
    assert!(desk.send(home(), &junk).is_silence());
}

#[test]
fn r3_datagrams_of_any_size_do_no_harm() {
    let mut desk = Desk::bound();
    let binding = Builder::request(BINDING).done();
    for size in 0..HEADER {
        assert!(desk.send(home(), &binding[..size]).is_silence(), "{size}");
        assert!(desk.send(home(), &vec![0x40; size]).is_silence() || size == 4);
    }
    for first in [0x00, 0x01, 0x16, 0x40, 0x50, 0x80, 0xFF] {
        let mut bytes = vec![first; 65_507];
        assert!(desk.send(home(), &bytes).is_silence());
        bytes[2..8].copy_from_slice(&[0xFF, 0xCC, 0x21, 0x12, 0xA4, 0x42]);
        bytes.truncate(HEADER + 0xFFCC);
        assert!(desk.send(home(), &bytes).is_silence());
    }
    assert_eq!(desk.allocations(), 1);
}

proptest! {
    #[test]
    fn r3_random_datagrams_leave_an_allocation_as_it_was(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut desk = Desk::bound();
        desk.send(home(), &bytes);
        desk.send(from(9), &bytes);
        prop_assert_eq!(desk.allocations(), 1);
        prop_assert_eq!(desk.on_channel(0x4000, b"media").outward().1, b"media");
    }
}

#[test]
fn r4_an_answer_has_its_requests_method_and_transaction_id() {
    // Where it goes, the world sees to; method, id and class are checked of every answer.
    let mut desk = Desk::new();
    let binding = desk.bare(home(), Builder::request(BINDING));
    assert_eq!((binding.class, binding.method), (Class::Success, BINDING));
    for method in TURN_REQUESTS {
        let refused = desk.bare(home(), good(method));
        assert_eq!((refused.class, refused.method), (Class::Error, method));
    }
}

#[test]
fn r5_a_binding_tells_the_clients_address() {
    for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
        for client in ["192.0.2.1:5000", "[2001:db8::77]:65535", "[::1]:1"] {
            let mut desk = Desk::new();
            let from = at(transport, client);
            let answer = desk.bare(from, Builder::request(BINDING));
            assert_eq!(answer.address(attr::XOR_MAPPED_ADDRESS), from.client);
        }
    }
}

#[test]
fn r6_unknown_required_attributes_are_named_each_once() {
    let odd = |request: Builder| {
        let request = request
            .attr(0x7FFF, b"x")
            .attr(0x0030, b"")
            .attr(0x7FFF, b"");
        request.attr(0x8FFF, b"optional")
    };
    let mut desk = Desk::allocated();
    let answer = desk.bare(from(3), odd(Builder::request(BINDING)));
    assert_eq!((answer.code(), answer.unknown().len()), (420, 2));
    for method in TURN_REQUESTS {
        let answer = desk.ask(home(), ALICE, odd(good(method)));
        let mut unknown = answer.unknown();
        unknown.sort_unstable();
        assert_eq!((answer.code(), unknown), (420, vec![0x0030, 0x7FFF]));
    }
    let optional = |method| good(method).attr(0x8FFF, b"optional").attr(0xFFFF, b"");
    for method in [REFRESH, CREATE_PERMISSION, CHANNEL_BIND] {
        assert_eq!(desk.code(optional(method)), 0);
    }
    let answer = desk.bare(home(), Builder::request(BINDING).attr(0xC001, b""));
    assert_eq!(answer.code(), 0);
}

#[test]
fn r7_an_indication_is_never_answered() {
    let mut desk = Desk::permitted();
    for method in [
        BINDING,
        ALLOCATE,
        REFRESH,
        CREATE_PERMISSION,
        CHANNEL_BIND,
        DATA,
        0x0A,
        0x0C,
    ] {
        let bare = Builder::indication(method).done();
        assert!(desk.send(home(), &bare).is_silence(), "{method:#x}");
        let full = good(method).done();
        let typ = message_type(method, Class::Indication).to_be_bytes();
        let full = [&typ[..], &full[2..]].concat();
        assert!(desk.send(home(), &full).is_silence(), "{method:#x}");
    }
    let send = Builder::indication(SEND).peer(PEER).data(b"x");
    assert!(
        desk.send(home(), &send.attr(0x7001, b"").done())
            .is_silence()
    );
}

#[test]
fn r8_a_response_is_never_answered() {
    let mut desk = Desk::bound();
    for class in [Class::Success, Class::Error] {
        for method in [
            BINDING,
            ALLOCATE,
            REFRESH,
            SEND,
            DATA,
            CREATE_PERMISSION,
            CHANNEL_BIND,
        ] {
            let response = Builder::new(method, class).peer(PEER).data(b"x");
            assert!(desk.send(home(), &response.done()).is_silence());
        }
    }
}

#[test]
fn r9_an_unknown_method_is_discarded() {
    let mut desk = Desk::allocated();
    let known = [
        BINDING,
        ALLOCATE,
        REFRESH,
        CREATE_PERMISSION,
        CHANNEL_BIND,
        0x00A,
        0x00B,
    ];
    for method in (0..0x1000).filter(|method| !known.contains(method)) {
        let request = Builder::request(method).done();
        assert!(desk.send(home(), &request).is_silence(), "{method:#x}");
    }
    let signed = desk.sign(home(), ALICE, Builder::request(0x0FF));
    assert!(desk.send(home(), &signed).is_silence());
}

#[test]
fn r10_of_repeated_attributes_the_first_counts() {
    let mut desk = Desk::new();
    let request = Builder::request(ALLOCATE)
        .udp()
        .lifetime(700)
        .lifetime(1700);
    assert_eq!(
        desk.ask(
            home(),
            ALICE,
            request.attr(attr::REQUESTED_TRANSPORT, &[99, 0, 0, 0])
        )
        .lifetime(),
        700
    );
    let request = Builder::request(CHANNEL_BIND)
        .channel(0x4001)
        .channel(0x7FFF);
    assert_eq!(desk.code(request.peer(PEER).peer("203.0.113.10:1")), 0);
    assert_eq!(
        desk.on_channel(0x4001, b"x").outward().0,
        PEER.parse().unwrap()
    );
    let twice = Builder::request(REFRESH).text(attr::USERNAME, "mallory");
    assert_eq!(desk.ask(home(), ALICE, twice).code(), 401);
}

#[test]
fn r10_padding_is_ignored_when_received() {
    let mut desk = Desk::allocated();
    let nonce = desk.nonce(home());
    let request = good(CREATE_PERMISSION)
        .attr_padded_with(attr::USERNAME, b"alice", 0xAA)
        .attr_padded_with(attr::REALM, REALM.as_bytes(), 0xBB)
        .attr_padded_with(attr::NONCE, nonce.as_bytes(), 0xCC)
        .attr_padded_with(attr::SOFTWARE, b"x", 0xDD);
    let request = request.integrity(&key("alice", REALM, "north"));
    assert_eq!(desk.send(home(), &request.done()).answer().code(), 0);
    let send = Builder::indication(SEND)
        .peer(PEER)
        .attr_padded_with(attr::DATA, b"abcde", 0xEE);
    assert_eq!(desk.send(home(), &send.done()).outward().1, b"abcde");
}

#[test]
fn r11_an_attribute_beyond_the_message_is_no_success() {
    let cases: &[(&str, &[u8])] = &[
        ("length beyond the message", &[0x80, 0x22, 0, 8, 1, 2, 3, 4]),
        ("length of 65535", &[0x80, 0x22, 0xFF, 0xFF]),
        ("padding cut", &[0x80, 0x22, 0, 5, 1, 2, 3, 4]),
        ("header cut", &[0x80, 0x22]),
        ("type alone", &[0x80]),
    ];
    let mut desk = Desk::allocated();
    for (name, tail) in cases {
        for method in [BINDING, REFRESH] {
            let got = desk.send(home(), &Builder::request(method).raw(tail).done());
            let refused = got.is_silence() || got.answer().code() == 400;
            assert!(refused, "{name}");
        }
    }
}

#[test]
fn r12_a_wrong_fingerprint_is_dropped_in_silence() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut desk = Desk::new();
        let from = at(transport, "192.0.2.1:5000");
        let right = Builder::request(BINDING)
            .attr(attr::SOFTWARE, b"x")
            .fingerprint()
            .done();
        let answer = desk.send(from, &right).answer();
        assert!(answer.code() == 0 && answer.has_right_fingerprint());
        for bit in 0..32 {
            let mut wrong = right.clone();
            let at = wrong.len() - 4 + bit / 8;
            wrong[at] ^= 1 << (bit % 8);
            assert!(desk.send(from, &wrong).is_silence(), "bit {bit}");
        }
        let not_last = Builder::request(BINDING)
            .fingerprint()
            .attr(attr::SOFTWARE, b"x");
        assert!(desk.send(from, &not_last.done()).is_silence());
        let short = Builder::request(BINDING).attr(attr::FINGERPRINT, &[1, 2]);
        assert!(desk.send(from, &short.done()).is_silence());
        let plain_crc = Builder::request(BINDING).u32(attr::FINGERPRINT, crc32(&right[..28]));
        assert!(desk.send(from, &plain_crc.done()).is_silence());
    }
}

#[test]
fn r13_errors_have_a_class_a_number_and_a_short_reason() {
    // The value's form is checked of every answer.
    let mut desk = Desk::allocated();
    let mut codes = vec![desk.bare(from(3), good(ALLOCATE)).code()];
    codes.push(desk.code(good(ALLOCATE)));
    codes.push(desk.code(Builder::request(CREATE_PERMISSION)));
    codes.push(desk.permit(FORBIDDEN));
    codes.push(desk.permit(PEER_V6));
    codes.push(desk.ask(home(), BOB, good(REFRESH)).code());
    codes.push(desk.code(good(REFRESH).attr(0x7001, b"")));
    assert_eq!(codes, [401, 437, 400, 403, 443, 441, 420]);
}

#[test]
fn r14_software_is_short_and_not_for_strangers() {
    let mut desk = Desk::with(|settings| settings.software = Some("Setu".to_owned()));
    assert!(!desk.bare(home(), good(ALLOCATE)).has(attr::SOFTWARE));
    assert!(
        !desk
            .bare(home(), Builder::request(BINDING))
            .has(attr::SOFTWARE)
    );
    for method in [ALLOCATE, REFRESH] {
        let answer = desk.ask(home(), ALICE, good(method));
        let software = answer.text(attr::SOFTWARE);
        assert!(software.len() < 128 && !software.contains(|c: char| c.is_ascii_digit()));
    }
    assert!(
        !Desk::new()
            .ask(home(), ALICE, good(ALLOCATE))
            .has(attr::SOFTWARE)
    );
}

#[test]
fn r15_classic_stun_is_not_spoken() {
    // RFC 3489: 128 bits of transaction id where the cookie is now.
    let mut desk = Desk::allocated();
    for method in [BINDING, ALLOCATE, REFRESH, CREATE_PERMISSION, CHANNEL_BIND] {
        let mut classic = good(method).done();
        classic[4..8].copy_from_slice(&[1, 2, 3, 4]);
        let got = desk.send(home(), &classic);
        assert!(got.is_silence(), "{method:#x}: {got:?}");
    }
}

#[test]
fn r20_the_first_byte_tells_what_it_is() {
    let mut desk = Desk::bound();
    for first in 0..=255 {
        let mut stun = Builder::request(BINDING).done();
        stun[0] = first;
        let mut channel = channel_data(0x4000, 1, b"x");
        channel[0] = first;
        let (stun, channel) = (desk.send(home(), &stun), desk.send(home(), &channel));
        assert_eq!(!stun.is_silence(), first == 0, "{first}: {stun:?}");
        assert_eq!(!channel.is_silence(), first == 0x40, "{first}: {channel:?}");
    }
}

#[test]
fn r21_what_redirects_or_amplifies_is_unknown() {
    let cases: &[(u16, &[u8])] = &[
        (attr::RESPONSE_PORT, &[0x12, 0x34, 0, 0]),
        (attr::PADDING, &[0; 1200]),
        (attr::CHANGE_REQUEST, &[0, 0, 0, 6]),
    ];
    for (typ, value) in cases {
        let mut desk = Desk::new();
        let answer = desk.bare(home(), Builder::request(BINDING).attr(*typ, value));
        assert_eq!((answer.code(), answer.unknown()), (420, vec![*typ]));
    }
}

#[test]
fn r22_a_retransmission_has_the_same_effect_and_answer_once_more() {
    let mut desk = Desk::new();
    let allocate = desk.sign(home(), ALICE, good(ALLOCATE));
    let first = desk.send(home(), &allocate).answer();
    assert_eq!(first.code(), 0);
    for request in [
        good(CREATE_PERMISSION),
        good(CHANNEL_BIND),
        good(REFRESH).lifetime(900),
    ] {
        let request = desk.sign(home(), ALICE, request);
        let answers = [(); 3].map(|()| desk.send(home(), &request).answer().raw);
        assert!(answers.iter().all(|answer| *answer == answers[0]));
    }
    assert_eq!(desk.send(home(), &allocate).answer().raw, first.raw);
    let binding = Builder::request(BINDING).done();
    let answers = [(); 2].map(|()| desk.send(from(7), &binding).answer().raw);
    assert_eq!(answers[0], answers[1]);
    let snapshot = desk.world.snapshot();
    assert_eq!(
        (
            snapshot.allocations,
            snapshot.permissions,
            snapshot.channels
        ),
        (1, 1, 1)
    );
}

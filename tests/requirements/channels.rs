//! 78-84: channels ([RFC 8656 §12](https://www.rfc-editor.org/rfc/rfc8656#section-12)).

use setu::relay::engine::ChannelRange;
use setu::relay::engine::five_tuple::Transport;

use crate::bytes::*;
use crate::desk::*;

const OTHER: &str = "203.0.113.10:7000";

#[test]
fn r78_channels_have_numbers_from_0x4000_to_0x4fff() {
    let numbers = [
        (0x4000, 0),
        (0x4001, 0),
        (0x4FFF, 0),
        (0x5000, 400),
        (0x7FFE, 400),
        (0x7FFF, 400),
        (0x8000, 400),
        (0xFFFF, 400),
        (0x3FFF, 400),
        (0x0000, 400),
    ];
    for (number, code) in numbers {
        let mut desk = Desk::allocated();
        assert_eq!(desk.bind(number, PEER), code, "{number:#x}");
        assert_eq!(
            !desk.on_channel(number, b"x").is_silence(),
            code == 0,
            "{number:#x}"
        );
    }
}

#[test]
fn r0a_old_clients_may_bind_up_to_0x7fff_where_the_operator_says_so() {
    let mut desk = Desk::with(|settings| settings.channels = ChannelRange::Rfc5766);
    assert_eq!(desk.code(good(ALLOCATE)), 0);
    for (number, code) in [(0x5000, 0), (0x3FFF, 400), (0x8000, 400)] {
        assert_eq!(desk.bind(number, PEER), code, "{number:#x}");
    }
    assert_eq!(desk.bind(0x7FFF, OTHER), 0);
    assert_eq!(
        desk.on_channel(0x7FFF, b"x").outward().0,
        OTHER.parse().unwrap()
    );
    assert_eq!(desk.peer_sends(OTHER, b"abcd").inward()[..2], [0x7F, 0xFF]);
}

#[test]
fn r78_missing_and_malformed_attributes_are_bad_requests() {
    let bind = || Builder::request(CHANNEL_BIND);
    let number = |value: &[u8]| bind().attr(attr::CHANNEL_NUMBER, value).peer(PEER);
    let peer = |value: &[u8]| bind().channel(0x4000).attr(attr::XOR_PEER_ADDRESS, value);
    let cases = [
        ("nothing", bind()),
        ("no number", bind().peer(PEER)),
        ("no peer", bind().channel(0x4000)),
        ("a number of two bytes", number(&[0x40, 0])),
        ("a number of five bytes", number(&[0x40, 0, 0, 0, 0])),
        ("an empty number", number(&[])),
        ("an empty peer", peer(&[])),
        ("a peer of seven bytes", peer(&[0, 1, 1, 1, 1, 1, 1])),
        ("a peer of family 0", peer(&[0, 0, 1, 1, 1, 1, 1, 1])),
        ("IPv6 with four bytes", peer(&[0, 2, 1, 1, 1, 1, 1, 1])),
    ];
    for (name, request) in cases {
        let mut desk = Desk::allocated();
        assert_eq!(desk.code(request), 400, "{name}");
        let snapshot = desk.world.snapshot();
        assert_eq!((snapshot.permissions, snapshot.channels), (0, 0), "{name}");
    }
    let mut desk = Desk::allocated();
    // The reserved half is ignored.
    assert_eq!(desk.code(number(&[0x40, 0, 0xFF, 0xFF])), 0);
}

#[test]
fn r79_number_and_peer_belong_together() {
    let mut desk = Desk::bound();
    assert_eq!(desk.bind(0x4000, OTHER), 400);
    assert_eq!(desk.bind(0x4001, PEER), 400);
    assert_eq!(desk.bind(0x4000, "203.0.113.9:1"), 400);
    assert_eq!(
        desk.on_channel(0x4000, b"x").outward().0,
        PEER.parse().unwrap()
    );
    assert!(desk.on_channel(0x4001, b"x").is_silence());
    assert!(desk.send_to(OTHER, b"x").is_silence());
    assert_eq!(desk.bind(0x4000, PEER), 0);
    // Another port of the peer is another peer.
    assert_eq!(desk.bind(0x4001, "203.0.113.9:1"), 0);
    assert_eq!(desk.world.snapshot().channels, 2);
}

#[test]
fn r80_a_refused_bind_permits_nobody() {
    for (name, peer, code) in [("family", PEER_V6, 443), ("policy", FORBIDDEN, 403)] {
        let mut desk = Desk::allocated();
        assert_eq!(desk.bind(0x4000, peer), code, "{name}");
        let snapshot = desk.world.snapshot();
        assert_eq!((snapshot.permissions, snapshot.channels), (0, 0), "{name}");
        assert_eq!(desk.bind(0x4000, PEER), 0, "{name}");
    }
    let mut desk = Desk::allocated();
    let mut bound = 0;
    let refusal = (0x4000..=0x4FFF).find_map(|number| {
        let block = number / 200 % 250;
        let code = desk.bind(number, &format!("203.1.{block}.{}:9", number % 200));
        bound += u64::from(code == 0);
        (code != 0).then_some(code)
    });
    assert!(matches!(refusal, None | Some(508)));
    assert_eq!(desk.world.snapshot().channels, bound);
    assert_eq!(desk.world.snapshot().permissions, bound);
}

#[test]
fn r81_a_channel_lives_ten_minutes_and_its_permission_five() {
    let mut desk = Desk::bound();
    desk.wait(299);
    desk.on_channel(0x4000, b"x").outward();
    desk.peer_sends(PEER, b"x").inward();
    desk.wait(1);
    assert!(desk.on_channel(0x4000, b"x").is_silence() && desk.peer_sends(PEER, b"x").is_silence());
    assert_eq!(desk.permit(PEER), 0);
    desk.on_channel(0x4000, b"x").outward();
    assert_eq!(desk.refresh(1200).code(), 0);
    desk.wait(299);
    assert_eq!(desk.peer_sends(PEER, b"x").inward()[0], 0x40);
    desk.wait(1);
    // The number is free again.
    assert_eq!(desk.permit(PEER), 0);
    assert!(desk.on_channel(0x4000, b"x").is_silence());
    assert_eq!(
        Parsed::read(&desk.peer_sends(PEER, b"x").inward()).method,
        DATA
    );
    assert_eq!(desk.bind(0x4000, OTHER), 0);
    assert_eq!(desk.bind(0x4001, PEER), 0);
}

#[test]
fn r81_binding_again_refreshes_channel_and_permission() {
    let mut desk = Desk::bound();
    assert_eq!(desk.refresh(3600).code(), 0);
    for _ in 0..5 {
        desk.wait(299);
        assert_eq!(desk.bind(0x4000, PEER), 0);
    }
    desk.wait(299);
    desk.on_channel(0x4000, b"x").outward();
    desk.peer_sends(PEER, b"x").inward();
}

#[test]
fn r82_a_bound_peer_comes_by_channel_and_its_neighbour_by_data() {
    let mut desk = Desk::bound();
    assert_eq!(
        desk.peer_sends(PEER, b"hello").inward(),
        channel_data(0x4000, 5, b"hello")
    );
    let data = Parsed::read(&desk.peer_sends("203.0.113.9:1", b"hello").inward());
    assert_eq!(
        (data.method, data.get(attr::DATA)),
        (DATA, Some(&b"hello"[..]))
    );
    // The client may mix.
    assert_eq!(
        desk.send_to(PEER, b"x").outward(),
        (PEER.parse().unwrap(), b"x".to_vec())
    );
    assert_eq!(
        desk.on_channel(0x4000, b"x").outward(),
        (PEER.parse().unwrap(), b"x".to_vec())
    );
}

#[test]
fn r83_channel_data_is_relayed_as_long_as_it_says_or_dropped() {
    let dropped: &[(&str, Vec<u8>)] = &[
        ("unbound", channel_data(0x4001, 1, b"x")),
        ("0x5000", channel_data(0x5000, 1, b"x")),
        ("0x7FFF", channel_data(0x7FFF, 1, b"x")),
        ("longer than the datagram", channel_data(0x4000, 2, b"x")),
        ("65535 bytes", channel_data(0x4000, 65_535, b"x")),
        ("header cut", vec![0x40, 0, 0]),
        ("number alone", vec![0x40, 0]),
        ("one byte", vec![0x40]),
    ];
    let mut desk = Desk::bound();
    for (name, bytes) in dropped {
        assert!(desk.send(home(), bytes).is_silence(), "{name}");
    }
    let relayed: &[(&str, Vec<u8>, &[u8])] = &[
        ("exact", channel_data(0x4000, 1, b"x"), b"x"),
        ("padded", channel_data(0x4000, 1, b"x\0\0\0"), b"x"),
        ("padded with noise", channel_data(0x4000, 2, b"xyzz"), b"xy"),
        ("empty", channel_data(0x4000, 0, b""), b""),
    ];
    for (name, bytes, payload) in relayed {
        assert_eq!(desk.send(home(), bytes).outward().1, *payload, "{name}");
    }
}

#[test]
fn r84_streams_carry_padding_both_ways_and_lengths_without() {
    for transport in [Transport::Tcp, Transport::Tls] {
        let mut desk = Desk::new();
        let from = at(transport, "192.0.2.1:5000");
        for method in [ALLOCATE, CHANNEL_BIND] {
            assert_eq!(desk.ask(from, ALICE, good(method)).code(), 0);
        }
        for (payload, padded) in [(&b""[..], 4), (b"x", 8), (b"four", 8), (b"fives", 12)] {
            let bytes = desk.peer_sends(PEER, payload).inward();
            let unpadded = channel_data(0x4000, payload.len(), payload);
            assert_eq!(
                (bytes.len(), &bytes[..unpadded.len()]),
                (padded, &unpadded[..])
            );
            assert!(bytes[unpadded.len()..].iter().all(|byte| *byte == 0));
            assert_eq!(desk.send(from, &unpadded).outward().1, payload);
        }
    }
    // Over UDP there is none.
    let mut desk = Desk::bound();
    assert_eq!(desk.peer_sends(PEER, b"x").inward().len(), 5);
}

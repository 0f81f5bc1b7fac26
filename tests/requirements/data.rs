//! 73-77: Send and Data ([RFC 8656 §11](https://www.rfc-editor.org/rfc/rfc8656#section-11)).

use crate::bytes::*;
use crate::desk::*;

#[test]
fn r73_send_needs_a_peer_and_data() {
    let send = || Builder::indication(SEND);
    let cases = [
        ("no peer", send().data(b"x")),
        ("no data", send().peer(PEER)),
        ("nothing", send()),
        (
            "a peer of seven bytes",
            send()
                .attr(attr::XOR_PEER_ADDRESS, &[0, 1, 1, 1, 1, 1, 1])
                .data(b"x"),
        ),
        (
            "a peer of family 9",
            send()
                .attr(attr::XOR_PEER_ADDRESS, &[0, 9, 1, 1, 1, 1, 1, 1])
                .data(b"x"),
        ),
        (
            "an unknown required attribute",
            send().peer(PEER).data(b"x").attr(0x7001, b""),
        ),
        (
            "one in front",
            send().attr(0x0029, b"").peer(PEER).data(b"x"),
        ),
        (
            "a peer of the other family",
            send().peer(PEER_V6).data(b"x"),
        ),
        (
            "a peer without permission",
            send().peer("203.0.113.10:1").data(b"x"),
        ),
        ("port 0", send().peer("203.0.113.9:0").data(b"x")),
    ];
    let mut desk = Desk::permitted();
    for (name, request) in cases {
        assert!(desk.send(home(), &request.done()).is_silence(), "{name}");
    }
    assert_eq!(desk.send_to(PEER, b"").outward().1, b"");
    let optional = send().peer(PEER).data(b"x").attr(0x8FFF, b"").fingerprint();
    assert_eq!(desk.send(home(), &optional.done()).outward().1, b"x");
}

#[test]
fn r74_only_the_bytes_of_data_go_out() {
    let mut desk = Desk::permitted();
    for size in [0, 1, 2, 3, 4, 5, 1199, 1200, 65_000] {
        let payload: Vec<u8> = (0..=255).cycle().take(size).collect();
        let (peer, sent) = desk.send_to(PEER, &payload).outward();
        assert_eq!((peer, sent), (PEER.parse().unwrap(), payload));
    }
}

#[test]
fn r75_what_a_permitted_peer_sends_comes_in_a_data_indication() {
    let mut desk = Desk::permitted();
    let nested = Builder::request(BINDING).done();
    let payloads: [&[u8]; 6] = [b"", b"a", b"four", b"fives", &nested, &[0x40, 0, 0, 1, 9]];
    for payload in payloads {
        let data = Parsed::read(&desk.peer_sends(PEER, payload).inward());
        assert_eq!((data.method, data.class), (DATA, Class::Indication));
        assert_eq!(data.address(attr::XOR_PEER_ADDRESS), PEER.parse().unwrap());
        assert_eq!(data.get(attr::DATA), Some(payload));
        assert_eq!(data.types().len(), 2);
    }
}

#[test]
fn r75_data_indications_have_ids_of_their_own() {
    let mut desk = Desk::permitted();
    let ids = [(); 2].map(|()| Parsed::read(&desk.peer_sends(PEER, b"x").inward()).id);
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn r77_datagrams_pass_whole_or_not_at_all() {
    let mut desk = Desk::bound();
    for size in [1200, 1400, 1500, 9000, 65_000, 65_507, 65_535] {
        let payload = vec![7; size];
        assert_eq!(desk.on_channel(0x4000, &payload).outward().1, payload);
        let by_channel = desk.peer_sends(PEER, &payload);
        let by_data = desk.peer_sends("203.0.113.9:1", &payload);
        if size > 65_000 && by_channel.is_silence() && by_data.is_silence() {
            continue;
        }
        assert_eq!(by_channel.inward()[4..4 + size], payload);
        if size > 65_000 && by_data.is_silence() {
            continue;
        }
        let data = Parsed::read(&by_data.inward());
        assert_eq!(data.get(attr::DATA), Some(&payload[..]));
    }
}

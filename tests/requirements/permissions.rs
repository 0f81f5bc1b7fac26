//! 69-72: permissions ([RFC 8656 §9, §10](https://www.rfc-editor.org/rfc/rfc8656#section-9)).

use crate::bytes::*;
use crate::desk::*;

const SAME_IP: &str = "203.0.113.9:1";
const OTHER: &str = "203.0.113.10:7000";
const THIRD: &str = "203.0.113.11:7000";

#[test]
fn r69_a_permission_is_for_an_address_and_five_minutes() {
    let mut desk = Desk::permitted();
    desk.send_to(SAME_IP, b"any port").outward();
    desk.peer_sends(SAME_IP, b"any port").inward();
    desk.wait(299);
    desk.send_to(PEER, b"x").outward();
    desk.wait(1);
    assert!(desk.send_to(PEER, b"x").is_silence() && desk.peer_sends(PEER, b"x").is_silence());
}

#[test]
fn r69_only_requests_refresh_a_permission() {
    type Refreshing = fn(&mut Desk);
    let cases: &[(&str, Refreshing, bool)] = &[
        ("nothing", |_| {}, false),
        (
            "sending",
            |desk| drop(desk.send_to(PEER, b"x").outward()),
            false,
        ),
        (
            "receiving",
            |desk| drop(desk.peer_sends(PEER, b"x").inward()),
            false,
        ),
        (
            "Refresh",
            |desk| assert_eq!(desk.refresh(600).code(), 0),
            false,
        ),
        (
            "another's CreatePermission",
            |desk| assert_eq!(desk.permit(OTHER), 0),
            false,
        ),
        (
            "CreatePermission",
            |desk| assert_eq!(desk.permit(SAME_IP), 0),
            true,
        ),
        (
            "ChannelBind",
            |desk| assert_eq!(desk.bind(0x4000, SAME_IP), 0),
            true,
        ),
    ];
    for (name, refresh, lives) in cases {
        let mut desk = Desk::permitted();
        desk.wait(200);
        refresh(&mut desk);
        desk.wait(100);
        assert_eq!(!desk.send_to(PEER, b"x").is_silence(), *lives, "{name}");
        assert_eq!(!desk.peer_sends(PEER, b"x").is_silence(), *lives, "{name}");
    }
}

#[test]
fn r69_each_allocation_has_its_own() {
    let mut desk = Desk::permitted();
    assert_eq!(desk.ask(from(2), ALICE, good(ALLOCATE)).code(), 0);
    let send = Builder::indication(SEND).peer(PEER).data(b"x").done();
    assert!(desk.send(from(2), &send).is_silence());
    assert_eq!(desk.refresh(0).code(), 0);
    assert_eq!(desk.code(good(ALLOCATE)), 0);
    assert!(desk.send_to(PEER, b"x").is_silence() && desk.peer_sends(PEER, b"x").is_silence());
}

#[test]
fn r70_without_permission_both_ways_are_shut() {
    let mut desk = Desk::permitted();
    assert!(desk.peer_sends(OTHER, b"x").is_silence());
    assert!(desk.send_to(OTHER, b"x").is_silence());
    // Sending permitted nobody.
    assert!(desk.peer_sends(OTHER, b"x").is_silence());
    assert_eq!(desk.world.snapshot().permissions, 1);
}

#[test]
fn r71_all_peers_of_a_request_are_permitted() {
    let mut desk = Desk::allocated();
    let request = Builder::request(CREATE_PERMISSION)
        .peer(PEER)
        .peer(OTHER)
        .peer("203.0.113.11:0");
    assert_eq!(desk.code(request.peer(OTHER)), 0);
    for peer in [PEER, SAME_IP, OTHER, THIRD] {
        desk.send_to(peer, b"x").outward();
        desk.peer_sends(peer, b"x").inward();
    }
    assert_eq!(desk.world.snapshot().permissions, 3);
}

#[test]
fn r72_one_bad_peer_and_none_is_permitted() {
    let malformed = |value: &[u8]| {
        let request = Builder::request(CREATE_PERMISSION).peer(OTHER);
        request.attr(attr::XOR_PEER_ADDRESS, value).peer(THIRD)
    };
    let with = |peer| {
        Builder::request(CREATE_PERMISSION)
            .peer(OTHER)
            .peer(peer)
            .peer(THIRD)
    };
    let cases = [
        ("none", Builder::request(CREATE_PERMISSION), 400),
        ("empty", malformed(&[]), 400),
        ("seven bytes", malformed(&[0, 1, 1, 1, 1, 1, 1]), 400),
        ("nine bytes", malformed(&[0, 1, 1, 1, 1, 1, 1, 1, 1]), 400),
        (
            "IPv6 with four bytes",
            malformed(&[0, 2, 1, 1, 1, 1, 1, 1]),
            400,
        ),
        (
            "IPv4 with sixteen",
            malformed(&[[0, 1, 1, 1].as_slice(), &[9; 16]].concat()),
            400,
        ),
        ("family 0", malformed(&[0, 0, 1, 1, 1, 1, 1, 1]), 400),
        ("family 3", malformed(&[0, 3, 1, 1, 1, 1, 1, 1]), 400),
        ("another family", with(PEER_V6), 443),
        ("forbidden", with(FORBIDDEN), 403),
        (
            "forbidden first",
            Builder::request(CREATE_PERMISSION)
                .peer(FORBIDDEN)
                .peer(OTHER),
            403,
        ),
    ];
    for (name, request, code) in cases {
        let mut desk = Desk::allocated();
        assert_eq!(desk.code(request), code, "{name}");
        assert_eq!(desk.world.snapshot().permissions, 0, "{name}");
        assert!(desk.send_to(OTHER, b"x").is_silence(), "{name}");
    }
}

#[test]
fn r72_beyond_capacity_there_is_508_and_none_is_permitted() {
    let mut desk = Desk::allocated();
    let mut code = 0;
    let mut kept = 0;
    for block in 0..=255 {
        let request = (1..=100).fold(Builder::request(CREATE_PERMISSION), |request, host| {
            request.peer(&format!("203.1.{block}.{host}:1"))
        });
        code = desk.code(request);
        if code != 0 {
            break;
        }
        kept += 100;
    }
    assert_eq!((code, desk.world.snapshot().permissions), (508, kept));
    // What is there can still be refreshed.
    assert_eq!(desk.permit("203.1.0.1:1"), 0);
}

//! 45-49: what holds for every TURN request ([RFC 8656 §5](https://www.rfc-editor.org/rfc/rfc8656#section-5)).

use setu::relay::engine::five_tuple::Transport;

use crate::bytes::*;
use crate::desk::*;

const OTHERS: [u16; 3] = [REFRESH, CREATE_PERMISSION, CHANNEL_BIND];

#[test]
fn r45_without_an_allocation_there_is_437_or_silence() {
    let mut desk = Desk::new();
    for method in OTHERS {
        assert_eq!(desk.code(good(method)), 437, "{method:#x}");
    }
    assert_eq!(desk.code(good(REFRESH).lifetime(0)), 437);
    assert!(desk.send_to(PEER, b"x").is_silence());
    assert!(desk.on_channel(0x4000, b"x").is_silence());
    assert_eq!(desk.allocations(), 0);
}

#[test]
fn r46_another_user_changes_nothing() {
    let mut desk = Desk::bound();
    for method in OTHERS {
        assert_eq!(
            desk.ask(home(), BOB, good(method)).code(),
            441,
            "{method:#x}"
        );
    }
    assert_eq!(desk.ask(home(), BOB, good(REFRESH).lifetime(0)).code(), 441);
    let other = Builder::request(CREATE_PERMISSION).peer("203.0.113.10:1");
    assert_eq!(desk.ask(home(), BOB, other).code(), 441);
    assert!(desk.send_to("203.0.113.10:1", b"x").is_silence());
    assert_eq!(desk.on_channel(0x4000, b"x").outward().1, b"x");
    desk.wait(599);
    assert_eq!(desk.allocations(), 1);
    desk.wait(1);
    assert_eq!(desk.allocations(), 0);
}

#[test]
fn r47_every_part_of_the_five_tuple_counts() {
    let mut desk = Desk::bound();
    let other_server = {
        let mut from = home();
        from.server = "198.51.100.1:3479".parse().unwrap();
        from
    };
    let others = [
        ("TCP", at(Transport::Tcp, "192.0.2.1:5000")),
        ("TLS", at(Transport::Tls, "192.0.2.1:5000")),
        ("another port", at(Transport::Udp, "192.0.2.1:5001")),
        ("another address", at(Transport::Udp, "192.0.2.2:5000")),
        ("IPv6", at(Transport::Udp, "[2001:db8::1]:5000")),
        ("the server's other port", other_server),
    ];
    desk.world.relays_max = 20;
    for (name, from) in others {
        assert_eq!(
            desk.ask(from, ALICE, good(REFRESH).lifetime(0)).code(),
            437,
            "{name}"
        );
        let send = Builder::indication(SEND).peer(PEER).data(b"x").done();
        assert!(desk.send(from, &send).is_silence(), "{name}");
        assert!(
            desk.send(from, &channel_data(0x4000, 1, b"x")).is_silence(),
            "{name}"
        );
        assert_eq!(desk.ask(from, ALICE, good(ALLOCATE)).code(), 0, "{name}");
    }
    assert_eq!(desk.allocations(), 7);
}

#[test]
fn r48_a_repeated_allocate_makes_one_allocation() {
    let mut desk = Desk::new();
    let request = desk.sign(home(), ALICE, good(ALLOCATE).lifetime(900));
    let first = desk.send(home(), &request).answer();
    assert_eq!(first.code(), 0);
    for _ in 0..50 {
        assert_eq!(desk.send(home(), &request).answer().raw, first.raw);
    }
    desk.wait(30);
    assert_eq!(desk.send(home(), &request).answer().raw, first.raw);
    assert_eq!((desk.allocations(), desk.world.open.len()), (1, 1));
}

#[test]
fn r49_every_transport_allocates_and_relays() {
    for transport in Transport::ALL {
        let mut desk = Desk::new();
        let from = at(transport, "192.0.2.1:5000");
        for method in [ALLOCATE, CHANNEL_BIND, REFRESH] {
            assert_eq!(
                desk.ask(from, ALICE, good(method)).code(),
                0,
                "{transport:?}"
            );
        }
        let got = desk.send(from, &channel_data(0x4000, 3, b"abc")).outward();
        assert_eq!(got.1, b"abc", "{transport:?}");
    }
}

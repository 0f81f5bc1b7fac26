//! NAT behaviour discovery (RFC 5780), where there are two addresses.

use std::net::SocketAddr;

use setu::relay::engine::discovery::Square;
use setu::relay::engine::five_tuple::{FiveTuple, Transport};
use setu::relay::wire::attributes::{
    ATTR_CHANGE_REQUEST, ATTR_OTHER_ADDRESS, ATTR_RESPONSE_ORIGIN,
};
use stun::attributes::{ATTR_UNKNOWN_ATTRIBUTES, AttrType};
use stun::message::BINDING_REQUEST;

use crate::world::{ALICE, Answer, World, raw};

const PRIMARY: &str = "198.51.100.1:3478";

#[test]
fn an_answer_leaves_from_where_it_was_asked_for() {
    let cases = [
        // (asked at, CHANGE-REQUEST, answered from, the other address)
        (PRIMARY, 0, PRIMARY, "198.51.100.2:3479"),
        (PRIMARY, 2, "198.51.100.1:3479", "198.51.100.2:3479"),
        (PRIMARY, 4, "198.51.100.2:3478", "198.51.100.2:3479"),
        (PRIMARY, 6, "198.51.100.2:3479", "198.51.100.2:3479"),
        ("198.51.100.2:3479", 0, "198.51.100.2:3479", PRIMARY),
        ("198.51.100.2:3479", 6, PRIMARY, PRIMARY),
        (
            "198.51.100.1:3479",
            4,
            "198.51.100.2:3479",
            "198.51.100.2:3478",
        ),
    ];
    let mut world = with_two_addresses();
    for (asked, change, from, other) in cases {
        let answer = bind(
            &mut world,
            at(asked),
            ATTR_CHANGE_REQUEST,
            &[0, 0, 0, change],
        );
        assert_eq!(answer.code(), 0, "{asked} {change}");
        assert_eq!(
            world.answered_from,
            Some(from.parse().unwrap()),
            "{asked} {change}"
        );
        assert_eq!(
            address(&answer, ATTR_RESPONSE_ORIGIN),
            from,
            "{asked} {change}"
        );
        assert_eq!(
            address(&answer, ATTR_OTHER_ADDRESS),
            other,
            "{asked} {change}"
        );
    }
    let request = world.unsigned(BINDING_REQUEST, &[]);
    let answer = world.send(at(PRIMARY), &request).answer();
    assert_eq!(address(&answer, ATTR_RESPONSE_ORIGIN), PRIMARY);
}

#[test]
fn behind_nat_clients_are_told_the_addresses_that_they_reach() {
    let mut square = square();
    square.ips = ["10.0.0.1", "10.0.0.2"].map(|ip| ip.parse().unwrap());
    let mut world = World::with(|settings| settings.discovery = vec![square]);
    let from = at("10.0.0.1:3478");
    let answer = bind(&mut world, from, ATTR_CHANGE_REQUEST, &[0, 0, 0, 4]);
    assert_eq!(world.answered_from, Some("10.0.0.2:3478".parse().unwrap()));
    assert_eq!(address(&answer, ATTR_RESPONSE_ORIGIN), "198.51.100.2:3478");
    assert_eq!(address(&answer, ATTR_OTHER_ADDRESS), "198.51.100.2:3479");
}

#[test]
fn r21_change_request_is_unknown_where_there_is_nothing_to_change_to() {
    let mut stream = at(PRIMARY);
    stream.transport = Transport::Tcp;
    let elsewhere = at("198.51.100.3:3478");
    for (mut world, from) in [
        (World::new(), at(PRIMARY)),
        (with_two_addresses(), stream),
        (with_two_addresses(), elsewhere),
    ] {
        let answer = bind(&mut world, from, ATTR_CHANGE_REQUEST, &[0, 0, 0, 6]);
        assert_eq!(answer.code(), 420, "{from:?}");
        assert_eq!(answer.0.get(ATTR_UNKNOWN_ATTRIBUTES).unwrap(), [0, 3]);
    }
}

#[test]
fn r21_response_port_and_padding_are_never_known() {
    for typ in [0x0026, 0x0027] {
        let mut world = with_two_addresses();
        let answer = bind(&mut world, at(PRIMARY), AttrType(typ), &[0, 80, 0, 0]);
        assert_eq!(answer.code(), 420, "{typ:#06x}");
    }
}

#[test]
fn a_malformed_change_request_is_a_bad_request() {
    let mut world = with_two_addresses();
    let answer = bind(&mut world, at(PRIMARY), ATTR_CHANGE_REQUEST, &[0, 6]);
    assert_eq!(answer.code(), 400);
}

#[test]
fn r0d_a_discovering_answer_is_at_most_two_and_a_half_times_the_request() {
    let mut world = with_two_addresses();
    let request = world.unsigned(BINDING_REQUEST, &[]);
    let answer = world.send(at(PRIMARY), &request).answer();
    let on_the_wire = |message: &[u8]| 28 + message.len();
    assert!(2 * on_the_wire(&answer.0.raw) <= 5 * on_the_wire(&request));
}

fn bind(world: &mut World, from: FiveTuple, typ: AttrType, value: &[u8]) -> Answer {
    let request = world.unsigned(BINDING_REQUEST, &[&raw(typ, value)]);
    world.send(from, &request).answer()
}

fn with_two_addresses() -> World {
    World::with(|settings| settings.discovery = vec![square()])
}

fn square() -> Square {
    let ips = ["198.51.100.1", "198.51.100.2"].map(|ip| ip.parse().unwrap());
    Square {
        ips,
        told: ips,
        ports: [3478, 3479],
    }
}

fn at(server: &str) -> FiveTuple {
    FiveTuple {
        server: server.parse().unwrap(),
        ..ALICE.address()
    }
}

/// An IPv4 address in clear.
fn address(answer: &Answer, typ: AttrType) -> String {
    let value = answer.0.get(typ).unwrap();
    let &[0, 1, p0, p1, a, b, c, d] = value.as_slice() else {
        panic!("no IPv4 address: {value:?}");
    };
    let port = u16::from_be_bytes([p0, p1]);
    SocketAddr::from(([a, b, c, d], port)).to_string()
}

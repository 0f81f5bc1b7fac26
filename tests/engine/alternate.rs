//! Where clients are sent when the server is full
//! ([RFC 8489 §10](https://www.rfc-editor.org/rfc/rfc8489#section-10)).

use setu::relay::engine::alternate::Alternate;
use setu::relay::engine::five_tuple::{FiveTuple, Transport};
use setu::relay::engine::{Auth, limits};
use stun::addr::AlternateServer;
use stun::attributes::*;
use stun::message::*;

use crate::world::*;

fn to(name: Option<&str>, ip: &str, port: Option<u16>) -> Alternate {
    Alternate {
        name: name.map(str::to_owned),
        ip: ip.parse().unwrap(),
        port,
    }
}

fn full(alternates: Vec<Alternate>) -> World {
    let limits = limits::Settings {
        allocations: Some(0),
        ..limits::Settings::default()
    };
    World::within(limits, |settings| settings.alternates = alternates)
}

fn target(answer: &Answer) -> String {
    let mut server = AlternateServer::default();
    server
        .get_from_as(&answer.0, ATTR_ALTERNATE_SERVER)
        .unwrap();
    format!("{} {}", server.ip, server.port)
}

#[test]
fn a_full_server_sends_clients_to_another_one_of_their_family() {
    let v6 = FiveTuple {
        client: "[2001:db8::9]:5000".parse().unwrap(),
        server: "[2001:db8:1::1]:3478".parse().unwrap(),
        ..ALICE.address()
    };
    let tls = FiveTuple {
        transport: Transport::Tls,
        ..ALICE.address()
    };
    let named = Some("turn2.example.org");
    let mut world = full(vec![
        to(named, "198.51.100.7", None),
        to(None, "2001:db8:1::7", Some(3479)),
    ]);
    for (from, expected, domain) in [
        (ALICE.address(), "198.51.100.7 3478", None),
        (v6, "2001:db8:1::7 3479", None),
        (tls, "198.51.100.7 3478", named),
    ] {
        let alice = (ALICE.user, ALICE.password);
        let answer = world.ask_as(from, alice, METHOD_ALLOCATE, &[&udp()]);
        assert_eq!((answer.code(), target(&answer).as_str()), (300, expected));
        assert!(answer.is_signed_by(ALICE.user, ALICE.password));
        let told = domain.map(|_| answer.text(ATTR_ALTERNATE_DOMAIN));
        assert_eq!(told.as_deref(), domain);
        assert_eq!(answer.has(ATTR_ALTERNATE_DOMAIN), domain.is_some());
    }
    assert_eq!(world.snapshot().allocations, 0);
}

#[test]
fn want_of_ports_counts_as_full_and_a_token_does_not() {
    let mut world =
        World::with(|settings| settings.alternates = vec![to(None, "198.51.100.7", None)]);
    world.relays_max = 0;
    assert_eq!(world.ask(ALICE, METHOD_ALLOCATE, &[&udp()]).code(), 300);
    let token = raw(ATTR_RESERVATION_TOKEN, b"reserved");
    let answer = world.ask(ALICE, METHOD_ALLOCATE, &[&udp(), &token]);
    assert_eq!(answer.code(), 508);
    let v6 = raw(ATTR_REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    assert_eq!(
        world.ask(ALICE, METHOD_ALLOCATE, &[&udp(), &v6]).code(),
        440
    );
}

#[test]
fn a_user_with_too_many_allocations_is_sent_nowhere() {
    let limits = limits::Settings {
        allocations_per_user: Some(0),
        ..limits::Settings::default()
    };
    let mut world = World::within(limits, |settings| {
        settings.alternates = vec![to(None, "198.51.100.7", None)];
    });
    assert_eq!(world.ask(ALICE, METHOD_ALLOCATE, &[&udp()]).code(), 486);
}

#[test]
fn without_an_alternate_of_the_family_or_a_signature_it_is_the_usual_refusal() {
    for alternates in [vec![], vec![to(None, "2001:db8::7", None)]] {
        let mut world = full(alternates);
        assert_eq!(world.ask(ALICE, METHOD_ALLOCATE, &[&udp()]).code(), 486);
    }
    let mut world = World::with(|settings| {
        settings.auth = Auth::None;
        settings.alternates = vec![to(None, "198.51.100.7", None)];
    });
    world.relays_max = 0;
    let request = world.unsigned(MessageType::new(METHOD_ALLOCATE, CLASS_REQUEST), &[&udp()]);
    let answer = world.send(ALICE.address(), &request).answer();
    assert_eq!(answer.code(), 508);
}

#[test]
fn several_alternates_share_the_load() {
    let mut world = full(vec![
        to(None, "198.51.100.7", None),
        to(None, "198.51.100.8", None),
    ]);
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(target(&world.ask(ALICE, METHOD_ALLOCATE, &[&udp()])));
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 2);
}

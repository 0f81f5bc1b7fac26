//! TCP allocations ([RFC 6062](https://www.rfc-editor.org/rfc/rfc6062)): connections to peers, and what is bound to them.

use setu::relay::engine::five_tuple::{Family, FiveTuple, PeerAddr, RelayKey, Transport};
use setu::relay::engine::limits;
use setu::relay::engine::share::Share;
use setu::relay::engine::tcp::{BIND_TIME_MAX, CONNECT_TIME_MAX, CONNECTIONS_MAX, Towards};
use setu::relay::engine::{DropReason, Effect, RelayTransport};
use setu::relay::wire::attributes::{ATTR_ADDITIONAL_ADDRESS_FAMILY, ATTR_MOBILITY_TICKET};
use setu::relay::wire::connection::ConnectionId;
use stun::attributes::*;
use stun::message::*;
use turn::proto::channum::ChannelNumber;
use turn::proto::peeraddr::PeerAddress;

use crate::world::*;

const RELAY: RelayKey = RelayKey(0);

#[test]
fn r52_an_allocation_of_tcp_is_asked_for_over_tcp_or_tls_and_gets_a_tcp_port() {
    for transport in [Transport::Tcp, Transport::Tls] {
        let mut world = World::new();
        let answer = ask(
            &mut world,
            over(ALICE, transport),
            METHOD_ALLOCATE,
            &[&tcp()],
        );
        assert_eq!(answer.code(), 0, "{transport:?}");
        assert!(answer.has(ATTR_XOR_RELAYED_ADDRESS) && answer.has(ATTR_LIFETIME));
        let asked = world.asked.unwrap();
        assert_eq!(
            (asked.transport, asked.family),
            (RelayTransport::Tcp, Family::V4)
        );
    }
    let mut world = World::new();
    assert_eq!(
        world.ask(ALICE, METHOD_ALLOCATE, &[&tcp()]).code(),
        400,
        "over UDP"
    );
}

#[test]
fn r52_what_only_datagrams_have_is_no_part_of_a_tcp_allocation() {
    let family = raw(ATTR_REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    let cases: &[(&str, &dyn Setter, u16)] = &[
        ("EVEN-PORT", &raw(ATTR_EVEN_PORT, &[0]), 400),
        (
            "EVEN-PORT with a reservation",
            &raw(ATTR_EVEN_PORT, &[0x80]),
            400,
        ),
        (
            "RESERVATION-TOKEN",
            &raw(ATTR_RESERVATION_TOKEN, &TOKEN.0),
            400,
        ),
        ("DONT-FRAGMENT", &raw(ATTR_DONT_FRAGMENT, &[]), 400),
        ("a family that the server lacks", &family, 440),
    ];
    for (name, attribute, code) in cases {
        let mut world = World::new();
        let answer = ask(
            &mut world,
            control(ALICE),
            METHOD_ALLOCATE,
            &[&tcp(), *attribute],
        );
        assert_eq!(answer.code(), *code, "{name}");
        assert_eq!(world.snapshot().allocations, 0, "{name}");
    }
}

#[test]
fn r52_a_server_without_tcp_relays_says_442() {
    let mut world = World::with(|settings| settings.tcp_relay = false);
    let answer = ask(&mut world, control(ALICE), METHOD_ALLOCATE, &[&tcp()]);
    assert_eq!(answer.code(), 442);
}

#[test]
fn a_connect_is_answered_once_the_connection_stands() {
    let mut world = with_tcp_allocation();
    let id = connecting(&mut world, PEER);
    assert_eq!(
        world.effects,
        [Effect::ConnectPeer {
            id,
            relay: RELAY,
            peer: peer(PEER)
        }]
    );
    let answer = world.peer_connected(id).unwrap();
    assert_eq!(answer.code(), 0);
    assert_eq!(
        answer.0.typ,
        MessageType::new(METHOD_CONNECT, CLASS_SUCCESS_RESPONSE)
    );
    assert_eq!(id_in(&answer), id);
    assert!(answer.is_signed_by(ALICE.user, ALICE.password));
    assert!(world.peer_connected(id).is_none(), "answered twice");
}

#[test]
fn r100_other_requests_need_not_wait_for_a_connection() {
    let mut world = with_tcp_allocation();
    let id = connecting(&mut world, PEER);
    let permission = ask(
        &mut world,
        control(ALICE),
        METHOD_CREATE_PERMISSION,
        &[&at(PEER)],
    );
    assert_eq!(permission.code(), 0);
    assert_eq!(world.peer_connected(id).unwrap().code(), 0);
}

#[test]
fn a_connection_that_fails_is_a_447_at_once() {
    let mut world = with_tcp_allocation();
    let id = connecting(&mut world, PEER);
    assert_eq!(world.peer_closed(id).unwrap().code(), 447);
    assert_eq!(bind(&mut world, ALICE, id).code(), 400);
    connecting(&mut world, PEER);
}

#[test]
fn a_connection_that_takes_too_long_is_a_447_after_30_seconds() {
    let mut world = with_tcp_allocation();
    let id = connecting(&mut world, PEER);
    assert!(
        world
            .advance_heard(CONNECT_TIME_MAX - seconds(1))
            .is_empty()
    );
    let heard = world.advance_heard(seconds(1));
    assert_eq!(heard.len(), 1);
    assert_eq!((heard[0].0, heard[0].1.code()), (control(ALICE), 447));
    assert_eq!(world.effects.last(), Some(&Effect::ClosePeer(id)));
    assert!(world.peer_connected(id).is_none(), "too late");
    assert_eq!(
        world.engine.poll_timeout(),
        Some(world.now.mono + seconds(570))
    );
}

#[test]
fn a_peer_is_connected_to_once_at_a_time() {
    let mut world = with_tcp_allocation();
    let id = connecting(&mut world, PEER);
    assert_eq!(connect(&mut world, PEER).code(), 446, "connecting");
    world.peer_connected(id);
    assert_eq!(connect(&mut world, PEER).code(), 446, "unbound");
    assert_eq!(bind(&mut world, ALICE, id).code(), 0);
    assert_eq!(connect(&mut world, PEER).code(), 446, "bound");
    assert!(world.peer_closed(id).is_none());
    connecting(&mut world, PEER);
}

#[test]
fn a_peer_that_came_by_itself_is_not_one_that_was_connected_to() {
    // Whether one more connection fits beside it is for the kernel to say: 447, not 446.
    let mut world = permit(with_tcp_allocation(), PEER);
    world.peer_accepted(RELAY, PEER).0.unwrap();
    let id = connecting(&mut world, PEER);
    assert_eq!(world.peer_closed(id).unwrap().code(), 447);
}

#[test]
fn refused_connects() {
    let mut world = with_tcp_allocation();
    let cases: &[(&str, &[&dyn Setter], u16)] = &[
        ("no peer", &[], 400),
        (
            "peer cut short",
            &[&raw(ATTR_XOR_PEER_ADDRESS, &[0, 1, 2])],
            400,
        ),
        ("a family that it has not", &[&at("[2001:db8::9]:80")], 443),
        ("a denied peer", &[&at("203.0.113.66:80")], 403),
        ("loopback", &[&at("127.0.0.1:80")], 403),
        ("no port", &[&at("203.0.113.9:0")], 403),
    ];
    for (name, attributes, code) in cases {
        let answer = ask(&mut world, control(ALICE), METHOD_CONNECT, attributes);
        assert_eq!(answer.code(), *code, "{name}");
    }
    assert!(world.effects.is_empty());
}

#[test]
fn a_relay_connects_neither_to_itself_nor_to_the_servers_listeners() {
    let mut world = World::with(|settings| {
        let relayed = RELAYED.parse().unwrap();
        settings.policy.relayed = vec![(relayed, 49160..=49200)];
        settings.policy.own_listeners = vec!["198.51.100.1:3478".parse().unwrap()];
    });
    allocate(&mut world, ALICE);
    assert_eq!(connect(&mut world, "198.51.100.1:49160").code(), 403);
    assert_eq!(connect(&mut world, "198.51.100.1:3478").code(), 403);
    connecting(&mut world, "198.51.100.1:49161");
}

#[test]
fn connect_needs_an_allocation_of_ones_own_and_of_tcp() {
    let mut world = World::new();
    assert_eq!(connect(&mut world, PEER).code(), 437, "none");
    allocate(&mut world, ALICE);
    let bobs = (BOB.user, BOB.password);
    let answer = world.ask_as(control(ALICE), bobs, METHOD_CONNECT, &[&at(PEER)]);
    assert_eq!(answer.code(), 441, "somebody else's");
    let mut world = World::with_allocation(ALICE);
    assert_eq!(
        world.ask(ALICE, METHOD_CONNECT, &[&at(PEER)]).code(),
        403,
        "of UDP"
    );
}

#[test]
fn connections_are_bounded() {
    let mut world = with_tcp_allocation();
    let port = |number: usize| format!("203.0.113.9:{}", 7000 + number);
    let ids: Vec<_> = (0..CONNECTIONS_MAX)
        .map(|number| connecting(&mut world, &port(number)))
        .collect();
    assert_eq!(connect(&mut world, &port(CONNECTIONS_MAX)).code(), 508);
    world = permit(world, PEER);
    assert_eq!(world.peer_accepted(RELAY, "203.0.113.9:1").0, None);
    assert_eq!(world.snapshot().dropped(DropReason::TooManyConnections), 1);
    world.peer_closed(ids[0]);
    connecting(&mut world, &port(CONNECTIONS_MAX));
}

#[test]
fn a_peer_without_permission_is_closed_at_once() {
    let mut world = with_tcp_allocation();
    assert_eq!(world.peer_accepted(RELAY, PEER).0, None);
    assert_eq!(world.snapshot().dropped(DropReason::NoPermission), 1);
    assert_eq!(world.peer_accepted(RelayKey(7), PEER).0, None);
}

#[test]
fn a_permitted_peer_is_announced_with_its_address_and_a_name() {
    let mut world = permit(with_tcp_allocation(), PEER);
    let (id, told) = world.peer_accepted(RELAY, "203.0.113.9:4321");
    let (to, attempt) = told.unwrap();
    assert_eq!(to, control(ALICE));
    assert_eq!(
        attempt.0.typ,
        MessageType::new(METHOD_CONNECTION_ATTEMPT, CLASS_INDICATION)
    );
    let mut from = PeerAddress::default();
    from.get_from(&attempt.0).unwrap();
    assert_eq!(
        (from.ip.to_string().as_str(), from.port),
        ("203.0.113.9", 4321)
    );
    assert_eq!(id_in(&attempt), id.unwrap());
    assert_eq!(bind(&mut world, ALICE, id.unwrap()).code(), 0);
}

#[test]
fn nobody_binds_for_30_seconds_and_the_connection_closes() {
    let mut world = permit(with_tcp_allocation(), PEER);
    let made = connecting(&mut world, PEER);
    world.peer_connected(made);
    let accepted = world.peer_accepted(RELAY, "203.0.113.9:4321").0.unwrap();
    world.advance(BIND_TIME_MAX - seconds(1));
    assert_eq!(bind(&mut world, ALICE, made).code(), 0);
    world.effects.clear();
    world.advance(seconds(1));
    assert_eq!(world.effects, [Effect::ClosePeer(accepted)]);
    assert_eq!(bind(&mut world, ALICE, accepted).code(), 400);
    world.advance(BIND_TIME_MAX);
    assert_eq!(
        world.effects.len(),
        1,
        "a bound connection has no such limit"
    );
}

#[test]
fn a_bound_connection_is_spliced_to_the_clients_and_bound_once() {
    let mut world = permit(with_tcp_allocation(), PEER);
    let id = world.peer_accepted(RELAY, PEER).0.unwrap();
    world.effects.clear();
    let answer = bind(&mut world, ALICE, id);
    assert_eq!(answer.code(), 0);
    assert!(answer.is_signed_by(ALICE.user, ALICE.password));
    let client = data(ALICE);
    assert_eq!(world.effects, [Effect::Splice { client, id }]);
    assert_eq!(bind(&mut world, ALICE, id).code(), 400);
}

#[test]
fn a_connection_is_bound_with_the_nonce_of_its_control_connection() {
    // The client need not ask for another one; but it is good for this alone.
    let mut world = permit(with_tcp_allocation(), PEER);
    let id = world.peer_accepted(RELAY, PEER).0.unwrap();
    let nonce = world.nonce(control(ALICE));
    let alice = (ALICE.user, ALICE.password);
    for (method, code) in [(METHOD_REFRESH, 438), (METHOD_CONNECTION_BIND, 0)] {
        let bytes = world.signed_with(&nonce, alice, method, &[&connection(id)]);
        assert_eq!(world.send(data(ALICE), &bytes).answer().code(), code);
    }
}

#[test]
fn refused_connection_binds() {
    let mut world = permit(with_tcp_allocation(), PEER);
    let id = world.peer_accepted(RELAY, PEER).0.unwrap();
    let still_connecting = connecting(&mut world, "203.0.113.9:80");
    let (named, short) = (connection(id), raw(ATTR_CONNECTION_ID, &[1, 2, 3]));
    let unknown = connection(ConnectionId(id.0.wrapping_add(1)));
    let unfinished = connection(still_connecting);
    let udp = ALICE.address();
    let cases: &[(&str, FiveTuple, &[&dyn Setter], u16)] = &[
        ("no id", data(ALICE), &[], 400),
        ("id cut short", data(ALICE), &[&short], 400),
        ("unknown id", data(ALICE), &[&unknown], 400),
        ("not connected yet", data(ALICE), &[&unfinished], 400),
        ("over UDP", udp, &[&named], 400),
        ("on the control connection", control(ALICE), &[&named], 400),
    ];
    for (name, from, attributes, code) in cases {
        let answer = ask(&mut world, *from, METHOD_CONNECTION_BIND, attributes);
        assert_eq!(answer.code(), *code, "{name}");
    }
    assert_eq!(bind(&mut world, BOB, id).code(), 441, "somebody else's");
    let bare = MessageType::new(METHOD_CONNECTION_BIND, CLASS_REQUEST);
    let bare = world.unsigned(bare, &[&named]);
    assert_eq!(world.send(data(ALICE), &bare).answer().code(), 401);
    assert_eq!(
        bind(&mut world, ALICE, id).code(),
        0,
        "nothing of this took it"
    );
}

#[test]
fn a_credential_that_has_expired_binds_what_it_opened() {
    let mut world = World::new();
    let (user, password) = world.issue("dana");
    let (user, password) = (user.as_str(), password.as_str());
    let ask = |world: &mut World, from, method, attributes: &[&dyn Setter]| {
        world.fresh_nonce(from);
        world.ask_as(from, (user, password), method, attributes)
    };
    let lasting = lifetime(3600);
    assert_eq!(
        ask(
            &mut world,
            control(ALICE),
            METHOD_ALLOCATE,
            &[&tcp(), &lasting]
        )
        .code(),
        0
    );
    world.advance(CREDENTIAL_TTL - seconds(2));
    assert_eq!(
        ask(&mut world, control(ALICE), METHOD_REFRESH, &[&lasting]).code(),
        0
    );
    world.advance(seconds(4));
    assert_eq!(
        ask(
            &mut world,
            control(ALICE),
            METHOD_CREATE_PERMISSION,
            &[&at(PEER)]
        )
        .code(),
        0
    );
    let id = world.peer_accepted(RELAY, PEER).0.unwrap();
    let answer = ask(
        &mut world,
        data(ALICE),
        METHOD_CONNECTION_BIND,
        &[&connection(id)],
    );
    assert_eq!(answer.code(), 0);
}

#[test]
fn the_connections_of_an_allocation_end_with_it() {
    type End = (&'static str, fn(&mut World));
    let ends: &[End] = &[
        ("Refresh 0", |world| {
            let answer = ask(world, control(ALICE), METHOD_REFRESH, &[&lifetime(0)]);
            assert_eq!(answer.code(), 0);
        }),
        ("closed", |world| world.close_connection(control(ALICE))),
        ("expired", |world| world.advance(seconds(600))),
        ("by an operator", |world| {
            let id = world.engine.allocations(world.now)[0].id.clone();
            assert!(world.close_allocation(setu::relay::engine::AllocationId::parse(&id).unwrap()));
        }),
    ];
    for (name, end) in ends {
        let mut world = permit(with_tcp_allocation(), PEER);
        let bound = world.peer_accepted(RELAY, PEER).0.unwrap();
        assert_eq!(bind(&mut world, ALICE, bound).code(), 0);
        world.effects.clear();
        end(&mut world);
        assert_eq!(world.effects, [Effect::ClosePeer(bound)], "{name}");
        assert!(world.open.is_empty(), "{name}");
        assert_eq!(
            world
                .engine
                .poll_timeout()
                .filter(|at| *at <= world.now.mono),
            None
        );
    }
}

#[test]
fn a_tcp_allocation_gets_no_ticket_to_move_with() {
    let mut world = World::new();
    let asked = raw(ATTR_MOBILITY_TICKET, &[]);
    let answer = ask(
        &mut world,
        control(ALICE),
        METHOD_ALLOCATE,
        &[&tcp(), &asked],
    );
    assert_eq!(answer.code(), 0);
    assert!(!answer.has(ATTR_MOBILITY_TICKET));
}

#[test]
fn what_is_relayed_counts_for_the_allocation() {
    let mut world = permit(with_tcp_allocation(), PEER);
    let id = world.peer_accepted(RELAY, PEER).0.unwrap();
    bind(&mut world, ALICE, id);
    assert!(
        world
            .engine
            .handle_spliced(world.now, id, Towards::Peer, 100)
    );
    assert!(
        world
            .engine
            .handle_spliced(world.now, id, Towards::Client, 1000)
    );
    let view = &world.engine.allocations(world.now)[0];
    assert_eq!((view.to_peers.bytes, view.to_clients.bytes), (100, 1000));
    let snapshot = world.snapshot();
    assert_eq!(
        (snapshot.to_peers.bytes, snapshot.to_clients.bytes),
        (100, 1000)
    );
}

#[test]
fn what_the_limits_have_no_room_for_waits() {
    let mut world = World::limited(limits::Settings {
        bytes_per_second_per_allocation: Some(1000),
        ..limits::Settings::default()
    });
    allocate(&mut world, ALICE);
    let mut world = permit(world, PEER);
    let id = world.peer_accepted(RELAY, PEER).0.unwrap();
    bind(&mut world, ALICE, id);
    let splices = |world: &mut World| {
        world
            .engine
            .handle_spliced(world.now, id, Towards::Peer, 800)
    };
    assert!(splices(&mut world) && !splices(&mut world));
    world.advance(seconds(1));
    assert!(splices(&mut world));
    assert_eq!(world.snapshot().to_peers.bytes, 1600);
}

#[test]
fn connections_to_peers_that_new_rules_deny_end_at_once() {
    let mut world = permit(with_tcp_allocation(), PEER);
    let id = world.peer_accepted(RELAY, PEER).0.unwrap();
    bind(&mut world, ALICE, id);
    world.effects.clear();
    world.apply(|_| {});
    assert!(world.effects.is_empty());
    world.apply(|rules| rules.policy.deny.push("203.0.113.0/24".parse().unwrap()));
    assert!(matches!(world.effects[..], [Effect::ClosePeer(closed)] if closed == id));
    assert_eq!(world.snapshot().peer_connections, 0);
    assert!(world.peer_accepted(RELAY, PEER).0.is_none());
}

#[test]
fn a_tcp_allocation_relays_no_datagrams() {
    let mut world = permit(with_tcp_allocation(), PEER);
    let number = ChannelNumber(0x4000);
    let answer = ask(
        &mut world,
        control(ALICE),
        METHOD_CHANNEL_BIND,
        &[&number, &at(PEER)],
    );
    assert_eq!(answer.code(), 403);
    let payload = raw(ATTR_DATA, b"lost");
    let typ = MessageType::new(METHOD_SEND, CLASS_INDICATION);
    let send = world.unsigned(typ, &[&at(PEER), &payload]);
    assert_eq!(
        world.send(control(ALICE), &send).dropped(),
        DropReason::WrongTransport
    );
    let data = [0x40, 0, 0, 1, 7, 0, 0, 0];
    assert_eq!(
        world.send(control(ALICE), &data).dropped(),
        DropReason::NoChannel
    );
}

#[test]
fn r87_connection_ids_can_neither_be_guessed_nor_mistaken_for_another_workers() {
    let share = Share { number: 2, of: 5 };
    let mut world = World::with(|settings| settings.share = share);
    allocate(&mut world, ALICE);
    let ids: Vec<_> = (0..20)
        .map(|port| connecting(&mut world, &format!("203.0.113.9:{}", 7000 + port)))
        .collect();
    assert!(ids.iter().all(|id| share.owner_of(id.0) == 2));
    let steps: std::collections::HashSet<_> = ids
        .windows(2)
        .map(|two| two[1].0.wrapping_sub(two[0].0))
        .collect();
    assert_eq!(steps.len(), ids.len() - 1);
}

#[test]
fn connections_that_come_and_go_leave_nothing_behind() {
    let mut world = permit(with_tcp_allocation(), PEER);
    for _ in 0..10_000 {
        let id = world.peer_accepted(RELAY, PEER).0.unwrap();
        assert!(world.peer_closed(id).is_none());
    }
    assert_eq!(world.snapshot().peer_connections, 0);
    world.advance(BIND_TIME_MAX);
    assert!(
        !world
            .effects
            .iter()
            .any(|effect| matches!(effect, Effect::ClosePeer(_)))
    );
}

#[test]
fn r58_the_connections_of_one_family_end_with_it() {
    const PEER_V6: &str = "[2001:db8:9::9]:7000";
    let mut world = World::new();
    world.has_ipv6 = true;
    let additional = raw(ATTR_ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    let answer = ask(
        &mut world,
        control(ALICE),
        METHOD_ALLOCATE,
        &[&tcp(), &additional],
    );
    assert_eq!((answer.code(), world.open.len()), (0, 2));
    let v4 = connecting(&mut world, PEER);
    let v6 = connecting(&mut world, PEER_V6);
    let connecting = |id, relay, addr| Effect::ConnectPeer {
        id,
        relay: RelayKey(relay),
        peer: peer(addr),
    };
    let effects = [connecting(v4, 0, PEER), connecting(v6, 1, PEER_V6)];
    assert_eq!(world.effects, effects);
    assert_eq!(world.peer_connected(v6).unwrap().code(), 0);
    world.effects.clear();
    let v6_only = raw(ATTR_REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    let answer = ask(
        &mut world,
        control(ALICE),
        METHOD_REFRESH,
        &[&lifetime(0), &v6_only],
    );
    assert_eq!(answer.code(), 0);
    assert_eq!(world.effects, [Effect::ClosePeer(v6)]);
    assert_eq!(world.peer_connected(v4).unwrap().code(), 0);
    assert_eq!(connect(&mut world, PEER_V6).code(), 443);
}

fn with_tcp_allocation() -> World {
    let mut world = World::new();
    allocate(&mut world, ALICE);
    world
}

fn allocate(world: &mut World, client: Client) {
    assert_eq!(
        ask(world, control(client), METHOD_ALLOCATE, &[&tcp()]).code(),
        0
    );
}

fn permit(mut world: World, peer: &str) -> World {
    let answer = ask(
        &mut world,
        control(ALICE),
        METHOD_CREATE_PERMISSION,
        &[&at(peer)],
    );
    assert_eq!(answer.code(), 0);
    world
}

/// A Connect that is not answered yet.
fn connecting(world: &mut World, peer: &str) -> ConnectionId {
    let bytes = signed(world, ALICE, control(ALICE), METHOD_CONNECT, &[&at(peer)]);
    assert!(matches!(world.send(control(ALICE), &bytes), Did::Silence));
    match world.effects.last() {
        Some(Effect::ConnectPeer { id, .. }) => *id,
        other => panic!("{other:?}"),
    }
}

fn connect(world: &mut World, peer: &str) -> Answer {
    ask(world, control(ALICE), METHOD_CONNECT, &[&at(peer)])
}

fn bind(world: &mut World, client: Client, id: ConnectionId) -> Answer {
    ask(
        world,
        data(client),
        METHOD_CONNECTION_BIND,
        &[&connection(id)],
    )
}

/// Asks as the user who has this address.
fn ask(world: &mut World, from: FiveTuple, method: Method, attributes: &[&dyn Setter]) -> Answer {
    let client = [ALICE, BOB]
        .into_iter()
        .find(|client| client.address().client.ip() == from.client.ip())
        .unwrap();
    let bytes = signed(world, client, from, method, attributes);
    world.send(from, &bytes).answer()
}

fn signed(
    world: &mut World,
    client: Client,
    from: FiveTuple,
    method: Method,
    attributes: &[&dyn Setter],
) -> Vec<u8> {
    let nonce = world.nonce(from);
    world.signed_with(&nonce, (client.user, client.password), method, attributes)
}

fn control(client: Client) -> FiveTuple {
    over(client, Transport::Tcp)
}

/// Another connection of the same client.
fn data(client: Client) -> FiveTuple {
    let mut address = over(client, Transport::Tcp);
    address.client.set_port(5001);
    address
}

fn over(client: Client, transport: Transport) -> FiveTuple {
    FiveTuple {
        transport,
        ..client.address()
    }
}

fn connection(id: ConnectionId) -> RawAttribute {
    raw(ATTR_CONNECTION_ID, &id.to_be_bytes())
}

fn id_in(message: &Answer) -> ConnectionId {
    let value = message.0.get(ATTR_CONNECTION_ID).unwrap();
    ConnectionId::from_be_bytes(value.try_into().unwrap())
}

fn peer(addr: &str) -> PeerAddr {
    PeerAddr(addr.parse().unwrap())
}

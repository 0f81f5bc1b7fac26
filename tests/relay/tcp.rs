//! TCP allocations ([RFC 6062](https://www.rfc-editor.org/rfc/rfc6062)): peers that connect and are connected to, and the
//! client's own connections, which may reach any worker.

use std::{net::SocketAddr, time::Duration};

use setu::clock::Now;
use setu::ident::{ParticipantId, UserId};
use setu::relay::{ExternalAddr, Listen, Settings};
use socket2::SockRef;
use stun::{
    attributes::{ATTR_CONNECTION_ID, ATTR_REQUESTED_ADDRESS_FAMILY, RawAttribute},
    message::{
        Getter, METHOD_ALLOCATE, METHOD_CONNECT, METHOD_CONNECTION_ATTEMPT, METHOD_CONNECTION_BIND,
        Message, Setter,
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use turn::proto::{
    PROTO_TCP, peeraddr::PeerAddress, relayaddr::RelayedAddress, reqtrans::RequestedTransport,
};

use crate::client::{Client, Over, Stream, parsed, peer_attribute};
use crate::world::{PATIENCE, World};

const OVER_STREAMS: [Over; 2] = [Over::Tcp, Over::Tls];

#[tokio::test]
async fn peers_that_are_connected_to_are_relayed_both_ways_whichever_worker_the_client_reaches() {
    for (loopback, family) in [("127.0.0.1:0", 1), ("[::1]:0", 2)] {
        let world = world();
        let peer = TcpListener::bind(loopback).await.unwrap();
        for over in OVER_STREAMS {
            let (mut control, relayed) = allocate(&world, over, family).await;
            // More than there are workers, so that some connections are handed over.
            for round in 0..8_u8 {
                let peer = TcpListener::bind(loopback).await.unwrap();
                let id = connect(&mut control, addr_of(&peer)).await.unwrap();
                let (mut far, from) = peer.accept().await.unwrap();
                assert_eq!(from, relayed, "not from the relayed address");
                let mut near = bind_at(server(&world, over, family), over, id).await;
                far.write_all(&[round; 100]).await.unwrap();
                near.write_all(&[!round; 200]).await.unwrap();
                near.flush().await.unwrap();
                assert_eq!(read(&mut near, 100).await, [round; 100], "{over:?}");
                assert_eq!(read(&mut far, 200).await, [!round; 200], "{over:?}");
            }
            let id = connect(&mut control, addr_of(&peer)).await.unwrap();
            let (far, _) = peer.accept().await.unwrap();
            much_both_ways(bind(&world, over, id).await, far).await;
        }
    }
}

#[tokio::test]
async fn what_is_urgent_is_relayed_in_its_place_and_holds_nothing_up() {
    let world = world();
    let (mut control, relayed) = allocate(&world, Over::Tcp, 1).await;
    let peer = TcpListener::bind("127.0.0.1:0").await.unwrap();
    control.permit(addr_of(&peer)).await.unwrap();
    for calls in [true, false] {
        let (far, id) = if calls {
            let id = connect(&mut control, addr_of(&peer)).await.unwrap();
            (peer.accept().await.unwrap().0, id)
        } else {
            let far = TcpStream::connect(relayed).await.unwrap();
            (far, attempt(&mut control).await.0)
        };
        let near = std::net::TcpStream::connect(world.tcp()).unwrap();
        near.set_nonblocking(true).unwrap();
        let own = near.try_clone().unwrap();
        let mut client = Client::over(TcpStream::from_std(near).unwrap());
        bind_on(&mut client, id).await.unwrap();
        let (mut near, mut far) = (client.into_stream(), far);
        for round in 0..20_u8 {
            let expected = [b"abc", &[round][..], b"!defghi"].concat();
            far.write_all(&expected[..4]).await.unwrap();
            SockRef::from(&far).send_out_of_band(b"!").unwrap();
            far.write_all(b"defghi").await.unwrap();
            assert_eq!(read(&mut near, expected.len()).await, expected);
            near.write_all(&expected[..4]).await.unwrap();
            near.flush().await.unwrap();
            SockRef::from(&own).send_out_of_band(b"!").unwrap();
            near.write_all(b"defghi").await.unwrap();
            near.flush().await.unwrap();
            assert_eq!(read(&mut far, expected.len()).await, expected);
        }
    }
}

#[tokio::test]
async fn a_peer_that_connects_is_announced_and_what_it_sent_before_comes_first() {
    let world = world();
    for over in OVER_STREAMS {
        let (mut control, relayed) = allocate(&world, over, 1).await;
        control
            .permit("127.0.0.1:1".parse().unwrap())
            .await
            .unwrap();
        for _ in 0..4 {
            let mut far = TcpStream::connect(relayed).await.unwrap();
            far.write_all(b"first ").await.unwrap();
            let (id, from) = attempt(&mut control).await;
            assert_eq!(from, far.local_addr().unwrap());
            let mut near = bind(&world, over, id).await;
            far.write_all(b"second").await.unwrap();
            assert_eq!(read(&mut near, 12).await, b"first second", "{over:?}");
            much_both_ways(near, far).await;
        }
    }
}

#[tokio::test]
async fn a_peer_without_permission_is_closed_at_once() {
    let world = world();
    let (mut control, relayed) = allocate(&world, Over::Tcp, 1).await;
    let mut far = TcpStream::connect(relayed).await.unwrap();
    assert!(is_closed(&mut far).await);
    control.bind().await;
}

#[tokio::test]
async fn a_peer_that_refuses_is_a_447_and_one_that_is_connected_a_446() {
    let world = world();
    let (mut control, _) = allocate(&world, Over::Tcp, 1).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = addr_of(&closed);
    drop(closed);
    assert_eq!(connect(&mut control, nobody).await, Err(447));
    let peer = TcpListener::bind("127.0.0.1:0").await.unwrap();
    connect(&mut control, addr_of(&peer)).await.unwrap();
    assert_eq!(connect(&mut control, addr_of(&peer)).await, Err(446));
}

#[tokio::test]
async fn a_relay_does_not_connect_to_the_servers_own_listeners() {
    let world = World::with(|settings| {
        let own = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let own = own.local_addr().unwrap();
        settings.listen_tcp[0].addr = own;
        settings.engine.policy.own_listeners = vec![own];
    });
    let (mut control, relayed) = allocate(&world, Over::Tcp, 1).await;
    assert_eq!(connect(&mut control, world.tcp()).await, Err(403));
    assert_eq!(connect(&mut control, relayed).await, Err(403));
}

#[tokio::test]
async fn bytes_behind_a_connection_bind_in_the_same_segment_reach_the_peer() {
    let world = world();
    for over in OVER_STREAMS {
        let (mut control, _) = allocate(&world, over, 1).await;
        for _ in 0..8 {
            let peer = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let id = connect(&mut control, addr_of(&peer)).await.unwrap();
            let (mut far, _) = peer.accept().await.unwrap();
            let mut client = Client::new(&world, over).await;
            // For its nonce.
            assert_eq!(bind_on(&mut client, [9; 4]).await.err(), Some(400));
            let request = client.signed(METHOD_CONNECTION_BIND, vec![connection(id)]);
            client
                .send_unpadded(&[&request.raw[..], b"hurry"].concat())
                .await;
            assert_eq!(read(&mut far, 5).await, b"hurry", "{over:?}");
        }
    }
}

#[tokio::test]
async fn a_closed_way_is_passed_on_and_the_other_way_stays_open() {
    let world = world();
    for over in OVER_STREAMS {
        let (mut control, _) = allocate(&world, over, 1).await;
        let (mut near, mut far) = pair(&world, &mut control, over).await;
        near.write_all(b"a question").await.unwrap();
        near.shutdown().await.unwrap();
        assert_eq!(read_to_end(&mut far).await, b"a question");
        far.write_all(b"an answer").await.unwrap();
        drop(far);
        assert_eq!(read_to_end(&mut near).await, b"an answer");
        let (mut near, mut far) = pair(&world, &mut control, over).await;
        far.write_all(b"a question").await.unwrap();
        far.shutdown().await.unwrap();
        assert_eq!(read_to_end(&mut near).await, b"a question");
        near.write_all(b"an answer").await.unwrap();
        near.flush().await.unwrap();
        drop(near);
        assert_eq!(read_to_end(&mut far).await, b"an answer");
        let none = "no connections";
        world
            .until(none, |now| now.engine.peer_connections == 0)
            .await;
    }
}

#[tokio::test]
async fn a_slow_reader_slows_its_writer_and_loses_nothing() {
    let world = world();
    let (mut control, _) = allocate(&world, Over::Tcp, 1).await;
    let (mut near, mut far) = pair(&world, &mut control, Over::Tcp).await;
    let chunk = vec![7; 1 << 20];
    let mut written = 0;
    // The kernel's buffers take some; then nobody takes more.
    while let Ok(bytes) = timeout(Duration::from_millis(300), near.write(&chunk)).await {
        written += bytes.unwrap();
        assert!(written < 256 << 20, "no end of it");
    }
    near.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut far).await.len(), written);
}

#[tokio::test]
async fn all_connections_end_with_their_allocation() {
    type End = (&'static str, u8);
    let ends: &[End] = &[("closed", 0), ("Refresh 0", 1), ("revoked", 2)];
    let world = world();
    let dana = ParticipantId::parse("dana").unwrap();
    for (name, end) in ends {
        let hers = world.issue(&dana);
        let (user, password) = (hers.username.as_str(), hers.password.expose().as_str());
        let mut control = Client::as_user(&world, Over::Tcp, user, password).await;
        control
            .request(METHOD_ALLOCATE, || vec![tcp()])
            .await
            .unwrap();
        let peer = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let id = connect(&mut control, addr_of(&peer)).await.unwrap();
        let (mut far, _) = peer.accept().await.unwrap();
        let mut client = Client::as_user(&world, Over::Tcp, user, password).await;
        bind_on(&mut client, id).await.unwrap();
        let mut near = client.into_stream();
        far.write_all(b"x").await.unwrap();
        assert_eq!(read(&mut near, 1).await, b"x");
        let waiting = TcpListener::bind("127.0.0.1:0").await.unwrap();
        connect(&mut control, addr_of(&waiting)).await.unwrap();
        let (mut unbound, _) = waiting.accept().await.unwrap();
        match end {
            0 => drop(control),
            1 => drop(control.refresh(0).await.unwrap()),
            _ => world.relay.revoke(UserId::of(&dana), hers.expires_at),
        }
        assert!(is_closed(&mut near).await, "{name}: the client's");
        assert!(is_closed(&mut far).await, "{name}: the peer's");
        assert!(is_closed(&mut unbound).await, "{name}: the unbound one");
        world
            .until("ports free", |now| now.tcp_ports_in_use == 0)
            .await;
    }
}

#[tokio::test]
async fn two_clients_of_the_server_are_each_others_peers() {
    let world = world();
    let (mut alice, _) = allocate(&world, Over::Tcp, 1).await;
    let (mut bob, his) = allocate(&world, Over::Tls, 1).await;
    bob.permit("127.0.0.1:1".parse().unwrap()).await.unwrap();
    let hers = connect(&mut alice, his).await.unwrap();
    let (his_end, _) = attempt(&mut bob).await;
    let near = bind(&world, Over::Tls, his_end).await;
    much_both_ways(bind(&world, Over::Tcp, hers).await, near).await;
}

#[tokio::test]
async fn a_connection_that_is_somebody_elses_is_not_bound() {
    let world = world();
    let (mut control, _) = allocate(&world, Over::Tcp, 1).await;
    let peer = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let id = connect(&mut control, addr_of(&peer)).await.unwrap();
    let hers = world.issue(&ParticipantId::parse("mallory").unwrap());
    let password = hers.password.expose();
    for over in OVER_STREAMS {
        let mut mallory = Client::as_user(&world, over, &hers.username, password).await;
        assert_eq!(bind_on(&mut mallory, id).await.err(), Some(441), "{over:?}");
        // Her connection is still one of TURN.
        mallory.bind().await;
    }
    bind(&world, Over::Tcp, id).await;
}

#[tokio::test]
async fn tcp_ports_are_not_those_of_udp_and_come_back() {
    let world = world();
    let mut clients = Vec::new();
    for _ in 0..41 {
        clients.push(allocate(&world, Over::Tcp, 1).await.0);
    }
    let mut more = Client::new(&world, Over::Tcp).await;
    assert_eq!(
        more.request(METHOD_ALLOCATE, || vec![tcp()]).await.err(),
        Some(508)
    );
    let mut datagrams = Client::new(&world, Over::Udp).await;
    datagrams.allocate().await.unwrap();
    clients.pop();
    world
        .until("a port free", |now| now.tcp_ports_in_use == 40)
        .await;
    assert!(more.request(METHOD_ALLOCATE, || vec![tcp()]).await.is_ok());
}

#[tokio::test]
async fn what_passes_counts_for_the_allocation() {
    let world = world();
    let (mut control, _) = allocate(&world, Over::Tls, 1).await;
    let (mut near, mut far) = pair(&world, &mut control, Over::Tls).await;
    near.write_all(&[1; 1000]).await.unwrap();
    near.flush().await.unwrap();
    read(&mut far, 1000).await;
    far.write_all(&[2; 500]).await.unwrap();
    read(&mut near, 500).await;
    let [view] = &world.relay.allocations().await[..] else {
        panic!("not one");
    };
    assert_eq!((view.to_peers.bytes, view.to_clients.bytes), (1000, 500));
}

/// Four workers, both families.
fn world() -> World {
    World::with(|settings: &mut Settings| {
        settings.workers = 4;
        for listen in [&mut settings.listen_tcp, &mut settings.listen_tls] {
            let addr = "[::1]:0".parse().unwrap();
            listen.push(Listen {
                addr,
                required: true,
            });
        }
        let v6 = "::1".parse().unwrap();
        settings.external.push(ExternalAddr {
            public: v6,
            local: v6,
        });
    })
}

async fn allocate(world: &World, over: Over, family: u8) -> (Client, SocketAddr) {
    let mut client = Client::at(server(world, over, family), over).await;
    let attributes = || {
        let family: Box<dyn Setter> = Box::new(RawAttribute {
            typ: ATTR_REQUESTED_ADDRESS_FAMILY,
            length: 0,
            value: vec![family, 0, 0, 0],
        });
        vec![tcp(), family]
    };
    let answer = client.request(METHOD_ALLOCATE, attributes).await.unwrap();
    let mut relayed = RelayedAddress::default();
    relayed.get_from(&answer).unwrap();
    (client, SocketAddr::new(relayed.ip, relayed.port))
}

/// The server's address of this family.
fn server(world: &World, over: Over, family: u8) -> SocketAddr {
    let bound = world.relay.bound();
    let listeners = match over {
        Over::Udp | Over::Dtls => panic!("no stream"),
        Over::Tcp => &bound.tcp,
        Over::Tls => &bound.tls,
    };
    listeners[usize::from(family) - 1]
}

/// A client's connection and a peer's, bound to each other.
async fn pair(world: &World, control: &mut Client, over: Over) -> (Box<dyn Stream>, TcpStream) {
    let peer = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let id = connect(control, addr_of(&peer)).await.unwrap();
    let (far, _) = peer.accept().await.unwrap();
    (bind(world, over, id).await, far)
}

async fn connect(control: &mut Client, peer: SocketAddr) -> Result<[u8; 4], u16> {
    let attributes = || vec![peer_attribute(peer)];
    let answer = control.request(METHOD_CONNECT, attributes).await?;
    Ok(id_in(&answer))
}

async fn attempt(control: &mut Client) -> ([u8; 4], SocketAddr) {
    let message = parsed(&control.receive().await);
    assert_eq!(message.typ.method, METHOD_CONNECTION_ATTEMPT);
    let mut peer = PeerAddress::default();
    peer.get_from(&message).unwrap();
    (id_in(&message), SocketAddr::new(peer.ip, peer.port))
}

async fn bind(world: &World, over: Over, id: [u8; 4]) -> Box<dyn Stream> {
    bind_at(server(world, over, 1), over, id).await
}

async fn bind_at(server: SocketAddr, over: Over, id: [u8; 4]) -> Box<dyn Stream> {
    let mut client = Client::at(server, over).await;
    bind_on(&mut client, id).await.unwrap();
    client.into_stream()
}

async fn bind_on(client: &mut Client, id: [u8; 4]) -> Result<Message, u16> {
    client
        .request(METHOD_CONNECTION_BIND, || vec![connection(id)])
        .await
}

fn tcp() -> Box<dyn Setter> {
    Box::new(RequestedTransport {
        protocol: PROTO_TCP,
    })
}

fn connection(id: [u8; 4]) -> Box<dyn Setter> {
    Box::new(RawAttribute {
        typ: ATTR_CONNECTION_ID,
        length: 0,
        value: id.to_vec(),
    })
}

fn id_in(message: &Message) -> [u8; 4] {
    let value = message.get(ATTR_CONNECTION_ID).unwrap();
    value.try_into().unwrap()
}

fn addr_of(peer: &TcpListener) -> SocketAddr {
    peer.local_addr().unwrap()
}

async fn much_both_ways(near: impl AsyncRead + AsyncWrite, far: impl AsyncRead + AsyncWrite) {
    let (near, far) = (tokio::io::split(near), tokio::io::split(far));
    let started = Now::read();
    tokio::join!(
        write_much(near.1, 1),
        write_much(far.1, 2),
        read_much(far.0, 1),
        read_much(near.0, 2),
    );
    assert!(Now::read().mono.duration_since(started.mono) < Duration::from_secs(60));
}

const MUCH: usize = 2 << 20;

/// Bytes that depend on where they are: whatever is lost, repeated or moved shows.
fn byte_at(seed: u32, at: usize) -> u8 {
    let mixed = (at as u32).wrapping_mul(2_654_435_761).wrapping_add(seed);
    mixed.rotate_left(seed).to_be_bytes()[0]
}

async fn write_much(mut to: impl AsyncWrite + Unpin, seed: u32) {
    let bytes: Vec<_> = (0..MUCH).map(|at| byte_at(seed, at)).collect();
    to.write_all(&bytes).await.unwrap();
    to.shutdown().await.unwrap();
}

async fn read_much(mut from: impl AsyncRead + Unpin, seed: u32) {
    let bytes = read_to_end(&mut from).await;
    assert_eq!(bytes.len(), MUCH);
    let wrong = (0..MUCH).find(|at| bytes[*at] != byte_at(seed, *at));
    assert_eq!(wrong, None);
}

async fn read(from: &mut (impl AsyncRead + Unpin + ?Sized), count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    timeout(PATIENCE, from.read_exact(&mut bytes))
        .await
        .unwrap()
        .unwrap();
    bytes
}

async fn read_to_end(from: &mut (impl AsyncRead + Unpin + ?Sized)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = timeout(6 * PATIENCE, from.read_to_end(&mut bytes)).await;
    read.unwrap().unwrap();
    bytes
}

/// Whether it ends, by FIN or RST.
async fn is_closed(stream: &mut (impl AsyncRead + Unpin + ?Sized)) -> bool {
    let mut byte = [0];
    let read = timeout(PATIENCE, stream.read(&mut byte)).await.unwrap();
    matches!(read, Ok(0) | Err(_))
}

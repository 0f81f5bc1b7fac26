//! The numbered requirements that need sockets; the others are in `tests/requirements`.

use std::time::Duration;

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use stun::{
    attributes::{ATTR_EVEN_PORT, ATTR_RESERVATION_TOKEN, RawAttribute},
    message::{BINDING_REQUEST, Getter, METHOD_CREATE_PERMISSION, METHOD_REFRESH, Setter},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};
use turn::proto::relayaddr::RelayedAddress;

use setu::relay::engine::{ChannelRange, PortSharing};

use crate::client::{Client, Over, channel_data, message, peer_attribute};
use crate::world::{PATIENCE, World};

const STREAMS: [Over; 2] = [Over::Tcp, Over::Tls];
/// What a stream that is of no further use may live.
const AT_ONCE: Duration = Duration::from_secs(5);

#[tokio::test]
async fn r16_however_a_stream_is_cut_every_message_is_answered() {
    let world = World::start();
    for over in STREAMS {
        let mut client = Client::new(&world, over).await;
        let requests: Vec<_> = (0..30)
            .map(|_| message(BINDING_REQUEST, Vec::new()))
            .collect();
        let bytes: Vec<_> = requests
            .iter()
            .flat_map(|request| request.raw.clone())
            .collect();
        for size in [1, 7, 19, 20, 21, 600] {
            for piece in bytes.chunks(size) {
                client.send_unpadded(piece).await;
            }
            for request in &requests {
                client.answer_to(request).await;
            }
        }
    }
}

#[tokio::test]
async fn r17_a_stream_that_lost_its_way_is_closed() {
    let world = World::start();
    let cases: &[&[u8]] = &[
        &[0x04],
        &[0x13, 0, 0, 0],
        &[0x3F, 0xFF],
        &[0x80, 0, 0, 0],
        &[0xFF; 100],
        &[0x00, 0x01, 0x00, 0x01],
        &[0x00, 0x01, 0x00, 0x00, 0x21, 0x12, 0xA4, 0x43],
    ];
    for over in STREAMS {
        for case in cases {
            let mut client = Client::new(&world, over).await;
            client.bind().await;
            client.send_unpadded(case).await;
            client.until_closed(AT_ONCE).await;
        }
    }
}

#[tokio::test]
async fn r0a_streams_step_over_reserved_numbers_whichever_channels_there_are() {
    for channels in [ChannelRange::Rfc8656, ChannelRange::Rfc5766] {
        let world = World::with(|settings| settings.engine.channels = channels);
        for over in STREAMS {
            let mut client = Client::new(&world, over).await;
            client.allocate().await.unwrap();
            for number in [0x4FFF, 0x5000, 0x7FFF] {
                client.send_channel_data(number, b"nobody's").await;
                client.bind().await;
            }
            client.refresh(600).await.unwrap();
        }
    }
}

#[tokio::test]
async fn r18_half_a_close_closes_and_frees_the_allocation() {
    let world = World::start();
    for over in STREAMS {
        let mut client = Client::new(&world, over).await;
        client.allocate().await.unwrap();
        client.shut_writing().await;
        client.until_closed(AT_ONCE).await;
        world.until_ports_in_use(0).await;
    }
}

#[tokio::test]
async fn r19_the_tls_port_speaks_tls_1_2_or_later_and_nothing_in_clear() {
    let world = World::start();
    for minor in [0, 1, 2] {
        let mut socket = TcpStream::connect(world.tls()).await.unwrap();
        socket.write_all(&old_hello(minor)).await.unwrap();
        let heard = until_end_of(&mut socket).await;
        // An alert or nothing, but no ServerHello.
        assert!(
            matches!(heard.first(), None | Some(0x15)),
            "TLS 1.{minor}: {heard:x?}"
        );
    }
    let mut clear = TcpStream::connect(world.tls()).await.unwrap();
    clear
        .write_all(&message(BINDING_REQUEST, Vec::new()).raw)
        .await
        .unwrap();
    let heard = until_end_of(&mut clear).await;
    assert!(matches!(heard.first(), None | Some(0x15)), "{heard:x?}");
    Client::new(&world, Over::Tls).await.bind().await;
}

#[tokio::test]
async fn r63_ports_are_of_the_range_and_in_no_order() {
    let range = crate::world::free_range();
    let world = World::with(|settings| settings.relay_ports = range.clone());
    let mut clients = Vec::new();
    let mut ports = Vec::new();
    for _ in 0..20 {
        let mut client = Client::new(&world, Over::Udp).await;
        ports.push(client.allocate().await.unwrap().port());
        clients.push(client);
    }
    assert!(
        ports
            .iter()
            .all(|port| range.contains(port) && *port >= 1024),
        "{ports:?}"
    );
    assert!(
        !ports.is_sorted() && !ports.iter().rev().is_sorted(),
        "{ports:?}"
    );
    assert!(
        ports.windows(2).any(|pair| pair[0].abs_diff(pair[1]) > 4),
        "{ports:?}"
    );
}

#[tokio::test]
async fn r0g_reserved_ports_are_nobody_elses() {
    let world = World::with(|settings| settings.engine.port_sharing = PortSharing::Never);
    let attribute = |typ, value: &[u8]| -> Box<dyn Setter> {
        Box::new(RawAttribute {
            typ,
            length: 0,
            value: value.to_vec(),
        })
    };
    let mut first = Client::new(&world, Over::Udp).await;
    let answer = first
        .allocate_with(|| vec![attribute(ATTR_EVEN_PORT, &[0x80])])
        .await
        .unwrap();
    let token = answer.get(ATTR_RESERVATION_TOKEN).unwrap();
    let mut even = RelayedAddress::default();
    even.get_from(&answer).unwrap();
    // All others there are, until none is left.
    let mut others = Vec::new();
    loop {
        let mut other = Client::new(&world, Over::Udp).await;
        match other.allocate().await {
            Ok(relayed) => {
                assert!(relayed.port().abs_diff(even.port) > 0 && relayed.port() != even.port + 1)
            }
            Err(code) => break assert_eq!(code, 508),
        }
        others.push(other);
    }
    let mut second = Client::new(&world, Over::Udp).await;
    let with_token = || vec![attribute(ATTR_RESERVATION_TOKEN, &token)];
    let answer = second.allocate_with(with_token).await.unwrap();
    let mut next = RelayedAddress::default();
    next.get_from(&answer).unwrap();
    assert_eq!(next.port, even.port + 1);
}

#[tokio::test]
async fn r77_r84_datagrams_of_every_size_pass_whole() {
    let world = World::start();
    for over in Over::ALL {
        let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let addr = peer.local_addr().unwrap();
        let mut client = Client::new(&world, over).await;
        let relayed = client.allocate().await.unwrap();
        client.bind_channel(0x4000, addr).await.unwrap();
        let mut buffer = vec![0; 65_536];
        // A DTLS record holds 16 KiB.
        let largest = if over == Over::Dtls { 16_000 } else { 65_000 };
        for size in [0, 1, 2, 3, 4, 5, 1200, 1400, 16_385, 65_000] {
            let size = largest.min(size);
            let payload: Vec<_> = (0..size).map(|byte| (byte % 251) as u8).collect();
            client.send_channel_data(0x4000, &payload).await;
            let received = timeout(PATIENCE, peer.recv_from(&mut buffer))
                .await
                .unwrap();
            assert_eq!(received.unwrap(), (size, relayed), "{over:?}");
            assert!(buffer[..size] == payload, "{over:?} {size}");
            peer.send_to(&payload, relayed).await.unwrap();
            assert!(
                client.receive_channel_data(0x4000).await == payload,
                "{over:?} {size}"
            );
        }
    }
}

#[tokio::test]
async fn r91_there_is_no_web_server_on_the_relays_ports() {
    let world = World::start();
    for over in STREAMS {
        for request in [
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "POST /admin HTTP/1.0\r\n\r\n",
            "\r\nhelp\r\n",
        ] {
            let mut client = Client::new(&world, over).await;
            client.send_unpadded(request.as_bytes()).await;
            client.until_closed(AT_ONCE).await;
        }
    }
    let mut plain = TcpStream::connect(world.tcp()).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(until_end_of(&mut plain).await, b"");
}

#[tokio::test]
async fn r94_who_dawdles_is_closed_and_delays_nobody() {
    let world = World::start();
    let mut dawdlers = Vec::new();
    for beginning in [
        &[][..],
        &[0x00],
        &[0x00, 0x01, 0xFF, 0xFC, 0x21, 0x12, 0xA4, 0x42],
        &[0x40, 0, 0xFF, 0xFF],
    ] {
        for server in [world.tcp(), world.tls()] {
            for _ in 0..25 {
                let mut socket = TcpStream::connect(server).await.unwrap();
                socket.write_all(beginning).await.unwrap();
                dawdlers.push(socket);
            }
        }
    }
    for over in Over::ALL {
        Client::new(&world, over).await.allocate().await.unwrap();
    }
    let bound = Duration::from_secs(20);
    for socket in &mut dawdlers {
        timeout(bound, socket.read_to_end(&mut Vec::new()))
            .await
            .unwrap()
            .ok();
    }
    world
        .until("no connection", |snapshot| snapshot.connections == 0)
        .await;
}

#[tokio::test]
async fn r95_a_reset_frees_the_port_at_once() {
    let world = World::start();
    for _ in 0..5 {
        let mut socket = Client::new(&world, Over::Tcp).await;
        socket.allocate().await.unwrap();
        world.until_ports_in_use(1).await;
        // Unread data makes the close a reset.
        socket.send(&message(BINDING_REQUEST, Vec::new()).raw).await;
        drop(socket);
        world.until_ports_in_use(0).await;
    }
    world
        .until("no connection", |snapshot| snapshot.connections == 0)
        .await;
}

#[tokio::test]
async fn r98_mutated_messages_leave_the_server_serving() {
    let world = World::start();
    let mut client = Client::new(&world, Over::Udp).await;
    client.allocate().await.unwrap();
    let peer = "127.0.0.1:9".parse().unwrap();
    let mut runner = TestRunner::deterministic();
    let (anywhere, anything) = (any::<usize>(), any::<u8>());
    let mut draw = move || {
        let at = anywhere.new_tree(&mut runner).unwrap().current();
        (at, anything.new_tree(&mut runner).unwrap().current())
    };
    let mut broken = Vec::new();
    for number in 0..6_000 {
        let signed = client.signed(METHOD_CREATE_PERMISSION, vec![peer_attribute(peer)]);
        let mut bytes = signed.raw;
        // A third is rightly signed, and odd behind its signature.
        if number % 3 == 0 {
            let tail = [0x80, 0x22, 0, draw().1 % 8];
            bytes.extend_from_slice(&tail);
        } else {
            for _ in 0..1 + number % 4 {
                let (at, byte) = draw();
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            bytes.truncate(bytes.len() - draw().0 % 3);
        }
        client.send(&bytes).await;
        broken.push(bytes);
    }
    for (number, bytes) in broken.iter().step_by(50).enumerate() {
        let mut stream = Client::new(&world, STREAMS[number % 2]).await;
        stream.send_unpadded(bytes).await;
    }
    for over in Over::ALL {
        let mut after = Client::new(&world, over).await;
        after.allocate().await.unwrap();
        assert!(after.permit(peer).await.is_ok(), "{over:?}");
    }
    world
        .until("few ports in use", |snapshot| snapshot.ports_in_use <= 4)
        .await;
}

#[tokio::test]
async fn r100_what_is_pipelined_is_answered_in_order() {
    let world = World::start();
    let peer = "127.0.0.1:9".parse().unwrap();
    for over in STREAMS {
        let mut client = Client::new(&world, over).await;
        client.allocate().await.unwrap();
        let requests: Vec<_> = (0..60)
            .map(|number| match number % 3 {
                0 => client.signed(METHOD_CREATE_PERMISSION, vec![peer_attribute(peer)]),
                1 => message(BINDING_REQUEST, Vec::new()),
                _ => client.signed(METHOD_REFRESH, Vec::new()),
            })
            .collect();
        let bytes: Vec<_> = requests
            .iter()
            .flat_map(|request| request.raw.clone())
            .collect();
        client
            .send_unpadded(&[bytes, channel_data(0x4001, b"lost")].concat())
            .await;
        for request in &requests {
            let answer = client.receive().await;
            assert_eq!(answer[8..20], request.transaction_id.0, "{over:?}");
        }
    }
}

/// A ClientHello of TLS 1.`minor` - 1, as clients of its time sent it.
fn old_hello(minor: u8) -> Vec<u8> {
    let version = [3, minor];
    let ciphers = [
        0xC0, 0x09, 0xC0, 0x0A, 0xC0, 0x13, 0xC0, 0x14, 0x00, 0x2F, 0x00, 0x35,
    ];
    let body = [&version[..], &[7; 32], &[0], &[0, 12], &ciphers, &[1, 0]].concat();
    let length = u8::try_from(body.len()).unwrap();
    let handshake = [&[1, 0, 0, length][..], &body].concat();
    [&[0x16, 3, minor, 0, length + 4][..], &handshake].concat()
}

async fn until_end_of(socket: &mut TcpStream) -> Vec<u8> {
    let mut heard = Vec::new();
    // A reset is an end too.
    timeout(AT_ONCE, socket.read_to_end(&mut heard))
        .await
        .unwrap()
        .ok();
    heard
}

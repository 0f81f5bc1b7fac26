//! What a hostile or broken client sends harms nobody.

use std::time::Duration;

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use stun::message::{BINDING_REQUEST, CLASS_REQUEST, METHOD_ALLOCATE, MessageType};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

use crate::client::{Client, Over, channel_data, message};
use crate::world::{PATIENCE, World};

#[tokio::test]
async fn any_datagram_is_survived() {
    let world = World::start();
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    stranger.connect(world.udp()).await.unwrap();
    let binding = message(BINDING_REQUEST, Vec::new()).raw;
    for length in 0..binding.len() {
        stranger.send(&binding[..length]).await.unwrap();
    }
    for bytes in [1, 20, 1500, 9000, 65_507] {
        for first in [0x00, 0x01, 0x40, 0x80, 0xFF] {
            stranger.send(&vec![first; bytes]).await.unwrap();
        }
    }
    let mut runner = TestRunner::deterministic();
    let anything = proptest::collection::vec(any::<u8>(), 0..2000);
    for _ in 0..300 {
        let datagram = anything.new_tree(&mut runner).unwrap().current();
        stranger.send(&datagram).await.unwrap();
    }
    for over in Over::ALL {
        Client::new(&world, over).await.bind().await;
    }
}

#[tokio::test]
async fn a_stream_of_single_bytes_is_answered() {
    let world = World::start();
    for over in [Over::Tcp, Over::Tls] {
        let mut client = Client::new(&world, over).await;
        for _ in 0..3 {
            let request = message(BINDING_REQUEST, Vec::new());
            for byte in &request.raw {
                client.send_unpadded(&[*byte]).await;
            }
            client.answer_to(&request).await;
        }
    }
}

#[tokio::test]
async fn many_messages_in_one_write_are_all_answered_in_order() {
    let world = World::start();
    for over in [Over::Tcp, Over::Tls] {
        let mut client = Client::new(&world, over).await;
        let requests: Vec<_> = (0..200)
            .map(|_| message(BINDING_REQUEST, Vec::new()))
            .collect();
        let mut bytes = Vec::new();
        for request in &requests {
            // A channel that nobody bound, and one that nobody can bind: stepped over.
            bytes.extend(channel_data(0x4001, b"lost"));
            bytes.extend(channel_data(0x7001, b"odd!"));
            bytes.extend(&request.raw);
        }
        client.send_unpadded(&bytes).await;
        for request in &requests {
            client.answer_to(request).await;
        }
    }
}

#[tokio::test]
async fn a_stream_that_makes_no_sense_is_closed_at_once() {
    let world = World::start();
    let cases: &[(&str, &[u8])] = &[
        ("a TLS hello in clear", &[0x16, 0x03, 0x01, 0x02, 0x00]),
        ("all ones", &[0xFF; 64]),
        (
            "an odd STUN length",
            &[0x00, 0x01, 0x00, 0x03, 0x21, 0x12, 0xA4, 0x42],
        ),
        (
            "no cookie",
            &[0x00, 0x01, 0x00, 0x00, 0xDE, 0xAD, 0xBE, 0xEF],
        ),
    ];
    for (name, bytes) in cases {
        for over in [Over::Tcp, Over::Tls] {
            let mut client = Client::new(&world, over).await;
            client.send_unpadded(bytes).await;
            client.until_closed(Duration::from_secs(5)).await;
            println!("{name} over {over:?} closed");
        }
    }
    let mut clear_on_tls = TcpStream::connect(world.tls()).await.unwrap();
    let binding = message(BINDING_REQUEST, Vec::new());
    clear_on_tls.write_all(&binding.raw).await.unwrap();
    until_end_of(clear_on_tls, PATIENCE).await;
    world.until("no connection", |s| s.connections == 0).await;
    Client::new(&world, Over::Tls).await.bind().await;
}

#[tokio::test]
async fn a_failed_handshake_is_told_why() {
    let world = World::start();
    let mut clear = TcpStream::connect(world.tls()).await.unwrap();
    clear.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let alert = until_end_of(clear, PATIENCE).await;
    assert_eq!(alert.first(), Some(&0x15), "no TLS alert: {alert:?}");
}

#[tokio::test]
async fn a_client_that_says_nothing_or_half_a_message_is_closed() {
    let world = World::start();
    let (mut silent, mut half) = (
        Client::new(&world, Over::Tcp).await,
        Client::new(&world, Over::Tls).await,
    );
    half.bind().await;
    half.send_unpadded(&[0x00, 0x01]).await;
    let mut stuck_handshake = TcpStream::connect(world.tls()).await.unwrap();
    stuck_handshake
        .write_all(&[0x16, 0x03, 0x01])
        .await
        .unwrap();
    let within = Duration::from_secs(15);
    tokio::join!(
        silent.until_closed(within),
        half.until_closed(within),
        until_end_of(stuck_handshake, within)
    );
    world.until("no connection", |s| s.connections == 0).await;
}

#[tokio::test]
async fn a_client_that_does_not_wait_for_answers_gets_them_all() {
    let world = World::start();
    let allocate = MessageType::new(METHOD_ALLOCATE, CLASS_REQUEST);
    let requests = message(allocate, Vec::new()).raw.repeat(20_000);
    let (mut answers, mut out) = TcpStream::connect(world.tcp()).await.unwrap().into_split();
    let asking = tokio::spawn(async move {
        out.write_all(&requests).await.unwrap();
        // Closing this half is closing the connection: it lives until the answers are here.
        out
    });
    let mut header = [0; 20];
    for number in 0..20_000 {
        let read = timeout(PATIENCE, answers.read_exact(&mut header)).await;
        assert!(matches!(read, Ok(Ok(_))), "answer {number}: {read:?}");
        let mut body = vec![0; usize::from(u16::from_be_bytes([header[2], header[3]]))];
        answers.read_exact(&mut body).await.unwrap();
    }
    drop(asking.await.unwrap());
}

#[tokio::test]
async fn http_on_a_turn_port_is_closed_within_five_seconds() {
    let world = World::start();
    let ask = async |over| {
        let mut client = Client::new(&world, over).await;
        client.send_unpadded(b"GET / HTTP/1.1\r\n\r\n").await;
        client.until_closed(Duration::from_secs(5)).await;
    };
    tokio::join!(ask(Over::Tcp), ask(Over::Tls));
}

#[tokio::test]
async fn a_request_that_comes_byte_by_byte_for_seconds_is_answered() {
    let world = World::start();
    let ask = async |over| {
        let mut client = Client::new(&world, over).await;
        let request = message(BINDING_REQUEST, Vec::new());
        for byte in &request.raw {
            client.send_unpadded(&[*byte]).await;
            // How slow it is.
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        client.answer_to(&request).await;
    };
    tokio::join!(ask(Over::Tcp), ask(Over::Tls));
}

#[tokio::test]
async fn half_a_close_is_a_close_after_the_last_answer() {
    let world = World::start();
    let mut client = Client::new(&world, Over::Tcp).await;
    let request = message(BINDING_REQUEST, Vec::new());
    client.send(&request.raw).await;
    client.shut_writing().await;
    client.answer_to(&request).await;
    client.until_closed(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn hundreds_of_idle_connections_delay_nobody() {
    let world = World::start();
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(TcpStream::connect(world.tcp()).await.unwrap());
        idle.push(TcpStream::connect(world.tls()).await.unwrap());
    }
    for over in Over::ALL {
        let mut client = Client::new(&world, over).await;
        assert!(client.allocate().await.is_ok(), "{over:?}");
    }
}

/// Everything that comes until the server closes.
async fn until_end_of(mut stream: TcpStream, within: Duration) -> Vec<u8> {
    let mut bytes = Vec::new();
    let closed = timeout(within, stream.read_to_end(&mut bytes)).await;
    // A reset is an end too.
    assert!(closed.is_ok(), "still open");
    bytes
}

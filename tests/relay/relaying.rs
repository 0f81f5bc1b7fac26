//! Data between clients and peers, over every transport.

use std::time::Duration;

use stun::message::{METHOD_CHANNEL_BIND, METHOD_REFRESH};
use tokio::{
    net::UdpSocket,
    time::{sleep, timeout},
};
use turn::proto::channum::ChannelNumber;

use crate::client::{Client, Over, channel_data, parsed, peer_attribute};
use crate::world::{PATIENCE, World};

#[tokio::test]
async fn binding_tells_the_reflexive_address() {
    let world = World::start();
    let mut client = Client::new(&world, Over::Udp).await;
    assert_eq!(client.bind().await, client.local_addr());
    for over in [Over::Tcp, Over::Tls] {
        let mapped = Client::new(&world, over).await.bind().await;
        assert!(mapped.ip().is_loopback(), "{over:?}");
    }
}

#[tokio::test]
async fn indications_pass_both_ways_over_every_transport() {
    let world = World::start();
    for over in Over::ALL {
        let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let peer_addr = peer.local_addr().unwrap();
        let mut client = Client::new(&world, over).await;
        let relayed = client.allocate().await.unwrap();
        client.permit(peer_addr).await.unwrap();
        for payload in PAYLOADS {
            client.send_indication(peer_addr, payload).await;
            assert_eq!(
                receive(&peer).await,
                (payload.to_vec(), relayed),
                "{over:?}"
            );
            peer.send_to(payload, relayed).await.unwrap();
            let answer = client.receive_data_indication().await;
            assert_eq!(answer, (peer_addr, payload.to_vec()), "{over:?}");
        }
    }
}

#[tokio::test]
async fn channel_data_passes_both_ways_over_every_transport() {
    let world = World::start();
    for over in Over::ALL {
        let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let peer_addr = peer.local_addr().unwrap();
        let mut client = Client::new(&world, over).await;
        let relayed = client.allocate().await.unwrap();
        client.bind_channel(0x4000, peer_addr).await.unwrap();
        for payload in PAYLOADS {
            client.send_channel_data(0x4000, payload).await;
            assert_eq!(
                receive(&peer).await,
                (payload.to_vec(), relayed),
                "{over:?}"
            );
            peer.send_to(payload, relayed).await.unwrap();
            assert_eq!(
                client.receive_channel_data(0x4000).await,
                *payload,
                "{over:?}"
            );
        }
    }
}

#[tokio::test]
async fn large_datagrams_pass_whole() {
    let world = World::start();
    for over in Over::ALL {
        let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let peer_addr = peer.local_addr().unwrap();
        let mut client = Client::new(&world, over).await;
        let relayed = client.allocate().await.unwrap();
        client.bind_channel(0x4000, peer_addr).await.unwrap();
        // A DTLS record holds 16 KiB.
        let largest = if over == Over::Dtls { 16_000 } else { 65_000 };
        for bytes in [1200, 1400, 9000, largest] {
            let payload: Vec<_> = (0..bytes).map(|n| (n % 251) as u8).collect();
            client.send_channel_data(0x4000, &payload).await;
            assert!(
                receive(&peer).await.0 == payload,
                "{over:?}, {bytes} bytes up"
            );
            peer.send_to(&payload, relayed).await.unwrap();
            let received = client.receive_channel_data(0x4000).await;
            assert!(received == payload, "{over:?}, {bytes} bytes down");
        }
    }
}

#[tokio::test]
async fn two_clients_meet_through_their_relayed_addresses() {
    let world = World::start();
    let mut alice = Client::new(&world, Over::Udp).await;
    let mut bob = Client::new(&world, Over::Tls).await;
    let (at_alice, at_bob) = (
        alice.allocate().await.unwrap(),
        bob.allocate().await.unwrap(),
    );
    alice.bind_channel(0x4001, at_bob).await.unwrap();
    bob.bind_channel(0x4002, at_alice).await.unwrap();
    for n in 0..100_u8 {
        alice.send_channel_data(0x4001, &[n; 100]).await;
        assert_eq!(bob.receive_channel_data(0x4002).await, [n; 100]);
        bob.send_channel_data(0x4002, &[n; 33]).await;
        assert_eq!(alice.receive_channel_data(0x4001).await, [n; 33]);
    }
}

#[tokio::test]
async fn what_is_said_to_several_in_turn_comes_to_each_as_one_train() {
    let world = World::with(|settings| settings.workers = 1);
    let mut speaker = Client::new(&world, Over::Udp).await;
    let at_speaker = speaker.allocate().await.unwrap();
    let mut clients = Vec::new();
    for number in [0x4000, 0x4001] {
        let mut client = Client::new(&world, Over::Udp).await;
        let relayed = client.allocate().await.unwrap();
        client.bind_channel(0x4000, at_speaker).await.unwrap();
        speaker.bind_channel(number, relayed).await.unwrap();
        client.expect_trains();
        clients.push(client);
    }
    let payload = |n: u8| [n; 160];
    let train: Vec<_> = (0..32)
        .map(|n| channel_data(0x4000 + u16::from(n % 2), &payload(n)))
        .collect();
    speaker.send_train(&train).await;
    for (first, client) in (0..2).zip(&mut clients) {
        let expected = (first..32).step_by(2);
        let expected = expected.map(|n| channel_data(0x4000, &payload(n)));
        assert!(client.receive().await == expected.collect::<Vec<_>>().concat());
    }
}

#[tokio::test]
async fn a_channel_is_confirmed_before_anything_comes_on_it() {
    let world = World::start();
    for over in Over::ALL {
        let mut client = Client::new(&world, over).await;
        // What it sends there comes back to itself.
        let relayed = client.allocate().await.unwrap();
        client.bind_channel(0x4000, relayed).await.unwrap();
        for _ in 0..50 {
            let number = Box::new(ChannelNumber(0x4000));
            let again = client.signed(METHOD_CHANNEL_BIND, vec![number, peer_attribute(relayed)]);
            client.send(&again.raw).await;
            client.send_channel_data(0x4000, b"at once").await;
            let answer = parsed(&client.receive().await);
            assert_eq!(answer.transaction_id, again.transaction_id, "{over:?}");
            assert_eq!(client.receive_channel_data(0x4000).await, b"at once");
        }
    }
}

#[tokio::test]
async fn a_burst_to_a_slow_client_keeps_its_order_and_the_answers() {
    let world = World::start();
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let peer_addr = peer.local_addr().unwrap();
    let mut client = Client::new(&world, Over::Tcp).await;
    let relayed = client.allocate().await.unwrap();
    client.bind_channel(0x4000, peer_addr).await.unwrap();
    // Until it is more than the sockets and the relay hold for a client that doesn't read: how much of it the kernel
    // loses before, nobody knows.
    let flood = tokio::spawn(async move {
        for n in 0_u32.. {
            let datagram = [&n.to_be_bytes()[..], &[0; 1196]].concat();
            peer.send_to(&datagram, relayed).await.unwrap();
        }
    });
    world
        .until("something dropped", |snapshot| {
            snapshot.unsent.to_clients > 0
        })
        .await;
    flood.abort();
    assert!(client.refresh(600).await.is_ok());
}

#[tokio::test]
async fn a_slow_client_has_its_last_answer_though_it_says_nothing_more() {
    for over in [Over::Tcp, Over::Tls] {
        let world = World::start();
        let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let peer_addr = peer.local_addr().unwrap();
        let mut client = Client::new(&world, over).await;
        let relayed = client.allocate().await.unwrap();
        client.bind_channel(0x4000, peer_addr).await.unwrap();
        let flood = tokio::spawn(async move {
            loop {
                peer.send_to(&[0; 1200], relayed).await.unwrap();
            }
        });
        world
            .until("something dropped", |snapshot| {
                snapshot.unsent.to_clients > 0
            })
            .await;
        flood.abort();
        let refresh = client.signed(METHOD_REFRESH, vec![]);
        client.send(&refresh.raw).await;
        client.shut_writing().await;
        // It is this slow: nothing is waited for.
        sleep(Duration::from_secs(2)).await;
        client.answer_to(&refresh).await;
        client.until_closed(PATIENCE).await;
    }
}

#[tokio::test]
async fn little_waits_for_a_client_that_does_not_read() {
    let world = World::start();
    for over in [Over::Tcp, Over::Tls] {
        let before = world.relay.snapshot().await;
        let (peer, mut client) = (
            UdpSocket::bind("127.0.0.1:0").await.unwrap(),
            Client::new(&world, over).await,
        );
        let relayed = client.allocate().await.unwrap();
        let peer_addr = peer.local_addr().unwrap();
        client.bind_channel(0x4000, peer_addr).await.unwrap();
        let flood = tokio::spawn(async move {
            loop {
                peer.send_to(&[0; 1200], relayed).await.unwrap();
            }
        });
        // A second's worth of dropped video: nothing has room by now.
        let dropped_before = before.unsent.to_clients;
        world
            .until("much dropped", |snapshot| {
                snapshot.unsent.to_clients > dropped_before + 250
            })
            .await;
        flood.abort();
        let after = world.relay.snapshot().await;
        let relayed = after.engine.to_clients.packets - before.engine.to_clients.packets;
        let waiting = relayed - (after.unsent.to_clients - dropped_before);
        // In the relay, in its socket, and in the client's.
        assert!(
            waiting * 1200 < 1_000_000,
            "{over:?}: {waiting} datagrams wait"
        );
    }
}

#[tokio::test]
async fn a_dead_peer_does_not_end_the_relay_socket() {
    let world = World::start();
    let (dead, peer) = (
        UdpSocket::bind("127.0.0.1:0").await.unwrap(),
        UdpSocket::bind("127.0.0.1:0").await.unwrap(),
    );
    let (dead_addr, peer_addr) = (dead.local_addr().unwrap(), peer.local_addr().unwrap());
    drop(dead);
    let mut client = Client::new(&world, Over::Udp).await;
    let relayed = client.allocate().await.unwrap();
    client.permit(peer_addr).await.unwrap();
    for _ in 0..3 {
        client.send_indication(dead_addr, b"anyone?").await;
        client.send_indication(peer_addr, b"you?").await;
        assert_eq!(receive(&peer).await, (b"you?".to_vec(), relayed));
        peer.send_to(b"me", relayed).await.unwrap();
        let answer = client.receive_data_indication().await;
        assert_eq!(answer, (peer_addr, b"me".to_vec()));
    }
}

async fn receive(peer: &UdpSocket) -> (Vec<u8>, std::net::SocketAddr) {
    let mut buffer = vec![0; 65_536];
    let (bytes, from) = timeout(PATIENCE, peer.recv_from(&mut buffer))
        .await
        .unwrap()
        .unwrap();
    buffer.truncate(bytes);
    (buffer, from)
}

/// Empty, padded by 3, 2, 1 and 0 bytes, and a usual packet.
const PAYLOADS: &[&[u8]] = &[b"", b"a", b"ab", b"abc", b"abcd", &[0x80; 1200]];

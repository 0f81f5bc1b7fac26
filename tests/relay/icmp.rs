//! What clients hear of datagrams that did not arrive, and what they want unfragmented.

use std::net::SocketAddr;

use tokio::{net::UdpSocket, time::timeout};

use crate::client::{Client, Over};
use crate::world::{PATIENCE, World};

#[tokio::test]
async fn r76_a_closed_port_is_told_of_over_every_transport() {
    let world = World::start();
    let dead = dead_port("127.0.0.1:0").await;
    for over in Over::ALL {
        let mut client = Client::new(&world, over).await;
        client.allocate().await.unwrap();
        client.permit(dead).await.unwrap();
        client.send_indication(dead, b"anyone?").await;
        let port_unreachable = vec![0, 0, 6, 3, 0, 0, 0, 0];
        assert_eq!(client.receive_icmp().await, (dead, port_unreachable));
    }
}

#[tokio::test]
async fn r76_a_closed_port_is_told_of_over_ipv6() {
    let world = World::dual();
    let dead = dead_port("[::1]:0").await;
    let mut client = Client::new(&world, Over::Udp).await;
    client.allocate_v6().await;
    client.permit(dead).await.unwrap();
    client.send_indication(dead, b"anyone?").await;
    let port_unreachable = vec![0, 0, 2, 4, 0, 0, 0, 0];
    assert_eq!(client.receive_icmp().await, (dead, port_unreachable));
}

#[tokio::test]
async fn r76_an_unreachable_port_costs_no_other_datagram_its_life() {
    let world = World::start();
    let dead = dead_port("127.0.0.1:0").await;
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let peer_addr = peer.local_addr().unwrap();
    let mut client = Client::new(&world, Over::Udp).await;
    let relayed = client.allocate().await.unwrap();
    client.bind_channel(0x4000, peer_addr).await.unwrap();
    client.bind_channel(0x4001, dead).await.unwrap();
    for n in 0..200_u8 {
        client.send_channel_data(0x4001, b"anyone?").await;
        client.send_channel_data(0x4000, &[n]).await;
        assert_eq!(receive(&peer).await, ([n].to_vec(), relayed));
    }
    for n in 0..50_u8 {
        client.send_channel_data(0x4001, b"anyone?").await;
        peer.send_to(&[n], relayed).await.unwrap();
        assert_eq!(client.receive_channel_data(0x4000).await, [n]);
    }
    assert_eq!(world.relay.snapshot().await.unsent.to_peers, 0);
}

#[tokio::test]
async fn an_operator_may_keep_icmp_to_himself() {
    let world = World::with(|settings| settings.icmp = false);
    let dead = dead_port("127.0.0.1:0").await;
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut client = Client::new(&world, Over::Udp).await;
    let relayed = client.allocate().await.unwrap();
    client.permit(dead).await.unwrap();
    client.send_indication(dead, b"anyone?").await;
    // Loopback tells at once: what comes next is the datagram sent after it.
    peer.send_to(b"me", relayed).await.unwrap();
    let next = client.receive().await;
    assert!(next.windows(2).any(|bytes| bytes == b"me"), "{next:?}");
}

#[tokio::test]
async fn r53_too_big_and_not_to_be_fragmented_does_not_leave_and_is_told_of() {
    let world = World::dual();
    let peer = UdpSocket::bind("[::1]:0").await.unwrap();
    let peer_addr = peer.local_addr().unwrap();
    let mut client = Client::new(&world, Over::Tcp).await;
    let relayed = client.allocate_v6().await;
    client.permit(peer_addr).await.unwrap();
    // With its headers this is 65,548 bytes: loopback's MTU is 65,536.
    let payload = vec![7; 65_500];
    client.send_indication(peer_addr, &payload).await;
    assert!(receive(&peer).await == (payload.clone(), relayed));
    client.send_unfragmented(peer_addr, &payload).await;
    let too_big = vec![0, 0, 4, 0, 0, 1, 0, 0];
    assert_eq!(client.receive_icmp().await, (peer_addr, too_big));
    // What is small enough passes, and the next may be fragmented again.
    client.send_unfragmented(peer_addr, b"small").await;
    assert_eq!(receive(&peer).await, (b"small".to_vec(), relayed));
    client.send_indication(peer_addr, &payload).await;
    assert!(receive(&peer).await == (payload, relayed));
}

async fn dead_port(at: &str) -> SocketAddr {
    let socket = UdpSocket::bind(at).await.unwrap();
    socket.local_addr().unwrap()
}

async fn receive(peer: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 65_536];
    let received = timeout(PATIENCE, peer.recv_from(&mut buffer)).await;
    let (bytes, from) = received.unwrap().unwrap();
    buffer.truncate(bytes);
    (buffer, from)
}

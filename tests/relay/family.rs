//! Relaying between the families: a client of one, relayed addresses and peers of the other, or of both.

use std::net::{Ipv6Addr, SocketAddr};

use setu::relay::Listen;
use setu::relay::wire::attributes::ATTR_ADDITIONAL_ADDRESS_FAMILY;
use stun::attributes::ATTR_REQUESTED_ADDRESS_FAMILY;
use tokio::{net::UdpSocket, time::timeout};

use crate::client::{Attributes, Client, Over, family_attribute, relayed};
use crate::world::{PATIENCE, World};

#[tokio::test]
async fn r49_r56_either_family_of_client_reaches_either_family_of_peer_over_every_transport() {
    let world = both();
    for over in Over::ALL {
        for server in servers(&world, over) {
            for (family, peer) in [(1, "127.0.0.1:0"), (2, "[::1]:0")] {
                let peer = UdpSocket::bind(peer).await.unwrap();
                let mut client = Client::at(server, over).await;
                let asked = || -> Attributes {
                    vec![family_attribute(ATTR_REQUESTED_ADDRESS_FAMILY, family)]
                };
                let answer = client.allocate_with(asked).await.unwrap();
                let at = relayed(&answer)[0];
                exchange(&mut client, &peer, at, 0x4000).await;
            }
        }
    }
}

#[tokio::test]
async fn r58_a_dual_allocation_reaches_both_families_at_once() {
    let world = both();
    let four = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let six = UdpSocket::bind("[::1]:0").await.unwrap();
    for over in Over::ALL {
        for server in servers(&world, over) {
            let mut client = Client::at(server, over).await;
            let both =
                || -> Attributes { vec![family_attribute(ATTR_ADDITIONAL_ADDRESS_FAMILY, 2)] };
            let answer = client.allocate_with(both).await.unwrap();
            let addrs = relayed(&answer);
            assert!(addrs[0].is_ipv4() && addrs[1].is_ipv6(), "{addrs:?}");
            exchange(&mut client, &four, addrs[0], 0x4000).await;
            exchange(&mut client, &six, addrs[1], 0x4001).await;
            let in_use = world.relay.snapshot().await.ports_in_use;
            client.refresh(0).await.unwrap();
            let left = world.relay.snapshot().await.ports_in_use;
            assert_eq!(in_use - left, 2);
        }
    }
}

/// Data both ways, in indications and over a channel.
async fn exchange(client: &mut Client, peer: &UdpSocket, relayed: SocketAddr, channel: u16) {
    let peer_addr = peer.local_addr().unwrap();
    client.permit(peer_addr).await.unwrap();
    client.send_indication(peer_addr, b"ping").await;
    assert_eq!(receive(peer).await, (b"ping".to_vec(), relayed));
    peer.send_to(b"pong", relayed).await.unwrap();
    let answer = client.receive_data_indication().await;
    assert_eq!(answer, (peer_addr, b"pong".to_vec()));
    client.bind_channel(channel, peer_addr).await.unwrap();
    client.send_channel_data(channel, b"ping").await;
    assert_eq!(receive(peer).await, (b"ping".to_vec(), relayed));
    peer.send_to(b"pong", relayed).await.unwrap();
    assert_eq!(client.receive_channel_data(channel).await, b"pong");
}

/// Listens on both loopback addresses, and relays on both.
fn both() -> World {
    World::with(|settings| {
        settings.external = crate::world::both_loopbacks();
        let six = Listen {
            addr: SocketAddr::from((Ipv6Addr::LOCALHOST, 0)),
            required: true,
        };
        settings.listen_udp.push(six);
        settings.listen_tcp.push(six);
        settings.listen_tls.push(six);
        settings.listen_dtls.push(six);
    })
}

fn servers(world: &World, over: Over) -> [SocketAddr; 2] {
    let bound = world.relay.bound();
    let bound = match over {
        Over::Udp => &bound.udp,
        Over::Tcp => &bound.tcp,
        Over::Tls => &bound.tls,
        Over::Dtls => &bound.dtls,
    };
    [bound[0], bound[1]]
}

async fn receive(peer: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 2048];
    let received = timeout(PATIENCE, peer.recv_from(&mut buffer)).await;
    let (bytes, from) = received.unwrap().unwrap();
    buffer.truncate(bytes);
    (buffer, from)
}

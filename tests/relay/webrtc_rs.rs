//! webrtc-rs' `turn` client, an implementation that is not ours.

use std::sync::Arc;

use tokio::{net::UdpSocket, time::timeout};
use turn::client::{Client, ClientConfig};
use webrtc_util::Conn;

use crate::world::{PASSWORD, PATIENCE, USER, World};

#[tokio::test]
async fn webrtc_rs_allocates_and_exchanges_data_with_a_peer() {
    let world = World::start();
    let client = client(&world).await;
    let relay = client.allocate().await.unwrap();
    let relayed = relay.local_addr().unwrap();
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let peer_addr = peer.local_addr().unwrap();
    let mut buffer = [0; 1500];
    // The first goes as an indication, later ones on the channel that the client binds by the way.
    for n in 0..20_u8 {
        relay.send_to(&[n; 170], peer_addr).await.unwrap();
        let (bytes, from) = timeout(PATIENCE, peer.recv_from(&mut buffer))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((&buffer[..bytes], from), (&[n; 170][..], relayed));
        peer.send_to(&[n; 171], relayed).await.unwrap();
        let (bytes, from) = timeout(PATIENCE, relay.recv_from(&mut buffer))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((&buffer[..bytes], from), (&[n; 171][..], peer_addr));
    }
    relay.close().await.unwrap();
    world.until_ports_in_use(0).await;
}

#[tokio::test]
async fn webrtc_rs_learns_its_reflexive_address() {
    let world = World::start();
    let client = client(&world).await;
    let mapped = client.send_binding_request().await.unwrap();
    assert!(mapped.ip().is_loopback());
}

async fn client(world: &World) -> Client {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let client = Client::new(ClientConfig {
        stun_serv_addr: world.udp().to_string(),
        turn_serv_addr: world.udp().to_string(),
        username: USER.to_owned(),
        password: PASSWORD.to_owned(),
        realm: String::new(),
        software: String::new(),
        rto_in_ms: 0,
        conn: Arc::new(socket),
        vnet: None,
    })
    .await
    .unwrap();
    client.listen().await.unwrap();
    client
}

//! What the rest of the process asks of the relay: traffic by user, allocations, the end of one.

use std::collections::HashSet;

use setu::ident::{ParticipantId, UserId};
use setu::relay::engine::Traffic;
use setu::relay::engine::five_tuple::Transport;
use tokio::net::UdpSocket;

use crate::client::{Client, Over};
use crate::world::{PATIENCE, USER, World};

#[tokio::test]
async fn usage_is_summed_over_all_allocations_of_a_user_on_whichever_worker() {
    let world = World::start();
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let peer_addr = peer.local_addr().unwrap();
    let mut clients = Vec::new();
    for n in 0..12 {
        let mut client = Client::new(&world, Over::ALL[n % 3]).await;
        let relayed = client.allocate().await.unwrap();
        client.bind_channel(0x4000, peer_addr).await.unwrap();
        client.send_channel_data(0x4000, b"namaste").await;
        let (_, from) = receive(&peer).await;
        assert_eq!(from, relayed);
        peer.send_to(b"om", relayed).await.unwrap();
        client.receive_channel_data(0x4000).await;
        clients.push(client);
    }
    for client in &mut clients[..5] {
        client.refresh(0).await.unwrap();
    }
    let user = UserId::Static(USER.into());
    let usage = world.relay.usage().await;
    assert_eq!(usage.len(), 1);
    assert_eq!(usage[&user].allocations, 7);
    assert_eq!(usage[&user].to_peers, traffic(12, 12 * 7));
    assert_eq!(usage[&user].to_clients, traffic(12, 12 * 2));
    let asked = vec![user.clone(), UserId::Anyone];
    assert_eq!(world.relay.usage_of(asked).await, usage);

    world.relay.forget_usage(&user);
    let usage = world.relay.usage_of(vec![user.clone()]).await;
    assert_eq!(usage[&user].to_peers, traffic(7, 7 * 7));
}

#[tokio::test]
async fn allocations_are_shown_and_ended_one_by_one() {
    let world = World::start();
    let alice = ParticipantId::parse("alice").unwrap();
    let issued = world.issue(&alice);
    let mut clients = Vec::new();
    for over in Over::ALL {
        let password = issued.password.expose();
        let mut client = Client::as_user(&world, over, &issued.username, password).await;
        let relayed = client.allocate().await.unwrap();
        clients.push((client, relayed));
    }
    let views = world.relay.allocations().await;
    let ids: HashSet<_> = views.iter().map(|view| view.id.clone()).collect();
    let transports: HashSet<_> = views.iter().map(|view| view.client.transport).collect();
    let all = Over::ALL.len();
    assert_eq!((ids.len(), transports.len()), (all, all));
    assert!(views.iter().all(|view| view.user == UserId::of(&alice)));
    let over_udp = views
        .iter()
        .find(|view| view.client.transport == Transport::Udp)
        .unwrap();
    assert_eq!(over_udp.relayed, clients[0].1);
    assert_eq!(over_udp.client.client, clients[0].0.local_addr());
    assert_eq!(over_udp.client.server, world.udp());

    assert!(world.relay.close_allocation(&over_udp.id).await);
    assert!(!world.relay.close_allocation(&over_udp.id).await);
    assert!(!world.relay.close_allocation("no id").await);
    let left = world.relay.allocations().await;
    assert_eq!(left.len(), all - 1);
    assert!(left.iter().all(|view| view.id != over_udp.id));
    assert_eq!(world.relay.snapshot().await.ports_in_use, all - 1);
    assert_eq!(clients[0].0.refresh(600).await.err(), Some(437));
    assert!(clients[0].0.allocate().await.is_ok());
}

#[tokio::test]
async fn a_stopped_relay_answers_with_nothing() {
    let world = World::start();
    let mut client = Client::new(&world, Over::Udp).await;
    client.allocate().await.unwrap();
    let id = world.relay.allocations().await.remove(0).id;
    world.relay.stop().await;
    assert!(world.relay.usage().await.is_empty());
    assert!(world.relay.allocations().await.is_empty());
    assert!(!world.relay.close_allocation(&id).await);
}

fn traffic(packets: u64, bytes: u64) -> Traffic {
    Traffic { packets, bytes }
}

async fn receive(peer: &UdpSocket) -> (Vec<u8>, std::net::SocketAddr) {
    let mut buffer = vec![0; 2048];
    let received = tokio::time::timeout(PATIENCE, peer.recv_from(&mut buffer)).await;
    let (bytes, from) = received.unwrap().unwrap();
    buffer.truncate(bytes);
    (buffer, from)
}

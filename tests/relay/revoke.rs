//! Revocation: on every worker, at once.

use std::{collections::HashSet, time::Duration};

use setu::ident::{ParticipantId, UserId};
use setu::relay::engine::{AllocationView, DropReason};
use tokio::{net::UdpSocket, time::timeout};

use crate::client::{Client, Over};
use crate::world::World;

#[tokio::test]
async fn a_revoked_user_loses_allocations_and_credential_at_once() {
    let world = World::start();
    let alice = ParticipantId::parse("alice").unwrap();
    let bob = ParticipantId::parse("bob").unwrap();
    let (hers, his) = (world.issue(&alice), world.issue(&bob));
    let mut clients = Vec::new();
    for over in Over::ALL {
        for credential in [&hers, &his] {
            let password = credential.password.expose();
            let mut client = Client::as_user(&world, over, &credential.username, password).await;
            client.allocate().await.unwrap();
            clients.push(client);
        }
    }
    world.relay.revoke(UserId::of(&alice), hers.expires_at);
    world.until_ports_in_use(Over::ALL.len()).await;
    let password = hers.password.expose();
    let mut again = Client::as_user(&world, Over::Udp, &hers.username, password).await;
    assert_eq!(again.allocate().await, Err(401));
}

#[tokio::test]
async fn every_worker_refuses_a_revoked_credential_within_a_second_and_relays_nothing_more() {
    let world = World::with(|settings| settings.workers = 4);
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let peer_addr = peer.local_addr().unwrap();
    let alice = ParticipantId::parse("alice").unwrap();
    let hers = world.issue(&alice);
    let mut clients = Vec::new();
    // The kernel spreads them by their ports.
    while workers_with_allocations(&world).await < 4 {
        assert!(clients.len() < 41, "some worker is never chosen");
        let password = hers.password.expose();
        let mut client = Client::as_user(&world, Over::Udp, &hers.username, password).await;
        client.allocate().await.unwrap();
        client.bind_channel(0x4000, peer_addr).await.unwrap();
        clients.push(client);
    }
    let all_refused = async {
        world.until_ports_in_use(0).await;
        for client in &mut clients {
            client.send_channel_data(0x4000, b"late").await;
            assert_eq!(client.refresh(600).await.err(), Some(401));
            assert_eq!(client.allocate().await, Err(401));
        }
    };
    world.relay.revoke(UserId::of(&alice), hers.expires_at);
    timeout(Duration::from_secs(1), all_refused).await.unwrap();
    let engine = world.relay.snapshot().await.engine;
    assert_eq!((engine.allocations, engine.to_peers.packets), (0, 0));
    let dropped = engine.dropped(DropReason::NoAllocation);
    assert_eq!(dropped, clients.len() as u64);
}

/// A worker numbers its allocations one after the other, from a number of its own.
async fn workers_with_allocations(world: &World) -> usize {
    let views = world.relay.allocations().await;
    let number = |view: &AllocationView| u64::from_str_radix(&view.id, 16).unwrap();
    let workers: HashSet<_> = views.iter().map(|view| number(view) >> 16).collect();
    workers.len()
}

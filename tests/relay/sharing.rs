//! Few ports and many clients, on real sockets: everybody hears what is theirs, and nobody what is not.

use std::net::SocketAddr;

use setu::ident::ParticipantId;
use setu::relay::engine::{DropReason, PortSharing};
use tokio::net::UdpSocket;

use crate::client::{Client, Over};
use crate::world::World;

const OF_PEER: u16 = 0x4000;
const OF_FRIEND: u16 = 0x4001;

struct Member {
    client: Client,
    relayed: SocketAddr,
    peer: UdpSocket,
}

/// So many clients, each of a user of its own, with a peer of its own.
async fn crowd(world: &World, count: usize) -> Vec<Member> {
    let mut members = Vec::new();
    for number in 0..count {
        let user = ParticipantId::parse(&format!("guest{number}")).unwrap();
        let credential = world.issue(&user);
        let (over, password) = (Over::ALL[number % 3], credential.password.expose());
        let mut client = Client::as_user(world, over, &credential.username, password).await;
        let relayed = client.allocate().await.unwrap();
        let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let addr = peer.local_addr().unwrap();
        client.bind_channel(OF_PEER, addr).await.unwrap();
        members.push(Member {
            client,
            relayed,
            peer,
        });
    }
    members
}

#[tokio::test]
async fn four_ports_carry_sixty_clients_with_peers_behind_one_address() {
    for sharing in [PortSharing::WhenFull, PortSharing::Always] {
        let world = World::with(|settings| {
            let first = *settings.relay_ports.start();
            settings.relay_ports = first..=first + 3;
            settings.engine.port_sharing = sharing;
        });
        let mut members = crowd(&world, 60).await;
        let snapshot = world.relay.snapshot().await;
        assert_eq!(snapshot.engine.allocations, 60);
        assert!(snapshot.ports_in_use <= 4 && snapshot.engine.shared >= 56);
        for (number, member) in members.iter_mut().enumerate() {
            let up = format!("up {number}");
            member
                .client
                .send_channel_data(OF_PEER, up.as_bytes())
                .await;
            let mut room = [0; 100];
            let (bytes, from) = member.peer.recv_from(&mut room).await.unwrap();
            assert_eq!((&room[..bytes], from), (up.as_bytes(), member.relayed));
        }
        for (number, member) in members.iter().enumerate() {
            let down = format!("down {number}");
            member
                .peer
                .send_to(down.as_bytes(), member.relayed)
                .await
                .unwrap();
        }
        for (number, member) in members.iter_mut().enumerate() {
            let received = member.client.receive_channel_data(OF_PEER).await;
            assert_eq!(received, format!("down {number}").into_bytes());
        }
        let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        stranger
            .send_to(b"whose?", members[0].relayed)
            .await
            .unwrap();
        world
            .until("something ambiguous", |snapshot| {
                snapshot.engine.dropped(DropReason::Ambiguous) == 1
            })
            .await;
        for member in &mut members {
            member.client.refresh(0).await.unwrap();
        }
        world.until_ports_in_use(0).await;
    }
}

#[tokio::test]
async fn relayed_clients_talk_to_each_other_on_any_worker_and_any_port_in_order() {
    for sharing in [PortSharing::Never, PortSharing::WhenFull] {
        let world = World::with(|settings| {
            if sharing == PortSharing::WhenFull {
                let first = *settings.relay_ports.start();
                settings.relay_ports = first..=first + 7;
            }
            settings.engine.port_sharing = sharing;
        });
        let mut members = crowd(&world, 32).await;
        // Each with all whom it shares no pair of addresses with yet.
        let mut pairs = Vec::new();
        let mut taken = std::collections::HashSet::new();
        for one in 0..members.len() {
            let other = one ^ 1;
            let (from, to) = (members[one].relayed, members[other].relayed);
            if one < other && taken.insert((from, to)) && taken.insert((to, from)) {
                members[one]
                    .client
                    .bind_channel(OF_FRIEND, to)
                    .await
                    .unwrap();
                members[other]
                    .client
                    .bind_channel(OF_FRIEND, from)
                    .await
                    .unwrap();
                pairs.push((one, other));
            }
        }
        assert!(pairs.len() >= 8, "{}", pairs.len());
        for (one, other) in pairs {
            for (from, to) in [(one, other), (other, one)] {
                for number in 0..20 {
                    let said = format!("{from} to {to}: {number}");
                    members[from]
                        .client
                        .send_channel_data(OF_FRIEND, said.as_bytes())
                        .await;
                }
                for number in 0..20 {
                    let heard = members[to].client.receive_channel_data(OF_FRIEND).await;
                    assert_eq!(heard, format!("{from} to {to}: {number}").into_bytes());
                }
            }
        }
    }
}

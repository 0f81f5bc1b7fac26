//! Few ports and many clients, on real sockets: everybody hears what is theirs, and nobody what is not.

use std::net::SocketAddr;

use setu::ident::ParticipantId;
use setu::relay::engine::{DropReason, PortSharing};
use stun::agent::TransactionId;
use stun::attributes::ATTR_USERNAME;
use stun::message::{BINDING_REQUEST, Message};
use stun::textattrs::Username;
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
        let pairs: Vec<_> = (0..members.len())
            .step_by(2)
            .map(|one| (one, one + 1))
            .collect();
        for (one, other) in &pairs {
            for (from, to) in [(one, other), (other, one)] {
                let to = members[*to].relayed;
                let from = &mut members[*from].client;
                from.bind_channel(OF_FRIEND, to).await.unwrap();
            }
        }
        // As ICE does: the first check teaches who sends it, and may come to nobody.
        for (one, other) in &pairs {
            let first = &mut members[*one].client;
            first
                .send_channel_data(OF_FRIEND, &check(*other, *one))
                .await;
            // Once this is answered, that was served.
            first.refresh(600).await.unwrap();
            for (from, to) in [(*other, *one), (*one, *other)] {
                let check = check(to, from);
                let client = &mut members[from].client;
                client.send_channel_data(OF_FRIEND, &check).await;
                let heard = members[to].client.receive_channel_data(OF_FRIEND).await;
                assert_eq!(heard, check);
            }
        }
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
                    let heard = next_said(&mut members[to].client, &check(to, from)).await;
                    assert_eq!(heard, format!("{from} to {to}: {number}").into_bytes());
                }
            }
        }
    }
}

/// What a client hears next from its friend, the first check left out, which came where it was known whom it was for.
async fn next_said(client: &mut Client, check: &[u8]) -> Vec<u8> {
    loop {
        let heard = client.receive_channel_data(OF_FRIEND).await;
        if heard != check {
            return heard;
        }
    }
}

/// A connectivity check, as each of them sends it to the other one.
fn check(to: usize, from: usize) -> Vec<u8> {
    let username = Username::new(ATTR_USERNAME, format!("agent{to}:agent{from}"));
    // The same each time.
    let id = TransactionId([from as u8; 12]);
    let mut message = Message::new();
    message
        .build(&[Box::new(BINDING_REQUEST), Box::new(id), Box::new(username)])
        .unwrap();
    message.raw
}

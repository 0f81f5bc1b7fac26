//! Clients that move with their allocation, whichever worker their new address leads to.

use setu::relay::wire::attributes::ATTR_MOBILITY_TICKET;
use stun::message::{METHOD_REFRESH, Message};
use tokio::{net::UdpSocket, time::timeout};

use crate::client::{Attributes, Client, Over, raw_attribute};
use crate::world::{PATIENCE, World};

#[tokio::test]
async fn an_allocation_moves_to_whichever_worker_the_new_address_leads_to() {
    let world = World::start();
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let peer_addr = peer.local_addr().unwrap();
    for over in Over::ALL {
        let mut client = Client::new(&world, over).await;
        let (relayed, mut ticket) = allocate(&mut client).await;
        client.bind_channel(0x4000, peer_addr).await.unwrap();
        let mut abandoned = Vec::new();
        // Among eight addresses both workers are met.
        for n in 0..8_u8 {
            let mut moved = Client::new(&world, over).await;
            let answer = moved.refresh_with(ticket).await.unwrap();
            ticket = answer.get(ATTR_MOBILITY_TICKET).unwrap();
            // Until it sends, everything goes to where it was.
            peer.send_to(&[n], relayed).await.unwrap();
            assert_eq!(client.receive_channel_data(0x4000).await, [n], "{over:?}");
            moved.send_channel_data(0x4000, &[n]).await;
            assert_eq!(receive(&peer).await, [n], "{over:?}");
            peer.send_to(&[n, n], relayed).await.unwrap();
            assert_eq!(moved.receive_channel_data(0x4000).await, [n, n], "{over:?}");
            moved.bind_channel(0x4000, peer_addr).await.unwrap();
            abandoned.push(std::mem::replace(&mut client, moved));
        }
        assert_eq!(world.relay.snapshot().await.engine.allocations, 1);
        client.refresh(0).await.unwrap();
        world.until_ports_in_use(0).await;
        // Its last address is as free as any other.
        client.allocate().await.unwrap();
        client.refresh(0).await.unwrap();
    }
}

async fn allocate(client: &mut Client) -> (std::net::SocketAddr, Vec<u8>) {
    let mobile = || -> Attributes { vec![raw_attribute(ATTR_MOBILITY_TICKET, &[])] };
    let answer = client.allocate_with(mobile).await.unwrap();
    let relayed = crate::client::relayed(&answer)[0];
    (relayed, answer.get(ATTR_MOBILITY_TICKET).unwrap())
}

impl Client {
    async fn refresh_with(&mut self, ticket: Vec<u8>) -> Result<Message, u16> {
        let attributes = || -> Attributes { vec![raw_attribute(ATTR_MOBILITY_TICKET, &ticket)] };
        self.request(METHOD_REFRESH, attributes).await
    }
}

async fn receive(peer: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 2048];
    let (bytes, _) = timeout(PATIENCE, peer.recv_from(&mut buffer))
        .await
        .unwrap()
        .unwrap();
    buffer.truncate(bytes);
    buffer
}

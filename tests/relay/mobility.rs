//! Clients that move with their allocation, whichever worker their new address leads to.

use std::{io::IoSliceMut, os::fd::AsRawFd};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use setu::relay::wire::attributes::ATTR_MOBILITY_TICKET;
use stun::message::{METHOD_REFRESH, Message};
use tokio::{io::Interest, net::UdpSocket, time::timeout};

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

#[tokio::test]
async fn what_a_client_says_keeps_its_traffic_class_wherever_it_moves() {
    let world = World::start();
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    setsockopt(&peer, sockopt::IpRecvTos, &true).unwrap();
    let mut client = Client::new(&world, Over::Udp).await;
    let (_, mut ticket) = allocate(&mut client).await;
    client
        .bind_channel(0x4000, peer.local_addr().unwrap())
        .await
        .unwrap();
    // Among eight addresses both workers are met.
    for n in 0..8_u8 {
        let mut moved = Client::new(&world, Over::Udp).await;
        let answer = moved.refresh_with(ticket).await.unwrap();
        ticket = answer.get(ATTR_MOBILITY_TICKET).unwrap();
        // DSCP EF, and a number in ECN's two bits.
        let traffic_class = (46 << 2) | (n % 3);
        moved.mark(traffic_class);
        for _ in 0..2 {
            moved.send_channel_data(0x4000, &[n]).await;
            assert_eq!(receive_marked(&peer).await, traffic_class, "{n}");
        }
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

/// DSCP and ECN of the next datagram.
async fn receive_marked(peer: &UdpSocket) -> u8 {
    let receive = || {
        let (mut room, mut control) = ([0; 100], nix::cmsg_space!(u8));
        let mut rooms = [IoSliceMut::new(&mut room)];
        let flags = MsgFlags::empty();
        let received = recvmsg::<()>(peer.as_raw_fd(), &mut rooms, Some(&mut control), flags)?;
        let Some(ControlMessageOwned::Ipv4Tos(class)) = received.cmsgs()?.next() else {
            panic!("no traffic class");
        };
        Ok(class)
    };
    let receive = peer.async_io(Interest::READABLE, receive);
    timeout(PATIENCE, receive).await.unwrap().unwrap()
}

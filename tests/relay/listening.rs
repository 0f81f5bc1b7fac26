//! Listeners: every address of the machine, both families, whole batches.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use quinn_udp::{Transmit, UdpSocketState};
use setu::relay::{ExternalAddr, Listen, Settings};
use stun::{
    attributes::{ATTR_REQUESTED_ADDRESS_FAMILY, RawAttribute},
    message::{BINDING_REQUEST, Getter, Setter},
};
use tokio::{net::UdpSocket, time::timeout};
use turn::proto::relayaddr::RelayedAddress;

use crate::client::{Client, Over, message};
use crate::world::{PATIENCE, World};

#[tokio::test]
async fn r4_an_answer_comes_from_the_address_that_was_asked() {
    let world = World::with(on_every_address);
    for ip in ["127.0.0.1", "127.0.0.2", "127.8.9.10"] {
        let ip: IpAddr = ip.parse().unwrap();
        for over in Over::ALL {
            let server = SocketAddr::new(ip, port_of(&world, over, 0));
            let mut client = Client::at(server, over).await;
            client.bind().await;
            assert!(client.allocate().await.is_ok(), "{server} over {over:?}");
        }
    }
}

#[tokio::test]
async fn an_ipv6_client_is_relayed_over_ipv4_and_ipv6() {
    let world = World::with(on_every_address);
    for over in Over::ALL {
        let server = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port_of(&world, over, 1));
        for (family, loopback) in [(1, "127.0.0.1:0"), (2, "[::1]:0")] {
            let mut client = Client::at(server, over).await;
            let in_family = || vec![requested_family(family)];
            let answer = client.allocate_with(in_family).await.unwrap();
            let mut relayed = RelayedAddress::default();
            relayed.get_from(&answer).unwrap();
            let relayed = SocketAddr::new(relayed.ip, relayed.port);

            let peer = UdpSocket::bind(loopback).await.unwrap();
            let peer_addr = peer.local_addr().unwrap();
            client.bind_channel(0x4FFF, peer_addr).await.unwrap();
            client.send_channel_data(0x4FFF, b"six").await;
            let mut buffer = [0; 16];
            let received = timeout(PATIENCE, peer.recv_from(&mut buffer)).await;
            assert_eq!(received.unwrap().unwrap(), (3, relayed), "{over:?}");
            peer.send_to(b"seven", relayed).await.unwrap();
            assert_eq!(client.receive_channel_data(0x4FFF).await, b"seven");
        }
    }
}

#[tokio::test]
async fn a_train_of_datagrams_is_taken_apart() {
    let world = World::start();
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let sender = UdpSocketState::new((&socket).into()).unwrap();
    assert!(sender.max_gso_segments() > 1, "this kernel has no UDP GSO");
    let requests: Vec<_> = (0..40)
        .map(|_| message(BINDING_REQUEST, Vec::new()))
        .collect();
    let train: Vec<_> = requests.iter().flat_map(|one| one.raw.clone()).collect();
    let transmit = Transmit {
        destination: world.udp(),
        ecn: None,
        contents: &train,
        segment_size: Some(20),
        src_ip: None,
    };
    sender.try_send((&socket).into(), &transmit).unwrap();
    let socket = UdpSocket::from_std(socket).unwrap();
    let mut buffer = [0; 1500];
    for request in requests {
        let bytes = timeout(PATIENCE, socket.recv(&mut buffer)).await;
        assert!(bytes.unwrap().unwrap() > 20);
        assert_eq!(buffer[8..20], request.transaction_id.0);
    }
}

#[test]
fn a_family_that_this_machine_lacks_is_skipped_unless_required() {
    let elsewhere = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 200), 0));
    let world = World::with(|settings| {
        settings.listen_udp.push(Listen {
            addr: elsewhere,
            required: false,
        });
    });
    assert_eq!(world.relay.bound().udp.len(), 1);
}

/// 0.0.0.0 first, then [::].
fn on_every_address(settings: &mut Settings) {
    let any: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
    let listens = any.map(|ip| Listen {
        addr: SocketAddr::new(ip, 0),
        required: true,
    });
    settings.listen_udp = listens.to_vec();
    settings.listen_tcp = listens.to_vec();
    settings.listen_tls = listens.to_vec();
    settings.listen_dtls = listens.to_vec();
    settings.external.push(ExternalAddr {
        public: Ipv6Addr::LOCALHOST.into(),
        local: Ipv6Addr::LOCALHOST.into(),
    });
}

fn port_of(world: &World, over: Over, listener: usize) -> u16 {
    let bound = world.relay.bound();
    match over {
        Over::Udp => bound.udp[listener].port(),
        Over::Tcp => bound.tcp[listener].port(),
        Over::Tls => bound.tls[listener].port(),
        Over::Dtls => bound.dtls[listener].port(),
    }
}

fn requested_family(family: u8) -> Box<dyn Setter> {
    Box::new(RawAttribute {
        typ: ATTR_REQUESTED_ADDRESS_FAMILY,
        length: 4,
        value: vec![family, 0, 0, 0],
    })
}

//! IPv4 and IPv6 on either side of the relay.

use std::net::{SocketAddr, UdpSocket};

use crate::bytes::*;
use crate::client::{Client, Over, peer, receive};
use crate::internet::*;
use crate::server::Server;

const BOTH: &str = "198.51.100.1,2001:db8:1::1";

/// An allocation of this family relays to the peer and back, by indication and by channel.
#[track_caller]
pub(crate) fn relays(
    client: &mut Client,
    family: u8,
    (socket, addr): &(UdpSocket, SocketAddr),
) -> SocketAddr {
    let relayed = client.allocate(Builder::request(ALLOCATE).udp().family(family));
    client.permit(*addr);
    client.send_to(*addr, b"to the peer");
    assert_eq!(receive(socket), (b"to the peer".to_vec(), relayed));
    socket.send_to(b"to the client", relayed).unwrap();
    let data = client.data();
    assert_eq!(data.get(attr::DATA), Some(&b"to the client"[..]));
    assert_eq!(data.address(attr::XOR_PEER_ADDRESS), *addr);
    client.bind(0x4000, *addr);
    client.on_channel(0x4000, &[7; 1200]);
    assert_eq!(receive(socket), (vec![7; 1200], relayed));
    socket.send_to(&[9; 1200], relayed).unwrap();
    assert_eq!(client.receive(), channel_data(0x4000, 1200, &[9; 1200]));
    relayed
}

#[test]
fn every_family_of_client_reaches_every_family_of_peer() {
    let internet = Internet::new();
    let _server = Server::start(&internet.server, BOTH);
    let peers = [(1, PEER), (2, PEER_V6)].map(|(family, ip)| (family, peer(&internet.peer, ip)));
    for over in Over::ALL {
        for server in [SERVER, SERVER_V6] {
            for (family, peer) in &peers {
                let mut client = Client::new(&internet.client, server, over);
                let relayed = relays(&mut client, *family, peer);
                let expected = if *family == 1 { SERVER } else { SERVER_V6 };
                assert_eq!(
                    relayed.ip(),
                    expected.parse::<std::net::IpAddr>().unwrap(),
                    "{over:?}"
                );
            }
        }
    }
}

#[test]
fn an_ipv6_client_is_seen_as_it_is() {
    let internet = Internet::new();
    let _server = Server::start(&internet.server, BOTH);
    for over in Over::ALL {
        let mut client = Client::new(&internet.client, SERVER_V6, over);
        assert_eq!(
            client.mapped().ip(),
            CLIENT_V6.parse::<std::net::IpAddr>().unwrap(),
            "{over:?}"
        );
    }
}

//! What routers say: unreachable networks, and paths narrower than a datagram
//! ([RFC 8656 §11.5](https://www.rfc-editor.org/rfc/rfc8656#section-11.5)).

use std::net::SocketAddr;

use crate::bytes::*;
use crate::client::{Client, Over, peer, receive};
use crate::internet::*;
use crate::server::Server;

const BOTH: &str = "198.51.100.1,2001:db8:1::1";

/// Type, code and error data of an ICMP attribute.
fn icmp(data: &Parsed) -> (u8, u8, u32) {
    let value = data.get(attr::ICMP).unwrap();
    let bits = u16::from_be_bytes([value[2], value[3]]);
    let error = u32::from_be_bytes(value[4..8].try_into().unwrap());
    ((bits >> 9) as u8, bits as u8, error)
}

#[test]
fn a_routers_unreachable_reaches_the_client() {
    let internet = Internet::new();
    let _server = Server::start(&internet.server, BOTH);
    internet.router.ip("route add unreachable 192.0.2.128/25");
    internet
        .router
        .ip("-6 route add unreachable 2001:db8:9::/64");
    // Host unreachable, and no route to the destination. Few in all: a router says so at a limited rate.
    let cases = [
        (Over::Udp, 1, "192.0.2.200:7000", (3, 1)),
        (Over::Tcp, 2, "[2001:db8:9::1]:7000", (1, 0)),
    ];
    for (over, family, nowhere, (typ, code)) in cases {
        let nowhere: SocketAddr = nowhere.parse().unwrap();
        let mut client = Client::new(&internet.client, SERVER, over);
        client.allocate(Builder::request(ALLOCATE).udp().family(family));
        client.permit(nowhere);
        client.send_to(nowhere, b"anybody?");
        let data = client.data();
        assert_eq!(data.address(attr::XOR_PEER_ADDRESS).ip(), nowhere.ip());
        let (got_type, got_code, _) = icmp(&data);
        assert_eq!((got_type, got_code), (typ, code), "{over:?}");
        assert!(!data.has(attr::DATA), "{over:?}");
    }
}

#[test]
fn a_closed_port_harms_neither_the_relay_nor_other_peers() {
    let internet = Internet::new();
    let _server = Server::start(&internet.server, BOTH);
    let (socket, addr) = peer(&internet.peer, PEER);
    let closed = SocketAddr::new(addr.ip(), 9);
    let mut client = Client::new(&internet.client, SERVER, Over::Udp);
    let relayed = client.allocate(Builder::request(ALLOCATE).udp());
    client.permit(addr);
    for round in 0..20_u8 {
        client.send_to(closed, b"nobody");
        client.send_to(addr, &[round]);
        assert_eq!(receive(&socket), (vec![round], relayed));
    }
    socket.send_to(b"still here", relayed).unwrap();
    let answers = std::iter::repeat_with(|| client.data());
    let data = answers.take(50).find(|data| data.has(attr::DATA)).unwrap();
    assert_eq!(data.get(attr::DATA), Some(&b"still here"[..]));
}

#[test]
fn a_narrow_path_is_told_where_fragments_are_forbidden_and_hidden_where_not() {
    let internet = Internet::new();
    let _server = Server::start(&internet.server, BOTH);
    internet.router.ip("link set peer mtu 1280");
    internet.peer.ip("link set eth0 mtu 1280");
    let (socket, addr) = peer(&internet.peer, PEER);
    let mut client = Client::new(&internet.client, SERVER, Over::Tcp);
    let relayed = client.allocate(
        Builder::request(ALLOCATE)
            .udp()
            .attr(attr::DONT_FRAGMENT, &[]),
    );
    client.permit(addr);
    client.send_to(addr, &[7; 1400]);
    assert_eq!(receive(&socket), (vec![7; 1400], relayed));
    let whole = |size: usize| {
        let send = Builder::indication(SEND).peer(&addr.to_string());
        send.data(&vec![9; size])
            .attr(attr::DONT_FRAGMENT, &[])
            .done()
    };
    client.send(&whole(1400));
    assert_eq!(icmp(&client.data()), (3, 4, 1280));
    client.send(&whole(1200));
    assert_eq!(receive(&socket), (vec![9; 1200], relayed));
    // And whoever does not ask goes on as before.
    client.send_to(addr, &[8; 1400]);
    assert_eq!(receive(&socket), (vec![8; 1400], relayed));
}

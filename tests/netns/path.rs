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
    let (internet, _server) = narrow_path();
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
    client.send(&whole(addr, &[9; 1400]));
    assert_eq!(icmp(&client.data()), (3, 4, 1280));
    client.send(&whole(addr, &[9; 1200]));
    assert_eq!(receive(&socket), (vec![9; 1200], relayed));
    // And whoever does not ask goes on as before.
    client.send_to(addr, &[8; 1400]);
    assert_eq!(receive(&socket), (vec![8; 1400], relayed));
}

/// A Send indication.
fn send(peer: SocketAddr, payload: &[u8]) -> Builder {
    let send = Builder::indication(SEND).peer(&peer.to_string());
    send.data(payload)
}

/// One not to be fragmented.
fn whole(peer: SocketAddr, payload: &[u8]) -> Vec<u8> {
    send(peer, payload).attr(attr::DONT_FRAGMENT, &[]).done()
}

fn narrow_path() -> (Internet, Server) {
    let internet = Internet::new();
    let server = Server::start(&internet.server, BOTH);
    internet.router.ip("link set peer mtu 1280");
    internet.peer.ip("link set eth0 mtu 1280");
    (internet, server)
}

#[test]
fn a_narrow_path_costs_nothing_that_goes_another_way() {
    let (internet, _server) = narrow_path();
    for (family, narrow, wide) in [(1, PEER, NAT), (2, PEER_V6, CLIENT_V6)] {
        let (_behind, narrow) = peer(&internet.peer, narrow);
        let there = if family == 1 {
            &internet.nat
        } else {
            &internet.client
        };
        let (socket, wide) = peer(there, wide);
        let mut client = Client::new(&internet.client, SERVER, Over::Tcp);
        let relayed = client.allocate(
            Builder::request(ALLOCATE)
                .udp()
                .family(family)
                .attr(attr::DONT_FRAGMENT, &[]),
        );
        client.permit(narrow);
        client.permit(wide);
        for round in 0..20_u8 {
            // What the path is like is found out anew.
            internet.server.ip("route flush cache");
            internet.server.ip("-6 route flush cache");
            let small = send(wide, &[round]).done();
            client.send(&[whole(narrow, &[7; 1400]), small].concat());
            assert_eq!(receive(&socket), (vec![round], relayed));
        }
    }
}

/// Routers of IPv6 fragment nothing.
#[test]
fn a_narrow_path_costs_nothing_of_the_batch_behind() {
    let (internet, _server) = narrow_path();
    let (_behind, narrow) = peer(&internet.peer, PEER_V6);
    let wide = [(); 3].map(|()| peer(&internet.client, CLIENT_V6));
    let mut client = Client::new(&internet.client, SERVER, Over::Tcp);
    let relayed = client.allocate(Builder::request(ALLOCATE).udp().family(2));
    client.permit(narrow);
    client.permit(wide[0].1);
    for round in 0..20_u8 {
        internet.server.ip("-6 route flush cache");
        // What is too big is the last of what leaves in one system call.
        let mut all = send(wide[0].1, b"many").done().repeat(63);
        all.extend(send(narrow, &[7; 1400]).done());
        let behind = |(_, addr): &(_, SocketAddr)| send(*addr, &[round]).done();
        all.extend(wide.iter().flat_map(behind));
        client.send(&all);
        for _ in 0..63 {
            assert_eq!(receive(&wide[0].0), (b"many".to_vec(), relayed));
        }
        for (socket, _) in &wide {
            assert_eq!(receive(socket), (vec![round], relayed));
        }
    }
}

#[test]
fn a_slow_link_costs_nothing_that_goes_another_way() {
    let internet = Internet::new();
    internet.server.cable("slow", &internet.peer, "slow");
    internet.server.address("slow", "203.0.114.1/24");
    internet.peer.address("slow", "203.0.114.2/24");
    let link = "qdisc add dev slow root tbf rate 8kbit burst 1600 limit 1600";
    internet.server.tc(link);
    let _server = Server::start(&internet.server, BOTH);
    let (_behind, slow) = peer(&internet.peer, "203.0.114.2");
    let (socket, addr) = peer(&internet.peer, PEER);
    let mut client = Client::new(&internet.client, SERVER, Over::Tcp);
    let relayed = client.allocate(Builder::request(ALLOCATE).udp());
    client.permit(slow);
    client.permit(addr);
    let each = |round| {
        [send(slow, &[7; 1000]), send(addr, &[round; 4])]
            .map(Builder::done)
            .concat()
    };
    let all: Vec<u8> = (0..40).flat_map(each).collect();
    client.send(&all);
    for round in 0..40 {
        assert_eq!(receive(&socket), (vec![round; 4], relayed));
    }
}

#[test]
fn each_datagram_too_big_for_a_known_path_is_told_of_once() {
    let (internet, _server) = narrow_path();
    let peers = [(); 3].map(|()| peer(&internet.peer, PEER));
    let mut client = Client::new(&internet.client, SERVER, Over::Tcp);
    let relayed = client.allocate(
        Builder::request(ALLOCATE)
            .udp()
            .attr(attr::DONT_FRAGMENT, &[]),
    );
    client.permit(peers[0].1);
    client.send(&whole(peers[0].1, &[7; 1400]));
    assert_eq!(icmp(&client.data()), (3, 4, 1280));
    // From now on it is the server's own kernel that refuses.
    let all = peers.each_ref().map(|(_, addr)| whole(*addr, &[7; 1400]));
    client.send(&all.concat());
    let mut told = [(); 3].map(|()| client.data().address(attr::XOR_PEER_ADDRESS));
    told.sort_unstable();
    let mut sent = peers.each_ref().map(|(_, addr)| *addr);
    sent.sort_unstable();
    assert_eq!(told, sent);
    // And of nothing else.
    peers[0].0.send_to(b"next", relayed).unwrap();
    assert_eq!(client.data().get(attr::DATA), Some(&b"next"[..]));
}

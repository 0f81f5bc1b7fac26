//! Allocations on one port whose peers are all behind one symmetric NAT: only ICE's checks tell them apart.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use crate::bytes::*;
use crate::client::{Client, Over, receive, udp};
use crate::internet::*;
use crate::server::Server;

/// A client and whom it talks to.
struct Call {
    number: usize,
    client: Client,
    relayed: SocketAddr,
    peer: UdpSocket,
}

impl Call {
    /// As signaling has it: the client permits the address by which a STUN server knows its peer, which is not the one
    /// that the relay will hear from.
    fn prepare(internet: &Internet, number: usize, over: Over) -> Self {
        let user = format!("guest{number}");
        let mut client = Client::as_user(&internet.peer, SERVER, over, &user);
        let relayed = client.allocate(Builder::request(ALLOCATE).udp());
        let server: IpAddr = SERVER.parse().unwrap();
        let peer = internet.client.enter(|| udp(server));
        let binding = Builder::request(BINDING).done();
        peer.send_to(&binding, (server, 3478)).unwrap();
        let known_as = Parsed::read(&receive(&peer).0).address(attr::XOR_MAPPED_ADDRESS);
        client.permit(known_as);
        client.send_to(known_as, &check(&format!("peer{number}"), &user));
        // Once this is answered, that was served.
        assert_eq!(client.ask(Builder::request(REFRESH)).code(), 0);
        Self {
            number,
            client,
            relayed,
            peer,
        }
    }

    fn client_hears(&mut self) -> (Vec<u8>, SocketAddr) {
        loop {
            let data = self.client.data();
            // Others tell that the NAT turns its first check away (ICMP).
            if let Some(payload) = data.get(attr::DATA) {
                return (payload.to_vec(), data.address(attr::XOR_PEER_ADDRESS));
            }
        }
    }
}

/// A connectivity check for the agent `to`.
fn check(to: &str, from: &str) -> Vec<u8> {
    let check = Builder::request(BINDING).text(attr::USERNAME, &format!("{to}:{from}"));
    check.done()
}

#[test]
fn calls_through_shared_ports_with_peers_behind_one_symmetric_nat_find_each_other() {
    let internet = Internet::new();
    let users: Vec<String> = (0..9)
        .map(|number| format!("guest{number}:{}", crate::server::PASSWORD))
        .collect();
    let environment = [
        ("SETU_TURN__RELAY_PORTS", "49160-49162"),
        // Of several one might have a single call, on a port that it does not share.
        ("SETU_TURN__WORKERS", "1"),
        ("SETU_TURN__USERS", &users.join(",")),
    ];
    let _server = Server::with(&internet.server, SERVER, &environment);
    let mut calls: Vec<Call> = (0..9)
        .map(|number| Call::prepare(&internet, number, Over::ALL[number % 3]))
        .collect();
    assert!(calls.iter().all(|call| call.relayed.port() <= 49162));
    // Nothing tells whose this is: it must come to nobody.
    for call in &calls {
        call.peer.send_to(b"too early", call.relayed).unwrap();
    }
    let mut mapped = Vec::new();
    for call in &mut calls {
        let number = call.number;
        let check = check(&format!("guest{number}"), &format!("peer{number}"));
        call.peer.send_to(&check, call.relayed).unwrap();
        let (heard, from) = call.client_hears();
        assert_eq!(heard, check, "{number}");
        assert_eq!(from.ip(), NAT.parse::<IpAddr>().unwrap());
        mapped.push(from);
    }
    // From here on no check is needed, either way.
    for (call, mapped) in calls.iter_mut().zip(mapped) {
        call.client.bind(0x4000, mapped);
        let (up, down) = (
            format!("up {}", call.number),
            format!("down {}", call.number),
        );
        call.client.on_channel(0x4000, up.as_bytes());
        assert_eq!(receive(&call.peer), (up.into_bytes(), call.relayed));
        call.peer.send_to(down.as_bytes(), call.relayed).unwrap();
        let expected = channel_data(0x4000, down.len(), down.as_bytes());
        assert_eq!(call.client.receive(), expected, "{}", call.number);
    }
}

//! Address translators: the client's, symmetric and forgetful, and the server's, one to one.

use std::net::IpAddr;

use crate::bytes::*;
use crate::client::{Client, Over, peer, receive};
use crate::families::relays;
use crate::internet::*;
use crate::namespace::ends_well;
use crate::server::Server;

#[test]
fn a_client_behind_a_symmetric_nat_relays_over_every_transport() {
    let internet = Internet::new();
    let _server = Server::start(&internet.server, SERVER);
    for over in Over::ALL {
        let mut client = Client::new(&internet.client, SERVER, over);
        assert_eq!(
            client.mapped().ip(),
            NAT.parse::<IpAddr>().unwrap(),
            "{over:?}"
        );
        relays(&mut client, 1, &peer(&internet.peer, PEER));
    }
}

#[test]
fn what_nobody_permitted_does_not_come_through() {
    let internet = Internet::new();
    let _server = Server::start(&internet.server, SERVER);
    let mut client = Client::new(&internet.client, SERVER, Over::Udp);
    let relayed = client.allocate(Builder::request(ALLOCATE).udp());
    let ((stranger, _), (friend, addr)) = (
        peer(&internet.router, "192.0.2.1"),
        peer(&internet.peer, PEER),
    );
    client.permit(addr);
    stranger.send_to(b"uninvited", relayed).unwrap();
    friend.send_to(b"invited", relayed).unwrap();
    assert_eq!(client.data().get(attr::DATA), Some(&b"invited"[..]));
}

#[test]
fn a_rebinding_nat_costs_one_stale_nonce_and_a_new_allocation() {
    let internet = Internet::new();
    let _server = Server::start(&internet.server, SERVER);
    let (socket, addr) = peer(&internet.peer, PEER);
    let mut client = Client::new(&internet.client, SERVER, Over::Udp);
    let first = client.allocate(Builder::request(ALLOCATE).udp());
    let before = client.mapped();
    ends_well(internet.nat.command("conntrack").arg("-F"), "");
    let after = client.mapped();
    assert_ne!(before, after, "the NAT did not forget");
    // The same socket, another five-tuple: the old nonce is not for it.
    let stale = client.ask(Builder::request(REFRESH));
    assert_eq!(stale.code(), 438);
    client.challenge();
    assert_eq!(client.ask(Builder::request(REFRESH)).code(), 437);
    let second = client.allocate(Builder::request(ALLOCATE).udp());
    assert_ne!(first, second);
    client.permit(addr);
    client.send_to(addr, b"again");
    assert_eq!(receive(&socket), (b"again".to_vec(), second));
}

#[test]
fn a_server_behind_one_to_one_nat_tells_its_public_address() {
    let internet = Internet::with_server_behind_nat();
    let _server = Server::start(&internet.server, &format!("{SERVER}/{SERVER_PRIVATE}"));
    let peer = peer(&internet.peer, PEER);
    for over in Over::ALL {
        let mut client = Client::new(&internet.client, SERVER, over);
        assert_eq!(
            client.mapped().ip(),
            NAT.parse::<IpAddr>().unwrap(),
            "{over:?}"
        );
        let relayed = relays(&mut client, 1, &peer);
        assert_eq!(relayed.ip(), SERVER.parse::<IpAddr>().unwrap(), "{over:?}");
    }
}

#[test]
fn a_relay_behind_one_to_one_nat_is_reached_by_its_public_address_only() {
    let internet = Internet::with_server_behind_nat();
    let external = format!("{SERVER}/{SERVER_PRIVATE}");
    let allowed = [("SETU_PEERS__ALLOW", "10.0.0.0/8")];
    let _server = Server::with(&internet.server, &external, &allowed);
    let mut client = Client::new(&internet.client, SERVER, Over::Udp);
    client.allocate(Builder::request(ALLOCATE).udp());
    for (number, (ip, port, expected)) in (0x4001..).zip([
        (SERVER, 49160, 0),
        (SERVER_PRIVATE, 49160, 403),
        (SERVER_PRIVATE, 49201, 0),
    ]) {
        let request = Builder::request(CHANNEL_BIND).channel(number);
        let code = client.ask(request.peer(&format!("{ip}:{port}"))).code();
        assert_eq!(code, expected, "{ip}:{port}");
    }
}

#[test]
fn private_peers_and_the_server_itself_stay_out_of_reach() {
    let internet = Internet::with_server_behind_nat();
    let _server = Server::start(&internet.server, &format!("{SERVER}/{SERVER_PRIVATE}"));
    let mut client = Client::new(&internet.client, SERVER, Over::Udp);
    client.allocate(Builder::request(ALLOCATE).udp());
    for peer in [
        "10.0.0.1:53",
        "10.0.0.5:3001",
        "127.0.0.1:3001",
        "169.254.169.254:80",
        "192.168.1.1:53",
    ] {
        let request = Builder::request(CREATE_PERMISSION).peer(peer);
        let code = client.ask(request).code();
        let request = Builder::request(CHANNEL_BIND).channel(0x4001).peer(peer);
        assert_eq!((code, client.ask(request).code()), (403, 403), "{peer}");
    }
}

//! Two people in the world, who reach each other through the relay alone.

use std::net::{SocketAddr, UdpSocket};

use serde_json::Value;

use super::bytes::*;
use super::common::{DEADLINE, get};
use super::machine::PUBLIC;
use super::namespace::Namespace;

/// Each asks for credentials, allocates, permits the other, and hears what the other says, from a relayed address.
pub(crate) fn relayed(world: &Namespace) {
    let [mut alice, mut bob] = ["alice", "bob"].map(|name| world.enter(|| Person::new(name)));
    alice.permit(bob.relayed);
    bob.permit(alice.relayed);
    alice.say(bob.relayed, b"are you there?");
    assert_eq!(bob.hears(), (alice.relayed, b"are you there?".to_vec()));
    bob.say(alice.relayed, b"yes");
    assert_eq!(alice.hears(), (bob.relayed, b"yes".to_vec()));
    // Whoever is not relayed is reached too: from the relay's public address.
    let peer = world.enter(|| UdpSocket::bind("198.51.100.200:0").unwrap());
    peer.set_read_timeout(Some(DEADLINE)).unwrap();
    let addr = peer.local_addr().unwrap();
    alice.permit(addr);
    alice.say(addr, b"and you?");
    let mut buffer = [0; 64];
    let (len, from) = peer.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..len], from), (&b"and you?"[..], alice.relayed));
}

struct Person {
    socket: UdpSocket,
    user: String,
    key: Vec<u8>,
    realm: String,
    nonce: String,
    relayed: SocketAddr,
}

impl Person {
    fn new(name: &str) -> Self {
        let http = SocketAddr::new(PUBLIC.parse().unwrap(), 3001);
        let answer = get(http, &format!("/ice-servers?participantId={name}")).json();
        let server = &answer["iceServers"][1];
        let url = server["urls"][0].as_str().unwrap();
        assert_eq!(url, format!("turn:{PUBLIC}:3478?transport=udp"));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect((PUBLIC, 3478)).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let (user, password) = (text(&server["username"]), text(&server["credential"]));
        let mut person = Self {
            socket,
            key: Vec::new(),
            realm: String::new(),
            nonce: String::new(),
            relayed: SocketAddr::from(([0, 0, 0, 0], 0)),
            user,
        };
        let challenge = person.exchange(Builder::request(ALLOCATE).udp());
        assert_eq!(challenge.code(), 401);
        (person.realm, person.nonce) = (challenge.text(attr::REALM), challenge.text(attr::NONCE));
        person.key = key(&person.user, &person.realm, &password);
        let allocated = person.ask(Builder::request(ALLOCATE).udp());
        person.relayed = allocated.relayed()[0];
        assert_eq!(person.relayed.ip().to_string(), PUBLIC);
        person
    }

    fn permit(&mut self, peer: SocketAddr) {
        self.ask(Builder::request(CREATE_PERMISSION).peer(&peer.to_string()));
    }

    fn say(&self, to: SocketAddr, words: &[u8]) {
        let send = Builder::indication(SEND).peer(&to.to_string());
        self.socket.send(&send.data(words).done()).unwrap();
    }

    fn hears(&mut self) -> (SocketAddr, Vec<u8>) {
        let data = self.receive();
        assert_eq!((data.method, data.class), (DATA, Class::Indication));
        let words = data.get(attr::DATA).unwrap().to_vec();
        (data.address(attr::XOR_PEER_ADDRESS), words)
    }

    fn ask(&mut self, request: Builder) -> Parsed {
        let request = request.login(&self.user, &self.realm, &self.nonce);
        let answer = self.exchange(request.integrity(&self.key));
        assert_eq!(answer.code(), 0, "{answer:?}");
        answer
    }

    fn exchange(&mut self, request: Builder) -> Parsed {
        self.socket.send(&request.done()).unwrap();
        self.receive()
    }

    fn receive(&self) -> Parsed {
        let mut buffer = [0; 2048];
        let len = self.socket.recv(&mut buffer).unwrap();
        Parsed::read(&buffer[..len])
    }
}

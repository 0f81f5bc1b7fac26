//! Where tests hand in bytes and read what comes back, checked against what holds for every answer.

use std::collections::HashMap;
use std::net::SocketAddr;

use setu::relay::engine::Settings;
use setu::relay::engine::five_tuple::{FiveTuple, Transport};
use setu::relay::engine::limits;

use crate::bytes::*;
use crate::world::{Answer, Did, World, seconds};

/// A user and a password.
pub(crate) type Login<'t> = (&'t str, &'t str);

pub(crate) const ALICE: Login<'_> = ("alice", "north");
pub(crate) const BOB: Login<'_> = ("bob", "south");
pub(crate) const PEER: &str = "203.0.113.9:7000";
pub(crate) const PEER_V6: &str = "[2001:db8::9]:7000";
/// The test world's policy denies it.
pub(crate) const FORBIDDEN: &str = "203.0.113.66:7000";

pub(crate) struct Desk {
    pub(crate) world: World,
    nonces: HashMap<FiveTuple, String>,
}

#[derive(Debug)]
pub(crate) enum Got {
    Answer(Parsed),
    ToPeer(SocketAddr, Vec<u8>),
    ToClient(Vec<u8>),
    Silence,
}

impl Got {
    #[track_caller]
    pub(crate) fn answer(self) -> Parsed {
        match self {
            Self::Answer(answer) => answer,
            Self::ToPeer(..) | Self::ToClient(..) | Self::Silence => panic!("no answer: {self:?}"),
        }
    }

    pub(crate) fn is_silence(&self) -> bool {
        matches!(self, Self::Silence)
    }

    #[track_caller]
    pub(crate) fn outward(self) -> (SocketAddr, Vec<u8>) {
        match self {
            Self::ToPeer(peer, payload) => (peer, payload),
            Self::Answer(_) | Self::ToClient(..) | Self::Silence => panic!("not relayed: {self:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn inward(self) -> Vec<u8> {
        match self {
            Self::ToClient(bytes) => bytes,
            Self::Answer(_) | Self::ToPeer(..) | Self::Silence => panic!("not relayed: {self:?}"),
        }
    }
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::of(World::with(change))
    }

    pub(crate) fn limited(limits: limits::Settings) -> Self {
        Self::of(World::limited(limits))
    }

    fn of(mut world: World) -> Self {
        world.has_ipv6 = true;
        Self {
            world,
            nonces: HashMap::new(),
        }
    }

    /// With an allocation of Alice's on [`home`].
    pub(crate) fn allocated() -> Self {
        let mut desk = Self::new();
        assert_eq!(
            desk.ask(home(), ALICE, Builder::request(ALLOCATE).udp())
                .code(),
            0
        );
        desk
    }

    /// And a permission for [`PEER`].
    pub(crate) fn permitted() -> Self {
        let mut desk = Self::allocated();
        assert_eq!(desk.permit(PEER), 0);
        desk
    }

    /// And a channel, 0x4000.
    pub(crate) fn bound() -> Self {
        let mut desk = Self::allocated();
        assert_eq!(desk.bind(0x4000, PEER), 0);
        desk
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub(crate) fn send(&mut self, from: FiveTuple, bytes: &[u8]) -> Got {
        match self.world.send(from, bytes) {
            Did::Answered(answer) => {
                let answer = Parsed::read(&answer.0.raw);
                check(bytes, &answer);
                Got::Answer(answer)
            }
            Did::ToPeer(peer, payload) => Got::ToPeer(peer, payload),
            Did::ToClient(_, bytes) => Got::ToClient(bytes),
            did @ Did::ToNeighbour(..) => panic!("{did:?}"),
            Did::Dropped(_) | Did::Silence => Got::Silence,
        }
    }

    /// Sends without a proof.
    #[track_caller]
    pub(crate) fn bare(&mut self, from: FiveTuple, request: Builder) -> Parsed {
        self.send(from, &request.done()).answer()
    }

    /// Adds name, realm, nonce and integrity. A success must be signed.
    #[track_caller]
    pub(crate) fn ask(&mut self, from: FiveTuple, login: Login<'_>, request: Builder) -> Parsed {
        let request = self.sign(from, login, request);
        let answer = self.send(from, &request).answer();
        let key = key(login.0, REALM, login.1);
        let is_signed = answer.is_signed(&key);
        assert!(
            is_signed || matches!(answer.code(), 400 | 401 | 438),
            "{answer:?}"
        );
        answer
    }

    /// Alice asks from [`home`]: the code.
    #[track_caller]
    pub(crate) fn code(&mut self, request: Builder) -> u16 {
        self.ask(home(), ALICE, request).code()
    }

    pub(crate) fn sign(&mut self, from: FiveTuple, login: Login<'_>, request: Builder) -> Vec<u8> {
        let nonce = self.nonce(from);
        let request = request.login(login.0, REALM, &nonce);
        request.integrity(&key(login.0, REALM, login.1)).done()
    }

    pub(crate) fn nonce(&mut self, from: FiveTuple) -> String {
        if let Some(nonce) = self.nonces.get(&from) {
            return nonce.clone();
        }
        let answer = self.bare(from, Builder::request(REFRESH));
        let nonce = answer.text(attr::NONCE);
        self.nonces.insert(from, nonce.clone());
        nonce
    }

    #[track_caller]
    pub(crate) fn permit(&mut self, peer: &str) -> u16 {
        self.code(Builder::request(CREATE_PERMISSION).peer(peer))
    }

    #[track_caller]
    pub(crate) fn bind(&mut self, number: u16, peer: &str) -> u16 {
        self.code(Builder::request(CHANNEL_BIND).channel(number).peer(peer))
    }

    #[track_caller]
    pub(crate) fn refresh(&mut self, lifetime: u32) -> Parsed {
        self.ask(home(), ALICE, Builder::request(REFRESH).lifetime(lifetime))
    }

    pub(crate) fn send_to(&mut self, peer: &str, payload: &[u8]) -> Got {
        let send = Builder::indication(SEND).peer(peer).data(payload);
        self.send(home(), &send.done())
    }

    /// A whole ChannelData message, as UDP carries it.
    pub(crate) fn on_channel(&mut self, number: u16, payload: &[u8]) -> Got {
        self.send(home(), &channel_data(number, payload.len(), payload))
    }

    /// A peer sends to the first open relay.
    pub(crate) fn peer_sends(&mut self, peer: &str, payload: &[u8]) -> Got {
        match self.world.peer_sends(peer, payload) {
            Did::ToClient(_, bytes) => Got::ToClient(bytes),
            Did::Dropped(_) | Did::Silence => Got::Silence,
            did @ (Did::Answered(_) | Did::ToPeer(..) | Did::ToNeighbour(..)) => panic!("{did:?}"),
        }
    }

    /// Time passes; the nonces that clients know grow old and are forgotten.
    pub(crate) fn wait(&mut self, secs: u64) {
        self.wait_heard(secs);
    }

    /// The same; what clients hear of it.
    pub(crate) fn wait_heard(&mut self, secs: u64) -> Vec<(FiveTuple, Answer)> {
        self.nonces.clear();
        self.world.advance_heard(seconds(secs))
    }

    pub(crate) fn allocations(&self) -> u64 {
        self.world.snapshot().allocations
    }
}

/// What holds for every answer, whatever was asked.
#[track_caller]
fn check(request: &[u8], answer: &Parsed) {
    assert_eq!(answer.id, request[8..HEADER], "another transaction");
    assert_eq!(answer.method, Parsed::read(&headed(request)).method);
    assert!(matches!(answer.class, Class::Success | Class::Error));
    if let Some(value) = answer.get(attr::ERROR_CODE) {
        assert!(value[0] == 0 && value[1] == 0 && (3..=6).contains(&value[2]) && value[3] < 100);
        let reason = str::from_utf8(&value[4..]).unwrap();
        assert!(reason.chars().count() < 128);
    }
    assert_eq!(
        answer.has(attr::FINGERPRINT),
        ends_with_fingerprint(request)
    );
    if answer.has(attr::FINGERPRINT) {
        assert!(answer.has_right_fingerprint());
    }
    check_attributes(answer);
    let types = answer.types();
    let integrity = types.iter().position(|typ| *typ == attr::MESSAGE_INTEGRITY);
    let tail = [attr::MESSAGE_INTEGRITY_SHA256, attr::FINGERPRINT];
    let behind = integrity.map(|at| &types[at + 1..]).unwrap_or_default();
    assert!(behind.iter().all(|typ| tail.contains(typ)), "{types:x?}");
}

/// What belongs into which answers, and into no others.
#[track_caller]
fn check_attributes(answer: &Parsed) {
    let is_challenge = matches!(answer.code(), 401 | 438);
    for typ in [attr::REALM, attr::NONCE, attr::PASSWORD_ALGORITHMS] {
        assert_eq!(answer.has(typ), is_challenge, "{typ:#x}: {answer:?}");
    }
    for typ in [attr::MESSAGE_INTEGRITY, attr::MESSAGE_INTEGRITY_SHA256] {
        assert!(!answer.has(typ) || !is_challenge, "{answer:?}");
    }
    for typ in [attr::USERNAME, attr::USERHASH, attr::DATA] {
        assert!(!answer.has(typ), "{typ:#x}: {answer:?}");
    }
    let told = [
        attr::LIFETIME,
        attr::XOR_RELAYED_ADDRESS,
        attr::XOR_MAPPED_ADDRESS,
        attr::RESERVATION_TOKEN,
    ];
    for typ in told {
        assert!(
            !answer.has(typ) || answer.code() == 0,
            "{typ:#x}: {answer:?}"
        );
    }
    let is_of_unknown = answer.code() == 420;
    assert_eq!(answer.has(attr::UNKNOWN_ATTRIBUTES), is_of_unknown);
}

fn ends_with_fingerprint(request: &[u8]) -> bool {
    let tail = request.len().checked_sub(8).map(|at| &request[at..at + 4]);
    tail == Some(&[0x80, 0x28, 0, 4])
}

/// The header alone, as a message without attributes.
fn headed(request: &[u8]) -> Vec<u8> {
    let mut header = request[..HEADER].to_vec();
    header[2..4].fill(0);
    header
}

/// Where Alice is.
pub(crate) fn home() -> FiveTuple {
    from(1)
}

pub(crate) fn from(host: u8) -> FiveTuple {
    at(Transport::Udp, &format!("192.0.2.{host}:5000"))
}

pub(crate) fn at(transport: Transport, client: &str) -> FiveTuple {
    let client: SocketAddr = client.parse().unwrap();
    let server = match client {
        SocketAddr::V4(_) => "198.51.100.1:3478",
        SocketAddr::V6(_) => "[2001:db8:1::1]:3478",
    };
    FiveTuple {
        transport,
        client,
        server: server.parse().unwrap(),
    }
}

pub(crate) const TURN_REQUESTS: [u16; 4] = [ALLOCATE, REFRESH, CREATE_PERMISSION, CHANNEL_BIND];

/// A request of each kind that would succeed for the owner of an allocation.
pub(crate) fn good(method: u16) -> Builder {
    let request = Builder::request(method);
    match method {
        ALLOCATE => request.udp(),
        CREATE_PERMISSION => request.peer(PEER),
        CHANNEL_BIND => request.channel(0x4000).peer(PEER),
        _ => request,
    }
}

pub(crate) use crate::world::REALM;

//! A whole network in a struct: a clock that stands still until told, clients that sign, relays that open and close.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use setu::clock::{Now, UnixSeconds};
use setu::credentials::{self, Credentials};
use setu::ident::{ParticipantId, UserId};
use setu::logging::Redacted;
use setu::relay::engine::allocate::LIFETIMES;
use setu::relay::engine::five_tuple::{
    Family, FiveTuple, PeerAddr, RelayKey, RelayedAddr, Transport,
};
use setu::relay::engine::limits::{self, Limits};
use setu::relay::engine::policy::PeerPolicy;
use setu::relay::engine::share::Share;
use setu::relay::engine::signaled::{PeerMode, SignaledPeers};
use setu::relay::engine::{
    AllocationId, Auth, ChannelRange, DropReason, Effect, Engine, OpenedRelay, Outcome, PortKind,
    PortRequest, PortSharing, RelayRefused, RelayedAddrs, ReservationToken, Rules, Sender,
    Settings, Snapshot,
};
use setu::relay::wire::connection::ConnectionId;
use setu::relay::wire::datagram::Datagram;
use setu::relay::wire::icmp::Icmp;
use stun::attributes::*;
use stun::fingerprint::FINGERPRINT;
use stun::integrity::MessageIntegrity;
use stun::message::*;
use turn::proto::channum::ChannelNumber;
use turn::proto::lifetime::Lifetime;
use turn::proto::peeraddr::PeerAddress;
use turn::proto::reqtrans::RequestedTransport;
use turn::proto::{PROTO_TCP, PROTO_UDP};

pub(crate) const REALM: &str = "vrinda-sangha.local";
/// Static users, one at each address of its own.
pub(crate) const ALICE: Client = Client {
    user: "alice",
    password: "north",
    host: 1,
};
pub(crate) const BOB: Client = Client {
    user: "bob",
    password: "south",
    host: 2,
};
pub(crate) const PEER: &str = "203.0.113.9:7000";
/// The address that relays have.
pub(crate) const RELAYED: &str = "198.51.100.1";
const RELAYED_V6: &str = "2001:db8:1::1";
pub(crate) const TOKEN: ReservationToken = ReservationToken(*b"reserved");

/// A client with a static user, on UDP.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    pub(crate) user: &'static str,
    pub(crate) password: &'static str,
    pub(crate) host: u8,
}

impl Client {
    pub(crate) fn address(self) -> FiveTuple {
        FiveTuple {
            transport: Transport::Udp,
            client: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, self.host)), 5000),
            server: "198.51.100.1:3478".parse().unwrap(),
        }
    }
}

/// What the engine did with one input.
#[derive(Debug)]
pub(crate) enum Did {
    Answered(Answer),
    ToPeer(SocketAddr, Vec<u8>),
    ToClient(FiveTuple, Vec<u8>),
    ToNeighbour(u32, SocketAddr, Sender, Vec<u8>),
    Dropped(DropReason),
    /// A request that a limit leaves unanswered, or that is answered later.
    Silence,
}

impl Did {
    pub(crate) fn answer(self) -> Answer {
        match self {
            Self::Answered(answer) => answer,
            Self::ToPeer(..)
            | Self::ToClient(..)
            | Self::ToNeighbour(..)
            | Self::Dropped(_)
            | Self::Silence => {
                panic!("no answer: {self:?}")
            }
        }
    }

    pub(crate) fn dropped(self) -> DropReason {
        match self {
            Self::Dropped(reason) => reason,
            Self::ToPeer(..)
            | Self::ToClient(..)
            | Self::ToNeighbour(..)
            | Self::Answered(_)
            | Self::Silence => {
                panic!("not dropped: {self:?}")
            }
        }
    }
}

/// A response, decoded by other hands.
#[derive(Clone, Debug)]
pub(crate) struct Answer(pub(crate) Message);

impl Answer {
    /// The error's number; 0 for success.
    pub(crate) fn code(&self) -> u16 {
        match self.0.get(ATTR_ERROR_CODE) {
            Ok(value) => u16::from(value[2]) * 100 + u16::from(value[3]),
            Err(_) => 0,
        }
    }

    pub(crate) fn has(&self, typ: AttrType) -> bool {
        self.0.contains(typ)
    }

    pub(crate) fn text(&self, typ: AttrType) -> String {
        String::from_utf8(self.0.get(typ).unwrap()).unwrap()
    }

    pub(crate) fn lifetime_seconds(&self) -> u64 {
        let mut lifetime = Lifetime::default();
        lifetime.get_from(&self.0).unwrap();
        lifetime.0.as_secs()
    }

    pub(crate) fn is_signed_by(&self, username: &str, password: &str) -> bool {
        key(username, password).check(&mut self.0.clone()).is_ok()
    }

    /// Attribute types and lengths: what a stranger can tell answers apart by.
    pub(crate) fn shape(&self) -> Vec<(u16, u16)> {
        let attributes = self.0.attributes.0.iter();
        attributes
            .map(|found| (found.typ.0, found.length))
            .collect()
    }
}

pub(crate) struct World {
    pub(crate) now: Now,
    pub(crate) engine: Engine,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) signaled: Arc<SignaledPeers>,
    pub(crate) limits: Arc<Limits>,
    /// How many relays may be open at a time.
    pub(crate) relays_max: usize,
    /// Whether relays may have IPv6 addresses.
    pub(crate) has_ipv6: bool,
    /// Whether the last datagram to a peer must not be fragmented.
    pub(crate) unfragmented: bool,
    /// Where the last answer left from.
    pub(crate) answered_from: Option<SocketAddr>,
    /// A family that has no port left.
    pub(crate) full: Option<Family>,
    pub(crate) open: BTreeSet<u32>,
    /// Those of all workers.
    relayed: Arc<RelayedAddrs>,
    first_port: u16,
    /// The last OpenRelay.
    pub(crate) asked: Option<PortRequest>,
    /// What was to be done about connections to peers, in order.
    pub(crate) effects: Vec<Effect<'static>>,
    nonces: HashMap<FiveTuple, String>,
    transactions: u64,
    datagrams: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::within(limits::Settings::default(), change)
    }

    /// A server without IPv6.
    pub(crate) fn limited_of_ipv4(limits: limits::Settings) -> Self {
        let now = Now::read();
        let relayed = RelayedAddrs::new([RELAYED.parse().unwrap()], &(49160..=49360));
        Self::sharing(now, Limits::new(now, limits), Arc::new(relayed), |_| {})
    }

    pub(crate) fn limited(limits: limits::Settings) -> Self {
        Self::within(limits, |_| {})
    }

    pub(crate) fn within(limits: limits::Settings, change: impl FnOnce(&mut Settings)) -> Self {
        let now = Now::read();
        let ips = [RELAYED, RELAYED_V6].map(|ip| ip.parse().unwrap());
        let relayed = Arc::new(RelayedAddrs::new(ips, &(49160..=49360)));
        Self::sharing(now, Limits::new(now, limits), relayed, change)
    }

    /// Another worker's engine, under the same limits.
    pub(crate) fn beside(&self) -> Self {
        let (limits, relayed) = (Arc::clone(&self.limits), Arc::clone(&self.relayed));
        let mut beside = Self::sharing(self.now, limits, relayed, |settings| {
            settings.share = Share { number: 1, of: 2 };
        });
        beside.first_port = 49180;
        beside
    }

    fn sharing(
        now: Now,
        limits: Arc<Limits>,
        relayed: Arc<RelayedAddrs>,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let mut settings = Settings {
            auth: Auth::Required,
            discovery: Vec::new(),
            channels: ChannelRange::Rfc8656,
            software: None,
            lifetimes: LIFETIMES,
            strict_expiry: false,
            policy: policy(),
            peer_mode: PeerMode::Any,
            alternates: Vec::new(),
            tokens: None,
            nonce_key: Redacted::new([7; 32]),
            tcp_relay: true,
            share: Share::ALONE,
            mobility: true,
            port_sharing: PortSharing::Never,
            relayed: Arc::clone(&relayed),
        };
        change(&mut settings);
        let secret = |text: &str| Redacted::new(text.to_owned());
        let credentials = Arc::new(Credentials::new(credentials::Settings {
            realm: REALM.to_owned(),
            secrets: vec![secret("current"), secret("previous")],
            ttl: CREDENTIAL_TTL,
            users: [ALICE, BOB]
                .map(|client| (client.user.to_owned(), secret(client.password)))
                .into(),
        }));
        let signaled = Arc::new(SignaledPeers::new([RELAYED.parse().unwrap()]));
        Self {
            now,
            engine: Engine::new(
                settings,
                Arc::clone(&credentials),
                Arc::clone(&signaled),
                Arc::clone(&limits),
                1,
            ),
            credentials,
            signaled,
            limits,
            relays_max: 4,
            has_ipv6: false,
            unfragmented: false,
            answered_from: None,
            full: None,
            relayed,
            first_port: 49160,
            open: BTreeSet::new(),
            asked: None,
            effects: Vec::new(),
            nonces: HashMap::new(),
            transactions: 0,
            datagrams: 0,
        }
    }

    pub(crate) fn with_allocation(client: Client) -> Self {
        Self::new().allocate(client)
    }

    pub(crate) fn allocate(mut self, client: Client) -> Self {
        assert_eq!(self.ask(client, METHOD_ALLOCATE, &[&udp()]).code(), 0);
        self
    }

    pub(crate) fn permit(mut self, client: Client, peer: &str) -> Self {
        assert_eq!(
            self.ask(client, METHOD_CREATE_PERMISSION, &[&at(peer)])
                .code(),
            0
        );
        self
    }

    pub(crate) fn bind(mut self, client: Client, number: u16, peer: &str) -> Self {
        assert_eq!(self.bind_channel(client, number, peer).code(), 0);
        self
    }

    pub(crate) fn bind_channel(&mut self, client: Client, number: u16, peer: &str) -> Answer {
        self.ask(
            client,
            METHOD_CHANNEL_BIND,
            &[&ChannelNumber(number), &at(peer)],
        )
    }

    pub(crate) fn refresh(&mut self, client: Client, seconds: u64) -> Answer {
        self.ask(client, METHOD_REFRESH, &[&lifetime(seconds)])
    }

    /// New rules, and what clients hear of it.
    pub(crate) fn apply(&mut self, change: impl FnOnce(&mut Rules)) -> Vec<(FiveTuple, Answer)> {
        let mut rules = Rules {
            software: None,
            strict_expiry: false,
            policy: policy(),
            peer_mode: PeerMode::Any,
            alternates: Vec::new(),
            tokens: None,
        };
        change(&mut rules);
        self.engine.apply(self.now, rules);
        self.heard()
    }

    /// Lets time pass, as the worker does: in one go, with the timeouts that it was asked for.
    pub(crate) fn advance(&mut self, by: Duration) {
        self.advance_heard(by);
    }

    /// The same; what clients hear of it.
    pub(crate) fn advance_heard(&mut self, by: Duration) -> Vec<(FiveTuple, Answer)> {
        self.now = self.now.advanced(by);
        if self
            .engine
            .poll_timeout()
            .is_some_and(|at| at <= self.now.mono)
        {
            self.engine.handle_timeout(self.now);
        }
        self.heard()
    }

    /// Signs a request as the client's static user, sends it, and checks that the answer is signed too.
    pub(crate) fn ask(
        &mut self,
        client: Client,
        method: Method,
        attributes: &[&dyn Setter],
    ) -> Answer {
        let bytes = self.signed(client, method, attributes);
        let answer = self.send(client.address(), &bytes).answer();
        assert!(
            answer.is_signed_by(client.user, client.password),
            "{answer:?}"
        );
        answer
    }

    /// The same from any address with any credential; the answer may be unsigned.
    pub(crate) fn ask_as(
        &mut self,
        from: FiveTuple,
        (username, password): (&str, &str),
        method: Method,
        attributes: &[&dyn Setter],
    ) -> Answer {
        let nonce = self.nonce(from);
        let bytes = self.signed_with(&nonce, (username, password), method, attributes);
        self.send(from, &bytes).answer()
    }

    pub(crate) fn signed(
        &mut self,
        client: Client,
        method: Method,
        attributes: &[&dyn Setter],
    ) -> Vec<u8> {
        let nonce = self.nonce(client.address());
        self.signed_with(&nonce, (client.user, client.password), method, attributes)
    }

    pub(crate) fn signed_with(
        &mut self,
        nonce: &str,
        (username, password): (&str, &str),
        method: Method,
        attributes: &[&dyn Setter],
    ) -> Vec<u8> {
        let (user, realm, nonce) = (
            text(ATTR_USERNAME, username),
            text(ATTR_REALM, REALM),
            text(ATTR_NONCE, nonce),
        );
        let integrity = key(username, password);
        let all = [attributes, &[&user, &realm, &nonce, &integrity]].concat();
        self.unsigned(MessageType::new(method, CLASS_REQUEST), &all)
    }

    pub(crate) fn unsigned(&mut self, typ: MessageType, attributes: &[&dyn Setter]) -> Vec<u8> {
        self.transactions += 1;
        let mut message = Message::new();
        message.typ = typ;
        message.transaction_id.0[4..].copy_from_slice(&self.transactions.to_be_bytes());
        message.write_header();
        for attribute in attributes {
            attribute.add_to(&mut message).unwrap();
        }
        message.raw
    }

    /// The nonce the client knows; asked for with a bare Refresh the first time.
    pub(crate) fn nonce(&mut self, from: FiveTuple) -> String {
        match self.nonces.get(&from) {
            Some(nonce) => nonce.clone(),
            None => self.fresh_nonce(from),
        }
    }

    pub(crate) fn fresh_nonce(&mut self, from: FiveTuple) -> String {
        let bare = self.unsigned(MessageType::new(METHOD_REFRESH, CLASS_REQUEST), &[]);
        let answer = self.send(from, &bare).answer();
        let nonce = if answer.code() == 401 {
            answer.text(ATTR_NONCE)
        } else {
            "none".to_owned()
        };
        self.nonces.insert(from, nonce.clone());
        nonce
    }

    /// A datagram as it may have come: alone or first in a train, further behind in one, or out of a stream.
    fn lying<'d>(&mut self, memory: &'d mut Vec<u8>, bytes: &'d [u8]) -> Datagram<'d> {
        self.datagrams += 1;
        let headroom_bytes = match self.datagrams % 3 {
            0 => return bytes.into(),
            1 => 0,
            _ => 64,
        };
        memory.resize(headroom_bytes, 0xEE);
        memory.extend_from_slice(bytes);
        Datagram::behind(headroom_bytes, memory)
    }

    /// Hands a datagram to the engine and carries out its effects.
    pub(crate) fn send(&mut self, from: FiveTuple, bytes: &[u8]) -> Did {
        let mut memory = Vec::new();
        let datagram = self.lying(&mut memory, bytes);
        let outcome = self.engine.handle_client(self.now, from, datagram);
        if let Outcome::ToPeer { dont_fragment, .. } = outcome {
            self.unfragmented = dont_fragment;
        }
        let did = owned(outcome);
        let mut answers = self.drain();
        self.answered_from = answers.last().map(|(to, _)| to.server);
        assert!(
            answers.iter().all(|(to, _)| is_for(from, *to)),
            "an answer to somebody else"
        );
        match (did, answers.pop()) {
            (Some(did), None) => did,
            (None, Some((_, bytes))) => Did::Answered(decoded(&bytes)),
            (None, None) => Did::Silence,
            (Some(did), Some(answer)) => panic!("{did:?} and {answer:?}"),
        }
    }

    /// Hands a datagram to the engine: the bytes of the answer, which need be no message as clients of today know it.
    pub(crate) fn answer_to(&mut self, from: FiveTuple, bytes: &[u8]) -> Option<Vec<u8>> {
        drop(owned(self.engine.handle_client(self.now, from, bytes)));
        let (to, answer) = self.drain().pop()?;
        assert!(is_for(from, to), "an answer to somebody else");
        Some(answer)
    }

    pub(crate) fn send_data(&mut self, client: Client, peer: &str, payload: &[u8]) -> Did {
        let data = raw(ATTR_DATA, payload);
        let bytes = self.unsigned(
            MessageType::new(METHOD_SEND, CLASS_INDICATION),
            &[&at(peer), &data],
        );
        self.send(client.address(), &bytes)
    }

    pub(crate) fn send_channel(&mut self, client: Client, number: u16, payload: &[u8]) -> Did {
        let length = u16::try_from(payload.len()).unwrap();
        let bytes = [&number.to_be_bytes(), &length.to_be_bytes(), payload].concat();
        self.send(client.address(), &bytes)
    }

    /// A peer sends to the first relay that is open.
    pub(crate) fn peer_sends(&mut self, peer: &str, payload: &[u8]) -> Did {
        let relay = self.open.first().copied().unwrap_or_default();
        self.peer_sends_to(RelayKey(relay), peer, payload)
    }

    pub(crate) fn peer_sends_to(&mut self, relay: RelayKey, peer: &str, payload: &[u8]) -> Did {
        let peer = PeerAddr(peer.parse().unwrap());
        let mut memory = Vec::new();
        let datagram = self.lying(&mut memory, payload);
        let did = owned(self.engine.handle_peer(self.now, relay, peer, datagram));
        assert!(self.drain().is_empty());
        did.unwrap()
    }

    /// The connection of a Connect stands: the answer to it.
    pub(crate) fn peer_connected(&mut self, id: ConnectionId) -> Option<Answer> {
        self.engine.handle_peer_connected(self.now, id);
        self.heard().pop().map(|(_, answer)| answer)
    }

    /// A connection to a peer failed or ended: the answer to its Connect, if it still waits.
    pub(crate) fn peer_closed(&mut self, id: ConnectionId) -> Option<Answer> {
        self.engine.handle_peer_closed(self.now, id);
        self.heard().pop().map(|(_, answer)| answer)
    }

    /// A peer connects to a relay: whether it may stay, and who is told.
    pub(crate) fn peer_accepted(
        &mut self,
        relay: RelayKey,
        peer: &str,
    ) -> (Option<ConnectionId>, Option<(FiveTuple, Answer)>) {
        let peer = PeerAddr(peer.parse().unwrap());
        let id = self.engine.handle_peer_accepted(self.now, relay, peer);
        (id, self.heard().pop())
    }

    /// A client of another worker sends to a relayed address of this one.
    pub(crate) fn neighbour_sends(
        &mut self,
        to: &str,
        from: &str,
        sender: Sender,
        payload: &[u8],
    ) -> Did {
        let [to, from] = [to, from].map(|addr| RelayedAddr(addr.parse().unwrap()));
        let engine = &mut self.engine;
        owned(engine.handle_neighbour(self.now, to, from, sender, payload)).unwrap()
    }

    /// Something is said about a datagram from a relay to a peer.
    pub(crate) fn icmp(&mut self, relay: RelayKey, peer: &str, icmp: Icmp) -> Did {
        let peer = PeerAddr(peer.parse().unwrap());
        owned(self.engine.handle_icmp(self.now, relay, peer, icmp)).unwrap()
    }

    pub(crate) fn close_connection(&mut self, from: FiveTuple) {
        self.engine.handle_client_closed(self.now, from);
        self.drain();
    }

    pub(crate) fn revoke(&mut self, user: &UserId, until: UnixSeconds) {
        self.engine.revoke(self.now, user, until);
        self.drain();
    }

    pub(crate) fn close_allocation(&mut self, id: AllocationId) -> bool {
        let closed = self.engine.close_allocation(self.now, id);
        self.drain();
        closed
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.engine.snapshot()
    }

    /// A time-limited user name and password.
    pub(crate) fn issue(&self, participant: &str) -> (String, String) {
        let participant = ParticipantId::parse(participant).unwrap();
        let issued = self
            .credentials
            .issue(self.now.unix.seconds(), &participant);
        (issued.username, issued.password.expose().clone())
    }

    fn heard(&mut self) -> Vec<(FiveTuple, Answer)> {
        let answers = self.drain();
        let decode = |(to, bytes): (FiveTuple, Vec<u8>)| (to, decoded(&bytes));
        answers.into_iter().map(decode).collect()
    }

    fn drain(&mut self) -> Vec<(FiveTuple, Vec<u8>)> {
        let mut answers = Vec::new();
        while let Some(effect) = self.engine.poll_effect() {
            match effect {
                Effect::Respond { client, message } => answers.push((client, message.to_vec())),
                Effect::CloseRelay(key) => {
                    assert!(self.open.remove(&key.0), "{key:?} was not open")
                }
                Effect::OpenRelay(request) => {
                    let opened = self.open_relay(request);
                    self.engine.handle_relay_opened(self.now, opened);
                }
                Effect::ConnectPeer { id, relay, peer } => {
                    self.effects.push(Effect::ConnectPeer { id, relay, peer })
                }
                Effect::Splice { client, id } => self.effects.push(Effect::Splice { client, id }),
                Effect::ClosePeer(id) => self.effects.push(Effect::ClosePeer(id)),
            }
        }
        answers
    }

    fn open_relay(&mut self, request: PortRequest) -> Result<OpenedRelay, RelayRefused> {
        self.asked = Some(request);
        if self.full == Some(request.family) {
            return Err(RelayRefused::NoPort);
        }
        let ip: IpAddr = match request.family {
            Family::V4 => RELAYED.parse().unwrap(),
            Family::V6 if self.has_ipv6 => RELAYED_V6.parse().unwrap(),
            Family::V6 => return Err(RelayRefused::UnsupportedFamily),
        };
        let free = (0..)
            .take(self.relays_max)
            .find(|key| !self.open.contains(key));
        let key = free.ok_or(RelayRefused::NoPort)?;
        self.open.insert(key);
        let port = self.first_port + u16::try_from(key).unwrap();
        Ok(OpenedRelay {
            key: RelayKey(key),
            relayed: RelayedAddr(SocketAddr::new(ip, port)),
            reservation: (request.kind == PortKind::EvenWithNext).then_some(TOKEN),
        })
    }
}

pub(crate) const CREDENTIAL_TTL: Duration = Duration::from_secs(3600);

/// Whether an answer is for whoever asked; only NAT behaviour discovery lets it leave from elsewhere.
fn is_for(asker: FiveTuple, to: FiveTuple) -> bool {
    (to.client, to.transport) == (asker.client, asker.transport)
}

pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn udp() -> RequestedTransport {
    RequestedTransport {
        protocol: PROTO_UDP,
    }
}

pub(crate) fn tcp() -> RequestedTransport {
    RequestedTransport {
        protocol: PROTO_TCP,
    }
}

pub(crate) fn lifetime(seconds: u64) -> Lifetime {
    Lifetime(Duration::from_secs(seconds))
}

pub(crate) fn at(peer: &str) -> PeerAddress {
    let addr: SocketAddr = peer.parse().unwrap();
    PeerAddress {
        ip: addr.ip(),
        port: addr.port(),
    }
}

pub(crate) fn raw(typ: AttrType, value: &[u8]) -> RawAttribute {
    RawAttribute {
        typ,
        length: 0,
        value: value.to_vec(),
    }
}

pub(crate) fn text(typ: AttrType, value: &str) -> RawAttribute {
    raw(typ, value.as_bytes())
}

pub(crate) fn key(username: &str, password: &str) -> MessageIntegrity {
    MessageIntegrity::new_long_term_integrity(username.into(), REALM.into(), password.into())
}

/// Adds a FINGERPRINT to a finished message.
pub(crate) fn fingerprinted(bytes: &[u8]) -> Vec<u8> {
    let mut message = decoded(bytes).0;
    FINGERPRINT.add_to(&mut message).unwrap();
    message.raw
}

pub(crate) fn decoded(bytes: &[u8]) -> Answer {
    let mut message = Message::new();
    message.unmarshal_binary(bytes).unwrap();
    assert_eq!(
        bytes.len(),
        20 + message.length as usize,
        "the length field is wrong"
    );
    Answer(message)
}

/// `None` where the effects tell the rest.
fn owned(outcome: Outcome<'_>) -> Option<Did> {
    match outcome {
        Outcome::ToPeer { peer, payload, .. } => Some(Did::ToPeer(peer.0, payload.to_vec())),
        Outcome::ToClient { client, frame } => Some(Did::ToClient(client, frame.to_vec())),
        Outcome::ToNeighbour {
            worker,
            to,
            sender,
            payload,
            ..
        } => Some(Did::ToNeighbour(worker, to.0, sender, payload.to_vec())),
        Outcome::Dropped(reason) => Some(Did::Dropped(reason)),
        Outcome::Handled => None,
    }
}

fn policy() -> PeerPolicy {
    PeerPolicy {
        deny: vec!["203.0.113.66/32".parse().unwrap()],
        ..PeerPolicy::default()
    }
}

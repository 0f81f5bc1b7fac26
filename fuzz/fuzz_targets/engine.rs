//! A script of clients, peers and time against the sans-IO engine: many requests rightly signed, so that what lies
//! behind the credentials is reached too.

#![no_main]
#![allow(
    dead_code,
    reason = "the test world and its bytes offer more than a script needs"
)]

#[path = "../../tests/requirements/bytes.rs"]
mod bytes;
mod tape;
#[path = "../../tests/engine/world.rs"]
mod world;

use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use setu::clock::UnixSeconds;
use setu::credentials::Tokens;
use setu::ident::UserId;
use setu::logging::Redacted;
use setu::relay::engine::five_tuple::{FiveTuple, RelayKey, Transport};
use setu::relay::engine::tcp::Towards;
use setu::relay::engine::{AllocationId, Auth, ChannelRange, Effect};
use setu::relay::wire::attributes::ATTR_MOBILITY_TICKET;
use setu::relay::wire::connection::ConnectionId;
use setu::relay::wire::icmp::Icmp;
use stun::attributes::ATTR_CONNECTION_ID;

use bytes::{Builder, Class, attr, channel_data, key, key_sha256, userhash};
use tape::Tape;
use world::{ALICE, BOB, Did, REALM, World, seconds};

fuzz_target!(|script: &[u8]| {
    let (wishes, script) = script.split_last().unwrap_or((&0, &[]));
    let mut tape = Tape(script);
    let mut play = Play::new(*wishes);
    for _ in 0..STEPS_MAX {
        if tape.is_over() {
            break;
        }
        play.step(&mut tape);
        let snapshot = play.world.snapshot();
        assert!(snapshot.allocations <= (STATIONS * TRANSPORTS.len()) as u64);
        assert_eq!(snapshot.allocations == 0, play.world.open.is_empty());
        assert!(snapshot.peer_connections == 0 || snapshot.allocations > 0);
    }
    // Nothing outlives its lifetime, whatever was done to it.
    for _ in 0..4 {
        play.world.advance(seconds(3600));
    }
    let snapshot = play.world.snapshot();
    assert_eq!((snapshot.allocations, play.world.open.len()), (0, 0));
    assert_eq!(snapshot.peer_connections, 0);
    assert_eq!(play.world.engine.poll_timeout(), None);
});

/// The world, and what its clients were told that nobody could guess.
struct Play {
    world: World,
    /// Whether credentials are asked for.
    has_strangers: bool,
    carol: (String, String),
    tickets: Vec<Vec<u8>>,
    connections: Vec<ConnectionId>,
}

impl Play {
    /// Each bit is something that the operator wants otherwise.
    fn new(wishes: u8) -> Self {
        let wants = |bit: u8| wishes & bit != 0;
        let mut world = World::with(|settings| {
            settings.strict_expiry = wants(1);
            if wants(2) {
                settings.channels = ChannelRange::Rfc5766;
            }
            if wants(4) {
                let key = ("kid".to_owned(), Redacted::new(vec![7; 32]));
                settings.tokens = Tokens::new("turn", vec![key]);
            }
            settings.tcp_relay = !wants(8);
            settings.mobility = !wants(16);
            if wants(32) {
                settings.software = Some("fuzzed".to_owned());
            }
            if wants(64) {
                settings.auth = Auth::None;
            }
        });
        world.has_ipv6 = true;
        Self {
            has_strangers: !wants(64),
            carol: world.issue("carol"),
            world,
            tickets: Vec::new(),
            connections: Vec::new(),
        }
    }

    fn step(&mut self, tape: &mut Tape<'_>) {
        match tape.byte() % 17 {
            0 => {
                let (from, count) = (station(tape), tape.byte());
                let datagram = tape.bytes(count.into());
                if self.has_strangers {
                    stranger(&mut self.world, from, datagram);
                } else {
                    self.world.answer_to(from, datagram);
                }
            }
            1..=4 => self.request(tape),
            5 => {
                let from = station(tape);
                let indication = Builder::indication(tape.choose(METHODS));
                let indication = self.attributes(indication, tape);
                self.world.send(from, &indication.done());
            }
            6 => {
                let from = station(tape);
                let indication = Builder::indication(bytes::SEND).peer(tape.choose(PEERS));
                let count = tape.byte();
                let indication = indication.data(tape.bytes(count.into()));
                self.world.send(from, &indication.done());
            }
            7 => {
                let (from, number, length) = (station(tape), tape.choose(CHANNELS), tape.byte());
                let payload = tape.bytes(tape.0.first().copied().unwrap_or_default().into());
                self.world
                    .send(from, &channel_data(number, length.into(), payload));
            }
            8 => {
                let (relay, peer, count) = (relay(tape), tape.choose(PEERS), tape.byte());
                self.world
                    .peer_sends_to(relay, peer, tape.bytes(count.into()));
            }
            9 => self.world.advance(seconds(u64::from(tape.byte()) * 16)),
            10 => self.world.close_connection(station(tape)),
            11 => revoke(&mut self.world, tape),
            12 => {
                let (accepted, _) = self.world.peer_accepted(relay(tape), tape.choose(PEERS));
                self.connections.extend(accepted);
            }
            13 => self.connection_of_a_peer(tape),
            14 => self.icmp(tape),
            15 => {
                let views = self.world.engine.allocations(self.world.now);
                if let Some(view) = views.get(usize::from(tape.byte())) {
                    let id = AllocationId::parse(&view.id).unwrap();
                    assert!(self.world.close_allocation(id));
                }
            }
            16.. => self.new_rules(tape),
        }
        for effect in self.world.effects.drain(..) {
            if let Effect::ConnectPeer { id, .. } = effect {
                self.connections.push(id);
            }
        }
    }

    fn connection_of_a_peer(&mut self, tape: &mut Tape<'_>) {
        let id = self.connection(tape);
        match tape.byte() % 4 {
            0 => drop(self.world.peer_closed(id)),
            1 => {
                let bytes = tape.word().into();
                let (now, engine) = (self.world.now, &mut self.world.engine);
                let _ = engine.handle_spliced(now, id, Towards::Peer, bytes);
                let _ = engine.handle_spliced(now, id, Towards::Client, bytes);
            }
            2.. => drop(self.world.peer_connected(id)),
        }
    }

    fn icmp(&mut self, tape: &mut Tape<'_>) {
        let (relay, peer) = (relay(tape), tape.choose(PEERS));
        let addr: SocketAddr = peer.parse().unwrap();
        let (typ, code, mtu) = (tape.byte(), tape.byte(), tape.word());
        if let Some(icmp) = Icmp::new(addr.ip(), typ, code, mtu.into()) {
            self.world.icmp(relay, peer, icmp);
        }
    }

    fn new_rules(&mut self, tape: &mut Tape<'_>) {
        let byte = tape.byte();
        self.world.apply(|rules| {
            rules.strict_expiry = byte & 1 != 0;
            if byte & 2 != 0 {
                rules.policy.deny.push("203.0.113.0/24".parse().unwrap());
            }
        });
    }

    fn request(&mut self, tape: &mut Tape<'_>) {
        let from = station(tape);
        let (user, password) = match tape.byte() % 4 {
            0 => (ALICE.user.to_owned(), ALICE.password.to_owned()),
            1 => (BOB.user.to_owned(), BOB.password.to_owned()),
            2 => self.carol.clone(),
            3.. => ("mallory".to_owned(), "wrong".to_owned()),
        };
        let nonce = self.world.nonce(from);
        let how = tape.byte();
        let request = match how & 0x40 {
            0 => Builder::request(tape.choose(METHODS)),
            _ => Builder::with_id(tape.choose(METHODS), Class::Request, [tape.byte() % 4; 12]),
        };
        let request = self.attributes(request, tape);
        let request = match how & 0x20 {
            0 => request.login(&user, REALM, &nonce),
            _ => request
                .attr(attr::USERHASH, &userhash(&user, REALM))
                .text(attr::REALM, REALM)
                .text(attr::NONCE, &nonce),
        };
        let key = match how & 0x10 {
            0 => key(&user, REALM, &password),
            _ => key_sha256(&user, REALM, &password),
        };
        let request = match how & 0x0C {
            0 | 4 => request.integrity(&key),
            8 => request.integrity_sha256(&key),
            _ => request.integrity(&key).integrity_sha256(&key),
        };
        let request = match how & 0x03 {
            0 | 1 => request,
            2 => request.fingerprint(),
            _ => self.attributes(request, tape),
        };
        if let Did::Answered(answer) = self.world.send(from, &request.done()) {
            self.tickets.extend(answer.0.get(ATTR_MOBILITY_TICKET).ok());
        }
    }

    /// Up to seven, half of them as they should be.
    fn attributes(&self, mut request: Builder, tape: &mut Tape<'_>) -> Builder {
        for _ in 0..tape.byte() % 8 {
            request = match tape.byte() % 20 {
                0 => request.udp(),
                1 => request.attr(attr::REQUESTED_TRANSPORT, &[6, 0, 0, 0]),
                2 => request.lifetime(tape.word().into()),
                3 => request.family(tape.byte() % 4),
                4 => request.additional(tape.byte() % 4),
                5 => request.channel(tape.choose(CHANNELS)),
                6 => request.peer(tape.choose(PEERS)),
                7 => request.attr(attr::EVEN_PORT, &[tape.byte()]),
                8 => request.attr(attr::RESERVATION_TOKEN, &world::TOKEN.0),
                9 => request.attr(attr::DONT_FRAGMENT, &[]),
                10 => request.attr(ATTR_CONNECTION_ID.0, &self.connection(tape).to_be_bytes()),
                11 => request.u32(attr::PASSWORD_ALGORITHM, u32::from(tape.byte() % 4) << 16),
                12 => request.attr(attr::PASSWORD_ALGORITHMS, &[0, 2, 0, 0, 0, 1, 0, 0]),
                16 => request.attr(ATTR_MOBILITY_TICKET.0, &[]),
                17 | 18 => request.attr(ATTR_MOBILITY_TICKET.0, self.ticket(tape)),
                _ => {
                    let (typ, count) = (tape.word() & 0x80FF, tape.byte() % 64);
                    request.attr(typ, tape.bytes(count.into()))
                }
            };
        }
        request
    }

    /// One that somebody was given, or none's; the latest is 0.
    fn ticket(&self, tape: &mut Tape<'_>) -> &[u8] {
        let back = usize::from(tape.byte());
        let ticket = self.tickets.iter().rev().nth(back);
        ticket.map_or(&[7; 20], Vec::as_slice)
    }

    /// One that there is or was, or none's; the latest is 0.
    fn connection(&self, tape: &mut Tape<'_>) -> ConnectionId {
        let back = tape.byte();
        let id = self.connections.iter().rev().nth(back.into());
        id.copied().unwrap_or(ConnectionId(back.into()))
    }
}

/// Bytes without a proof: the answer, if there is one, is small.
fn stranger(world: &mut World, from: FiveTuple, datagram: &[u8]) {
    if let Some(answer) = world.answer_to(from, datagram) {
        assert!(2 * (28 + answer.len()) <= 5 * (28 + datagram.len()));
    }
}

fn revoke(world: &mut World, tape: &mut Tape<'_>) {
    let user = match tape.byte() % 2 {
        0 => UserId::Static("alice".into()),
        _ => UserId::Participant("carol".into()),
    };
    world.revoke(&user, UnixSeconds(u64::MAX));
}

fn relay(tape: &mut Tape<'_>) -> RelayKey {
    RelayKey(u32::from(tape.byte() % 4))
}

fn station(tape: &mut Tape<'_>) -> FiveTuple {
    let byte = usize::from(tape.byte());
    let (host, transport) = (
        byte % STATIONS,
        TRANSPORTS[byte / STATIONS % TRANSPORTS.len()],
    );
    FiveTuple {
        transport,
        client: SocketAddr::from(([192, 0, 2, host as u8 + 1], 5000)),
        server: "198.51.100.1:3478".parse().unwrap(),
    }
}

const STEPS_MAX: usize = 64;
const STATIONS: usize = 4;
const TRANSPORTS: &[Transport] = &Transport::ALL;
const METHODS: &[u16] = &[
    bytes::ALLOCATE,
    bytes::REFRESH,
    bytes::CREATE_PERMISSION,
    bytes::CHANNEL_BIND,
    bytes::BINDING,
    bytes::SEND,
    bytes::DATA,
    0x00A,
    0x00B,
    0x00C,
];
const CHANNELS: &[u16] = &[0x4000, 0x4001, 0x4FFF, 0x5000, 0x3FFF, 0x7FFF];
const PEERS: &[&str] = &[
    "203.0.113.9:7000",
    "203.0.113.9:7001",
    "203.0.113.10:7000",
    "[2001:db8::9]:7000",
    "203.0.113.66:7000",
    "127.0.0.1:7000",
    "[::ffff:127.0.0.1]:7000",
    "198.51.100.1:49160",
    "203.0.113.9:0",
];

//! Media under way: each flow sends from one end, and what arrives at the other end is checked and counted.

use std::{
    fmt,
    io::ErrorKind,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use mio::{Events, Interest, Poll, Token, net::UdpSocket};
use quinn_udp::{Transmit, UdpSocketState};
use setu::clock::Now;

use crate::contestant::Running;
use crate::forwarder::{BUFFER_BYTES, Batch};
use crate::turn_client::{CHANNEL, TurnClient};
use crate::wire::{Transport, Wire};

/// What is measured at a time.
pub(crate) struct Case {
    pub(crate) transport: Transport,
    pub(crate) direction: Direction,
    pub(crate) clients: usize,
    pub(crate) payload_bytes: usize,
    /// As many as the server takes, where there is none.
    pub(crate) packets_per_second: Option<u64>,
    /// Datagrams that leave together, to one destination.
    pub(crate) train: usize,
}

/// Which way media goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From clients to a peer.
    Up,
    /// From a peer to clients.
    Down,
    /// From client to client, each of them relayed.
    RelayToRelay,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.transport {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
        };
        let direction = match self.direction {
            Direction::Up => "up",
            Direction::Down => "down",
            Direction::RelayToRelay => "relay to relay",
        };
        let (clients, bytes) = (self.clients, self.payload_bytes);
        write!(
            f,
            "{transport} {direction}, {clients} clients, {bytes} bytes"
        )?;
        if self.train > 1 {
            write!(f, ", trains of {}", self.train)?;
        }
        match self.packets_per_second {
            Some(rate) => write!(f, ", {rate}/s"),
            None => write!(f, ", saturated"),
        }
    }
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) sent: u64,
    pub(crate) delivered: u64,
    /// How long packets were under way; paced cases only.
    pub(crate) latencies: Vec<Duration>,
}

/// A case, set up on one server.
pub(crate) struct Load {
    flows: Vec<Flow>,
    ends: Vec<End>,
    poll: Poll,
    events: Events,
    batch: Batch,
    packets_per_second: Option<u64>,
    train: usize,
    is_relayed_to_clients: bool,
    base: Instant,
    turn: usize,
    in_flight: u64,
}

/// From which end, to where, and with what in front of the payload.
struct Flow {
    from: usize,
    to: Option<SocketAddr>,
    packets: Vec<u8>,
    packet_bytes: usize,
    header_bytes: usize,
}

/// A socket or stream of the load's own.
enum End {
    Datagrams {
        socket: UdpSocket,
        state: UdpSocketState,
        peer: Option<SocketAddr>,
    },
    Stream(Wire),
}

impl Load {
    pub(crate) fn set_up(server: &Running, case: &Case) -> anyhow::Result<Self> {
        let peer = peer_socket()?;
        let peer_address = peer.local_addr()?;
        let address = server.address(case.transport);
        let mut clients = Vec::new();
        for _ in 0..case.clients {
            clients.push(if server.contestant.is_turn() {
                let mut client = TurnClient::connect(case.transport, address)?;
                let relayed = client.allocate()?;
                (client, relayed)
            } else {
                forwarded(address, peer_address)?
            });
        }
        if server.contestant.is_turn() {
            bind_channels(&mut clients, case.direction, peer_address)?;
        }
        let relayed: Vec<_> = clients.iter().map(|(_, relayed)| *relayed).collect();
        let mut ends = vec![End::datagrams(peer, None)?];
        for (client, _) in clients {
            ends.push(End::of(client.wire, address)?);
        }
        let header = if server.contestant.is_turn() && case.direction != Direction::Down {
            let length = u16::try_from(case.payload_bytes)?;
            [CHANNEL.to_be_bytes(), length.to_be_bytes()].concat()
        } else {
            Vec::new()
        };
        let flows = relayed
            .iter()
            .enumerate()
            .map(|(number, relayed)| match case.direction {
                Direction::Up => Flow::new(number + 1, Some(address), &header, case),
                Direction::Down => Flow::new(0, Some(*relayed), &[], case),
                Direction::RelayToRelay => Flow::new(number + 1, Some(address), &header, case),
            });
        let flows = flows.collect();
        let poll = Poll::new()?;
        for (number, end) in ends.iter_mut().enumerate() {
            end.register(&poll, Token(number))?;
        }
        Ok(Self {
            flows,
            ends,
            poll,
            events: Events::with_capacity(1024),
            batch: Batch::new(),
            packets_per_second: case.packets_per_second,
            train: case.train,
            is_relayed_to_clients: server.contestant.is_turn() && case.direction != Direction::Up,
            base: Now::read().mono,
            turn: 0,
            in_flight: 0,
        })
    }

    /// Sends and receives for so long, and then receives what is left.
    pub(crate) fn run(&mut self, span: Duration) -> anyhow::Result<Tally> {
        let mut tally = Tally::default();
        let begin = Now::read().mono;
        let mut heard = begin;
        loop {
            let now = Now::read().mono;
            let elapsed = now - begin;
            if elapsed >= span {
                break;
            }
            let due = match self.packets_per_second {
                Some(rate) => (rate as f64 * elapsed.as_secs_f64()) as u64 - tally.sent,
                None => WINDOW.saturating_sub(self.in_flight),
            };
            for _ in 0..due.min(SENDS_PER_TURN) / self.train as u64 {
                self.send(now, &mut tally)?;
            }
            if self.receive(&mut tally)? > 0 {
                heard = now;
            } else if now - heard > LOST_AFTER {
                // Nothing of what is missing will come: a full window would stand still.
                self.in_flight = 0;
                heard = now;
            }
        }
        let end = Now::read().mono + LOST_AFTER;
        while self.in_flight > 0 && Now::read().mono < end {
            self.receive(&mut tally)?;
        }
        self.in_flight = 0;
        ensure!(tally.delivered > 0, "nothing arrived");
        Ok(tally)
    }

    fn send(&mut self, now: Instant, tally: &mut Tally) -> anyhow::Result<()> {
        let number = self.turn;
        self.turn = (self.turn + 1) % self.flows.len();
        let flow = &mut self.flows[number];
        let nanos = u64::try_from((now - self.base).as_nanos())?;
        for packet in flow.packets.chunks_mut(flow.packet_bytes) {
            packet[flow.header_bytes..][..8].copy_from_slice(&nanos.to_be_bytes());
        }
        let sent = self.ends[flow.from].send(flow)?;
        tally.sent += self.train as u64;
        if sent {
            self.in_flight += self.train as u64;
        }
        Ok(())
    }

    fn receive(&mut self, tally: &mut Tally) -> anyhow::Result<u64> {
        self.poll.poll(&mut self.events, Some(Duration::ZERO))?;
        let now = Now::read().mono;
        let before = tally.delivered;
        let is_paced = self.packets_per_second.is_some();
        let skipped = if self.is_relayed_to_clients { 4 } else { 0 };
        let base = self.base;
        let mut take = |message: &[u8]| {
            let nanos = message.get(skipped..skipped + 8);
            let Some(nanos) = nanos.and_then(|bytes| bytes.try_into().ok()) else {
                return;
            };
            tally.delivered += 1;
            if is_paced {
                let sent = base + Duration::from_nanos(u64::from_be_bytes(nanos));
                tally.latencies.push(now.saturating_duration_since(sent));
            }
        };
        for event in &self.events {
            self.ends[event.token().0].receive(&mut self.batch, &mut take)?;
        }
        let delivered = tally.delivered - before;
        self.in_flight = self.in_flight.saturating_sub(delivered);
        Ok(delivered)
    }
}

impl Flow {
    fn new(from: usize, to: Option<SocketAddr>, header: &[u8], case: &Case) -> Self {
        let packet = [header, &vec![0xA5; case.payload_bytes]].concat();
        Self {
            from,
            to,
            packet_bytes: packet.len(),
            packets: packet.repeat(case.train),
            header_bytes: header.len(),
        }
    }
}

impl End {
    fn of(wire: Wire, server: SocketAddr) -> anyhow::Result<Self> {
        wire.set_nonblocking()?;
        match wire {
            Wire::Udp(socket) => Self::datagrams(socket, Some(server)),
            stream @ (Wire::Tcp(..) | Wire::Tls(..)) => Ok(Self::Stream(stream)),
        }
    }

    fn datagrams(socket: std::net::UdpSocket, peer: Option<SocketAddr>) -> anyhow::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        Ok(Self::Datagrams {
            socket: UdpSocket::from_std(socket),
            state,
            peer,
        })
    }

    fn register(&mut self, poll: &Poll, token: Token) -> anyhow::Result<()> {
        let registry = poll.registry();
        match self {
            Self::Datagrams { socket, .. } => registry.register(socket, token, Interest::READABLE),
            Self::Stream(Wire::Tcp(stream, _)) => registry.register(
                &mut mio::unix::SourceFd(&std::os::fd::AsRawFd::as_raw_fd(stream)),
                token,
                Interest::READABLE,
            ),
            Self::Stream(Wire::Tls(stream, _)) => registry.register(
                &mut mio::unix::SourceFd(&std::os::fd::AsRawFd::as_raw_fd(&stream.sock)),
                token,
                Interest::READABLE,
            ),
            Self::Stream(Wire::Udp(_)) => Ok(()),
        }
        .context("cannot watch a socket")
    }

    /// Whether the kernel took it.
    fn send(&mut self, flow: &Flow) -> anyhow::Result<bool> {
        let sent = match self {
            Self::Datagrams {
                socket,
                state,
                peer,
            } => {
                let Some(destination) = peer.or(flow.to) else {
                    return Ok(false);
                };
                let transmit = Transmit {
                    destination,
                    ecn: None,
                    contents: &flow.packets,
                    segment_size: (flow.packets.len() > flow.packet_bytes)
                        .then_some(flow.packet_bytes),
                    src_ip: None,
                };
                state.try_send((&*socket).into(), &transmit)
            }
            Self::Stream(wire) => wire.send(&flow.packets),
        };
        match sent {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn receive(&mut self, batch: &mut Batch, take: &mut impl FnMut(&[u8])) -> anyhow::Result<()> {
        match self {
            Self::Stream(wire) => Ok(wire.drain(take)?),
            Self::Datagrams { socket, state, .. } => {
                while let Some(received) = batch.receive(socket, state)? {
                    for index in 0..received {
                        let (_, stride, bytes) = batch.train(index);
                        bytes.chunks(stride).for_each(&mut *take);
                    }
                }
                Ok(())
            }
        }
    }
}

fn peer_socket() -> anyhow::Result<std::net::UdpSocket> {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
    socket2::SockRef::from(&socket).set_recv_buffer_size(BUFFER_BYTES)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A client of the forwarder, and the address that its peer sees.
fn forwarded(address: SocketAddr, peer: SocketAddr) -> anyhow::Result<(TurnClient, SocketAddr)> {
    let mut wire = Wire::connect(Transport::Udp, address)?;
    wire.send(peer.to_string().as_bytes())?;
    let relayed = String::from_utf8(wire.receive()?)?.parse()?;
    Ok((TurnClient::without_turn(wire), relayed))
}

fn bind_channels(
    clients: &mut [(TurnClient, SocketAddr)],
    direction: Direction,
    peer: SocketAddr,
) -> anyhow::Result<()> {
    let relayed: Vec<_> = clients.iter().map(|(_, relayed)| *relayed).collect();
    for (number, (client, _)) in clients.iter_mut().enumerate() {
        client.bind(match direction {
            Direction::Up | Direction::Down => peer,
            // Each with its neighbour.
            Direction::RelayToRelay => *relayed.get(number ^ 1).unwrap_or(&relayed[number]),
        })?;
    }
    Ok(())
}

/// Packets under way at a time, where the server sets the pace: never idle, and no buffer overflows.
const WINDOW: u64 = 256;
const SENDS_PER_TURN: u64 = 64;
const LOST_AFTER: Duration = Duration::from_millis(50);

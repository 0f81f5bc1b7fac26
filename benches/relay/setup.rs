//! A case's way through a server, or past it: clients, allocations, channels, and a flow for each client.

use std::net::{SocketAddr, UdpSocket};

use crate::case::{Case, Direction};
use crate::contestant::Running;
use crate::ends::{End, Flow};
use crate::turn_client::{CHANNEL, TurnClient};
use crate::wire::{Transport, Wire};

/// How packets get from one end to the other.
#[derive(Clone, Copy)]
pub(crate) enum Route<'a> {
    /// Over loopback from socket to socket: what the load itself and the kernel take.
    Direct,
    Through(&'a Running),
}

/// Everything that the load holds.
pub(crate) struct Setup {
    /// The peer, and each client behind it.
    pub(crate) ends: Vec<End>,
    pub(crate) flows: Vec<Flow>,
    /// What stands in front of the payload where it arrives.
    pub(crate) arriving_header_bytes: usize,
}

impl Setup {
    pub(crate) fn new(route: Route<'_>, case: &Case) -> anyhow::Result<Self> {
        let peer = UdpSocket::bind(LOOPBACK)?;
        let peer_address = peer.local_addr()?;
        let (mut clients, is_turn) = match route {
            Route::Direct => (direct(case, peer_address)?, false),
            Route::Through(server) if server.contestant.is_turn() => {
                (allocated(server, case, peer_address)?, true)
            }
            Route::Through(server) => (forwarded(server, case, peer_address)?, false),
        };
        let header = if is_turn {
            let length = u16::try_from(case.payload_bytes)?;
            [CHANNEL.to_be_bytes(), length.to_be_bytes()].concat()
        } else {
            Vec::new()
        };
        let flows = clients
            .iter()
            .enumerate()
            .map(|(number, client)| match case.direction {
                Direction::Up | Direction::RelayToRelay => {
                    Flow::new(number + 1, client.sends_to, &header, case)
                }
                Direction::Down => Flow::new(0, client.is_reached_at, &[], case),
            });
        let flows = flows.collect();
        let mut ends = vec![End::peer(peer)?];
        for client in clients.drain(..) {
            ends.push(End::client(client.wire)?);
        }
        Ok(Self {
            ends,
            flows,
            arriving_header_bytes: match case.direction {
                Direction::Up => 0,
                Direction::Down | Direction::RelayToRelay => header.len(),
            },
        })
    }
}

/// A client of the load.
struct Client {
    wire: Wire,
    sends_to: SocketAddr,
    /// Where the peer sends what is for it.
    is_reached_at: SocketAddr,
}

/// Sockets that send to the peer, or each to its neighbour.
fn direct(case: &Case, peer: SocketAddr) -> anyhow::Result<Vec<Client>> {
    let sockets: Vec<_> = (0..case.clients)
        .map(|_| UdpSocket::bind(LOOPBACK))
        .collect::<Result<_, _>>()?;
    let addresses: Vec<_> = sockets
        .iter()
        .map(UdpSocket::local_addr)
        .collect::<Result<_, _>>()?;
    let client = |(number, socket): (usize, UdpSocket)| {
        let sends_to = match case.direction {
            Direction::Up | Direction::Down => peer,
            Direction::RelayToRelay => neighbour(number, &addresses),
        };
        socket.connect(sends_to)?;
        Ok(Client {
            wire: Wire::Udp(socket),
            sends_to,
            is_reached_at: addresses[number],
        })
    };
    sockets.into_iter().enumerate().map(client).collect()
}

/// Clients of the forwarder.
fn forwarded(server: &Running, case: &Case, peer: SocketAddr) -> anyhow::Result<Vec<Client>> {
    let address = server.address(Transport::Udp);
    let client = |_| {
        let mut wire = Wire::connect(Transport::Udp, address)?;
        wire.send(peer.to_string().as_bytes())?;
        let is_reached_at = String::from_utf8(wire.receive()?)?.parse()?;
        Ok(Client {
            wire,
            sends_to: address,
            is_reached_at,
        })
    };
    (0..case.clients).map(client).collect()
}

/// Clients with an allocation each, and a channel to the peer or to the neighbour.
fn allocated(server: &Running, case: &Case, peer: SocketAddr) -> anyhow::Result<Vec<Client>> {
    let address = server.address(case.transport);
    let (mut clients, mut relayed) = (Vec::new(), Vec::new());
    for _ in 0..case.clients {
        let mut client = TurnClient::connect(case.transport, address)?;
        relayed.push(client.allocate()?);
        clients.push(client);
    }
    let bound = |(number, mut client): (usize, TurnClient)| {
        client.bind(match case.direction {
            Direction::Up | Direction::Down => peer,
            Direction::RelayToRelay => neighbour(number, &relayed),
        })?;
        Ok(Client {
            wire: client.wire,
            sends_to: address,
            is_reached_at: relayed[number],
        })
    };
    clients.into_iter().enumerate().map(bound).collect()
}

/// The other one of a pair; a last one without another is its own.
fn neighbour(number: usize, addresses: &[SocketAddr]) -> SocketAddr {
    *addresses.get(number ^ 1).unwrap_or(&addresses[number])
}

const LOOPBACK: &str = "127.0.0.1:0";

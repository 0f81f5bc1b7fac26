//! Relay sockets: they belong to the worker, which numbers them, and lead to the peers. Those of TCP allocations are
//! listeners, served by `peer_tcp`.

use std::{
    cell::Cell,
    future::poll_fn,
    io::{self, ErrorKind},
    net::SocketAddr,
    ops::RangeInclusive,
    sync::Arc,
    task::Poll,
};

use rustix::{
    io::Errno,
    net::{SendFlags, sendto},
};
use slab::Slab;
use tokio::{
    net::{TcpListener, UdpSocket},
    task::{AbortHandle, yield_now},
};

use crate::clock::Now;
use crate::relay::engine::five_tuple::{Family, PeerAddr, RelayKey, RelayedAddr};
use crate::relay::engine::{OpenedRelay, PortKind, PortRequest, RelayRefused, RelayTransport};
use crate::relay::wire::icmp::Icmp;
use crate::relay::worker::SharedWorker;
use crate::relay::worker::errors::{self, Errors};
use crate::relay::worker::external::{External, ExternalAddr};
use crate::relay::worker::ports::{Lease, Leased, Ports};
use crate::relay::worker::sockets;

/// What all workers open relay sockets from.
#[derive(Debug)]
pub(crate) struct RelayPorts {
    external: External,
    udp: Families,
    tcp: Families,
}

/// A port of TCP has nothing to do with the port of UDP that has its number.
#[derive(Debug)]
struct Families {
    v4: Arc<Ports>,
    v6: Arc<Ports>,
}

/// One worker's relay sockets.
#[derive(Debug)]
pub(super) struct Relays {
    ports: Arc<RelayPorts>,
    open: Slab<Relay>,
    /// Where clients are told of ICMP messages.
    errors: Option<Errors>,
}

/// The socket comes first: it closes before its port is free for somebody else.
#[derive(Debug)]
struct Relay {
    socket: RelaySocket,
    lease: Lease,
    serving: AbortHandle,
    /// Whether datagrams leave unfragmented or not at all: what the last one wanted.
    unfragmented: Cell<bool>,
    /// Where the last one went that was too big for that.
    too_big: Cell<Option<SocketAddr>>,
}

#[derive(Debug)]
enum RelaySocket {
    Udp(UdpSocket),
    Tcp(TcpListener),
}

/// Feeds the engine from this relay socket until it closes.
pub(super) async fn serve(worker: SharedWorker, key: RelayKey) {
    while readable(&worker, key).await {
        let received = worker.borrow_mut().peers_sent(Now::read(), key);
        // As with clients: after a full turn the other sockets come first.
        if received == DATAGRAMS_PER_TURN {
            yield_now().await;
        }
    }
}

/// Waits without owning the socket, so that closing it closes it at once.
async fn readable(worker: &SharedWorker, key: RelayKey) -> bool {
    poll_fn(|cx| {
        let worker = worker.borrow();
        let Some(socket) = worker.relays().socket(key) else {
            return Poll::Ready(false);
        };
        socket.poll_recv_ready(cx).map(|ready| ready.is_ok())
    })
    .await
}

impl Relays {
    pub(super) fn new(ports: Arc<RelayPorts>, errors: Option<Errors>) -> Self {
        Self {
            ports,
            open: Slab::new(),
            errors,
        }
    }

    /// Opens a relay socket and starts what serves it.
    pub(super) fn open(
        &mut self,
        now: Now,
        request: PortRequest,
        serve: impl FnOnce(RelayKey) -> AbortHandle,
    ) -> Result<OpenedRelay, RelayRefused> {
        let (relayed, leased) = self.ports.lease(now, request)?;
        let entry = self.open.vacant_entry();
        let key = u32::try_from(entry.key()).map_err(|_| RelayRefused::NoPort)?;
        let key = RelayKey(key);
        if let Some(errors) = &self.errors
            && let RelaySocket::Udp(socket) = &leased.socket
            && let Err(error) = errors.watch(socket, key)
        {
            // It relays all the same.
            tracing::warn!(%error, "a relay socket's errors go unnoticed");
        }
        tracing::debug!(port = leased.lease.port(), "relay port opened");
        entry.insert(Relay {
            socket: leased.socket,
            lease: leased.lease,
            serving: serve(key),
            unfragmented: Cell::new(false),
            too_big: Cell::new(None),
        });
        Ok(OpenedRelay {
            key,
            relayed,
            reservation: leased.reservation,
        })
    }

    /// Closes a relay socket; its port is free when this returns.
    pub(super) fn close(&mut self, key: RelayKey) {
        let Some(relay) = self.open.try_remove(key.0 as usize) else {
            return;
        };
        relay.serving.abort();
        tracing::debug!(port = relay.lease.port(), "relay port closed");
    }

    /// Sends at once or not at all.
    ///
    /// # Errors
    /// When the kernel has no room, or no way to the peer.
    pub(super) fn send(
        &self,
        key: RelayKey,
        peer: PeerAddr,
        payload: &[u8],
        dont_fragment: bool,
    ) -> io::Result<()> {
        let Some((relay, socket)) = self.udp(key) else {
            return Err(ErrorKind::NotConnected.into());
        };
        if relay.unfragmented.get() != dont_fragment {
            set_unfragmented(socket, dont_fragment)?;
            relay.unfragmented.set(dont_fragment);
        }
        let destination = self.ports.external.outbound(peer);
        let send = || sendto(socket, payload, SendFlags::DONTWAIT, &destination);
        let sent = send().or_else(|error| match error {
            Errno::AGAIN | Errno::NOBUFS | Errno::PERM => Err(error),
            // Most others are about an earlier datagram, and keep this one from leaving.
            _ => send(),
        });
        if sent == Err(Errno::MSGSIZE) && dont_fragment {
            relay.too_big.set(Some(destination));
        }
        sent?;
        Ok(())
    }

    /// The next thing said about a datagram that left a relay socket earlier, and who should have got it; `None` for
    /// what concerns no client.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing.
    pub(super) fn next_error(&self, key: RelayKey) -> io::Result<Option<(PeerAddr, Icmp)>> {
        let Some((relay, socket)) = self.udp(key) else {
            return Err(ErrorKind::WouldBlock.into());
        };
        let Some(error) = errors::next_error(socket)? else {
            return Ok(None);
        };
        let mut destination = error.destination;
        if let Some(too_big) = relay.too_big.get()
            && destination.port() == 0
            && destination.ip() == too_big.ip()
        {
            destination = too_big;
        }
        let peer = self.ports.external.inbound(destination);
        Ok(Some((peer, error.icmp)))
    }

    /// The next datagram waiting on a relay socket, read into `room`.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; others concern something sent earlier.
    pub(super) fn receive(&self, key: RelayKey, room: &mut [u8]) -> io::Result<(usize, PeerAddr)> {
        let Some(socket) = self.socket(key) else {
            return Err(ErrorKind::WouldBlock.into());
        };
        let (bytes, source) = socket.try_recv_from(room)?;
        Ok((bytes, self.ports.external.inbound(source)))
    }

    /// Where peers connect to, of a TCP allocation.
    pub(super) fn listener(&self, key: RelayKey) -> Option<&TcpListener> {
        match &self.open.get(key.0 as usize)?.socket {
            RelaySocket::Tcp(listener) => Some(listener),
            RelaySocket::Udp(_) => None,
        }
    }

    /// The way of a connection from a relay socket's address to a peer.
    pub(super) fn route(&self, key: RelayKey, peer: PeerAddr) -> Option<Route> {
        let relay = self.open.get(key.0 as usize)?;
        let external = self.ports.external.for_family(Family::of(peer.0.ip()))?;
        Some(Route {
            from: SocketAddr::new(external.local, relay.lease.port()),
            to: self.ports.external.outbound(peer),
        })
    }

    /// Whom a connection counts as coming from.
    pub(super) fn peer(&self, source: SocketAddr) -> PeerAddr {
        self.ports.external.inbound(source)
    }

    fn socket(&self, key: RelayKey) -> Option<&UdpSocket> {
        self.udp(key).map(|(_, socket)| socket)
    }

    fn udp(&self, key: RelayKey) -> Option<(&Relay, &UdpSocket)> {
        let relay = self.open.get(key.0 as usize)?;
        match &relay.socket {
            RelaySocket::Udp(socket) => Some((relay, socket)),
            RelaySocket::Tcp(_) => None,
        }
    }
}

fn set_unfragmented(socket: &UdpSocket, wanted: bool) -> io::Result<()> {
    if wanted {
        sockets::unfragmented(socket)
    } else {
        sockets::fragmenting(socket)
    }
}

impl RelayPorts {
    /// The ports of `range` on every external address.
    pub(crate) fn new(external: Vec<ExternalAddr>, range: RangeInclusive<u16>) -> Self {
        Self {
            udp: Families::new(&range),
            tcp: Families::new(&range),
            external: External::new(external, range),
        }
    }

    /// How many ports of a transport are leased or reserved.
    pub(crate) fn in_use(&self, now: Now, transport: RelayTransport) -> usize {
        let pools = self.pools(transport);
        pools.map(|pool| pool.ports.in_use(now)).sum()
    }

    /// How many ports there are of each transport.
    pub(crate) fn total(&self) -> usize {
        let pools = self.pools(RelayTransport::Udp);
        pools.map(|pool| pool.ports.total()).sum()
    }

    fn lease(&self, now: Now, request: PortRequest) -> Result<Opened, RelayRefused> {
        let fits = |pool: &Pool<'_>| match request.kind {
            // The token alone says which port it is.
            PortKind::Reserved(_) => true,
            PortKind::Any | PortKind::Even | PortKind::EvenWithNext => {
                pool.family == request.family
            }
        };
        let mut refused = RelayRefused::UnsupportedFamily;
        for pool in self.pools(request.transport).filter(fits) {
            let bind = |port| {
                let addr = SocketAddr::new(pool.external.local, port);
                RelaySocket::bind(request.transport, addr)
            };
            if let Some(leased) = pool.ports.open(now, request.kind, bind) {
                let relayed = SocketAddr::new(pool.external.public, leased.lease.port());
                return Ok((RelayedAddr(relayed), leased));
            }
            refused = RelayRefused::NoPort;
        }
        Err(refused)
    }

    /// The families that have an external address.
    fn pools(&self, transport: RelayTransport) -> impl Iterator<Item = Pool<'_>> {
        let ports = match transport {
            RelayTransport::Udp => &self.udp,
            RelayTransport::Tcp => &self.tcp,
        };
        let families = [(Family::V4, &ports.v4), (Family::V6, &ports.v6)];
        families.into_iter().filter_map(|(family, ports)| {
            let external = self.external.for_family(family)?;
            Some(Pool {
                family,
                external,
                ports,
            })
        })
    }
}

impl Families {
    fn new(range: &RangeInclusive<u16>) -> Self {
        Self {
            v4: Arc::new(Ports::new(range.clone())),
            v6: Arc::new(Ports::new(range.clone())),
        }
    }
}

impl RelaySocket {
    fn bind(transport: RelayTransport, addr: SocketAddr) -> io::Result<Self> {
        Ok(match transport {
            RelayTransport::Udp => Self::Udp(UdpSocket::from_std(sockets::relay_udp(addr)?)?),
            RelayTransport::Tcp => Self::Tcp(TcpListener::from_std(sockets::relay_tcp(addr)?)?),
        })
    }
}

/// Where a connection to a peer begins and ends, as sockets know it.
pub(super) struct Route {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
}

type Opened = (RelayedAddr, Leased<RelaySocket>);

struct Pool<'p> {
    family: Family,
    external: &'p ExternalAddr,
    ports: &'p Arc<Ports>,
}

/// How many datagrams one relay socket may bring before the other sockets get their turn.
pub(super) const DATAGRAMS_PER_TURN: usize = 32;

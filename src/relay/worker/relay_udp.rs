//! Relay sockets: they belong to the worker, which numbers them, and lead to the peers. Those of TCP allocations are
//! listeners, served by `peer_tcp`.

use std::{
    cell::Cell,
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener, UdpSocket},
    ops::RangeInclusive,
    sync::Arc,
};

use slab::Slab;
use tokio::task::AbortHandle;

use crate::clock::Now;
use crate::relay::engine::five_tuple::{Family, PeerAddr, RelayKey, RelayedAddr};
use crate::relay::engine::{OpenedRelay, PortKind, PortRequest, RelayRefused, RelayTransport};
use crate::relay::wire::icmp::Icmp;
use crate::relay::worker::batch::{self, Arrivals, Departure, Trains};
use crate::relay::worker::errors;
use crate::relay::worker::external::{External, ExternalAddr};
use crate::relay::worker::ports::{Lease, Leased, Ports};
use crate::relay::worker::reactor::{Listener, Reactor};
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
    worker: u32,
    open: Slab<Relay>,
    reactor: Arc<Reactor>,
    /// Whether clients are told of ICMP messages.
    tells_errors: bool,
}

/// The socket comes first: it closes before its port is free for somebody else.
#[derive(Debug)]
struct Relay {
    socket: RelaySocket,
    lease: Lease,
    /// Whether datagrams leave unfragmented or not at all: what the last one wanted.
    unfragmented: Cell<bool>,
    /// Where the last one went that was too big for that.
    too_big: Cell<Option<SocketAddr>>,
}

#[derive(Debug)]
enum RelaySocket {
    Udp(UdpSocket),
    /// This task serves it.
    Tcp(Listener, AbortHandle),
}

/// A relay socket that nobody watches yet.
#[derive(Debug)]
enum Unwatched {
    Udp(UdpSocket),
    Tcp(TcpListener),
}

/// A datagram on its way to a peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct ToPeer<'d> {
    pub(super) peer: PeerAddr,
    pub(super) payload: &'d [u8],
    /// Whether it must arrive unfragmented or not at all.
    pub(super) dont_fragment: bool,
    pub(super) traffic_class: u8,
}

impl Relays {
    /// `worker` is the number of the one that has them.
    pub(super) fn new(
        ports: Arc<RelayPorts>,
        worker: u32,
        reactor: Arc<Reactor>,
        tells_errors: bool,
    ) -> Self {
        Self {
            ports,
            worker,
            open: Slab::new(),
            reactor,
            tells_errors,
        }
    }

    /// Opens a relay socket; `serve` starts what serves one of TCP.
    pub(super) fn open(
        &mut self,
        now: Now,
        request: PortRequest,
        serve: impl FnOnce(RelayKey) -> AbortHandle,
    ) -> Result<OpenedRelay, RelayRefused> {
        let (relayed, leased) = self.ports.lease(now, self.worker, request)?;
        let key = u32::try_from(self.open.vacant_key()).map_err(|_| RelayRefused::NoPort)?;
        let key = RelayKey(key);
        let watched = match leased.socket {
            Unwatched::Udp(socket) => self.watch(socket, key, Family::of(relayed.0.ip())),
            Unwatched::Tcp(listener) => Listener::new(&self.reactor, listener)
                .map(|listener| RelaySocket::Tcp(listener, serve(key))),
        };
        let socket = watched.map_err(|error| {
            tracing::warn!(%error, "cannot watch a relay socket");
            RelayRefused::NoPort
        })?;
        tracing::debug!(port = leased.lease.port(), "relay port opened");
        self.open.insert(Relay {
            socket,
            lease: leased.lease,
            unfragmented: Cell::new(false),
            too_big: Cell::new(None),
        });
        Ok(OpenedRelay {
            key,
            relayed,
            reservation: leased.reservation,
        })
    }

    fn watch(&self, socket: UdpSocket, key: RelayKey, family: Family) -> io::Result<RelaySocket> {
        if self.tells_errors {
            sockets::keep_errors(&socket, family)?;
        }
        self.reactor.watch_relay(&socket, key)?;
        Ok(RelaySocket::Udp(socket))
    }

    /// Closes a relay socket; its port is free when this returns.
    pub(super) fn close(&mut self, key: RelayKey) {
        let Some(relay) = self.open.try_remove(key.0 as usize) else {
            return;
        };
        if let RelaySocket::Tcp(_, serving) = &relay.socket {
            serving.abort();
        }
        tracing::debug!(port = relay.lease.port(), "relay port closed");
    }

    /// Sends all of them from one relay socket, at once or not at all; says how many were not sent.
    pub(super) fn send_all<'d>(
        &self,
        key: RelayKey,
        trains: &Trains,
        all: impl Iterator<Item = &'d ToPeer<'d>> + Clone,
    ) -> usize {
        let Some((relay, socket)) = self.udp(key) else {
            return all.count();
        };
        if relay.unfragmented.get() || all.clone().any(|to_peer| to_peer.dont_fragment) {
            let sent = all.map(|to_peer| self.send_as_asked(relay, socket, to_peer));
            return sent.filter(|sent| !sent).count();
        }
        batch::send(socket, trains, all.map(|to_peer| self.departure(to_peer)))
    }

    /// Sends one, after the socket was told whether it may be fragmented; says whether it was sent.
    fn send_as_asked(&self, relay: &Relay, socket: &UdpSocket, to_peer: &ToPeer<'_>) -> bool {
        let wanted = to_peer.dont_fragment;
        if relay.unfragmented.get() != wanted {
            if set_unfragmented(socket, wanted).is_err() {
                return false;
            }
            relay.unfragmented.set(wanted);
        }
        let departure = self.departure(to_peer);
        let unsent = batch::send(socket, &Trains::new(false), [departure].into_iter());
        if unsent > 0 && wanted {
            // Too big, most likely: the kernel says so in the socket's error queue, but not for which port.
            relay.too_big.set(Some(departure.to));
        }
        unsent == 0
    }

    fn departure<'d>(&self, to_peer: &ToPeer<'d>) -> Departure<'d> {
        Departure {
            to: self.ports.external.outbound(to_peer.peer),
            from: None,
            traffic_class: to_peer.traffic_class,
            parts: [to_peer.payload, &[], &[]],
        }
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

    /// Receives what waits on a relay socket; says how many rooms it filled.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; others concern something sent earlier.
    pub(super) fn receive(&self, key: RelayKey, arrivals: &mut Arrivals) -> io::Result<usize> {
        let Some((_, socket)) = self.udp(key) else {
            return Err(ErrorKind::WouldBlock.into());
        };
        arrivals.receive(socket, ROOMS_PER_TURN)
    }

    /// Where peers connect to, of a TCP allocation.
    pub(super) fn listener(&self, key: RelayKey) -> Option<&Listener> {
        match &self.open.get(key.0 as usize)?.socket {
            RelaySocket::Tcp(listener, _) => Some(listener),
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

    fn udp(&self, key: RelayKey) -> Option<(&Relay, &UdpSocket)> {
        let relay = self.open.get(key.0 as usize)?;
        match &relay.socket {
            RelaySocket::Udp(socket) => Some((relay, socket)),
            RelaySocket::Tcp(..) => None,
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
    /// The ports of `range` on every external address; one for each of so many workers at least, where they share.
    pub(crate) fn new(
        external: Vec<ExternalAddr>,
        range: RangeInclusive<u16>,
        sharing_workers: usize,
    ) -> Self {
        Self {
            udp: Families::new(&range, sharing_workers),
            tcp: Families::new(&range, 0),
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

    fn lease(&self, now: Now, worker: u32, request: PortRequest) -> Result<Opened, RelayRefused> {
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
                Unwatched::bind(request.transport, addr)
            };
            if let Some(leased) = pool.ports.open(now, worker, request.kind, bind) {
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
    fn new(range: &RangeInclusive<u16>, sharing_workers: usize) -> Self {
        Self {
            v4: Arc::new(Ports::new(range.clone(), sharing_workers)),
            v6: Arc::new(Ports::new(range.clone(), sharing_workers)),
        }
    }
}

impl Unwatched {
    fn bind(transport: RelayTransport, addr: SocketAddr) -> io::Result<Self> {
        Ok(match transport {
            RelayTransport::Udp => Self::Udp(sockets::relay_udp(addr)?),
            RelayTransport::Tcp => Self::Tcp(sockets::relay_tcp(addr)?),
        })
    }
}

/// Where a connection to a peer begins and ends, as sockets know it.
pub(super) struct Route {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
}

type Opened = (RelayedAddr, Leased<Unwatched>);

struct Pool<'p> {
    family: Family,
    external: &'p ExternalAddr,
    ports: &'p Arc<Ports>,
}

/// How many datagrams, or trains of them, one relay socket may bring before the other sockets get their turn.
pub(super) const ROOMS_PER_TURN: usize = 16;

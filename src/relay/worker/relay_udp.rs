//! Relay sockets: they belong to the worker, which numbers them, and lead to the peers. One for datagrams may stay open for
//! whoever has its port next, and is open on a reserved port before anybody has it. Those of TCP allocations are listeners,
//! served by `peer_tcp`.

use std::{
    cell::{Cell, RefCell},
    io::{self, ErrorKind},
    net::{SocketAddr, UdpSocket},
    ops::RangeInclusive,
    os::fd::OwnedFd,
    sync::Arc,
    time::Instant,
};

use slab::Slab;
use tokio::task::AbortHandle;

use crate::clock::Now;
use crate::relay::engine::five_tuple::{Family, PeerAddr, RelayKey, RelayedAddr};
use crate::relay::engine::{OpenedRelay, PortKind, PortRequest, RelayRefused, RelayTransport};
use crate::relay::wire::icmp::Icmp;
use crate::relay::worker::batch::{self, Arrivals, Departure, Trains};
use crate::relay::worker::errors::{self, TooBig};
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
    /// Whether clients are told of ICMP messages.
    tells_errors: bool,
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
    /// When there may be some to close that nobody has.
    kept_until: Option<Instant>,
}

/// The socket comes first: if it closes, then before its port is free for somebody else.
#[derive(Debug)]
struct Relay {
    socket: RelaySocket,
    lease: Lease,
    /// Whether datagrams leave unfragmented or not at all: what the last one wanted.
    unfragmented: Cell<bool>,
    /// Those that were too big for that.
    too_big: RefCell<TooBig>,
}

#[derive(Debug)]
enum RelaySocket {
    Udp(UdpSocket),
    /// This task serves it.
    Tcp(Listener, AbortHandle),
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
    pub(super) fn new(ports: Arc<RelayPorts>, worker: u32, reactor: Arc<Reactor>) -> Self {
        Self {
            ports,
            worker,
            open: Slab::new(),
            reactor,
            kept_until: None,
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
        self.close_later(leased.reservation.map(|reservation| reservation.until));
        let key = u32::try_from(self.open.vacant_key()).map_err(|_| RelayRefused::NoPort)?;
        let key = RelayKey(key);
        let watched = match request.transport {
            RelayTransport::Udp => {
                let socket = UdpSocket::from(leased.socket);
                let watched = self.reactor.watch_relay(&socket, key);
                watched.map(|()| RelaySocket::Udp(socket))
            }
            RelayTransport::Tcp => {
                let listener = Listener::new(&self.reactor, leased.socket.into());
                listener.map(|listener| RelaySocket::Tcp(listener, serve(key)))
            }
        };
        let socket = watched.map_err(|error| {
            tracing::warn!(%error, "cannot watch a relay socket");
            RelayRefused::NoPort
        })?;
        tracing::debug!(port = leased.lease.port(), "relay port taken");
        self.open.insert(Relay {
            socket,
            lease: leased.lease,
            unfragmented: Cell::new(false),
            too_big: RefCell::default(),
        });
        Ok(OpenedRelay {
            key,
            relayed,
            reservation: leased.reservation.map(|reservation| reservation.token),
        })
    }

    /// Nobody has a relay socket any more; its port is free when this returns.
    pub(super) fn close(&mut self, now: Now, key: RelayKey) {
        if let Some(relay) = self.open.try_remove(key.0 as usize) {
            tracing::debug!(port = relay.lease.port(), "relay port is free");
            let kept_until = relay.end(now, &self.reactor);
            self.close_later(kept_until);
        }
    }

    /// Closes those that nobody has had for a while.
    pub(super) fn timeout(&mut self, now: Now) {
        if self.kept_until.is_some_and(|until| until <= now.mono) {
            self.kept_until = self.ports.close_kept(now);
        }
    }

    /// Nothing will be opened any more: closes all that nobody has.
    pub(super) fn end(&self) {
        self.ports.close_all_kept();
    }

    /// When [`timeout`](Self::timeout) is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.kept_until
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
            // Too big, most likely: the kernel says so in the socket's error queue, for each attempt and, of IPv4,
            // without the port.
            relay.too_big.borrow_mut().push(departure.to);
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
        let next = errors::next_error(socket).inspect_err(|_| relay.too_big.borrow_mut().clear());
        let Some(error) = next? else {
            return Ok(None);
        };
        let destination = if error.is_ours {
            relay.too_big.borrow_mut().take(error.destination)
        } else {
            Some(error.destination)
        };
        let peer = destination.map(|destination| self.ports.external.inbound(destination));
        Ok(peer.map(|peer| (peer, error.icmp)))
    }

    /// Receives what waits on a relay socket, up to so many rooms; says how many it filled.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; others concern something sent earlier.
    pub(super) fn receive(
        &self,
        key: RelayKey,
        arrivals: &mut Arrivals,
        rooms: usize,
    ) -> io::Result<usize> {
        let Some((_, socket)) = self.udp(key) else {
            return Err(ErrorKind::WouldBlock.into());
        };
        arrivals.receive(socket, rooms)
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

    /// Not all are kept for the same time.
    fn close_later(&mut self, kept_until: Option<Instant>) {
        self.kept_until = self.kept_until.into_iter().chain(kept_until).min();
    }

    fn udp(&self, key: RelayKey) -> Option<(&Relay, &UdpSocket)> {
        let relay = self.open.get(key.0 as usize)?;
        match &relay.socket {
            RelaySocket::Udp(socket) => Some((relay, socket)),
            RelaySocket::Tcp(..) => None,
        }
    }
}

impl Relay {
    /// The socket closes, or stays open as it was when it was new, until then; and the port is free.
    fn end(self, now: Now, reactor: &Reactor) -> Option<Instant> {
        match self.socket {
            RelaySocket::Udp(socket) => {
                let was_unfragmented = self.unfragmented.get();
                self.lease.end_and_keep(now, move || {
                    let is_as_new = !was_unfragmented || set_unfragmented(&socket, false).is_ok();
                    let is_free = reactor.unwatch_relay(&socket).is_ok();
                    (is_as_new && is_free).then(|| socket.into())
                })
            }
            RelaySocket::Tcp(listener, serving) => {
                serving.abort();
                drop(listener);
                None
            }
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
        tells_errors: bool,
    ) -> Self {
        Self {
            udp: Families::new(&range, sharing_workers),
            tcp: Families::new(&range, 0),
            external: External::new(external, range),
            tells_errors,
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

    fn close_kept(&self, now: Now) -> Option<Instant> {
        let families = [&self.udp.v4, &self.udp.v6];
        let due = families.map(|ports| ports.close_kept(now));
        due.into_iter().flatten().min()
    }

    fn close_all_kept(&self) {
        self.udp.v4.close_all_kept();
        self.udp.v6.close_all_kept();
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
            let bind = |port, kept| {
                let addr = SocketAddr::new(pool.external.local, port);
                self.bind(request.transport, addr, kept)
            };
            if let Some(leased) = pool.ports.open(now, worker, request.kind, bind) {
                let relayed = SocketAddr::new(pool.external.public, leased.lease.port());
                return Ok((RelayedAddr(relayed), leased));
            }
            refused = RelayRefused::NoPort;
        }
        Err(refused)
    }

    /// A new socket on this address, or the one that was kept there.
    fn bind(
        &self,
        transport: RelayTransport,
        addr: SocketAddr,
        kept: Option<OwnedFd>,
    ) -> io::Result<OwnedFd> {
        match transport {
            RelayTransport::Udp => {
                let kept = kept.map(UdpSocket::from).and_then(emptied);
                let socket = kept.map_or_else(|| self.bind_udp(addr), Ok);
                socket.map(OwnedFd::from)
            }
            RelayTransport::Tcp => sockets::relay_tcp(addr).map(OwnedFd::from),
        }
    }

    fn bind_udp(&self, addr: SocketAddr) -> io::Result<UdpSocket> {
        let socket = sockets::relay_udp(addr)?;
        if self.tells_errors {
            sockets::keep_errors(&socket, Family::of(addr.ip()))?;
        }
        Ok(socket)
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

/// The socket without what came for those who had it before, and what was said about what they sent; `None` where that
/// takes no end.
fn emptied(socket: UdpSocket) -> Option<UdpSocket> {
    let mut turns = 0..EMPTYING_TURNS_MAX;
    // An error is one about something that was sent, and taken away with it.
    let no_datagram = turns.any(|_| would_block(socket.recv(&mut [])));
    let no_error = turns.any(|_| would_block(errors::next_error(&socket)));
    (no_datagram && no_error).then_some(socket)
}

fn would_block<T>(result: io::Result<T>) -> bool {
    result.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

/// Where a connection to a peer begins and ends, as sockets know it.
pub(super) struct Route {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
}

type Opened = (RelayedAddr, Leased);

struct Pool<'p> {
    family: Family,
    external: &'p ExternalAddr,
    ports: &'p Arc<Ports>,
}

/// A socket with more than that to take out is replaced by a new one.
const EMPTYING_TURNS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use std::{
        net::{IpAddr, Ipv4Addr, Ipv6Addr},
        os::fd::AsRawFd,
    };

    use rustix::net::sockopt::{Ipv4PathMtuDiscovery, ip_mtu_discover};

    use super::*;
    use crate::relay::worker::reactor;

    #[test]
    fn a_socket_stays_open_when_its_port_is_free_as_if_it_were_new() {
        for ip in LOOPBACKS {
            with_port(ip, |relays| {
                let peer = UdpSocket::bind((ip, 0)).unwrap();
                let nobody = UdpSocket::bind((ip, 0)).unwrap().local_addr().unwrap();
                let first = open(relays, ip, PortKind::Any);
                let socket = relays.udp(first.key).unwrap().1.as_raw_fd();
                send_unfragmented(relays, first.key, nobody);
                relays.close(Now::read(), first.key);
                for late in [&b"late"[..], b"", b"later"] {
                    peer.send_to(late, first.relayed.0).unwrap();
                }

                let second = open(relays, ip, PortKind::Any);
                assert_eq!(second.relayed, first.relayed);
                assert_eq!(relays.udp(second.key).unwrap().1.as_raw_fd(), socket);
                let mut arrivals = Arrivals::new();
                assert!(would_block(relays.receive(second.key, &mut arrivals, 1)));
                assert!(would_block(relays.next_error(second.key)));
                if ip.is_ipv4() {
                    let socket = relays.udp(second.key).unwrap().1;
                    assert_eq!(ip_mtu_discover(socket), Ok(Ipv4PathMtuDiscovery::DONT));
                }
                peer.send_to(b"new", second.relayed.0).unwrap();
                assert_hears_only(relays, second.key, b"new");
            });
        }
    }

    #[test]
    fn r57_a_reserved_port_is_nobody_elses_until_its_token_comes_to_any_worker() {
        for ip in LOOPBACKS {
            with_pair(ip, |[even, next], [first, second]| {
                let peer = UdpSocket::bind((ip, 0)).unwrap();
                let opened = open(first, ip, PortKind::EvenWithNext);
                assert_eq!(opened.relayed.0, even);
                let foreign = UdpSocket::bind(next).unwrap_err();
                assert_eq!(foreign.kind(), ErrorKind::AddrInUse);
                peer.send_to(b"too early", next).unwrap();

                let token = PortKind::Reserved(opened.reservation.unwrap());
                let opened = open(second, ip, token);
                assert_eq!(opened.relayed.0, next);
                peer.send_to(b"new", next).unwrap();
                assert_hears_only(second, opened.key, b"new");
            });
        }
    }

    #[test]
    fn r57_a_reserved_port_that_nobody_came_for_is_anybodys() {
        for ip in LOOPBACKS {
            with_pair(ip, |[even, next], [first, second]| {
                let now = Now::read();
                let opened = open(first, ip, PortKind::EvenWithNext);
                let reserved_until = first.poll_timeout().unwrap();
                // What is kept on a free port closes earlier.
                first.close(now, opened.key);
                let kept_until = first.poll_timeout().unwrap();
                assert!(kept_until < reserved_until);
                first.timeout(now.advanced(kept_until - now.mono));
                assert!(UdpSocket::bind(even).is_ok() && UdpSocket::bind(next).is_err());
                assert_eq!(first.poll_timeout(), Some(reserved_until));

                let over = now.advanced(reserved_until - now.mono);
                first.timeout(over);
                assert_eq!(first.poll_timeout(), None);
                assert!(UdpSocket::bind(next).is_ok());
                assert_eq!(first.ports.in_use(over, RelayTransport::Udp), 0);
                let token = PortKind::Reserved(opened.reservation.unwrap());
                let late = second.open(over, request(ip, token), never);
                assert_eq!(late.err(), Some(RelayRefused::NoPort));
            });
        }
    }

    #[test]
    fn r57_a_pair_of_which_another_program_has_one_is_none() {
        for ip in LOOPBACKS {
            for foreign in 0..2 {
                with_pair(ip, |pair, [first, _]| {
                    let foreign = UdpSocket::bind(pair[foreign]).unwrap();
                    let now = Now::read();
                    let opened = first.open(now, request(ip, PortKind::EvenWithNext), never);
                    assert_eq!(opened.err(), Some(RelayRefused::NoPort));
                    drop(foreign);
                    assert!(pair.map(UdpSocket::bind).iter().all(Result::is_ok));
                });
            }
        }
    }

    #[test]
    fn at_the_end_the_sockets_of_reservations_close() {
        for ip in LOOPBACKS {
            with_pair(ip, |[_, next], [first, second]| {
                open(first, ip, PortKind::EvenWithNext);
                second.end();
                assert!(UdpSocket::bind(next).is_ok());
            });
        }
    }

    fn assert_hears_only(relays: &Relays, key: RelayKey, message: &[u8]) {
        let mut arrivals = Arrivals::new();
        assert_eq!(relays.receive(key, &mut arrivals, 2).unwrap(), 1);
        let arrival = arrivals.iter_mut().next().unwrap().unwrap();
        let datagrams: Vec<_> = arrival.datagrams().collect();
        assert!(matches!(&datagrams[..], [only] if only.bytes() == message));
    }

    fn send_unfragmented(relays: &Relays, key: RelayKey, to: SocketAddr) {
        let to_peer = ToPeer {
            peer: PeerAddr(to),
            payload: b"to nobody",
            dont_fragment: true,
            traffic_class: 0,
        };
        let unsent = relays.send_all(key, &Trains::new(false), [to_peer].iter());
        assert_eq!(unsent, 0);
    }

    fn open(relays: &mut Relays, ip: IpAddr, kind: PortKind) -> OpenedRelay {
        relays.open(Now::read(), request(ip, kind), never).unwrap()
    }

    fn request(ip: IpAddr, kind: PortKind) -> PortRequest {
        PortRequest {
            transport: RelayTransport::Udp,
            family: Family::of(ip),
            kind,
        }
    }

    fn never(_: RelayKey) -> AbortHandle {
        unreachable!("it is no listener")
    }

    fn with_port(ip: IpAddr, test: impl FnOnce(&mut Relays)) {
        let port = UdpSocket::bind((ip, 0)).and_then(|socket| socket.local_addr());
        let port = port.unwrap().port();
        with_range(ip, port..=port, |[relays, _]| test(relays));
    }

    /// An even port and the next one are all there is for two workers.
    fn with_pair(ip: IpAddr, test: impl FnOnce([SocketAddr; 2], [&mut Relays; 2])) {
        let pair = loop {
            let socket = UdpSocket::bind((ip, 0)).unwrap();
            let addr = socket.local_addr().unwrap();
            let even = addr.port() & !1;
            let pair = [even, even + 1].map(|port| SocketAddr::new(ip, port));
            drop(socket);
            if pair.map(UdpSocket::bind).iter().all(Result::is_ok) {
                break pair;
            }
        };
        let range = pair[0].port()..=pair[1].port();
        with_range(ip, range, |workers| test(pair, workers));
    }

    fn with_range(ip: IpAddr, range: RangeInclusive<u16>, test: impl FnOnce([&mut Relays; 2])) {
        let external = ExternalAddr {
            public: ip,
            local: ip,
        };
        let ports = Arc::new(RelayPorts::new(vec![external], range, 0, true));
        reactor::run(async |reactor| {
            let mut workers =
                [0, 1].map(|worker| Relays::new(Arc::clone(&ports), worker, Arc::clone(&reactor)));
            test(workers.each_mut());
        });
    }

    const LOOPBACKS: [IpAddr; 2] = [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ];
}

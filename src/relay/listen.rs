//! The listening sockets of all workers, bound before any of them runs.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
};

use rustix::io::Errno;

use crate::relay::engine::discovery::Square;
use crate::relay::engine::five_tuple::Transport;
use crate::relay::worker::{adopt_tcp, adopt_udp, client_tcp, client_udp, probe_tcp, probe_udp};
use crate::relay::{Inherited, Settings, StartError};

/// An address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// The address; port 0 lets the system choose.
    pub addr: SocketAddr,
    /// Whether the start fails when this machine lacks the address's family.
    pub required: bool,
}

/// The addresses really bound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// STUN and TURN over UDP.
    pub udp: Vec<SocketAddr>,
    /// STUN and TURN over TCP.
    pub tcp: Vec<SocketAddr>,
    /// STUN and TURN over TLS.
    pub tls: Vec<SocketAddr>,
    /// STUN and TURN over DTLS.
    pub dtls: Vec<SocketAddr>,
}

impl Bound {
    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = SocketAddr> {
        let Self {
            udp,
            tcp,
            tls,
            dtls,
        } = self;
        [udp, tcp, tls, dtls].into_iter().flatten().copied()
    }
}

/// What to do about an address that can't be listened on, and that `key` of the configuration names.
#[must_use]
pub fn listen_fix(reason: &io::Error, key: &str) -> String {
    match Errno::from_io_error(reason) {
        Some(Errno::ACCESS) => format!(
            "only root may listen below port 1024: give the service CAP_NET_BIND_SERVICE (AmbientCapabilities= in its systemd unit), or let everybody (sysctl net.ipv4.ip_unprivileged_port_start=80), or set {key} to a higher port"
        ),
        Some(Errno::ADDRNOTAVAIL) => {
            format!("set {key} to an address of this machine, or to 0.0.0.0 or [::]")
        }
        Some(_) | None => format!("free the port, or set {key}"),
    }
}

/// One worker's listening sockets: the kernel spreads clients over those of all workers.
#[derive(Debug)]
pub(super) struct Listeners {
    pub(super) udp: Vec<UdpSocket>,
    pub(super) tcp: Vec<TcpListener>,
    pub(super) tls: Vec<TcpListener>,
    pub(super) dtls: Vec<UdpSocket>,
}

/// Binds every address once for each worker, or takes the socket there that is inherited.
pub(super) fn bind_all(
    settings: &Settings,
    inherited: &mut Inherited,
) -> Result<(Bound, Vec<Listeners>), StartError> {
    let mut udp = Group::new(Transport::Udp, &UDP, settings.workers);
    let mut tcp = Group::new(Transport::Tcp, &TCP, settings.workers);
    let mut tls = Group::new(Transport::Tls, &TCP, settings.workers);
    let mut dtls = Group::new(Transport::Dtls, &UDP, settings.workers);
    udp.bind(&settings.listen_udp, inherited)?;
    udp.bind(&settings.alternates(), inherited)?;
    tcp.bind(&settings.listen_tcp, inherited)?;
    tls.bind(&settings.listen_tls, inherited)?;
    if settings.dtls.is_some() {
        dtls.bind(&settings.listen_dtls, inherited)?;
    }
    let datagrams = udp.sockets.into_iter().zip(dtls.sockets);
    let streams = tcp.sockets.into_iter().zip(tls.sockets);
    let listeners = datagrams
        .zip(streams)
        .map(|((udp, dtls), (tcp, tls))| Listeners {
            udp,
            tcp,
            tls,
            dtls,
        });
    let bound = Bound {
        udp: udp.bound,
        tcp: tcp.bound,
        tls: tls.bound,
        dtls: dtls.bound,
    };
    Ok((bound, listeners.collect()))
}

/// For each family with two addresses of one port, of `settings.listen_udp`: those and the alternate port.
pub(super) fn squares(settings: &Settings) -> Vec<Square> {
    let Some(alternate) = settings.alternate_port else {
        return Vec::new();
    };
    let addrs = || settings.listen_udp.iter().map(|listen| listen.addr);
    let usable = |addr: &SocketAddr| {
        !addr.ip().is_unspecified() && addr.port() != 0 && addr.port() != alternate
    };
    let of_family = |is_v4| {
        let mut addrs = addrs().filter(|addr| usable(addr) && addr.is_ipv4() == is_v4);
        let first = addrs.next()?;
        let second = addrs.find(|addr| addr.port() == first.port() && addr.ip() != first.ip())?;
        let ips = [first.ip(), second.ip()];
        Some(Square {
            ips,
            told: ips.map(|ip| told(settings, ip)),
            ports: [first.port(), alternate],
        })
    };
    [true, false].into_iter().filter_map(of_family).collect()
}

/// As clients know this address, behind NAT too.
fn told(settings: &Settings, ip: IpAddr) -> IpAddr {
    let external = settings.external.iter().find(|own| own.local == ip);
    external.map_or(ip, |own| own.public)
}

impl Settings {
    /// What is listened on over UDP for NAT behaviour discovery alone.
    #[must_use]
    pub fn alternates(&self) -> Vec<Listen> {
        let squares = squares(self);
        let addrs = squares.iter().flat_map(Square::alternates);
        let not_yet = |addr: &SocketAddr| self.listen_udp.iter().all(|own| own.addr != *addr);
        addrs
            .filter(not_yet)
            .map(|addr| Listen {
                addr,
                required: true,
            })
            .collect()
    }
}

/// How sockets of one kind come to be.
struct Kind<S: 'static> {
    /// Binds alone, and says where.
    probe: fn(SocketAddr) -> io::Result<SocketAddr>,
    open: fn(SocketAddr) -> io::Result<S>,
    /// One that is inherited, for as many workers as can share it.
    adopt: fn(&mut Inherited, SocketAddr, usize) -> io::Result<Vec<S>>,
}

const UDP: Kind<UdpSocket> = Kind {
    probe: probe_udp,
    open: client_udp,
    adopt: adopt_datagrams,
};

const TCP: Kind<TcpListener> = Kind {
    probe: probe_tcp,
    open: client_tcp,
    adopt: adopt_stream,
};

/// All sockets of one transport, worker by worker.
struct Group<S: 'static> {
    transport: Transport,
    kind: &'static Kind<S>,
    bound: Vec<SocketAddr>,
    sockets: Vec<Vec<S>>,
}

impl<S> Group<S> {
    fn new(transport: Transport, kind: &'static Kind<S>, workers: usize) -> Self {
        Self {
            transport,
            kind,
            bound: Vec::new(),
            sockets: (0..workers).map(|_| Vec::new()).collect(),
        }
    }

    fn bind(&mut self, listens: &[Listen], inherited: &mut Inherited) -> Result<(), StartError> {
        for listen in listens {
            match self.bind_one(listen.addr, inherited) {
                Ok(()) => {}
                Err(error) if !listen.required && is_family_missing(&error) => {
                    let (transport, addr) = (self.transport, listen.addr);
                    tracing::warn!(?transport, %addr, %error, "not listening");
                }
                Err(source) => {
                    return Err(StartError::Listen {
                        transport: self.transport,
                        addr: listen.addr,
                        source,
                    });
                }
            }
        }
        Ok(())
    }

    fn bind_one(&mut self, addr: SocketAddr, inherited: &mut Inherited) -> io::Result<()> {
        let adopted = (self.kind.adopt)(inherited, addr, self.sockets.len())?;
        if !adopted.is_empty() {
            for (sockets, socket) in self.sockets.iter_mut().zip(adopted) {
                sockets.push(socket);
            }
            self.bound.push(addr);
            return Ok(());
        }
        // Port 0 becomes a port here: with SO_REUSEPORT the kernel may choose one that is taken. Somebody else may take it
        // meanwhile; then another one will do.
        let mut tries = if addr.port() == 0 { PORT_TRIES } else { 1 };
        loop {
            tries -= 1;
            match self.open_all(addr) {
                Err(error) if error.kind() == ErrorKind::AddrInUse && tries > 0 => {}
                opened => return opened,
            }
        }
    }

    fn open_all(&mut self, addr: SocketAddr) -> io::Result<()> {
        let local = (self.kind.probe)(addr)?;
        let opened = self.sockets.iter().map(|_| (self.kind.open)(local));
        let opened = opened.collect::<io::Result<Vec<_>>>()?;
        for (sockets, socket) in self.sockets.iter_mut().zip(opened) {
            sockets.push(socket);
        }
        self.bound.push(local);
        Ok(())
    }
}

/// The kernel gives each connection to one of those who wait on the same listener.
fn adopt_stream(
    inherited: &mut Inherited,
    addr: SocketAddr,
    workers: usize,
) -> io::Result<Vec<TcpListener>> {
    let Some(listener) = inherited.take_stream(addr)? else {
        return Ok(Vec::new());
    };
    let listener = adopt_tcp(listener)?;
    (0..workers).map(|_| listener.try_clone()).collect()
}

/// A client's datagrams must all come to one worker, and a single socket does not see to that.
fn adopt_datagrams(
    inherited: &mut Inherited,
    addr: SocketAddr,
    workers: usize,
) -> io::Result<Vec<UdpSocket>> {
    let Some(socket) = inherited.take_datagrams(addr)? else {
        return Ok(Vec::new());
    };
    if workers > 1 {
        tracing::warn!(%addr, "one worker alone serves a UDP socket that the service manager passes");
    }
    Ok(vec![adopt_udp(socket)?])
}

/// How many ports of the kernel's choice may be taken by others before they are bound.
const PORT_TRIES: usize = 8;

fn is_family_missing(error: &io::Error) -> bool {
    let missing = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL];
    missing
        .map(|errno| Some(errno.raw_os_error()))
        .contains(&error.raw_os_error())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        static CHOSEN: Cell<u16> = const { Cell::new(0) };
    }

    /// The kernel's first two choices are taken meanwhile.
    const BUSY: Kind<u16> = Kind {
        probe: |addr| {
            let port = match addr.port() {
                0 => CHOSEN.get() + 1,
                port => port,
            };
            CHOSEN.set(port);
            Ok(SocketAddr::new(addr.ip(), port))
        },
        open: |addr| match addr.port() {
            ..=2 => Err(ErrorKind::AddrInUse.into()),
            port => Ok(port),
        },
        adopt: |_, _, _| Ok(Vec::new()),
    };

    #[test]
    fn a_port_that_anybody_may_choose_is_chosen_again_when_it_is_taken() {
        let mut group = Group::new(Transport::Udp, &BUSY, 2);
        let nobody = &mut Inherited::default();
        let on = |port| SocketAddr::from(([127, 0, 0, 1], port));
        group.bind_one(on(0), nobody).unwrap();
        assert_eq!(
            (group.sockets.as_slice(), group.bound.as_slice()),
            ([vec![3], vec![3]].as_slice(), [on(3)].as_slice())
        );
        let taken = group.bind_one(on(2), nobody).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    }

    #[test]
    fn each_reason_has_its_own_fix() {
        let cases = [
            (Errno::ADDRINUSE, "free the port, or set http.listen"),
            (Errno::ACCESS, "CAP_NET_BIND_SERVICE"),
            (Errno::ACCESS, "ip_unprivileged_port_start=80"),
            (Errno::ADDRNOTAVAIL, "an address of this machine"),
        ];
        for (errno, part) in cases {
            let fix = listen_fix(&errno.into(), "http.listen");
            assert!(fix.contains(part) && fix.contains("http.listen"), "{fix}");
            assert_eq!(fix.contains("free the port"), errno == Errno::ADDRINUSE);
        }
    }
}

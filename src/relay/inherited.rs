//! Sockets that the service manager has opened for us, found by their addresses.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
};

use socket2::SockRef;

/// Those that nobody has asked for yet.
#[derive(Debug, Default)]
pub struct Inherited {
    streams: Vec<TcpListener>,
    datagrams: Vec<UdpSocket>,
}

impl Inherited {
    /// Takes in what was passed.
    #[must_use]
    pub fn new(streams: Vec<TcpListener>, datagrams: Vec<UdpSocket>) -> Self {
        Self { streams, datagrams }
    }

    /// The listener at this address.
    ///
    /// # Errors
    /// When it listens to IPv4 too, although the address is an IPv6 one, or can't be set up.
    pub fn take_stream(&mut self, addr: SocketAddr) -> io::Result<Option<TcpListener>> {
        let is_it = |own: &TcpListener| own.local_addr().is_ok_and(|local| local == addr);
        let Some(at) = self.streams.iter().position(is_it) else {
            return Ok(None);
        };
        let listener = self.streams.swap_remove(at);
        check_family(addr, &SockRef::from(&listener))?;
        listener.set_nonblocking(true)?;
        Ok(Some(listener))
    }

    /// The socket at this address.
    ///
    /// # Errors
    /// As [`take_stream`](Self::take_stream).
    pub fn take_datagrams(&mut self, addr: SocketAddr) -> io::Result<Option<UdpSocket>> {
        let is_it = |own: &UdpSocket| own.local_addr().is_ok_and(|local| local == addr);
        let Some(at) = self.datagrams.iter().position(is_it) else {
            return Ok(None);
        };
        let socket = self.datagrams.swap_remove(at);
        check_family(addr, &SockRef::from(&socket))?;
        socket.set_nonblocking(true)?;
        Ok(Some(socket))
    }

    /// Where those are that fit no listener of ours.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let streams = self.streams.iter().filter_map(|own| own.local_addr().ok());
        let datagrams = self.datagrams.iter();
        streams.chain(datagrams.filter_map(|own| own.local_addr().ok()))
    }
}

/// Clients over IPv4 must not look like ones over IPv6.
fn check_family(addr: SocketAddr, socket: &SockRef<'_>) -> io::Result<()> {
    if addr.is_ipv6() && addr.ip().is_unspecified() && !socket.only_v6()? {
        let problem = "the passed socket takes IPv4 too; write BindIPv6Only=ipv6-only in its unit";
        return Err(io::Error::other(problem));
    }
    Ok(())
}

//! Sockets, bound and set up the way the relay needs them.

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd,
    sync::Once,
};

use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use rustix::net::sockopt::{
    Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover,
};
use socket2::{Domain, SockRef, Socket, Type};

use crate::relay::engine::five_tuple::Family;

/// Binds `addr` for us alone, for a moment; says where, for port 0.
///
/// `SO_REUSEPORT`, which our workers need, would let a second server bind the same address unnoticed.
pub(crate) fn probe_udp(addr: SocketAddr) -> io::Result<SocketAddr> {
    let socket = open(addr, Type::DGRAM)?;
    socket.bind(&addr.into())?;
    UdpSocket::from(socket).local_addr()
}

/// The same for TCP, where connections of the past don't count.
pub(crate) fn probe_tcp(addr: SocketAddr) -> io::Result<SocketAddr> {
    let socket = open(addr, Type::STREAM)?;
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(1)?;
    TcpListener::from(socket).local_addr()
}

/// A UDP socket for clients, one of several on the same address.
pub(crate) fn client_udp(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = open(addr, Type::DGRAM)?;
    socket.set_reuse_port(true)?;
    enlarge(SockRef::from(&socket))?;
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

/// A UDP socket for clients that somebody else has bound.
pub(crate) fn adopt_udp(socket: UdpSocket) -> io::Result<UdpSocket> {
    enlarge(SockRef::from(&socket))?;
    Ok(socket)
}

/// Asks for large buffers, and says once what the kernel did not grant: a burst that does not fit is lost unseen.
fn enlarge(socket: SockRef<'_>) -> io::Result<()> {
    static SAID: Once = Once::new();
    socket.set_recv_buffer_size(CLIENT_BUFFER_BYTES)?;
    socket.set_send_buffer_size(CLIENT_BUFFER_BYTES)?;
    // The kernel keeps twice of what it grants, for what it needs beside the data.
    let granted = [socket.recv_buffer_size()?, socket.send_buffer_size()?].map(|kept| kept / 2);
    if granted.iter().any(|bytes| *bytes < CLIENT_BUFFER_BYTES) {
        SAID.call_once(|| {
            tracing::info!(
                asked = CLIENT_BUFFER_BYTES,
                receive = granted[0],
                send = granted[1],
                "the kernel limits the buffers of UDP sockets: net.core.rmem_max and net.core.wmem_max set how far"
            );
        });
    }
    Ok(())
}

/// A TCP listener, one of several on the same address.
pub(crate) fn client_tcp(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = open(addr, Type::STREAM)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    adopt_tcp(socket.into())
}

/// A TCP listener for clients that somebody else may have bound; its connections inherit what is set up here.
pub(crate) fn adopt_tcp(listener: TcpListener) -> io::Result<TcpListener> {
    SockRef::from(&listener).set_send_buffer_size(STREAM_BUFFER_BYTES)?;
    Ok(listener)
}

/// A relay socket: this port is ours alone.
pub(crate) fn relay_udp(addr: SocketAddr) -> io::Result<UdpSocket> {
    let family = Family::of(addr.ip());
    let socket = open(addr, Type::DGRAM)?;
    // It may have hundreds of holders; what the kernel grants was said of the clients' sockets.
    socket.set_recv_buffer_size(RELAY_BUFFER_BYTES)?;
    socket.set_send_buffer_size(RELAY_BUFFER_BYTES)?;
    socket.bind(&addr.into())?;
    let socket = socket.into();
    discover_no_mtu(&socket, family)?;
    tell_traffic_class_of(&socket, family)?;
    // Where the kernel has no GRO, datagrams arrive one by one.
    let _ = join_datagrams(&socket);
    Ok(socket)
}

/// A relay socket of a TCP allocation: this port is ours alone, but for our own connections from it.
pub(crate) fn relay_tcp(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = open(addr, Type::STREAM)?;
    // Connections of the past don't count.
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    // That of whoever connects, too.
    socket.set_out_of_band_inline(true)?;
    socket.listen(RELAY_BACKLOG)?;
    // Only now: bound with it, the port could be somebody else's as well.
    socket.set_reuse_port(true)?;
    Ok(socket.into())
}

/// A socket that will be connected to a peer, from the address of a relay socket.
pub(crate) fn peer_tcp(addr: SocketAddr) -> io::Result<TcpStream> {
    let socket = open(addr, Type::STREAM)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_out_of_band_inline(true)?;
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

/// Urgent bytes are read in their order, as all others.
pub(super) fn urgent_inline(socket: &TcpStream) -> io::Result<()> {
    SockRef::from(socket).set_out_of_band_inline(true)
}

/// Lets datagrams of any size out, in fragments where they must
/// ([RFC 8656 §15](https://www.rfc-editor.org/rfc/rfc8656#section-15): DF is 0 unless the client asks).
pub(crate) fn fragmenting(socket: &UdpSocket) -> io::Result<()> {
    let family = family_of(socket)?;
    discover_no_mtu(socket, family)?;
    match family {
        Family::V4 => {}
        Family::V6 => setsockopt(&socket.as_fd(), sockopt::Ipv6DontFrag, &false)?,
    }
    Ok(())
}

/// All that a new socket needs to be told.
fn discover_no_mtu(socket: &UdpSocket, family: Family) -> io::Result<()> {
    match family {
        Family::V4 => set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::DONT)?,
        Family::V6 => set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::DONT)?,
    }
    Ok(())
}

/// Lets nothing out but whole datagrams: what is too big for the path is refused.
pub(crate) fn unfragmented(socket: &UdpSocket) -> io::Result<()> {
    match family_of(socket)? {
        Family::V4 => set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::DO)?,
        Family::V6 => setsockopt(&socket.as_fd(), sockopt::Ipv6DontFrag, &true)?,
    }
    Ok(())
}

/// Tells with each datagram which address it was sent to.
pub(super) fn tell_destination(socket: &UdpSocket) -> io::Result<()> {
    match family_of(socket)? {
        Family::V4 => setsockopt(&socket.as_fd(), sockopt::Ipv4PacketInfo, &true)?,
        Family::V6 => setsockopt(&socket.as_fd(), sockopt::Ipv6RecvPacketInfo, &true)?,
    }
    Ok(())
}

/// Tells DSCP and ECN with each datagram that has any.
pub(super) fn tell_traffic_class(socket: &UdpSocket) -> io::Result<()> {
    tell_traffic_class_of(socket, family_of(socket)?)
}

fn tell_traffic_class_of(socket: &UdpSocket, family: Family) -> io::Result<()> {
    match family {
        Family::V4 => setsockopt(&socket.as_fd(), sockopt::IpRecvTos, &true)?,
        Family::V6 => setsockopt(&socket.as_fd(), sockopt::Ipv6RecvTClass, &true)?,
    }
    Ok(())
}

/// Lets datagrams of one flow arrive joined (UDP GRO), where the kernel can.
pub(super) fn join_datagrams(socket: &UdpSocket) -> io::Result<()> {
    setsockopt(&socket.as_fd(), sockopt::UdpGroSegment, &true)?;
    Ok(())
}

/// Keeps what is said about datagrams sent earlier in the socket's error queue.
pub(super) fn keep_errors(socket: &UdpSocket, family: Family) -> io::Result<()> {
    match family {
        Family::V4 => setsockopt(&socket.as_fd(), sockopt::Ipv4RecvErr, &true)?,
        Family::V6 => setsockopt(&socket.as_fd(), sockopt::Ipv6RecvErr, &true)?,
    }
    Ok(())
}

/// Whether the kernel cuts up trains of datagrams (UDP GSO, since Linux 4.18).
pub(super) fn trains_are_cut(socket: &UdpSocket) -> bool {
    getsockopt(&socket.as_fd(), sockopt::UdpGsoSegment).is_ok()
}

fn family_of(socket: &UdpSocket) -> io::Result<Family> {
    Ok(Family::of(socket.local_addr()?.ip()))
}

fn open(addr: SocketAddr, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), kind.nonblocking(), None)?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// What the relay asks the kernel for, to receive and to send on each of its clients' sockets.
pub const CLIENT_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// What the relay asks for to receive on each of its relay sockets.
const RELAY_BUFFER_BYTES: usize = 1024 * 1024;
/// What waits in the kernel for a client over TCP or TLS: left to itself, it would let several seconds of media grow old.
const STREAM_BUFFER_BYTES: usize = 128 * 1024;
const BACKLOG: i32 = 1024;
const RELAY_BACKLOG: i32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_bound_a_listener_its_connections_keep_little() {
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        let adopted = adopt_tcp(TcpListener::bind(addr).unwrap()).unwrap();
        let own = client_tcp(addr).unwrap();
        own.set_nonblocking(false).unwrap();
        for listener in [adopted, own] {
            let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (connection, _) = listener.accept().unwrap();
            let room = SockRef::from(&connection).send_buffer_size().unwrap();
            // The kernel keeps twice of what it grants.
            assert_eq!(room, 2 * STREAM_BUFFER_BYTES);
        }
    }

    #[test]
    fn a_relay_socket_has_room_for_a_burst_each_way() {
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        let relay = relay_udp(addr).unwrap();
        let plain = UdpSocket::bind(addr).unwrap();
        let [relay, plain] = [&relay, &plain].map(|socket| {
            let socket = SockRef::from(socket);
            [socket.recv_buffer_size(), socket.send_buffer_size()].map(Result::unwrap)
        });
        for (room, plain) in relay.into_iter().zip(plain) {
            assert!(
                room >= 2 * plain.min(RELAY_BUFFER_BYTES),
                "{room} and {plain}"
            );
        }
    }
}

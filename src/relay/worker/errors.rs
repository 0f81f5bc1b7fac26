//! What became of datagrams to peers: ICMP messages and the kernel's own, read from the error queues of relay sockets.

use std::{
    io::{self, ErrorKind, IoSliceMut},
    net::{SocketAddr, UdpSocket},
    os::fd::AsRawFd,
};

use nix::{
    libc,
    sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg},
};

use crate::relay::wire::icmp::Icmp;

/// Something said about a datagram sent earlier.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerError {
    /// Where the datagram went; without a port where the kernel does not know it any more.
    pub(super) destination: SocketAddr,
    pub(super) icmp: Icmp,
}

/// The next error in the socket's queue; `None` for one that no client cares for.
///
/// # Errors
/// `WouldBlock` when the queue is empty.
pub(super) fn next_error(socket: &UdpSocket) -> io::Result<Option<PeerError>> {
    // The error with who said so, and the traffic class, which comes with everything.
    let mut control = nix::cmsg_space!([u8; SAID_BYTES], libc::c_int);
    let mut no_payload = [];
    let mut room = [IoSliceMut::new(&mut no_payload)];
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let fd = socket.as_raw_fd();
    let received = recvmsg::<SockaddrStorage>(fd, &mut room, Some(&mut control), flags)?;
    let destination = received.address.as_ref().and_then(addr_of);
    let Some(destination) = destination else {
        return Ok(None);
    };
    let messages = received.cmsgs().map_err(|_| ErrorKind::InvalidData)?;
    let icmp = messages.filter_map(|message| {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the enum is nix's, and non-exhaustive"
        )]
        match message {
            ControlMessageOwned::Ipv4RecvErr(error, _)
            | ControlMessageOwned::Ipv6RecvErr(error, _) => icmp_of(destination, &error),
            _ => None,
        }
    });
    Ok(icmp.last().map(|icmp| PeerError { destination, icmp }))
}

fn icmp_of(destination: SocketAddr, error: &libc::sock_extended_err) -> Option<Icmp> {
    let peer = destination.ip();
    match error.ee_origin {
        libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6 => {
            Icmp::new(peer, error.ee_type, error.ee_code, error.ee_info)
        }
        libc::SO_EE_ORIGIN_LOCAL if error.ee_errno == libc::EMSGSIZE.unsigned_abs() => {
            Some(Icmp::too_big(peer, error.ee_info))
        }
        _ => None,
    }
}

fn addr_of(addr: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = addr
        .as_sockaddr_in()
        .map(|addr| SocketAddr::V4((*addr).into()));
    v4.or_else(|| {
        addr.as_sockaddr_in6()
            .map(|addr| SocketAddr::V6((*addr).into()))
    })
}

const SAID_BYTES: usize = size_of::<libc::sock_extended_err>() + size_of::<libc::sockaddr_in6>();

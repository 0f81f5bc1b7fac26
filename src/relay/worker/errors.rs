//! What became of datagrams to peers: ICMP messages and the kernel's own, read from the error queues of relay sockets.

use std::{
    collections::VecDeque,
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
    /// Whether it did not even leave: nobody on its way has said so.
    pub(super) is_ours: bool,
    pub(super) icmp: Icmp,
}

/// Where datagrams were to go that did not leave because they were too big, most likely, until the kernel says so.
#[derive(Debug, Default)]
pub(super) struct TooBig {
    /// The latest last.
    destinations: VecDeque<SocketAddr>,
}

impl TooBig {
    pub(super) fn push(&mut self, destination: SocketAddr) {
        if self.destinations.len() == TOO_BIG_MAX {
            self.destinations.pop_front();
        }
        self.destinations.push_back(destination);
    }

    /// The first of those that the kernel may mean: of IPv4 it does not say the port. `None` where all were told of.
    pub(super) fn take(&mut self, said: SocketAddr) -> Option<SocketAddr> {
        let is_meant = |destination: &SocketAddr| {
            destination.ip() == said.ip() && [0, destination.port()].contains(&said.port())
        };
        let at = self.destinations.iter().position(is_meant)?;
        self.destinations.remove(at)
    }

    /// The kernel has said all that it had to say.
    pub(super) fn clear(&mut self) {
        self.destinations.clear();
    }
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
    let errors = messages.filter_map(|message| {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the enum is nix's, and non-exhaustive"
        )]
        match message {
            ControlMessageOwned::Ipv4RecvErr(error, _)
            | ControlMessageOwned::Ipv6RecvErr(error, _) => PeerError::of(destination, &error),
            _ => None,
        }
    });
    Ok(errors.last())
}

impl PeerError {
    /// `None` for one that no client cares for.
    fn of(destination: SocketAddr, error: &libc::sock_extended_err) -> Option<Self> {
        let peer = destination.ip();
        let icmp = match error.ee_origin {
            libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6 => {
                Icmp::new(peer, error.ee_type, error.ee_code, error.ee_info)
            }
            libc::SO_EE_ORIGIN_LOCAL if error.ee_errno == libc::EMSGSIZE.unsigned_abs() => {
                Some(Icmp::too_big(peer, error.ee_info))
            }
            _ => None,
        };
        Some(Self {
            destination,
            is_ours: error.ee_origin == libc::SO_EE_ORIGIN_LOCAL,
            icmp: icmp?,
        })
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

/// More than a client is told of in a second.
const TOO_BIG_MAX: usize = 64;

const SAID_BYTES: usize = size_of::<libc::sock_extended_err>() + size_of::<libc::sockaddr_in6>();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_too_big_is_told_of_once_where_it_was_to_go() {
        let [one, other, elsewhere]: [SocketAddr; 3] =
            ["192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1"].map(|addr| addr.parse().unwrap());
        let portless = |addr: SocketAddr| SocketAddr::new(addr.ip(), 0);
        let mut too_big = TooBig::default();
        for destination in [one, other, elsewhere] {
            too_big.push(destination);
        }
        assert_eq!(too_big.take(portless(one)), Some(one));
        assert_eq!(too_big.take(one), None);
        assert_eq!(too_big.take(portless(elsewhere)), Some(elsewhere));
        assert_eq!(too_big.take(other), Some(other));
        assert_eq!(too_big.take(portless(one)), None);
    }

    #[test]
    fn of_more_than_is_kept_the_latest_are() {
        let mut too_big = TooBig::default();
        let to = |port| SocketAddr::from(([192, 0, 2, 1], port));
        (1..=1000).for_each(|port| too_big.push(to(port)));
        assert_eq!(too_big.take(to(1)), None);
        assert_eq!(too_big.take(to(0)), Some(to(1001 - TOO_BIG_MAX as u16)));
        too_big.clear();
        assert_eq!(too_big.take(to(1000)), None);
    }
}

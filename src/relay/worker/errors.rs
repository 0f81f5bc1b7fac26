//! What became of datagrams to peers: ICMP messages and the kernel's own, read from the error queues of relay sockets.
//!
//! One epoll watches the queues of all relay sockets of a worker. tokio wakes nobody for an error that brings no data.

use std::{
    io::{self, ErrorKind, IoSliceMut},
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    rc::Rc,
};

use nix::{
    libc,
    sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt},
};
use rustix::event::{
    Timespec,
    epoll::{self, CreateFlags, Event, EventData, EventFlags},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    net::UdpSocket,
    task::yield_now,
};

use crate::clock::Now;
use crate::relay::engine::five_tuple::RelayKey;
use crate::relay::wire::icmp::Icmp;
use crate::relay::worker::SharedWorker;

/// Watches the error queues of a worker's relay sockets.
#[derive(Clone, Debug)]
pub(super) struct Errors {
    epoll: Rc<AsyncFd<OwnedFd>>,
}

/// Something said about a datagram sent earlier.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerError {
    /// Where the datagram went; without a port where the kernel does not know it any more.
    pub(super) destination: SocketAddr,
    pub(super) icmp: Icmp,
}

/// Tells the engine of errors for as long as the worker lives.
pub(super) async fn serve(worker: SharedWorker, errors: Errors) {
    while let Ok(keys) = errors.next().await {
        for key in keys {
            // As with data: after a full turn the worker's sockets come first.
            while worker.borrow_mut().peer_errors(Now::read(), key) {
                yield_now().await;
            }
        }
    }
}

impl Errors {
    pub(super) fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        #[expect(
            deprecated,
            reason = "the other one is unsafe; an OwnedFd keeps its promise"
        )]
        let epoll = AsyncFd::with_interest(epoll, Interest::READABLE)?;
        Ok(Self {
            epoll: Rc::new(epoll),
        })
    }

    /// Watches a socket until it closes.
    pub(super) fn watch(&self, socket: &UdpSocket, key: RelayKey) -> io::Result<()> {
        if socket.local_addr()?.is_ipv4() {
            setsockopt(&socket.as_fd(), sockopt::Ipv4RecvErr, &true)?;
        } else {
            setsockopt(&socket.as_fd(), sockopt::Ipv6RecvErr, &true)?;
        }
        let data = EventData::new_u64(key.0.into());
        // Errors are told of unasked. Once for each is enough: the queue is then read to its end.
        epoll::add(&*self.epoll, socket, data, EventFlags::ET)?;
        Ok(())
    }

    /// Waits for the next sockets with errors. One of them may have closed since, and its key have passed on.
    async fn next(&self) -> io::Result<Vec<RelayKey>> {
        loop {
            let mut ready = self.epoll.readable().await?;
            let mut events = [NO_EVENT; EVENTS_PER_TURN];
            let count = epoll::wait(self.epoll.get_ref(), &mut events[..], Some(&AT_ONCE))?;
            if count > 0 {
                let keys = events[..count].iter().map(|event| event.data.u64());
                return Ok(keys
                    .filter_map(|key| u32::try_from(key).ok().map(RelayKey))
                    .collect());
            }
            ready.clear_ready();
        }
    }
}

/// The next error in the socket's queue; `None` for one that no client cares for.
///
/// # Errors
/// `WouldBlock` when the queue is empty.
pub(super) fn next_error(socket: &UdpSocket) -> io::Result<Option<PeerError>> {
    let mut control = nix::cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6);
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

const NO_EVENT: Event = Event {
    flags: EventFlags::empty(),
    data: EventData::new_u64(0),
};
const AT_ONCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};
const EVENTS_PER_TURN: usize = 64;

//! Many datagrams with one system call, both ways.

use std::{
    array,
    io::{ErrorKind, IoSlice, IoSliceMut},
    net::SocketAddr,
};

use mio::net::UdpSocket;
use nix::sys::socket::{setsockopt, sockopt};
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSocketState};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg, sendto};

/// Room for one batch of datagrams, or of trains that the kernel joined.
pub(crate) struct Batch {
    storage: Box<[u8]>,
    meta: [RecvMeta; BATCH_SIZE],
    filled: usize,
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self {
            storage: vec![0; BATCH_SIZE * ROOM_BYTES].into_boxed_slice(),
            meta: [RecvMeta::default(); BATCH_SIZE],
            filled: 0,
        }
    }

    /// Forgets what came.
    pub(crate) fn clear(&mut self) {
        self.filled = 0;
    }

    /// How many more have room.
    pub(crate) fn free(&self) -> usize {
        BATCH_SIZE - self.filled
    }

    /// How many trains came behind those that are there already: `most`, or all that waited.
    pub(crate) fn receive(
        &mut self,
        socket: &UdpSocket,
        state: &UdpSocketState,
        most: usize,
    ) -> anyhow::Result<usize> {
        let most = most.min(self.free());
        if most <= AT_FIRST {
            self.receive_within::<AT_FIRST>(socket, state, most)
        } else {
            self.receive_within::<BATCH_SIZE>(socket, state, most)
        }
    }

    fn receive_within<const ROOMS: usize>(
        &mut self,
        socket: &UdpSocket,
        state: &UdpSocketState,
        most: usize,
    ) -> anyhow::Result<usize> {
        let rooms = &mut self.storage[self.filled * ROOM_BYTES..];
        let mut rooms = rooms.chunks_exact_mut(ROOM_BYTES);
        let mut slices: [IoSliceMut<'_>; ROOMS] =
            array::from_fn(|_| IoSliceMut::new(rooms.next().unwrap_or_default()));
        let slices = &mut slices[..most];
        let meta = &mut self.meta[self.filled..];
        match socket.try_io(|| state.recv(socket.into(), slices, meta)) {
            Ok(received) => {
                self.filled += received;
                Ok(received)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// A train that came.
    pub(crate) fn train(&self, index: usize) -> Train<'_> {
        let meta = &self.meta[index];
        let room = &self.storage[index * ROOM_BYTES..];
        Train {
            from: meta.addr,
            stride: meta.stride.max(1),
            bytes: &room[..meta.len],
        }
    }
}

/// One datagram, or several of one sender.
#[derive(Clone, Copy)]
pub(crate) struct Train<'a> {
    pub(crate) from: SocketAddr,
    /// The length of each datagram but the last.
    pub(crate) stride: usize,
    /// All of them.
    pub(crate) bytes: &'a [u8],
}

/// Sends each datagram to its destination, many with one system call; how many the kernel took. What it has no room for is
/// lost, as on any network.
pub(crate) fn send_all(socket: &UdpSocket, datagrams: &[(&SocketAddrAny, &[u8])]) -> usize {
    if let [(to, bytes)] = datagrams {
        return usize::from(sendto(socket, bytes, SendFlags::DONTWAIT, *to).is_ok());
    }
    let slices: Vec<_> = datagrams
        .iter()
        .map(|(_, bytes)| [IoSlice::new(bytes)])
        .collect();
    let mut controls: Vec<_> = slices
        .iter()
        .map(|_| SendAncillaryBuffer::default())
        .collect();
    let mut headers: Vec<_> = datagrams
        .iter()
        .zip(&slices)
        .zip(&mut controls)
        .map(|(((to, _), slice), control)| MMsgHdr::new_with_addr(to, slice, control))
        .collect();
    let (mut rest, mut taken) = (&mut headers[..], 0);
    while !rest.is_empty() {
        let sent = sendmmsg(socket, rest, SendFlags::DONTWAIT).unwrap_or(0);
        taken += sent;
        // The first that was refused holds up none behind it.
        let past = (sent + 1).min(rest.len());
        rest = &mut rest[past..];
    }
    taken
}

/// Lets the kernel join and cut up trains on a socket, and tell nothing with each datagram: a timestamp is a look at the
/// clock for every packet of the whole machine.
pub(crate) fn batching(socket: &std::net::UdpSocket) -> anyhow::Result<UdpSocketState> {
    let state = UdpSocketState::new(socket.into())?;
    setsockopt(socket, sockopt::ReceiveTimestampns, &false)?;
    setsockopt(socket, sockopt::Ipv4PacketInfo, &false)?;
    setsockopt(socket, sockopt::IpRecvTos, &false)?;
    Ok(state)
}

/// Lets more wait in the socket than the system's limit, where this program may.
pub(crate) fn deepen(socket: &std::net::UdpSocket) -> anyhow::Result<()> {
    let plain = socket2::SockRef::from(socket);
    if setsockopt(socket, sockopt::RcvBufForce, &BUFFER_BYTES).is_err() {
        plain.set_recv_buffer_size(BUFFER_BYTES)?;
    }
    if setsockopt(socket, sockopt::SndBufForce, &BUFFER_BYTES).is_err() {
        plain.set_send_buffer_size(BUFFER_BYTES)?;
    }
    Ok(())
}

/// How many are asked of a socket of one flow at first: few have more waiting, and room for many is costly to describe.
pub(crate) const AT_FIRST: usize = 4;
/// The longest train, and five cache lines more: at powers of two all rooms would share the same few sets of the caches.
const ROOM_BYTES: usize = 65_536 + 320;
pub(crate) const BUFFER_BYTES: usize = 4 * 1024 * 1024;

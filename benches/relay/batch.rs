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
        let mut rooms = self.storage.chunks_exact_mut(ROOM_BYTES).skip(self.filled);
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            array::from_fn(|_| IoSliceMut::new(rooms.next().unwrap_or_default()));
        let slices = &mut slices[..most.min(BATCH_SIZE - self.filled)];
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
pub(crate) fn send_all<'a>(
    socket: &UdpSocket,
    datagrams: impl IntoIterator<Item = (&'a SocketAddrAny, &'a [u8])>,
) -> usize {
    let mut datagrams = datagrams.into_iter();
    let mut taken = 0;
    loop {
        let batch: [Option<(&SocketAddrAny, &[u8])>; BATCH_SIZE] =
            array::from_fn(|_| datagrams.next());
        taken += match &batch {
            [None, ..] => return taken,
            [Some((to, bytes)), None, ..] => {
                usize::from(sendto(socket, bytes, SendFlags::DONTWAIT, *to).is_ok())
            }
            [Some(_), Some(_), ..] => send_batch(socket, &batch),
        };
    }
}

fn send_batch(socket: &UdpSocket, batch: &[Option<(&SocketAddrAny, &[u8])>; BATCH_SIZE]) -> usize {
    let slices = batch.map(|datagram| [IoSlice::new(datagram.map_or(&[], |(_, bytes)| bytes))]);
    let mut controls: [_; BATCH_SIZE] = array::from_fn(|_| SendAncillaryBuffer::default());
    let mut controls = controls.iter_mut();
    let mut headers = Vec::with_capacity(BATCH_SIZE);
    for ((datagram, slice), control) in batch.iter().zip(&slices).zip(&mut controls) {
        if let Some((to, _)) = datagram {
            headers.push(MMsgHdr::new_with_addr(to, slice, control));
        }
    }
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

/// The longest train, and five cache lines more: at powers of two all rooms would share the same few sets of the caches.
const ROOM_BYTES: usize = 65_536 + 320;
pub(crate) const BUFFER_BYTES: usize = 4 * 1024 * 1024;

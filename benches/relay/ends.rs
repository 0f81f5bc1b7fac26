//! The ends of the load: sockets and streams, and what is sent from them.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    os::fd::AsRawFd as _,
};

use anyhow::Context as _;
use mio::{Interest, Poll, Token, net::UdpSocket, unix::SourceFd};
use quinn_udp::{BATCH_SIZE, Transmit, UdpSocketState};
use rustix::net::{SendFlags, SocketAddrAny, send};

use crate::batch::{AT_FIRST, Batch, batching, deepen, send_all};
use crate::case::Case;
use crate::wire::Wire;

/// From which end, to where, and with what in front of the payload.
pub(crate) struct Flow {
    pub(crate) from: usize,
    to: SocketAddr,
    to_raw: SocketAddrAny,
    packets: Vec<u8>,
    packet_bytes: usize,
    header_bytes: usize,
}

impl Flow {
    pub(crate) fn new(from: usize, to: SocketAddr, header: &[u8], case: &Case) -> Self {
        let packet = [header, &vec![0xA5; case.payload_bytes]].concat();
        Self {
            from,
            to,
            to_raw: to.into(),
            packet_bytes: packet.len(),
            packets: packet.repeat(case.train),
            header_bytes: header.len(),
        }
    }

    /// Writes when they leave into its packets.
    pub(crate) fn stamp(&mut self, nanos: u64) {
        for packet in self.packets.chunks_mut(self.packet_bytes) {
            packet[self.header_bytes..][..8].copy_from_slice(&nanos.to_be_bytes());
        }
    }

    fn is_train(&self) -> bool {
        self.packets.len() > self.packet_bytes
    }
}

/// A socket or stream of the load's own.
pub(crate) enum End {
    /// One that sends to many.
    Peer(Datagrams),
    /// One that is connected.
    Client(Datagrams),
    Stream {
        wire: Wire,
        /// The rest of what the kernel has begun to take.
        unsent: Vec<u8>,
    },
}

/// A socket, and how the kernel batches on it.
pub(crate) struct Datagrams {
    socket: UdpSocket,
    state: UdpSocketState,
}

impl End {
    pub(crate) fn peer(socket: std::net::UdpSocket) -> anyhow::Result<Self> {
        Ok(Self::Peer(Datagrams::new(socket)?))
    }

    pub(crate) fn client(wire: Wire) -> anyhow::Result<Self> {
        wire.set_nonblocking()?;
        Ok(match wire {
            Wire::Udp(socket) => Self::Client(Datagrams::new(socket)?),
            stream @ (Wire::Tcp(..) | Wire::Tls(..)) => Self::Stream {
                wire: stream,
                unsent: Vec::new(),
            },
        })
    }

    pub(crate) fn register(&mut self, poll: &Poll, token: Token) -> anyhow::Result<()> {
        let descriptor = match self {
            Self::Peer(datagrams) | Self::Client(datagrams) => datagrams.socket.as_raw_fd(),
            Self::Stream { wire, .. } => wire.as_raw_fd(),
        };
        poll.registry()
            .register(&mut SourceFd(&descriptor), token, Interest::READABLE)
            .context("cannot watch a socket")
    }

    /// How many trains the kernel took.
    pub(crate) fn send(&mut self, flows: &[Flow]) -> anyhow::Result<usize> {
        let mut taken = 0;
        match self {
            Self::Peer(datagrams) | Self::Client(datagrams) if flows.iter().any(Flow::is_train) => {
                for flow in flows {
                    taken += usize::from(datagrams.send_train(flow)?);
                }
            }
            Self::Peer(datagrams) => {
                let all: Vec<_> = flows
                    .iter()
                    .map(|flow| (&flow.to_raw, &flow.packets[..]))
                    .collect();
                taken = send_all(&datagrams.socket, &all);
            }
            Self::Client(datagrams) => {
                for flow in flows {
                    let sent = send(&datagrams.socket, &flow.packets, SendFlags::DONTWAIT);
                    taken += usize::from(sent.is_ok());
                }
            }
            Self::Stream { wire, unsent } => {
                for flow in flows {
                    taken += usize::from(send_on_stream(wire, unsent, &flow.packets)?);
                }
            }
        }
        Ok(taken)
    }

    pub(crate) fn receive(
        &mut self,
        batch: &mut Batch,
        take: &mut impl FnMut(&[u8]),
    ) -> anyhow::Result<()> {
        match self {
            Self::Stream { wire, .. } => Ok(wire.drain(take)?),
            Self::Peer(datagrams) => datagrams.receive(batch, BATCH_SIZE, take),
            Self::Client(datagrams) => datagrams.receive(batch, AT_FIRST, take),
        }
    }
}

impl Datagrams {
    fn new(socket: std::net::UdpSocket) -> anyhow::Result<Self> {
        socket.set_nonblocking(true)?;
        deepen(&socket)?;
        let state = batching(&socket)?;
        Ok(Self {
            socket: UdpSocket::from_std(socket),
            state,
        })
    }

    fn receive(
        &self,
        batch: &mut Batch,
        at_first: usize,
        take: &mut impl FnMut(&[u8]),
    ) -> anyhow::Result<()> {
        let mut most = at_first;
        loop {
            batch.clear();
            let received = batch.receive(&self.socket, &self.state, most)?;
            for index in 0..received {
                let train = batch.train(index);
                train.bytes.chunks(train.stride).for_each(&mut *take);
            }
            if received < most {
                return Ok(());
            }
            most = BATCH_SIZE;
        }
    }

    fn send_train(&self, flow: &Flow) -> io::Result<bool> {
        let transmit = Transmit {
            destination: flow.to,
            ecn: None,
            contents: &flow.packets,
            segment_size: Some(flow.packet_bytes),
            src_ip: None,
        };
        match self.state.try_send((&self.socket).into(), &transmit) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Sends a frame whole, or not at all while an earlier one waits: media is not queued.
fn send_on_stream(wire: &mut Wire, unsent: &mut Vec<u8>, frame: &[u8]) -> io::Result<bool> {
    let written = write_some(wire, unsent)?;
    unsent.drain(..written);
    if !unsent.is_empty() {
        return Ok(false);
    }
    let written = write_some(wire, frame)?;
    if written > 0 {
        unsent.extend_from_slice(&frame[written..]);
    }
    Ok(written > 0)
}

fn write_some(wire: &mut Wire, bytes: &[u8]) -> io::Result<usize> {
    if bytes.is_empty() {
        return Ok(0);
    }
    match wire.write(bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        written => written,
    }
}

//! A forwarder of datagrams, batched, without any TURN: what the kernel's sockets cost by themselves.
//!
//! A client's first datagram is the address of its peer, as text; the answer is the address that the peer sees. From
//! then on every datagram goes from one to the other, unchanged.

use std::{
    collections::HashMap,
    io::{ErrorKind, IoSliceMut},
    net::SocketAddr,
    str,
};

use mio::{Events, Interest, Poll, Token, net::UdpSocket};
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use rustix::net::{SendFlags, sendto};

/// Forwards until it is killed.
pub(crate) fn run(address: SocketAddr) -> anyhow::Result<()> {
    let mut forwarder = Forwarder::new(address)?;
    let mut events = Events::with_capacity(1024);
    loop {
        forwarder.poll.poll(&mut events, None)?;
        for event in &events {
            match event.token().0 {
                0 => forwarder.clients_sent()?,
                number => forwarder.peers_sent(number - 1)?,
            }
        }
    }
}

struct Forwarder {
    poll: Poll,
    clients: UdpSocket,
    state: UdpSocketState,
    flows: Vec<Flow>,
    by_client: HashMap<SocketAddr, usize, rustc_hash::FxBuildHasher>,
    batch: Batch,
}

struct Flow {
    client: SocketAddr,
    peer: SocketAddr,
    socket: UdpSocket,
    state: UdpSocketState,
}

impl Forwarder {
    fn new(address: SocketAddr) -> anyhow::Result<Self> {
        let poll = Poll::new()?;
        let socket = std::net::UdpSocket::bind(address)?;
        socket2::SockRef::from(&socket).set_recv_buffer_size(BUFFER_BYTES)?;
        socket.set_nonblocking(true)?;
        let state = UdpSocketState::new((&socket).into())?;
        let mut clients = UdpSocket::from_std(socket);
        poll.registry()
            .register(&mut clients, Token(0), Interest::READABLE)?;
        Ok(Self {
            poll,
            clients,
            state,
            flows: Vec::new(),
            by_client: HashMap::default(),
            batch: Batch::new(),
        })
    }

    fn clients_sent(&mut self) -> anyhow::Result<()> {
        loop {
            let Some(received) = self.batch.receive(&self.clients, &self.state)? else {
                return Ok(());
            };
            for index in 0..received {
                let (from, stride, bytes) = self.batch.train(index);
                let Some(flow) = self.by_client.get(&from).map(|flow| &self.flows[*flow]) else {
                    let peer = str::from_utf8(bytes)?.parse()?;
                    self.open(from, peer)?;
                    continue;
                };
                for datagram in bytes.chunks(stride) {
                    // What the kernel has no room for is lost, as on any network.
                    let _ = sendto(&flow.socket, datagram, SendFlags::DONTWAIT, &flow.peer);
                }
            }
        }
    }

    fn peers_sent(&mut self, number: usize) -> anyhow::Result<()> {
        let flow = &self.flows[number];
        loop {
            let Some(received) = self.batch.receive(&flow.socket, &flow.state)? else {
                return Ok(());
            };
            for index in 0..received {
                let (_, stride, bytes) = self.batch.train(index);
                let transmit = Transmit {
                    destination: flow.client,
                    ecn: None,
                    contents: bytes,
                    segment_size: (bytes.len() > stride).then_some(stride),
                    src_ip: None,
                };
                let _ = self.state.try_send((&self.clients).into(), &transmit);
            }
        }
    }

    fn open(&mut self, client: SocketAddr, peer: SocketAddr) -> anyhow::Result<()> {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
        socket.set_nonblocking(true)?;
        let state = UdpSocketState::new((&socket).into())?;
        let mut socket = UdpSocket::from_std(socket);
        let number = self.flows.len();
        self.poll
            .registry()
            .register(&mut socket, Token(number + 1), Interest::READABLE)?;
        self.clients
            .send_to(socket.local_addr()?.to_string().as_bytes(), client)?;
        self.flows.push(Flow {
            client,
            peer,
            socket,
            state,
        });
        self.by_client.insert(client, number);
        Ok(())
    }
}

/// Room for one batch of datagrams, or of trains that the kernel joined.
pub(crate) struct Batch {
    storage: Box<[u8]>,
    meta: [RecvMeta; BATCH_SIZE],
}

impl Batch {
    pub(crate) fn new() -> Self {
        Self {
            storage: vec![0; BATCH_SIZE * TRAIN_BYTES_MAX].into_boxed_slice(),
            meta: [RecvMeta::default(); BATCH_SIZE],
        }
    }

    /// How many trains came; `None` when nothing waits.
    pub(crate) fn receive(
        &mut self,
        socket: &UdpSocket,
        state: &UdpSocketState,
    ) -> anyhow::Result<Option<usize>> {
        let mut rooms = self.storage.chunks_exact_mut(TRAIN_BYTES_MAX);
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(rooms.next().unwrap_or_default()));
        let received = socket.try_io(|| state.recv(socket.into(), &mut slices, &mut self.meta));
        match received {
            Ok(received) => Ok(Some(received)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Who sent the train, the length of each of its datagrams, and the datagrams.
    pub(crate) fn train(&self, index: usize) -> (SocketAddr, usize, &[u8]) {
        let meta = &self.meta[index];
        let room = &self.storage[index * TRAIN_BYTES_MAX..];
        (meta.addr, meta.stride.max(1), &room[..meta.len])
    }
}

const TRAIN_BYTES_MAX: usize = 65_536;
pub(crate) const BUFFER_BYTES: usize = 4 * 1024 * 1024;

//! A forwarder of datagrams, batched, without any TURN: what the kernel's sockets cost by themselves.
//!
//! A client's first datagram is the address of its peer, as text; the answer is the address that the peer sees. From
//! then on every datagram goes from one to the other, unchanged. Sockets are not connected, as a relay's cannot be.

use std::{collections::HashMap, net::SocketAddr, str};

use mio::{Events, Interest, Poll, Token, net::UdpSocket};
use quinn_udp::{BATCH_SIZE, Transmit, UdpSocketState};
use rustix::net::{SendFlags, SocketAddrAny, sendto};

use crate::batch::{AT_FIRST, BUFFER_BYTES, Batch, batching, send_all};

/// Forwards until it is killed.
pub(crate) fn run(address: SocketAddr) -> anyhow::Result<()> {
    let mut forwarder = Forwarder::new(address)?;
    let mut events = Events::with_capacity(1024);
    loop {
        forwarder.poll.poll(&mut events, None)?;
        let mut have_clients_sent = false;
        for event in &events {
            match event.token().0 {
                0 => have_clients_sent = true,
                number => forwarder.peer_sent(number - 1)?,
            }
        }
        forwarder.flush_to_clients();
        if have_clients_sent {
            forwarder.clients_sent()?;
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
    /// What is in the batch.
    order: Vec<Arrived>,
    /// Where trains of one flow are joined.
    joined: Vec<u8>,
}

struct Flow {
    client: SocketAddr,
    client_raw: SocketAddrAny,
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
        let state = batching(&socket)?;
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
            order: Vec::new(),
            joined: Vec::new(),
        })
    }

    fn clients_sent(&mut self) -> anyhow::Result<()> {
        loop {
            let received = self.batch.receive(&self.clients, &self.state, BATCH_SIZE)?;
            for index in 0..received {
                let train = self.batch.train(index);
                match self.by_client.get(&train.from) {
                    Some(flow) => self.order.push((*flow, index)),
                    None => {
                        let peer = str::from_utf8(train.bytes)?.parse()?;
                        self.open(train.from, peer)?;
                    }
                }
            }
            self.flush_to_peers();
            // A short batch was all: what comes later is another event.
            if received < BATCH_SIZE {
                return Ok(());
            }
        }
    }

    fn peer_sent(&mut self, number: usize) -> anyhow::Result<()> {
        let mut most = AT_FIRST;
        loop {
            if self.batch.free() == 0 {
                self.flush_to_clients();
            }
            let (free, flow) = (self.batch.free(), &self.flows[number]);
            let asked = most.min(free);
            let received = self.batch.receive(&flow.socket, &flow.state, asked)?;
            let first = BATCH_SIZE - free;
            self.order
                .extend((first..first + received).map(|index| (number, index)));
            if received < asked {
                return Ok(());
            }
            most = BATCH_SIZE;
        }
    }

    /// From each flow's socket what came for its peer.
    fn flush_to_peers(&mut self) {
        self.order.sort_unstable();
        for run in runs(&self.order) {
            let flow = &self.flows[run[0].0];
            match lone(&self.batch, run) {
                Some(datagram) => {
                    let _ = sendto(&flow.socket, datagram, SendFlags::DONTWAIT, &flow.peer);
                }
                None => {
                    let to = (&flow.socket, &flow.state, flow.peer);
                    send_joined(to, &self.batch, run, &mut self.joined);
                }
            }
        }
        self.order.clear();
        self.batch.clear();
    }

    /// From the one socket what came for all clients.
    fn flush_to_clients(&mut self) {
        for run in runs(&self.order).filter(|run| lone(&self.batch, run).is_none()) {
            let to = (&self.clients, &self.state, self.flows[run[0].0].client);
            send_joined(to, &self.batch, run, &mut self.joined);
        }
        let lone: Vec<_> = runs(&self.order)
            .filter_map(|run| {
                let datagram = lone(&self.batch, run)?;
                Some((&self.flows[run[0].0].client_raw, datagram))
            })
            .collect();
        send_all(&self.clients, &lone);
        self.order.clear();
        self.batch.clear();
    }

    fn open(&mut self, client: SocketAddr, peer: SocketAddr) -> anyhow::Result<()> {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
        socket.set_nonblocking(true)?;
        let state = batching(&socket)?;
        let mut socket = UdpSocket::from_std(socket);
        let number = self.flows.len();
        self.poll
            .registry()
            .register(&mut socket, Token(number + 1), Interest::READABLE)?;
        self.clients
            .send_to(socket.local_addr()?.to_string().as_bytes(), client)?;
        self.flows.push(Flow {
            client,
            client_raw: client.into(),
            peer,
            socket,
            state,
        });
        self.by_client.insert(client, number);
        Ok(())
    }
}

/// What came for one flow, and then for the next.
fn runs(order: &[Arrived]) -> impl Iterator<Item = &[Arrived]> {
    order.chunk_by(|(one, _), (next, _)| one == next)
}

/// The only datagram of a run.
fn lone<'a>(batch: &'a Batch, run: &[Arrived]) -> Option<&'a [u8]> {
    let &[(_, index)] = run else {
        return None;
    };
    let train = batch.train(index);
    (train.bytes.len() <= train.stride).then_some(train.bytes)
}

/// Sends a run as one train, which the kernel cuts up, where its datagrams are of one length. What the kernel has no room
/// for is lost, as on any network.
fn send_joined(
    (socket, state, destination): (&UdpSocket, &UdpSocketState, SocketAddr),
    batch: &Batch,
    run: &[Arrived],
    joined: &mut Vec<u8>,
) {
    let send = |bytes: &[u8], stride: usize| {
        let transmit = Transmit {
            destination,
            ecn: None,
            contents: bytes,
            segment_size: (bytes.len() > stride).then_some(stride),
            src_ip: None,
        };
        let _ = state.try_send(socket.into(), &transmit);
    };
    if let &[(_, index)] = run {
        let train = batch.train(index);
        return send(train.bytes, train.stride);
    }
    joined.clear();
    let mut stride = 1;
    for &(_, index) in run {
        let train = batch.train(index);
        let bytes = joined.len() + train.bytes.len();
        let fits = train.stride == stride
            && joined.len().is_multiple_of(stride)
            && bytes <= JOINED_BYTES_MAX
            && bytes.div_ceil(stride) <= state.max_gso_segments();
        if !fits {
            if !joined.is_empty() {
                send(joined, stride);
            }
            joined.clear();
            stride = train.stride;
        }
        joined.extend_from_slice(train.bytes);
    }
    send(joined, stride);
}

/// The number of a flow, and where its train is in the batch.
type Arrived = (usize, usize);

/// What UDP over IPv4 can carry.
const JOINED_BYTES_MAX: usize = 65_507;

//! Clients over UDP and DTLS: batches from the socket to the engine, answers from the address they were sent to.

use std::{
    cell::RefCell,
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    rc::Rc,
};

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use tokio::{io::Interest, net::UdpSocket, task::yield_now};

use crate::clock::Now;
use crate::relay::engine::five_tuple::{FiveTuple, Transport};
use crate::relay::worker::{SharedWorker, sockets};

/// One worker's socket on a listening address.
#[derive(Debug)]
pub(super) struct ClientUdp {
    socket: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
    transport: Transport,
}

/// Room for one batch of datagrams, used by all listeners of a worker in turn.
pub(super) struct Batch {
    storage: Box<[u8]>,
    meta: [RecvMeta; BATCH_SIZE],
}

/// Feeds the engine from this socket for as long as the worker lives.
pub(super) async fn serve(worker: SharedWorker, socket: Rc<ClientUdp>, batch: Rc<RefCell<Batch>>) {
    while socket.socket.readable().await.is_ok() {
        let received = receive_batch(&worker, &socket, &mut batch.borrow_mut());
        // More may wait, and readiness alone never yields: the worker's other sockets come first.
        if received > 0 {
            yield_now().await;
        }
    }
}

fn receive_batch(worker: &SharedWorker, socket: &ClientUdp, batch: &mut Batch) -> usize {
    // An error is an answer to something sent earlier, or nothing to read: neither concerns the next datagram.
    let Ok(received) = batch.receive(socket) else {
        return 0;
    };
    let now = Now::read();
    let mut worker = worker.borrow_mut();
    for (meta, bytes) in batch.received(received) {
        let Some(client) = socket.five_tuple(meta) else {
            continue;
        };
        // The kernel joins equal-sized datagrams of one flow (GRO); an empty one has no stride.
        for datagram in bytes.chunks(meta.stride.max(1)) {
            match socket.transport {
                Transport::Dtls => worker.client_sent_dtls(now, client, datagram),
                Transport::Udp | Transport::Tcp | Transport::Tls => {
                    worker.datagram_came(now, client, datagram);
                }
            }
        }
    }
    received
}

impl ClientUdp {
    /// `transport` is what its clients speak: UDP or DTLS.
    pub(super) fn new(socket: std::net::UdpSocket, transport: Transport) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        sockets::fragmenting(&socket)?;
        sockets::without_timestamps(&socket)?;
        let local = socket.local_addr()?;
        let socket = UdpSocket::from_std(socket)?;
        Ok(Self {
            socket,
            state,
            local,
            transport,
        })
    }

    /// Whether datagrams sent to `server` arrive here.
    pub(super) fn serves(&self, server: SocketAddr) -> bool {
        let any_of_family =
            self.local.ip().is_unspecified() && self.local.is_ipv4() == server.is_ipv4();
        self.local.port() == server.port() && (any_of_family || self.local.ip() == server.ip())
    }

    /// Sends at once or not at all.
    ///
    /// # Errors
    /// When the kernel has no room, or no way to the client.
    pub(super) fn send(&self, client: FiveTuple, datagram: &[u8]) -> io::Result<()> {
        let answer_from: Option<IpAddr> = self
            .local
            .ip()
            .is_unspecified()
            .then_some(client.server.ip());
        let transmit = Transmit {
            destination: client.client,
            ecn: None,
            contents: datagram,
            segment_size: None,
            src_ip: answer_from,
        };
        self.state.try_send((&self.socket).into(), &transmit)
    }

    /// `None` for a source that can't be answered.
    fn five_tuple(&self, meta: &RecvMeta) -> Option<FiveTuple> {
        let server_ip = meta.dst_ip.unwrap_or(self.local.ip());
        (meta.addr.port() != 0).then_some(FiveTuple {
            transport: self.transport,
            client: meta.addr,
            server: SocketAddr::new(server_ip, self.local.port()),
        })
    }
}

impl Batch {
    pub(super) fn new() -> Self {
        Self {
            storage: vec![0; BATCH_SIZE * DATAGRAM_BYTES_MAX].into_boxed_slice(),
            meta: [RecvMeta::default(); BATCH_SIZE],
        }
    }

    fn receive(&mut self, socket: &ClientUdp) -> io::Result<usize> {
        let mut rooms = self.storage.chunks_exact_mut(DATAGRAM_BYTES_MAX);
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(rooms.next().unwrap_or_default()));
        socket.socket.try_io(Interest::READABLE, || {
            let from = (&socket.socket).into();
            socket.state.recv(from, &mut slices, &mut self.meta)
        })
    }

    fn received(&self, count: usize) -> impl Iterator<Item = (&RecvMeta, &[u8])> {
        let rooms = self.storage.chunks_exact(DATAGRAM_BYTES_MAX);
        let filled = self.meta[..count].iter().zip(rooms);
        filled.map(|(meta, room)| (meta, &room[..meta.len]))
    }
}

/// Holds the largest datagram and the longest train of joined ones.
const DATAGRAM_BYTES_MAX: usize = 65_536;

//! Clients over UDP and DTLS: batches from the socket to the engine, answers from the address they were sent to.

use std::{
    cell::RefCell,
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr},
    rc::Rc,
};

use tokio::{io::Interest, net::UdpSocket, task::yield_now};

use crate::clock::Now;
use crate::relay::engine::five_tuple::{FiveTuple, Transport};
use crate::relay::worker::batch::{self, Arrival, Arrivals, Departure, ROOMS, Trains};
use crate::relay::worker::{SharedWorker, sockets};

/// One worker's socket on a listening address.
#[derive(Debug)]
pub(super) struct ClientUdp {
    socket: UdpSocket,
    local: SocketAddr,
    pub(super) transport: Transport,
}

/// Feeds the engine from this socket for as long as the worker lives.
pub(super) async fn serve(
    worker: SharedWorker,
    socket: Rc<ClientUdp>,
    arrivals: Rc<RefCell<Arrivals>>,
) {
    while socket.socket.readable().await.is_ok() {
        let has_more = {
            let mut arrivals = arrivals.borrow_mut();
            let has_more = socket.receive(&mut arrivals);
            worker
                .borrow_mut()
                .clients_sent(Now::read(), &socket, &arrivals);
            has_more
        };
        // Readiness alone never yields: the worker's other sockets come first.
        if has_more {
            yield_now().await;
        }
    }
}

impl ClientUdp {
    /// `transport` is what its clients speak: UDP or DTLS.
    pub(super) fn new(socket: std::net::UdpSocket, transport: Transport) -> io::Result<Self> {
        let local = socket.local_addr()?;
        sockets::fragmenting(&socket)?;
        sockets::tell_traffic_class(&socket)?;
        if local.ip().is_unspecified() {
            sockets::tell_destination(&socket)?;
        }
        if let Err(error) = sockets::join_datagrams(&socket) {
            tracing::info!(%error, "the kernel has no UDP GRO: datagrams arrive one by one");
        }
        Ok(Self {
            socket: UdpSocket::from_std(socket)?,
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

    /// Receives a batch; says whether there may be more.
    fn receive(&self, arrivals: &mut Arrivals) -> bool {
        arrivals.clear();
        let received = self.socket.try_io(Interest::READABLE, || {
            // An answer to something sent earlier concerns no datagram: the next ones come with the next turn.
            match arrivals.receive(&self.socket, ROOMS)? {
                ROOMS => Ok(()),
                // The socket is empty: to say so spares a system call that would only find that out.
                _ => Err(ErrorKind::WouldBlock.into()),
            }
        });
        match received {
            Ok(()) => true,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        }
    }

    /// Sends all of them at once or not at all; says how many were not sent.
    pub(super) fn send_all<'d>(
        &self,
        trains: &Trains,
        messages: impl Iterator<Item = (&'d FiveTuple, u8, [&'d [u8]; 3])>,
    ) -> usize {
        let departures = messages.map(|(client, traffic_class, parts)| Departure {
            to: client.client,
            from: self.answer_from(client),
            traffic_class,
            parts,
        });
        batch::send(&self.socket, trains, departures)
    }

    /// Sends at once or not at all; says whether it was sent.
    pub(super) fn send(&self, client: FiveTuple, datagram: &[u8]) -> bool {
        let message = (&client, 0, [datagram, &[], &[]]);
        self.send_all(&Trains::new(false), [message].into_iter()) == 0
    }

    fn answer_from(&self, client: &FiveTuple) -> Option<IpAddr> {
        let has_many = self.local.ip().is_unspecified();
        has_many.then_some(client.server.ip())
    }

    /// `None` for a source that can't be answered.
    pub(super) fn five_tuple(&self, arrival: &Arrival<'_>) -> Option<FiveTuple> {
        let server_ip = arrival.local.unwrap_or(self.local.ip());
        (arrival.source.port() != 0).then_some(FiveTuple {
            transport: self.transport,
            client: arrival.source,
            server: SocketAddr::new(server_ip, self.local.port()),
        })
    }
}

//! Clients over UDP and DTLS: batches from the socket to the engine, answers from the address they were sent to.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr, UdpSocket},
};

use crate::relay::engine::five_tuple::{FiveTuple, Transport};
use crate::relay::worker::batch::{self, Arrival, Arrivals, Departure, ROOMS, Trains};
use crate::relay::worker::reactor::Reactor;
use crate::relay::worker::sockets;

/// One worker's socket on a listening address.
#[derive(Debug)]
pub(super) struct ClientUdp {
    socket: UdpSocket,
    local: SocketAddr,
    pub(super) transport: Transport,
}

impl ClientUdp {
    /// `transport` is what its clients speak: UDP or DTLS; `number` what the reactor calls it.
    pub(super) fn new(
        socket: UdpSocket,
        transport: Transport,
        reactor: &Reactor,
        number: usize,
    ) -> io::Result<Self> {
        let local = socket.local_addr()?;
        sockets::fragmenting(&socket)?;
        sockets::tell_traffic_class(&socket)?;
        if local.ip().is_unspecified() {
            sockets::tell_destination(&socket)?;
        }
        if let Err(error) = sockets::join_datagrams(&socket) {
            tracing::info!(%error, "the kernel has no UDP GRO: datagrams arrive one by one");
        }
        reactor.watch_clients(&socket, number)?;
        Ok(Self {
            socket,
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
    pub(super) fn receive(&self, arrivals: &mut Arrivals) -> bool {
        arrivals.clear();
        match arrivals.receive(&self.socket, ROOMS) {
            Ok(received) => received == ROOMS,
            // An answer to something sent earlier concerns no datagram: the next ones come with the next turn.
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

    /// What arrived, and whose it is; without what has a source that can't be answered.
    pub(super) fn received<'a>(
        &self,
        arrivals: &'a mut Arrivals,
    ) -> impl Iterator<Item = (FiveTuple, Arrival<'a>)> {
        let all = arrivals.iter_mut().flatten();
        all.filter_map(|arrival| Some((self.five_tuple(&arrival)?, arrival)))
    }

    /// `None` for a source that can't be answered.
    fn five_tuple(&self, arrival: &Arrival<'_>) -> Option<FiveTuple> {
        let server_ip = arrival.local.unwrap_or(self.local.ip());
        (arrival.source.port() != 0).then_some(FiveTuple {
            transport: self.transport,
            client: arrival.source,
            server: SocketAddr::new(server_ip, self.local.port()),
        })
    }
}

//! From worker to worker: the kernel gives a client's connection to any of them, but what it is about may be another's.

use std::{io, sync::Arc};

use tokio::task::spawn_local;

use crate::relay::engine::five_tuple::FiveTuple;
use crate::relay::engine::share::Share;
use crate::relay::wire::connection::ConnectionId;
use crate::relay::wire::mobility::Ticket;
use crate::relay::wire::stream::Inbound;
use crate::relay::worker::connection::{Connection, Parked};
use crate::relay::worker::guests::Guests;
use crate::relay::worker::mailbox::Mailbox;
use crate::relay::worker::{SharedWorker, stream};

/// All workers, and which of them this one is.
pub(super) struct Crew {
    pub(super) share: Share,
    /// By their numbers.
    pub(super) mailboxes: Arc<[Arc<Mailbox>]>,
    /// Whose datagrams come to one of them and are for another.
    pub(super) guests: Arc<Guests>,
}

impl Crew {
    /// Where a message leads to, if not here: it names another worker's connection, or allocation.
    pub(super) fn other_for(&self, message: &[u8]) -> Option<Arc<Mailbox>> {
        let connection = || ConnectionId::named_in(message).map(|id| id.0);
        let mark = connection().or_else(|| Ticket::named_in(message).map(Ticket::mark))?;
        self.other(self.share.owner_of(mark)).map(Arc::clone)
    }

    /// Where a datagram leads to, if not here: it names another worker's allocation, or its client has moved one.
    pub(super) fn host_of(&self, client: &FiveTuple, datagram: &[u8]) -> Option<&Arc<Mailbox>> {
        let named = || Ticket::named_in(datagram).map(|ticket| self.share.owner_of(ticket.mark()));
        self.other(self.guests.host_of(client).or_else(named)?)
    }

    /// Where this client's DTLS session has gone, if not here.
    pub(super) fn session_host(&self, client: &FiveTuple) -> Option<&Arc<Mailbox>> {
        self.other(self.guests.host_of(client)?)
    }

    /// Where a message in a DTLS session leads to, if not here; the client's datagrams are for that worker from now on.
    pub(super) fn session_leads(&self, client: FiveTuple, message: &[u8]) -> Option<Arc<Mailbox>> {
        let host = self.share.owner_of(Ticket::named_in(message)?.mark());
        let mailbox = self.other(host).map(Arc::clone)?;
        self.guests.welcome(client, host);
        Some(mailbox)
    }

    fn other(&self, number: u32) -> Option<&Arc<Mailbox>> {
        let mailbox = self.mailboxes.get(usize::try_from(number).ok()?)?;
        (number != self.share.number).then_some(mailbox)
    }
}

/// A client's connection on its way, with all that was read from it and not yet answered.
#[derive(Debug)]
pub(crate) struct HandedOver {
    client: FiveTuple,
    connection: Parked,
    inbound: Inbound,
}

impl HandedOver {
    /// Takes the connection away from this worker, which has forgotten it.
    ///
    /// # Errors
    /// When the kernel can't let go of the socket.
    pub(super) fn new(
        client: FiveTuple,
        connection: Connection,
        inbound: Inbound,
    ) -> io::Result<Self> {
        Ok(Self {
            client,
            connection: connection.park()?,
            inbound,
        })
    }

    /// Goes on with it here, as if this worker had accepted it.
    pub(super) fn receive(self, worker: &SharedWorker) {
        let Self {
            client,
            connection,
            inbound,
        } = self;
        let unparked = connection.unpark(&worker.borrow().reactor);
        match unparked {
            Ok(connection) => {
                let worker = SharedWorker::clone(worker);
                spawn_local(stream::converse(worker, client, connection, inbound));
            }
            Err(error) => tracing::warn!(%error, "cannot take over a connection"),
        }
    }
}

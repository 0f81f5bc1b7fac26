//! The only folder that knows Socket.IO 5 ([protocol](https://socket.io/docs/v4/socket-io-protocol/)): connections, events
//! and acknowledgements on the root namespace, and connection state recovery. Every packet is served as it arrives, to its
//! end, before the next one is read.

mod outlet;
mod packet;
mod replay;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::Router;

use crate::clock::Now;
use crate::entropy;
use crate::source::{self, Seats, Source};

use super::Limits;
use super::counters::TurnedAway;
use super::engine_io::{self, Engine, Handler, Settings, Times};
use super::protocol::{Event, Limit, Refusal, Said, acknowledgement};
use super::service::{Connection, Job, Service};
use super::session::op::Parting;
use super::session::socket::{SocketId, Ticket};

use packet::{Handshake, Kind, Packet};

pub(super) use outlet::{Outlet, Sockets};

/// The Socket.IO server.
#[derive(Clone)]
pub(super) struct Transport(Engine<Reception>);

/// Receives clients and what they send.
pub(super) struct Reception {
    service: Arc<Service>,
    seats: Arc<Seats>,
    engines: AtomicUsize,
}

/// What is kept with each Engine.IO session.
pub(super) struct Seat {
    connection: Mutex<Option<Box<Connection>>>,
    /// Its place among its source's, or none where there is no more room.
    place: Option<source::Seat>,
    /// How many attachments of the last event have not come yet.
    attachments: AtomicUsize,
}

type Socket = engine_io::Socket<Seat>;

/// An Engine.IO session that is to be closed, unless it is a Socket.IO connection by then.
pub(super) struct Chore(Weak<Socket>);

impl Transport {
    /// Serves `service` on the root namespace.
    pub(super) fn open(service: Arc<Service>, limits: Limits) -> Self {
        let reception = Reception {
            service,
            seats: Seats::new(limits.connections_per_source),
            engines: AtomicUsize::new(0),
        };
        Self(Engine::new(reception, settings(limits)))
    }

    /// These hold from now on. Nobody is turned out.
    pub(super) fn apply(&self, limits: Limits) {
        let seats = &self.0.handler().seats;
        seats.set_limit(limits.connections_per_source);
        self.0.apply(settings(limits));
    }

    /// Answers at `/socket.io/`; every other path is `router`'s.
    pub(super) fn around(&self, router: Router) -> Router {
        self.0.around(router)
    }

    /// Does what was put off.
    pub(super) fn see_to(&self, Chore(socket): &Chore) {
        if let Some(socket) = socket.upgrade()
            && socket.data.connection().is_none()
        {
            socket.close();
        }
    }

    /// Lets `visit` see every connection.
    pub(super) fn for_each(&self, visit: impl FnMut(&mut Connection)) {
        self.visit(&self.0.handler().service.sockets.all(), visit);
    }

    /// Lets `visit` see the connections behind these.
    pub(super) fn visit(&self, outlets: &[Arc<Outlet>], mut visit: impl FnMut(&mut Connection)) {
        for outlet in outlets {
            if let Some(socket) = outlet.socket()
                && let Some(connection) = socket.data.connection().as_deref_mut()
            {
                visit(connection);
            }
        }
    }

    /// How many Engine.IO sessions there are, and have been.
    pub(super) fn figures(&self) -> engine_io::Figures {
        self.0.figures()
    }

    /// Closes every connection; those whose clients do not listen are given up.
    pub(super) async fn close(&self) {
        self.0.close();
        // Whoever does not read is left to the end of the process.
        let _ = tokio::time::timeout(CLOSE_WITHIN, self.0.emptied()).await;
    }
}

impl Handler for Reception {
    type Data = Seat;

    fn admit(&self, source: Source) -> Seat {
        let engines = self.engines.fetch_add(1, Ordering::Relaxed);
        let max = self.service.settings().limits.connections;
        let has_room = max.is_none_or(|max| engines < max);
        Seat {
            connection: Mutex::default(),
            place: has_room.then(|| self.seats.take(source)).flatten(),
            attachments: AtomicUsize::new(0),
        }
    }

    fn opened(&self, socket: &Arc<Socket>) {
        let is_refused = socket.data.place.is_none();
        let patience = if is_refused {
            REFUSED_FOR
        } else {
            CONNECT_WITHIN
        };
        self.close_later(socket, patience);
    }

    fn message(&self, socket: &Arc<Socket>, text: &str) {
        let awaited = socket.data.attachments.load(Ordering::Relaxed);
        match Packet::parse(text).filter(|_| awaited == 0) {
            Some(packet) if packet.namespace.as_str() == "/" => self.receive(socket, &packet),
            Some(packet) if packet.kind == Kind::Connect => {
                // A full outbox belongs to a client that does not read.
                let _ = socket.send(&packet::no_namespace(&packet.namespace));
            }
            Some(_) => {}
            None => {
                tracing::debug!("not Socket.IO");
                socket.close();
            }
        }
    }

    /// An event that has attachments was refused when it came.
    fn binary(&self, socket: &Arc<Socket>, _: &[u8]) {
        let awaited = socket.data.attachments.load(Ordering::Relaxed);
        match awaited.checked_sub(1) {
            Some(awaited) => socket.data.attachments.store(awaited, Ordering::Relaxed),
            None => socket.close(),
        }
    }

    fn closed(&self, socket: &Arc<Socket>) {
        self.engines.fetch_sub(1, Ordering::Relaxed);
        self.part(self.service.now(), socket, Parting::Lost);
    }
}

impl Reception {
    fn receive(&self, socket: &Arc<Socket>, packet: &Packet) {
        let now = self.service.now();
        socket
            .data
            .attachments
            .store(packet.attachments, Ordering::Relaxed);
        match packet.kind {
            Kind::Connect => self.connect(now, socket, Handshake::read(&packet.data)),
            Kind::Disconnect => {
                self.part(now, socket, Parting::Goodbye);
                self.close_later(socket, CONNECT_WITHIN);
            }
            Kind::Event => self.serve(now, socket, packet),
            // The server asks for no acknowledgements.
            Kind::Ack => {}
        }
    }

    fn connect(&self, now: Now, socket: &Arc<Socket>, handshake: Handshake) {
        let service = &self.service;
        if socket.data.connection().is_some() {
            return;
        }
        if socket.data.place.is_none() {
            let message = "more than limits.connections or limits.connections_per_source allows";
            service.counters.turned_away(TurnedAway::Limit);
            return refuse(socket, "LIMIT_EXCEEDED", message);
        }
        // What is no text is no token either, but it is there.
        let token = handshake
            .token
            .as_ref()
            .map(|token| token.as_str().unwrap_or("?"));
        let identity = match service.admit(now, token) {
            Ok(identity) => identity,
            Err(error) => {
                service.counters.turned_away(TurnedAway::Token);
                return refuse(socket, error.code(), &error.to_string());
            }
        };
        let claimed = handshake.ticket();
        let returning = claimed.and_then(|ticket| service.recoverable(now, ticket, &identity));
        let ghost = returning.as_ref().and_then(|returning| returning.holder);
        let ghost_connection = ghost.and_then(|ghost| self.take_out(now, ghost));
        let fresh = || Ticket::new(entropy::bytes());
        let ticket = match (&returning, claimed) {
            (Some(_), Some(claimed)) => Some(claimed),
            (_, _) => (!service.sockets.recovery().is_zero()).then(fresh),
        };
        service.counters.connected(returning.is_some());
        let (id, outlet) = service.sockets.add(socket, ticket);
        let mut connection = Connection::new(now, id, Arc::clone(&outlet), ticket, identity);
        connection.source = socket.source();
        let mut slot = socket.data.connection();
        let connection = slot.insert(Box::new(connection));
        // An outbox that is full already belongs to a client that does not read.
        let _ = socket.send(&packet::connected(socket.sid(), ticket));
        if let (Some(returning), Some(ticket)) = (returning, ticket) {
            if let Some(missed) = service.sockets.take_lost(ticket) {
                service
                    .sockets
                    .replay(now, &outlet, &missed, handshake.offset());
            }
            if let Some(join) = returning.join {
                let session = join.session.clone();
                service.come_back(now, connection, join);
                // Only now: who replaces their ghost has never been away, and keeps their place in the queue.
                match (ghost_connection, ghost) {
                    (Some(ghost), _) => service.disconnected(now, &ghost, Parting::Lost),
                    (None, Some(ghost)) => service.lose(now, &session, ghost),
                    (None, None) => {}
                }
            }
        }
    }

    /// A client came back before its broken transport was noticed: the transport is closed, and what it was is handed
    /// over. Nothing, if another node has it.
    fn take_out(&self, now: Now, ghost: SocketId) -> Option<Box<Connection>> {
        let sockets = &self.service.sockets;
        let old = sockets.outlet(ghost)?.socket()?;
        let connection = old.data.connection().take()?;
        sockets.remove(now, ghost, connection.participant().cloned());
        old.cut();
        Some(connection)
    }

    fn serve(&self, now: Now, socket: &Arc<Socket>, packet: &Packet) {
        let mut slot = socket.data.connection();
        let Some(connection) = slot.as_deref_mut() else {
            return;
        };
        let service = &self.service;
        let request = match self.admit_event(now, connection, &packet.data) {
            Ok(()) => {
                let said = Said::read(&packet.data);
                service.counters.heard(said.as_ref().and_then(Said::place));
                said.and_then(|said| said.request(now.unix))
            }
            Err(refusal) => Some(Err(refusal)),
        };
        let Some(request) = request else {
            return;
        };
        let answer = match request {
            _ if packet.attachments > 0 => Err(Refusal::payload()),
            Ok(request) => service.handle(now, connection, request),
            Err(refusal) => Err(refusal),
        };
        service.counters.answered(now, &answer);
        if let Err(refusal) = &answer {
            tracing::debug!(?refusal, "refused");
            service
                .sockets
                .refuse(now, &connection.outlet, &Event::error(refusal));
        }
        if let Some(ack) = packet.ack {
            let payload = acknowledgement(&answer);
            service
                .sockets
                .acknowledge(now, &connection.outlet, ack, &payload);
        }
    }

    fn admit_event(
        &self,
        now: Now,
        connection: &mut Connection,
        text: &str,
    ) -> Result<(), Refusal> {
        let limits = self.service.settings().limits;
        if limits.payload_bytes.is_some_and(|max| text.len() > max) {
            return Err(Refusal::limit(Limit::PayloadBytes));
        }
        let Some(per_second) = limits.events_per_second else {
            return Ok(());
        };
        if connection.allowance.take(now, per_second) {
            return Ok(());
        }
        if connection.allowance.is_flooded(per_second) {
            tracing::debug!("a client that floods the server is cut off");
            self.service.counters.flooded();
            connection.outlet.cut();
        }
        Err(Refusal::limit(Limit::EventsPerSecond))
    }

    /// The Socket.IO connection is over, if there is one.
    fn part(&self, now: Now, socket: &Socket, parting: Parting) {
        let connection = socket.data.connection().take();
        if let Some(connection) = connection {
            let lost_as = connection
                .participant()
                .filter(|_| parting == Parting::Lost);
            self.service
                .sockets
                .remove(now, connection.socket, lost_as.cloned());
            self.service.disconnected(now, &connection, parting);
        }
    }

    fn close_later(&self, socket: &Arc<Socket>, patience: Duration) {
        let chore = Chore(Arc::downgrade(socket));
        let at = Now::read().mono + patience;
        self.service.agenda.add(at, Job::Chore(chore));
    }
}

fn settings(limits: Limits) -> Settings {
    let payload_bytes = limits.payload_bytes.unwrap_or(PAYLOAD_BYTES_ADVERTISED);
    Settings {
        payload_bytes,
        message_bytes: payload_bytes.saturating_mul(MESSAGE_OVER_PAYLOAD),
        outbox_bytes: limits.outbox_bytes.unwrap_or(usize::MAX),
        times: Times::default(),
    }
}

impl Seat {
    fn connection(&self) -> MutexGuard<'_, Option<Box<Connection>>> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn refuse(socket: &Socket, code: &str, message: &str) {
    // A full outbox belongs to a client that does not read.
    let _ = socket.send(&packet::refused(code, message));
}

/// What clients are told where no limit is set.
const PAYLOAD_BYTES_ADVERTISED: usize = 1_000_000;
/// So much larger messages are read, to be refused by name; larger ones end the connection.
const MESSAGE_OVER_PAYLOAD: usize = 4;
/// An Engine.IO session that is no Socket.IO connection by then is closed.
const CONNECT_WITHIN: Duration = Duration::from_secs(45);
/// For whom there is no room: long enough to be told.
const REFUSED_FOR: Duration = Duration::from_secs(2);
const CLOSE_WITHIN: Duration = Duration::from_millis(500);

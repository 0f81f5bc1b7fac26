//! A worker: one thread with an [`Engine`] and its sockets, the only place where the two meet.
//!
//! Its tasks share the [`Worker`] and borrow it only between awaits. No lock is on the path of relayed data, unless it
//! leads to another worker: there is one for each batch of what two of their clients say to each other, and of what comes
//! from clients that have moved.

mod batch;
mod client_udp;
mod connection;
mod dtls;
mod errors;
mod external;
mod guests;
mod hand_over;
mod hello;
mod line;
mod mailbox;
mod messages;
mod neighbours;
mod peer_tcp;
mod ports;
mod reactor;
mod relay_udp;
mod sending;
mod sockets;
mod splice;
mod stream;
mod thread;

pub use dtls::DtlsIdentity;
pub use external::{ExternalAddr, from_here};
pub use sending::Unsent;
pub use sockets::CLIENT_BUFFER_BYTES;

pub(crate) use guests::Guests;
pub(crate) use hand_over::HandedOver;
pub(crate) use mailbox::{Mailbox, Question};
pub(crate) use reactor::Watch;
pub(crate) use relay_udp::RelayPorts;
pub(crate) use sockets::{adopt_tcp, adopt_udp, client_tcp, client_udp, probe_tcp, probe_udp};
pub(crate) use thread::{Seat, run};

use std::{
    cell::RefCell,
    io, mem,
    net::{SocketAddr, TcpStream},
    ops::AddAssign,
    rc::{Rc, Weak},
    sync::Arc,
    time::Instant,
};

use tokio::{sync::oneshot, task::spawn_local};

use crate::clock::{Now, UnixSeconds};
use crate::ident::UserId;
use crate::relay::engine::five_tuple::{FiveTuple, PeerAddr, RelayKey, Transport};
use crate::relay::engine::tcp::Towards;
use crate::relay::engine::{
    self, DropReason, Effect, Ending, Engine, OpenedRelay, Outcome, PortRequest, RelayRefused,
};
use crate::relay::wire::connection::ConnectionId;
use crate::relay::worker::batch::Arrivals;
use crate::relay::worker::client_udp::ClientUdp;
use crate::relay::worker::dtls::{Heard, Moved};
use crate::relay::worker::guests::Visit;
use crate::relay::worker::hand_over::Crew;
use crate::relay::worker::line::Line;
use crate::relay::worker::mailbox::Orders;
use crate::relay::worker::neighbours::{Parcel, Parcels};
use crate::relay::worker::peer_tcp::PeerConnections;
use crate::relay::worker::reactor::{Reactor, ReadyRelays, Tcp};
use crate::relay::worker::relay_udp::Relays;
use crate::relay::worker::sending::{Outgoing, Sockets};

/// A worker's numbers; those of several are added up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) engine: engine::Snapshot,
    pub(crate) connections: u64,
    pub(crate) unsent: Unsent,
}

pub(crate) struct Worker {
    engine: Engine,
    sockets: Sockets,
    crew: Crew,
    /// The connection that the last message was bound to.
    bound: Option<ConnectionId>,
    /// What connections read into, one at a time.
    read_buffer: Vec<u8>,
    reactor: Arc<Reactor>,
    this: Weak<RefCell<Self>>,
}

/// What the tasks of a worker share.
pub(crate) type SharedWorker = Rc<RefCell<Worker>>;

impl Worker {
    fn new(engine: Engine, sockets: Sockets, crew: Crew, reactor: Arc<Reactor>) -> SharedWorker {
        Rc::new_cyclic(|this| {
            RefCell::new(Self {
                engine,
                sockets,
                crew,
                bound: None,
                read_buffer: Vec::new(),
                reactor,
                this: Weak::clone(this),
            })
        })
    }

    /// One of several messages of a stream from a client; they end their turn together.
    fn client_streamed<'b>(
        &mut self,
        now: Now,
        outgoing: &mut Outgoing<'b>,
        client: FiveTuple,
        message: &'b [u8],
    ) {
        let outcome = self.engine.handle_client(now, client, message);
        self.gather(now, outgoing, outcome, 0);
    }

    /// A message from a client.
    fn client_sent(&mut self, now: Now, client: FiveTuple, datagram: &[u8]) {
        let outcome = self.engine.handle_client(now, client, datagram);
        self.sockets.deliver(outcome, 0);
        self.settle(now);
    }

    /// A batch of datagrams from clients, each of which may have moved an allocation of another worker to where it is
    /// now.
    fn clients_sent(&mut self, now: Now, socket: &ClientUdp, arrivals: &mut Arrivals) {
        if socket.transport == Transport::Dtls {
            return self.clients_sent_dtls(now, socket, arrivals);
        }
        let mut outgoing = self.sockets.outgoing();
        for (client, arrival) in socket.received(arrivals) {
            let class = arrival.traffic_class;
            for datagram in arrival.datagrams() {
                match self.crew.host_of(&client, datagram.bytes()) {
                    Some(host) if !self.engine.has_allocation(&client) => {
                        host.visit(client, class, datagram.bytes());
                    }
                    Some(_) | None => {
                        let outcome = self.engine.handle_client(now, client, datagram);
                        self.gather(now, &mut outgoing, outcome, class);
                    }
                }
            }
        }
        self.end_turn(outgoing);
    }

    /// What the relay sockets that are ready have received, up to one turn's worth.
    fn peers_sent(&mut self, now: Now, ready: &mut ReadyRelays, arrivals: &mut Arrivals) {
        arrivals.clear();
        let mut keys = [RelayKey(0); PEER_ROOMS_PER_TURN];
        for _ in 0..ready.len() {
            let Some(waiting) = ready.pop() else {
                break;
            };
            let first = arrivals.len();
            let rooms = RELAY_ROOMS_PER_TURN.min(PEER_ROOMS_PER_TURN - first);
            match self.sockets.relays.receive(waiting.key, arrivals, rooms) {
                // There may be more.
                Ok(received) if received == rooms => {
                    ready.push(waiting);
                }
                // An ICMP error about something sent earlier: the next datagram may be fine.
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    ready.push(waiting);
                }
                Ok(_) | Err(_) if waiting.has_errors => {
                    if self.peer_errors(now, waiting.key) {
                        ready.push(waiting);
                    }
                }
                Ok(_) | Err(_) => {}
            }
            keys[first..arrivals.len()].fill(waiting.key);
            if arrivals.len() == PEER_ROOMS_PER_TURN {
                break;
            }
        }
        let mut outgoing = self.sockets.outgoing();
        for (key, arrival) in keys.into_iter().zip(arrivals.iter_mut()) {
            let Some(arrival) = arrival else {
                continue;
            };
            let peer = self.sockets.relays.peer(arrival.source);
            let class = arrival.traffic_class;
            for datagram in arrival.datagrams() {
                let outcome = self.engine.handle_peer(now, key, peer, datagram);
                self.gather(now, &mut outgoing, outcome, class);
            }
        }
        self.end_turn(outgoing);
    }

    /// What clients of other workers sent to relayed transport addresses of this one.
    fn neighbours_sent(&mut self, now: Now, parcels: &Parcels) {
        let mut outgoing = self.sockets.outgoing();
        for parcel in parcels.iter() {
            let Parcel {
                to,
                from,
                sender,
                traffic_class,
                payload,
            } = parcel;
            let outcome = self.engine.handle_neighbour(now, to, from, sender, payload);
            self.gather(now, &mut outgoing, outcome, traffic_class);
        }
        self.end_turn(outgoing);
    }

    /// All of a batch is served: what it comes to leaves.
    fn end_turn(&mut self, outgoing: Outgoing<'_>) {
        self.sockets.deliver_last(outgoing);
        self.sockets.send_answers();
    }

    /// Takes one outcome of a batch, and carries out what it asks for; before that everything leaves that is older.
    fn gather<'b>(
        &mut self,
        now: Now,
        outgoing: &mut Outgoing<'b>,
        outcome: Outcome<'b>,
        traffic_class: u8,
    ) {
        self.sockets.gather(outgoing, outcome, traffic_class);
        if self.engine.has_effects() {
            self.sockets.deliver_all(outgoing);
            self.carry_out_effects(now);
        }
    }

    /// A datagram that came to another worker. Where it has moved an allocation the next ones come at once, before the
    /// client knows.
    fn visited(&mut self, now: Now, visit: &Visit) {
        let Visit {
            client,
            traffic_class,
            datagram,
        } = visit;
        if client.transport == Transport::Dtls {
            self.hear_dtls(now, *client, datagram);
            if !self.sockets.dtls.knows(client) {
                self.keep_guests();
            }
            return;
        }
        let had_allocation = self.engine.has_allocation(client);
        let outcome = self.engine.handle_client(now, *client, datagram.as_slice());
        self.sockets.deliver(outcome, *traffic_class);
        let number = self.crew.share.number;
        match (had_allocation, self.engine.has_allocation(client)) {
            (false, true) => self.crew.guests.welcome(*client, number),
            (true, true) => {}
            (_, false) => self.keep_guests(),
        }
        self.settle(now);
    }

    /// A batch of datagrams from clients that speak DTLS, or shall: each may be several messages, or none.
    fn clients_sent_dtls(&mut self, now: Now, socket: &ClientUdp, arrivals: &mut Arrivals) {
        for (client, arrival) in socket.received(arrivals) {
            let class = arrival.traffic_class;
            for datagram in arrival.datagrams() {
                match self.crew.session_host(&client) {
                    Some(host) if !self.sockets.dtls.knows(&client) => {
                        host.visit(client, class, datagram.bytes());
                    }
                    Some(_) | None => self.hear_dtls(now, client, datagram.bytes()),
                }
            }
        }
        self.sockets.send_answers();
    }

    fn hear_dtls(&mut self, now: Now, client: FiveTuple, datagram: &[u8]) {
        let heard = self.sockets.dtls.receive(now, client, datagram);
        self.heard_dtls(now, client, heard);
    }

    fn heard_dtls(&mut self, now: Now, client: FiveTuple, heard: Heard) {
        let received = self.sockets.dtls.take_received();
        self.heard_in_session(now, client, received.iter());
        self.sockets.dtls.give_back(received);
        self.take_note(now, client, heard);
    }

    /// What a client said in its DTLS session, until it names an allocation of another worker: the session goes there,
    /// where the client has none here.
    fn heard_in_session<'m>(
        &mut self,
        now: Now,
        client: FiveTuple,
        messages: impl Iterator<Item = &'m [u8]>,
    ) {
        let mut messages = messages.peekable();
        while let Some(message) = messages.peek() {
            let is_bound = self.engine.has_allocation(&client);
            if !is_bound && let Some(other) = self.crew.session_leads(client, message) {
                let moved = self.sockets.dtls.send_off(client, messages);
                if !moved.is_some_and(|moved| other.take_over(moved)) {
                    self.crew.guests.welcome(client, self.crew.share.number);
                    self.keep_guests();
                }
                return;
            }
            self.client_sent(now, client, message);
            messages.next();
        }
    }

    /// Goes on with a DTLS session of another worker's.
    fn took_over(&mut self, now: Now, moved: Moved) {
        let client = moved.client;
        let messages = self.sockets.dtls.take_in(now, moved);
        // Once more: this worker may have sorted its guests before the session was here.
        self.crew.guests.welcome(client, self.crew.share.number);
        self.heard_in_session(now, client, messages.iter().map(Vec::as_slice));
        self.keep_guests();
        self.settle(now);
    }

    fn take_note(&mut self, now: Now, client: FiveTuple, heard: Heard) {
        match heard {
            Heard::Handled => {}
            Heard::Ended => {
                self.engine.handle_client_closed(now, client);
                self.keep_guests();
            }
            Heard::Stray => self.engine.count_drop(DropReason::UnknownProtocol),
        }
        self.settle(now);
    }

    fn keep_guests(&self) {
        let (engine, dtls) = (&self.engine, &self.sockets.dtls);
        let knows = |client: &FiveTuple| engine.has_allocation(client) || dtls.knows(client);
        self.crew.guests.keep(self.crew.share.number, knows);
    }

    /// What became of datagrams from a relay socket, up to one turn's worth; says whether there is more.
    fn peer_errors(&mut self, now: Now, key: RelayKey) -> bool {
        for _ in 0..ERRORS_PER_TURN {
            let (peer, icmp) = match self.sockets.relays.next_error(key) {
                Ok(Some(error)) => error,
                Ok(None) => continue,
                Err(_) => return false,
            };
            let outcome = self.engine.handle_icmp(now, key, peer, icmp);
            self.sockets.deliver(outcome, 0);
        }
        true
    }

    /// A connection opened; one before it on the same five-tuple is over, whatever its task knows.
    fn client_connected(&mut self, now: Now, client: FiveTuple, line: &Rc<Line>) {
        let before = self.sockets.streams.insert(client, Rc::clone(line));
        if before.is_some() {
            self.engine.handle_client_closed(now, client);
            self.settle(now);
        }
    }

    /// A connection ended.
    fn client_disconnected(&mut self, now: Now, client: FiveTuple, line: &Rc<Line>) {
        if !self.is_connected(&client, line) {
            return;
        }
        self.sockets.streams.remove(&client);
        self.engine.handle_client_closed(now, client);
        self.settle(now);
    }

    /// Whether this is the five-tuple's present connection.
    fn is_connected(&self, client: &FiveTuple, line: &Rc<Line>) -> bool {
        let current = self.sockets.streams.get(client);
        current.is_some_and(|current| Rc::ptr_eq(current, line))
    }

    /// Whose a message of a stream is, if not this worker's. A connection with an allocation of its own stays.
    fn other_for(&self, client: &FiveTuple, message: &[u8]) -> Option<Arc<Mailbox>> {
        let other = self.crew.other_for(message)?;
        (!self.engine.has_allocation(client)).then_some(other)
    }

    /// The buffer to read into; it is to be [kept](Self::keep_read_buffer) before anything else is read.
    fn take_read_buffer(&mut self) -> Vec<u8> {
        mem::take(&mut self.read_buffer)
    }

    fn keep_read_buffer(&mut self, buffer: Vec<u8>) {
        if buffer.capacity() > self.read_buffer.capacity() {
            self.read_buffer = buffer;
        }
    }

    /// The peer's connection that the client's last message has bound its own to.
    fn take_bound(&mut self) -> Option<ConnectionId> {
        self.bound.take()
    }

    /// A peer has connected to a relay socket.
    fn peer_accepted(&mut self, now: Now, key: RelayKey, socket: TcpStream, source: SocketAddr) {
        let socket = match Tcp::new(&self.reactor, socket) {
            Ok(socket) => socket,
            Err(error) => {
                tracing::warn!(%error, "cannot watch a peer's connection");
                return;
            }
        };
        let peer = self.sockets.relays.peer(source);
        if let Some(id) = self.engine.handle_peer_accepted(now, key, peer) {
            self.sockets.peers.waiting(id, socket);
        }
        self.settle(now);
    }

    /// A peer has answered a Connect, or not.
    fn peer_answered(&mut self, now: Now, id: ConnectionId, connected: io::Result<Tcp>) {
        match connected {
            Ok(socket) => {
                self.sockets.peers.waiting(id, socket);
                self.engine.handle_peer_connected(now, id);
                self.settle(now);
            }
            Err(error) => {
                tracing::debug!(%error, "cannot connect to a peer");
                self.peer_ended(now, id);
            }
        }
    }

    /// A connection to a peer is over.
    fn peer_ended(&mut self, now: Now, id: ConnectionId) {
        self.sockets.peers.close(id);
        self.engine.handle_peer_closed(now, id);
        self.settle(now);
    }

    /// Whether bytes may pass between a client's connection and the peer's that it is bound to.
    fn splices(&mut self, now: Now, id: ConnectionId, towards: Towards, bytes: usize) -> bool {
        self.engine.handle_spliced(now, id, towards, bytes)
    }

    fn has_allocation(&self, client: &FiveTuple) -> bool {
        self.engine.has_allocation(client)
    }

    fn peers(&mut self) -> &mut PeerConnections {
        &mut self.sockets.peers
    }

    fn relays(&self) -> &Relays {
        &self.sockets.relays
    }

    fn timeout(&mut self, now: Now) {
        self.engine.handle_timeout(now);
        self.settle(now);
        self.sockets.relays.timeout(now);
        while let Some(client) = self.sockets.dtls.poll_due(now) {
            let has_allocation = self.engine.has_allocation(&client);
            let dtls = &mut self.sockets.dtls;
            let heard = dtls.handle_timeout(now, client, has_allocation);
            self.take_note(now, client, heard);
        }
        if let Some((client, heard)) = self.sockets.dtls.take_step(now) {
            self.heard_dtls(now, client, heard);
        }
    }

    fn carry_out(&mut self, now: Now, orders: Orders) {
        if let Some(rules) = orders.rules {
            self.engine.apply(now, Arc::unwrap_or_clone(rules));
            self.settle(now);
        }
        for moved in orders.moved {
            self.took_over(now, moved);
        }
        if orders.drain {
            self.engine.drain();
        }
        for visit in &orders.visits {
            self.visited(now, visit);
        }
        for (user, until) in orders.revocations {
            self.revoke(now, &user, until);
        }
        for user in orders.forgotten {
            self.engine.forget_usage(&user);
        }
        for question in orders.questions {
            self.answer(now, question);
        }
    }

    fn answer(&mut self, now: Now, question: Question) {
        match question {
            Question::Alive(asker) => tell(asker, ()),
            Question::Snapshot(asker) => tell(asker, self.snapshot()),
            Question::Usage(asker) => tell(asker, self.engine.usage()),
            Question::UsageOf(users, asker) => tell(asker, self.engine.usage_of(&users)),
            Question::Allocations(asker) => tell(asker, self.engine.allocations(now)),
            Question::AllocationsOf(users, asker) => {
                tell(asker, self.engine.allocations_of(now, &users));
            }
            Question::SomeAllocations(text, at_most, asker) => {
                tell(asker, self.engine.some_allocations(now, &text, at_most));
            }
            Question::CloseAllocation(id, asker) => {
                let closed = self.engine.close_allocation(now, id);
                self.settle(now);
                tell(asker, closed);
            }
        }
    }

    fn revoke(&mut self, now: Now, user: &UserId, until: UnixSeconds) {
        self.engine.revoke(now, user, until);
        self.settle(now);
    }

    /// What still lives ends with the worker.
    fn end(&mut self, now: Now) {
        self.engine.end_all(now, Ending::Stopped);
        self.settle(now);
        self.sockets.relays.end();
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            engine: self.engine.snapshot(),
            connections: (self.sockets.streams.len() + self.sockets.dtls.len()) as u64,
            unsent: self.sockets.unsent,
        }
    }

    /// Carries out every effect before the engine's next input.
    fn settle(&mut self, now: Now) {
        self.carry_out_effects(now);
        self.sockets.send_answers();
    }

    fn carry_out_effects(&mut self, now: Now) {
        while let Some(effect) = self.engine.poll_effect() {
            match effect {
                Effect::Respond { client, message } => self.sockets.respond(client, message),
                Effect::OpenRelay(request) => {
                    let opened = self.open_relay(now, request);
                    self.engine.handle_relay_opened(now, opened);
                }
                Effect::CloseRelay(key) => {
                    self.sockets.relays.close(now, key);
                    self.keep_guests();
                }
                Effect::ConnectPeer { id, relay, peer } => self.connect_peer(id, relay, peer),
                Effect::Splice { client: _, id } => self.bound = Some(id),
                Effect::ClosePeer(id) => self.sockets.peers.close(id),
            }
        }
    }

    fn open_relay(&mut self, now: Now, request: PortRequest) -> Result<OpenedRelay, RelayRefused> {
        let worker = self.this.upgrade().ok_or(RelayRefused::NoPort)?;
        let serve = |key| spawn_local(peer_tcp::serve(worker, key)).abort_handle();
        self.sockets.relays.open(now, request, serve)
    }

    fn connect_peer(&mut self, id: ConnectionId, relay: RelayKey, peer: PeerAddr) {
        let (Some(worker), Some(route)) =
            (self.this.upgrade(), self.sockets.relays.route(relay, peer))
        else {
            return;
        };
        let task = spawn_local(peer_tcp::connect(worker, id, route));
        self.sockets.peers.connecting(id, task.abort_handle());
    }

    /// When [`timeout`](Self::timeout) is due.
    fn poll_timeout(&self) -> Option<Instant> {
        let all = [
            self.engine.poll_timeout(),
            self.sockets.dtls.poll_timeout(),
            self.sockets.relays.poll_timeout(),
        ];
        all.into_iter().flatten().min()
    }
}

fn tell<A>(asker: oneshot::Sender<A>, answer: A) {
    // Whoever asked may have gone.
    let _ = asker.send(answer);
}

impl AddAssign for Snapshot {
    fn add_assign(&mut self, other: Self) {
        self.engine += other.engine;
        self.connections += other.connections;
        self.unsent.to_peers += other.unsent.to_peers;
        self.unsent.to_clients += other.unsent.to_clients;
    }
}

/// How many datagrams, or trains of them, one relay socket may bring before the other sockets get their turn.
const RELAY_ROOMS_PER_TURN: usize = 16;
/// The same for all of them together, before the clients get theirs. What these bring is in the order of those whom it is
/// for: more at a time would save nothing, and the caches would lose it.
const PEER_ROOMS_PER_TURN: usize = 64;
/// How many errors of one relay socket are told before the other sockets get their turn.
const ERRORS_PER_TURN: usize = 32;

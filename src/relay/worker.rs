//! A worker: one thread with an [`Engine`] and its sockets, the only place where the two meet.
//!
//! Its tasks share the [`Worker`] and borrow it only between awaits; no lock is on a packet's path.

mod client_udp;
mod external;
mod mailbox;
mod outbox;
mod ports;
mod relay_udp;
mod sockets;
mod stream;

pub use external::ExternalAddr;

pub(crate) use mailbox::Mailbox;
pub(crate) use relay_udp::RelayPorts;
pub(crate) use sockets::{client_tcp, client_udp, probe_tcp, probe_udp};

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    net::{TcpListener, UdpSocket},
    ops::AddAssign,
    rc::{Rc, Weak},
    sync::Arc,
    time::Instant,
};

use rustc_hash::FxBuildHasher;
use tokio::{
    runtime, select,
    sync::Notify,
    task::{JoinSet, LocalSet, spawn_local},
};
use tokio_rustls::TlsAcceptor;

use crate::clock::{Now, UnixSeconds};
use crate::credentials::Credentials;
use crate::entropy;
use crate::ident::UserId;
use crate::relay::engine::five_tuple::{FiveTuple, RelayKey, Transport};
use crate::relay::engine::{self, Effect, Engine, OpenedRelay, Outcome, PortRequest, RelayRefused};
use crate::relay::wire::frame::{Frame, HEADROOM_BYTES, TAILROOM_BYTES};
use crate::relay::worker::client_udp::{Batch, ClientUdp};
use crate::relay::worker::mailbox::Orders;
use crate::relay::worker::outbox::Outbox;
use crate::relay::worker::relay_udp::{DATAGRAMS_PER_TURN, Relays};

/// All that a worker starts with. Its listeners are one set of several on the same addresses.
pub(crate) struct Seat {
    pub(crate) udp: Vec<UdpSocket>,
    pub(crate) tcp: Vec<TcpListener>,
    pub(crate) tls: Vec<TcpListener>,
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) ports: Arc<RelayPorts>,
    pub(crate) engine: engine::Settings,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) mailbox: Arc<Mailbox>,
}

/// A worker's numbers; those of several are added up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) engine: engine::Snapshot,
    pub(crate) connections: u64,
    pub(crate) unsent: Unsent,
}

/// What the engine wanted sent and the kernel, or a slow reader, did not take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unsent {
    /// Datagrams for peers.
    pub to_peers: u64,
    /// Messages for clients.
    pub to_clients: u64,
}

pub(crate) struct Worker {
    engine: Engine,
    sockets: Sockets,
    /// Where a peer's datagram lands, with room around it for its wrapping.
    frame: Box<[u8]>,
    /// What the time-keeping task waits for.
    armed: Option<Instant>,
    rearm: Rc<Notify>,
    this: Weak<RefCell<Self>>,
}

/// What the tasks of a worker share.
pub(crate) type SharedWorker = Rc<RefCell<Worker>>;

/// Everything that leads out.
struct Sockets {
    udp: Vec<Rc<ClientUdp>>,
    streams: HashMap<FiveTuple, Rc<Outbox>, FxBuildHasher>,
    relays: Relays,
    unsent: Unsent,
}

/// Lives on this thread until the mailbox says stop; `ready` is called once it serves.
///
/// # Errors
/// When the sockets or the runtime cannot be set up.
pub(crate) fn run(seat: Seat, ready: impl FnOnce()) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, async {
        let mailbox = Arc::clone(&seat.mailbox);
        let (worker, mut serving) = take_seat(seat)?;
        ready();
        select! {
            () = obey(&worker, &mailbox) => {}
            // Only a bug ends one of them; without this worker's sockets the others get its clients.
            ended = serving.join_next() => tracing::error!(?ended, "a relay worker gives up"),
        }
        Ok(())
    })
}

fn take_seat(seat: Seat) -> io::Result<(SharedWorker, JoinSet<()>)> {
    let udp = seat
        .udp
        .into_iter()
        .map(|socket| ClientUdp::new(socket).map(Rc::new))
        .collect::<io::Result<Vec<_>>>()?;
    let worker = Worker::new(
        Engine::new(seat.engine, seat.credentials, entropy::number()),
        Sockets {
            udp: udp.clone(),
            streams: HashMap::default(),
            relays: Relays::new(seat.ports),
            unsent: Unsent::default(),
        },
    );
    let mut serving = JoinSet::new();
    let batch = Rc::new(RefCell::new(Batch::new()));
    for socket in udp {
        let (worker, batch) = (Rc::clone(&worker), Rc::clone(&batch));
        serving.spawn_local(client_udp::serve(worker, socket, batch));
    }
    for listener in seat.tcp {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        serving.spawn_local(stream::serve_tcp(Rc::clone(&worker), listener));
    }
    for listener in seat.tls {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let acceptor = seat.acceptor.clone();
        serving.spawn_local(stream::serve_tls(Rc::clone(&worker), listener, acceptor));
    }
    serving.spawn_local(keep_time(Rc::clone(&worker)));
    Ok((worker, serving))
}

async fn obey(worker: &SharedWorker, mailbox: &Mailbox) {
    loop {
        let orders = mailbox.collect().await;
        if orders.stop {
            return;
        }
        worker.borrow_mut().carry_out(Now::read(), orders);
    }
}

async fn keep_time(worker: SharedWorker) {
    let rearm = Rc::clone(&worker.borrow().rearm);
    loop {
        let armed = worker.borrow_mut().arm();
        let due = async {
            match armed {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        select! {
            () = due => worker.borrow_mut().timeout(Now::read()),
            () = rearm.notified() => {}
        }
    }
}

impl Worker {
    fn new(engine: Engine, sockets: Sockets) -> SharedWorker {
        Rc::new_cyclic(|this| {
            RefCell::new(Self {
                engine,
                sockets,
                frame: vec![0; FRAME_BYTES].into_boxed_slice(),
                armed: None,
                rearm: Rc::default(),
                this: Weak::clone(this),
            })
        })
    }

    /// A datagram, or a message of a stream, from a client.
    fn client_sent(&mut self, now: Now, client: FiveTuple, datagram: &[u8]) {
        let outcome = self.engine.handle_client(now, client, datagram);
        self.sockets.deliver(outcome);
        self.settle(now);
    }

    /// What peers sent to a relay socket, up to one turn's worth; says how many datagrams it was.
    fn peers_sent(&mut self, now: Now, key: RelayKey) -> usize {
        for received in 0..DATAGRAMS_PER_TURN {
            let room = &mut self.frame[HEADROOM_BYTES..][..DATAGRAM_BYTES_MAX];
            let (payload_bytes, peer) = match self.sockets.relays.receive(key, room) {
                Ok(datagram) => datagram,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return received,
                // An ICMP error about something sent earlier: the next datagram may be fine.
                Err(_) => continue,
            };
            let Some(frame) = Frame::new(&mut self.frame, payload_bytes) else {
                continue;
            };
            let outcome = self.engine.handle_peer(now, key, peer, frame);
            self.sockets.deliver(outcome);
            self.settle(now);
        }
        DATAGRAMS_PER_TURN
    }

    /// A connection opened; one before it on the same five-tuple is over, whatever its task knows.
    fn client_connected(&mut self, now: Now, client: FiveTuple, outbox: &Rc<Outbox>) {
        let before = self.sockets.streams.insert(client, Rc::clone(outbox));
        if before.is_some() {
            self.engine.handle_client_closed(now, client);
            self.settle(now);
        }
    }

    /// A connection ended.
    fn client_disconnected(&mut self, now: Now, client: FiveTuple, outbox: &Rc<Outbox>) {
        let current = self.sockets.streams.get(&client);
        if !current.is_some_and(|current| Rc::ptr_eq(current, outbox)) {
            return;
        }
        self.sockets.streams.remove(&client);
        self.engine.handle_client_closed(now, client);
        self.settle(now);
    }

    fn has_allocation(&self, client: &FiveTuple) -> bool {
        self.engine.has_allocation(client)
    }

    fn relays(&self) -> &Relays {
        &self.sockets.relays
    }

    fn timeout(&mut self, now: Now) {
        self.engine.handle_timeout(now);
        self.settle(now);
    }

    fn carry_out(&mut self, now: Now, orders: Orders) {
        for (user, until) in orders.revocations {
            self.revoke(now, &user, until);
        }
        for asker in orders.askers {
            // Whoever asked may have gone.
            let _ = asker.send(self.snapshot());
        }
    }

    fn revoke(&mut self, now: Now, user: &UserId, until: UnixSeconds) {
        self.engine.revoke(now, user, until);
        self.settle(now);
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            engine: self.engine.snapshot(),
            connections: self.sockets.streams.len() as u64,
            unsent: self.sockets.unsent,
        }
    }

    /// Carries out every effect before the engine's next input.
    fn settle(&mut self, now: Now) {
        while let Some(effect) = self.engine.poll_effect() {
            match effect {
                Effect::Respond { client, message } => self.sockets.respond(client, &message),
                Effect::OpenRelay(request) => {
                    let opened = self.open_relay(now, request);
                    self.engine.handle_relay_opened(now, opened);
                }
                Effect::CloseRelay(key) => self.sockets.relays.close(key),
            }
        }
        let due = self.engine.poll_timeout();
        if due.is_some_and(|due| self.armed.is_none_or(|armed| due < armed)) {
            self.rearm.notify_one();
        }
    }

    fn open_relay(&mut self, now: Now, request: PortRequest) -> Result<OpenedRelay, RelayRefused> {
        let worker = self.this.upgrade().ok_or(RelayRefused::NoPort)?;
        self.sockets.relays.open(now, request, |key| {
            spawn_local(relay_udp::serve(worker, key)).abort_handle()
        })
    }

    fn arm(&mut self) -> Option<Instant> {
        self.armed = self.engine.poll_timeout();
        self.armed
    }
}

impl Sockets {
    fn deliver(&mut self, outcome: Outcome<'_>) {
        match outcome {
            Outcome::ToPeer {
                relay,
                peer,
                payload,
            } => {
                let sent = self.relays.send(relay, peer, payload).is_ok();
                self.unsent.to_peers += u64::from(!sent);
            }
            Outcome::ToClient { client, bytes } => {
                let sent = match client.transport {
                    Transport::Udp => self.send_udp(client, bytes),
                    Transport::Tcp | Transport::Tls => self
                        .streams
                        .get(&client)
                        .is_some_and(|outbox| outbox.push_data(bytes)),
                };
                self.unsent.to_clients += u64::from(!sent);
            }
            // The engine counts what it drops.
            Outcome::Handled | Outcome::Dropped(_) => {}
        }
    }

    fn respond(&mut self, client: FiveTuple, message: &[u8]) {
        let sent = match client.transport {
            Transport::Udp => self.send_udp(client, message),
            Transport::Tcp | Transport::Tls => self
                .streams
                .get(&client)
                .is_some_and(|outbox| outbox.push_answer(message)),
        };
        self.unsent.to_clients += u64::from(!sent);
    }

    fn send_udp(&self, client: FiveTuple, datagram: &[u8]) -> bool {
        let socket = self.udp.iter().find(|socket| socket.serves(client.server));
        socket.is_some_and(|socket| socket.send(client, datagram).is_ok())
    }
}

impl AddAssign for Snapshot {
    fn add_assign(&mut self, other: Self) {
        self.engine += other.engine;
        self.connections += other.connections;
        self.unsent.to_peers += other.unsent.to_peers;
        self.unsent.to_clients += other.unsent.to_clients;
    }
}

const DATAGRAM_BYTES_MAX: usize = 65_535;
const FRAME_BYTES: usize = HEADROOM_BYTES + DATAGRAM_BYTES_MAX + TAILROOM_BYTES;

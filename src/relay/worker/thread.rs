//! A worker's thread: what it starts with, what it does turn by turn, when it ends.

use std::{
    collections::HashMap,
    future::Future,
    io, mem,
    net::{TcpListener, UdpSocket},
    ops::ControlFlow,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Waker},
};

use tokio::{
    sync::Notify,
    task::{JoinSet, LocalSet},
};
use tokio_rustls::TlsAcceptor;

use crate::clock::Now;
use crate::credentials::Credentials;
use crate::entropy;
use crate::relay::engine::five_tuple::Transport;
use crate::relay::engine::{self, Engine, limits::Limits, signaled::SignaledPeers};
use crate::relay::worker::batch::{Arrivals, Trains};
use crate::relay::worker::client_udp::ClientUdp;
use crate::relay::worker::dtls::{DtlsIdentity, Sessions};
use crate::relay::worker::guests::Guests;
use crate::relay::worker::hand_over::Crew;
use crate::relay::worker::mailbox::Mailbox;
use crate::relay::worker::neighbours::Parcels;
use crate::relay::worker::peer_tcp::PeerConnections;
use crate::relay::worker::reactor::{Listener, Reactor, Ready, Watch};
use crate::relay::worker::relay_udp::{RelayPorts, Relays};
use crate::relay::worker::sending::{Answers, Outgoing, Sockets, Unsent};
use crate::relay::worker::{SharedWorker, Worker, sockets, stream};

/// All that a worker starts with. Its listeners are one set of several on the same addresses.
pub(crate) struct Seat {
    pub(crate) watch: Watch,
    pub(crate) udp: Vec<UdpSocket>,
    pub(crate) tcp: Vec<TcpListener>,
    pub(crate) tls: Vec<TcpListener>,
    pub(crate) dtls: Vec<UdpSocket>,
    pub(crate) dtls_identity: Option<DtlsIdentity>,
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) ports: Arc<RelayPorts>,
    pub(crate) engine: engine::Settings,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) signaled: Arc<SignaledPeers>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) mailbox: Arc<Mailbox>,
    /// Those of all workers, by their numbers.
    pub(crate) mailboxes: Arc<[Arc<Mailbox>]>,
    /// Clients of all workers that have moved.
    pub(crate) guests: Arc<Guests>,
    /// Told when the worker ends, whyever.
    pub(crate) ended: Arc<Notify>,
}

/// Lives on this thread until the mailbox says stop; `ready` is called once it serves.
///
/// # Errors
/// When the sockets cannot be set up, or not be waited for.
pub(crate) fn run(seat: Seat, ready: impl FnOnce()) -> io::Result<()> {
    let _ended = Ended {
        mailbox: Arc::clone(&seat.mailbox),
        ended: Arc::clone(&seat.ended),
    };
    // What the worker starts while it serves datagrams are tasks of this set, too.
    let tasks = LocalSet::new();
    let _entered = tasks.enter();
    let mut station = Station::new(seat, tasks)?;
    // Only now they know whom to wake.
    let mut flow = station.run_tasks();
    ready();
    let mut now = Now::read_coarsely();
    while flow.is_continue() {
        let turned = station.turn(&mut now);
        flow = turned.inspect_err(|error| tracing::error!(%error, "a relay worker cannot wait"))?;
    }
    Ok(())
}

/// Says so when the worker ends, by a panic too.
struct Ended {
    mailbox: Arc<Mailbox>,
    ended: Arc<Notify>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.mailbox.close();
        self.ended.notify_one();
    }
}

/// A worker at work: what its thread alone has.
struct Station {
    worker: SharedWorker,
    mailbox: Arc<Mailbox>,
    /// Clients' sockets of datagrams, by their numbers.
    clients: Vec<Rc<ClientUdp>>,
    arrivals: Arrivals,
    parcels: Parcels,
    /// Streams have a task each.
    tasks: LocalSet,
    /// Those that never end.
    serving: JoinSet<()>,
    waker: Waker,
    ready: Ready,
    watch: Watch,
}

impl Station {
    fn new(seat: Seat, tasks: LocalSet) -> io::Result<Self> {
        let trains_are_cut = seat.udp.iter().all(sockets::trains_are_cut);
        if !trains_are_cut {
            tracing::info!("the kernel has no UDP GSO: datagrams leave one by one");
        }
        let watch = seat.watch;
        let reactor = Arc::clone(watch.reactor());
        let udp = client_sockets(&reactor, seat.udp, Transport::Udp, 0)?;
        let dtls = client_sockets(&reactor, seat.dtls, Transport::Dtls, udp.len())?;
        let seat_number = seat.engine.share.number;
        let crew = Crew {
            share: seat.engine.share,
            mailboxes: Arc::clone(&seat.mailboxes),
            guests: seat.guests,
        };
        let engine = Engine::new(
            seat.engine,
            seat.credentials,
            seat.signaled,
            Arc::clone(&seat.limits),
            entropy::number(),
        );
        let sockets = Sockets {
            udp: udp.clone(),
            dtls: Sessions::new(seat.dtls_identity, dtls.clone(), Arc::clone(&seat.limits)),
            streams: HashMap::default(),
            relays: Relays::new(seat.ports, seat_number, Arc::clone(&reactor)),
            peers: PeerConnections::default(),
            trains: Trains::new(trains_are_cut),
            answers: Answers::default(),
            neighbours: Arc::clone(&seat.mailboxes),
            unsent: Unsent::default(),
            room: Outgoing::default(),
        };
        let worker = Worker::new(engine, sockets, crew, Arc::clone(&reactor));
        let mut serving = JoinSet::new();
        for listener in seat.tcp {
            let listener = Listener::new(&reactor, listener)?;
            serving.spawn_local(stream::serve_tcp(
                Rc::clone(&worker),
                listener,
                Arc::clone(&seat.limits),
            ));
        }
        for listener in seat.tls {
            let listener = Listener::new(&reactor, listener)?;
            serving.spawn_local(stream::serve_tls(
                Rc::clone(&worker),
                listener,
                Arc::clone(&seat.limits),
                seat.acceptor.clone(),
            ));
        }
        Ok(Self {
            worker,
            mailbox: seat.mailbox,
            clients: udp.into_iter().chain(dtls).collect(),
            arrivals: Arrivals::new(),
            parcels: Parcels::default(),
            tasks,
            serving,
            waker: Waker::from(Arc::clone(watch.bell())),
            ready: Ready::default(),
            watch,
        })
    }

    /// Waits until there is something to do, and does it: each socket that is ready gets one turn's worth. `now` is
    /// when the last turn began, and then when this one did.
    fn turn(&mut self, now: &mut Now) -> io::Result<ControlFlow<()>> {
        let due = self.worker.borrow().poll_timeout();
        self.watch.wait(now.mono, due, &mut self.ready)?;
        *now = Now::read_coarsely();
        self.watch.ring_alarms(now.mono);
        self.serve_clients(*now);
        self.serve_peers(*now);
        let due = self.worker.borrow().poll_timeout();
        if due.is_some_and(|due| due <= now.mono) {
            self.worker.borrow_mut().timeout(*now);
        }
        let rung = self.watch.bell().take();
        if rung.mail && self.obey(*now).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        if rung.tasks {
            return Ok(self.run_tasks());
        }
        Ok(ControlFlow::Continue(()))
    }

    fn serve_clients(&mut self, now: Now) {
        for _ in 0..self.ready.clients.len() {
            let Some(number) = self.ready.clients.pop_front() else {
                return;
            };
            let socket = &self.clients[number];
            let has_more = socket.receive(&mut self.arrivals);
            let mut worker = self.worker.borrow_mut();
            worker.clients_sent(now, socket, &mut self.arrivals);
            if has_more {
                self.ready.clients.push_back(number);
            }
        }
    }

    fn serve_peers(&mut self, now: Now) {
        if !self.ready.relays.is_empty() {
            let mut worker = self.worker.borrow_mut();
            worker.peers_sent(now, &mut self.ready.relays, &mut self.arrivals);
        }
    }

    /// Does what others have asked for. Its room on the stack would be in the way of each turn.
    #[inline(never)]
    fn obey(&mut self, now: Now) -> ControlFlow<()> {
        let mut orders = self.mailbox.collect();
        if orders.stop {
            self.worker.borrow_mut().end(now);
            return ControlFlow::Break(());
        }
        for connection in mem::take(&mut orders.handed_over) {
            connection.receive(&self.worker);
        }
        self.mailbox.take_parcels(&mut self.parcels);
        let mut worker = self.worker.borrow_mut();
        worker.neighbours_sent(now, &self.parcels);
        worker.carry_out(now, orders);
        self.parcels.clear();
        ControlFlow::Continue(())
    }

    fn run_tasks(&mut self) -> ControlFlow<()> {
        let mut cx = Context::from_waker(&self.waker);
        // It is never over: those that serve are among them.
        let _ = Pin::new(&mut self.tasks).poll(&mut cx);
        match self.serving.try_join_next() {
            None => ControlFlow::Continue(()),
            // Only a bug ends one of them. Without this worker the kernel spreads clients anew, away from their
            // allocations.
            Some(ended) => {
                tracing::error!(?ended, "a relay worker gives up");
                ControlFlow::Break(())
            }
        }
    }
}

/// Numbered from `first` on.
fn client_sockets(
    reactor: &Reactor,
    sockets: Vec<UdpSocket>,
    transport: Transport,
    first: usize,
) -> io::Result<Vec<Rc<ClientUdp>>> {
    let sockets = (first..).zip(sockets);
    sockets
        .map(|(number, socket)| ClientUdp::new(socket, transport, reactor, number).map(Rc::new))
        .collect()
}

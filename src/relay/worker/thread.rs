//! A worker's thread: what it starts with, the tasks it runs, when it ends.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    net::{TcpListener, UdpSocket},
    rc::Rc,
    sync::Arc,
};

use tokio::{
    runtime, select,
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
use crate::relay::worker::client_udp::{self, ClientUdp};
use crate::relay::worker::dtls::{DtlsIdentity, Sessions};
use crate::relay::worker::guests::Guests;
use crate::relay::worker::hand_over::Crew;
use crate::relay::worker::mailbox::Mailbox;
use crate::relay::worker::neighbours::Parcels;
use crate::relay::worker::peer_tcp::PeerConnections;
use crate::relay::worker::relay_udp::{self, RelayPorts, Relays};
use crate::relay::worker::sending::{Answers, Sockets, Unsent};
use crate::relay::worker::watch::Watch;
use crate::relay::worker::{SharedWorker, Worker, sockets, stream};

/// All that a worker starts with. Its listeners are one set of several on the same addresses.
pub(crate) struct Seat {
    pub(crate) udp: Vec<UdpSocket>,
    pub(crate) tcp: Vec<TcpListener>,
    pub(crate) tls: Vec<TcpListener>,
    pub(crate) dtls: Vec<UdpSocket>,
    pub(crate) dtls_identity: Option<DtlsIdentity>,
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) ports: Arc<RelayPorts>,
    /// Whether clients are told of ICMP messages.
    pub(crate) icmp: bool,
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
/// When the sockets or the runtime cannot be set up.
pub(crate) fn run(seat: Seat, ready: impl FnOnce()) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let ended = Ended {
        mailbox: Arc::clone(&seat.mailbox),
        ended: Arc::clone(&seat.ended),
    };
    LocalSet::new().block_on(&runtime, async {
        let mailbox = &ended.mailbox;
        let (worker, mut serving) = take_seat(seat)?;
        ready();
        select! {
            () = obey(&worker, mailbox) => worker.borrow_mut().end(Now::read()),
            // Only a bug ends one of them. Without this worker the kernel spreads clients anew, away from their allocations.
            ended = serving.join_next() => tracing::error!(?ended, "a relay worker gives up"),
        }
        Ok(())
    })
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

fn take_seat(seat: Seat) -> io::Result<(SharedWorker, JoinSet<()>)> {
    let trains_are_cut = seat.udp.iter().all(sockets::trains_are_cut);
    if !trains_are_cut {
        tracing::info!("the kernel has no UDP GSO: datagrams leave one by one");
    }
    let udp = client_sockets(seat.udp, Transport::Udp)?;
    let dtls = client_sockets(seat.dtls, Transport::Dtls)?;
    let watch = Rc::new(Watch::new()?);
    let seat_number = seat.engine.share.number;
    let crew = Crew {
        share: seat.engine.share,
        mailboxes: Arc::clone(&seat.mailboxes),
        guests: seat.guests,
    };
    let worker = Worker::new(
        Engine::new(
            seat.engine,
            seat.credentials,
            seat.signaled,
            Arc::clone(&seat.limits),
            entropy::number(),
        ),
        Sockets {
            udp: udp.clone(),
            dtls: Sessions::new(seat.dtls_identity, dtls.clone(), Arc::clone(&seat.limits)),
            streams: HashMap::default(),
            relays: Relays::new(seat.ports, seat_number, Rc::clone(&watch), seat.icmp),
            peers: PeerConnections::default(),
            trains: Trains::new(trains_are_cut),
            answers: Answers::default(),
            neighbours: Arc::clone(&seat.mailboxes),
            unsent: Unsent::default(),
        },
        crew,
    );
    let mut serving = JoinSet::new();
    let arrivals = Rc::new(RefCell::new(Arrivals::new()));
    for socket in udp.into_iter().chain(dtls) {
        let (worker, arrivals) = (Rc::clone(&worker), Rc::clone(&arrivals));
        serving.spawn_local(client_udp::serve(worker, socket, arrivals));
    }
    let peers = relay_udp::serve(Rc::clone(&worker), watch, arrivals);
    serving.spawn_local(async move {
        if let Err(error) = peers.await {
            tracing::error!(%error, "relay sockets are not watched any more");
        }
    });
    for listener in seat.tcp {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        serving.spawn_local(stream::serve_tcp(
            Rc::clone(&worker),
            listener,
            Arc::clone(&seat.limits),
        ));
    }
    for listener in seat.tls {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let acceptor = seat.acceptor.clone();
        serving.spawn_local(stream::serve_tls(
            Rc::clone(&worker),
            listener,
            Arc::clone(&seat.limits),
            acceptor,
        ));
    }
    serving.spawn_local(keep_time(Rc::clone(&worker)));
    Ok((worker, serving))
}

fn client_sockets(sockets: Vec<UdpSocket>, transport: Transport) -> io::Result<Vec<Rc<ClientUdp>>> {
    let sockets = sockets.into_iter();
    sockets
        .map(|socket| ClientUdp::new(socket, transport).map(Rc::new))
        .collect()
}

async fn obey(worker: &SharedWorker, mailbox: &Mailbox) {
    let mut parcels = Parcels::default();
    loop {
        let mut orders = mailbox.collect().await;
        if orders.stop {
            return;
        }
        for connection in orders.handed_over.drain(..) {
            connection.receive(worker);
        }
        mailbox.take_parcels(&mut parcels);
        let mut worker = worker.borrow_mut();
        worker.neighbours_sent(Now::read(), &parcels);
        worker.carry_out(Now::read(), orders);
        parcels.clear();
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

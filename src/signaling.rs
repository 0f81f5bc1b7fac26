//! Signaling over Socket.IO: who is in which session, what they read, and what they tell each other.
//!
//! | client event | what happens |
//! | --- | --- |
//! | `join-session` | `session-joined` to the room, `participant-joined` to the others; the newcomer is told verse, queue and timer |
//! | `leave-session` | `participant-left` to the others, `session-left` to the leaver; the relay lets go at once |
//! | `webrtc-offer`, `webrtc-answer`, `webrtc-ice-candidate`, `webrtc-signaling` | the message, restamped, to the participant it names or to the others |
//! | `request-next-verse` | the message, restamped, to the room |
//! | `get-ice-servers`, `get-queue` | `ice-servers`, `queue-updated` to the asker |
//! | `change-verse`, `verse-changed` | `verse-changed` to the room |
//! | `start-reading`, `finish-reading`, `skip-reading`, `skip-turn`, `update-reading-status` | `reading-started`, `reading-finished`, `queue-updated` to the room |
//! | `update-queue`, `reading-queue-update` | `queue-updated`, `reading-queue-update` to the room |
//! | `start-`, `pause-`, `resume-session-timer`, `session-timer-update` | `session-timer-update` to the room, then every five seconds, and at the end |
//! | `end-session`, `session-ended` | `session-ended` to the room; nothing of the session is kept |
//! | `subscribe-`, `unsubscribe-parser-monitor`, `test-message`, `parser-…` | parser events to those who watch |
//! | any other | nothing: clients may echo whatever they were sent |
//!
//! Clients may rely on this:
//! - A socket speaks only as the participant that it joined as, in the session that it joined.
//! - Events of one socket take effect in the order in which they were sent, and the members of a session hear of its
//!   changes in one order.
//! - Every refused request is answered with `error` to its sender alone, and acknowledged if it asked for that.
//! - Credentials are sent to nobody but the participant they were issued to, and replaced before they expire.
//! - Whose transport breaks is a member again when it is back, within [`Settings::recovery`].

mod agenda;
pub mod candidates;
mod cluster;
mod counters;
mod engine_io;
pub mod ice_servers;
pub mod leases;
pub mod node_info;
pub mod nodes;
mod offered;
mod protocol;
pub mod reckoning;
pub mod revocations;
mod service;
pub mod session;
mod socket;
pub mod traffic;
pub mod view;

pub use counters::Snapshot;
pub use engine_io::Figures;

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use axum::Router;
use tokio::{
    sync::{mpsc, watch},
    task::yield_now,
    time::{sleep, timeout},
};

use crate::access::{Access, HostOnly};
use crate::credentials::Credentials;
use crate::relay::Relay;
use crate::source::PerSource;
use crate::store::redis::{LogEvent, Redis};
use crate::store::{Census, Store};

use agenda::Agenda;
use counters::Counters;
use ice_servers::IceServers;
use leases::Leases;
use nodes::Nodes;
use offered::Offered;
use protocol::Event;
use reckoning::Reckoning;
use service::{Job, Service};
use socket::{Sockets, Transport};
use traffic::Questions;

/// What the operator decides about signaling.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long the relay waits for a participant whose transport was lost.
    pub revocation_grace: Duration,
    /// For how long a lost connection can be taken up again, by Socket.IO's connection state recovery; without, not.
    pub recovery: Option<Duration>,
    /// How much there may be.
    pub limits: Limits,
    /// Who may join.
    pub access: Access,
    /// What only a host may steer.
    pub host_only: HostOnly,
    /// The addresses that this node's relayed transport addresses have.
    pub relayed: Vec<IpAddr>,
}

/// How much there may be; where nothing is said there is no limit.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Sockets at a time.
    pub connections: Option<usize>,
    /// Sockets at a time of each source.
    pub connections_per_source: PerSource,
    /// Events a second of each socket, and twice that at once.
    pub events_per_second: Option<u32>,
    /// Participants of one session.
    pub participants_per_session: Option<usize>,
    /// Sessions at a time.
    pub sessions: Option<usize>,
    /// The largest message that clients may send.
    pub payload_bytes: Option<usize>,
    /// How much may wait to be sent to one socket, before it is closed.
    pub outbox_bytes: Option<usize>,
}

/// The signaling server. Clones are the same server.
#[derive(Clone)]
pub struct Signaling {
    service: Arc<Service>,
    transport: Transport,
    redis: Option<Redis>,
    /// Whether this node has read all that others, and earlier processes, let happen.
    caught_up: watch::Sender<bool>,
}

impl Signaling {
    /// Serves the sessions in `store`. `credentials` are those that `ice_servers` issues and that open `relay`. Needs
    /// a tokio runtime around it.
    #[must_use]
    pub fn new(
        settings: Settings,
        store: Store,
        redis: Option<(Redis, mpsc::Receiver<LogEvent>)>,
        relay: Relay,
        ice_servers: Arc<IceServers>,
        credentials: Arc<Credentials>,
    ) -> Self {
        let agenda = Arc::new(Agenda::default());
        let limits = settings.limits;
        let recovery = settings.recovery.unwrap_or_default();
        let sockets = Sockets::new(store.node(), recovery);
        let nodes = Mutex::new(Nodes::new(store.node()));
        let service = Arc::new(Service {
            settings: ArcSwap::from_pointee(settings),
            store,
            sockets,
            agenda,
            ice_servers,
            credentials,
            relay,
            leases: Mutex::new(Leases::default()),
            revocations: Mutex::default(),
            nodes,
            offered: Offered::default(),
            questions: Questions::default(),
            reckoning: Reckoning::default(),
            redis: redis.as_ref().map(|(redis, _)| redis.clone()),
            draining: AtomicBool::new(false),
            counters: Counters::default(),
            stopping: AtomicBool::new(false),
        });
        let transport = Transport::open(Arc::clone(&service), limits);
        let (redis, events) = redis.unzip();
        let signaling = Self {
            service,
            transport,
            redis,
            caught_up: watch::Sender::new(events.is_none()),
        };
        tokio::spawn(signaling.clone().keep_agenda());
        tokio::spawn(signaling.clone().keep_clean());
        if let (Some(redis), Some(events)) = (&signaling.redis, events) {
            signaling.join_cluster(redis, events);
        }
        signaling
    }

    /// Lays the answers for `/socket.io/` around `router`; every other path passes through.
    pub fn around(&self, router: Router) -> Router {
        self.transport.around(router)
    }

    /// How much is going on.
    #[must_use]
    pub fn census(&self) -> Census {
        self.service.store.census()
    }

    /// The state in numbers.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let sockets = &self.service.sockets;
        Snapshot {
            census: self.census(),
            nodes: self.nodes(),
            sockets: sockets.count(),
            monitors: sockets.watching(),
            engines: self.transport.figures(),
            overruns: sockets.overruns(),
            redis: self.redis.as_ref().map(Redis::snapshot),
            ..self.service.counters.snapshot()
        }
    }

    /// Waits until what is in Redis is known here, or `within` is over.
    pub async fn taken_up(&self, within: Duration) {
        let mut caught_up = self.caught_up.subscribe();
        // Without Redis this node begins alone; what is there is taken up when it comes.
        let _ = timeout(within, caught_up.wait_for(|caught_up| *caught_up)).await;
    }

    /// Whether Redis is configured and away.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        self.redis.as_ref().is_some_and(|redis| !redis.is_live())
    }

    /// These settings hold from now on, for clients that are here too; what is about a connection as such, for new
    /// ones. The addresses of relays stay.
    pub fn apply(&self, settings: Settings) {
        let limits = settings.limits;
        self.service.apply(settings);
        self.transport.apply(limits);
    }

    /// What the clients' credentials are signed with has changed: they get others within the next seconds.
    pub fn reissue(&self) {
        let now = self.service.now();
        self.transport.for_each(|connection| connection.doubt(now));
    }

    /// How many nodes there are, this one among them.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.service.nodes().len() + 1
    }

    /// Nobody new may join, and other nodes send nobody to this one's relay. Everybody is told: where there are other
    /// nodes, they may go there at once, and elsewhere when this one has ended, `within` at the latest.
    pub async fn drain(&self, within: Duration) {
        self.service.draining.store(true, Ordering::Relaxed);
        let wait = match self.service.nodes().len() {
            0 => within,
            _ => Duration::ZERO,
        };
        self.tell_draining(wait + RECONNECT_AFTER);
        let relay = self.service.relay.snapshot().await;
        let now = self.service.now();
        self.service.greet(now, self.service.info(&relay));
    }

    /// How many members of sessions are connected to this node.
    #[must_use]
    pub fn members(&self) -> usize {
        let mut members = 0;
        self.transport.for_each(|connection| {
            members += usize::from(connection.participant().is_some());
        });
        members
    }

    /// Tells everybody that this node is about to stop, then closes every connection, within about half a second.
    pub async fn stop(&self) {
        self.service.draining.store(true, Ordering::Relaxed);
        self.service.stopping.store(true, Ordering::Relaxed);
        self.tell_draining(RECONNECT_AFTER);
        self.transport.close().await;
        self.service.say_farewell();
        if let Some(redis) = &self.redis {
            self.write_stale(self.service.now(), redis);
            redis.flush(FLUSH_WITHIN).await;
        }
    }

    fn tell_draining(&self, reconnect_after: Duration) {
        let event = Event::draining(reconnect_after);
        self.service
            .sockets
            .deliver_to_all(self.service.now(), &event);
    }

    /// Does what was put off, for as long as the process lives.
    async fn keep_agenda(self) {
        let service = &self.service;
        loop {
            let due = service.agenda.due().await;
            let now = service.now();
            for job in due {
                match job {
                    Job::Chore(chore) => self.transport.see_to(&chore),
                    Job::Tick(session, due) => service.tick(now, &session, due),
                    Job::Lapse(absence) => service.lapse(now, &absence),
                    Job::Rejoin(names) => self.transport.for_each(|connection| {
                        service.join_again(now, connection, &names);
                    }),
                }
            }
        }
    }

    /// Forgets what nobody needs any more and replaces credentials, for as long as the process lives.
    async fn keep_clean(self) {
        loop {
            sleep(sweep_interval(self.service.credentials.ttl())).await;
            self.sweep().await;
        }
    }

    /// A few sockets at a time: events do not wait until thousands have been seen.
    async fn sweep(&self) {
        let service = &self.service;
        let now = service.now();
        for session in service.store.sweep(now) {
            service.forget_addresses(&session);
        }
        service.sockets.expire_lost(now);
        for some in service.sockets.all().chunks(SWEPT_AT_ONCE) {
            let now = service.now();
            service.sockets.expire(now, some);
            self.transport
                .visit(some, |connection| service.refresh(now, connection));
            yield_now().await;
        }
    }
}

const SWEPT_AT_ONCE: usize = 64;

/// Often enough that no credential is much older than it should be when it is replaced.
fn sweep_interval(ttl: Duration) -> Duration {
    (ttl / 50).clamp(Duration::from_millis(100), Duration::from_secs(10))
}

/// What is not written by then is left to the log.
const FLUSH_WITHIN: Duration = Duration::from_millis(250);

/// When clients are to come back after this node has stopped: there is another, or a new process.
const RECONNECT_AFTER: Duration = Duration::from_secs(1);

impl fmt::Debug for Signaling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signaling").finish_non_exhaustive()
    }
}

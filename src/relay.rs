//! The STUN/TURN relay ([RFC 8656](https://www.rfc-editor.org/rfc/rfc8656)): its front door.
//!
//! Clients are spread by the kernel over [`Settings::workers`] threads; an allocation lives and dies on one of them.

pub mod engine;
pub mod tls;
pub mod wire;

mod inherited;
mod inspect;
mod listen;
mod worker;

pub use inherited::Inherited;
pub use listen::{Bound, Listen, listen_fix};
pub use worker::{CLIENT_BUFFER_BYTES, DtlsIdentity, ExternalAddr, Unsent, from_here};

use std::{
    io,
    net::SocketAddr,
    ops::RangeInclusive,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
};

use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use crate::clock::{Now, UnixSeconds};
use crate::credentials::Credentials;
use crate::ident::UserId;
use crate::relay::engine::five_tuple::Transport;
use crate::relay::engine::limits::{self, Limits};
use crate::relay::engine::share::Share;
use crate::relay::engine::signaled::{PeerMode, SignaledPeers};
use crate::relay::engine::{PortSharing, RelayedAddrs, Rules};
use crate::relay::tls::Shown;
use crate::relay::worker::{Guests, Mailbox, RelayPorts, Seat, Watch};

/// What the operator decides about the relay.
#[derive(Clone, Debug)]
pub struct Settings {
    /// STUN and TURN over UDP.
    pub listen_udp: Vec<Listen>,
    /// The port that clients who find out how their NAT behaves are also answered from, where two of the addresses in
    /// `listen_udp` are of one family ([RFC 5780](https://www.rfc-editor.org/rfc/rfc5780)).
    pub alternate_port: Option<u16>,
    /// STUN and TURN over TCP.
    pub listen_tcp: Vec<Listen>,
    /// STUN and TURN over TLS.
    pub listen_tls: Vec<Listen>,
    /// What TLS clients are shown.
    pub tls: Shown,
    /// STUN and TURN over DTLS.
    pub listen_dtls: Vec<Listen>,
    /// What DTLS clients are shown; without it, nothing listens for them.
    pub dtls: Option<DtlsIdentity>,
    /// The addresses that relayed transport addresses have: the first of each family is given out.
    pub external: Vec<ExternalAddr>,
    /// The ports that relayed transport addresses have.
    pub relay_ports: RangeInclusive<u16>,
    /// How many threads; at least 1.
    pub workers: usize,
    /// Whether clients are told of ICMP messages about what they sent.
    pub icmp: bool,
    /// How much there may be of anything.
    pub limits: limits::Settings,
    /// The rules.
    pub engine: engine::Settings,
}

/// Why the relay did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address can't be listened on.
    #[error("cannot listen on {transport:?} {addr}: {source}")]
    Listen {
        /// Over what.
        transport: Transport,
        /// Where.
        addr: SocketAddr,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A worker's thread can't be set up.
    #[error("cannot start a relay worker: {0}")]
    Worker(#[from] io::Error),
}

/// The relay's state in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// What the engines know, added up.
    pub engine: engine::Snapshot,
    /// TCP and TLS connections open, and DTLS sessions.
    pub connections: u64,
    /// What could not be sent.
    pub unsent: Unsent,
    /// What the limits have refused since the start.
    pub refused: limits::Refused,
    /// UDP relay ports in use or reserved, of all families.
    pub ports_in_use: usize,
    /// TCP relay ports in use, of all families.
    pub tcp_ports_in_use: usize,
    /// Relay ports that there are, of all families: so many of UDP, and of TCP.
    pub ports_total: usize,
}

/// The running relay. Clones are the same relay.
#[derive(Clone, Debug)]
pub struct Relay(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bound: Bound,
    ports: Arc<RelayPorts>,
    signaled: Arc<SignaledPeers>,
    limits: Arc<Limits>,
    peer_mode: PeerMode,
    /// Of this server, whatever the rules become.
    own_listeners: Vec<SocketAddr>,
    mailboxes: Arc<[Arc<Mailbox>]>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    ended: Arc<Notify>,
}

impl Relay {
    /// Binds everything, then starts the workers; they serve when this returns.
    ///
    /// # Errors
    /// When an address can't be listened on, or a thread can't be set up.
    pub fn start(settings: Settings, credentials: Arc<Credentials>) -> Result<Self, StartError> {
        Self::start_on(&mut Inherited::default(), settings, credentials)
    }

    /// The same, on sockets that are open already, as far as they are at the right addresses.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_on(
        inherited: &mut Inherited,
        mut settings: Settings,
        credentials: Arc<Credentials>,
    ) -> Result<Self, StartError> {
        settings.engine.discovery = listen::squares(&settings);
        let tls = settings.tls.config(&tls::ALPN_PROTOCOLS);
        let acceptor = TlsAcceptor::from(tls.map_err(io::Error::other)?);
        let (bound, listeners) = listen::bind_all(&settings, inherited)?;
        let policy = &mut settings.engine.policy;
        policy.own_listeners.extend(bound.all());
        let publics = settings.external.iter().map(|own| own.public);
        let signaled = Arc::new(SignaledPeers::new(publics));
        let publics = settings.external.iter().map(|own| own.public);
        settings.engine.relayed = Arc::new(RelayedAddrs::new(publics, &settings.relay_ports));
        let sharing_workers = match settings.engine.port_sharing {
            PortSharing::Always | PortSharing::WhenFull => listeners.len(),
            PortSharing::Never => 0,
        };
        let ports = Arc::new(RelayPorts::new(
            settings.external,
            settings.relay_ports,
            sharing_workers,
            settings.icmp,
        ));
        let limits = Limits::new(Now::read(), settings.limits);
        let ended = Arc::new(Notify::new());
        let watches = listeners.iter().map(|_| Watch::new());
        let watches = watches.collect::<Result<Vec<_>, _>>()?;
        let mailboxes = watches
            .iter()
            .map(|watch| Mailbox::new(Arc::clone(watch.bell())));
        let mailboxes: Arc<[_]> = mailboxes.map(Arc::new).collect();
        let guests = Arc::new(Guests::default());
        let of = u32::try_from(mailboxes.len()).unwrap_or(u32::MAX);
        let seats = (0..).zip(listeners).zip(watches).zip(&*mailboxes);
        let seats = seats.map(|(((number, listeners), watch), mailbox)| Seat {
            watch,
            udp: listeners.udp,
            tcp: listeners.tcp,
            tls: listeners.tls,
            dtls: listeners.dtls,
            dtls_identity: settings.dtls.clone(),
            acceptor: acceptor.clone(),
            ports: Arc::clone(&ports),
            engine: engine::Settings {
                share: Share { number, of },
                ..settings.engine.clone()
            },
            credentials: Arc::clone(&credentials),
            signaled: Arc::clone(&signaled),
            limits: Arc::clone(&limits),
            mailbox: Arc::clone(mailbox),
            mailboxes: Arc::clone(&mailboxes),
            guests: Arc::clone(&guests),
            ended: Arc::clone(&ended),
        });
        let seats: Vec<_> = seats.collect();
        let relay = Self(Arc::new(Inner {
            bound,
            ports,
            signaled: Arc::clone(&signaled),
            limits: Arc::clone(&limits),
            peer_mode: settings.engine.peer_mode,
            own_listeners: settings.engine.policy.own_listeners.clone(),
            mailboxes: Arc::clone(&mailboxes),
            threads: Mutex::default(),
            ended,
        }));
        for (number, seat) in seats.into_iter().enumerate() {
            relay.start_worker(number, seat)?;
        }
        Ok(relay)
    }

    /// The addresses really bound.
    #[must_use]
    pub fn bound(&self) -> &Bound {
        &self.0.bound
    }

    /// Where signaling says which peers its participants were told of, before they are.
    #[must_use]
    pub fn signaled(&self) -> &Arc<SignaledPeers> {
        &self.0.signaled
    }

    /// What became of other peers at the start; where that was [`PeerMode::Any`], nobody need say anything.
    #[must_use]
    pub fn peer_mode(&self) -> PeerMode {
        self.0.peer_mode
    }

    /// Ends the user's allocations, and refuses credentials of theirs that expire at or before `until`.
    ///
    /// Never blocks; the ports are free a moment later.
    pub fn revoke(&self, user: UserId, until: UnixSeconds) {
        for mailbox in &*self.0.mailboxes {
            mailbox.revoke(user.clone(), until);
        }
    }

    /// These limits and rules hold from now on, for all that there is, too.
    ///
    /// Never blocks; the workers follow a moment later. What listens keeps being off limits.
    pub fn apply(&self, limits: limits::Settings, mut rules: Rules) {
        self.0.limits.apply(limits);
        let own = &mut rules.policy.own_listeners;
        own.clone_from(&self.0.own_listeners);
        let rules = Arc::new(rules);
        for mailbox in &*self.0.mailboxes {
            mailbox.apply(Arc::clone(&rules));
        }
    }

    /// No allocation begins any more; those that there are go on.
    ///
    /// Never blocks.
    pub fn drain(&self) {
        for mailbox in &*self.0.mailboxes {
            mailbox.drain();
        }
    }

    /// Resolves when a worker ends that nobody stopped: clients then lose their allocations, so the process should end.
    pub async fn ended(&self) {
        self.0.ended.notified().await;
    }

    /// Ends the workers and closes their sockets.
    pub async fn stop(&self) {
        let threads = self.tell_all_to_stop();
        let joined = tokio::task::spawn_blocking(|| join(threads));
        if joined.await.is_err() {
            tracing::error!("a relay worker could not be awaited");
        }
    }

    fn start_worker(&self, number: usize, seat: Seat) -> Result<(), StartError> {
        let (ready, started) = mpsc::sync_channel(1);
        let body = move || {
            let failed = ready.clone();
            if let Err(error) = worker::run(seat, move || drop(ready.send(Ok(())))) {
                // Whoever started us has not heard of us yet.
                drop(failed.send(Err(error)));
            }
        };
        let name = format!("relay-{number}");
        let thread = thread::Builder::new().name(name).spawn(body)?;
        self.threads().push(thread);
        match started.recv() {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                join(self.tell_all_to_stop());
                Err(error.into())
            }
            Err(_) => Err(io::Error::other("its thread ended").into()),
        }
    }

    fn tell_all_to_stop(&self) -> Vec<JoinHandle<()>> {
        self.0.tell_all_to_stop();
        std::mem::take(&mut *self.threads())
    }

    fn threads(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        let threads = &self.0.threads;
        threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn tell_all_to_stop(&self) {
        for mailbox in &*self.mailboxes {
            mailbox.stop();
        }
    }
}

impl Drop for Inner {
    /// A relay that nobody can reach any more ends; only [`Relay::stop`] waits for it.
    fn drop(&mut self) {
        self.tell_all_to_stop();
    }
}

fn join(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        if thread.join().is_err() {
            tracing::error!("a relay worker panicked");
        }
    }
}

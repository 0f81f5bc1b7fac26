//! A relay of the test's own, with ports of its own.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use setu::clock::Now;
use setu::credentials::{self, Credential, Credentials};
use setu::ident::ParticipantId;
use setu::logging::Redacted;
use setu::relay::engine::allocate::LIFETIMES;
use setu::relay::engine::limits;
use setu::relay::engine::policy::PeerPolicy;
use setu::relay::engine::share::Share;
use setu::relay::engine::signaled::PeerMode;
use setu::relay::engine::{Auth, ChannelRange, PortSharing, Settings as EngineSettings};
use setu::relay::tls::{Certificate, Identity};
use setu::relay::{ExternalAddr, Listen, Relay, Settings, Snapshot, StartError};

pub(crate) const USER: &str = "turnuser";
pub(crate) const PASSWORD: &str = "turnpass";
pub(crate) const SECRET: &str = "north";
pub(crate) const REALM: &str = "vrinda-sangha.local";

/// How long anything that should happen may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct World {
    pub(crate) relay: Relay,
    pub(crate) credentials: Arc<Credentials>,
}

impl World {
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    /// With relayed addresses of both families.
    pub(crate) fn dual() -> Self {
        Self::with(|settings| {
            settings.external = both_loopbacks();
        })
    }

    pub(crate) fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::try_with(change).unwrap()
    }

    pub(crate) fn try_with(change: impl FnOnce(&mut Settings)) -> Result<Self, StartError> {
        let mut settings = settings();
        change(&mut settings);
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let policy = &mut settings.engine.policy;
        policy.relayed = vec![(loopback, settings.relay_ports.clone())];
        let credentials = Arc::new(Credentials::new(credentials::Settings {
            realm: REALM.to_owned(),
            secrets: vec![Redacted::new(SECRET.to_owned())],
            ttl: Duration::from_secs(3600),
            users: vec![(USER.to_owned(), Redacted::new(PASSWORD.to_owned()))],
        }));
        let relay = Relay::start(settings, Arc::clone(&credentials))?;
        Ok(Self { relay, credentials })
    }

    pub(crate) fn udp(&self) -> SocketAddr {
        self.relay.bound().udp[0]
    }

    pub(crate) fn tcp(&self) -> SocketAddr {
        self.relay.bound().tcp[0]
    }

    pub(crate) fn tls(&self) -> SocketAddr {
        self.relay.bound().tls[0]
    }

    pub(crate) fn dtls(&self) -> SocketAddr {
        self.relay.bound().dtls[0]
    }

    pub(crate) fn issue(&self, participant: &ParticipantId) -> Credential {
        let now = Now::read().unix.seconds();
        self.credentials.issue(now, participant)
    }

    /// Waits until the relay's numbers are as wanted.
    pub(crate) async fn until(&self, wanted: &str, is_so: impl Fn(&Snapshot) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let snapshot = self.relay.snapshot().await;
            if is_so(&snapshot) {
                return;
            }
            let in_time = tokio::time::Instant::now() < deadline;
            assert!(in_time, "never {wanted}: {snapshot:?}");
            // Asking wakes every worker: not so often that nothing else gets done.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(crate) async fn until_ports_in_use(&self, ports: usize) {
        let wanted = format!("{ports} ports in use");
        self.until(&wanted, |snapshot| snapshot.ports_in_use == ports)
            .await;
    }
}

pub(crate) fn both_loopbacks() -> Vec<ExternalAddr> {
    vec![on(Ipv4Addr::LOCALHOST), on(Ipv6Addr::LOCALHOST)]
}

fn on(ip: impl Into<IpAddr>) -> ExternalAddr {
    let ip = ip.into();
    ExternalAddr {
        public: ip,
        local: ip,
    }
}

fn settings() -> Settings {
    let relay_ports = free_range();
    // None that the system hands out: a peer that happened on the port of a listener, be it of the other transport, would be
    // refused.
    let listen = |place| {
        vec![Listen {
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, relay_ports.end() + place)),
            required: true,
        }]
    };
    let names = vec!["localhost".to_owned()];
    let certificate = Certificate::load(Identity::SelfSigned { names }).unwrap();
    Settings {
        listen_udp: listen(1),
        alternate_port: None,
        listen_tcp: listen(2),
        listen_tls: listen(3),
        tls: certificate.tls().unwrap(),
        listen_dtls: listen(4),
        dtls: certificate.dtls(),
        external: vec![on(Ipv4Addr::LOCALHOST)],
        relay_ports,
        workers: 2,
        icmp: true,
        limits: limits::Settings::default(),
        engine: EngineSettings {
            auth: Auth::Required,
            discovery: Vec::new(),
            channels: ChannelRange::Rfc8656,
            software: None,
            lifetimes: LIFETIMES,
            strict_expiry: false,
            policy: PeerPolicy {
                allow_private_and_loopback: true,
                ..PeerPolicy::default()
            },
            peer_mode: PeerMode::Any,
            alternates: Vec::new(),
            tokens: None,
            nonce_key: Redacted::new([7; 32]),
            tcp_relay: true,
            share: Share::ALONE,
            mobility: true,
            port_sharing: PortSharing::WhenFull,
            relayed: Arc::default(),
        },
    }
}

/// As many ports as the default range has, below those that the system hands out; the four behind them are free too, for
/// either transport.
pub(crate) fn free_range() -> RangeInclusive<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let process = u16::try_from(std::process::id() % 100).unwrap();
    for _ in 0..100 {
        let block = (process * 7 + NEXT.fetch_add(1, Ordering::Relaxed)) % 200;
        let first = 20_000 + block * 50;
        let range = first..=first + 40;
        let is_free = |port| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        let is_free_for_tcp = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        let mut behind = range.end() + 1..=range.end() + 4;
        if range.clone().chain(behind.clone()).all(is_free) && behind.all(is_free_for_tcp) {
            return range;
        }
    }
    panic!("no free range of ports");
}

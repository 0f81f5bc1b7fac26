//! The one file that knows everyone: build, spawn, say what is open, end cleanly.

use std::{fs, future::Future, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use serde::Serialize;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use crate::clock::Now;
use crate::config::Config;
use crate::credentials::Credentials;
use crate::entropy;
use crate::http::{
    self, administrator::AdminDoor, forwarded::TrustedProxies, listeners::Room,
    origin::AllowedOrigins, ready::Readiness,
};
use crate::ident::NodeId;
use crate::logging::{Levels, Redacted};
use crate::relay::{
    Inherited, Listen, Relay, StartError, engine::five_tuple::Transport, listen_fix,
};
use crate::signaling::{Signaling, ice_servers::IceServers};
use crate::source::Throttle;
use crate::store::log::Log;
use crate::store::redis::{LogEvent, Redis};
use crate::store::{self, Store};

mod certificates;
mod descriptors;
mod doors;
mod drain;
pub mod health;
mod issuing;
mod off_limits;
mod reload;
mod signals;
mod summary;
mod supervisor;
mod urls;

use certificates::Certificates;
use doors::Doors;
use drain::Drained;
use issuing::Issuing;
use reload::Live;
pub use signals::{Asked, Signals};
pub use supervisor::inherited;

/// Everything, running.
pub struct Server {
    addresses: Addresses,
    summary: String,
    readiness: Readiness,
    signaling: Signaling,
    relay: Relay,
    live: Live,
    informed: Option<JoinHandle<()>>,
    http: JoinHandle<()>,
    stop_http: watch::Sender<bool>,
}

/// Where clients reach this server: the addresses really bound.
#[derive(Clone, Debug, Serialize)]
struct Addresses {
    http: Vec<SocketAddr>,
    metrics: Vec<SocketAddr>,
    udp: Vec<SocketAddr>,
    tcp: Vec<SocketAddr>,
    tls: Vec<SocketAddr>,
    dtls: Vec<SocketAddr>,
    /// Where an authority looks for proof.
    acme: Vec<SocketAddr>,
}

impl Server {
    /// Binds everything that is not `inherited`, then serves. `levels` are what the administrator may change.
    ///
    /// # Errors
    /// When an address can't be had: one line with the operating system's reason and the key to change.
    pub async fn start(
        config: Config,
        levels: Levels,
        mut inherited: Inherited,
    ) -> anyhow::Result<Self> {
        let credentials = Arc::new(Credentials::new(config.credentials.clone()));
        let issuing = Issuing::bind(config.acme.as_ref(), &mut inherited)?;
        let acme = issuing.as_ref().map(Issuing::bound).unwrap_or_default();
        let (doors, relay) = bind(&config, &mut inherited, &acme, &credentials).await?;
        let addresses = Addresses::of(&doors, &relay, acme);
        let urls = urls::relay_urls(&config.relay_host, relay.bound());
        let ice_servers = Arc::new(IceServers::new(urls, Arc::clone(&credentials)));
        let summary = summary::Facts {
            config: &config,
            addresses: &addresses,
            ice_servers: &ice_servers,
        }
        .write(Now::read());
        let (store, redis) = store(&config.store)?;
        if let Some((redis, _)) = redis.as_ref().filter(|_| config.random_secret) {
            share_secret(redis.clone(), Arc::clone(&credentials)).await;
        }
        let redis_of_reload = redis.as_ref().map(|(redis, _)| redis.clone());
        let signaling = Signaling::new(
            config.signaling.clone(),
            store,
            redis,
            relay.clone(),
            Arc::clone(&ice_servers),
            Arc::clone(&credentials),
        );
        let readiness = Readiness::default();
        let live = Live {
            certificates: Certificates::new(&config),
            credentials,
            relay: relay.clone(),
            signaling: signaling.clone(),
            http: http_state(
                config.http.clone(),
                &signaling,
                &relay,
                ice_servers,
                &readiness,
                levels.clone(),
            )?,
            levels,
            redis: redis_of_reload,
            config,
        };
        signaling.taken_up(TAKE_UP_TIMEOUT).await;
        let (stop_http, stopped) = watch::channel(false);
        if let Some(issuing) = issuing {
            issuing.start(stopped.clone());
        }
        let tls = acceptor(&live.config.http)?;
        let http = doors.open(&live.http, tls, stopped);
        readiness.set(true);
        supervisor::ready();
        let informed = supervisor::keep_informed(relay.clone(), signaling.clone());
        info!(http = ?addresses.http, udp = ?addresses.udp, tcp = ?addresses.tcp, tls = ?addresses.tls, dtls = ?addresses.dtls, "ready");
        Ok(Self {
            addresses,
            summary,
            readiness,
            signaling,
            relay,
            live,
            informed,
            http,
            stop_http,
        })
    }

    /// What is open, and what to do with it; for people.
    #[must_use]
    pub fn summary(&self) -> &str {
        &self.summary
    }

    /// Writes the bound addresses as JSON. Whoever finds the file finds all of it.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn write_addresses(&self, file: &Path) -> anyhow::Result<()> {
        let unfinished = file.with_extension("unfinished");
        fs::write(&unfinished, serde_json::to_vec(&self.addresses)?)
            .and_then(|()| fs::rename(&unfinished, file))
            .with_context(|| format!("cannot write {}", file.display()))
    }

    /// Serves, and follows the configuration, until a signal asks for the end. Waits for those who are still there as
    /// long as the configuration says, then stops within two seconds, whoever is still connected.
    ///
    /// # Errors
    /// When the relay broke down before that: who supervises this process should start it anew.
    pub async fn run(mut self, mut signals: Signals) -> anyhow::Result<()> {
        let mut looks = interval(certificates::LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let served = loop {
            tokio::select! {
                _ = looks.tick() => self.live.certificates.look(),
                asked = signals.next() => match asked {
                    Asked::Reload => self.live.reload().await,
                    Asked::End => break Ok(()),
                },
                () = self.relay.ended() => {
                    break Err(anyhow::anyhow!("a relay worker ended by itself: its log line says why"));
                }
            }
        };
        self.readiness.set(false);
        supervisor::stopping(self.live.config.drain);
        let drained = match &served {
            Ok(()) => self.live.drain(&mut signals).await,
            Err(_) => Drained::Done,
        };
        info!("stopping");
        let patience = drained.patience();
        within(patience, "signaling", self.signaling.stop()).await;
        self.stop_http.send_replace(true);
        let http = async {
            // Ended or panicked: either way nothing of it is left.
            let _ = self.http.await;
        };
        tokio::join!(
            within(patience, "HTTP", http),
            within(patience, "the relay", self.relay.stop())
        );
        if let Some(informed) = self.informed {
            informed.abort();
        }
        info!("stopped");
        served
    }
}

/// Everything that is listened on.
async fn bind(
    config: &Config,
    inherited: &mut Inherited,
    acme: &[SocketAddr],
    credentials: &Arc<Credentials>,
) -> anyhow::Result<(Doors, Relay)> {
    let descriptors = descriptors::raise();
    descriptors::make_room(descriptors, config.descriptors_wanted());
    let doors = Doors::bind(&config.http, inherited)?;
    let mut relay = config.relay.clone();
    relay.engine.policy.own_listeners.extend(acme);
    off_limits::extend(&mut relay.engine.policy, &doors, &config.store).await;
    let alternates = relay.alternates();
    let relay = Relay::start_on(inherited, relay, Arc::clone(credentials))
        .map_err(|error| with_fix(error, &alternates))?;
    // Not before everything is bound: a failed start says one line.
    warn_of_unused(inherited);
    descriptors::warn_if_few(descriptors, config.descriptors_wanted());
    Ok((doors, relay))
}

/// Sessions in this process, in step with those of other nodes where there is a Redis.
fn store(settings: &store::Settings) -> anyhow::Result<(Store, Option<Opened>)> {
    let node = NodeId(entropy::number());
    let Some(url) = &settings.redis_url else {
        return Ok((Store::memory(node), None));
    };
    let (redis, events) = Redis::open(url)
        .map_err(|error| anyhow::anyhow!("{error}; set store.redis_url to another"))?;
    let appender = redis.clone();
    let log = Log::new(node, move |entry| appender.append(entry));
    Ok((Store::replicated(node, log), Some((redis, events))))
}

/// A Redis, and what is heard from there.
type Opened = (Redis, mpsc::Receiver<LogEvent>);

/// Credentials of one node open the relays of all. The secret is agreed on again whenever Redis is reached, which may
/// have been away until then, or may have forgotten it.
async fn share_secret(redis: Redis, credentials: Arc<Credentials>) {
    let Some(mut own) = credentials.secret() else {
        return;
    };
    let mut connections = redis.connections();
    match redis.share_secret(own.expose(), SECRET_TIMEOUT).await {
        Some(secret) => {
            own = Redacted::new(secret);
            credentials.adopt(own.clone());
        }
        None => {
            warn!("Redis is away: until it comes, no other node accepts this one's credentials");
        }
    }
    tokio::spawn(async move {
        loop {
            let shared = redis.share_secret(own.expose(), Duration::MAX).await;
            // The operator may have set another one meanwhile, which is not for this task to replace.
            if credentials.secret().as_ref() != Some(&own) {
                return;
            }
            if let Some(secret) = shared.filter(|secret| secret != own.expose()) {
                warn!(
                    "Redis holds another secret: nodes that never had this one's refuse what it signed"
                );
                own = Redacted::new(secret);
                credentials.adopt(own.clone());
            }
            connections.next().await;
        }
    });
}

impl Addresses {
    fn of(doors: &Doors, relay: &Relay, acme: Vec<SocketAddr>) -> Self {
        let bound = relay.bound().clone();
        Self {
            http: doors.http(),
            metrics: doors.metrics(),
            udp: bound.udp,
            tcp: bound.tcp,
            tls: bound.tls,
            dtls: bound.dtls,
            acme,
        }
    }
}

/// WebSockets are of HTTP/1.1 ([RFC 6455 §4.1](https://www.rfc-editor.org/rfc/rfc6455#section-4.1)): nothing else is
/// agreed on.
fn acceptor(settings: &http::Settings) -> anyhow::Result<Option<TlsAcceptor>> {
    let config = settings.tls.as_ref().map(|tls| tls.config(&[b"http/1.1"]));
    Ok(config.transpose()?.map(TlsAcceptor::from))
}

fn room(settings: &http::Settings) -> Room {
    Room::new(
        settings.connections,
        settings.connections_per_source,
        TrustedProxies::new(settings.trusted_proxies.clone()),
    )
}

fn http_state(
    settings: http::Settings,
    signaling: &Signaling,
    relay: &Relay,
    ice_servers: Arc<IceServers>,
    readiness: &Readiness,
    levels: Levels,
) -> anyhow::Result<http::State> {
    let origins = settings.allowed_origins.iter().map(String::as_str);
    let allowed_origins = AllowedOrigins::new(origins)
        .map_err(|origin| anyhow::anyhow!("{origin:?} is no web origin"))?;
    let room = room(&settings);
    let door = AdminDoor::new(settings.admin_token, settings.admin_open_to_loopback);
    Ok(http::State {
        signaling: signaling.clone(),
        relay: relay.clone(),
        ice_servers,
        readiness: readiness.clone(),
        allowed_origins,
        trusted_proxies: TrustedProxies::new(settings.trusted_proxies),
        access: Arc::new(ArcSwap::from_pointee(settings.access)),
        credentials_per_minute: Arc::new(Throttle::new(settings.credentials_per_minute)),
        admin: Arc::new(door),
        live: http::live::Live::start(signaling.clone(), relay.clone()),
        levels,
        room,
        metrics_apart: !settings.metrics_listen.is_empty(),
        started: Now::read().unix,
    })
}

/// How long the start waits for Redis, for the secret and then for what it holds.
const SECRET_TIMEOUT: Duration = Duration::from_secs(2);
const TAKE_UP_TIMEOUT: Duration = Duration::from_secs(3);

fn with_fix(error: StartError, alternates: &[Listen]) -> anyhow::Error {
    let (transport, addr, reason) = match &error {
        StartError::Listen {
            transport,
            addr,
            source,
        } => (*transport, *addr, source),
        StartError::Worker(_) => return error.into(),
    };
    let key = match transport {
        Transport::Udp if alternates.iter().any(|own| own.addr == addr) => "turn.alternate_port",
        Transport::Udp => "turn.listen_udp",
        Transport::Tcp => "turn.listen_tcp",
        Transport::Tls => "turn.listen_tls",
        Transport::Dtls => "turn.listen_dtls",
    };
    anyhow::anyhow!("{error}; {}", listen_fix(reason, key))
}

fn warn_of_unused(inherited: &Inherited) {
    for addr in inherited.addresses() {
        warn!(%addr, "nothing listens on this socket that the service manager passed");
    }
}

async fn within(patience: Duration, what: &str, stopping: impl Future<Output = ()>) {
    if timeout(patience, stopping).await.is_err() {
        warn!("{what} did not stop in time");
    }
}

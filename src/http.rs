//! What browsers and operators reach over HTTP: the router, nothing else. Each route is a file of its own.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    middleware::{self, Next},
    response::Response,
    routing::get,
};
use ipnet::IpNet;
use tokio::time::timeout;

use crate::access::Access;
use crate::clock::UnixMillis;
use crate::logging::{Levels, Redacted};
use crate::relay::{Listen, Relay, tls::Shown};
use crate::signaling::{Signaling, ice_servers::IceServers};
use crate::source::{PerSource, Throttle};

pub mod administrator;
pub mod forwarded;
pub mod listeners;
pub mod live;
pub mod metrics;
pub mod origin;
pub mod problem;
pub mod ready;
pub mod stats;

mod admin;
mod bearer;
mod health;
mod ice_servers;
mod pages;
mod slots;

use administrator::AdminDoor;
use forwarded::TrustedProxies;
use listeners::Room;
use live::Live;
use origin::AllowedOrigins;
use problem::Problem;
use ready::Readiness;

/// What the operator decides about HTTP.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen.
    pub listen: Vec<Listen>,
    /// What HTTPS clients are shown; without it, HTTP is served in clear.
    pub tls: Option<Shown>,
    /// Where to listen for those who watch, and nobody else; where nowhere, they come to `listen` too.
    pub metrics_listen: Vec<Listen>,
    /// Web origins whose pages may use this server, besides its own.
    pub allowed_origins: Vec<String>,
    /// Who is given credentials.
    pub access: Access,
    /// What opens the administration's routes, and every other.
    pub admin_token: Redacted<String>,
    /// Whether the administration's routes are open to this machine, without a token.
    pub admin_open_to_loopback: bool,
    /// Whose `X-Forwarded-For` says where a request comes from.
    pub trusted_proxies: Vec<IpNet>,
    /// Connections at a time, of all sources; without one there is no limit.
    pub connections: Option<usize>,
    /// Connections at a time, of each source.
    pub connections_per_source: PerSource,
    /// Credentials handed out to each source in a minute.
    pub credentials_per_minute: PerSource,
}

/// What the routes ask.
#[derive(Clone)]
pub struct State {
    /// Counts, and Socket.IO itself.
    pub signaling: Signaling,
    /// Counts.
    pub relay: Relay,
    /// Credentials to hand out.
    pub ice_servers: Arc<IceServers>,
    /// Whether new work is welcome.
    pub readiness: Readiness,
    /// Whose pages may ask.
    pub allowed_origins: AllowedOrigins,
    /// Whose word is taken for where a request comes from.
    pub trusted_proxies: TrustedProxies,
    /// Who is given credentials.
    pub access: Arc<ArcSwap<Access>>,
    /// How often a source is.
    pub credentials_per_minute: Arc<Throttle>,
    /// Who may administer.
    pub admin: Arc<AdminDoor>,
    /// What goes on, for those who watch.
    pub live: Live,
    /// What is logged.
    pub levels: Levels,
    /// Where connections stay.
    pub room: Room,
    /// Whether metrics have listeners of their own.
    pub metrics_apart: bool,
    /// When the process began.
    pub started: UnixMillis,
}

impl State {
    /// These settings hold from the next request on; what is about listening and proxies stays.
    pub fn apply(&self, settings: &Settings) {
        let origins = settings.allowed_origins.iter().map(String::as_str);
        if let Err(origin) = self.allowed_origins.replace(origins) {
            tracing::warn!(origin, "no web origin: the earlier ones stay");
        }
        self.access.store(Arc::new(settings.access.clone()));
        self.admin.set_token(settings.admin_token.clone());
        self.credentials_per_minute
            .set_limit(settings.credentials_per_minute);
    }
}

/// Every route, with Socket.IO beside them and the origin rules around all of it.
pub fn router(state: State) -> Router {
    let signaling = state.signaling.clone();
    let origins = state.allowed_origins.clone();
    let proxies = state.trusted_proxies.clone();
    let metrics = match state.metrics_apart {
        true => Router::new(),
        false => metrics::routes(),
    };
    let router = Router::new()
        .route("/health", get(health::answer))
        .route("/ready", get(ready::answer))
        .route("/ice-servers", get(ice_servers::rtc_configuration))
        .route(
            "/turn",
            get(ice_servers::turn_rest_query).post(ice_servers::turn_rest_form),
        )
        .merge(admin::routes())
        .route("/api/live", get(live::watch))
        .merge(pages::routes())
        .merge(metrics)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .fallback(problem::not_found)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(in_time))
        .with_state(state);
    signaling
        .around(router)
        .layer(middleware::from_fn_with_state(origins, origin::guard))
        .layer(middleware::from_fn_with_state(proxies, forwarded::resolve))
}

/// A form with a user name and little else; Socket.IO has a limit of its own.
const BODY_BYTES_MAX: usize = 4096;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Answers are made at once: what takes long is a body that does not come.
async fn in_time(request: Request, next: Next) -> Result<Response, Problem> {
    timeout(BODY_TIMEOUT, next.run(request))
        .await
        .map_err(|_| Problem::late())
}

//! Engine.IO 4 ([protocol](https://socket.io/docs/v4/engine-io-protocol/)): messages to and from browsers, in order, over
//! WebSocket and long-polling.
//!
//! A session has one task, and nothing else while it is idle: HTTP's own buffers are gone with the handshake.

mod frame;
mod keeper;
mod link;
mod outbox;
mod payload;
mod polling;
mod pulse;
mod refusal;
mod socket;
mod upgrade;

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use axum::{
    Router,
    extract::{Query, Request},
    http::{Method, header},
    response::{IntoResponse as _, Response},
    routing::any,
};
use rustc_hash::FxBuildHasher;
use serde::Deserialize;
use tokio::sync::Notify;

use crate::clock::Now;
use crate::source::Source;

use keeper::Keeper;
use link::Link;
use payload::Open;
use polling::Trial;
use refusal::Refusal;

pub(super) use outbox::Full;
pub(super) use socket::{Sid, Socket};

/// Who serves what clients say. Of each session's calls one is over before the next, `closed` being the last; no lock
/// of the session's is held meanwhile.
pub(super) trait Handler: Send + Sync + 'static {
    /// Kept with each session.
    type Data: Send + Sync + 'static;

    /// A client comes from there.
    fn admit(&self, source: Source) -> Self::Data;
    /// Its session is open.
    fn opened(&self, socket: &Arc<Socket<Self::Data>>);
    /// It says something.
    fn message(&self, socket: &Arc<Socket<Self::Data>>, text: &str);
    /// It sends bytes.
    fn binary(&self, socket: &Arc<Socket<Self::Data>>, bytes: &[u8]);
    /// Its session is over, whoever ended it.
    fn closed(&self, socket: &Arc<Socket<Self::Data>>);
}

/// What the handler decides.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// The largest body that may be posted; clients are told, and send no larger message.
    pub(super) payload_bytes: usize,
    /// The largest message that is read from a WebSocket.
    pub(super) message_bytes: usize,
    /// How much may wait to be sent to a client.
    pub(super) outbox_bytes: usize,
    /// How long everything may take.
    pub(super) times: Times,
}

/// How long everything may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// From a client's last answer until it is asked again.
    pub(super) ping_interval: Duration,
    /// Until it must have answered.
    pub(super) ping_timeout: Duration,
    /// From long-polling to WebSocket.
    pub(super) upgrade: Duration,
    /// A client that reads nothing for so long is cut off.
    pub(super) stuck: Duration,
    /// Until a client has heard that its session is over.
    pub(super) goodbye: Duration,
}

/// The Engine.IO server. Clones are the same.
pub(super) struct Engine<H: Handler>(Arc<Shared<H>>);

struct Shared<H: Handler> {
    handler: H,
    settings: ArcSwap<Settings>,
    sessions: RwLock<Sessions<H::Data>>,
    emptied: Notify,
    opened: [AtomicU64; 2],
    upgraded: AtomicU64,
}

/// Its sessions in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Those over long-polling now.
    pub polling: usize,
    /// Those over WebSocket now.
    pub websocket: usize,
    /// Those that have begun over long-polling.
    pub opened_polling: u64,
    /// Those that have begun over WebSocket.
    pub opened_websocket: u64,
    /// Those that have changed from long-polling to WebSocket.
    pub upgraded: u64,
}

type Sessions<D> = HashMap<Sid, Arc<Socket<D>>, FxBuildHasher>;

/// What clients say in the URL.
#[derive(Debug, Deserialize)]
struct Parameters {
    #[serde(rename = "EIO")]
    version: Option<String>,
    transport: Option<String>,
    sid: Option<String>,
}

impl<H: Handler> Engine<H> {
    /// Without clients.
    pub(super) fn new(handler: H, settings: Settings) -> Self {
        Self(Arc::new(Shared {
            handler,
            settings: ArcSwap::from_pointee(settings),
            sessions: RwLock::default(),
            emptied: Notify::new(),
            opened: Default::default(),
            upgraded: AtomicU64::new(0),
        }))
    }

    /// These hold from now on, for connections that there are only as far as it matters what they send.
    pub(super) fn apply(&self, settings: Settings) {
        self.0.settings.store(Arc::new(settings));
    }

    /// Who serves what clients say.
    pub(super) fn handler(&self) -> &H {
        &self.0.handler
    }

    /// How many sessions there are, and have been.
    pub(super) fn figures(&self) -> Figures {
        let sessions = self.0.sessions();
        let polling = sessions.values().filter(|socket| socket.polls()).count();
        let [opened_polling, opened_websocket] =
            [0, 1].map(|place| self.0.opened[place].load(Ordering::Relaxed));
        Figures {
            polling,
            websocket: sessions.len() - polling,
            opened_polling,
            opened_websocket,
            upgraded: self.0.upgraded.load(Ordering::Relaxed),
        }
    }

    /// Answers at `/socket.io/`; every other path is `router`'s.
    pub(super) fn around(&self, router: Router) -> Router {
        let engine = self.clone();
        let answer = any(
            async move |request: Request| match engine.answer(request).await {
                Ok(response) => response,
                Err(refusal) => refusal.into_response(),
            },
        );
        router
            .route("/socket.io/", answer.clone())
            .route("/socket.io", answer)
    }

    /// Ends every session when what waits has been sent.
    pub(super) fn close(&self) {
        for socket in self.0.sessions().values() {
            socket.close();
        }
    }

    /// Waits until there is no session any more.
    pub(super) async fn emptied(&self) {
        loop {
            let emptied = self.0.emptied.notified();
            if self.0.sessions().is_empty() {
                return;
            }
            emptied.await;
        }
    }

    async fn answer(&self, request: Request) -> Result<Response, Refusal> {
        let parameters = Query::<Parameters>::try_from_uri(request.uri());
        let Query(parameters) = parameters.map_err(|_| Refusal::BadRequest)?;
        let is_polling = match parameters.transport.as_deref() {
            Some("polling") => true,
            Some("websocket") => false,
            Some(_) | None => return Err(Refusal::UnknownTransport),
        };
        let Some(sid) = parameters.sid else {
            return self.open(request, parameters.version.as_deref(), is_polling);
        };
        let socket = Sid::parse(&sid).and_then(|sid| self.0.sessions().get(&sid).cloned());
        let socket = socket.ok_or(Refusal::UnknownSid)?;
        match (is_polling, request.method()) {
            (true, &Method::GET) => polling::get(&socket).await,
            (true, &Method::POST) => {
                let payload_bytes = self.0.settings.load().payload_bytes;
                polling::post(&socket, request.into_body(), payload_bytes).await
            }
            (false, &Method::GET) => self.upgrade(request, socket),
            (_, _) => Err(Refusal::BadRequest),
        }
    }

    fn open(
        &self,
        request: Request,
        version: Option<&str>,
        is_polling: bool,
    ) -> Result<Response, Refusal> {
        if request.method() != Method::GET {
            return Err(Refusal::BadMethod);
        }
        if version != Some("4") {
            return Err(Refusal::UnsupportedVersion);
        }
        let source = request.extensions().get::<Source>().copied();
        let source = source.unwrap_or(Source(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
        if is_polling {
            let socket = self.seat(source, None);
            return Ok(polling::answer(
                "text/plain; charset=UTF-8",
                self.greeting(&socket, &["websocket"]),
            ));
        }
        let (response, upgrade) = upgrade::accept(request)?;
        let engine = self.clone();
        tokio::spawn(async move {
            // A client that is gone before it is greeted was none.
            if let Ok(upgraded) = upgrade.await {
                let link = Link::new(upgraded, engine.0.settings.load().message_bytes);
                engine.seat(source, Some(link));
            }
        });
        Ok(response)
    }

    /// A client that polls tries a WebSocket.
    fn upgrade(&self, request: Request, socket: Arc<Socket<H::Data>>) -> Result<Response, Refusal> {
        if !upgrade::names(request.headers(), &header::UPGRADE, "websocket") {
            return Err(Refusal::BadRequest);
        }
        let trial = Trial::begin(socket).ok_or(Refusal::BadRequest)?;
        let (response, upgrade) = upgrade::accept(request)?;
        let settings = self.0.settings.load();
        let (message_bytes, patience) = (settings.message_bytes, settings.times.upgrade);
        tokio::spawn(async move {
            if let Ok(upgraded) = upgrade.await {
                upgrade::attempt(Link::new(upgraded, message_bytes), trial, patience).await;
            }
        });
        Ok(response)
    }

    /// A new session, and the task that keeps it.
    fn seat(&self, source: Source, mut link: Option<Link>) -> Arc<Socket<H::Data>> {
        let (handler, settings) = (&self.0.handler, self.0.settings.load());
        let (is_polling, data) = (link.is_none(), handler.admit(source));
        self.0.opened[usize::from(!is_polling)].fetch_add(1, Ordering::Relaxed);
        let socket = Arc::new(Socket::new(source, is_polling, settings.outbox_bytes, data));
        if let Some(link) = &mut link {
            link.say(&self.greeting(&socket, &[]));
        }
        self.0
            .sessions_mut()
            .insert(socket.sid(), Arc::clone(&socket));
        handler.opened(&socket);
        let now = Now::read().mono;
        let keeper = Keeper::new(now, Arc::clone(&self.0), Arc::clone(&socket), link);
        tokio::spawn(keeper.keep());
        socket
    }

    fn greeting(&self, socket: &Socket<H::Data>, upgrades: &[&str]) -> String {
        let settings = self.0.settings.load();
        let open = Open {
            sid: &socket.sid().to_string(),
            upgrades,
            ping_interval: settings.times.ping_interval.as_millis(),
            ping_timeout: settings.times.ping_timeout.as_millis(),
            max_payload: settings.payload_bytes,
        };
        open.packet()
    }
}

impl<H: Handler> Clone for Engine<H> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<H: Handler> Shared<H> {
    fn times(&self) -> Times {
        self.settings.load().times
    }

    fn remove(&self, sid: Sid) {
        let mut sessions = self.sessions_mut();
        let removed = sessions.remove(&sid);
        let is_empty = sessions.is_empty();
        drop(sessions);
        drop(removed);
        if is_empty {
            self.emptied.notify_waiters();
        }
    }

    fn sessions(&self) -> RwLockReadGuard<'_, Sessions<H::Data>> {
        self.sessions.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn sessions_mut(&self) -> RwLockWriteGuard<'_, Sessions<H::Data>> {
        self.sessions
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Times {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            upgrade: Duration::from_secs(10),
            stuck: Duration::from_secs(30),
            goodbye: Duration::from_secs(5),
        }
    }
}

#[cfg(test)]
mod tests;

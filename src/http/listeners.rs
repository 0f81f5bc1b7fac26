//! The sockets behind the router: bound before anything is promised, bounded in number, closed in time.

use std::{
    future::Future,
    io, mem,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::Router;
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::forwarded::TrustedProxies;
use super::slots::Slots;
use crate::relay::{Inherited, Listen, listen_fix};
use crate::source::{PerSource, Seat, Seats, Source};

/// Bound, listening, and not yet served.
#[derive(Debug)]
pub struct Listeners(Vec<TcpListener>);

/// Where connections stay. A WebSocket is none of them any more. Clones are the same room.
#[derive(Clone, Debug)]
pub struct Room {
    slots: Slots,
    seats: Arc<Seats>,
    exempt: TrustedProxies,
    refused: Arc<AtomicU64>,
}

/// Why HTTP can't listen.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen for HTTP on {addr}: {reason}; {}",
    listen_fix(reason, key)
)]
pub struct ListenError {
    key: &'static str,
    addr: SocketAddr,
    reason: io::Error,
}

impl Listeners {
    /// Binds all of them, which `key` names, or takes those that are open already; one that is not required and whose
    /// family the machine lacks is left out.
    ///
    /// # Errors
    /// The first address that can't be had, and the operating system's reason. Needs a tokio runtime around it.
    pub fn bind(
        key: &'static str,
        listen: &[Listen],
        inherited: &mut Inherited,
    ) -> Result<Self, ListenError> {
        let mut listeners = Vec::new();
        for Listen { addr, required } in listen.iter().copied() {
            match take_or_bind(inherited, addr) {
                Ok(listener) => listeners.push(listener),
                Err(reason) if !required && is_family_missing(&reason) => {
                    warn!(%addr, %reason, "not listening for HTTP here");
                }
                Err(reason) => return Err(ListenError { key, addr, reason }),
            }
        }
        Ok(Self(listeners))
    }

    /// Where they really listen.
    #[must_use]
    pub fn bound(&self) -> Vec<SocketAddr> {
        self.0
            .iter()
            .filter_map(|listener| listener.local_addr().ok())
            .collect()
    }

    /// Serves, over TLS where there is something for it, until `stop` says so, then lets requests under way finish for a moment. Each request's extensions say
    /// from which [`Source`] its connection comes.
    pub async fn serve(
        self,
        router: Router,
        tls: Option<TlsAcceptor>,
        room: Room,
        stop: watch::Receiver<bool>,
    ) {
        let hall = Hall { router, tls, room };
        let mut tasks = JoinSet::new();
        for listener in self.0 {
            tasks.spawn(accept(listener, hall.clone(), stop.clone()));
        }
        tasks.join_all().await;
    }
}

/// What all listeners lead to.
#[derive(Clone)]
struct Hall {
    router: Router,
    /// Without it, in clear.
    tls: Option<TlsAcceptor>,
    room: Room,
}

impl Hall {
    async fn welcome(self, stream: TcpStream, source: Source, stopped: impl Future<Output = ()>) {
        // Answers are small and complete: waiting to fill a segment only delays them.
        let _ = stream.set_nodelay(true);
        let Some(acceptor) = self.tls else {
            return serve_one(stream, source, self.router, stopped).await;
        };
        let handshake = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream));
        match handshake.await {
            Ok(Ok(stream)) => serve_one(stream, source, self.router, stopped).await,
            Ok(Err(error)) => debug!(%error, "no TLS handshake"),
            Err(_) => debug!("a TLS handshake took too long"),
        }
    }
}

impl Room {
    /// For so many connections of all sources at a time, beyond which clients wait in the kernel's queue; and of each
    /// source, beyond which connections are closed at once. Those of `exempt` sources are those of others.
    #[must_use]
    pub fn new(connections: Option<usize>, per_source: PerSource, exempt: TrustedProxies) -> Self {
        Self {
            slots: Slots::new(connections),
            seats: Seats::new(per_source),
            exempt,
            refused: Arc::default(),
        }
    }

    /// How many connections of sources that had too many were closed.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// From now on for so many.
    pub fn resize(&self, connections: Option<usize>, per_source: PerSource) {
        self.slots.resize(connections);
        self.seats.set_limit(per_source);
    }

    /// `None`: the source has as many as it may.
    fn seat(&self, source: Source) -> Option<Seat> {
        if self.exempt.contains(source) {
            return Some(Seat::uncounted());
        }
        let seat = self.seats.take(source);
        let refused = u64::from(seat.is_none());
        self.refused.fetch_add(refused, Ordering::Relaxed);
        seat
    }
}

const TOO_MANY_CONNECTIONS: &str = r#"{"error":{"code":"LIMIT_EXCEEDED","message":"too many connections from one address (limits.connections_per_source)"}}"#;
const BACKLOG: i32 = 1024;
/// From the connection, or the end of the last answer, to the end of the next request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Out of descriptors: trying again at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const FINISH_TIMEOUT: Duration = Duration::from_millis(500);

fn take_or_bind(inherited: &mut Inherited, addr: SocketAddr) -> io::Result<TcpListener> {
    match inherited.take_stream(addr)? {
        Some(listener) => TcpListener::from_std(listener),
        None => bind(addr),
    }
}

fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn is_family_missing(reason: &io::Error) -> bool {
    let unsupported = reason.raw_os_error() == Some(nix::libc::EAFNOSUPPORT);
    unsupported || reason.kind() == io::ErrorKind::AddrNotAvailable
}

async fn accept(listener: TcpListener, hall: Hall, stop: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    let mut stopped = pin!(is_stopped(stop.clone()));
    let mut is_said = false;
    loop {
        while connections.try_join_next().is_some() {}
        let slot = tokio::select! {
            () = &mut stopped => break,
            slot = hall.room.slots.take() => slot,
        };
        tokio::select! {
            () = &mut stopped => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    is_said = false;
                    let source = Source(peer.ip());
                    let Some(seat) = hall.room.seat(source) else {
                        refuse(&stream);
                        continue;
                    };
                    let (hall, stopped) = (hall.clone(), is_stopped(stop.clone()));
                    connections.spawn(async move {
                        hall.welcome(stream, source, stopped).await;
                        drop((slot, seat));
                    });
                }
                Err(error) => {
                    if !mem::replace(&mut is_said, true) {
                        warn!(%error, "cannot accept an HTTP connection");
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    let finished = async { while connections.join_next().await.is_some() {} };
    // What has not finished by then is dropped with the set.
    let _ = timeout(FINISH_TIMEOUT, finished).await;
}

/// Says why, if the socket takes it at once, and hangs up.
fn refuse(stream: &TcpStream) {
    debug!("too many HTTP connections from one source");
    let answer = format!(
        "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{TOO_MANY_CONNECTIONS}",
        TOO_MANY_CONNECTIONS.len()
    );
    let _ = stream.try_write(answer.as_bytes());
}

async fn serve_one(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    source: Source,
    router: Router,
    stopped: impl Future<Output = ()>,
) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(source);
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = stopped => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        debug!(%error, "an HTTP connection ended early");
    }
}

async fn is_stopped(mut stop: watch::Receiver<bool>) {
    // A sender that is gone means the same.
    let _ = stop.wait_for(|stop| *stop).await;
}

//! The sockets behind the router: bound before anything is promised, bounded in number, closed in time.

use std::{future::Future, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{debug, warn};

use crate::relay::Listen;

/// Bound, listening, and not yet served.
#[derive(Debug)]
pub struct Listeners(Vec<TcpListener>);

/// Why HTTP can't listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for HTTP on {addr}: {reason}; free the port, or set http.listen")]
pub struct ListenError {
    addr: SocketAddr,
    reason: io::Error,
}

impl Listeners {
    /// Binds all of them; one that is not required and whose family the machine lacks is left out.
    ///
    /// # Errors
    /// The first address that can't be had, and the operating system's reason. Needs a tokio runtime around it.
    pub fn bind(listen: &[Listen]) -> Result<Self, ListenError> {
        let mut listeners = Vec::new();
        for Listen { addr, required } in listen.iter().copied() {
            match bind(addr) {
                Ok(listener) => listeners.push(listener),
                Err(reason) if !required && is_family_missing(&reason) => {
                    warn!(%addr, %reason, "not listening for HTTP here");
                }
                Err(reason) => return Err(ListenError { addr, reason }),
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

    /// Serves until `stop` says so, then lets requests under way finish for a moment.
    pub async fn serve(self, router: Router, stop: watch::Receiver<bool>) {
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut tasks = JoinSet::new();
        for listener in self.0 {
            let (router, slots, stop) = (router.clone(), Arc::clone(&slots), stop.clone());
            tasks.spawn(accept(listener, router, slots, stop));
        }
        tasks.join_all().await;
    }
}

/// Beyond these, clients wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 10_000;
const BACKLOG: i32 = 1024;
/// From the connection, or the end of the last answer, to the end of the next request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Out of descriptors: trying again at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const FINISH_TIMEOUT: Duration = Duration::from_millis(500);

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

async fn accept(
    listener: TcpListener,
    router: Router,
    slots: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let mut stopped = pin!(is_stopped(stop.clone()));
    loop {
        while connections.try_join_next().is_some() {}
        let slot = tokio::select! {
            () = &mut stopped => break,
            slot = Arc::clone(&slots).acquire_owned() => slot,
        };
        tokio::select! {
            () = &mut stopped => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let connection = serve_one(stream, router.clone(), is_stopped(stop.clone()));
                    connections.spawn(async move {
                        connection.await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    warn!(%error, "cannot accept an HTTP connection");
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

async fn serve_one(stream: TcpStream, router: Router, stopped: impl Future<Output = ()>) {
    // Answers are small and complete: waiting to fill a segment only delays them.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
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

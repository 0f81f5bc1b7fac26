//! Connections to peers of TCP allocations ([RFC 6062](https://www.rfc-editor.org/rfc/rfc6062)): made, accepted, and kept
//! until one of the client's is bound to them. Nothing is read before: what a peer sends waits in its own kernel.

use std::{
    collections::HashMap,
    future::poll_fn,
    io, mem,
    net::{SocketAddr, TcpStream},
    sync::Arc,
    task::Poll,
};

use rustc_hash::FxBuildHasher;
use tokio::task::AbortHandle;

use crate::clock::Now;
use crate::relay::engine::five_tuple::RelayKey;
use crate::relay::wire::connection::ConnectionId;
use crate::relay::worker::reactor::Tcp;
use crate::relay::worker::relay_udp::Route;
use crate::relay::worker::stream::{ACCEPT_PAUSE, concerns_one_connection};
use crate::relay::worker::{SharedWorker, sockets};

/// One worker's connections to peers.
#[derive(Debug, Default)]
pub(super) struct PeerConnections {
    open: HashMap<ConnectionId, PeerConnection, FxBuildHasher>,
}

#[derive(Debug)]
enum PeerConnection {
    /// This task connects it.
    Connecting(AbortHandle),
    Waiting(Tcp),
    /// This task has it, and the client's connection.
    Bound(AbortHandle),
}

/// Takes what peers connect to a relayed transport address, until it closes.
pub(super) async fn serve(worker: SharedWorker, key: RelayKey) {
    let reactor = Arc::clone(&worker.borrow().reactor);
    let mut is_said = false;
    while let Some(accepted) = accept(&worker, key).await {
        match accepted {
            Ok((socket, source)) => {
                is_said = false;
                // Where it fails, packets only wait for each other.
                let _ = socket.set_nodelay(true);
                let now = Now::read();
                worker.borrow_mut().peer_accepted(now, key, socket, source);
                reactor.yield_now().await;
            }
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => {
                if !mem::replace(&mut is_said, true) {
                    tracing::warn!(%error, "cannot accept a peer's connection");
                }
                reactor.sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Connects to a peer from a relayed transport address.
pub(super) async fn connect(worker: SharedWorker, id: ConnectionId, route: Route) {
    let reactor = Arc::clone(&worker.borrow().reactor);
    let connected = async {
        let tcp = Tcp::connect(&reactor, sockets::peer_tcp(route.from)?, route.to).await?;
        tcp.socket().set_nodelay(true)?;
        Ok(tcp)
    };
    let connected = connected.await;
    worker
        .borrow_mut()
        .peer_answered(Now::read(), id, connected);
}

/// Waits without owning the listener, so that closing it closes it at once.
async fn accept(
    worker: &SharedWorker,
    key: RelayKey,
) -> Option<io::Result<(TcpStream, SocketAddr)>> {
    poll_fn(|cx| {
        let worker = worker.borrow();
        match worker.relays().listener(key) {
            Some(listener) => listener.poll_accept(cx).map(Some),
            None => Poll::Ready(None),
        }
    })
    .await
}

impl PeerConnections {
    /// `task` connects it.
    pub(super) fn connecting(&mut self, id: ConnectionId, task: AbortHandle) {
        self.open.insert(id, PeerConnection::Connecting(task));
    }

    /// It stands, and waits for its ConnectionBind.
    pub(super) fn waiting(&mut self, id: ConnectionId, socket: Tcp) {
        self.open.insert(id, PeerConnection::Waiting(socket));
    }

    /// Gives it to the task that `start` starts; it may have closed meanwhile.
    pub(super) fn bind(&mut self, id: ConnectionId, start: impl FnOnce(Tcp) -> AbortHandle) {
        match self.open.remove(&id) {
            Some(PeerConnection::Waiting(socket)) => {
                self.open.insert(id, PeerConnection::Bound(start(socket)));
            }
            Some(PeerConnection::Connecting(task) | PeerConnection::Bound(task)) => task.abort(),
            None => {}
        }
    }

    /// Closes it at once, and the client's that is bound to it.
    pub(super) fn close(&mut self, id: ConnectionId) {
        match self.open.remove(&id) {
            Some(PeerConnection::Connecting(task) | PeerConnection::Bound(task)) => task.abort(),
            Some(PeerConnection::Waiting(_)) | None => {}
        }
    }
}

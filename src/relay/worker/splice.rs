//! A client's connection and a peer's, bound to each other
//! ([RFC 6062 §5.4, §5.5](https://www.rfc-editor.org/rfc/rfc6062#section-5.4)): bytes as they are, both ways.
//!
//! Each way reads only what it has written on: a slow reader slows its writer, and nothing piles up here.

use std::{
    cell::Cell,
    io::{self, ErrorKind},
    pin::pin,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    select,
    task::spawn_local,
};

use crate::clock::Now;
use crate::relay::engine::tcp::Towards;
use crate::relay::wire::connection::ConnectionId;
use crate::relay::worker::SharedWorker;
use crate::relay::worker::connection::Connection;
use crate::relay::worker::reactor::{Paced, Reactor, Tcp, Work};

/// Binds them, unless the peer's has closed meanwhile. `early` came from the client before this.
pub(super) fn begin(worker: &SharedWorker, id: ConnectionId, client: Connection, early: Vec<u8>) {
    let mut sockets = worker.borrow_mut();
    sockets.peers().bind(id, |peer| {
        let worker = SharedWorker::clone(worker);
        spawn_local(run(worker, id, client, early, peer)).abort_handle()
    });
}

/// Carries bytes until both ways have ended, or one fails.
async fn run(
    worker: SharedWorker,
    id: ConnectionId,
    client: Connection,
    early: Vec<u8>,
    peer: Tcp,
) {
    if let Err(error) = carry(&worker, id, client, &early, peer).await {
        tracing::debug!(%error, "a relayed connection broke");
    }
    worker.borrow_mut().peer_ended(Now::read(), id);
}

async fn carry(
    worker: &SharedWorker,
    id: ConnectionId,
    mut client: Connection,
    early: &[u8],
    peer: Tcp,
) -> io::Result<()> {
    client.take_all()?;
    let (from_client, to_client) = split(client);
    let reactor = &**peer.reactor();
    let moved = Cell::new(0_u64);
    let admit = async |towards, bytes: usize| {
        while !worker.borrow_mut().splices(Now::read(), id, towards, bytes) {
            reactor.sleep(BUDGET_PAUSE).await;
        }
        moved.set(moved.get() + 1);
    };
    let from_client = early.chain(from_client);
    let up = pump(reactor, from_client, &peer, async |bytes| {
        admit(Towards::Peer, bytes).await
    });
    let down = pump(reactor, &peer, to_client, async |bytes| {
        admit(Towards::Client, bytes).await
    });
    let (mut up, mut down) = (pin!(up), pin!(down));
    let (ended, rest) = select! {
        ended = &mut up => (ended, Towards::Client),
        ended = &mut down => (ended, Towards::Peer),
    };
    ended?;
    // Whoever has closed one way may close the other without a word: silence ends it then.
    loop {
        let before = moved.get();
        select! {
            ended = &mut up, if rest == Towards::Peer => return ended,
            ended = &mut down, if rest == Towards::Client => return ended,
            () = reactor.sleep(HALF_CLOSED_TIME_MAX) => {
                if moved.get() == before {
                    return Err(ErrorKind::TimedOut.into());
                }
            }
        }
    }
}

/// One way, until its reader ends; then the writer's other side is told so.
async fn pump(
    reactor: &Reactor,
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    admit: impl AsyncFn(usize),
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut paced = Paced::new(reactor, Work::Streams);
    loop {
        let bytes = match paced.go_on(from.read(&mut buffer)).await {
            Ok(bytes) => bytes,
            // TLS clients often leave without a word of farewell.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => 0,
            Err(error) => return Err(error),
        };
        if bytes == 0 {
            return to.shutdown().await;
        }
        paced.spend(bytes);
        admit(bytes).await;
        to.write_all(&buffer[..bytes]).await?;
        to.flush().await?;
        // The worker's other sockets come first.
        paced.pause();
    }
}

const BUFFER_BYTES: usize = 16 * 1024;
/// How long bytes wait that the limits have no room for, before they ask again.
const BUDGET_PAUSE: Duration = Duration::from_millis(20);
/// How long a connection that is closed one way may be silent the other way.
const HALF_CLOSED_TIME_MAX: Duration = Duration::from_secs(60);

//! Clients over TCP and TLS: a connection lives on the worker that accepted it, one task each.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    pin::pin,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter},
    net::{TcpListener, TcpStream},
    select,
    task::{spawn_local, yield_now},
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_rustls::TlsAcceptor;

use crate::clock::Now;
use crate::relay::engine::five_tuple::{FiveTuple, Transport};
use crate::relay::engine::limits::{Connected, Limits};
use crate::relay::wire::stream::{Inbound, Unframed};
use crate::relay::worker::SharedWorker;
use crate::relay::worker::outbox::Outbox;
use crate::source::Source;

/// Accepts TCP connections for as long as the worker lives.
pub(super) async fn serve_tcp(worker: SharedWorker, listener: TcpListener, limits: Arc<Limits>) {
    loop {
        let (socket, client, connected) = admit(&listener, &limits).await;
        let worker = SharedWorker::clone(&worker);
        spawn_local(async move {
            let _connected = connected;
            if let Ok(client) = five_tuple(Transport::Tcp, client, &socket) {
                converse(worker, client, BufWriter::new(socket)).await;
            }
        });
    }
}

/// Accepts TLS connections for as long as the worker lives.
pub(super) async fn serve_tls(
    worker: SharedWorker,
    listener: TcpListener,
    limits: Arc<Limits>,
    tls: TlsAcceptor,
) {
    loop {
        let (socket, client, connected) = admit(&listener, &limits).await;
        let (worker, tls) = (SharedWorker::clone(&worker), tls.clone());
        spawn_local(async move {
            let _connected = connected;
            let Ok(client) = five_tuple(Transport::Tls, client, &socket) else {
                return;
            };
            let handshake = tls.accept(BufWriter::new(socket)).into_fallible();
            match timeout(HANDSHAKE_TIME_MAX, handshake).await {
                Ok(Ok(session)) => converse(worker, client, session).await,
                Ok(Err((error, mut connection))) => {
                    tracing::debug!(%error, "TLS handshake failed");
                    // The alert that tells the client why is in the buffer yet.
                    let _ = timeout(FAREWELL_TIME_MAX, connection.shutdown()).await;
                }
                Err(_) => tracing::debug!("TLS handshake took too long"),
            }
        });
    }
}

/// The next connection that the limits have room for; others are closed at once.
async fn admit(listener: &TcpListener, limits: &Limits) -> (TcpStream, SocketAddr, Connected) {
    loop {
        let (socket, client) = accept(listener).await;
        if let Some(connected) = limits.connect(Now::read(), Source(client.ip())) {
            return (socket, client, connected);
        }
        // Many may wait to be refused: those that are served come in between.
        yield_now().await;
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => {
                // Out of descriptors or memory: the connection stays in the backlog, trying at once would spin.
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn concerns_one_connection(error: &io::Error) -> bool {
    let kinds = [
        ErrorKind::ConnectionAborted,
        ErrorKind::ConnectionReset,
        ErrorKind::Interrupted,
    ];
    kinds.contains(&error.kind())
}

fn five_tuple(
    transport: Transport,
    client: SocketAddr,
    socket: &TcpStream,
) -> io::Result<FiveTuple> {
    socket.set_nodelay(true)?;
    Ok(FiveTuple {
        transport,
        client,
        server: socket.local_addr()?,
    })
}

/// One connection, from its first byte to its last.
async fn converse(
    worker: SharedWorker,
    client: FiveTuple,
    connection: impl AsyncRead + AsyncWrite,
) {
    let (reader, writer) = tokio::io::split(connection);
    let outbox = Rc::new(Outbox::default());
    worker
        .borrow_mut()
        .client_connected(Now::read(), client, &outbox);
    let mut writing = pin!(outbox.write_to(writer));
    // Both at once: a client that waits for us to read before it reads must not wait for ever.
    let may_write = select! {
        () = &mut writing => false,
        () = read_messages(&worker, client, reader, &outbox) => !outbox.is_overrun(),
    };
    worker
        .borrow_mut()
        .client_disconnected(Now::read(), client, &outbox);
    if may_write {
        outbox.close();
        // The last answers leave with the connection, if the client takes them.
        let _ = timeout(FAREWELL_TIME_MAX, writing).await;
    }
}

/// Returns when the connection is of no further use.
async fn read_messages(
    worker: &SharedWorker,
    client: FiveTuple,
    mut reader: impl AsyncRead + Unpin,
    outbox: &Rc<Outbox>,
) {
    let mut inbound = Inbound::default();
    let mut deadline = after(Now::read(), FIRST_BYTES_TIME_MAX);
    loop {
        let was_mid_message = inbound.is_mid_message();
        let reading = reader.read_buf(inbound.room(READ_BYTES));
        match timeout_at(deadline, reading).await {
            Ok(Ok(1..)) => {}
            Ok(Ok(0) | Err(_)) => return,
            Err(_) if was_mid_message || !worker.borrow().has_allocation(&client) => {
                return;
            }
            Err(_) => {
                deadline = after(Now::read(), IDLE_TIME_MAX);
                continue;
            }
        }
        // A newer connection has taken the five-tuple: nothing said here is for its allocation.
        if !worker.borrow().is_connected(&client, outbox) {
            return;
        }
        let now = Now::read();
        let Ok(messages) = hand_over(worker, now, client, &mut inbound) else {
            return;
        };
        if outbox.is_overrun() {
            return;
        }
        // A message may take its time once, from its first byte.
        if messages > 0 || !was_mid_message {
            let is_known = worker.borrow().has_allocation(&client);
            let patience = match (inbound.is_mid_message(), is_known) {
                (true, true) => MESSAGE_TIME_MAX,
                (true, false) => STRANGERS_MESSAGE_TIME_MAX,
                (false, _) => IDLE_TIME_MAX,
            };
            deadline = after(now, patience);
        }
        // Our own writer, and the worker's other sockets, come first.
        yield_now().await;
    }
}

/// Gives the engine every message that has come whole; says how many.
fn hand_over(
    worker: &SharedWorker,
    now: Now,
    client: FiveTuple,
    inbound: &mut Inbound,
) -> Result<usize, Unframed> {
    let mut worker = worker.borrow_mut();
    let mut messages = 0;
    while let Some(message) = inbound.next_message()? {
        worker.client_sent(now, client, message);
        messages += 1;
    }
    Ok(messages)
}

fn after(now: Now, patience: Duration) -> Instant {
    Instant::from_std(now.mono + patience)
}

/// How long a TLS handshake may take.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a connection may take to say anything at all.
const FIRST_BYTES_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a message may take; a stalled network may recover, and the call with it.
const MESSAGE_TIME_MAX: Duration = Duration::from_secs(10);
/// The same for who has no allocation. Much that is no TURN begins like a long ChannelData message, HTTP's `GET ` too.
const STRANGERS_MESSAGE_TIME_MAX: Duration = Duration::from_secs(3);
/// How long a connection without an allocation may say nothing.
const IDLE_TIME_MAX: Duration = Duration::from_secs(60);
/// How long the last answers may take.
const FAREWELL_TIME_MAX: Duration = Duration::from_secs(1);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const READ_BYTES: usize = 4096;

//! Clients over TCP and TLS: a connection lives on the worker that accepted it, one task each.

use std::{
    future::poll_fn,
    io::{self, ErrorKind},
    mem,
    net::{SocketAddr, TcpStream},
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use tokio::{io::AsyncWriteExt, select, task::spawn_local};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::clock::Now;
use crate::relay::engine::five_tuple::{FiveTuple, Transport};
use crate::relay::engine::limits::{Connected, Limits};
use crate::relay::wire::connection::ConnectionId;
use crate::relay::wire::stream::{Inbound, Unframed};
use crate::relay::worker::connection::{Connection, Socket};
use crate::relay::worker::line::Line;
use crate::relay::worker::reactor::{Elapsed, Listener, Paced, Tcp, Work};
use crate::relay::worker::{HandedOver, Mailbox, SharedWorker, hello, splice};
use crate::source::Source;

/// Accepts TCP connections for as long as the worker lives.
pub(super) async fn serve_tcp(worker: SharedWorker, listener: Listener, limits: Arc<Limits>) {
    let mut entrance = Entrance::new(&listener, &limits);
    loop {
        let (socket, client, connected) = entrance.admit().await;
        let worker = SharedWorker::clone(&worker);
        spawn_local(async move {
            let Ok(client) = five_tuple(Transport::Tcp, client, socket.socket()) else {
                return;
            };
            if speaks(&socket).await {
                let connection = Connection::tcp(Socket::new(socket), connected);
                Box::pin(converse(worker, client, connection, Inbound::default())).await;
            }
        });
    }
}

/// Accepts TLS connections for as long as the worker lives.
pub(super) async fn serve_tls(
    worker: SharedWorker,
    listener: Listener,
    limits: Arc<Limits>,
    tls: TlsAcceptor,
) {
    let mut entrance = Entrance::new(&listener, &limits);
    loop {
        let (socket, client, connected) = entrance.admit().await;
        let (worker, tls) = (SharedWorker::clone(&worker), tls.clone());
        spawn_local(async move {
            let Ok(client) = five_tuple(Transport::Tls, client, socket.socket()) else {
                return;
            };
            if !speaks(&socket).await {
                return;
            }
            let deadline = Now::read().mono + HANDSHAKE_TIME_MAX;
            if says_hello(&socket, deadline).await
                && let Some(session) = Box::pin(handshake(tls, socket, deadline)).await
            {
                let connection = Connection::tls(session, connected);
                Box::pin(converse(worker, client, connection, Inbound::default())).await;
            }
        });
    }
}

/// Waits until the client says something. Before that its connection costs a socket and a small task, nothing more.
async fn speaks(socket: &Tcp) -> bool {
    let due = Now::read().mono + FIRST_BYTES_TIME_MAX;
    socket.reactor().until(due, socket.readable()).await.is_ok()
}

/// Waits until there is something for the TLS library, which takes memory for it.
async fn says_hello(socket: &Tcp, deadline: Instant) -> bool {
    let arrived = hello::arrived(socket);
    let arrived = socket.reactor().until(deadline, arrived).await;
    arrived.is_ok_and(|arrived| arrived.is_ok())
}

async fn handshake(tls: TlsAcceptor, socket: Tcp, deadline: Instant) -> Option<TlsStream<Socket>> {
    let reactor = Arc::clone(socket.reactor());
    let handshake = tls.accept(Socket::new(socket)).into_fallible();
    let mut paced = Paced::new(&reactor, Work::Handshakes);
    match reactor.until(deadline, paced.go_on(handshake)).await {
        Ok(Ok(session)) => return Some(session),
        Ok(Err((error, mut connection))) => {
            tracing::debug!(%error, "TLS handshake failed");
            // The alert that tells the client why is in the buffer yet.
            let _ = reactor
                .within(FAREWELL_TIME_MAX, connection.shutdown())
                .await;
        }
        Err(Elapsed) => tracing::debug!("TLS handshake took too long"),
    }
    None
}

/// Where connections come in, and what is known of that.
struct Entrance<'l> {
    listener: &'l Listener,
    limits: &'l Limits,
    paced: Paced<'l>,
    /// Whether somebody was told that none can be accepted, since one was.
    is_said: bool,
}

impl<'l> Entrance<'l> {
    fn new(listener: &'l Listener, limits: &'l Limits) -> Self {
        Self {
            listener,
            limits,
            paced: Paced::new(listener.reactor(), Work::Streams),
            is_said: false,
        }
    }

    /// The next connection that the limits have room for; others are closed at once.
    async fn admit(&mut self) -> (Tcp, SocketAddr, Connected) {
        loop {
            let (socket, client) = self.accept().await;
            if let Some(connected) = self.limits.connect(Now::read(), Source(client.ip())) {
                return (socket, client, connected);
            }
        }
    }

    async fn accept(&mut self) -> (Tcp, SocketAddr) {
        let reactor = self.listener.reactor();
        loop {
            let accepted = poll_fn(|cx| self.listener.poll_accept(cx));
            let accepted = self.paced.go_on(accepted).await;
            // Many may wait: those that are served come in between.
            self.paced.spend(ACCEPTED_BYTES);
            let watched = accepted.and_then(|(socket, client)| {
                let tcp = Tcp::new(reactor, socket)?;
                Ok((tcp, client))
            });
            match watched {
                Ok(accepted) => {
                    self.is_said = false;
                    return accepted;
                }
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) => {
                    // Out of descriptors, and the connection waits in the backlog; or out of memory, and it may be lost.
                    // Trying at once would spin.
                    if !mem::replace(&mut self.is_said, true) {
                        tracing::warn!(%error, "cannot accept a connection");
                    }
                    reactor.sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

pub(super) fn concerns_one_connection(error: &io::Error) -> bool {
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

/// What becomes of a connection that has no more messages.
enum Next {
    /// It closes, once the client has taken the last answers.
    End,
    /// It closes at once.
    Drop,
    /// It is bound to a peer's.
    Splice(ConnectionId),
    /// Another worker goes on with it.
    HandOver(Arc<Mailbox>),
}

/// One connection, from its first message to its last; `inbound` is what was read from it before.
pub(super) async fn converse(
    worker: SharedWorker,
    client: FiveTuple,
    connection: Connection,
    mut inbound: Inbound,
) {
    let reactor = Arc::clone(&worker.borrow().reactor);
    let line = Rc::new(Line::new(connection));
    worker
        .borrow_mut()
        .client_connected(Now::read(), client, &line);
    let (next, is_written) = {
        let mut writing = pin!(line.write_out());
        // Both at once: a client that waits for us to read before it reads must not wait for ever.
        let next = select! {
            _ = &mut writing => Next::Drop,
            next = read_messages(&worker, client, &line, &mut inbound) => next,
        };
        worker
            .borrow_mut()
            .client_disconnected(Now::read(), client, &line);
        line.close();
        // The last answers leave first, if the client takes them.
        let is_written = match next {
            Next::Drop => false,
            Next::End | Next::Splice(_) | Next::HandOver(_) => {
                reactor.within(LAST_ANSWERS_TIME_MAX, writing).await == Ok(true)
            }
        };
        (next, is_written)
    };
    // Only the worker had it besides, and has forgotten it.
    let Some(line) = Rc::into_inner(line) else {
        return;
    };
    let mut connection = line.into_connection();
    match next {
        Next::Splice(id) if is_written => {
            splice::begin(&worker, id, connection, inbound.into_rest());
        }
        Next::Splice(id) => worker.borrow_mut().peer_ended(Now::read(), id),
        Next::HandOver(mailbox) if is_written => {
            match HandedOver::new(client, connection, inbound) {
                Ok(connection) => mailbox.hand_over(connection),
                Err(error) => tracing::warn!(%error, "cannot hand over a connection"),
            }
        }
        Next::End if is_written => {
            let _ = reactor
                .within(FAREWELL_TIME_MAX, connection.shutdown())
                .await;
        }
        Next::End | Next::Drop | Next::HandOver(_) => {}
    }
}

/// Returns when no more messages are to be read.
async fn read_messages(
    worker: &SharedWorker,
    client: FiveTuple,
    line: &Rc<Line>,
    inbound: &mut Inbound,
) -> Next {
    let reactor = Arc::clone(&worker.borrow().reactor);
    let mut due = Now::read().mono + FIRST_BYTES_TIME_MAX;
    let mut deadline = due;
    // What came with a connection that was handed over.
    let mut has_unread = inbound.is_mid_message();
    let mut paced = Paced::new(&reactor, Work::Streams);
    loop {
        let was_mid_message = inbound.is_mid_message();
        if !has_unread {
            let read = paced.go_on(read(worker, line, inbound));
            match reactor.until(deadline, read).await {
                Ok(Ok(bytes @ 1..)) => paced.spend(bytes),
                Ok(Ok(0) | Err(_)) => return Next::End,
                Err(Elapsed) if was_mid_message || !worker.borrow().has_allocation(&client) => {
                    return Next::End;
                }
                Err(Elapsed) => {
                    deadline = Now::read().mono + IDLE_TIME_MAX;
                    continue;
                }
            }
        }
        has_unread = false;
        let now = Now::read();
        let fed = feed(worker, now, client, line, inbound);
        worker.borrow_mut().keep_read_buffer(inbound.give_back());
        let messages = match fed {
            Ok(Fed::Messages(messages)) => messages,
            Ok(Fed::Last(next)) => return next,
            Err(Unframed) => return Next::End,
        };
        if line.is_overrun() {
            return Next::Drop;
        }
        let is_known = worker.borrow().has_allocation(&client);
        let is_mid_message = inbound.is_mid_message();
        // A message may take its time once, from its first byte.
        if messages > 0 || !was_mid_message {
            let patience = match (is_mid_message, is_known) {
                (true, true) => MESSAGE_TIME_MAX,
                (true, false) => STRANGERS_MESSAGE_TIME_MAX,
                (false, _) => IDLE_TIME_MAX,
            };
            due = now.mono + patience;
        }
        deadline = match is_mid_message && !is_known {
            true => due.min(now.mono + STRANGERS_PAUSE_MAX),
            false => due,
        };
        // Our own writer, and the worker's other sockets, come first.
        if line.is_readable() {
            paced.pause();
        }
    }
}

enum Fed {
    /// So many messages; more may follow.
    Messages(usize),
    /// The last one was taken.
    Last(Next),
}

/// Reads into the worker's buffer, which the connection has from then on until it gives it back; nothing else may be
/// read in between.
async fn read(worker: &SharedWorker, line: &Line, inbound: &mut Inbound) -> io::Result<usize> {
    poll_fn(|cx| {
        inbound.go_on_in(worker.borrow_mut().take_read_buffer());
        let read = line.poll_fill(cx, inbound.room(READ_BYTES));
        if !matches!(read, Poll::Ready(Ok(1..))) {
            worker.borrow_mut().keep_read_buffer(inbound.give_back());
        }
        read
    })
    .await
}

/// Gives the engine every message that has come whole.
fn feed(
    worker: &SharedWorker,
    now: Now,
    client: FiveTuple,
    line: &Rc<Line>,
    inbound: &mut Inbound,
) -> Result<Fed, Unframed> {
    let mut worker = worker.borrow_mut();
    // A newer connection has taken the five-tuple: nothing said here is for its allocation.
    if !worker.is_connected(&client, line) {
        return Ok(Fed::Last(Next::End));
    }
    let mut outgoing = worker.sockets.outgoing();
    let mut count = 0;
    let mut messages = inbound.messages();
    let fed = loop {
        let message = match messages.next_message() {
            Ok(Some(message)) => message,
            Ok(None) => break Ok(Fed::Messages(count)),
            Err(unframed) => break Err(unframed),
        };
        if let Some(mailbox) = worker.other_for(&client, message) {
            messages.put_back();
            break Ok(Fed::Last(Next::HandOver(mailbox)));
        }
        worker.client_streamed(now, &mut outgoing, client, message);
        if let Some(id) = worker.take_bound() {
            break Ok(Fed::Last(Next::Splice(id)));
        }
        count += 1;
    };
    worker.end_turn(outgoing);
    fed
}

/// How long a TLS handshake may take.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a connection may take to say anything at all.
const FIRST_BYTES_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a message may take: a stalled network may recover, and the call with it, which ICE gives up no sooner (consent,
/// [RFC 7675 §5.1](https://www.rfc-editor.org/rfc/rfc7675#section-5.1)).
const MESSAGE_TIME_MAX: Duration = Duration::from_secs(30);
/// The same for who has no allocation.
const STRANGERS_MESSAGE_TIME_MAX: Duration = Duration::from_secs(10);
/// How long who has none may pause within a message. Much that is no TURN begins like a long ChannelData message, HTTP's
/// `GET ` too, and says no more.
const STRANGERS_PAUSE_MAX: Duration = Duration::from_secs(3);
/// How long a connection without an allocation may say nothing.
const IDLE_TIME_MAX: Duration = Duration::from_secs(60);
/// How long a client may take to read what it was sent before its end: it may be slow, but not for ever.
const LAST_ANSWERS_TIME_MAX: Duration = Duration::from_secs(10);
/// How long the end itself may take to be said.
const FAREWELL_TIME_MAX: Duration = Duration::from_secs(1);
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A connection that is accepted takes as long as so much that is read.
const ACCEPTED_BYTES: usize = 4 * 1024;
/// How much is read at least, if there is so much.
const READ_BYTES: usize = 32 * 1024;

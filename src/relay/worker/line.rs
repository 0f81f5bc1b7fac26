//! A TCP or TLS client's connection, as its worker has it: what leaves is written at once, many messages in one system
//! call and from where they lie; what the kernel does not take waits, bounded, for the connection's task.

use std::{
    cell::{Cell, RefCell},
    io, mem,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::Notify,
};

use crate::relay::worker::connection::{Connection, Parts, bytes_of};
use crate::relay::worker::messages::Messages;

/// One connection, read and written through a shared reference: all of a worker is one thread.
#[derive(Debug)]
pub(super) struct Line {
    connection: RefCell<Connection>,
    waiting: RefCell<Messages>,
    /// Whether something is still to be written: what comes meanwhile queues up behind it.
    is_behind: Cell<bool>,
    changed: Notify,
    closed: Cell<bool>,
    overrun: Cell<bool>,
}

impl Line {
    pub(super) fn new(connection: Connection) -> Self {
        Self {
            connection: RefCell::new(connection),
            waiting: RefCell::default(),
            is_behind: Cell::new(false),
            changed: Notify::new(),
            closed: Cell::new(false),
            overrun: Cell::new(false),
        }
    }

    /// Sends relayed data: dropped when the client reads too slowly, as a network would. Says how many messages were
    /// dropped.
    pub(super) fn send_data(&self, messages: &[Parts<'_>]) -> usize {
        let mut rest = messages;
        while !rest.is_empty() && !self.is_behind.get() {
            let (now, later) = rest.split_at(fitting(rest));
            self.send_at_once(now);
            rest = later;
        }
        let dropped = rest
            .iter()
            .filter(|message| !self.queue(message, DATA_BYTES_MAX));
        dropped.count()
    }

    /// Sends an answer: a client that doesn't even read its answers is given up. Says whether it was taken.
    pub(super) fn send_answer(&self, message: &[u8]) -> bool {
        let message = [message, &[], &[]];
        if !self.is_behind.get() {
            self.send_at_once(&[message]);
            return true;
        }
        let taken = self.queue(&message, DATA_BYTES_MAX + ANSWER_BYTES_MAX);
        self.overrun.set(self.overrun.get() || !taken);
        taken
    }

    /// Whether an answer found no room.
    pub(super) fn is_overrun(&self) -> bool {
        self.overrun.get()
    }

    /// Nothing more will be sent: `write_out` ends once it has written what waits.
    pub(super) fn close(&self) {
        self.closed.set(true);
        self.changed.notify_one();
    }

    /// Writes what waits, until closed or the connection fails; says whether all was written.
    ///
    /// Each message is a write of its own, hence over TLS a record of its own: coturn's client takes a record for a
    /// message. The connection buffers, so that it is one system call all the same.
    pub(super) async fn write_out(&self) -> bool {
        let (mut writing, mut writer) = (Messages::default(), self);
        while self.falls_behind().await {
            mem::swap(&mut writing, &mut *self.waiting.borrow_mut());
            for message in writing.iter() {
                if writer.write_all(message).await.is_err() {
                    return false;
                }
            }
            if writer.flush().await.is_err() {
                return false;
            }
            writing.clear();
            self.is_behind.set(!self.waiting.borrow().is_empty());
        }
        true
    }

    /// Appends what has come to the buffer, which has room for it; 0 is the end.
    pub(super) fn poll_fill(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        self.connection.borrow_mut().poll_fill(cx, buffer)
    }

    /// Whether more may have come already.
    pub(super) fn is_readable(&self) -> bool {
        self.connection.borrow_mut().is_readable()
    }

    pub(super) fn into_connection(self) -> Connection {
        self.connection.into_inner()
    }

    /// Waits until something is to be written; `false` when nothing will be.
    async fn falls_behind(&self) -> bool {
        while !self.is_behind.get() {
            if self.closed.get() {
                return false;
            }
            self.changed.notified().await;
        }
        true
    }

    /// Sends as much as the kernel takes, while nothing waits; the rest waits.
    fn send_at_once(&self, messages: &[Parts<'_>]) {
        let sent = self.connection.borrow_mut().try_send(messages);
        let bytes: usize = messages.iter().map(bytes_of).sum();
        if sent.is_flushed && sent.bytes == bytes {
            return;
        }
        let mut waiting = self.waiting.borrow_mut();
        let mut sent_bytes = sent.bytes;
        for message in messages {
            let rest = message.map(|part| {
                let (sent, rest) = part.split_at(sent_bytes.min(part.len()));
                sent_bytes -= sent.len();
                rest
            });
            if bytes_of(&rest) > 0 {
                waiting.push(&rest);
            }
        }
        self.fall_behind();
    }

    fn queue(&self, message: &Parts<'_>, bytes_max: usize) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.bytes() + bytes_of(message) > bytes_max {
            return false;
        }
        waiting.push(message);
        true
    }

    fn fall_behind(&self) {
        self.is_behind.set(true);
        self.changed.notify_one();
    }
}

impl AsyncWrite for &Line {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.connection.borrow_mut()).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.connection.borrow_mut()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.connection.borrow_mut()).poll_shutdown(cx)
    }
}

/// How many messages are sent at once: at least one.
fn fitting(messages: &[Parts<'_>]) -> usize {
    let mut bytes = 0;
    let fitting = messages.iter().take_while(|message| {
        bytes += bytes_of(message);
        bytes <= AT_ONCE_BYTES_MAX
    });
    fitting.count().max(1)
}

/// With what the kernel keeps about a second of video: what is older is worthless to the client.
const DATA_BYTES_MAX: usize = 128 * 1024;
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// A TLS session that has written all it had takes so much, records and all, before it must write again.
const AT_ONCE_BYTES_MAX: usize = 48 * 1024;

#[cfg(test)]
mod tests {
    use std::{
        net::{Ipv4Addr, TcpListener, TcpStream},
        sync::Arc,
    };

    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::clock::Now;
    use crate::relay::engine::limits::{Limits, Settings};
    use crate::relay::worker::connection::Socket;
    use crate::relay::worker::reactor::{self, Reactor, Tcp};
    use crate::source::Source;

    #[test]
    fn what_is_sent_leaves_in_its_order_before_the_end() {
        reactor::run(async |reactor| {
            let (line, client) = line(&reactor);
            assert!(line.send_answer(b"one "));
            assert_eq!(
                line.send_data(&[[b"t", b"w", b"o "], [b"three", b"", b""]]),
                0
            );
            line.close();
            assert!(line.write_out().await);
            drop(line);
            let mut heard = Vec::new();
            (&client).read_to_end(&mut heard).await.unwrap();
            assert_eq!(heard, b"one two three");
        });
    }

    #[test]
    fn a_slow_reader_loses_data_first_and_then_the_connection() {
        reactor::run(async |reactor| {
            let (line, client) = line(&reactor);
            let mut numbers = 0_u32..;
            let mut sent: Vec<[u8; 4]> = Vec::new();
            loop {
                let (a, b) = (numbers.next().unwrap(), numbers.next().unwrap());
                let (a, b) = (a.to_be_bytes(), b.to_be_bytes());
                let payload = [7; 1000];
                let dropped = line.send_data(&[[&a, &payload, b"xyz"], [&b, &payload, b"xyz"]]);
                sent.extend([a, b].iter().take(2 - dropped));
                if dropped == 2 {
                    break;
                }
            }
            assert!(!line.is_overrun());
            let mut answers = 0;
            while line.send_answer(&[9; 1007]) {
                answers += 1;
            }
            assert!(answers > 0 && line.is_overrun());
            assert!(line.waiting.borrow().bytes() <= DATA_BYTES_MAX + ANSWER_BYTES_MAX);
            // Whatever was taken comes whole, and in its order.
            line.close();
            let reading = async {
                let mut message = [0; 1007];
                for number in sent {
                    (&client).read_exact(&mut message).await.unwrap();
                    assert_eq!(
                        (&message[..4], &message[1004..]),
                        (&number[..], &b"xyz"[..])
                    );
                }
                for _ in 0..answers {
                    (&client).read_exact(&mut message).await.unwrap();
                    assert_eq!(message, [9; 1007]);
                }
            };
            let (is_written, ()) = tokio::join!(line.write_out(), reading);
            assert!(is_written);
        });
    }

    #[test]
    fn so_many_messages_go_at_once_as_fit_but_one_at_least() {
        let (large, small) = (vec![0; 60_000], vec![0; 10_000]);
        let of = |payload| [&[][..], payload, &[]];
        assert_eq!(fitting(&[of(&large), of(&small)]), 1);
        assert_eq!(fitting(&[of(&small); 10]), 4);
        assert_eq!(fitting(&[of(&small); 3]), 3);
    }

    fn line(reactor: &Arc<Reactor>) -> (Line, Tcp) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, from) = listener.accept().unwrap();
        let [socket, client] = [socket, client].map(|socket| {
            socket.set_nonblocking(true).unwrap();
            Tcp::new(reactor, socket).unwrap()
        });
        let limits = Limits::new(Now::read(), Settings::default());
        let place = limits.connect(Now::read(), Source(from.ip())).unwrap();
        let connection = Connection::tcp(Socket::new(socket), place);
        (Line::new(connection), client)
    }
}

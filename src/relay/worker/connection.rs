//! A client's connection, TCP or TLS. It can leave one worker and go on with another, TLS session and all.

use std::{
    io::{self, ErrorKind, IoSlice, Write},
    mem,
    net::TcpStream,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use arrayvec::ArrayVec;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;

use crate::relay::engine::limits::Connected;
use crate::relay::worker::batch::DEPARTURES_MAX;
use crate::relay::worker::reactor::{Reactor, Tcp};
use crate::relay::worker::sockets;

/// A connection that has come so far as to carry messages, and its place among those that there may be.
#[derive(Debug)]
pub(super) struct Connection {
    wire: Wire,
    _place: Connected,
}

#[derive(Debug)]
enum Wire {
    Tcp(Socket),
    Tls(Box<TlsStream<Socket>>),
}

/// One message, in pieces that lie apart; any may be empty.
pub(super) type Parts<'m> = [&'m [u8]; 3];

/// How long a message is.
pub(super) fn bytes_of(message: &Parts<'_>) -> usize {
    message.iter().map(|part| part.len()).sum()
}

/// How much of some messages has left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// So many of their bytes: whole messages, and perhaps the beginning of another one.
    pub(super) bytes: usize,
    /// Whether these are with the kernel; if not, the next flush takes them there.
    pub(super) is_flushed: bool,
}

/// A connection between two workers: nobody waits for it to become readable.
#[derive(Debug)]
pub(super) struct Parked(Connection);

/// A socket that writes what was written to it at once when it is flushed, and keeps no memory in between: most
/// connections are silent, and some never say anything.
#[derive(Debug)]
pub(super) struct Socket {
    place: Place,
    unsent: Vec<u8>,
    sent: usize,
}

/// Watched by the worker that the socket is with; between two, by none.
#[derive(Debug)]
enum Place {
    Here(Tcp),
    Parked(Option<TcpStream>),
}

impl Connection {
    pub(super) fn tcp(socket: Socket, place: Connected) -> Self {
        Self {
            wire: Wire::Tcp(socket),
            _place: place,
        }
    }

    pub(super) fn tls(session: TlsStream<Socket>, place: Connected) -> Self {
        Self {
            wire: Wire::Tls(Box::new(session)),
            _place: place,
        }
    }

    /// Sends what the kernel takes of these messages; over TLS each is a record. Nothing written before may wait for a
    /// flush. An error shows at the next flush.
    pub(super) fn try_send(&mut self, messages: &[Parts<'_>]) -> Sent {
        match &mut self.wire {
            Wire::Tcp(socket) => socket.try_send(messages),
            Wire::Tls(session) => {
                let (socket, session) = session.get_mut();
                let mut bytes = 0;
                for message in messages {
                    let written = session.writer().write_vectored(&slices([message]));
                    let written = written.unwrap_or(0);
                    bytes += written;
                    if written < bytes_of(message) {
                        break;
                    }
                }
                while session.wants_write() && session.write_tls(&mut AtOnce(socket)).is_ok() {}
                Sent {
                    bytes,
                    is_flushed: !session.wants_write(),
                }
            }
        }
    }

    /// Appends what has come to the buffer, which has room for it; 0 is the end.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        match &mut self.wire {
            Wire::Tcp(socket) => socket.here()?.poll_fill(cx, buffer),
            Wire::Tls(session) => {
                let read = pin!(session.read_buf(buffer)).poll(cx);
                answer_by_itself(session, cx);
                read
            }
        }
    }

    /// Whether more may have come already.
    pub(super) fn is_readable(&mut self) -> bool {
        let socket = self.socket().here();
        socket.is_ok_and(Tcp::is_readable)
    }

    /// Takes it away from this worker.
    ///
    /// # Errors
    /// When the kernel can't let go of the socket.
    pub(super) fn park(mut self) -> io::Result<Parked> {
        self.socket().park()?;
        Ok(Parked(self))
    }

    /// All bytes count from now on: what is urgent comes in its place.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn take_all(&mut self) -> io::Result<()> {
        match &mut self.wire {
            Wire::Tcp(socket) => sockets::urgent_inline(socket.here()?.socket()),
            // It would be no TLS.
            Wire::Tls(_) => Ok(()),
        }
    }

    fn socket(&mut self) -> &mut Socket {
        match &mut self.wire {
            Wire::Tcp(socket) => socket,
            Wire::Tls(session) => session.get_mut().0,
        }
    }
}

impl Parked {
    /// Goes on with another worker.
    ///
    /// # Errors
    /// When the kernel can't watch the socket.
    pub(super) fn unpark(self, reactor: &Arc<Reactor>) -> io::Result<Connection> {
        let Self(mut connection) = self;
        connection.socket().unpark(reactor)?;
        Ok(connection)
    }
}

impl Socket {
    pub(super) fn new(socket: Tcp) -> Self {
        Self {
            place: Place::Here(socket),
            unsent: Vec::new(),
            sent: 0,
        }
    }

    fn try_send(&self, messages: &[Parts<'_>]) -> Sent {
        let bytes = AtOnce(self).write_vectored(&slices(messages)).unwrap_or(0);
        Sent {
            bytes,
            is_flushed: true,
        }
    }

    fn park(&mut self) -> io::Result<()> {
        let socket = match mem::replace(&mut self.place, Place::Parked(None)) {
            Place::Here(socket) => Some(socket.into_inner()?),
            Place::Parked(socket) => socket,
        };
        self.place = Place::Parked(socket);
        Ok(())
    }

    fn unpark(&mut self, reactor: &Arc<Reactor>) -> io::Result<()> {
        if let Place::Parked(socket) = &mut self.place {
            let socket = socket.take().ok_or(ErrorKind::NotConnected)?;
            self.place = Place::Here(Tcp::new(reactor, socket)?);
        }
        Ok(())
    }

    fn here(&self) -> io::Result<&Tcp> {
        match &self.place {
            Place::Here(socket) => Ok(socket),
            Place::Parked(_) => Err(ErrorKind::NotConnected.into()),
        }
    }

    /// Writes all that waits.
    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.unsent.len() {
            let mut socket = self.here()?;
            let written = Pin::new(&mut socket).poll_write(cx, &self.unsent[self.sent..]);
            match ready!(written)? {
                0 => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                written => self.sent += written,
            }
        }
        self.unsent = Vec::new();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }
}

/// Writes to a socket past its buffer, which must be empty, as much as the kernel takes.
struct AtOnce<'s>(&'s Socket);

impl AtOnce<'_> {
    fn here(&self) -> io::Result<&Tcp> {
        if self.0.unsent.is_empty() {
            self.0.here()
        } else {
            Err(ErrorKind::WouldBlock.into())
        }
    }
}

impl Write for AtOnce<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.here()?.try_write(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.here()?.try_write(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn slices<'m>(
    messages: impl IntoIterator<Item = &'m Parts<'m>>,
) -> ArrayVec<IoSlice<'m>, { DEPARTURES_MAX * 3 }> {
    let parts = messages.into_iter().flatten();
    let parts = parts.filter(|part| !part.is_empty());
    parts.map(|part| IoSlice::new(part)).collect()
}

/// Sends what TLS has to say about what was read, an alert for one: there may be nothing else to send for a long time. An
/// error shows when something is.
fn answer_by_itself(session: &mut TlsStream<Socket>, cx: &mut Context<'_>) {
    let _ = Pin::new(session).poll_flush(cx);
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.here()?).poll_read(cx, room)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let socket = self.get_mut();
        if socket.unsent.len() >= UNSENT_BYTES_MAX {
            ready!(socket.poll_write_out(cx))?;
        }
        socket.unsent.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    /// All at once: TLS tries only once to write the alert of a failed handshake, behind all that it has said before.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let socket = self.get_mut();
        if socket.unsent.len() >= UNSENT_BYTES_MAX {
            ready!(socket.poll_write_out(cx))?;
        }
        let unsent_before = socket.unsent.len();
        for slice in slices {
            socket.unsent.extend_from_slice(slice);
        }
        Poll::Ready(Ok(socket.unsent.len() - unsent_before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = self.get_mut();
        ready!(socket.poll_write_out(cx))?;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = self.get_mut();
        ready!(socket.poll_write_out(cx))?;
        Pin::new(&mut socket.here()?).poll_shutdown(cx)
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().wire {
            Wire::Tcp(connection) => Pin::new(connection).poll_read(cx, room),
            Wire::Tls(session) => {
                let read = Pin::new(&mut *session).poll_read(cx, room);
                answer_by_itself(session, cx);
                read
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().wire {
            Wire::Tcp(connection) => Pin::new(connection).poll_write(cx, bytes),
            Wire::Tls(session) => Pin::new(session).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().wire {
            Wire::Tcp(connection) => Pin::new(connection).poll_flush(cx),
            Wire::Tls(session) => Pin::new(session).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().wire {
            Wire::Tcp(connection) => Pin::new(connection).poll_shutdown(cx),
            Wire::Tls(session) => Pin::new(session).poll_shutdown(cx),
        }
    }
}

/// What waits for a flush is written out before more is taken, once it is so much.
const UNSENT_BYTES_MAX: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        net::{Ipv4Addr, TcpListener},
        time::Duration,
    };

    use tokio::join;
    use tokio_rustls::{
        TlsAcceptor, TlsConnector,
        rustls::{
            ServerConfig,
            crypto::ring,
            pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
        },
    };

    use super::*;
    use crate::clock::Now;
    use crate::relay::engine::limits::{Limits, Settings};
    use crate::relay::worker::reactor;
    use crate::source::Source;
    use crate::trusting;

    #[test]
    fn what_tls_has_to_say_leaves_while_only_reading() {
        reactor::run(async |reactor| {
            let (near, far) = pair(&reactor);
            let connector = TlsConnector::from(Arc::new(trusting::client_config().unwrap()));
            let name = "localhost".try_into().unwrap();
            let (near, far) = join!(
                acceptor().accept(Socket::new(near)),
                connector.connect(name, Socket::new(far))
            );
            let (mut near, mut far) = (near.unwrap(), far.unwrap());
            near.get_mut().1.send_close_notify();
            let mut connection = Connection::tls(near, place());
            let mut buffer = Vec::with_capacity(100);
            poll_fn(|cx| {
                assert!(connection.poll_fill(cx, &mut buffer).is_pending());
                Poll::Ready(())
            })
            .await;
            let second = Duration::from_secs(1);
            let heard = reactor.within(second, far.read_buf(&mut buffer)).await;
            // The end, as it was said.
            assert_eq!(heard.unwrap().unwrap(), 0);
        });
    }

    fn pair(reactor: &Arc<Reactor>) -> (Tcp, Tcp) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (near, _) = listener.accept().unwrap();
        let watched = |socket: TcpStream| {
            socket.set_nonblocking(true).unwrap();
            Tcp::new(reactor, socket).unwrap()
        };
        (watched(near), watched(far))
    }

    fn place() -> Connected {
        let limits = Limits::new(Now::read(), Settings::default());
        let source = Source(Ipv4Addr::LOCALHOST.into());
        limits.connect(Now::read(), source).unwrap()
    }

    fn acceptor() -> TlsAcceptor {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], PrivateKeyDer::Pkcs8(key));
        Arc::new(config.unwrap()).into()
    }
}

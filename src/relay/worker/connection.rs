//! A client's connection, TCP or TLS. It can leave one worker's runtime and go on in another's, TLS session and all.

use std::{
    io::{self, ErrorKind, IoSlice},
    mem, net,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, BufWriter, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use crate::relay::engine::limits::Connected;

/// A connection that has come so far as to carry messages, and its place among those that there may be.
#[derive(Debug)]
pub(super) struct Connection {
    wire: Wire,
    _place: Connected,
}

#[derive(Debug)]
enum Wire {
    Tcp(BufWriter<Socket>),
    Tls(Box<TlsStream<BufWriter<Socket>>>),
}

/// A connection between two workers: nobody waits for it to become readable.
#[derive(Debug)]
pub(super) struct Parked(Connection);

/// A socket, known to the runtime of the worker that it is with; between two, to none.
#[derive(Debug)]
pub(super) enum Socket {
    Here(TcpStream),
    Parked(Option<net::TcpStream>),
}

impl Connection {
    pub(super) fn tcp(socket: BufWriter<Socket>, place: Connected) -> Self {
        Self {
            wire: Wire::Tcp(socket),
            _place: place,
        }
    }

    pub(super) fn tls(session: TlsStream<BufWriter<Socket>>, place: Connected) -> Self {
        Self {
            wire: Wire::Tls(Box::new(session)),
            _place: place,
        }
    }

    /// Takes it out of this worker's runtime.
    ///
    /// # Errors
    /// When the runtime can't let go of the socket.
    pub(super) fn park(mut self) -> io::Result<Parked> {
        self.socket().park()?;
        Ok(Parked(self))
    }

    fn socket(&mut self) -> &mut Socket {
        match &mut self.wire {
            Wire::Tcp(connection) => connection.get_mut(),
            Wire::Tls(session) => session.get_mut().0.get_mut(),
        }
    }
}

impl Parked {
    /// Goes on in the runtime of the calling worker.
    ///
    /// # Errors
    /// When the runtime can't take the socket.
    pub(super) fn unpark(self) -> io::Result<Connection> {
        let Self(mut connection) = self;
        connection.socket().unpark()?;
        Ok(connection)
    }
}

impl Socket {
    /// With room for what is written at once.
    pub(super) fn buffered(socket: TcpStream) -> BufWriter<Self> {
        BufWriter::new(Self::Here(socket))
    }

    fn park(&mut self) -> io::Result<()> {
        let socket = match mem::replace(self, Self::Parked(None)) {
            Self::Here(socket) => Some(socket.into_std()?),
            Self::Parked(socket) => socket,
        };
        *self = Self::Parked(socket);
        Ok(())
    }

    fn unpark(&mut self) -> io::Result<()> {
        if let Self::Parked(socket) = self {
            let socket = socket.take().ok_or(ErrorKind::NotConnected)?;
            *self = Self::Here(TcpStream::from_std(socket)?);
        }
        Ok(())
    }

    fn here(self: Pin<&mut Self>) -> io::Result<Pin<&mut TcpStream>> {
        match self.get_mut() {
            Self::Here(socket) => Ok(Pin::new(socket)),
            Self::Parked(_) => Err(ErrorKind::NotConnected.into()),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.here()?.poll_read(cx, room)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.here()?.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.here()?.poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.here()?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.here()?.poll_shutdown(cx)
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
            Wire::Tls(session) => Pin::new(session).poll_read(cx, room),
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

//! Connections and listeners that tasks wait for.

use std::{
    future::poll_fn,
    io::{self, ErrorKind, IoSlice, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use rustix::{
    buffer::spare_capacity,
    net::{SocketFlags, acceptfrom_with},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::relay::worker::reactor::Reactor;
use crate::relay::worker::reactor::watched::{Watched, Way};

/// A connection. Read and written through a shared reference too: one task may wait to read, and one to write.
#[derive(Debug)]
pub(in crate::relay::worker) struct Tcp(Watched<TcpStream>);

/// Where connections come in.
#[derive(Debug)]
pub(in crate::relay::worker) struct Listener(Watched<TcpListener>);

impl Tcp {
    /// # Errors
    /// When the kernel can't watch it.
    pub(in crate::relay::worker) fn new(
        reactor: &Arc<Reactor>,
        socket: TcpStream,
    ) -> io::Result<Self> {
        Watched::new(reactor, socket).map(Self)
    }

    /// Connects a socket that is not connected yet.
    ///
    /// # Errors
    /// The kernel's, also that nobody answered.
    pub(in crate::relay::worker) async fn connect(
        reactor: &Arc<Reactor>,
        socket: TcpStream,
        to: SocketAddr,
    ) -> io::Result<Self> {
        match rustix::net::connect(&socket, &to) {
            Err(error) if error != rustix::io::Errno::INPROGRESS => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
        let tcp = Self::new(reactor, socket)?;
        poll_fn(|cx| tcp.0.poll_ready(Way::Write, cx)).await;
        match tcp.socket().take_error()? {
            Some(error) => Err(error),
            None => Ok(tcp),
        }
    }

    pub(in crate::relay::worker) fn socket(&self) -> &TcpStream {
        self.0.socket()
    }

    pub(in crate::relay::worker) fn reactor(&self) -> &Arc<Reactor> {
        self.0.reactor()
    }

    /// The socket, unwatched.
    ///
    /// # Errors
    /// When the kernel can't let go of it.
    pub(in crate::relay::worker) fn into_inner(self) -> io::Result<TcpStream> {
        self.0.into_inner()
    }

    /// Whether there may be something to read, or the end.
    pub(in crate::relay::worker) fn is_readable(&self) -> bool {
        self.0.is_ready(Way::Read)
    }

    /// Waits until there is something to read, or the end.
    pub(in crate::relay::worker) async fn readable(&self) {
        poll_fn(|cx| self.0.poll_ready(Way::Read, cx)).await;
    }

    /// Waits until `look` does not say that it would block for more; it is asked again when more has come. There is
    /// none to wait for where the other end has closed.
    ///
    /// # Errors
    /// What `look` says besides.
    pub(in crate::relay::worker) async fn look(
        &self,
        mut look: impl FnMut(&TcpStream) -> io::Result<()>,
    ) -> io::Result<()> {
        poll_fn(|cx| {
            if self.0.is_read_closed() {
                return Poll::Ready(Ok(()));
            }
            self.0.poll_io(Way::Read, cx, &mut look)
        })
        .await
    }

    /// Writes at once what the kernel takes.
    ///
    /// # Errors
    /// `WouldBlock` where it takes nothing, and whatever else it says.
    pub(in crate::relay::worker) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0
            .try_io(Way::Write, |mut socket| socket.write_vectored(slices))
    }

    /// Appends what has come to the buffer, which has room for it.
    pub(in crate::relay::worker) fn poll_fill(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        let room = buffer.spare_capacity_mut().len();
        let read = self.0.poll_io(Way::Read, cx, |socket| {
            Ok(rustix::io::read(socket, spare_capacity(buffer))?)
        });
        self.note_read(ready!(read), room)
    }

    /// A room that was not filled says that there is no more, but for where something urgent was: so much spares a system
    /// call that would only find out.
    fn note_read(&self, read: io::Result<usize>, room: usize) -> Poll<io::Result<usize>> {
        if read.as_ref().is_ok_and(|bytes| *bytes < room) && !self.0.has_urgent() {
            self.0.is_done(Way::Read);
        }
        Poll::Ready(read)
    }
}

impl Listener {
    /// # Errors
    /// When the kernel can't watch it.
    pub(in crate::relay::worker) fn new(
        reactor: &Arc<Reactor>,
        socket: TcpListener,
    ) -> io::Result<Self> {
        Watched::new(reactor, socket).map(Self)
    }

    pub(in crate::relay::worker) fn reactor(&self) -> &Arc<Reactor> {
        self.0.reactor()
    }

    /// The next connection, and from where.
    pub(in crate::relay::worker) fn poll_accept(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        self.0.poll_io(Way::Read, cx, |listener| {
            let (socket, source) = acceptfrom_with(listener, flags)?;
            let source = source.ok_or(ErrorKind::ConnectionAborted)?;
            Ok((TcpStream::from(socket), SocketAddr::try_from(source)?))
        })
    }
}

impl AsyncRead for &Tcp {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let free = room.initialize_unfilled();
        let size = free.len();
        let read = self
            .0
            .poll_io(Way::Read, cx, |mut socket| socket.read(free));
        let bytes = ready!(self.note_read(ready!(read), size))?;
        room.advance(bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for &Tcp {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0
            .poll_io(Way::Write, cx, |mut socket| socket.write(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket().shutdown(Shutdown::Write))
    }
}

//! A socket that tasks wait for.

use std::{
    io::{self, ErrorKind},
    os::fd::{AsFd, AsRawFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::task::AtomicWaker;
use mio::{Interest, event::Event, unix::SourceFd};

use crate::relay::worker::reactor::{Reactor, Watching};

/// A socket, and what is known of its readiness. It closes before anybody else has its number.
#[derive(Debug)]
pub(super) struct Watched<S> {
    socket: S,
    registration: Registration,
}

#[derive(Debug)]
struct Registration {
    reactor: Arc<Reactor>,
    number: usize,
    readiness: Arc<Readiness>,
}

/// What the poll has told of a socket.
#[derive(Debug, Default)]
pub(super) struct Readiness {
    read: Side,
    write: Side,
    /// Whether anything urgent has ever come: what is read ends before it, though more has come behind.
    has_urgent: AtomicBool,
}

#[derive(Debug, Default)]
struct Side {
    /// Until a system call finds that it is not.
    is_ready: AtomicBool,
    /// For ever: there is an end, or an error, to be found.
    is_closed: AtomicBool,
    waker: AtomicWaker,
}

/// What somebody wants to do with a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Read,
    Write,
}

impl<S: AsFd> Watched<S> {
    /// # Errors
    /// When the kernel can't watch it.
    pub(super) fn new(reactor: &Arc<Reactor>, socket: S) -> io::Result<Self> {
        let readiness = Arc::<Readiness>::default();
        let number = reactor.sockets().insert(Arc::clone(&readiness));
        let registration = Registration {
            reactor: Arc::clone(reactor),
            number,
            readiness,
        };
        let all = Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY;
        reactor.register(&socket, Watching::Socket(number), all)?;
        Ok(Self {
            socket,
            registration,
        })
    }

    /// Does it once the socket is ready; `work` would block where it was not.
    pub(super) fn poll_io<T>(
        &self,
        way: Way,
        cx: &mut Context<'_>,
        work: impl FnMut(&S) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        match self.try_io(way, work) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.side(way).waker.register(cx.waker());
                Poll::Pending
            }
            done => Poll::Ready(done),
        }
    }

    /// Does it if the socket is ready.
    ///
    /// # Errors
    /// `WouldBlock` where it is not.
    pub(super) fn try_io<T>(
        &self,
        way: Way,
        mut work: impl FnMut(&S) -> io::Result<T>,
    ) -> io::Result<T> {
        let side = self.side(way);
        if !side.is_ready() {
            return Err(ErrorKind::WouldBlock.into());
        }
        loop {
            match work(&self.socket) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.is_done(way);
                    return Err(error);
                }
                done => return done,
            }
        }
    }

    /// Waits until the socket is ready, and does nothing.
    pub(super) fn poll_ready(&self, way: Way, cx: &mut Context<'_>) -> Poll<()> {
        let side = self.side(way);
        side.waker.register(cx.waker());
        if side.is_ready() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    pub(super) fn is_ready(&self, way: Way) -> bool {
        self.side(way).is_ready()
    }

    /// There is no more to be done at once: the poll tells when there is.
    pub(super) fn is_done(&self, way: Way) {
        self.side(way).is_ready.store(false, Ordering::Relaxed);
    }

    /// Whether the other end will send nothing more.
    pub(super) fn is_read_closed(&self) -> bool {
        let read = &self.registration.readiness.read;
        read.is_closed.load(Ordering::Relaxed)
    }

    /// Whether anything urgent has ever come.
    pub(super) fn has_urgent(&self) -> bool {
        let has_urgent = &self.registration.readiness.has_urgent;
        has_urgent.load(Ordering::Relaxed)
    }

    pub(super) fn socket(&self) -> &S {
        &self.socket
    }

    pub(super) fn reactor(&self) -> &Arc<Reactor> {
        &self.registration.reactor
    }

    /// The socket, unwatched.
    ///
    /// # Errors
    /// When the kernel can't let go of it.
    pub(super) fn into_inner(self) -> io::Result<S> {
        let fd = self.socket.as_fd().as_raw_fd();
        let registry = &self.registration.reactor.registry;
        registry.deregister(&mut SourceFd(&fd))?;
        Ok(self.socket)
    }

    fn side(&self, way: Way) -> &Side {
        match way {
            Way::Read => &self.registration.readiness.read,
            Way::Write => &self.registration.readiness.write,
        }
    }
}

impl Readiness {
    pub(super) fn take_note(&self, event: &Event) {
        if event.is_priority() {
            self.has_urgent.store(true, Ordering::Relaxed);
        }
        if event.is_readable() || event.is_read_closed() {
            self.read.take_note(event.is_read_closed());
        }
        if event.is_writable() || event.is_write_closed() {
            self.write.take_note(event.is_write_closed());
        }
    }
}

impl Side {
    fn take_note(&self, is_closed: bool) {
        self.is_ready.store(true, Ordering::Relaxed);
        if is_closed {
            self.is_closed.store(true, Ordering::Relaxed);
        }
        self.waker.wake();
    }

    fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Relaxed) || self.is_closed.load(Ordering::Relaxed)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.reactor.sockets().try_remove(self.number);
    }
}

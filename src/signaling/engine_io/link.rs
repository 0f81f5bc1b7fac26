//! An open WebSocket: its bytes, and what is left of them for later. An idle one has no buffer.

use std::{
    cell::Cell,
    io,
    ops::ControlFlow,
    pin::Pin,
    task::{Context, Poll, ready},
    thread::LocalKey,
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::frame::{self, Assembler, Message, Opcode, Violation};

pub(super) struct Link {
    io: Io,
    assembler: Assembler,
    /// A frame whose end has not come yet.
    rest: Vec<u8>,
    /// What was to be written and could not.
    unsent: Bytes,
    /// Frames of the connection's own, which go before messages.
    own: Vec<u8>,
    /// Since when nothing could be written.
    stuck_since: Option<Instant>,
    goodbye: Goodbye,
}

enum Io {
    Tcp(TcpStream),
    /// Whatever else HTTP may come over.
    Other(Box<TokioIo<Upgraded>>),
}

/// How far it is with saying why it closes.
enum Goodbye {
    Code(u16),
    Said,
    ShutDown,
}

/// Why a client says no more.
#[derive(Debug)]
pub(super) enum Over {
    /// The transport is gone.
    Lost,
    /// It said goodbye, or something that it may not say.
    Closing,
}

impl Link {
    pub(super) fn new(upgraded: Upgraded, message_bytes_max: usize) -> Self {
        let (io, rest) = match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(parts) => (Io::Tcp(parts.io.into_inner()), parts.read_buf.to_vec()),
            Err(upgraded) => (Io::Other(Box::new(TokioIo::new(upgraded))), Vec::new()),
        };
        Self {
            io,
            assembler: Assembler::new(message_bytes_max),
            rest,
            unsent: Bytes::new(),
            own: Vec::new(),
            stuck_since: None,
            goodbye: Goodbye::Code(frame::NORMAL),
        }
    }

    /// Since when nothing that is to be written could be.
    pub(super) fn stuck_since(&self) -> Option<Instant> {
        self.stuck_since
    }

    /// Sends a packet of the transport's, before messages that wait.
    pub(super) fn say(&mut self, packet: &str) {
        frame::put(&mut self.own, Opcode::Text, [packet.as_bytes(), b""]);
    }

    /// Lets `serve` have the client's messages, until it says that it has enough: the rest waits.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        mut serve: impl FnMut(Message<'_>) -> ControlFlow<()>,
    ) -> Poll<Result<(), Over>> {
        if !self.rest.is_empty() {
            let mut bytes = std::mem::take(&mut self.rest);
            let taken = self.take(&mut bytes, &mut serve)?;
            self.keep(bytes, taken);
            if taken > 0 {
                return Poll::Ready(Ok(()));
            }
        }
        with_buffer(&READ_BUFFER, |buffer| {
            let Ok(fresh) = ready!(self.io.poll_read(cx, buffer)) else {
                return Poll::Ready(Err(Over::Lost));
            };
            if fresh.is_empty() {
                return Poll::Ready(Err(Over::Lost));
            }
            if self.rest.is_empty() {
                let taken = self.take(fresh, &mut serve)?;
                self.rest = fresh[taken..].to_vec();
            } else {
                let mut bytes = std::mem::take(&mut self.rest);
                bytes.extend_from_slice(fresh);
                let taken = self.take(&mut bytes, &mut serve)?;
                self.keep(bytes, taken);
            }
            Poll::Ready(Ok(()))
        })
    }

    fn keep(&mut self, bytes: Vec<u8>, taken: usize) {
        self.rest = if taken == 0 {
            bytes
        } else {
            bytes[taken..].to_vec()
        };
    }

    fn take(
        &mut self,
        bytes: &mut [u8],
        serve: &mut impl FnMut(Message<'_>) -> ControlFlow<()>,
    ) -> Result<usize, Over> {
        let mut taken = 0;
        loop {
            let (frame_bytes, message) = match self.assembler.take(&mut bytes[taken..]) {
                Ok(frame) => frame,
                Err(Violation(code)) => {
                    tracing::debug!(code, "no WebSocket frame");
                    self.goodbye = Goodbye::Code(code);
                    return Err(Over::Closing);
                }
            };
            taken += frame_bytes;
            let flow = match message {
                Some(Message::Ping(payload)) => {
                    self.pong(payload);
                    ControlFlow::Continue(())
                }
                Some(Message::Close(code)) => {
                    self.goodbye = Goodbye::Code(code.unwrap_or(frame::NORMAL));
                    return Err(Over::Closing);
                }
                Some(message @ (Message::Text(_) | Message::Binary(_))) => serve(message),
                Some(Message::Pong) | None => ControlFlow::Continue(()),
            };
            if frame_bytes == 0 || flow.is_break() {
                return Ok(taken);
            }
        }
    }

    /// Who asks without reading is not answered each time.
    fn pong(&mut self, payload: &[u8]) {
        if self.own.len() < OWN_BYTES_MAX {
            frame::put(&mut self.own, Opcode::Pong, [payload, b""]);
        }
    }

    /// Writes what there is, as much at once as possible: what is `unsent`, then what `fill` adds, until it adds nothing.
    pub(super) fn poll_flush(
        &mut self,
        now: Instant,
        cx: &mut Context<'_>,
        mut fill: impl FnMut(&mut Vec<u8>),
    ) -> Poll<io::Result<()>> {
        loop {
            while self.unsent.has_remaining() {
                let written = self.io.poll_write(cx, &self.unsent);
                let bytes = ready!(self.note(now, written))?;
                self.unsent.advance(bytes);
            }
            self.unsent = Bytes::new();
            let is_all = with_buffer(&WRITE_BUFFER, |buffer| {
                buffer.clear();
                buffer.append(&mut std::mem::take(&mut self.own));
                fill(buffer);
                if buffer.is_empty() {
                    return Ok(true);
                }
                let written = self.io.poll_write(cx, buffer);
                let sent = match self.note(now, written) {
                    Poll::Ready(sent) => sent?,
                    Poll::Pending => 0,
                };
                self.unsent = Bytes::copy_from_slice(&buffer[sent..]);
                io::Result::Ok(false)
            })?;
            if is_all {
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn note(&mut self, now: Instant, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.stuck_since = match &written {
            Poll::Pending => self.stuck_since.or(Some(now)),
            Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(_) => None,
        };
        written
    }

    /// Says everything that there is to say, and why it closes; then waits until the client hangs up.
    pub(super) fn poll_close(
        &mut self,
        now: Instant,
        cx: &mut Context<'_>,
        mut fill: impl FnMut(&mut Vec<u8>),
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_flush(now, cx, &mut fill))?;
            match self.goodbye {
                Goodbye::Code(code) => {
                    frame::put(&mut self.own, Opcode::Close, [&code.to_be_bytes(), b""]);
                    self.goodbye = Goodbye::Said;
                }
                Goodbye::Said => {
                    ready!(self.io.poll_shutdown(cx))?;
                    self.goodbye = Goodbye::ShutDown;
                }
                Goodbye::ShutDown => {
                    // Closed with bytes unread, the connection would be reset, and the goodbye with it.
                    let has_hung_up = with_buffer(&READ_BUFFER, |buffer| {
                        let fresh = ready!(self.io.poll_read(cx, buffer));
                        Poll::Ready(fresh.map_or(true, |fresh| fresh.is_empty()))
                    });
                    if ready!(has_hung_up) {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
    }

    /// The client does not listen: what the system still holds for it is dropped as well.
    pub(super) fn abort(&self) {
        if let Io::Tcp(stream) = &self.io {
            // Where that is refused, the system holds it for as long as it would have.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }
}

impl Io {
    /// What has come; nothing at the end.
    fn poll_read<'b>(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &'b mut Vec<u8>,
    ) -> Poll<io::Result<&'b mut [u8]>> {
        buffer.resize(BUFFER_BYTES, 0);
        let mut fresh = ReadBuf::new(buffer);
        let read = match self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, &mut fresh),
            Self::Other(stream) => Pin::new(stream).poll_read(cx, &mut fresh),
        };
        let bytes = fresh.filled().len();
        read.map_ok(|()| &mut buffer[..bytes])
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Other(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Other(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

thread_local! {
    // One for all the connections that a thread serves, since it serves one at a time.
    static READ_BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static WRITE_BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

fn with_buffer<R>(
    place: &'static LocalKey<Cell<Vec<u8>>>,
    work: impl FnOnce(&mut Vec<u8>) -> R,
) -> R {
    let mut buffer = place.take();
    let done = work(&mut buffer);
    if buffer.capacity() > BUFFER_BYTES_KEPT {
        buffer = Vec::new();
    }
    place.set(buffer);
    done
}

/// Read, and written, at once.
pub(super) const BUFFER_BYTES: usize = 32 * 1024;
const BUFFER_BYTES_KEPT: usize = 4 * BUFFER_BYTES;
const OWN_BYTES_MAX: usize = 1024;

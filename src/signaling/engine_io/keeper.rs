//! A session's one task: whatever its client says is served here, one message after the other, and its end comes last.

use std::{
    future::{Future as _, poll_fn},
    ops::ControlFlow,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::Instant,
};

use tokio::time::{Sleep, sleep_until};

use crate::clock::Now;

use super::frame::Message;
use super::link::{BUFFER_BYTES, Link, Over};
use super::payload::{self, Packet};
use super::polling::Post;
use super::pulse::{Beat, Pulse};
use super::socket::{End, Socket};
use super::{Handler, Shared};

pub(super) struct Keeper<H: Handler> {
    shared: Arc<Shared<H>>,
    socket: Arc<Socket<H::Data>>,
    /// None while the client polls.
    link: Option<Link>,
    pulse: Pulse,
    /// What it knows of the session's end, and has told the handler.
    heard: Option<End>,
    /// When a client that does not take its leave is given up.
    give_up_at: Option<Instant>,
}

impl<H: Handler> Keeper<H> {
    pub(super) fn new(
        now: Instant,
        shared: Arc<Shared<H>>,
        socket: Arc<Socket<H::Data>>,
        link: Option<Link>,
    ) -> Self {
        let times = shared.times();
        let pulse = Pulse::new(now, times.ping_interval, times.ping_timeout);
        Self {
            shared,
            socket,
            link,
            pulse,
            heard: None,
            give_up_at: None,
        }
    }

    /// Keeps the session until it has ended.
    pub(super) async fn keep(mut self) {
        let mut alarm = pin!(sleep_until(self.due().into()));
        poll_fn(|cx| self.poll(cx, alarm.as_mut())).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>, mut alarm: Pin<&mut Sleep>) -> Poll<()> {
        let now = Now::read().mono;
        for _ in 0..ROUNDS_MAX {
            let news = self.socket.news();
            if news.link.is_some() {
                self.link = news.link;
                self.shared.upgraded.fetch_add(1, Ordering::Relaxed);
            }
            if let Some(post) = news.post {
                self.serve_post(now, post);
            }
            let is_quiet = match news.end {
                None => self.converse(now, cx),
                Some(end) if self.wind_up(now, end, cx).is_ready() => return Poll::Ready(()),
                Some(_) => true,
            };
            let due = self.due();
            if alarm.deadline() != due.into() {
                alarm.as_mut().reset(due.into());
            }
            if alarm.as_mut().poll(cx).is_ready() {
                if self.heard.is_some() {
                    self.abort();
                    return Poll::Ready(());
                }
                self.tick(now.max(due));
                continue;
            }
            let is_free = self
                .link
                .as_ref()
                .is_some_and(|link| link.stuck_since().is_none());
            if is_quiet && self.socket.rest(cx.waker(), self.heard, is_free) {
                return Poll::Pending;
            }
        }
        // Others want to be served too.
        self.flush(now, cx);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Hears the client, and sends it what waits; false where it may have said more than that.
    fn converse(&mut self, now: Instant, cx: &mut Context<'_>) -> bool {
        let Self {
            shared,
            socket,
            link,
            pulse,
            ..
        } = self;
        let Some(link) = link else {
            return true;
        };
        let read = link.poll_read(cx, |message| {
            match message {
                Message::Text(text) => {
                    serve(now, &shared.handler, socket, pulse, Packet::parse(&text))
                }
                Message::Binary(bytes) => shared.handler.binary(socket, &bytes),
                Message::Ping(_) | Message::Pong | Message::Close(_) => {}
            }
            if socket.is_closed() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        match read {
            Poll::Ready(Err(Over::Lost)) => socket.cut(),
            Poll::Ready(Err(Over::Closing)) => socket.close(),
            Poll::Ready(Ok(())) => return false,
            Poll::Pending => {}
        }
        self.flush(now, cx);
        true
    }

    fn flush(&mut self, now: Instant, cx: &mut Context<'_>) {
        let Self {
            socket,
            link: Some(link),
            ..
        } = self
        else {
            return;
        };
        let flushed = link.poll_flush(now, cx, |out| socket.fill(out, BUFFER_BYTES));
        if let Poll::Ready(Err(_)) = flushed {
            socket.cut();
        }
    }

    fn serve_post(&mut self, now: Instant, post: Post) {
        for packet in payload::packets(&post.body) {
            if self.socket.is_closed() {
                break;
            }
            serve(
                now,
                &self.shared.handler,
                &self.socket,
                &mut self.pulse,
                packet,
            );
        }
        // A client that does not wait for the answer needs none.
        let _ = post.served.send(());
    }

    /// Tells the handler, then the client.
    fn wind_up(&mut self, now: Instant, end: End, cx: &mut Context<'_>) -> Poll<()> {
        if self.heard.replace(end).is_none() {
            self.give_up_at = Some(now + self.shared.times().goodbye);
            self.shared.handler.closed(&self.socket);
        }
        let socket = &self.socket;
        match (&mut self.link, end) {
            (Some(link), End::Closed) => {
                let closed = link.poll_close(now, cx, |out| socket.fill(out, BUFFER_BYTES));
                closed.map(|_| ())
            }
            (Some(_), End::Cut) => {
                self.abort();
                Poll::Ready(())
            }
            (None, End::Closed) if !socket.is_told() => Poll::Pending,
            (None, End::Closed | End::Cut) => Poll::Ready(()),
        }
    }

    /// Nothing is kept for the client any more, by the system either.
    fn abort(&self) {
        if let Some(link) = &self.link {
            link.abort();
        }
    }

    fn tick(&mut self, now: Instant) {
        if self.stuck_until().is_some_and(|until| until <= now) {
            tracing::debug!("a client that reads nothing is cut off");
            return self.socket.cut();
        }
        match (self.pulse.beat(now), &mut self.link) {
            (Some(Beat::Ping), Some(link)) => link.say(payload::PING),
            (Some(Beat::Ping), None) => self.socket.ping(),
            (Some(Beat::Dead), _) => self.socket.cut(),
            (None, _) => {}
        }
    }

    fn due(&self) -> Instant {
        let beat = self.pulse.due();
        let due = self.stuck_until().map_or(beat, |until| until.min(beat));
        self.give_up_at.unwrap_or(due)
    }

    fn stuck_until(&self) -> Option<Instant> {
        let since = self.link.as_ref()?.stuck_since()?;
        Some(since + self.shared.times().stuck)
    }
}

/// However the task ends, the session ends with it.
impl<H: Handler> Drop for Keeper<H> {
    fn drop(&mut self) {
        self.socket.cut();
        if self.heard.is_none() {
            self.shared.handler.closed(&self.socket);
        }
        // What was posted too late is answered.
        drop(self.socket.news());
        self.shared.remove(self.socket.sid());
    }
}

fn serve<H: Handler>(
    now: Instant,
    handler: &H,
    socket: &Arc<Socket<H::Data>>,
    pulse: &mut Pulse,
    packet: Option<Packet<'_>>,
) {
    match packet {
        Some(Packet::Message(text)) => handler.message(socket, text),
        Some(Packet::Binary(bytes)) => handler.binary(socket, &bytes),
        Some(Packet::Pong) => pulse.pong(now),
        // It is the server that asks.
        None | Some(Packet::Close | Packet::Ping) => socket.close(),
        Some(Packet::Upgrade | Packet::Nothing) => {}
    }
}

/// How often a client is heard before it is another's turn.
const ROUNDS_MAX: usize = 8;

//! One client's session: what its user, its transport and its keeper share. No lock of it is held while anybody is called.

use std::{
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};

use crate::entropy;
use crate::source::Source;

use super::frame::{self, Opcode};
use super::link::Link;
use super::outbox::{Full, Outbox};
use super::payload::{self, Payload};
use super::polling::{Polling, Post};

/// One client, over whatever transport. Whoever holds it may send.
pub(in crate::signaling) struct Socket<D> {
    sid: Sid,
    source: Source,
    outbox_bytes_max: usize,
    state: Mutex<State>,
    /// Its user's own.
    pub(in crate::signaling) data: D,
}

/// A session's name, which only its client can know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::signaling) struct Sid([u8; 15]);

pub(super) struct State {
    outbox: Outbox,
    end: Option<End>,
    /// Of the keeper's task, when it has nothing to do.
    keeper: Option<Waker>,
    /// While it is no WebSocket.
    polling: Option<Box<Polling>>,
}

/// How a session was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// What waits to be sent goes first.
    Closed,
    /// Nothing more is sent.
    Cut,
}

/// What has happened while the keeper was away.
#[derive(Default)]
pub(super) struct News {
    pub(super) end: Option<End>,
    pub(super) post: Option<Post>,
    /// The client has changed over to a WebSocket.
    pub(super) link: Option<Link>,
}

impl<D> Socket<D> {
    /// A session over long-polling, or of a WebSocket from the beginning.
    pub(super) fn new(source: Source, is_polling: bool, outbox_bytes_max: usize, data: D) -> Self {
        let state = State {
            outbox: Outbox::default(),
            end: None,
            keeper: None,
            polling: is_polling.then(Box::default),
        };
        Self {
            sid: Sid(entropy::bytes()),
            source,
            outbox_bytes_max,
            state: Mutex::new(state),
            data,
        }
    }

    pub(in crate::signaling) fn sid(&self) -> Sid {
        self.sid
    }

    /// Where the request that opened it came from.
    pub(in crate::signaling) fn source(&self) -> Source {
        self.source
    }

    /// Whether somebody has ended it.
    pub(in crate::signaling) fn is_closed(&self) -> bool {
        self.state().end.is_some()
    }

    /// Whether it is no WebSocket yet.
    pub(super) fn polls(&self) -> bool {
        self.state().polling.is_some()
    }

    /// Sends a message, or says that the client does not read what it is sent. To whom is gone nothing is sent.
    pub(in crate::signaling) fn send(&self, message: &Arc<str>) -> Result<(), Full> {
        let mut state = self.state();
        if state.end.is_some() {
            return Ok(());
        }
        state.outbox.put(message, self.outbox_bytes_max)?;
        let waiting = match &mut state.polling {
            Some(polling) => polling.poller.take(),
            None => state.keeper.take(),
        };
        drop(state);
        wake(waiting);
        Ok(())
    }

    /// Ends it when what waits has been sent.
    pub(in crate::signaling) fn close(&self) {
        self.end(End::Closed);
    }

    /// Ends it, and drops what waits.
    pub(in crate::signaling) fn cut(&self) {
        self.end(End::Cut);
    }

    fn end(&self, end: End) {
        let mut state = self.state();
        if state.end == Some(End::Cut) || state.end == Some(end) {
            return;
        }
        state.end = Some(end);
        let dropped = match end {
            End::Closed => Outbox::default(),
            End::Cut => mem::take(&mut state.outbox),
        };
        let keeper = state.keeper.take();
        let (poller, trial) = match &mut state.polling {
            Some(polling) => (polling.poller.take(), polling.trial.take()),
            None => (None, None),
        };
        drop(state);
        drop(dropped);
        for waiting in [keeper, poller, trial] {
            wake(waiting);
        }
    }

    /// Ready when somebody has ended it: what tries to take over from long-polling need not try any longer.
    pub(super) fn poll_end(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.end.is_some() {
            return Poll::Ready(());
        }
        if let Some(polling) = &mut state.polling {
            polling.trial = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// The client is asked whether it is there, at its next poll.
    pub(super) fn ping(&self) {
        let mut state = self.state();
        let poller = state.polling.as_mut().and_then(|polling| {
            polling.ping = true;
            polling.poller.take()
        });
        drop(state);
        wake(poller);
    }

    /// The keeper hears what has happened.
    pub(super) fn news(&self) -> News {
        let mut state = self.state();
        // It is awake, and needs nobody to wake it until it rests.
        state.keeper = None;
        let mut news = News {
            end: state.end,
            ..News::default()
        };
        if let Some(polling) = &mut state.polling {
            news.post = polling.post.take();
            // What was posted before the change comes before what came after it.
            if news.post.is_none() {
                news.link = polling.link.take();
            }
        }
        if news.link.is_some() {
            state.polling = None;
        }
        news
    }

    /// The keeper rests until something happens that it has not `heard` of; false if that is so already.
    pub(super) fn rest(&self, waker: &Waker, heard: Option<End>, writes: bool) -> bool {
        let mut state = self.state();
        let has_arrived = match &state.polling {
            Some(polling) => polling.post.is_some() || polling.link.is_some() || polling.is_told,
            None => writes && !state.outbox.is_empty(),
        };
        let is_quiet = state.end == heard && !has_arrived;
        if is_quiet {
            state.keeper = Some(waker.clone());
        }
        is_quiet
    }

    /// Moves messages into `out`, framed, until that is as large as one write needs to be.
    pub(super) fn fill(&self, out: &mut Vec<u8>, bytes_enough: usize) {
        let mut state = self.state();
        while out.len() < bytes_enough
            && let Some(message) = state.outbox.take()
        {
            frame::put(
                out,
                Opcode::Text,
                [payload::MESSAGE.as_bytes(), message.as_bytes()],
            );
        }
        state.outbox.set_under_way(out.len());
    }

    /// What a client that polls is answered; it waits until there is something.
    pub(super) fn payload(&self, cx: &mut Context<'_>) -> Poll<Payload> {
        let mut state = self.state();
        let State {
            outbox,
            end,
            keeper,
            polling,
        } = &mut *state;
        let mut payload = Payload::default();
        let Some(polling) = polling.as_mut().filter(|polling| polling.link.is_none()) else {
            payload.push(payload::NOOP, "");
            return Poll::Ready(payload);
        };
        if mem::take(&mut polling.ping) {
            payload.push(payload::PING, "");
        }
        while let Some(message) = outbox.take() {
            payload.push(payload::MESSAGE, &message);
        }
        // Not in one body with messages: a client that hears the end has no ear for what it has not yet looked at.
        if end.is_some() && payload.is_empty() {
            payload.push(payload::CLOSE, "");
            polling.is_told = true;
            wake(keeper.take());
        }
        if payload.is_empty() && polling.is_probed {
            payload.push(payload::NOOP, "");
        }
        if payload.is_empty() {
            polling.poller = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(payload)
    }

    /// Whether a client that polls knows that its session has ended.
    pub(super) fn is_told(&self) -> bool {
        let state = self.state();
        state.polling.as_ref().is_none_or(|polling| polling.is_told)
    }

    /// The keeper is to serve what a client posted; false where the session has ended, or the client does not poll.
    pub(super) fn post(&self, post: Post) -> bool {
        let is_open = !self.is_closed();
        is_open && self.polling(|polling| polling.post = Some(post)).is_some()
    }

    /// Changes what is known of a client that polls, and lets whoever waits see it; `None` where it does not poll, or not
    /// any more.
    pub(super) fn polling<R>(&self, change: impl FnOnce(&mut Polling) -> R) -> Option<R> {
        let mut state = self.state();
        let polling = state
            .polling
            .as_mut()
            .filter(|polling| polling.link.is_none())?;
        let changed = change(polling);
        let poller = polling.poller.take();
        let keeper = state.keeper.take();
        drop(state);
        wake(poller);
        wake(keeper);
        Some(changed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl Sid {
    /// As the client has it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_URL_SAFE_NO_PAD.encode(self.0))
    }
}

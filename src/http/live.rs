//! `GET /api/live`: what goes on, once a second, for as long as somebody watches
//! ([server-sent events](https://html.spec.whatwg.org/multipage/server-sent-events.html)).
//!
//! One task gathers for all who watch. Each is sent a page of what there is, never all of it: a message has a bounded
//! size, however many sessions there are.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::{Query, State as Ask, rejection::QueryRejection},
    http::header,
    response::{IntoResponse, Response},
};
use futures_util::stream;
use tokio::sync::{Notify, watch};

use super::State;
use super::administrator::Pass;
use super::problem::Problem;

mod answer;
mod frame;
mod gatherer;
mod history;
mod rates;
mod wanted;

use answer::Answer;
use frame::Frame;
use gatherer::Gatherer;
use wanted::Wanted;

/// Who watches, and what they are shown. Clones are the same.
#[derive(Clone)]
pub struct Live(Arc<Inner>);

struct Inner {
    viewers: Mutex<Viewers>,
    /// Somebody has come.
    arrived: Notify,
    frames: watch::Sender<Option<Arc<Frame>>>,
}

#[derive(Default)]
struct Viewers {
    /// By the number that each was given; later ones have higher numbers.
    wanted: HashMap<u64, Arc<Wanted>>,
    last: u64,
}

/// One who watches; gone with it.
struct Viewer {
    pass: Pass,
    live: Live,
    number: u64,
    wanted: Arc<Wanted>,
    frames: watch::Receiver<Option<Arc<Frame>>>,
    /// They know the history up to here.
    told: bool,
}

impl Live {
    /// Gathers for as long as the process lives. Needs a tokio runtime around it.
    #[must_use]
    pub fn start(signaling: crate::signaling::Signaling, relay: crate::relay::Relay) -> Self {
        let live = Self(Arc::new(Inner {
            viewers: Mutex::default(),
            arrived: Notify::new(),
            frames: watch::Sender::new(None),
        }));
        let gatherer = Gatherer::new(signaling, relay);
        tokio::spawn(live.clone().gather(gatherer));
        live
    }

    async fn gather(self, mut gatherer: Gatherer) {
        loop {
            let (newest, wanted) = {
                let viewers = self.viewers();
                (
                    viewers.last,
                    viewers.wanted.values().cloned().collect::<Vec<_>>(),
                )
            };
            let pause = match wanted.is_empty() {
                true => UNWATCHED,
                false => WATCHED,
            };
            let frame = gatherer.gather(newest, &wanted).await;
            self.0.frames.send_replace(Some(Arc::new(frame)));
            // A newcomer is answered at once, a crowd of them together.
            tokio::time::sleep(BREATH).await;
            tokio::select! {
                () = tokio::time::sleep(pause - BREATH) => {}
                () = self.0.arrived.notified() => {}
            }
        }
    }

    /// `None`: there are as many as there may be.
    fn enter(&self, pass: Pass, wanted: Wanted) -> Option<Viewer> {
        let mut viewers = self.viewers();
        if viewers.wanted.len() >= VIEWERS_MAX {
            return None;
        }
        viewers.last += 1;
        let (number, wanted) = (viewers.last, Arc::new(wanted));
        viewers.wanted.insert(number, Arc::clone(&wanted));
        drop(viewers);
        let mut frames = self.0.frames.subscribe();
        frames.mark_changed();
        self.0.arrived.notify_one();
        Some(Viewer {
            pass,
            live: self.clone(),
            number,
            wanted,
            frames,
            told: false,
        })
    }

    fn viewers(&self) -> MutexGuard<'_, Viewers> {
        self.0
            .viewers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Viewer {
    /// The next message. Whoever reads slowly misses some.
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        loop {
            self.frames.changed().await.ok()?;
            let frame = self.frames.borrow_and_update().clone();
            // What was gathered before they came lacks what they want.
            let Some(frame) = frame.filter(|frame| frame.for_viewers >= self.number) else {
                continue;
            };
            if !self.pass.holds() {
                return None;
            }
            let answer = Answer::of(&frame, &self.wanted, !self.told);
            self.told = true;
            match serde_json::to_string(&answer) {
                Ok(json) => return Some((Ok(format!("data: {json}\n\n").into()), self)),
                Err(error) => {
                    tracing::error!(%error, "what goes on cannot be written");
                    return None;
                }
            }
        }
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.live.viewers().wanted.remove(&self.number);
    }
}

pub(super) async fn watch(
    pass: Pass,
    Ask(state): Ask<State>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(wanted) =
        wanted.map_err(|error| Problem::unreadable(error.status(), error.body_text()))?;
    let viewer = state.live.enter(pass, wanted.bounded()?).ok_or_else(|| {
        Problem::too_many(WATCHED, "as many watch already as may watch at a time")
    })?;
    let body = Body::from_stream(stream::unfold(viewer, Viewer::next));
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // Proxies that gather answers before they pass them on.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, body).into_response())
}

const VIEWERS_MAX: usize = 32;
const WATCHED: Duration = Duration::from_secs(1);
/// For the history alone, so that whoever comes sees how it was.
const UNWATCHED: Duration = Duration::from_secs(5);
const BREATH: Duration = Duration::from_millis(100);

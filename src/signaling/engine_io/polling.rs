//! Long-polling: a client asks for what there is by GET, and brings what it has by POST, one of each at a time.

use std::{future::poll_fn, mem, sync::Arc, task::Waker, time::Duration};

use axum::{
    body::{self, Body, HttpBody as _},
    http::header,
    response::{IntoResponse as _, Response},
};
use tokio::{sync::oneshot, time::timeout};

use super::link::Link;
use super::payload;
use super::refusal::Refusal;
use super::socket::Socket;

/// What is known of a client that polls.
#[derive(Default)]
pub(super) struct Polling {
    /// Of the GET that waits.
    pub(super) poller: Option<Waker>,
    /// Whether the client is to be asked if it is there.
    pub(super) ping: bool,
    /// What the keeper is to serve.
    pub(super) post: Option<Post>,
    /// Whether a WebSocket has shown that it can take over: then no poll waits.
    pub(super) is_probed: bool,
    /// Whether the client knows that the session has ended.
    pub(super) is_told: bool,
    /// Of the trial under way, which is void when the session ends.
    pub(super) trial: Option<Waker>,
    /// What has taken over, until the keeper has it.
    pub(super) link: Option<Link>,
    is_polled: bool,
    is_posted: bool,
    is_upgrading: bool,
}

/// Packets that were posted.
pub(super) struct Post {
    pub(super) body: String,
    /// Dropped without a word where nobody serves them.
    pub(super) served: oneshot::Sender<()>,
}

/// One request under way. Where it ends early, the client is gone.
struct Turn<'s, D> {
    socket: &'s Socket<D>,
    flag: Flag,
    is_over: bool,
}

type Flag = fn(&mut Polling) -> &mut bool;

/// The one attempt under way to change over to a WebSocket.
pub(super) struct Trial<D> {
    socket: Arc<Socket<D>>,
}

/// GET: what there is, as soon as there is something.
pub(super) async fn get<D>(socket: &Socket<D>) -> Result<Response, Refusal> {
    let turn = Turn::begin(socket, |polling| &mut polling.is_polled)?;
    let payload = poll_fn(|cx| socket.payload(cx)).await;
    turn.end();
    Ok(answer("text/plain; charset=UTF-8", payload.into_text()))
}

/// POST: what the client says.
pub(super) async fn post<D>(
    socket: &Socket<D>,
    body: Body,
    bytes_max: usize,
) -> Result<Response, Refusal> {
    let turn = Turn::begin(socket, |polling| &mut polling.is_posted)?;
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(Refusal::TooLarge);
    }
    let read = timeout(BODY_TIMEOUT, body::to_bytes(body, bytes_max));
    let Ok(Ok(bytes)) = read.await else {
        return Err(Refusal::TooLarge);
    };
    let body = String::from_utf8(bytes.into()).map_err(|_| Refusal::BadRequest)?;
    if payload::packets(&body).any(|packet| packet.is_none()) {
        return Err(Refusal::BadRequest);
    }
    let (served, is_served) = oneshot::channel();
    if !socket.post(Post { body, served }) || is_served.await.is_err() {
        return Err(Refusal::UnknownSid);
    }
    turn.end();
    Ok(answer("text/html", "ok".to_owned()))
}

/// What is said within a session.
pub(super) fn answer(content_type: &'static str, text: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, text).into_response()
}

/// A slow line brings the largest body within it.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

impl<'s, D> Turn<'s, D> {
    /// A second request of the same kind ends the session: no client of the protocol does that.
    fn begin(socket: &'s Socket<D>, flag: Flag) -> Result<Self, Refusal> {
        match socket.polling(|polling| mem::replace(flag(polling), true)) {
            Some(false) => Ok(Self {
                socket,
                flag,
                is_over: false,
            }),
            Some(true) => {
                socket.cut();
                Err(Refusal::BadRequest)
            }
            None => Err(Refusal::BadRequest),
        }
    }

    fn end(mut self) {
        self.is_over = true;
    }
}

impl<D> Drop for Turn<'_, D> {
    fn drop(&mut self) {
        self.socket.polling(|polling| *(self.flag)(polling) = false);
        if !self.is_over {
            self.socket.cut();
        }
    }
}

impl<D> Trial<D> {
    /// `None` where another is under way, or the client does not poll any more.
    pub(super) fn begin(socket: Arc<Socket<D>>) -> Option<Self> {
        let was_upgrading =
            socket.polling(|polling| mem::replace(&mut polling.is_upgrading, true))?;
        // Lazily: whatever is made here ends the attempt when it is dropped.
        (!was_upgrading).then(|| Self { socket })
    }

    /// The WebSocket works: whoever polls is to stop.
    pub(super) fn succeed(&self) {
        self.socket.polling(|polling| polling.is_probed = true);
    }

    /// Waits until there is nothing left to take over.
    pub(super) async fn voided(&self) {
        poll_fn(|cx| self.socket.poll_end(cx)).await;
    }

    /// From now on the client is reached by this.
    pub(super) fn hand_over(self, link: Link) {
        self.socket.polling(|polling| polling.link = Some(link));
    }
}

impl<D> Drop for Trial<D> {
    fn drop(&mut self) {
        self.socket.polling(|polling| {
            polling.is_upgrading = false;
            polling.is_probed = false;
        });
    }
}

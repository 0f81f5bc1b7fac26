//! From HTTP to WebSocket ([RFC 6455 §4.2](https://www.rfc-editor.org/rfc/rfc6455#section-4.2)), and from long-polling.

use std::{future::poll_fn, ops::ControlFlow, task::Poll, time::Duration};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use hyper::upgrade::OnUpgrade;
use sha1::{Digest as _, Sha1};
use tokio::{select, time::timeout};

use crate::clock::Now;

use super::frame::Message;
use super::link::{Link, Over};
use super::payload;
use super::polling::Trial;
use super::refusal::Refusal;

/// The answer that opens a WebSocket, and its connection once that is sent.
pub(super) fn accept(mut request: Request) -> Result<(Response, OnUpgrade), Refusal> {
    let headers = request.headers();
    let is_asked = names(headers, &header::UPGRADE, "websocket")
        && names(headers, &header::CONNECTION, "upgrade")
        && names(headers, &header::SEC_WEBSOCKET_VERSION, "13");
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| is_asked);
    let accept = key.and_then(accept_key).ok_or(Refusal::BadRequest)?;
    let upgrade = request
        .extensions_mut()
        .remove::<OnUpgrade>()
        .ok_or(Refusal::BadRequest)?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Ok((response, upgrade))
}

/// Whether a header is a list that names this.
pub(super) fn names(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    let lines = headers
        .get_all(name)
        .iter()
        .filter_map(|line| line.to_str().ok());
    let mut words = lines.flat_map(|line| line.split(',')).map(str::trim);
    words.any(|word| word.eq_ignore_ascii_case(wanted))
}

fn accept_key(key: &HeaderValue) -> Option<HeaderValue> {
    let nonce = BASE64_STANDARD.decode(key).ok()?;
    if nonce.len() != NONCE_BYTES {
        return None;
    }
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    BASE64_STANDARD.encode(digest).parse().ok()
}

/// A client that polls tries a WebSocket: it takes over as soon as the client says so.
pub(super) async fn attempt<D>(link: Link, trial: Trial<D>, patience: Duration) {
    let mut link = link;
    let probed = select! {
        probed = timeout(patience, probe(&mut link, &trial)) => probed.unwrap_or(Err(Over::Closing)),
        () = trial.voided() => Err(Over::Closing),
    };
    match probed {
        Ok(()) => trial.hand_over(link),
        Err(Over::Lost) => {}
        Err(Over::Closing) => {
            drop(trial);
            let close = poll_fn(|cx| link.poll_close(Now::read().mono, cx, |_| {}));
            // It closes one way or the other.
            let _ = timeout(patience, close).await;
        }
    }
}

async fn probe<D>(link: &mut Link, trial: &Trial<D>) -> Result<(), Over> {
    expect(link, payload::PROBE).await?;
    link.say(payload::PROBED);
    let said = poll_fn(|cx| link.poll_flush(Now::read().mono, cx, |_| {})).await;
    said.map_err(|_| Over::Lost)?;
    trial.succeed();
    expect(link, payload::UPGRADE).await
}

async fn expect(link: &mut Link, wanted: &str) -> Result<(), Over> {
    let mut is_said = None;
    poll_fn(|cx| {
        loop {
            let read = link.poll_read(cx, |message| {
                is_said = Some(matches!(message, Message::Text(text) if text == wanted));
                ControlFlow::Break(())
            });
            match (is_said, read) {
                (Some(true), _) => return Poll::Ready(Ok(())),
                (Some(false), _) => return Poll::Ready(Err(Over::Closing)),
                (None, Poll::Ready(Ok(()))) => {}
                (None, Poll::Ready(Err(over))) => return Poll::Ready(Err(over)),
                (None, Poll::Pending) => return Poll::Pending,
            }
        }
    })
    .await
}

const NONCE_BYTES: usize = 16;
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_accepted_as_the_rfc_has_it() {
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        let accept = accept_key(&key).unwrap();
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        for key in [
            "",
            "dGhlIHNhbXBsZSBub25jZQ",
            "c2hvcnQ=",
            "no base64 at all!!!!!!==",
        ] {
            assert_eq!(accept_key(&HeaderValue::from_static(key)), None, "{key}");
        }
    }

    #[test]
    fn a_list_may_come_in_several_lines_and_any_case() {
        let mut headers = HeaderMap::new();
        headers.append(
            header::CONNECTION,
            HeaderValue::from_static("keep-alive, UPGRADE"),
        );
        headers.append(header::CONNECTION, HeaderValue::from_static("x"));
        for (word, is_there) in [("upgrade", true), ("x", true), ("keep", false)] {
            assert_eq!(
                names(&headers, &header::CONNECTION, word),
                is_there,
                "{word}"
            );
        }
    }
}

//! The pages and what they are made of, embedded into the binary.

use axum::{
    Router,
    extract::Path,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use sha1::{Digest, Sha1};

use super::State;
use super::problem;

pub(super) fn routes() -> Router<State> {
    Router::new()
        .route("/", get(call_page))
        .route("/check", get(check_page))
        .route("/dashboard", get(dashboard_page))
        .route("/assets/{*path}", get(asset))
}

struct Asset {
    path: &'static str,
    bytes: &'static [u8],
}

macro_rules! assets {
    ($($path:literal),+ $(,)?) => {
        [$(Asset { path: $path, bytes: include_bytes!(concat!("../../web/", $path)) }),+]
    };
}

static CALL_PAGE: &[u8] = include_bytes!("../../web/index.html");
static CHECK_PAGE: &[u8] = include_bytes!("../../web/check.html");
static DASHBOARD_PAGE: &[u8] = include_bytes!("../../web/dashboard.html");
static ASSETS: &[Asset] = &assets![
    "base.css",
    "call.css",
    "call.js",
    "check/check.css",
    "check/check.js",
    "check/errors.js",
    "check/place.js",
    "check/probe.js",
    "check/report.js",
    "check/signaling.js",
    "check/verdict.js",
    "check/way.js",
    "dashboard/actions.js",
    "dashboard/charts.js",
    "dashboard/dashboard.css",
    "dashboard/dashboard.js",
    "dashboard/door.js",
    "dashboard/figures.js",
    "dashboard/list.js",
    "dashboard/live.js",
    "dashboard/nodes.js",
    "dashboard/point.js",
    "dashboard/rows.js",
    "dashboard/session.css",
    "dashboard/session.js",
    "dashboard/words.js",
    "icon.svg",
    "media.js",
    "notices.js",
    "peer.js",
    "room.js",
    "route.js",
    "signaling.js",
    "stats.js",
    "tab.js",
    "tiles.js",
    "vendor/socket.io.esm.min.js",
    "vendor/socket.io-client.LICENSE",
];

/// Only what this server itself serves: no inline code, no outside asset, nobody's frame.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; \
    img-src 'self' data: blob:; media-src 'self' blob: mediastream:; \
    object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

async fn call_page(headers: HeaderMap) -> Response {
    serve(HTML, CALL_PAGE, &headers)
}

async fn check_page(headers: HeaderMap) -> Response {
    serve(HTML, CHECK_PAGE, &headers)
}

async fn dashboard_page(headers: HeaderMap) -> Response {
    serve(HTML, DASHBOARD_PAGE, &headers)
}

const HTML: &str = "text/html; charset=utf-8";

async fn asset(Path(path): Path<String>, headers: HeaderMap) -> Response {
    match ASSETS.iter().find(|asset| asset.path == path) {
        Some(asset) => serve(content_type(&path), asset.bytes, &headers),
        None => problem::not_found().await.into_response(),
    }
}

/// Cached, but asked for each time: a new binary's page must never run an old binary's script.
fn serve(content_type: &'static str, bytes: &'static [u8], asked: &HeaderMap) -> Response {
    let tag = etag(bytes);
    let known = asked
        .get(header::IF_NONE_MATCH)
        .and_then(|tags| tags.to_str().ok());
    let mut response = if known.is_some_and(|known| known.contains(&tag)) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        bytes.into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(tag) = tag.parse() {
        headers.insert(header::ETAG, tag);
    }
    response
}

const HEADERS: [(HeaderName, &str); 5] = [
    (header::CACHE_CONTROL, "no-cache"),
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(self), microphone=(self), display-capture=(self)",
    ),
];

/// The first 64 bits of the SHA-1, quoted.
fn etag(bytes: &[u8]) -> String {
    let hash = Sha1::digest(bytes);
    let hex: String = hash
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("\"{hex}\"")
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some(_) | None => "text/plain; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;

    #[test]
    fn every_file_of_the_page_is_embedded() {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("web");
        let mut pending = vec![root.clone()];
        while let Some(dir) = pending.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                let name = path
                    .strip_prefix(&root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                if path.is_dir() {
                    pending.push(path);
                } else if !name.ends_with(".md") && !name.ends_with(".html") {
                    assert!(ASSETS.iter().any(|asset| asset.path == name), "{name}");
                }
            }
        }
    }
}

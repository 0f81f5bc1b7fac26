//! Which web origins may use this server: CORS for plain requests, 403 for a foreign page's WebSocket.

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

/// The web origins that the operator named. Clones are the same ones.
#[derive(Clone, Debug)]
pub struct AllowedOrigins(Arc<ArcSwap<Vec<HeaderValue>>>);

impl AllowedOrigins {
    /// Takes origins as browsers write them (`https://app.example`); a slash at the end is forgiven.
    ///
    /// # Errors
    /// The first text that cannot be a header's value.
    pub fn new<'t>(origins: impl IntoIterator<Item = &'t str>) -> Result<Self, &'t str> {
        let origins = parse(origins)?;
        Ok(Self(Arc::new(ArcSwap::from_pointee(origins))))
    }

    /// From now on these are allowed.
    ///
    /// # Errors
    /// As [`new`](Self::new); then nothing has changed.
    pub fn replace<'t>(&self, origins: impl IntoIterator<Item = &'t str>) -> Result<(), &'t str> {
        self.0.store(Arc::new(parse(origins)?));
        Ok(())
    }

    /// What `Access-Control-Allow-Origin` says: the asker if allowed, else an allowed origin, which is nobody's
    /// permission but its own.
    fn answer_to(&self, asker: Option<&HeaderValue>) -> Option<HeaderValue> {
        let origins = self.0.load();
        let asked = origins.iter().find(|allowed| Some(*allowed) == asker);
        asked.or(origins.first()).cloned()
    }

    fn admits(&self, asker: &HeaderValue, headers: &HeaderMap) -> bool {
        self.0.load().contains(asker) || is_own_page(asker, headers)
    }
}

/// Middleware (`axum::middleware::from_fn_with_state`) to lay around everything that browsers reach.
pub async fn guard(
    State(origins): State<AllowedOrigins>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let asker = headers.get(header::ORIGIN).cloned();
    let foreign = asker
        .as_ref()
        .is_some_and(|asker| !origins.admits(asker, headers));
    if foreign && is_websocket_upgrade(headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let mut response = if is_preflight(&request) {
        preflight(headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS))
    } else {
        next.run(request).await
    };
    if let Some(answer) = origins.answer_to(asker.as_ref()) {
        allow(answer, response.headers_mut());
    }
    response
}

fn parse<'t>(origins: impl IntoIterator<Item = &'t str>) -> Result<Vec<HeaderValue>, &'t str> {
    let parse = |text: &'t str| text.trim_end_matches('/').parse().map_err(|_| text);
    origins.into_iter().map(parse).collect()
}

fn allow(origin: HeaderValue, headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
        HeaderValue::from_static("true"),
    );
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
}

/// 204 with the methods that exist and whatever headers were asked for.
fn preflight(asked_headers: Option<&HeaderValue>) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET,POST"),
    );
    if let Some(asked) = asked_headers {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    response
}

fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

fn is_websocket_upgrade(headers: &HeaderMap) -> bool {
    let upgrade = text(headers, header::UPGRADE);
    upgrade.is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket"))
}

/// A page that this server itself served: its origin names the host that the request went to.
pub(super) fn is_own_page(asker: &HeaderValue, headers: &HeaderMap) -> bool {
    let (Ok(asker), Some(host)) = (asker.to_str(), text(headers, header::HOST)) else {
        return false;
    };
    let authority = asker.split_once("://").map(|(_, authority)| authority);
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use axum::{Router, middleware, routing::get};
    use tower::ServiceExt;

    use super::*;

    const APP: &str = "https://app.example";
    const EVIL: &str = "https://evil.example";

    #[tokio::test]
    async fn the_allowed_origin_is_told_never_the_askers_own() {
        let cases = [
            ("no asker", None, APP),
            ("the application", Some(APP), APP),
            (
                "a second application",
                Some("http://localhost:3000"),
                "http://localhost:3000",
            ),
            ("a stranger", Some(EVIL), APP),
            ("a sandboxed frame", Some("null"), APP),
            (
                "a longer name",
                Some("https://app.example.evil.example"),
                APP,
            ),
        ];
        for (name, asker, expected) in cases {
            let response = ask(Method::GET, asker, &[]).await;
            assert_eq!(response.status(), StatusCode::OK, "{name}");
            let headers = response.headers();
            assert_eq!(headers["access-control-allow-origin"], expected, "{name}");
            assert_eq!(
                headers["access-control-allow-credentials"], "true",
                "{name}"
            );
            assert_eq!(headers["vary"], "Origin", "{name}");
        }
    }

    #[tokio::test]
    async fn a_preflight_is_answered_with_the_asked_headers() {
        let asked = [
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "x-one, x-two"),
        ];
        let response = ask(Method::OPTIONS, Some(APP), &asked).await;
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        let headers = response.headers();
        assert_eq!(headers["access-control-allow-origin"], APP);
        assert_eq!(headers["access-control-allow-methods"], "GET,POST");
        assert_eq!(headers["access-control-allow-headers"], "x-one, x-two");
    }

    #[tokio::test]
    async fn only_a_foreign_pages_websocket_is_refused() {
        let cases = [
            ("a server-side client", None, StatusCode::OK),
            ("the application", Some(APP), StatusCode::OK),
            (
                "this server's own page",
                Some("http://setu.example:3001"),
                StatusCode::OK,
            ),
            (
                "the same host, another port",
                Some("http://setu.example"),
                StatusCode::FORBIDDEN,
            ),
            ("a stranger", Some(EVIL), StatusCode::FORBIDDEN),
            ("a sandboxed frame", Some("null"), StatusCode::FORBIDDEN),
        ];
        for (name, asker, expected) in cases {
            let upgrade = [("upgrade", "WebSocket")];
            let response = ask(Method::GET, asker, &upgrade).await;
            assert_eq!(response.status(), expected, "{name}");
        }
    }

    async fn ask(method: Method, origin: Option<&str>, headers: &[(&str, &str)]) -> Response {
        let mut request = Request::builder()
            .method(method)
            .header("host", "setu.example:3001");
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let origins = AllowedOrigins::new([APP, "http://localhost:3000/"]).unwrap();
        let router = Router::new()
            .route("/", get(|| async {}))
            .layer(middleware::from_fn_with_state(origins, guard));
        router
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap()
    }
}

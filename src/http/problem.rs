//! Errors as JSON: `{"error":{"code":"…","message":"…"}}` with the right status.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

/// An answer that says what is wrong with the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// What the status wants to be said in a header.
    hint: Option<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// What the web framework says of a query or form: too large, of another type, or not to be read.
    pub(super) fn unreadable(status: StatusCode, message: String) -> Self {
        let (status, code) = match status {
            StatusCode::PAYLOAD_TOO_LARGE => (status, "PAYLOAD_TOO_LARGE"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => (status, "UNSUPPORTED_MEDIA_TYPE"),
            _ => (StatusCode::BAD_REQUEST, "INVALID_PARAMETERS"),
        };
        Self::new(status, code, message)
    }

    /// 408: the body did not come in time.
    pub(super) fn late() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "REQUEST_TIMEOUT",
            "the request's body took too long",
        )
    }

    /// 400: the request itself must change.
    pub(super) fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// 401: a bearer token is missing, or does not do.
    pub(super) fn unauthorized(code: &'static str, message: impl Into<String>) -> Self {
        let challenge = HeaderValue::from_static("Bearer");
        Self {
            hint: Some((header::WWW_AUTHENTICATE, challenge)),
            ..Self::new(StatusCode::UNAUTHORIZED, code, message)
        }
    }

    /// 403: the token is good, but not for this.
    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "FORBIDDEN", message)
    }

    /// 404: there is no such thing, or no longer.
    pub(super) fn missing(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", message)
    }

    /// 429: as soon as `wait` is over it would be answered.
    pub(super) fn too_many(wait: Duration, message: impl Into<String>) -> Self {
        let whole_seconds = wait.as_millis().div_ceil(1000).max(1);
        Self {
            // Digits always are a header's value.
            hint: whole_seconds
                .to_string()
                .parse()
                .ok()
                .map(|seconds| (header::RETRY_AFTER, seconds)),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "LIMIT_EXCEEDED", message)
        }
    }

    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            hint: None,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body {
            error: Error,
        }
        #[derive(Serialize)]
        struct Error {
            code: &'static str,
            message: String,
        }
        let error = Error {
            code: self.code,
            message: self.message,
        };
        let mut response = (self.status, Json(Body { error })).into_response();
        response.headers_mut().extend(self.hint);
        response
    }
}

/// No such path.
pub(super) async fn not_found() -> Problem {
    Problem::missing("there is nothing here")
}

/// The path exists, the method doesn't.
pub(super) async fn method_not_allowed() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "METHOD_NOT_ALLOWED",
        "this path does not take this method; the Allow header names those it takes",
    )
}

//! Errors as JSON: `{"error":{"code":"…","message":"…"}}` with the right status.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;

/// An answer that says what is wrong with the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Problem {
    /// What the web framework says of a query or form: too large, of another type, or not to be read.
    pub(super) fn unreadable(status: StatusCode, message: String) -> Self {
        let (status, code) = match status {
            StatusCode::PAYLOAD_TOO_LARGE => (status, "PAYLOAD_TOO_LARGE"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => (status, "UNSUPPORTED_MEDIA_TYPE"),
            _ => (StatusCode::BAD_REQUEST, "INVALID_PARAMETERS"),
        };
        Self {
            status,
            code,
            message,
        }
    }

    /// 408: the body did not come in time.
    pub(super) fn late() -> Self {
        Self {
            status: StatusCode::REQUEST_TIMEOUT,
            code: "REQUEST_TIMEOUT",
            message: "the request's body took too long".to_owned(),
        }
    }

    /// 400: the request itself must change.
    pub(super) fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code,
            message: message.into(),
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
        (self.status, Json(Body { error })).into_response()
    }
}

/// No such path.
pub(super) async fn not_found() -> Problem {
    Problem {
        status: StatusCode::NOT_FOUND,
        code: "NOT_FOUND",
        message: "there is nothing here".to_owned(),
    }
}

/// The path exists, the method doesn't.
pub(super) async fn method_not_allowed() -> Problem {
    Problem {
        status: StatusCode::METHOD_NOT_ALLOWED,
        code: "METHOD_NOT_ALLOWED",
        message: "this path does not take this method; the Allow header names those it takes"
            .to_owned(),
    }
}

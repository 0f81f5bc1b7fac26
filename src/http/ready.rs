//! `GET /ready`: whether new work is welcome.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{Json, extract, http::StatusCode};
use serde::Serialize;

use super::State;

/// Starts as "not yet", says "yes" once everything is bound, and "no" from the first sign of the end.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Says whether new work is welcome from now on.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }

    pub(super) fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

#[derive(Serialize)]
pub(super) struct Answer {
    status: &'static str,
}

pub(super) async fn answer(
    extract::State(state): extract::State<State>,
) -> (StatusCode, Json<Answer>) {
    if state.readiness.is_ready() {
        (StatusCode::OK, Json(Answer { status: "ready" }))
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(Answer {
                status: "unavailable",
            }),
        )
    }
}

//! `/api`: what is going on, who relays how much, what is logged, and the end of a session, a stay or an allocation.

use axum::{
    Json, Router,
    extract::{
        Path, Query, State as Ask,
        rejection::{PathRejection, QueryRejection},
    },
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{delete, get},
};
use serde::Deserialize;

use super::State;
use super::administrator::Admin;
use super::problem::Problem;
use crate::ident::{ParticipantId, SessionId};

mod answers;
mod log;

use answers::{Allocations, SessionAnswer, Sessions};

pub(super) use answers::{Allocation, Timer};

pub(super) fn routes() -> Router<State> {
    Router::new()
        .route("/api/sessions", get(sessions))
        .route("/api/sessions/{session}", get(session).delete(end_session))
        .route(
            "/api/sessions/{session}/participants/{participant}",
            delete(remove_participant),
        )
        .route("/api/allocations", get(allocations))
        .route("/api/allocations/{id}", delete(close_allocation))
        .route("/api/log", get(log::level).put(log::set_level))
}

#[derive(Deserialize)]
struct Ending {
    reason: Option<String>,
}

type InPath<T> = Result<Path<T>, PathRejection>;

async fn sessions(_: Admin, Ask(state): Ask<State>) -> Json<Sessions> {
    Json(Sessions::of(&state.signaling.sessions()))
}

async fn session(
    _: Admin,
    Ask(state): Ask<State>,
    path: InPath<String>,
) -> Result<Json<SessionAnswer>, Problem> {
    let id = session_id(&in_path(path)?)?;
    let view = state.signaling.session_view(&id).ok_or_else(no_session)?;
    let traffic = state.signaling.traffic(&id).await;
    Ok(Json(SessionAnswer::of(view, traffic)))
}

async fn end_session(
    _: Admin,
    Ask(state): Ask<State>,
    path: InPath<String>,
    ending: Result<Query<Ending>, QueryRejection>,
) -> Result<StatusCode, Problem> {
    let id = session_id(&in_path(path)?)?;
    let Query(ending) =
        ending.map_err(|error| Problem::unreadable(error.status(), error.body_text()))?;
    match state.signaling.end(&id, ending.reason.as_deref()) {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(no_session()),
    }
}

async fn remove_participant(
    _: Admin,
    Ask(state): Ask<State>,
    path: InPath<(String, String)>,
) -> Result<StatusCode, Problem> {
    let (session, participant) = in_path(path)?;
    let session = session_id(&session)?;
    let participant = ParticipantId::parse(&participant).map_err(|error| {
        Problem::bad_request("INVALID_PARTICIPANT_ID", format!("the participant {error}"))
    })?;
    match state.signaling.remove(&session, &participant) {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::missing("nobody of this name is in the session")),
    }
}

async fn allocations(_: Admin, Ask(state): Ask<State>) -> Response {
    let mut views = state.relay.allocations().await;
    Json(Allocations::of(&mut views)).into_response()
}

async fn close_allocation(
    _: Admin,
    Ask(state): Ask<State>,
    path: InPath<String>,
) -> Result<StatusCode, Problem> {
    match state.relay.close_allocation(&in_path(path)?).await {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::missing(
            "this node has no allocation of this id: see GET /api/allocations",
        )),
    }
}

/// What the path says, once percent-encoding is undone.
fn in_path<T>(path: InPath<T>) -> Result<T, Problem> {
    path.map(|Path(parts)| parts)
        .map_err(|error| Problem::unreadable(error.status(), error.body_text()))
}

fn session_id(text: &str) -> Result<SessionId, Problem> {
    SessionId::parse(text).map_err(|error| {
        Problem::bad_request("INVALID_SESSION_ID", format!("the session's id {error}"))
    })
}

fn no_session() -> Problem {
    Problem::missing("there is no such session: see GET /api/sessions")
}

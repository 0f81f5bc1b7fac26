//! `GET /ice-servers` and `GET|POST /turn`: fresh TURN credentials, as browsers and as TURN REST clients want them.

use axum::{
    Form, Json,
    extract::{
        self, Query,
        rejection::{FormRejection, QueryRejection},
    },
    http::{HeaderMap, HeaderName, header},
};
use serde::Deserialize;

use super::State;
use super::problem::Problem;
use crate::clock::Now;
use crate::entropy;
use crate::ident::ParticipantId;
use crate::signaling::ice_servers::{IceServersAnswer, TurnRestAnswer};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Asker {
    participant_id: Option<String>,
}

/// What draft-uberti-behave-turn-rest-00 §2.1 asks; `key` and whatever else comes is ignored.
#[derive(Deserialize)]
pub(super) struct TurnRestRequest {
    service: Option<String>,
    username: Option<String>,
}

/// A credential is for one asker: no cache may keep it.
type Fresh<T> = ([(HeaderName, &'static str); 1], Json<T>);

pub(super) async fn rtc_configuration(
    extract::State(state): extract::State<State>,
    asker: Result<Query<Asker>, QueryRejection>,
) -> Result<Fresh<IceServersAnswer>, Problem> {
    let now = Now::read();
    let Query(asker) = asker.map_err(unreadable_query)?;
    let Some(participant_id) = asker.participant_id else {
        return Err(bad_participant(
            "participantId is missing: /ice-servers?participantId=alice",
        ));
    };
    let participant = ParticipantId::parse(&participant_id)
        .map_err(|error| bad_participant(format!("participantId {error}")))?;
    Ok(fresh(state.ice_servers.for_participant(now, &participant)))
}

pub(super) async fn turn_rest_query(
    state: extract::State<State>,
    request: Result<Query<TurnRestRequest>, QueryRejection>,
) -> Result<Fresh<TurnRestAnswer>, Problem> {
    let Query(request) = request.map_err(unreadable_query)?;
    turn_rest(&state, request)
}

/// The parameters come in the URL or as a form, some here and some there.
pub(super) async fn turn_rest_form(
    state: extract::State<State>,
    query: Result<Query<TurnRestRequest>, QueryRejection>,
    headers: HeaderMap,
    form: Result<Form<TurnRestRequest>, FormRejection>,
) -> Result<Fresh<TurnRestAnswer>, Problem> {
    let Query(query) = query.map_err(unreadable_query)?;
    if !headers.contains_key(header::CONTENT_TYPE) {
        return turn_rest(&state, query);
    }
    let Form(form) =
        form.map_err(|rejection| Problem::unreadable(rejection.status(), rejection.body_text()))?;
    let request = TurnRestRequest {
        service: query.service.or(form.service),
        username: query.username.or(form.username),
    };
    turn_rest(&state, request)
}

fn turn_rest(state: &State, request: TurnRestRequest) -> Result<Fresh<TurnRestAnswer>, Problem> {
    let now = Now::read();
    if request.service.as_deref() != Some("turn") {
        return Err(Problem::bad_request(
            "INVALID_SERVICE",
            "service must be turn: /turn?service=turn&username=alice",
        ));
    }
    let username = request.username.unwrap_or_else(nobody);
    let participant = ParticipantId::parse(&username)
        .map_err(|error| bad_participant(format!("username {error}")))?;
    Ok(fresh(state.ice_servers.turn_rest(now, &participant)))
}

fn fresh<T>(answer: T) -> Fresh<T> {
    ([(header::CACHE_CONTROL, "no-store")], Json(answer))
}

/// The convention lets `username` be absent. Each such asker is somebody of their own.
fn nobody() -> String {
    format!("anonymous-{:016x}", entropy::number())
}

fn bad_participant(message: impl Into<String>) -> Problem {
    Problem::bad_request("INVALID_PARTICIPANT_ID", message)
}

fn unreadable_query(rejection: QueryRejection) -> Problem {
    Problem::unreadable(rejection.status(), rejection.body_text())
}

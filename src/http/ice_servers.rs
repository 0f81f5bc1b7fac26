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
use super::bearer::Caller;
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
    caller: Caller,
    asker: Result<Query<Asker>, QueryRejection>,
) -> Result<Fresh<IceServersAnswer>, Problem> {
    let now = Now::read();
    let Query(asker) = asker.map_err(unreadable_query)?;
    let asked = parse("participantId", asker.participant_id)?;
    let Some(participant) = caller.participant(asked)? else {
        return Err(bad_participant(
            "participantId is missing: /ice-servers?participantId=alice",
        ));
    };
    caller.count_credential(now, &state)?;
    Ok(fresh(state.ice_servers.for_participant(now, &participant)))
}

pub(super) async fn turn_rest_query(
    state: extract::State<State>,
    caller: Caller,
    request: Result<Query<TurnRestRequest>, QueryRejection>,
) -> Result<Fresh<TurnRestAnswer>, Problem> {
    let Query(request) = request.map_err(unreadable_query)?;
    turn_rest(&state, &caller, request)
}

/// The parameters come in the URL or as a form, some here and some there.
pub(super) async fn turn_rest_form(
    state: extract::State<State>,
    caller: Caller,
    query: Result<Query<TurnRestRequest>, QueryRejection>,
    headers: HeaderMap,
    form: Result<Form<TurnRestRequest>, FormRejection>,
) -> Result<Fresh<TurnRestAnswer>, Problem> {
    let Query(query) = query.map_err(unreadable_query)?;
    if !headers.contains_key(header::CONTENT_TYPE) {
        return turn_rest(&state, &caller, query);
    }
    let Form(form) =
        form.map_err(|rejection| Problem::unreadable(rejection.status(), rejection.body_text()))?;
    let request = TurnRestRequest {
        service: query.service.or(form.service),
        username: query.username.or(form.username),
    };
    turn_rest(&state, &caller, request)
}

fn turn_rest(
    state: &State,
    caller: &Caller,
    request: TurnRestRequest,
) -> Result<Fresh<TurnRestAnswer>, Problem> {
    let now = Now::read();
    if request.service.as_deref() != Some("turn") {
        return Err(Problem::bad_request(
            "INVALID_SERVICE",
            "service must be turn: /turn?service=turn&username=alice",
        ));
    }
    let asked = parse("username", request.username)?;
    let participant = match caller.participant(asked)? {
        Some(participant) => participant,
        None => nobody()?,
    };
    caller.count_credential(now, state)?;
    Ok(fresh(state.ice_servers.turn_rest(now, &participant)))
}

fn fresh<T>(answer: T) -> Fresh<T> {
    ([(header::CACHE_CONTROL, "no-store")], Json(answer))
}

fn parse(parameter: &str, text: Option<String>) -> Result<Option<ParticipantId>, Problem> {
    let participant = text.as_deref().map(ParticipantId::parse).transpose();
    participant.map_err(|error| bad_participant(format!("{parameter} {error}")))
}

/// The convention lets `username` be absent. Each such asker is somebody of their own.
fn nobody() -> Result<ParticipantId, Problem> {
    let name = format!("anonymous-{:016x}", entropy::number());
    ParticipantId::parse(&name).map_err(|error| bad_participant(error.to_string()))
}

fn bad_participant(message: impl Into<String>) -> Problem {
    Problem::bad_request("INVALID_PARTICIPANT_ID", message)
}

fn unreadable_query(rejection: QueryRejection) -> Problem {
    Problem::unreadable(rejection.status(), rejection.body_text())
}

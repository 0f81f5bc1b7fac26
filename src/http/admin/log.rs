//! `/api/log`: what is logged, and more or less of it, without a restart.

use axum::{
    Json,
    extract::{State as Ask, rejection::JsonRejection},
};
use serde::{Deserialize, Serialize};

use super::{Admin, Problem, State};
use crate::logging::{Level, NotInForce};

/// As in `log.level`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    level: String,
}

pub(super) async fn level(_: Admin, Ask(state): Ask<State>) -> Result<Json<Log>, Problem> {
    let level = state.levels.current().ok_or_else(|| gone(NotInForce))?;
    Ok(Json(Log {
        level: level.to_string(),
    }))
}

/// Until the next one, or until the configuration is loaded anew.
pub(super) async fn set_level(
    _: Admin,
    Ask(state): Ask<State>,
    asked: Result<Json<Log>, JsonRejection>,
) -> Result<Json<Log>, Problem> {
    let Json(asked) =
        asked.map_err(|error| Problem::unreadable(error.status(), error.body_text()))?;
    let level: Level = asked
        .level
        .parse()
        .map_err(|error| Problem::bad_request("INVALID_PARAMETERS", format!("level {error}")))?;
    let answer = level.to_string();
    state.levels.set(level).map_err(gone)?;
    tracing::info!(level = answer, "what is logged has been changed");
    Ok(Json(Log { level: answer }))
}

fn gone(error: NotInForce) -> Problem {
    Problem::missing(error.to_string())
}

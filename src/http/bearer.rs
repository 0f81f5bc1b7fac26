//! Who asks for credentials, and for whom they may: what the bearer token of a request proves
//! ([RFC 6750 §2.1](https://www.rfc-editor.org/rfc/rfc6750#section-2.1)).

use std::net::Ipv4Addr;

use axum::{
    extract::FromRequestParts,
    http::{Extensions, HeaderMap, header, request::Parts},
};

use super::State;
use super::problem::Problem;
use crate::access::AccessError;
use crate::clock::Now;
use crate::ident::ParticipantId;
use crate::source::Source;

/// Whoever may ask for credentials at all.
pub(super) struct Caller {
    source: Source,
    who: Who,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Who {
    /// Everybody may join.
    Anyone,
    /// Acts for others: the application's server.
    Administrator,
    /// Speaks for themselves.
    Participant(ParticipantId),
}

impl FromRequestParts<State> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Problem> {
        let now = Now::read();
        let source = source(&parts.extensions);
        let token = token(&parts.headers);
        if token.is_some_and(|token| state.admin.opens_with(token)) {
            let who = Who::Administrator;
            return Ok(Self { source, who });
        }
        let identity = state
            .access
            .load()
            .admit(now.unix.seconds(), token)
            .map_err(refusal)?;
        let who = identity.map_or(Who::Anyone, |identity| {
            Who::Participant(identity.participant)
        });
        Ok(Self { source, who })
    }
}

impl Caller {
    /// Whom the credential is for, where `asked` was asked for; `None`: somebody who has no name.
    pub(super) fn participant(
        &self,
        asked: Option<ParticipantId>,
    ) -> Result<Option<ParticipantId>, Problem> {
        match (&self.who, asked) {
            (Who::Anyone | Who::Administrator, asked) => Ok(asked),
            (Who::Participant(own), None) => Ok(Some(own.clone())),
            (Who::Participant(own), Some(asked)) if *own == asked => Ok(Some(asked)),
            (Who::Participant(_), Some(_)) => Err(Problem::forbidden(
                "the token is another participant's: ask for its sub, or for nobody by name",
            )),
        }
    }

    /// Counts one more credential; the administrator, who acts for many, may have as many as there are.
    pub(super) fn count_credential(&self, now: Now, state: &State) -> Result<(), Problem> {
        match self.who {
            Who::Administrator => Ok(()),
            Who::Anyone | Who::Participant(_) => state
                .credentials_per_minute
                .admit(now, self.source)
                .map_err(|wait| {
                    Problem::too_many(
                        wait,
                        "too many credentials for one address in a minute (limits.credentials_per_minute)",
                    )
                }),
        }
    }
}

/// What follows `Bearer` in the Authorization header.
pub(super) fn token(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.trim().split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

/// Where the request comes from. All that did not come through our listeners count as one.
pub(super) fn source(extensions: &Extensions) -> Source {
    let known = extensions.get::<Source>().copied();
    known.unwrap_or(Source(Ipv4Addr::UNSPECIFIED.into()))
}

fn refusal(error: AccessError) -> Problem {
    let message = match error {
        AccessError::Required => format!("{error}: Authorization: Bearer TOKEN"),
        AccessError::Invalid(_) | AccessError::Expired => error.to_string(),
    };
    Problem::unauthorized(error.code(), message)
}

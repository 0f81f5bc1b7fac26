//! Every string of the wire: event names, payloads, error codes.

mod request;

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::value::{RawValue, to_raw_value};

use crate::ident::{ParticipantId, SessionId};

use super::ice_servers::IceServersAnswer;
use super::session::{News, Roster, Trespass};

pub(super) use request::{Join, Leave, Request, Signal};

/// One event on its way to clients, encoded once for all of them.
pub(super) struct Event {
    pub(super) name: &'static str,
    pub(super) payload: Box<RawValue>,
}

/// What a granted request is acknowledged with.
pub(super) enum Reply {
    Done,
    Joined(SessionJoined),
    IceServers(IceServersAnswer),
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Refusal {
    code: Code,
    message: Cow<'static, str>,
}

/// The codes of `error` events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Code {
    InvalidPayload,
    InvalidSessionId,
    InvalidParticipantId,
    InvalidName,
    NotInSession,
    Forbidden,
    LimitExceeded,
}

/// The payload of `session-joined`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SessionJoined {
    session_id: SessionId,
    participants: Vec<ParticipantId>,
    participant_names: BTreeMap<ParticipantId, Arc<str>>,
    #[serde(flatten, serialize_with = "own_copy")]
    own: Option<IceServersAnswer>,
}

impl Event {
    /// News of `session` as its members are told.
    pub(super) fn news(session: &SessionId, news: &News) -> Self {
        match news {
            News::Joined(roster) => Self::joined(&SessionJoined::new(session, roster, None)),
            News::ParticipantJoined { id, name } => Self::encode(
                "participant-joined",
                &About {
                    session_id: session,
                    participant_id: id,
                    participant_name: Some(name),
                },
            ),
            News::ParticipantLeft(id) => Self::about("participant-left", session, id),
            News::Left(id) => Self::left(session, id),
        }
    }

    /// `session-joined`
    pub(super) fn joined(payload: &SessionJoined) -> Self {
        Self::encode("session-joined", payload)
    }

    /// `session-left`
    pub(super) fn left(session: &SessionId, participant: &ParticipantId) -> Self {
        Self::about("session-left", session, participant)
    }

    /// `ice-servers`
    pub(super) fn ice_servers(answer: &IceServersAnswer) -> Self {
        Self::encode("ice-servers", answer)
    }

    /// `error`
    pub(super) fn error(refusal: &Refusal) -> Self {
        Self::encode("error", refusal)
    }

    fn about(name: &'static str, session: &SessionId, participant: &ParticipantId) -> Self {
        let about = About {
            session_id: session,
            participant_id: participant,
            participant_name: None,
        };
        Self::encode(name, &about)
    }

    fn encode<T: Serialize>(name: &'static str, payload: &T) -> Self {
        Self {
            name,
            payload: encode(payload),
        }
    }
}

impl SessionJoined {
    /// `own`: what only the joiner is told.
    pub(super) fn new(session: &SessionId, roster: &Roster, own: Option<IceServersAnswer>) -> Self {
        Self {
            session_id: session.clone(),
            participants: roster.0.iter().map(|(id, _)| id.clone()).collect(),
            participant_names: roster.0.iter().cloned().collect(),
            own,
        }
    }
}

impl Refusal {
    /// More than the server is ready to keep waiting for this client.
    pub(super) const FLOOD: Self = Self {
        code: Code::LimitExceeded,
        message: Cow::Borrowed("too many messages at once"),
    };

    fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// No JSON object, or one with binary attachments.
    pub(super) fn payload() -> Self {
        Self::new(Code::InvalidPayload, "the payload must be one JSON object")
    }
}

impl From<Trespass> for Refusal {
    fn from(trespass: Trespass) -> Self {
        let code = match trespass {
            Trespass::NotInSession => Code::NotInSession,
            Trespass::Forbidden => Code::Forbidden,
        };
        Self::new(code, trespass.to_string())
    }
}

/// What the client is told who asked for an acknowledgement.
pub(super) fn acknowledgement(answer: &Result<Reply, Refusal>) -> Box<RawValue> {
    match answer {
        Ok(Reply::Done) => encode(&Granted { ok: true, with: () }),
        Ok(Reply::Joined(joined)) => encode(&Granted {
            ok: true,
            with: joined,
        }),
        Ok(Reply::IceServers(answer)) => encode(&Granted {
            ok: true,
            with: answer,
        }),
        Err(error) => encode(&Refused { ok: false, error }),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct About<'a> {
    session_id: &'a SessionId,
    participant_id: &'a ParticipantId,
    #[serde(skip_serializing_if = "Option::is_none")]
    participant_name: Option<&'a str>,
}

#[derive(Serialize)]
struct Granted<T> {
    ok: bool,
    #[serde(flatten)]
    with: T,
}

#[derive(Serialize)]
struct Refused<'a> {
    ok: bool,
    error: &'a Refusal,
}

fn own_copy<S: Serializer>(own: &Option<IceServersAnswer>, to: S) -> Result<S::Ok, S::Error> {
    let mut fields = to.serialize_map(None)?;
    if let Some(own) = own {
        fields.serialize_entry("iceServers", &own.ice_servers)?;
        fields.serialize_entry("iceExpiresAt", &own.expires_at)?;
    }
    fields.end()
}

fn encode<T: Serialize>(value: &T) -> Box<RawValue> {
    to_raw_value(value).expect("payloads are maps with text for keys")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_the_joiners_own_copy_has_credentials() {
        let session = SessionId::parse("s").unwrap();
        let roster = Roster(vec![(ParticipantId::parse("a").unwrap(), "Alice".into())]);
        let news = Event::news(&session, &News::Joined(roster));
        let payload: Value = serde_json::from_str(news.payload.get()).unwrap();
        let expected =
            json!({"sessionId": "s", "participants": ["a"], "participantNames": {"a": "Alice"}});
        assert_eq!(payload, expected);
    }
}

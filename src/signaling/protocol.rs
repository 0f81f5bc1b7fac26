//! Every string of the wire: event names, payloads, error codes.

mod request;

use std::{borrow::Cow, collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::value::{RawValue, to_raw_value};

use crate::clock::UnixMillis;
use crate::ident::{ParticipantId, SessionId};
use crate::store::Fingerprint;

use super::ice_servers::IceServersAnswer;
use super::session::Session;
use super::session::change::{News, Roster, Trespass};
use super::session::json::Json;
use super::session::timer::TimerView;

pub(super) use request::{HEARD, Join, Request, Said, Signal};

/// One event on its way to clients, encoded once for all of them.
pub(super) struct Event {
    pub(super) name: &'static str,
    pub(super) payload: Json,
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
    /// What allows no more.
    #[serde(skip)]
    limit: Option<Limit>,
}

/// What clients are refused beyond, one event at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    EventsPerSecond,
    PayloadBytes,
    ParticipantsPerSession,
    Sessions,
}

/// The codes of `error` events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    InvalidPayload,
    InvalidSessionId,
    InvalidParticipantId,
    InvalidName,
    InvalidQueue,
    InvalidDuration,
    InvalidStatus,
    NotInSession,
    Forbidden,
    ServerDraining,
    LimitExceeded,
}

impl Limit {
    /// Every one, in the order of their counters.
    pub(super) const ALL: [Self; 4] = [
        Self::EventsPerSecond,
        Self::PayloadBytes,
        Self::ParticipantsPerSession,
        Self::Sessions,
    ];

    /// Its key.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::EventsPerSecond => "signaling.events_per_second",
            Self::PayloadBytes => "signaling.payload_bytes",
            Self::ParticipantsPerSession => "signaling.participants_per_session",
            Self::Sessions => "signaling.sessions",
        }
    }
}

impl Code {
    /// Every one, in the order of their counters.
    pub(super) const ALL: [Self; 11] = [
        Self::InvalidPayload,
        Self::InvalidSessionId,
        Self::InvalidParticipantId,
        Self::InvalidName,
        Self::InvalidQueue,
        Self::InvalidDuration,
        Self::InvalidStatus,
        Self::NotInSession,
        Self::Forbidden,
        Self::ServerDraining,
        Self::LimitExceeded,
    ];

    /// As clients read it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::InvalidPayload => "INVALID_PAYLOAD",
            Self::InvalidSessionId => "INVALID_SESSION_ID",
            Self::InvalidParticipantId => "INVALID_PARTICIPANT_ID",
            Self::InvalidName => "INVALID_NAME",
            Self::InvalidQueue => "INVALID_QUEUE",
            Self::InvalidDuration => "INVALID_DURATION",
            Self::InvalidStatus => "INVALID_STATUS",
            Self::NotInSession => "NOT_IN_SESSION",
            Self::Forbidden => "FORBIDDEN",
            Self::LimitExceeded => "LIMIT_EXCEEDED",
            Self::ServerDraining => "SERVER_DRAINING",
        }
    }
}

/// One text, whoever reads it.
impl Serialize for Code {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
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
    /// News of `session` as its members are told at `at`.
    pub(super) fn news(id: &SessionId, at: UnixMillis, news: &News, session: &Session) -> Self {
        match news {
            News::Roster => Self::joined(&SessionJoined::new(id, &session.roster(), None)),
            News::ParticipantJoined { id: who, name } => Self::encode(
                "participant-joined",
                &About {
                    session_id: id,
                    participant_id: who,
                    participant_name: Some(name),
                },
            ),
            News::ParticipantLeft(who) => Self::about("participant-left", id, who),
            News::Left(who) => Self::left(id, who),
            News::Verse => Self::verse(id, at, session),
            News::Queue => Self::queue(id, at, session),
            News::QueueUpdate => Self::encode(
                "reading-queue-update",
                &QueueUpdate {
                    session_id: id,
                    queue: session.reading().queue(),
                    timestamp: at,
                },
            ),
            News::ReadingStarted(who, verse) => {
                Self::read("reading-started", id, at, who, verse.as_ref())
            }
            News::ReadingFinished(who, verse) => {
                Self::read("reading-finished", id, at, who, verse.as_ref())
            }
            News::Timer => {
                let timer = session.last_timer().map(|timer| timer.view(at));
                Self::timer(id, at, timer.unwrap_or(OVER))
            }
            News::Ended(reason) => Self::ended(id, at, reason),
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

    /// `session-ended`
    pub(super) fn ended(id: &SessionId, at: UnixMillis, reason: &Json) -> Self {
        let payload = Ended {
            session_id: id,
            reason,
            timestamp: at,
        };
        Self::encode("session-ended", &payload)
    }

    /// `verse-changed`
    pub(super) fn verse(id: &SessionId, at: UnixMillis, session: &Session) -> Self {
        let payload = VerseChanged {
            session_id: id,
            verse: session.reading().verse(),
            current_reader: session.reading().reader(),
            timestamp: at,
        };
        Self::encode("verse-changed", &payload)
    }

    /// `queue-updated`
    pub(super) fn queue(id: &SessionId, at: UnixMillis, session: &Session) -> Self {
        let payload = QueueUpdated {
            session_id: id,
            queue: session.reading().queue(),
            current_reader: session.reading().reader(),
            timestamp: at,
        };
        Self::encode("queue-updated", &payload)
    }

    /// `session-timer-update`
    pub(super) fn timer(id: &SessionId, at: UnixMillis, timer: TimerView) -> Self {
        let payload = TimerUpdate {
            session_id: id,
            time_remaining: timer.remaining_seconds,
            time_left: timer.remaining_seconds,
            is_active: timer.is_active,
            is_paused: timer.is_paused,
            timestamp: at,
        };
        Self::encode("session-timer-update", &payload)
    }

    /// `ice-servers`
    pub(super) fn ice_servers(answer: &IceServersAnswer) -> Self {
        Self::encode("ice-servers", answer)
    }

    /// `server-draining`
    pub(super) fn draining(reconnect_after: Duration) -> Self {
        let reconnect_after_ms = u64::try_from(reconnect_after.as_millis()).unwrap_or(u64::MAX);
        Self::encode("server-draining", &Draining { reconnect_after_ms })
    }

    /// `parser-monitor-subscribed`
    pub(super) fn subscribed(room_size: usize) -> Self {
        let payload = Subscribed {
            message: "subscribed to the parser monitor",
            room_size,
        };
        Self::encode("parser-monitor-subscribed", &payload)
    }

    /// `error`
    pub(super) fn error(refusal: &Refusal) -> Self {
        Self::encode("error", refusal)
    }

    /// An event as another node passes it on; `None` for a name that is not passed on.
    pub(super) fn passed_on(name: &str, payload: Json) -> Option<Self> {
        let name = request::passed_on(name)?;
        Some(Self { name, payload })
    }

    /// What it is known by when it comes back.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.name, self.payload.raw().get())
    }

    fn about(name: &'static str, session: &SessionId, participant: &ParticipantId) -> Self {
        let about = About {
            session_id: session,
            participant_id: participant,
            participant_name: None,
        };
        Self::encode(name, &about)
    }

    fn read(
        name: &'static str,
        id: &SessionId,
        at: UnixMillis,
        who: &ParticipantId,
        verse: Option<&Json>,
    ) -> Self {
        let payload = Read {
            session_id: id,
            participant_id: who,
            verse,
            timestamp: at,
        };
        Self::encode(name, &payload)
    }

    fn encode<T: Serialize>(name: &'static str, payload: &T) -> Self {
        let payload = encode(payload).into();
        Self { name, payload }
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
    /// More than `limit` allows.
    pub(super) fn limit(limit: Limit) -> Self {
        let message = format!("more than {} allows", limit.key());
        Self {
            limit: Some(limit),
            ..Self::new(Code::LimitExceeded, message)
        }
    }

    /// What clients are told by.
    pub(super) fn code(&self) -> Code {
        self.code
    }

    /// What allowed no more.
    pub(super) fn beyond(&self) -> Option<Limit> {
        self.limit
    }

    /// This node is about to stop.
    pub(super) fn draining() -> Self {
        Self::new(
            Code::ServerDraining,
            "this server is about to stop; connect again",
        )
    }

    /// Only a host may do this.
    pub(super) fn host_only() -> Self {
        Self::new(Code::Forbidden, "only a host may do this")
    }

    /// The token is not for this session, or not for this participant.
    pub(super) fn token() -> Self {
        Self::new(Code::Forbidden, "your token is not for this")
    }

    fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
            limit: None,
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
#[serde(rename_all = "camelCase")]
struct VerseChanged<'a> {
    session_id: &'a SessionId,
    verse: Option<&'a Json>,
    current_reader: Option<&'a ParticipantId>,
    timestamp: UnixMillis,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QueueUpdated<'a> {
    session_id: &'a SessionId,
    queue: &'a [ParticipantId],
    current_reader: Option<&'a ParticipantId>,
    timestamp: UnixMillis,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QueueUpdate<'a> {
    session_id: &'a SessionId,
    queue: &'a [ParticipantId],
    timestamp: UnixMillis,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Read<'a> {
    session_id: &'a SessionId,
    participant_id: &'a ParticipantId,
    verse: Option<&'a Json>,
    timestamp: UnixMillis,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TimerUpdate<'a> {
    session_id: &'a SessionId,
    time_remaining: u64,
    time_left: u64,
    is_active: bool,
    is_paused: bool,
    timestamp: UnixMillis,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ended<'a> {
    session_id: &'a SessionId,
    reason: &'a Json,
    timestamp: UnixMillis,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Draining {
    reconnect_after_ms: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Subscribed {
    message: &'static str,
    room_size: usize,
}

/// A timer that is no more.
const OVER: TimerView = TimerView {
    remaining_seconds: 0,
    is_active: false,
    is_paused: false,
};

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

/// Why a session is over, as its members are told.
pub(super) fn reason(reason: Option<&str>) -> Json {
    encode(&reason.unwrap_or("the session was ended")).into()
}

fn encode<T: Serialize>(value: &T) -> Box<RawValue> {
    to_raw_value(value).expect("payloads are maps with text for keys")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::ident::NodeId;
    use crate::signaling::session::op::{Op, Step};
    use crate::signaling::session::socket::{Member, SocketId};

    #[test]
    fn only_the_joiners_own_copy_has_credentials() {
        let id = SessionId::parse("s").unwrap();
        let socket = SocketId {
            node: NodeId(1),
            number: 1,
        };
        let join = Op::Join {
            member: Member {
                socket,
                ticket: None,
            },
            participant: ParticipantId::parse("a").unwrap(),
            name: Some("Alice".into()),
        };
        let at = UnixMillis(1);
        let mut session = Session::default();
        session.apply(&Step { at, op: join }).unwrap();
        let news = Event::news(&id, at, &News::Roster, &session);
        let payload: Value = serde_json::from_str(news.payload.raw().get()).unwrap();
        let expected =
            json!({"sessionId": "s", "participants": ["a"], "participantNames": {"a": "Alice"}});
        assert_eq!(payload, expected);
    }
}

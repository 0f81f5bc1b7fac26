//! Every string of the wire: event names, payloads, error codes.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::value::{RawValue, to_raw_value};

use crate::clock::UnixMillis;
use crate::ident::{ID_BYTES_MAX, IdError, ParticipantId, SessionId};

use super::ice_servers::IceServersAnswer;
use super::session::{News, Recipient, Roster, Trespass};

/// What a client asks for: believed as far as its form goes, no further.
pub(super) enum Request {
    /// `join-session`
    Join(Join),
    /// `leave-session`
    Leave(Leave),
    /// `webrtc-offer`, `webrtc-answer`, `webrtc-ice-candidate`, `webrtc-signaling`
    Signal(Signal),
    /// `get-ice-servers`
    IceServers(SessionId),
}

/// Who wants to be where.
pub(super) struct Join {
    pub(super) session: SessionId,
    pub(super) participant: ParticipantId,
    pub(super) name: Option<String>,
}

/// Who says goodbye to which session.
pub(super) struct Leave {
    pub(super) session: SessionId,
    pub(super) participant: ParticipantId,
}

/// A message from one participant to others.
pub(super) struct Signal {
    pub(super) session: SessionId,
    pub(super) from: ParticipantId,
    pub(super) to: Recipient,
    /// The message as it came, but for its timestamp.
    pub(super) event: Event,
}

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

impl Request {
    /// Reads one event as Socket.IO frames it: `["name", payload, …]`. `None` for whatever clients may send without
    /// being heard: unknown names, and the server's own events that echoing clients send back.
    pub(super) fn parse(now: UnixMillis, packet: &str) -> Option<Result<Self, Refusal>> {
        let arguments: Vec<&RawValue> = serde_json::from_str(packet).ok()?;
        let name: String = serde_json::from_str(arguments.first()?.get()).ok()?;
        let payload = arguments.get(1).copied();
        Some(match name.as_str() {
            "join-session" => Payload::read(payload).and_then(|payload| payload.join()),
            "leave-session" => Payload::read(payload).and_then(|payload| payload.leave()),
            "get-ice-servers" => Payload::read(payload).and_then(|payload| payload.ice_servers()),
            name => {
                let name = SIGNALS.iter().find(|signal| **signal == name)?;
                Payload::read(payload).and_then(|payload| payload.signal(now, name))
            }
        })
    }
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

/// The fields of a payload, unread. One that is written twice counts as in JavaScript, by its last value, and is
/// passed on once: nobody reads anything that was not checked.
struct Payload<'p>(BTreeMap<String, &'p RawValue>);

impl<'p> Payload<'p> {
    fn read(payload: Option<&'p RawValue>) -> Result<Self, Refusal> {
        let text = payload.ok_or_else(Refusal::payload)?.get();
        serde_json::from_str(text)
            .map(Self)
            .map_err(|_| Refusal::payload())
    }

    fn join(&self) -> Result<Request, Refusal> {
        Ok(Request::Join(Join {
            session: self.session()?,
            participant: self.participant("participantId")?,
            name: self.name()?,
        }))
    }

    fn leave(&self) -> Result<Request, Refusal> {
        Ok(Request::Leave(Leave {
            session: self.session()?,
            participant: self.participant("participantId")?,
        }))
    }

    fn ice_servers(&self) -> Result<Request, Refusal> {
        Ok(Request::IceServers(self.session()?))
    }

    fn signal(self, now: UnixMillis, name: &'static str) -> Result<Request, Refusal> {
        let timestamp = encode(&now.0);
        let (session, from, to) = (
            self.session()?,
            self.participant("from")?,
            self.recipient()?,
        );
        let mut fields = self.0;
        fields.insert("timestamp".to_owned(), &timestamp);
        let event = Event::encode(name, &fields);
        Ok(Request::Signal(Signal {
            session,
            from,
            to,
            event,
        }))
    }

    fn session(&self) -> Result<SessionId, Refusal> {
        self.id("sessionId", Code::InvalidSessionId, SessionId::parse)
    }

    fn participant(&self, field: &'static str) -> Result<ParticipantId, Refusal> {
        self.id(field, Code::InvalidParticipantId, ParticipantId::parse)
    }

    /// Nobody in particular, or "all", are all others.
    fn recipient(&self) -> Result<Recipient, Refusal> {
        let to: Option<String> = match self.0.get("to") {
            Some(to) => serde_json::from_str(to.get()).map_err(|_| {
                Refusal::new(Code::InvalidParticipantId, "to must be a string or null")
            })?,
            None => None,
        };
        match to.as_deref() {
            None | Some("" | "all") => Ok(Recipient::Others),
            Some(_) => Ok(Recipient::One(self.participant("to")?)),
        }
    }

    /// An empty name is no name: who has none goes by their id.
    fn name(&self) -> Result<Option<String>, Refusal> {
        let invalid = || {
            let message =
                format!("participantName must be a string of at most {ID_BYTES_MAX} bytes");
            Refusal::new(Code::InvalidName, message)
        };
        let name: Option<String> = match self.0.get("participantName") {
            Some(name) => serde_json::from_str(name.get()).map_err(|_| invalid())?,
            None => None,
        };
        match name {
            Some(name) if name.len() > ID_BYTES_MAX => Err(invalid()),
            Some(name) if name.trim().is_empty() => Ok(None),
            name => Ok(name),
        }
    }

    fn id<I>(
        &self,
        field: &'static str,
        code: Code,
        parse: impl FnOnce(&str) -> Result<I, IdError>,
    ) -> Result<I, Refusal> {
        let raw = self.0.get(field).map_or("null", |raw| raw.get());
        let text: String = serde_json::from_str(raw)
            .map_err(|_| Refusal::new(code, format!("{field} must be a string")))?;
        parse(&text).map_err(|error| Refusal::new(code, format!("{field} {error}")))
    }
}

/// Messages that pass from participant to participant.
const SIGNALS: &[&str] = &[
    "webrtc-offer",
    "webrtc-answer",
    "webrtc-ice-candidate",
    "webrtc-signaling",
];

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

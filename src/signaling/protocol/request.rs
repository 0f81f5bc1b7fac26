//! What clients may ask for, read from the wire.

use std::{
    borrow::{Borrow, Cow},
    collections::BTreeMap,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::access::Steering;
use crate::clock::UnixMillis;
use crate::ident::{ID_BYTES_MAX, IdError, ParticipantId, SessionId};
use crate::signaling::session::change::Recipient;
use crate::signaling::session::json::Json;
use crate::signaling::session::op::{ReadingOp, TimerOp};
use crate::signaling::session::timer::DURATION_MAX;
use crate::store::Fingerprint;

use super::{Code, Event, Refusal, encode};

/// What a client asks for: believed as far as its form goes, no further.
pub(in crate::signaling) enum Request {
    /// `join-session`
    Join(Join),
    /// `leave-session`: who says goodbye to which session.
    Leave(SessionId, ParticipantId),
    /// `webrtc-offer`, `webrtc-answer`, `webrtc-ice-candidate`, `webrtc-signaling`
    Signal(Signal),
    /// `request-next-verse`: for the room as it came, in a participant's name; an echo is known by what it came as.
    Relay(SessionId, ParticipantId, Fingerprint, Event),
    /// `get-ice-servers`
    IceServers(SessionId),
    /// `get-queue`
    Queue(SessionId),
    /// A change of the reading, in a participant's name where it is one's turn that changes.
    Read(SessionId, Option<ParticipantId>, ReadingOp),
    /// The same, by an event that the server sends too: with the stamp by which an echo is known.
    Set(SessionId, Option<UnixMillis>, ReadingOp),
    /// A change of the timer.
    Time(SessionId, TimerOp),
    /// `session-timer-update`: what a client believes is left, or wants to be.
    SetTimeLeft(SessionId, Option<UnixMillis>, Duration),
    /// `end-session`, `session-ended`: with a reason.
    End(SessionId, Json),
    /// `subscribe-parser-monitor`, `unsubscribe-parser-monitor`
    WatchParser(bool),
    /// For all who watch the parser.
    Monitor(Event),
    /// Well-formed, and without effect.
    Nothing,
}

/// Who wants to be where.
pub(in crate::signaling) struct Join {
    pub(in crate::signaling) session: SessionId,
    pub(in crate::signaling) participant: ParticipantId,
    pub(in crate::signaling) name: Option<String>,
}

/// A message from one participant to others.
pub(in crate::signaling) struct Signal {
    pub(in crate::signaling) session: SessionId,
    pub(in crate::signaling) from: ParticipantId,
    pub(in crate::signaling) to: Recipient,
    /// What a message to all others is known by as it came: some of them may be clients of its sender that echo.
    pub(in crate::signaling) came_as: Option<Fingerprint>,
    /// The message as it came, but for its timestamp.
    pub(in crate::signaling) event: Event,
}

/// An event as Socket.IO frames it: `["name", payload, …]`.
pub(in crate::signaling) struct Said<'p> {
    name: Name<'p>,
    payload: Option<&'p RawValue>,
}

impl<'p> Said<'p> {
    /// `None` where no event is framed like this.
    pub(in crate::signaling) fn read(packet: &'p str) -> Option<Self> {
        let arguments: Vec<&RawValue> = serde_json::from_str(packet).ok()?;
        let name = serde_json::from_str(arguments.first()?.get()).ok()?;
        let payload = arguments.get(1).copied();
        Some(Self { name, payload })
    }

    /// Its place in [`HEARD`].
    pub(in crate::signaling) fn place(&self) -> Option<usize> {
        HEARD.binary_search(&&*self.name.0).ok()
    }

    /// What it asks for. `None` for whatever clients may send without being heard: unknown names, and the server's own
    /// events that echoing clients send back.
    pub(in crate::signaling) fn request(
        &self,
        now: UnixMillis,
    ) -> Option<Result<Request, Refusal>> {
        Some(match &*self.name.0 {
            "subscribe-parser-monitor" => Ok(Request::WatchParser(true)),
            "unsubscribe-parser-monitor" => Ok(Request::WatchParser(false)),
            "test-message" => Ok(Request::Monitor(test_response(now, self.payload))),
            name => {
                let read = reader(name)?;
                debug_assert!(self.place().is_some(), "{name} is counted");
                Payload::read(self.payload).and_then(|payload| read(payload, now))
            }
        })
    }
}

/// The names of all events that are heard, in their order.
pub(in crate::signaling) const HEARD: [&str; 31] = [
    "change-verse",
    "end-session",
    "finish-reading",
    "get-ice-servers",
    "get-queue",
    "join-session",
    "leave-session",
    "parser-log",
    "parser-progress-update",
    "parser-stats-update",
    "parser-status-update",
    "pause-session-timer",
    "reading-queue-update",
    "request-next-verse",
    "resume-session-timer",
    "session-ended",
    "session-timer-update",
    "skip-reading",
    "skip-turn",
    "start-reading",
    "start-session-timer",
    "subscribe-parser-monitor",
    "test-message",
    "unsubscribe-parser-monitor",
    "update-queue",
    "update-reading-status",
    "verse-changed",
    "webrtc-answer",
    "webrtc-ice-candidate",
    "webrtc-offer",
    "webrtc-signaling",
];

impl Request {
    /// What of a session this steers: a host's business where the operator says so. One's own turn is one's own.
    pub(in crate::signaling) fn steers(&self) -> Option<Steering> {
        match self {
            Self::Read(_, _, change) | Self::Set(_, _, change) => match change {
                ReadingOp::ChangeVerse(_) | ReadingOp::SetVerse { .. } => Some(Steering::Verse),
                ReadingOp::ReplaceQueue(_) | ReadingOp::UpdateQueue(_) => Some(Steering::Queue),
                ReadingOp::Start(..) | ReadingOp::Finish(..) | ReadingOp::Skip(_) => None,
            },
            Self::Time(..) | Self::SetTimeLeft(..) => Some(Steering::Timer),
            Self::End(..) => Some(Steering::End),
            Self::Join(_)
            | Self::Leave(..)
            | Self::Signal(_)
            | Self::Relay(..)
            | Self::IceServers(_)
            | Self::Queue(_)
            | Self::WatchParser(_)
            | Self::Monitor(_)
            | Self::Nothing => None,
        }
    }
}

type Reader = fn(Payload<'_>, UnixMillis) -> Result<Request, Refusal>;

/// How the payload of an event is read; `None` for events that are not heard.
fn reader(name: &str) -> Option<Reader> {
    Some(match name {
        "join-session" => |payload, _| payload.join(),
        "leave-session" => |payload, _| payload.leave(),
        "webrtc-offer" => |payload, now| payload.signal(now, "webrtc-offer"),
        "webrtc-answer" => |payload, now| payload.signal(now, "webrtc-answer"),
        "webrtc-ice-candidate" => |payload, now| payload.signal(now, "webrtc-ice-candidate"),
        "webrtc-signaling" => |payload, now| payload.signal(now, "webrtc-signaling"),
        "request-next-verse" => |payload, now| payload.relay(now),
        "get-ice-servers" => |payload, _| Ok(Request::IceServers(payload.session()?)),
        "get-queue" => |payload, _| Ok(Request::Queue(payload.session()?)),
        "change-verse" => |payload, _| payload.change_verse(),
        "verse-changed" => |payload, _| payload.set_verse(),
        "start-reading" => |payload, _| payload.turn(ReadingOp::Start),
        "finish-reading" => |payload, _| payload.turn(ReadingOp::Finish),
        "skip-reading" | "skip-turn" => |payload, _| payload.turn(|who, _| ReadingOp::Skip(who)),
        "update-reading-status" => |payload, _| payload.reading_status(),
        "update-queue" => |payload, _| payload.queue(),
        "reading-queue-update" => |payload, _| payload.queue_update(),
        "start-session-timer" => |payload, _| payload.start_timer(),
        "pause-session-timer" => |payload, _| Ok(Request::Time(payload.session()?, TimerOp::Pause)),
        "resume-session-timer" => {
            |payload, _| Ok(Request::Time(payload.session()?, TimerOp::Resume))
        }
        "session-timer-update" => |payload, _| payload.set_time_left(),
        "end-session" | "session-ended" => |payload, _| payload.end(),
        "parser-status-update" => |payload, now| payload.monitor(now, "parser-status-update"),
        "parser-log" => |payload, now| payload.monitor(now, "parser-log"),
        "parser-progress-update" => |payload, now| payload.monitor(now, "parser-progress-update"),
        "parser-stats-update" => |payload, now| payload.monitor(now, "parser-stats-update"),
        _ => return None,
    })
}

/// The name of an event that passes from client to client.
pub(in crate::signaling) fn passed_on(name: &str) -> Option<&'static str> {
    PASSED_ON.iter().find(|known| **known == name).copied()
}

/// Messages that pass from participant to participant, or from the parser to those who watch it.
const PASSED_ON: &[&str] = &[
    "webrtc-offer",
    "webrtc-answer",
    "webrtc-ice-candidate",
    "webrtc-signaling",
    "request-next-verse",
    "test-response",
    "parser-status-update",
    "parser-log",
    "parser-progress-update",
    "parser-stats-update",
];

/// The fields of a payload, unread. One that is written twice counts as in JavaScript, by its last value, and is
/// passed on once: nobody reads anything that was not checked.
#[derive(Deserialize)]
struct Payload<'p>(#[serde(borrow)] BTreeMap<Name<'p>, &'p RawValue>);

/// The name of a field: as it stands there, unless it has escapes.
#[derive(PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(transparent)]
struct Name<'p>(#[serde(borrow)] Cow<'p, str>);

impl Borrow<str> for Name<'_> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl<'p> Payload<'p> {
    fn read(payload: Option<&'p RawValue>) -> Result<Self, Refusal> {
        let text = payload.ok_or_else(Refusal::payload)?.get();
        serde_json::from_str(text).map_err(|_| Refusal::payload())
    }

    fn join(&self) -> Result<Request, Refusal> {
        Ok(Request::Join(Join {
            session: self.session()?,
            participant: self.participant("participantId")?,
            name: self.name()?,
        }))
    }

    fn leave(&self) -> Result<Request, Refusal> {
        let session = self.session()?;
        Ok(Request::Leave(session, self.participant("participantId")?))
    }

    fn signal(self, now: UnixMillis, name: &'static str) -> Result<Request, Refusal> {
        let (session, from, to) = (
            self.session()?,
            self.participant("from")?,
            self.recipient()?,
        );
        let is_for_all = to == Recipient::Others;
        Ok(Request::Signal(Signal {
            session,
            from,
            to,
            came_as: is_for_all.then(|| self.came_as(name)),
            event: self.stamped(now, name),
        }))
    }

    fn relay(self, now: UnixMillis) -> Result<Request, Refusal> {
        let session = self.session()?;
        let participant = self.participant("participantId")?;
        let name = "request-next-verse";
        let came_as = self.came_as(name);
        let event = self.stamped(now, name);
        Ok(Request::Relay(session, participant, came_as, event))
    }

    fn change_verse(&self) -> Result<Request, Refusal> {
        let verse = self.json("verse").unwrap_or_else(null);
        let change = ReadingOp::ChangeVerse(verse);
        Ok(Request::Read(self.session()?, None, change))
    }

    fn set_verse(&self) -> Result<Request, Refusal> {
        let session = self.session()?;
        let reader = match self.json("currentReader") {
            Some(reader) if !reader.is_null() => Some(self.participant("currentReader")?),
            Some(_) | None => None,
        };
        let verse = self.json("verse");
        let change = ReadingOp::SetVerse { verse, reader };
        Ok(Request::Set(session, self.stamp(), change))
    }

    fn turn(
        &self,
        change: impl FnOnce(ParticipantId, Option<Json>) -> ReadingOp,
    ) -> Result<Request, Refusal> {
        let session = self.session()?;
        let participant = self.participant("participantId")?;
        let verse = self.json("verse").filter(|verse| !verse.is_null());
        let change = change(participant.clone(), verse);
        Ok(Request::Read(session, Some(participant), change))
    }

    fn reading_status(&self) -> Result<Request, Refusal> {
        let session = self.session()?;
        let participant = self.participant("participantId")?;
        let status = self.text("status");
        let who = participant.clone();
        let change = match status.as_deref() {
            Some("reading") => ReadingOp::Start(who, None),
            Some("finished") => ReadingOp::Finish(who, None),
            Some("skipped") => ReadingOp::Skip(who),
            Some(_) | None => {
                let message = "status must be reading, finished or skipped";
                return Err(Refusal::new(Code::InvalidStatus, message));
            }
        };
        Ok(Request::Read(session, Some(participant), change))
    }

    fn queue(&self) -> Result<Request, Refusal> {
        let session = self.session()?;
        let change = ReadingOp::ReplaceQueue(self.ids()?);
        Ok(Request::Read(session, None, change))
    }

    fn queue_update(&self) -> Result<Request, Refusal> {
        let session = self.session()?;
        let change = ReadingOp::UpdateQueue(self.ids()?);
        Ok(Request::Set(session, self.stamp(), change))
    }

    fn ids(&self) -> Result<Vec<ParticipantId>, Refusal> {
        let raw = self.0.get("queue").map_or("null", |raw| raw.get());
        let ids: Option<Vec<ParticipantId>> = serde_json::from_str(raw).ok();
        ids.filter(|ids| ids.len() <= QUEUE_MAX).ok_or_else(|| {
            let message = format!("queue must be an array of at most {QUEUE_MAX} participant ids");
            Refusal::new(Code::InvalidQueue, message)
        })
    }

    fn start_timer(&self) -> Result<Request, Refusal> {
        let session = self.session()?;
        let seconds = self.number("duration").filter(|seconds| *seconds > 0.0);
        let duration = seconds.and_then(timer_duration).ok_or_else(|| {
            let message = "duration must be a number of seconds above 0, up to 86400";
            Refusal::new(Code::InvalidDuration, message)
        })?;
        Ok(Request::Time(session, TimerOp::Start(duration)))
    }

    fn set_time_left(&self) -> Result<Request, Refusal> {
        let session = self.session()?;
        let Some(seconds) = self.number("timeLeft") else {
            return Ok(Request::Nothing);
        };
        let left = timer_duration(seconds).ok_or_else(|| {
            let message = "timeLeft must be a number of seconds from 0 to 86400";
            Refusal::new(Code::InvalidDuration, message)
        })?;
        Ok(Request::SetTimeLeft(session, self.stamp(), left))
    }

    fn end(&self) -> Result<Request, Refusal> {
        let session = self.session()?;
        let reason = self.json("reason").filter(|reason| !reason.is_null());
        let reason = reason.unwrap_or_else(|| super::reason(None));
        Ok(Request::End(session, reason))
    }

    fn monitor(self, now: UnixMillis, name: &'static str) -> Result<Request, Refusal> {
        Ok(Request::Monitor(self.stamped(now, name)))
    }

    /// The payload as it came, but for its timestamp.
    fn stamped(self, now: UnixMillis, name: &'static str) -> Event {
        let timestamp = encode(&now);
        let mut fields = self.0;
        fields.insert(Name("timestamp".into()), &timestamp);
        Event::encode(name, &fields)
    }

    /// What the payload is known by before it is stamped anew.
    fn came_as(&self, name: &'static str) -> Fingerprint {
        Event::encode(name, &self.0).fingerprint()
    }

    /// What the server stamps its events with.
    fn stamp(&self) -> Option<UnixMillis> {
        serde_json::from_str(self.0.get("timestamp")?.get()).ok()
    }

    fn json(&self, field: &str) -> Option<Json> {
        self.0.get(field).map(|raw| Json::new(raw))
    }

    fn text(&self, field: &str) -> Option<String> {
        serde_json::from_str(self.0.get(field)?.get()).ok()
    }

    fn number(&self, field: &str) -> Option<f64> {
        serde_json::from_str(self.0.get(field)?.get()).ok()
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

/// More than any session has participants.
const QUEUE_MAX: usize = 1000;

fn timer_duration(seconds: f64) -> Option<Duration> {
    let duration = Duration::try_from_secs_f64(seconds).ok()?;
    (duration <= DURATION_MAX).then_some(duration)
}

fn null() -> Json {
    encode(&()).into()
}

/// What those who watch the parser are told of a test message, whatever it is.
fn test_response(now: UnixMillis, payload: Option<&RawValue>) -> Event {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct TestResponse {
        message: &'static str,
        original_message: Option<Json>,
        timestamp: UnixMillis,
    }
    let payload = Payload::read(payload).ok();
    let response = TestResponse {
        message: "test message received",
        original_message: payload.and_then(|payload| payload.json("message")),
        timestamp: now,
    };
    Event::encode("test-response", &response)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_123);

    #[test]
    fn a_message_passes_as_it_came_but_for_its_timestamp() {
        let data = r#"{"sdp":"v=0\r\n","n":[1.0000000000000002,1e400,12345678901234567890123]}"#;
        let packet = format!(
            r#"["webrtc-offer",{{"sessionId":"s","from":"a","to":"b","data":{data},"x":"\ud800","timestamp":"1"}}]"#
        );
        let signal = signal(&packet);
        assert_eq!(
            signal.to,
            Recipient::One(ParticipantId::parse("b").unwrap())
        );
        assert_eq!(signal.event.name, "webrtc-offer");
        assert_eq!(
            signal.event.payload.raw().get(),
            format!(
                r#"{{"data":{data},"from":"a","sessionId":"s","timestamp":1700000000123,"to":"b","x":"\ud800"}}"#
            )
        );
    }

    #[test]
    fn a_field_written_twice_counts_and_passes_by_its_last_value() {
        let packet = r#"["webrtc-answer",{"from":"mallory","sessionId":"s","from":"a"}]"#;
        let signal = signal(packet);
        assert_eq!(signal.from.as_str(), "a");
        assert!(!signal.event.payload.raw().get().contains("mallory"));
    }

    #[test]
    fn what_nobody_asked_for_is_ignored() {
        let packets = [
            "",
            "{}",
            "[]",
            "[1]",
            "[null]",
            r#"["error",{}]"#,
            r#"["session-joined"]"#,
            r#"["x""#,
        ];
        for packet in packets {
            assert!(parse(packet).is_none(), "{packet}");
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a row for each event")]
    fn what_is_asked_for() {
        let cases = [
            (
                "join-session",
                r#""participantId":"a""#,
                "a joins, name None",
            ),
            (
                "join-session",
                r#""participantId":"a","participantName":" ""#,
                "a joins, name None",
            ),
            (
                "join-session",
                r#""participantId":"a","participantName":"Al""#,
                r#"a joins, name Some("Al")"#,
            ),
            ("leave-session", r#""participantId":"a""#, "a leaves"),
            (
                "webrtc-signaling",
                r#""from":"a","to":"all""#,
                "a signals Others",
            ),
            ("webrtc-offer", r#""from":"a","to":"""#, "a signals Others"),
            (
                "webrtc-offer",
                r#""from":"a","to":null"#,
                "a signals Others",
            ),
            (
                "request-next-verse",
                r#""participantId":"a""#,
                "a passes request-next-verse on",
            ),
            ("get-queue", "", "what the queue is"),
            ("get-ice-servers", "", "ICE servers"),
            ("change-verse", r#""verse":7"#, "the verse: 7"),
            ("change-verse", "", "the verse: null"),
            (
                "verse-changed",
                r#""verse":7,"currentReader":"a""#,
                "verse and reader: 7 a",
            ),
            (
                "verse-changed",
                r#""currentReader":null"#,
                "verse and reader: - -",
            ),
            (
                "start-reading",
                r#""participantId":"a","verse":null"#,
                "a: a starts: -",
            ),
            (
                "finish-reading",
                r#""participantId":"a","verse":7"#,
                "a: a finishes: 7",
            ),
            ("skip-turn", r#""participantId":"a""#, "a: a skips"),
            ("skip-reading", r#""participantId":"a""#, "a: a skips"),
            (
                "update-reading-status",
                r#""participantId":"a","status":"skipped""#,
                "a: a skips",
            ),
            ("update-queue", r#""queue":["a","b"]"#, "the queue: a b"),
            ("reading-queue-update", r#""queue":[]"#, "the other queue:"),
            (
                "reading-queue-update",
                r#""queue":["a"],"timestamp":7"#,
                "7: the other queue: a",
            ),
            ("start-session-timer", r#""duration":1.5"#, "Start(1.5s)"),
            ("pause-session-timer", "", "Pause"),
            ("resume-session-timer", "", "Resume"),
            ("session-timer-update", r#""timeLeft":0"#, "0ns left"),
            ("session-timer-update", r#""timeLeft":"1""#, "nothing"),
            ("end-session", r#""reason":7"#, "the end: 7"),
            ("session-ended", "", r#"the end: "the session was ended""#),
            (
                "parser-log",
                r#""type":"log""#,
                "parser-log for the watchers",
            ),
            ("subscribe-parser-monitor", "", "to watch: true"),
        ];
        for (name, fields, expected) in cases {
            assert_eq!(
                asked(name, fields),
                Ok(expected.to_owned()),
                "{name} {fields}"
            );
        }
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a row for each event")]
    fn what_is_refused() {
        let too_long = format!(r#""participantId":"{}""#, "x".repeat(257));
        let too_long_a_name = format!(
            r#""participantId":"a","participantName":"{}""#,
            "x".repeat(257)
        );
        let too_many = format!(r#""queue":[{}"a"]"#, r#""a","#.repeat(QUEUE_MAX));
        let cases = [
            ("join-session", "", Code::InvalidParticipantId),
            (
                "join-session",
                r#""participantId":"""#,
                Code::InvalidParticipantId,
            ),
            (
                "join-session",
                r#""participantId":7"#,
                Code::InvalidParticipantId,
            ),
            ("join-session", &too_long, Code::InvalidParticipantId),
            (
                "join-session",
                r#""participantId":"a","participantName":7"#,
                Code::InvalidName,
            ),
            ("join-session", &too_long_a_name, Code::InvalidName),
            ("webrtc-offer", r#""to":"b""#, Code::InvalidParticipantId),
            (
                "webrtc-offer",
                r#""from":"a","to":7"#,
                Code::InvalidParticipantId,
            ),
            (
                "verse-changed",
                r#""currentReader":7"#,
                Code::InvalidParticipantId,
            ),
            ("update-queue", "", Code::InvalidQueue),
            ("update-queue", r#""queue":"a""#, Code::InvalidQueue),
            ("update-queue", r#""queue":["a",""]"#, Code::InvalidQueue),
            ("reading-queue-update", &too_many, Code::InvalidQueue),
            ("start-session-timer", "", Code::InvalidDuration),
            (
                "start-session-timer",
                r#""duration":0"#,
                Code::InvalidDuration,
            ),
            (
                "start-session-timer",
                r#""duration":-1"#,
                Code::InvalidDuration,
            ),
            (
                "start-session-timer",
                r#""duration":"60""#,
                Code::InvalidDuration,
            ),
            (
                "start-session-timer",
                r#""duration":86400.1"#,
                Code::InvalidDuration,
            ),
            (
                "session-timer-update",
                r#""timeLeft":-1"#,
                Code::InvalidDuration,
            ),
            (
                "update-reading-status",
                r#""participantId":"a","status":"x""#,
                Code::InvalidStatus,
            ),
            ("get-queue", r#""sessionId":"""#, Code::InvalidSessionId),
            ("end-session", r#""sessionId":7"#, Code::InvalidSessionId),
        ];
        for (name, fields, expected) in cases {
            assert_eq!(asked(name, fields), Err(expected), "{name} {fields}");
        }
        for payload in ["null", "7", "\"s\"", "[]", "true"] {
            let packet = format!(r#"["join-session",{payload}]"#);
            let refused = parse(&packet).and_then(Result::err).unwrap();
            assert_eq!(refused.code, Code::InvalidPayload, "{payload}");
        }
    }

    #[test]
    fn every_name_that_is_counted_is_heard() {
        assert!(HEARD.is_sorted());
        for (place, name) in HEARD.into_iter().enumerate() {
            let packet = format!("[{name:?},{{}}]");
            let said = Said::read(&packet).unwrap();
            assert_eq!(said.place(), Some(place));
            assert!(said.request(NOW).is_some(), "{name}");
        }
        let echoed = Said::read(r#"["session-joined",{}]"#).unwrap();
        assert!(echoed.place().is_none() && echoed.request(NOW).is_none());
    }

    proptest! {
        #[test]
        fn no_packet_is_too_strange(name in "join-session|webrtc-offer|.*", payload in ".*") {
            let _ = parse(&payload);
            let _ = parse(&format!("[{name:?},{payload}]"));
            let _ = parse(&format!(r#"["{name}",{{"sessionId":{payload:?}}}]"#));
        }
    }

    fn parse(packet: &str) -> Option<Result<Request, Refusal>> {
        Said::read(packet)?.request(NOW)
    }

    /// In words, or the code of the refusal.
    fn asked(name: &str, fields: &str) -> Result<String, Code> {
        let comma = if fields.is_empty() { "" } else { "," };
        let packet = format!(r#"["{name}",{{"sessionId":"s"{comma}{fields}}}]"#);
        let request = parse(&packet).unwrap();
        Ok(match request.map_err(|refusal| refusal.code)? {
            Request::Join(join) => format!("{} joins, name {:?}", join.participant, join.name),
            Request::Leave(_, who) => format!("{who} leaves"),
            Request::Signal(signal) => format!("{} signals {:?}", signal.from, signal.to),
            Request::Relay(_, who, _, event) => format!("{who} passes {} on", event.name),
            Request::IceServers(_) => "ICE servers".to_owned(),
            Request::Queue(_) => "what the queue is".to_owned(),
            Request::Read(_, None, change) | Request::Set(_, None, change) => reading(&change),
            Request::Set(_, Some(stamp), change) => format!("{}: {}", stamp.0, reading(&change)),
            Request::Read(_, Some(own), change) => format!("{own}: {}", reading(&change)),
            Request::Time(_, change) => format!("{change:?}"),
            Request::SetTimeLeft(_, _, left) => format!("{left:?} left"),
            Request::End(_, reason) => format!("the end: {}", reason.raw()),
            Request::WatchParser(watches) => format!("to watch: {watches}"),
            Request::Monitor(event) => format!("{} for the watchers", event.name),
            Request::Nothing => "nothing".to_owned(),
        })
    }

    fn reading(change: &ReadingOp) -> String {
        let verse = |verse: &Option<Json>| verse.as_ref().map_or("-".into(), text);
        let list = |queue: &[ParticipantId]| -> String {
            let ids = queue.iter().map(|id| format!(" {id}"));
            ids.collect()
        };
        match change {
            ReadingOp::ChangeVerse(verse) => format!("the verse: {}", verse.raw()),
            ReadingOp::SetVerse {
                verse: what,
                reader,
            } => {
                let reader = reader.as_ref().map_or("-", ParticipantId::as_str);
                format!("verse and reader: {} {reader}", verse(what))
            }
            ReadingOp::Start(who, what) => format!("{who} starts: {}", verse(what)),
            ReadingOp::Finish(who, what) => format!("{who} finishes: {}", verse(what)),
            ReadingOp::Skip(who) => format!("{who} skips"),
            ReadingOp::ReplaceQueue(queue) => "the queue:".to_owned() + &list(queue),
            ReadingOp::UpdateQueue(queue) => "the other queue:".to_owned() + &list(queue),
        }
    }

    fn text(json: &Json) -> String {
        json.raw().get().to_owned()
    }

    fn signal(packet: &str) -> Signal {
        match parse(packet) {
            Some(Ok(Request::Signal(signal))) => signal,
            Some(Ok(_)) => panic!("another request"),
            Some(Err(refusal)) => panic!("{refusal:?}"),
            None => panic!("ignored"),
        }
    }
}

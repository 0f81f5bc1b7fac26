//! What clients may ask for, read from the wire.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::clock::UnixMillis;
use crate::ident::{ID_BYTES_MAX, IdError, ParticipantId, SessionId};
use crate::signaling::session::Recipient;

use super::{Code, Event, Refusal, encode};

/// What a client asks for: believed as far as its form goes, no further.
pub(in crate::signaling) enum Request {
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
pub(in crate::signaling) struct Join {
    pub(in crate::signaling) session: SessionId,
    pub(in crate::signaling) participant: ParticipantId,
    pub(in crate::signaling) name: Option<String>,
}

/// Who says goodbye to which session.
pub(in crate::signaling) struct Leave {
    pub(in crate::signaling) session: SessionId,
    pub(in crate::signaling) participant: ParticipantId,
}

/// A message from one participant to others.
pub(in crate::signaling) struct Signal {
    pub(in crate::signaling) session: SessionId,
    pub(in crate::signaling) from: ParticipantId,
    pub(in crate::signaling) to: Recipient,
    /// The message as it came, but for its timestamp.
    pub(in crate::signaling) event: Event,
}

impl Request {
    /// Reads one event as Socket.IO frames it: `["name", payload, …]`. `None` for whatever clients may send without
    /// being heard: unknown names, and the server's own events that echoing clients send back.
    pub(in crate::signaling) fn parse(
        now: UnixMillis,
        packet: &str,
    ) -> Option<Result<Self, Refusal>> {
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
            signal.event.payload.get(),
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
        assert!(!signal.event.payload.get().contains("mallory"));
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
            assert!(Request::parse(NOW, packet).is_none(), "{packet}");
        }
    }

    proptest! {
        #[test]
        fn no_packet_is_too_strange(name in "join-session|webrtc-offer|.*", payload in ".*") {
            let _ = Request::parse(NOW, &payload);
            let _ = Request::parse(NOW, &format!("[{name:?},{payload}]"));
            let _ = Request::parse(NOW, &format!(r#"["{name}",{{"sessionId":{payload:?}}}]"#));
        }
    }

    fn signal(packet: &str) -> Signal {
        match Request::parse(NOW, packet) {
            Some(Ok(Request::Signal(signal))) => signal,
            Some(Ok(Request::Join(_) | Request::Leave(_) | Request::IceServers(_))) => {
                panic!("another request")
            }
            Some(Err(refusal)) => panic!("{refusal:?}"),
            None => panic!("ignored"),
        }
    }
}

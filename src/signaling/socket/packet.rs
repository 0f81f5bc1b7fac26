//! Socket.IO packets as they are sent, on the root namespace
//! ([protocol, version 5](https://socket.io/docs/v4/socket-io-protocol/)). socketioxide's parser reads them. They are
//! written here: its writer knows neither the `data` of a CONNECT_ERROR nor an event that is encoded once for many.

use std::{
    fmt::Write as _,
    sync::{Arc, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use socketioxide_core::{
    Str, Value,
    packet::PacketData,
    parser::{Parse as _, ParseConfig, ParserState},
};
use socketioxide_parser_common::CommonParser;

use crate::signaling::engine_io::Sid;
use crate::signaling::protocol::Event;
use crate::signaling::session::socket::Ticket;

/// A packet as a client sends it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) kind: Kind,
    pub(super) namespace: Str,
    /// The number under which the client wants an answer.
    pub(super) ack: Option<i64>,
    /// How many binary packets belong to it, and follow.
    pub(super) attachments: usize,
    pub(super) data: Str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Connect,
    Disconnect,
    Event,
    Ack,
}

impl Packet {
    /// `None`: not what a client may send.
    pub(super) fn parse(text: &str) -> Option<Self> {
        // Attachments are not waited for: whatever has some is refused as it comes.
        let state = ParserState::default();
        let decoded = CommonParser.decode_str(&CONFIG, &state, Str::copy_from_slice(text));
        let attachments = state.incoming_binary_cnt.into_inner();
        let decoded = match decoded {
            Ok(decoded) => decoded,
            Err(_) => {
                let begun = state.partial_bin_packet.into_inner();
                begun.unwrap_or_else(PoisonError::into_inner)?.packet
            }
        };
        let (kind, ack, value) = match decoded.inner {
            PacketData::Connect(value) => (Kind::Connect, None, value),
            PacketData::Disconnect => (Kind::Disconnect, None, None),
            PacketData::Event(value, ack) | PacketData::BinaryEvent(value, ack) => {
                (Kind::Event, ack, Some(value))
            }
            PacketData::EventAck(value, ack) | PacketData::BinaryAck(value, ack) => {
                (Kind::Ack, Some(ack), Some(value))
            }
            // Only servers refuse.
            PacketData::ConnectError(_) => return None,
        };
        let data = match value {
            Some(Value::Str(text, _)) => text,
            // The parser makes texts.
            Some(Value::Bytes(_)) | None => Str::default(),
        };
        Some(Self {
            kind,
            namespace: decoded.ns,
            ack,
            attachments,
            data,
        })
    }
}

const CONFIG: ParseConfig = ParseConfig {
    max_incoming_binary_buf_size: 0,
    // As many as Node's server reads.
    max_incoming_binaries: 10,
    packet_completion_timeout: Duration::ZERO,
};

/// What a client shows when it connects.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Handshake {
    /// Its application's token, if there is one.
    pub(super) token: Option<serde_json::Value>,
    /// What it was given when it connected last.
    pid: Option<serde_json::Value>,
    /// The last argument of the last event that it had.
    offset: Option<serde_json::Value>,
}

impl Handshake {
    /// Anything else than an object shows nothing.
    pub(super) fn read(auth: &str) -> Self {
        serde_json::from_str(auth).unwrap_or_default()
    }

    /// The ticket of the connection that broke.
    pub(super) fn ticket(&self) -> Option<Ticket> {
        Ticket::parse(self.pid.as_ref()?.as_str()?)
    }

    /// The offset of the last event that arrived.
    pub(super) fn offset(&self) -> Option<u64> {
        u64::from_str_radix(self.offset.as_ref()?.as_str()?, 36).ok()
    }
}

/// CONNECT: the client is connected, and by this ticket it may come back.
pub(super) fn connected(sid: Sid, ticket: Option<Ticket>) -> Arc<str> {
    match ticket {
        Some(ticket) => format!(r#"0{{"sid":"{sid}","pid":"{ticket}"}}"#).into(),
        None => format!(r#"0{{"sid":"{sid}"}}"#).into(),
    }
}

/// CONNECT_ERROR: why it is not.
pub(super) fn refused(code: &str, message: &str) -> Arc<str> {
    #[derive(Serialize)]
    struct Refused<'a> {
        message: &'a str,
        data: Data<'a>,
    }
    #[derive(Serialize)]
    struct Data<'a> {
        code: &'a str,
    }
    let refused = Refused {
        message,
        data: Data { code },
    };
    format!("4{}", serde_json::to_string(&refused).unwrap_or_default()).into()
}

/// CONNECT_ERROR for a namespace that does not exist.
pub(super) fn no_namespace(namespace: &str) -> Arc<str> {
    format!(r#"4{namespace},{{"message":"Invalid namespace"}}"#).into()
}

/// EVENT, with an offset where it can be sent again.
pub(super) fn event(event: &Event, offset: Option<u64>) -> Arc<str> {
    let payload = event.payload.raw().get();
    let mut packet = String::with_capacity(payload.len() + event.name.len() + 24);
    packet.push_str(r#"2[""#);
    packet.push_str(event.name);
    packet.push_str(r#"","#);
    packet.push_str(payload);
    if let Some(offset) = offset {
        packet.push_str(r#",""#);
        push_base36(&mut packet, offset);
        packet.push('"');
    }
    packet.push(']');
    packet.into()
}

/// ACK: the answer to the client's event with this number.
pub(super) fn ack(number: i64, payload: &RawValue) -> Arc<str> {
    let payload = payload.get();
    let mut packet = String::with_capacity(payload.len() + 24);
    // Writing into a text cannot fail.
    let _ = write!(packet, "3{number}[{payload}]");
    packet.into()
}

fn push_base36(text: &mut String, mut number: u64) {
    let mut digits = [0_u8; 13];
    let mut at = digits.len();
    loop {
        at -= 1;
        let digit = u8::try_from(number % 36).unwrap_or_default();
        digits[at] = if digit < 10 {
            b'0' + digit
        } else {
            b'a' + digit - 10
        };
        number /= 36;
        if number == 0 {
            break;
        }
    }
    text.extend(digits[at..].iter().map(|digit| char::from(*digit)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn packets_are_read_as_the_protocol_has_them() {
        let packet = |kind, namespace: &str, ack, attachments, data: &str| {
            Some(Packet {
                kind,
                namespace: Str::copy_from_slice(namespace),
                ack,
                attachments,
                data: Str::copy_from_slice(data),
            })
        };
        let cases = [
            ("0", packet(Kind::Connect, "/", None, 0, "")),
            (
                r#"0{"token":"x"}"#,
                packet(Kind::Connect, "/", None, 0, r#"{"token":"x"}"#),
            ),
            (
                r#"0/admin,{"a":1}"#,
                packet(Kind::Connect, "/admin", None, 0, r#"{"a":1}"#),
            ),
            ("0/admin", packet(Kind::Connect, "/admin", None, 0, "")),
            ("1", packet(Kind::Disconnect, "/", None, 0, "")),
            (
                r#"2["é",1]"#,
                packet(Kind::Event, "/", None, 0, r#"["é",1]"#),
            ),
            (
                r#"212["x"]"#,
                packet(Kind::Event, "/", Some(12), 0, r#"["x"]"#),
            ),
            (
                r#"2/é,12["x"]"#,
                packet(Kind::Event, "/é", Some(12), 0, r#"["x"]"#),
            ),
            ("31[]", packet(Kind::Ack, "/", Some(1), 0, "[]")),
            (r#"52-["x"]"#, packet(Kind::Event, "/", None, 2, r#"["x"]"#)),
            (
                r#"51-/a,3["x"]"#,
                packet(Kind::Event, "/a", Some(3), 1, r#"["x"]"#),
            ),
            ("", None),
            ("4{}", None),
            ("7", None),
            ("é", None),
            (r#"5["x"]"#, None),
            (r#"5-["x"]"#, None),
            (r#"511-["x"]"#, None),
            ("3[]", None),
            (
                r#"299999999999999999999["x"]"#,
                packet(Kind::Event, "/", None, 0, r#"["x"]"#),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(Packet::parse(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_client_may_send_anything(text in "[0-7é]?[0-9-]{0,4}(/[a-zé,]{0,3})?[0-9]{0,22}[\\[{\"é,x]{0,5}") {
            let _ = Packet::parse(&text);
        }
    }

    #[test]
    fn offsets_come_back_as_they_went() {
        for offset in [0, 35, 36, 123_456_789, u64::MAX] {
            let mut text = String::new();
            push_base36(&mut text, offset);
            let auth = format!(r#"{{"offset":"{text}","pid":7,"token":null}}"#);
            let handshake = Handshake::read(&auth);
            assert_eq!(handshake.offset(), Some(offset), "{text}");
            assert!(handshake.ticket().is_none());
        }
    }

    #[test]
    fn a_handshake_may_be_anything() {
        for auth in ["", "[]", "7", r#"{"pid":"x"}"#, "{"] {
            let handshake = Handshake::read(auth);
            assert!(handshake.ticket().is_none() && handshake.token.is_none());
        }
    }
}

//! Engine.IO packets ([protocol, version 4](https://socket.io/docs/v4/engine-io-protocol/)), and several of them in one
//! body of long-polling.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Serialize;

/// What a client says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Packet<'t> {
    Close,
    Ping,
    Pong,
    Message(&'t str),
    Binary(Vec<u8>),
    Upgrade,
    /// Of no meaning from a client.
    Nothing,
}

impl<'t> Packet<'t> {
    /// `None`: no packet.
    pub(super) fn parse(text: &'t str) -> Option<Self> {
        let mut rest = text.chars();
        Some(match rest.next()? {
            '0' | '6' => Self::Nothing,
            '1' => Self::Close,
            '2' => Self::Ping,
            '3' => Self::Pong,
            '4' => Self::Message(rest.as_str()),
            '5' => Self::Upgrade,
            'b' => Self::Binary(BASE64_STANDARD.decode(rest.as_str()).ok()?),
            _ => return None,
        })
    }
}

/// The packets of a body that a client posted.
pub(super) fn packets(body: &str) -> impl Iterator<Item = Option<Packet<'_>>> {
    body.split(SEPARATOR).map(Packet::parse)
}

/// A body that answers a client's poll.
#[derive(Debug, Default)]
pub(super) struct Payload(String);

impl Payload {
    /// Adds a packet: its kind, and its text.
    pub(super) fn push(&mut self, kind: &str, text: &str) {
        self.0.reserve(1 + kind.len() + text.len());
        if !self.0.is_empty() {
            self.0.push(SEPARATOR);
        }
        self.0.push_str(kind);
        self.0.push_str(text);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}

/// What a new client is told.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Open<'a> {
    pub(super) sid: &'a str,
    pub(super) upgrades: &'a [&'a str],
    /// In milliseconds, as the next one.
    pub(super) ping_interval: u128,
    pub(super) ping_timeout: u128,
    pub(super) max_payload: usize,
}

impl Open<'_> {
    pub(super) fn packet(&self) -> String {
        // Texts and numbers can always be written.
        format!("0{}", serde_json::to_string(self).unwrap_or_default())
    }
}

pub(super) const CLOSE: &str = "1";
pub(super) const PING: &str = "2";
pub(super) const MESSAGE: &str = "4";
pub(super) const UPGRADE: &str = "5";
pub(super) const NOOP: &str = "6";

/// What a WebSocket that is to take over says first, and what it is answered.
pub(super) const PROBE: &str = "2probe";
pub(super) const PROBED: &str = "3probe";

const SEPARATOR: char = '\x1e';

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn packets_are_read_as_the_protocol_has_them() {
        let cases = [
            ("0{}", Some(Packet::Nothing)),
            ("1", Some(Packet::Close)),
            ("2probe", Some(Packet::Ping)),
            ("3", Some(Packet::Pong)),
            ("4", Some(Packet::Message(""))),
            ("4é", Some(Packet::Message("é"))),
            ("5", Some(Packet::Upgrade)),
            ("6", Some(Packet::Nothing)),
            ("bAQID", Some(Packet::Binary(vec![1, 2, 3]))),
            ("b?", None),
            ("7", None),
            ("é", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(Packet::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn an_empty_body_and_an_empty_packet_are_none() {
        for body in ["", "\x1e", "4a\x1e", "\x1e4a", "4a\x1e\x1e4b"] {
            assert!(packets(body).any(|packet| packet.is_none()), "{body:?}");
        }
    }

    #[test]
    fn a_new_client_is_told_the_figures() {
        let open = Open {
            sid: "lv_VI97HAXpY6yYWAAAB",
            upgrades: &["websocket"],
            ping_interval: 25_000,
            ping_timeout: 20_000,
            max_payload: 1_000_000,
        };
        let figures = r#""upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000"#;
        assert_eq!(
            open.packet(),
            format!(r#"0{{"sid":"lv_VI97HAXpY6yYWAAAB",{figures}}}"#)
        );
    }

    proptest! {
        #[test]
        fn messages_of_one_body_come_out_as_they_went_in(
            messages in prop::collection::vec("[^\x1e]{0,20}", 1..6),
        ) {
            let mut payload = Payload::default();
            for message in &messages {
                payload.push(MESSAGE, message);
            }
            let body = payload.into_text();
            let read: Vec<_> = packets(&body).collect();
            let sent: Vec<_> = messages.iter().map(|text| Some(Packet::Message(text))).collect();
            prop_assert_eq!(read, sent);
        }

        #[test]
        fn anything_may_be_posted(body in ".{0,100}") {
            packets(&body).for_each(drop);
        }
    }
}

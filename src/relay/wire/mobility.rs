//! MOBILITY-TICKET ([RFC 8016 §3.3](https://www.rfc-editor.org/rfc/rfc8016#section-3.3)).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use stun::message::{CLASS_REQUEST, METHOD_REFRESH, MessageType};

use crate::relay::wire::attributes::ATTR_MOBILITY_TICKET;
use crate::relay::wire::message::Message;

/// Names an allocation that may move to another five-tuple. On the wire it is text, as coturn's client reads it as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(pub [u8; Self::BYTES]);

impl Ticket {
    /// How much it holds: without padding in base64.
    pub const BYTES: usize = 18;

    /// How long it is on the wire.
    pub const TEXT_BYTES: usize = 24;

    /// `None` where we never made it.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; Self::BYTES];
        let text: &[u8; Self::TEXT_BYTES] = text.try_into().ok()?;
        URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// As it goes on the wire.
    #[must_use]
    pub fn to_text(self) -> [u8; Self::TEXT_BYTES] {
        let mut text = [0; Self::TEXT_BYTES];
        let written = URL_SAFE_NO_PAD.encode_slice(self.0, &mut text);
        debug_assert_eq!(written, Ok(Self::TEXT_BYTES));
        text
    }

    /// What a Refresh request names, proven or not; `None` for any other message.
    #[must_use]
    pub fn named_in(message: &[u8]) -> Option<Self> {
        let refresh = MessageType::new(METHOD_REFRESH, CLASS_REQUEST);
        // Asked of every datagram.
        let typ = message.first_chunk().copied().map(u16::from_be_bytes)?;
        if typ != refresh.value() {
            return None;
        }
        let message = Message::parse(message)?;
        let mut attributes = message.attributes();
        let found = attributes.find(|found| found.typ == ATTR_MOBILITY_TICKET)?;
        Self::parse(found.value)
    }

    /// The number that says which worker has the allocation.
    #[must_use]
    pub fn mark(self) -> u32 {
        let [m0, m1, m2, m3, ..] = self.0;
        u32::from_be_bytes([m0, m1, m2, m3])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_text_whatever_it_holds() {
        for byte in [0, 1, 0x7F, 0xFF] {
            let ticket = Ticket([byte; Ticket::BYTES]);
            let text = ticket.to_text();
            assert!(text.iter().all(u8::is_ascii_graphic), "{text:?}");
            assert_eq!(Ticket::parse(&text), Some(ticket));
        }
    }

    #[test]
    fn what_is_no_ticket_of_ours_is_none() {
        let texts: [&[u8]; 5] = [
            b"",
            b"short",
            b"twenty-four bytes, spaces",
            b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            b"AAAAAAAAAAAAAAAAAAAAAAAAA",
        ];
        for text in texts {
            assert_eq!(Ticket::parse(text), None, "{text:?}");
        }
    }
}

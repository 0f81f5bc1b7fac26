//! Connections to peers of TCP allocations ([RFC 6062](https://www.rfc-editor.org/rfc/rfc6062)): their names, and how a
//! client is told of one.

use std::net::SocketAddr;

use stun::attributes::{ATTR_CONNECTION_ID, ATTR_XOR_PEER_ADDRESS};
use stun::message::{
    CLASS_INDICATION, CLASS_REQUEST, METHOD_CONNECTION_ATTEMPT, METHOD_CONNECTION_BIND, MessageType,
};

use crate::relay::wire::address::XorAddress;
use crate::relay::wire::message::{Message, TransactionId};
use crate::relay::wire::writer::Writer;

/// Names a connection to a peer, in CONNECTION-ID
/// ([RFC 6062 §6.2.1](https://www.rfc-editor.org/rfc/rfc6062#section-6.2.1)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u32);

impl ConnectionId {
    /// What a ConnectionBind request names, proven or not; `None` for any other message.
    #[must_use]
    pub fn named_in(message: &[u8]) -> Option<Self> {
        let bind = MessageType::new(METHOD_CONNECTION_BIND, CLASS_REQUEST);
        if !message.starts_with(&bind.value().to_be_bytes()) {
            return None;
        }
        let message = Message::parse(message)?;
        let mut attributes = message.attributes();
        let found = attributes.find(|found| found.typ == ATTR_CONNECTION_ID)?;
        found.value.try_into().ok().map(Self::from_be_bytes)
    }

    /// As it goes on the wire.
    #[must_use]
    pub fn to_be_bytes(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }

    /// As it came from the wire.
    #[must_use]
    pub fn from_be_bytes(bytes: [u8; 4]) -> Self {
        Self(u32::from_be_bytes(bytes))
    }
}

/// A ConnectionAttempt indication, in `buffer`: `peer` has connected to the relayed transport address.
#[must_use]
pub fn attempt(
    buffer: Vec<u8>,
    peer: SocketAddr,
    id: ConnectionId,
    transaction_id: TransactionId,
) -> Vec<u8> {
    let typ = MessageType::new(METHOD_CONNECTION_ATTEMPT, CLASS_INDICATION);
    let mut message = Writer::new(buffer, typ, transaction_id);
    let peer = XorAddress::encode(peer, transaction_id);
    message.add(ATTR_XOR_PEER_ADDRESS, peer.as_bytes());
    message.add(ATTR_CONNECTION_ID, &id.to_be_bytes());
    message.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name, type and length, attributes, and what they name.
    type Case = (&'static str, [u8; 4], &'static [u8], Option<ConnectionId>);

    #[test]
    fn only_a_whole_connection_bind_names_a_connection() {
        const TAIL: &[u8] = b"\x21\x12\xa4\x42transaction!";
        const ID: &[u8] = &[0, 0x2A, 0, 4, 1, 2, 3, 4];
        const TWO: &[u8] = &[0, 0x2A, 0, 4, 1, 2, 3, 4, 0, 0x2A, 0, 4, 9, 9, 9, 9];
        const SHORT: &[u8] = &[0, 0x2A, 0, 3, 1, 2, 3, 0];
        let named = Some(ConnectionId(0x0102_0304));
        let cases: &[Case] = &[
            ("a ConnectionBind", [0, 0x0B, 0, 8], ID, named),
            ("the first counts", [0, 0x0B, 0, 16], TWO, named),
            ("without an id", [0, 0x0B, 0, 0], &[], None),
            ("an id of three bytes", [0, 0x0B, 0, 8], SHORT, None),
            ("another method", [0, 0x0A, 0, 8], ID, None),
            ("a response", [0x01, 0x0B, 0, 8], ID, None),
            ("length beyond the message", [0, 0x0B, 0, 12], ID, None),
        ];
        for (name, head, attributes, named) in cases {
            let message = [&head[..], TAIL, attributes].concat();
            assert_eq!(ConnectionId::named_in(&message), *named, "{name}");
        }
        assert_eq!(ConnectionId::named_in(b""), None);
    }
}

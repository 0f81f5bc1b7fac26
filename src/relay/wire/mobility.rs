//! MOBILITY-TICKET ([RFC 8016 §3.3](https://www.rfc-editor.org/rfc/rfc8016#section-3.3)).

use stun::message::{CLASS_REQUEST, METHOD_REFRESH, MessageType};

use crate::relay::wire::attributes::ATTR_MOBILITY_TICKET;
use crate::relay::wire::message::Message;

/// Names an allocation that may move to another five-tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(pub [u8; Self::BYTES]);

impl Ticket {
    /// How long it is on the wire.
    pub const BYTES: usize = 20;

    /// What a Refresh request names, proven or not; `None` for any other message.
    #[must_use]
    pub fn named_in(message: &[u8]) -> Option<Self> {
        let refresh = MessageType::new(METHOD_REFRESH, CLASS_REQUEST);
        if !message.starts_with(&refresh.value().to_be_bytes()) {
            return None;
        }
        let message = Message::parse(message)?;
        let mut attributes = message.attributes();
        let found = attributes.find(|found| found.typ == ATTR_MOBILITY_TICKET)?;
        found.value.try_into().ok().map(Self)
    }

    /// The number that says which worker has the allocation.
    #[must_use]
    pub fn mark(self) -> u32 {
        let [m0, m1, m2, m3, ..] = self.0;
        u32::from_be_bytes([m0, m1, m2, m3])
    }
}

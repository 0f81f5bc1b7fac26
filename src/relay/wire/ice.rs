//! Connectivity checks ([RFC 8445 §7](https://www.rfc-editor.org/rfc/rfc8445#section-7)) that pass through the relay: who
//! sends one, and whom it is for.

use stun::attributes::ATTR_USERNAME;
use stun::message::BINDING_REQUEST;

use crate::relay::wire::message::Message;

/// The user fragments in the USERNAME of a Binding request between ICE agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check<'d> {
    /// That of the agent which it is for.
    pub to: &'d [u8],
    /// That of the agent which sends it.
    pub from: &'d [u8],
}

impl<'d> Check<'d> {
    /// `None` for anything else, which is told at the first bytes.
    #[must_use]
    pub fn parse(payload: &'d [u8]) -> Option<Self> {
        if !Self::may_be(payload) {
            return None;
        }
        let message = Message::parse(payload)?;
        let username = message
            .attributes()
            .find(|found| found.typ == ATTR_USERNAME)?;
        let colon = username.value.iter().position(|byte| *byte == b':')?;
        let (to, from) = (&username.value[..colon], &username.value[colon + 1..]);
        let are_fragments = [to, from]
            .iter()
            .all(|fragment| (1..=FRAGMENT_BYTES_MAX).contains(&fragment.len()));
        are_fragments.then_some(Self { to, from })
    }

    /// Whether it begins like one, which media never do.
    #[must_use]
    pub fn may_be(payload: &[u8]) -> bool {
        let typ = payload.first_chunk().copied().map(u16::from_be_bytes);
        typ == Some(BINDING_REQUEST.value())
    }
}

/// ([RFC 8839 §5.4](https://www.rfc-editor.org/rfc/rfc8839#section-5.4)).
const FRAGMENT_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use stun::message::{BINDING_SUCCESS, Message as Built, MessageType};
    use stun::textattrs::Username;

    use super::*;

    #[test]
    fn a_check_tells_whom_it_is_for_and_who_sends_it() {
        let check = built(BINDING_REQUEST, Some("their:ours"));
        let parsed = Check::parse(&check).unwrap();
        assert_eq!((parsed.to, parsed.from), (&b"their"[..], &b"ours"[..]));
    }

    #[test]
    fn what_is_no_check_is_none() {
        let long = format!("{}:b", "a".repeat(257));
        let others = [
            built(BINDING_REQUEST, None),
            built(BINDING_REQUEST, Some("alone")),
            built(BINDING_REQUEST, Some(":b")),
            built(BINDING_REQUEST, Some("a:")),
            built(BINDING_REQUEST, Some(&long)),
            built(BINDING_SUCCESS, Some("a:b")),
            built(BINDING_REQUEST, Some("a:b"))[..25].to_vec(),
            b"\0\x01 and no message".to_vec(),
            Vec::new(),
        ];
        for other in others {
            assert_eq!(Check::parse(&other), None, "{other:?}");
        }
    }

    fn built(typ: MessageType, username: Option<&str>) -> Vec<u8> {
        let mut message = Built::new();
        let username = username.map(|name| Username::new(ATTR_USERNAME, name.to_owned()));
        let mut setters: Vec<Box<dyn stun::message::Setter>> = vec![Box::new(typ)];
        setters.extend(username.map(|name| Box::new(name) as Box<dyn stun::message::Setter>));
        message.build(&setters).unwrap();
        message.raw
    }
}

//! A STUN message where it lies in its datagram ([RFC 8489 §5](https://www.rfc-editor.org/rfc/rfc8489#section-5)).
//!
//! Read by a borrowed walk of our own: the `stun` crate copies every attribute, admits trailing bytes and short
//! addresses, and takes MESSAGE-INTEGRITY from where the message ends.

use stun::attributes::{
    ATTR_FINGERPRINT, ATTR_MESSAGE_INTEGRITY, ATTR_MESSAGE_INTEGRITY_SHA256, AttrType,
};
use stun::message::{CLASS_ERROR_RESPONSE, CLASS_SUCCESS_RESPONSE, MAGIC_COOKIE, MessageType};

use crate::relay::wire::integrity::{Hash, Integrities, Integrity};

/// The bytes in front of the attributes.
pub const HEADER_BYTES: usize = 20;

/// Type and length in front of each attribute's value.
pub const ATTRIBUTE_HEADER_BYTES: usize = 4;

/// Names a request and its answer.
pub type TransactionId = [u8; 12];

/// A STUN message whose header and attributes fit its datagram exactly.
#[derive(Clone, Copy, Debug)]
pub struct Message<'d> {
    bytes: &'d [u8],
    /// Where its first FINGERPRINT begins.
    fingerprint_at: Option<usize>,
    /// Method and class.
    pub typ: MessageType,
    /// As the sender chose it.
    pub transaction_id: TransactionId,
}

/// Whether a message is what its sender wrote ([RFC 8489 §14.7](https://www.rfc-editor.org/rfc/rfc8489#section-14.7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fingerprint {
    /// There is none.
    Absent,
    /// It matches.
    Right,
    /// It does not match, or is not the last attribute.
    Wrong,
}

impl<'d> Message<'d> {
    /// `None` unless header, length, cookie and every attribute's length agree with the datagram.
    #[must_use]
    pub fn parse(datagram: &'d [u8]) -> Option<Self> {
        let (header, body) = datagram.split_first_chunk::<HEADER_BYTES>()?;
        let &[t0, t1, l0, l1, c0, c1, c2, c3, ref transaction_id @ ..] = header;
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        let cookie = u32::from_be_bytes([c0, c1, c2, c3]);
        if t0 > 3 || length != body.len() || length % 4 != 0 || cookie != MAGIC_COOKIE {
            return None;
        }
        let mut attributes = Attributes::of(datagram);
        let mut fingerprint_at = None;
        for found in attributes.by_ref() {
            if found.typ == ATTR_FINGERPRINT && fingerprint_at.is_none() {
                fingerprint_at = Some(found.at);
            }
        }
        if attributes.at != datagram.len() {
            return None;
        }
        let mut typ = MessageType::default();
        typ.read_value(u16::from_be_bytes([t0, t1]));
        Some(Self {
            bytes: datagram,
            fingerprint_at,
            typ,
            transaction_id: *transaction_id,
        })
    }

    /// Whether it answers a request, well or not.
    #[must_use]
    pub fn is_response(&self) -> bool {
        [CLASS_SUCCESS_RESPONSE, CLASS_ERROR_RESPONSE].contains(&self.typ.class)
    }

    /// All attributes, in order.
    #[must_use]
    pub fn attributes(&self) -> Attributes<'d> {
        Attributes::of(self.bytes)
    }

    /// The attribute that begins here, if one does.
    pub(super) fn attribute_at(&self, at: usize) -> Option<Attribute<'d>> {
        let message = self.bytes;
        Attributes { message, at }.next()
    }

    /// The FINGERPRINT, checked.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let found = self.fingerprint_at.and_then(|at| self.attribute_at(at));
        let Some(found) = found else {
            return Fingerprint::Absent;
        };
        let is_last = found.at + ATTRIBUTE_HEADER_BYTES + 4 == self.bytes.len();
        if is_last && found.value == fingerprint_of(&self.bytes[..found.at]) {
            Fingerprint::Right
        } else {
            Fingerprint::Wrong
        }
    }

    /// Its MESSAGE-INTEGRITY and MESSAGE-INTEGRITY-SHA256.
    #[must_use]
    pub fn integrities(&self) -> Integrities<'d> {
        let mut integrities = Integrities {
            sha1: None,
            sha256: None,
        };
        for found in self.attributes() {
            let code = |hash| Integrity::new(hash, &self.bytes[..found.at], found);
            match found.typ {
                ATTR_MESSAGE_INTEGRITY if integrities.sha1.is_none() => {
                    integrities.sha1 = Some(code(Hash::Sha1));
                }
                ATTR_MESSAGE_INTEGRITY_SHA256 => {
                    integrities.sha256 = Some(code(Hash::Sha256));
                    // Behind the stronger code only a FINGERPRINT counts.
                    break;
                }
                _ => {}
            }
        }
        integrities
    }
}

/// The FINGERPRINT of a message that up to it consists of `covered`, header included
/// ([RFC 8489 §14.7](https://www.rfc-editor.org/rfc/rfc8489#section-14.7)).
pub(super) fn fingerprint_of(covered: &[u8]) -> [u8; 4] {
    (crc32fast::hash(covered) ^ FINGERPRINT_XOR).to_be_bytes()
}

/// Tells STUN from whatever else ends in a CRC.
const FINGERPRINT_XOR: u32 = 0x5354_554E;

/// One attribute of a message.
#[derive(Clone, Copy, Debug)]
pub struct Attribute<'d> {
    /// Its type.
    pub typ: AttrType,
    /// Its value, without padding.
    pub value: &'d [u8],
    /// Where its header begins in the message.
    pub(super) at: usize,
}

/// Walks over the attributes of a message; stops where one is cut short.
#[derive(Clone, Debug)]
pub struct Attributes<'d> {
    message: &'d [u8],
    at: usize,
}

impl<'d> Attributes<'d> {
    fn of(message: &'d [u8]) -> Self {
        Self {
            message,
            at: HEADER_BYTES,
        }
    }
}

impl<'d> Iterator for Attributes<'d> {
    type Item = Attribute<'d>;

    fn next(&mut self) -> Option<Attribute<'d>> {
        let at = self.at;
        let (&[t0, t1, l0, l1], rest) = self.message.get(at..)?.split_first_chunk()?;
        let length = usize::from(u16::from_be_bytes([l0, l1]));
        let padded = rest.get(..length.next_multiple_of(4))?;
        self.at = at + ATTRIBUTE_HEADER_BYTES + padded.len();
        Some(Attribute {
            typ: AttrType(u16::from_be_bytes([t0, t1])),
            value: &padded[..length],
            at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_5769_fingerprint() {
        let message = Message::parse(SHORT_TERM_REQUEST).unwrap();
        assert_eq!(message.fingerprint(), Fingerprint::Right);
        let mut bytes = SHORT_TERM_REQUEST.to_vec();
        bytes[30] ^= 1;
        assert_eq!(
            Message::parse(&bytes).unwrap().fingerprint(),
            Fingerprint::Wrong
        );
    }

    #[test]
    fn a_fingerprint_must_come_last() {
        let mut bytes = SHORT_TERM_REQUEST.to_vec();
        bytes.extend_from_slice(&[0x80, 0x22, 0, 0]);
        bytes[3] += 4;
        assert_eq!(
            Message::parse(&bytes).unwrap().fingerprint(),
            Fingerprint::Wrong
        );
    }

    #[test]
    fn lengths_that_disagree_are_refused() {
        const COOKIE: &[u8] = b"\x21\x12\xa4\x42transaction!";
        let cases: &[(&str, &[u8], &[u8], bool)] = &[
            ("no attributes", &[0, 1, 0, 0], &[], true),
            (
                "an empty attribute",
                &[0, 1, 0, 4],
                &[0x80, 0x22, 0, 0],
                true,
            ),
            (
                "a padded attribute",
                &[0, 1, 0, 8],
                &[0x80, 0x22, 0, 1, b'a', 9, 9, 9],
                true,
            ),
            ("length beyond datagram", &[0, 1, 0, 4], &[], false),
            (
                "datagram beyond length",
                &[0, 1, 0, 0],
                &[0, 0, 0, 0],
                false,
            ),
            ("length not a multiple of 4", &[0, 1, 0, 2], &[0, 0], false),
            (
                "attribute beyond message",
                &[0, 1, 0, 4],
                &[0x80, 0x22, 0, 1],
                false,
            ),
            (
                "attribute of 65535 bytes",
                &[0, 1, 0, 4],
                &[0x80, 0x22, 255, 255],
                false,
            ),
            ("first bits not 0", &[0x40, 1, 0, 0], &[], false),
        ];
        for (name, head, body, admitted) in cases {
            let bytes = [head, COOKIE, body].concat();
            assert_eq!(Message::parse(&bytes).is_some(), *admitted, "{name}");
            for cut in 0..bytes.len() * usize::from(*admitted) {
                assert!(
                    Message::parse(&bytes[..cut]).is_none(),
                    "{name}, cut at {cut}"
                );
            }
        }
        assert!(
            Message::parse(b"\0\x01\0\0\x21\x12\xa4\x43transaction!").is_none(),
            "other cookie"
        );
    }

    const SHORT_TERM_REQUEST: &[u8] = b"\
        \x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
        \x80\x22\x00\x10STUN test client\
        \x00\x24\x00\x04\x6e\x00\x01\xff\
        \x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\
        \x00\x06\x00\x09evtj:h6vY\x20\x20\x20\
        \x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5\x71\xa2\
        \x80\x28\x00\x04\xe5\x7a\x3b\xcf";
}

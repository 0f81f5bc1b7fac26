//! STUN messages, written from front to back into a buffer that is used again and again
//! ([RFC 8489 §5](https://www.rfc-editor.org/rfc/rfc8489#section-5)).

use stun::attributes::{ATTR_FINGERPRINT, AttrType};
use stun::message::{MAGIC_COOKIE, MessageType};

use crate::relay::wire::integrity::SigningKey;
use crate::relay::wire::message::{HEADER_BYTES, TransactionId, fingerprint_of};

/// A message in the making.
#[derive(Debug)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// A message without attributes, in place of whatever is in `buffer`.
    #[must_use]
    pub fn new(mut buffer: Vec<u8>, typ: MessageType, id: TransactionId) -> Self {
        let mut header = [0; HEADER_BYTES];
        header[..2].copy_from_slice(&typ.value().to_be_bytes());
        header[4..8].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
        header[8..].copy_from_slice(&id);
        buffer.clear();
        buffer.extend_from_slice(&header);
        Self { bytes: buffer }
    }

    /// Adds an attribute of at most 65,535 bytes, padded to a multiple of 4.
    pub fn add(&mut self, typ: AttrType, value: &[u8]) {
        debug_assert!(value.len() <= usize::from(u16::MAX));
        let [t0, t1] = typ.0.to_be_bytes();
        let [l0, l1] = to_u16(value.len()).to_be_bytes();
        let padding = value.len().next_multiple_of(4) - value.len();
        self.bytes.extend_from_slice(&[t0, t1, l0, l1]);
        self.bytes.extend_from_slice(value);
        self.bytes.extend_from_slice(&[0; 3][..padding]);
    }

    /// Adds the codes that `key` is to make, in their order.
    pub fn sign(&mut self, key: SigningKey<'_>) {
        for hash in key.codes.hashes() {
            let code = hash.code(key.key, &self.bytes);
            self.add(hash.attribute(), &code[..hash.code_bytes()]);
        }
    }

    /// Adds FINGERPRINT, which comes last.
    pub fn add_fingerprint(&mut self) {
        self.set_length(self.bytes.len() + FINGERPRINT_BYTES);
        let fingerprint = fingerprint_of(&self.bytes);
        self.add(ATTR_FINGERPRINT, &fingerprint);
    }

    /// The whole message.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.set_length(self.bytes.len());
        self.bytes
    }

    fn set_length(&mut self, message_bytes: usize) {
        let length = to_u16(message_bytes - HEADER_BYTES);
        self.bytes[2..4].copy_from_slice(&length.to_be_bytes());
    }
}

/// Nothing here is longer: answers are about one request, which fits a datagram.
fn to_u16(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

/// FINGERPRINT, header included.
const FINGERPRINT_BYTES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::wire::integrity::Codes;
    use crate::relay::wire::message::{Fingerprint, Message};
    use stun::attributes::{ATTR_SOFTWARE, ATTR_XORMAPPED_ADDRESS};
    use stun::message::BINDING_SUCCESS;

    #[test]
    fn rfc_5769_response_but_for_its_padding() {
        // RFC 5769 §2.2, whose SOFTWARE is padded with a space.
        let mut writer = Writer::new(vec![1; 7], BINDING_SUCCESS, ID);
        writer.add(ATTR_SOFTWARE, b"test vector");
        writer.add(ATTR_XORMAPPED_ADDRESS, b"\x00\x01\xa1\x47\xe1\x12\xa6\x43");
        let codes = Codes {
            sha1: true,
            sha256: true,
        };
        writer.sign(SigningKey { key: KEY, codes });
        writer.add_fingerprint();
        let bytes = writer.finish();
        let begin =
            b"\x01\x01\x00\x60\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
            \x80\x22\x00\x0btest vector\x00\x00\x20\x00\x08\x00\x01";
        assert!(bytes.starts_with(begin), "{bytes:x?}");
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.fingerprint(), Fingerprint::Right);
        let integrities = message.integrities();
        assert!(integrities.sha1.is_some_and(|code| code.proves(KEY)));
        assert!(integrities.sha256.is_some_and(|code| code.proves(KEY)));
    }

    #[test]
    fn an_attribute_is_padded_to_a_multiple_of_4() {
        for length in 0..9 {
            let mut writer = Writer::new(Vec::new(), BINDING_SUCCESS, ID);
            writer.add(ATTR_SOFTWARE, &vec![b'a'; length]);
            let bytes = writer.finish();
            assert_eq!(bytes.len(), 24 + length.next_multiple_of(4));
            let mut attributes = Message::parse(&bytes).unwrap().attributes();
            assert_eq!(attributes.next().unwrap().value.len(), length);
            assert!(bytes[24 + length..].iter().all(|padding| *padding == 0));
        }
    }

    const ID: TransactionId = *b"\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae";
    const KEY: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";
}

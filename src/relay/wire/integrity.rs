//! MESSAGE-INTEGRITY and MESSAGE-INTEGRITY-SHA256
//! ([RFC 8489 §14.5, §14.6](https://www.rfc-editor.org/rfc/rfc8489#section-14.5)): proof of who wrote a message.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;
use stun::attributes::{ATTR_MESSAGE_INTEGRITY, ATTR_MESSAGE_INTEGRITY_SHA256, AttrType};

use crate::relay::wire::message::{ATTRIBUTE_HEADER_BYTES, Attribute, HEADER_BYTES};

/// The bytes of the longest code.
pub const CODE_BYTES_MAX: usize = 32;

/// The hash that a code is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// MESSAGE-INTEGRITY, 20 bytes.
    Sha1,
    /// MESSAGE-INTEGRITY-SHA256, 32 bytes: a usage may let it be cut short, and TURN does not.
    Sha256,
}

impl Hash {
    /// The attribute that carries its codes.
    #[must_use]
    pub fn attribute(self) -> AttrType {
        match self {
            Self::Sha1 => ATTR_MESSAGE_INTEGRITY,
            Self::Sha256 => ATTR_MESSAGE_INTEGRITY_SHA256,
        }
    }

    /// The bytes of a code.
    #[must_use]
    pub fn code_bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// The code of a message that so far consists of `covered`, header included: its first
    /// [`code_bytes`](Self::code_bytes), the rest is 0.
    #[must_use]
    pub fn code(self, key: &[u8], covered: &[u8]) -> [u8; CODE_BYTES_MAX] {
        let mut code = [0; CODE_BYTES_MAX];
        let room = &mut code[..self.code_bytes()];
        match self {
            Self::Sha1 => {
                let mac = self.mac::<Hmac<Sha1>>(key, covered);
                room.copy_from_slice(&mac.finalize().into_bytes());
            }
            Self::Sha256 => {
                let mac = self.mac::<Hmac<Sha256>>(key, covered);
                room.copy_from_slice(&mac.finalize().into_bytes());
            }
        }
        code
    }

    fn verifies(self, key: &[u8], covered: &[u8], code: &[u8]) -> bool {
        match self {
            Self::Sha1 => self.mac::<Hmac<Sha1>>(key, covered).verify_slice(code),
            Self::Sha256 => self.mac::<Hmac<Sha256>>(key, covered).verify_slice(code),
        }
        .is_ok()
    }

    /// The header's length field counts as if the code were the end of the message.
    fn mac<M: Mac + KeyInit>(self, key: &[u8], covered: &[u8]) -> M {
        let length = covered.len() - HEADER_BYTES + ATTRIBUTE_HEADER_BYTES + self.code_bytes();
        let length = u16::try_from(length).unwrap_or(u16::MAX);
        let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
        mac.update(&covered[..2]);
        mac.update(&length.to_be_bytes());
        mac.update(&covered[4..]);
        mac
    }
}

/// A code and the bytes that it covers.
#[derive(Clone, Copy, Debug)]
pub struct Integrity<'d> {
    hash: Hash,
    covered: &'d [u8],
    code: &'d [u8],
}

impl<'d> Integrity<'d> {
    /// Of a message that up to this attribute consists of `covered`, header included.
    #[must_use]
    pub(super) fn new(hash: Hash, covered: &'d [u8], found: Attribute<'d>) -> Self {
        Self {
            hash,
            covered,
            code: found.value,
        }
    }

    /// Whether the code is as long as its hash makes it.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.code.len() == self.hash.code_bytes()
    }

    /// Whether `key` made the code; takes the same time wherever it differs.
    #[must_use]
    pub fn proves(&self, key: &[u8]) -> bool {
        self.hash.verifies(key, self.covered, self.code)
    }
}

/// The codes of a message, each the first of its kind; what follows a code proves nothing, but for a
/// MESSAGE-INTEGRITY-SHA256 behind a MESSAGE-INTEGRITY.
#[derive(Clone, Copy, Debug)]
pub struct Integrities<'d> {
    /// MESSAGE-INTEGRITY.
    pub sha1: Option<Integrity<'d>>,
    /// MESSAGE-INTEGRITY-SHA256.
    pub sha256: Option<Integrity<'d>>,
}

impl<'d> Integrities<'d> {
    /// The one that counts ([RFC 8489 §9.2.4](https://www.rfc-editor.org/rfc/rfc8489#section-9.2.4)): the stronger.
    #[must_use]
    pub fn decisive(&self) -> Option<Integrity<'d>> {
        self.sha256.or(self.sha1)
    }
}

/// What an answer is signed with, and how.
#[derive(Clone, Copy, Debug)]
pub struct SigningKey<'k> {
    /// 16 or 32 bytes.
    pub key: &'k [u8],
    /// The codes that the answer carries.
    pub codes: Codes,
}

/// The codes that the answer to a request carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Codes {
    /// MESSAGE-INTEGRITY: wherever the request had it.
    pub sha1: bool,
    /// MESSAGE-INTEGRITY-SHA256: where the request had nothing else, or chose a password algorithm.
    pub sha256: bool,
}

impl Codes {
    /// Those to write, in their order.
    pub(super) fn hashes(self) -> impl Iterator<Item = Hash> {
        let all = [(self.sha1, Hash::Sha1), (self.sha256, Hash::Sha256)];
        all.into_iter()
            .filter_map(|(wanted, hash)| wanted.then_some(hash))
    }
}

#[cfg(test)]
mod tests {
    use crate::credentials::{LongTermKey, PasswordAlgorithm, user_hash};
    use crate::relay::wire::message::{Fingerprint, Message};
    use stun::attributes::ATTR_USER_HASH;

    #[test]
    fn r29_rfc_5769_long_term_integrity() {
        // RFC 5769 §2.4: the user name is "マトリックス", the password as SASLprep leaves it.
        let message = Message::parse(LONG_TERM_REQUEST).unwrap();
        let integrity = message.integrities().decisive().unwrap();
        assert!(integrity.is_whole() && integrity.proves(md5_key("TheMatrIX").as_bytes()));
        assert!(!integrity.proves(md5_key("TheMatrix").as_bytes()));
        assert_eq!(message.fingerprint(), Fingerprint::Absent);
    }

    #[test]
    fn rfc_5769_short_term_request_and_responses() {
        for bytes in [SHORT_TERM_REQUEST, RESPONSE_V4, RESPONSE_V6] {
            let message = Message::parse(bytes).unwrap();
            let integrity = message.integrities().sha1.unwrap();
            assert!(integrity.proves(b"VOkJxbRl1RmTxUk/WvJxBt"));
            assert_eq!(message.fingerprint(), Fingerprint::Right);
        }
    }

    #[test]
    fn r36_r37_rfc_8489_sha256_integrity_and_user_hash() {
        // RFC 8489 appendix B.1 as its errata correct it: with PASSWORD-ALGORITHM, and the length that it really has.
        let message = Message::parse(SHA256_REQUEST).unwrap();
        let mut attributes = message.attributes();
        let hash = attributes.find(|found| found.typ == ATTR_USER_HASH);
        assert_eq!(hash.unwrap().value, user_hash(USERNAME, "example.org"));
        let integrity = message.integrities().decisive().unwrap();
        assert!(integrity.is_whole() && integrity.proves(sha256_key("TheMatrIX").as_bytes()));
        assert!(!integrity.proves(md5_key("TheMatrIX").as_bytes()));
    }

    #[test]
    fn r29_any_flipped_bit_breaks_the_integrity() {
        for (request, key) in [
            (LONG_TERM_REQUEST, md5_key("TheMatrIX")),
            (SHA256_REQUEST, sha256_key("TheMatrIX")),
        ] {
            for bit in 0..request.len() * 8 {
                let mut bytes = request.to_vec();
                bytes[bit / 8] ^= 1 << (bit % 8);
                let message = Message::parse(&bytes);
                let integrity = message.and_then(|message| message.integrities().decisive());
                let proven = integrity.is_some_and(|integrity| integrity.proves(key.as_bytes()));
                assert!(!proven, "bit {bit}");
            }
        }
    }

    #[test]
    fn r36_a_sha256_code_cut_short_is_not_whole_and_proves_nothing() {
        let key = sha256_key("TheMatrIX");
        for length in [0_u8, 4, 12, 16, 20, 28] {
            let cut = 32 - usize::from(length);
            let mut bytes = SHA256_REQUEST[..SHA256_REQUEST.len() - cut].to_vec();
            bytes[3] -= u8::try_from(cut).unwrap();
            let at = bytes.len() - usize::from(length) - 1;
            bytes[at] = length;
            let integrity = Message::parse(&bytes).unwrap().integrities().decisive();
            let integrity = integrity.unwrap();
            assert!(!integrity.is_whole() && !integrity.proves(key.as_bytes()));
        }
    }

    fn md5_key(password: &str) -> LongTermKey {
        LongTermKey::derive(PasswordAlgorithm::Md5, USERNAME, "example.org", password)
    }

    fn sha256_key(password: &str) -> LongTermKey {
        LongTermKey::derive(PasswordAlgorithm::Sha256, USERNAME, "example.org", password)
    }

    const USERNAME: &str = "マトリックス";

    const LONG_TERM_REQUEST: &[u8] = b"\
        \x00\x01\x00\x60\x21\x12\xa4\x42\x78\xad\x34\x33\xc6\xad\x72\xc0\x29\xda\x41\x2e\
        \x00\x06\x00\x12\xe3\x83\x9e\xe3\x83\x88\xe3\x83\xaa\xe3\x83\x83\xe3\x82\xaf\xe3\x82\xb9\x00\x00\
        \x00\x15\x00\x1cf//499k954d6OL34oL9FSTvy64sA\
        \x00\x14\x00\x0bexample.org\x00\
        \x00\x08\x00\x14\xf6\x70\x24\x65\x6d\xd6\x4a\x3e\x02\xb8\xe0\x71\x2e\x85\xc9\xa2\x8c\xa8\x96\x66";

    const SHORT_TERM_REQUEST: &[u8] = b"\
        \x00\x01\x00\x58\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
        \x80\x22\x00\x10STUN test client\
        \x00\x24\x00\x04\x6e\x00\x01\xff\
        \x80\x29\x00\x08\x93\x2f\xf9\xb1\x51\x26\x3b\x36\
        \x00\x06\x00\x09evtj:h6vY\x20\x20\x20\
        \x00\x08\x00\x14\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5\x71\xa2\
        \x80\x28\x00\x04\xe5\x7a\x3b\xcf";

    const RESPONSE_V4: &[u8] = b"\
        \x01\x01\x00\x3c\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
        \x80\x22\x00\x0btest vector\x20\
        \x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43\
        \x00\x08\x00\x14\x2b\x91\xf5\x99\xfd\x9e\x90\xc3\x8c\x74\x89\xf9\x2a\xf9\xba\x53\xf0\x6b\xe7\xd7\
        \x80\x28\x00\x04\xc0\x7d\x4c\x96";

    const RESPONSE_V6: &[u8] = b"\
        \x01\x01\x00\x48\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae\
        \x80\x22\x00\x0btest vector\x20\
        \x00\x20\x00\x14\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9\
        \x00\x08\x00\x14\xa3\x82\x95\x4e\x4b\xe6\x7b\xf1\x17\x84\xc9\x7c\x82\x92\xc2\x75\xbf\xe3\xed\x41\
        \x80\x28\x00\x04\xc8\xfb\x0b\x4c";

    const SHA256_REQUEST: &[u8] = b"\
        \x00\x01\x00\x90\x21\x12\xa4\x42\x78\xad\x34\x33\xc6\xad\x72\xc0\x29\xda\x41\x2e\
        \x00\x1e\x00\x20\x4a\x3c\xf3\x8f\xef\x69\x92\xbd\xa9\x52\xc6\x78\x04\x17\xda\x0f\
        \x24\x81\x94\x15\x56\x9e\x60\xb2\x05\xc4\x6e\x41\x40\x7f\x17\x04\
        \x00\x15\x00\x29obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA\0\0\0\
        \x00\x14\x00\x0bexample.org\x00\
        \x00\x1d\x00\x04\x00\x02\x00\x00\
        \x00\x1c\x00\x20\xb5\xc7\xbf\x00\x5b\x6c\x52\xa2\x1c\x51\xc5\xe8\x92\xf8\x19\x24\
        \x13\x62\x96\xcb\x92\x7c\x43\x14\x93\x09\x27\x8c\xc6\x51\x8e\x65";
}

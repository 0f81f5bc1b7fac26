//! The first flight of DTLS, answered without keeping anything
//! ([RFC 6347 §4.2.1](https://www.rfc-editor.org/rfc/rfc6347#section-4.2.1)).

use crate::relay::wire::dtls_record::{Content, Record, Records, in_clear};

/// The bytes of a cookie.
pub const COOKIE_BYTES: usize = 32;

/// A ClientHello in one piece; no client has reason to cut one up.
#[derive(Clone, Copy, Debug)]
pub struct ClientHello<'d> {
    /// The record it came in.
    record: Record<'d>,
    /// 0 for the first, 1 for the one that brings the cookie back.
    message_seq: u16,
    /// Version, random and session id: all before the cookie.
    front: &'d [u8],
    /// What the client says we gave it; may be empty.
    pub cookie: &'d [u8],
    /// Cipher suites and compression methods.
    offers: &'d [u8],
    extensions: &'d [u8],
}

impl<'d> ClientHello<'d> {
    /// The datagram's, if it begins with a whole one.
    #[must_use]
    pub fn parse(datagram: &'d [u8]) -> Option<Self> {
        let record = Records::of(datagram).next()?;
        if record.content != Content::Handshake || record.epoch != 0 {
            return None;
        }
        let (header, body) = record
            .fragment
            .split_first_chunk::<MESSAGE_HEADER_BYTES>()?;
        let &[typ, l0, l1, l2, s0, s1, o0, o1, o2, f0, f1, f2] = header;
        let is_whole = [o0, o1, o2] == [0; 3] && [l0, l1, l2] == [f0, f1, f2];
        let length = u32::from_be_bytes([0, l0, l1, l2]) as usize;
        if typ != CLIENT_HELLO || !is_whole || length != body.len() {
            return None;
        }
        let session_end = FIXED_BYTES + 1 + usize::from(*body.get(FIXED_BYTES)?);
        let (cookie, rest) = prefixed(body.get(session_end..)?)?;
        let suites_bytes = usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?]));
        let compressions_at = 2 + suites_bytes;
        let offers_end = compressions_at + 1 + usize::from(*rest.get(compressions_at)?);
        Some(Self {
            record,
            message_seq: u16::from_be_bytes([s0, s1]),
            front: &body[..session_end],
            cookie,
            offers: rest.get(..offers_end)?,
            extensions: rest.get(offers_end..)?,
        })
    }

    /// Names the handshake: the same in a client's first and second ClientHello.
    #[must_use]
    pub fn random(&self) -> [u8; RANDOM_BYTES] {
        let mut random = [0; RANDOM_BYTES];
        random.copy_from_slice(&self.front[VERSION_BYTES..FIXED_BYTES]);
        random
    }

    /// What a cookie is made for besides the client's address: all that the second ClientHello must repeat.
    #[must_use]
    pub fn parameters(&self) -> [&'d [u8]; 2] {
        [self.front, self.offers]
    }

    /// The number of its record: that of our first record in reply.
    #[must_use]
    pub fn record_sequence(&self) -> u64 {
        self.record.sequence
    }

    /// Whether it may bring a cookie back: it is the second of its handshake.
    #[must_use]
    pub fn is_second(&self) -> bool {
        self.message_seq == 1 && self.cookie.len() == COOKIE_BYTES
    }

    /// The ClientHello that this one followed, as a datagram: the same without the cookie.
    #[must_use]
    pub fn first_of_handshake(&self) -> Vec<u8> {
        let body = [self.front, &[0], self.offers, self.extensions].concat();
        let message = handshake(CLIENT_HELLO, &body);
        in_clear(HANDSHAKE, DTLS_1_2, 0, &message)
    }

    /// HelloVerifyRequest, the whole datagram: 60 bytes, less than any ClientHello.
    #[must_use]
    pub fn verify_request(&self, cookie: &[u8; COOKIE_BYTES]) -> Vec<u8> {
        // DTLS 1.0, whatever will be agreed on.
        let [v0, v1] = DTLS_1_0;
        let body = [&[v0, v1, COOKIE_BYTES as u8][..], cookie].concat();
        let message = handshake(HELLO_VERIFY_REQUEST, &body);
        in_clear(HANDSHAKE, DTLS_1_0, self.record.sequence, &message)
    }

    /// Whether DTLS 1.2 will do; versions count down.
    #[must_use]
    pub fn offers_dtls_1_2(&self) -> bool {
        self.front[..VERSION_BYTES] <= DTLS_1_2[..]
    }

    /// A fatal alert that refuses it, the whole datagram
    /// ([RFC 5246 §7.2.2](https://www.rfc-editor.org/rfc/rfc5246#section-7.2.2)).
    #[must_use]
    pub fn refusal(&self) -> Vec<u8> {
        let reason = match self.offers_dtls_1_2() {
            true => HANDSHAKE_FAILURE,
            false => PROTOCOL_VERSION,
        };
        let Record {
            version, sequence, ..
        } = self.record;
        in_clear(ALERT, version, sequence, &[FATAL, reason])
    }
}

/// A handshake message in one piece, the first of its side.
fn handshake(typ: u8, body: &[u8]) -> Vec<u8> {
    let [.., l0, l1, l2] = body.len().to_be_bytes();
    let header = [typ, l0, l1, l2, 0, 0, 0, 0, 0, l0, l1, l2];
    [&header[..], body].concat()
}

/// A vector with one byte of length, and what follows it.
fn prefixed(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

const VERSION_BYTES: usize = 2;
const RANDOM_BYTES: usize = 32;
const FIXED_BYTES: usize = VERSION_BYTES + RANDOM_BYTES;
/// Type, length, message_seq, fragment offset and length.
const MESSAGE_HEADER_BYTES: usize = 12;
const CLIENT_HELLO: u8 = 1;
const HELLO_VERIFY_REQUEST: u8 = 3;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const FATAL: u8 = 2;
const HANDSHAKE_FAILURE: u8 = 40;
const PROTOCOL_VERSION: u8 = 70;
const DTLS_1_0: [u8; 2] = [254, 255];
const DTLS_1_2: [u8; 2] = [254, 253];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_hello_is_the_second_without_its_cookie() {
        let (first, second) = (hello(0, b""), hello(1, &[7; COOKIE_BYTES]));
        let (first_hello, second_hello) = (parsed(&first), parsed(&second));
        assert!(!first_hello.is_second() && second_hello.is_second());
        assert_eq!(first_hello.random(), second_hello.random());
        assert_eq!(first_hello.parameters(), second_hello.parameters());
        // The record's own version and number are the client's affair.
        assert_eq!(second_hello.first_of_handshake()[13..], first[13..]);
    }

    #[test]
    fn r0d_the_answer_to_the_smallest_hello_is_smaller() {
        let bytes = smallest();
        let hello = parsed(&bytes);
        assert!(hello.verify_request(&[0; COOKIE_BYTES]).len() < bytes.len());
        assert!(hello.refusal().len() < bytes.len());
    }

    #[test]
    fn an_answer_has_the_number_of_the_hello() {
        let mut bytes = hello(0, b"");
        bytes[10] = 9;
        for answer in [
            parsed(&bytes).verify_request(&[7; COOKIE_BYTES]),
            parsed(&bytes).refusal(),
        ] {
            assert_eq!(Records::of(&answer).next().unwrap().sequence, 9);
        }
    }

    #[test]
    fn r19_a_client_of_dtls_1_0_is_told_that_its_version_is_refused() {
        let mut bytes = hello(0, b"");
        assert!(parsed(&bytes).offers_dtls_1_2());
        assert_eq!(parsed(&bytes).refusal()[13..], [2, 40]);
        bytes[13 + 12 + 1] = 255;
        assert!(!parsed(&bytes).offers_dtls_1_2());
        assert_eq!(parsed(&bytes).refusal()[13..], [2, 70]);
    }

    #[test]
    fn what_is_no_whole_hello_is_none() {
        let whole = hello(0, b"");
        for (name, at, byte) in [
            ("no handshake", 0, 23),
            ("no ClientHello", 13, 2),
            ("a fragment", 13 + 8, 1),
            ("session id beyond the end", 13 + 12 + 34, 255),
            ("cookie beyond the end", 13 + 12 + 35, 255),
            ("cipher suites beyond the end", 13 + 12 + 36, 255),
        ] {
            let mut bytes = whole.clone();
            bytes[at] = byte;
            assert!(ClientHello::parse(&bytes).is_none(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..120),
            flips in proptest::collection::vec((0_usize..80, any::<u8>()), 0..6),
        ) {
            let mut mutated = hello(1, &[7; COOKIE_BYTES]);
            for (at, byte) in flips {
                mutated[at] = byte;
            }
            bytes.insert(0, 22);
            for datagram in [bytes, mutated] {
                if let Some(hello) = ClientHello::parse(&datagram) {
                    let _ = (hello.first_of_handshake(), hello.random());
                    prop_assert!(hello.verify_request(&[0; COOKIE_BYTES]).len() < datagram.len());
                }
            }
        }
    }

    fn parsed(datagram: &[u8]) -> ClientHello<'_> {
        ClientHello::parse(datagram).unwrap()
    }

    fn hello(message_seq: u8, cookie: &[u8]) -> Vec<u8> {
        let mut body = vec![254, 253];
        body.extend_from_slice(&[0xAB; 32]);
        body.extend_from_slice(&[0, u8::try_from(cookie.len()).unwrap()]);
        body.extend_from_slice(cookie);
        // One cipher suite, no compression, an empty extended_master_secret.
        body.extend_from_slice(&[0, 2, 0xC0, 0x2B, 1, 0, 0, 4, 0, 23, 0, 0]);
        let mut message = handshake(CLIENT_HELLO, &body);
        message[5] = message_seq;
        in_clear(HANDSHAKE, DTLS_1_0, 0, &message)
    }

    /// No session id, cookie, suite, compression or extension.
    fn smallest() -> Vec<u8> {
        let body = [&[254, 253][..], &[0xAB; 32], &[0, 0, 0, 0, 0]].concat();
        in_clear(HANDSHAKE, DTLS_1_0, 0, &handshake(CLIENT_HELLO, &body))
    }
}

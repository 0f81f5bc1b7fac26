//! STUN as it was before its magic cookie ([RFC 3489](https://www.rfc-editor.org/rfc/rfc3489)).

use stun::message::MAGIC_COOKIE;

/// The answer to a classic Binding request that came over DTLS: an error 500
/// ([RFC 8489 §11](https://www.rfc-editor.org/rfc/rfc8489#section-11)). `None` for anything else.
#[must_use]
pub fn refusal(message: &[u8]) -> Option<Vec<u8>> {
    let (header, body) = message.split_first_chunk::<HEADER_BYTES>()?;
    let &[t0, t1, l0, l1, ref id @ ..] = header;
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    let is_classic = id[..4] != MAGIC_COOKIE.to_be_bytes();
    if [t0, t1] != BINDING_REQUEST || length != body.len() || length % 4 != 0 || !is_classic {
        return None;
    }
    Some([&BINDING_ERROR[..], id, &SERVER_ERROR].concat())
}

const HEADER_BYTES: usize = 20;
const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];
/// Type and length.
const BINDING_ERROR: [u8; 4] = [0x01, 0x11, 0, 8];
/// ERROR-CODE with 500, and no reason.
const SERVER_ERROR: [u8; 8] = [0, 9, 0, 4, 0, 0, 5, 0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_binding_request_without_cookie_is_classic() {
        let classic = [&[0, 1, 0, 0][..], b"sixteen bytes id"].concat();
        let answer = refusal(&classic).unwrap();
        assert_eq!(
            (&answer[..4], &answer[4..20]),
            (&BINDING_ERROR[..], &classic[4..])
        );
        for (name, at, byte) in [
            ("an Allocate", 1, 3),
            ("a response", 0, 1),
            ("longer than its datagram", 3, 4),
        ] {
            let mut other = classic.clone();
            other[at] = byte;
            assert!(refusal(&other).is_none(), "{name}");
        }
        let modern = [&[0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42][..], &[0; 12]].concat();
        assert!(refusal(&modern).is_none());
        assert!(refusal(b"").is_none());
    }
}

//! Stateless nonces: a timestamp and its HMAC ([RFC 8489 §9.2](https://www.rfc-editor.org/rfc/rfc8489#section-9.2)).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;

use crate::clock::UnixSeconds;
use crate::logging::Redacted;

/// How long a nonce is good ([RFC 8656 §5](https://www.rfc-editor.org/rfc/rfc8656#section-5): at most an hour).
const LIFETIME: Duration = Duration::from_secs(3600);

/// Issues and recognises nonces, each good for one client address.
pub(super) struct Nonces {
    key: Redacted<[u8; 32]>,
}

impl Nonces {
    pub(super) fn new(key: Redacted<[u8; 32]>) -> Self {
        Self { key }
    }

    /// 24 characters for `client`.
    pub(super) fn issue(&self, now: UnixSeconds, client: SocketAddr) -> String {
        BASE64_STANDARD.encode(self.sign(timestamp(now), client))
    }

    /// Whether `nonce` was issued to `client` within the last hour.
    pub(super) fn verify(&self, now: UnixSeconds, client: SocketAddr, nonce: &[u8]) -> bool {
        let mut bytes = [0; NONCE_BYTES];
        if BASE64_STANDARD.decode_slice(nonce, &mut bytes) != Ok(NONCE_BYTES) {
            return false;
        }
        let [t0, t1, t2, t3, ..] = bytes;
        let issued = u32::from_be_bytes([t0, t1, t2, t3]);
        let is_ours = bytes.ct_eq(&self.sign(issued, client));
        // A nonce from the future has wrapped around into a great age: the wall clock was set back.
        let age_seconds = timestamp(now).wrapping_sub(issued);
        bool::from(is_ours) && u64::from(age_seconds) < LIFETIME.as_secs()
    }

    fn sign(&self, issued: u32, client: SocketAddr) -> [u8; NONCE_BYTES] {
        let mut mac =
            Hmac::<Sha1>::new_from_slice(self.key.expose()).expect("HMAC takes keys of any length");
        mac.update(&issued.to_be_bytes());
        match client.ip() {
            IpAddr::V4(ip) => mac.update(&ip.octets()),
            IpAddr::V6(ip) => mac.update(&ip.octets()),
        }
        mac.update(&client.port().to_be_bytes());
        let mut bytes = [0; NONCE_BYTES];
        let (time, code) = bytes.split_at_mut(TIMESTAMP_BYTES);
        time.copy_from_slice(&issued.to_be_bytes());
        code.copy_from_slice(&mac.finalize().into_bytes()[..CODE_BYTES]);
        bytes
    }
}

/// The low half: enough to tell an hour.
fn timestamp(now: UnixSeconds) -> u32 {
    let [.., t0, t1, t2, t3] = now.0.to_be_bytes();
    u32::from_be_bytes([t0, t1, t2, t3])
}

const TIMESTAMP_BYTES: usize = 4;
/// 112 bits: with a short reason, a 401 stays within 2.5 times the smallest request on the wire.
const CODE_BYTES: usize = 14;
const NONCE_BYTES: usize = TIMESTAMP_BYTES + CODE_BYTES;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_good_for_an_hour_and_for_its_client() {
        let nonces = nonces_with(7);
        let nonce = nonces.issue(NOW, client("192.0.2.1:5000"));
        assert_eq!(nonce.len(), 24);
        let good = |seconds, addr| {
            nonces.verify(UnixSeconds(NOW.0 + seconds), client(addr), nonce.as_bytes())
        };
        assert!(good(0, "192.0.2.1:5000") && good(3599, "192.0.2.1:5000"));
        assert!(!good(3600, "192.0.2.1:5000"));
        assert!(!good(0, "192.0.2.1:5001") && !good(0, "192.0.2.2:5000"));
        let earlier = UnixSeconds(NOW.0 - 1);
        assert!(!nonces.verify(earlier, client("192.0.2.1:5000"), nonce.as_bytes()));
    }

    #[test]
    fn a_nonce_that_was_not_issued_is_refused() {
        let (nonces, client) = (nonces_with(7), client("[2001:db8::1]:5000"));
        let nonce = nonces.issue(NOW, client);
        let other_key = nonces_with(8).issue(NOW, client);
        for forged in [
            "",
            "x",
            &nonce[..23],
            &format!("{nonce}="),
            &format!("{nonce}AAAA"),
            &other_key,
        ] {
            assert!(!nonces.verify(NOW, client, forged.as_bytes()), "{forged}");
        }
        for at in 0..nonce.len() {
            let mut forged = nonce.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert!(!nonces.verify(NOW, client, &forged), "character {at}");
        }
        assert!(nonces.verify(NOW, client, nonce.as_bytes()));
    }

    const NOW: UnixSeconds = UnixSeconds(1_700_000_000);

    fn nonces_with(key: u8) -> Nonces {
        Nonces::new(Redacted::new([key; 32]))
    }

    fn client(addr: &str) -> SocketAddr {
        addr.parse().unwrap()
    }
}

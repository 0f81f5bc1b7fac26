//! Stateless nonces: a nonce cookie, a timestamp and their HMAC
//! ([RFC 8489 §9.2](https://www.rfc-editor.org/rfc/rfc8489#section-9.2)).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::clock::UnixSeconds;
use crate::logging::Redacted;

/// How long a nonce is good ([RFC 8656 §5](https://www.rfc-editor.org/rfc/rfc8656#section-5): at most an hour).
const LIFETIME: Duration = Duration::from_secs(3600);

/// What every nonce begins with: the cookie, and in base64 the 24 bits of the security features that clients may rely
/// on ([RFC 8489 §9.2.1, §18.1](https://www.rfc-editor.org/rfc/rfc8489#section-18.1)): password algorithms and user
/// name anonymity, bits 0 and 1 counted from the right, as the appendix and the errata do.
const COOKIE: &str = "obMatJos2AAAD";

/// Issues and recognises nonces, each good for one client address.
///
/// Each hour of issue has its own key, derived from the secret: all who have the secret agree without a word, and as no
/// nonce outlives an hour, the present hour's and the one before it are all that is ever needed.
pub(super) struct Nonces {
    secret: Redacted<[u8; 32]>,
    /// The keys of the last two hours that were asked for, even and odd.
    keys: [Option<HourKey>; 2],
}

#[derive(Clone)]
struct HourKey {
    hour: u64,
    mac: Hmac<Sha256>,
}

impl Nonces {
    pub(super) fn new(secret: Redacted<[u8; 32]>) -> Self {
        Self {
            secret,
            keys: [None, None],
        }
    }

    /// 24 characters for `client`.
    pub(super) fn issue(&mut self, now: UnixSeconds, client: SocketAddr) -> String {
        let [.., t0, t1] = now.0.to_be_bytes();
        let [c0, c1, c2, c3, c4, c5] = self.code(now, client);
        let mut nonce = COOKIE.to_owned();
        BASE64_STANDARD_NO_PAD.encode_string([t0, t1, c0, c1, c2, c3, c4, c5], &mut nonce);
        nonce
    }

    /// Whether `nonce` was issued to `client` within the last hour.
    pub(super) fn verify(&mut self, now: UnixSeconds, client: SocketAddr, nonce: &[u8]) -> bool {
        let mut bytes = [0; TIMESTAMP_BYTES + CODE_BYTES];
        let Some(encoded) = nonce.strip_prefix(COOKIE.as_bytes()) else {
            return false;
        };
        if BASE64_STANDARD_NO_PAD.decode_slice(encoded, &mut bytes) != Ok(bytes.len()) {
            return false;
        }
        let [t0, t1, code @ ..] = bytes;
        // A nonce from the future has wrapped around into a great age: the wall clock was set back.
        let age_seconds = timestamp(now).wrapping_sub(u16::from_be_bytes([t0, t1]));
        let age_seconds = u64::from(age_seconds);
        match now.0.checked_sub(age_seconds) {
            Some(issued) if age_seconds < LIFETIME.as_secs() => {
                code.ct_eq(&self.code(UnixSeconds(issued), client)).into()
            }
            Some(_) | None => false,
        }
    }

    /// Covers the whole time of issue, of which the nonce tells the end, and the cookie: with other features it is
    /// another nonce.
    fn code(&mut self, issued: UnixSeconds, client: SocketAddr) -> [u8; CODE_BYTES] {
        let mut mac = self.key(issued.0 / LIFETIME.as_secs());
        mac.update(COOKIE.as_bytes());
        mac.update(&issued.0.to_be_bytes());
        match client.ip() {
            IpAddr::V4(ip) => mac.update(&ip.octets()),
            IpAddr::V6(ip) => mac.update(&ip.octets()),
        }
        mac.update(&client.port().to_be_bytes());
        let [c0, c1, c2, c3, c4, c5, ..] = <[u8; 32]>::from(mac.finalize().into_bytes());
        [c0, c1, c2, c3, c4, c5]
    }

    fn key(&mut self, hour: u64) -> Hmac<Sha256> {
        let slot = usize::from(hour % 2 == 1);
        if let Some(key) = self.keys[slot].as_ref().filter(|key| key.hour == hour) {
            return key.mac.clone();
        }
        let mut derive = keyed(self.secret.expose());
        derive.update(&hour.to_be_bytes());
        let mac = keyed(&derive.finalize().into_bytes());
        let kept = self.keys[slot].insert(HourKey { hour, mac });
        kept.mac.clone()
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// The low bits: 18 hours' worth, enough to tell one.
fn timestamp(now: UnixSeconds) -> u16 {
    let [.., t0, t1] = now.0.to_be_bytes();
    u16::from_be_bytes([t0, t1])
}

const TIMESTAMP_BYTES: usize = 2;
/// 48 bits. Whoever guesses one gains nothing without a password; and a 401 stays within 2.5 times the smallest request.
const CODE_BYTES: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r28_a_nonce_is_good_for_an_hour_and_for_its_client() {
        let mut nonces = nonces_with(7);
        let nonce = nonces.issue(NOW, client("192.0.2.1:5000"));
        assert_eq!(nonce.len(), 24);
        let mut good = |seconds, addr| {
            let now = UnixSeconds(NOW.0 + seconds);
            nonces.verify(now, client(addr), nonce.as_bytes())
        };
        assert!(good(0, "192.0.2.1:5000") && good(3599, "192.0.2.1:5000"));
        assert!(!good(3600, "192.0.2.1:5000"));
        assert!(!good(0, "192.0.2.1:5001") && !good(0, "192.0.2.2:5000"));
        for laps in 1..4 {
            let lap = 1 << 16;
            assert!(!good(laps * lap, "192.0.2.1:5000"), "the time comes round");
        }
        let earlier = UnixSeconds(NOW.0 - 1);
        assert!(!nonces.verify(earlier, client("192.0.2.1:5000"), nonce.as_bytes()));
        assert!(!nonces.verify(UnixSeconds(5), client("192.0.2.1:5000"), nonce.as_bytes()));
    }

    #[test]
    fn r0c_the_key_changes_every_hour_and_costs_nobody_a_438() {
        let mut worker = nonces_with(7);
        let mut other_worker = nonces_with(7);
        let client = client("192.0.2.1:5000");
        let mut codes = Vec::new();
        for minute in 0..240 {
            let now = UnixSeconds(NOW.0 + 60 * minute);
            let nonce = worker.issue(now, client);
            let later = UnixSeconds(now.0 + 3599);
            assert!(other_worker.verify(later, client, nonce.as_bytes()));
            assert!(other_worker.verify(now, client, nonce.as_bytes()));
            codes.push(nonce);
        }
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), 240);
    }

    #[test]
    fn r34_a_nonce_begins_with_the_cookie_and_stripping_its_bits_spoils_it() {
        let (mut nonces, client) = (nonces_with(7), client("192.0.2.1:5000"));
        let nonce = nonces.issue(NOW, client);
        assert_eq!(&nonce[..13], "obMatJos2AAAD");
        for features in ["AAAA", "AAAB", "AAAC", "AAAH", "wAAA"] {
            let stripped = format!("obMatJos2{features}{}", &nonce[13..]);
            assert!(!nonces.verify(NOW, client, stripped.as_bytes()));
        }
        assert!(!nonces.verify(NOW, client, &nonce.as_bytes()[13..]));
    }

    #[test]
    fn r27_a_nonce_that_was_not_issued_is_refused() {
        let (mut nonces, client) = (nonces_with(7), client("[2001:db8::1]:5000"));
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
            for other in [b'A', b'B', b'8', b'/', b'=', 0, 0xFF] {
                let mut forged = nonce.clone().into_bytes();
                if forged[at] != other {
                    forged[at] = other;
                    assert!(!nonces.verify(NOW, client, &forged), "character {at}");
                }
            }
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

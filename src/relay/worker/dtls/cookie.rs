//! Cookies: who brings one back receives what is sent to its address
//! ([RFC 6347 §4.2.1](https://www.rfc-editor.org/rfc/rfc6347#section-4.2.1)). Nothing is kept for it.

use std::{cell::Cell, net::IpAddr};

use dimpl::crypto::{CryptoProvider, HmacProvider, rust_crypto};
use dimpl::{CryptoError, HashAlgorithm};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::clock::Now;
use crate::logging::Redacted;
use crate::relay::engine::five_tuple::FiveTuple;
use crate::relay::wire::dtls_hello::{COOKIE_BYTES, ClientHello};

/// Makes and recognises cookies, each good for one client address and one offer, for half a minute at least.
#[derive(Clone, Debug)]
pub(super) struct Cookies {
    key: Redacted<[u8; 32]>,
}

impl Cookies {
    pub(super) fn new(key: Redacted<[u8; 32]>) -> Self {
        Self { key }
    }

    pub(super) fn issue(
        &self,
        now: Now,
        client: FiveTuple,
        hello: &ClientHello<'_>,
    ) -> [u8; COOKIE_BYTES] {
        let mac = self.mac(slice(now), client, hello);
        mac.finalize().into_bytes().into()
    }

    /// Whether the cookie that `hello` brings was given to this client for this offer, not long ago.
    pub(super) fn verify(&self, now: Now, client: FiveTuple, hello: &ClientHello<'_>) -> bool {
        let current = slice(now);
        let is_of = |slice| {
            let mac = self.mac(slice, client, hello);
            mac.verify_slice(hello.cookie).is_ok()
        };
        hello.is_second() && (is_of(current) || is_of(current.wrapping_sub(1)))
    }

    fn mac(&self, slice: u64, client: FiveTuple, hello: &ClientHello<'_>) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.expose())
            .expect("HMAC takes keys of any length");
        mac.update(&slice.to_be_bytes());
        match client.client.ip() {
            IpAddr::V4(ip) => mac.update(&ip.octets()),
            IpAddr::V6(ip) => mac.update(&ip.octets()),
        }
        mac.update(&client.client.port().to_be_bytes());
        for part in hello.parameters() {
            mac.update(part);
        }
        mac
    }
}

fn slice(now: Now) -> u64 {
    now.unix.seconds().0 / SLICE_SECONDS
}

/// The DTLS library's cryptography, but for one thing: inside [`vouching_for`] its server takes our word for a cookie.
///
/// The library keeps a session from the first ClientHello on, and makes its cookie of a secret of that session's. Here
/// there is no session before the second one. In DTLS 1.2 a server asks this provider for nothing else until keys are
/// derived, much later.
pub(super) fn provider() -> CryptoProvider {
    CryptoProvider {
        hmac_provider: &VouchingHmac,
        ..rust_crypto::default_provider()
    }
}

/// Lets the library take the second ClientHello, whose cookie was verified.
pub(super) fn vouching_for<R>(hello: &ClientHello<'_>, take: impl FnOnce() -> R) -> R {
    let cookie = <[u8; COOKIE_BYTES]>::try_from(hello.cookie).ok();
    VOUCHED_FOR.set(cookie);
    let taken = take();
    VOUCHED_FOR.set(None);
    taken
}

thread_local! {
    static VOUCHED_FOR: Cell<Option<[u8; COOKIE_BYTES]>> = const { Cell::new(None) };
}

#[derive(Debug)]
struct VouchingHmac;

impl HmacProvider for VouchingHmac {
    fn hmac_sha256(&self, key: &[u8], data: &[u8]) -> Result<[u8; 32], CryptoError> {
        match VOUCHED_FOR.get() {
            Some(cookie) => Ok(cookie),
            None => library().hmac_sha256(key, data),
        }
    }

    fn hmac(
        &self,
        hash: HashAlgorithm,
        key: &[u8],
        data: &[u8],
        out: &mut [u8],
    ) -> Result<usize, CryptoError> {
        library().hmac(hash, key, data, out)
    }
}

fn library() -> &'static dyn HmacProvider {
    rust_crypto::default_provider().hmac_provider
}

const SLICE_SECONDS: u64 = 30;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::relay::engine::five_tuple::Transport;

    #[test]
    fn a_cookie_is_good_for_its_client_its_offer_and_half_a_minute() {
        let cookies = Cookies::new(Redacted::new([7; 32]));
        let (now, client) = (Now::read(), client("192.0.2.1:5000"));
        let cookie = cookies.issue(now, client, &parsed(&hello(0, 0x2B, b"")));
        let second = hello(1, 0x2B, &cookie);
        let verifies = |now, client, hello: &[u8]| cookies.verify(now, client, &parsed(hello));
        assert!(verifies(now, client, &second));
        assert!(verifies(now.advanced(secs(30)), client, &second));
        assert!(!verifies(now.advanced(secs(60)), client, &second));
        for elsewhere in ["192.0.2.1:5001", "192.0.2.2:5000", "[2001:db8::1]:5000"] {
            assert!(
                !verifies(now, self::client(elsewhere), &second),
                "{elsewhere}"
            );
        }
        assert!(!verifies(now, client, &hello(1, 0x2C, &cookie)));
        assert!(!verifies(now, client, &hello(1, 0x2B, &[0; 32])));
        assert!(!verifies(now, client, &hello(1, 0x2B, b"")));
        assert!(!verifies(now, client, &hello(0, 0x2B, &cookie)));
        let others = Cookies::new(Redacted::new([8; 32]));
        assert!(!others.verify(now, client, &parsed(&second)));
    }

    #[test]
    fn the_library_takes_our_word_only_while_we_vouch() {
        let cookie = [9; 32];
        let second = hello(1, 0x2B, &cookie);
        let code = || {
            provider()
                .hmac_provider
                .hmac_sha256(b"key", b"data")
                .unwrap()
        };
        let own = code();
        assert_eq!(own, library().hmac_sha256(b"key", b"data").unwrap());
        assert_eq!(vouching_for(&parsed(&second), code), cookie);
        assert_eq!(code(), own);
    }

    fn parsed(datagram: &[u8]) -> ClientHello<'_> {
        ClientHello::parse(datagram).unwrap()
    }

    fn hello(message_seq: u8, suite: u8, cookie: &[u8]) -> Vec<u8> {
        let cookie_bytes = u8::try_from(cookie.len()).unwrap();
        let body = [
            &[254, 253][..],
            &[0xAB; 32],
            &[0, cookie_bytes],
            cookie,
            &[0, 2, 0xC0, suite, 1, 0],
        ];
        let body = body.concat();
        let length = u8::try_from(body.len()).unwrap();
        let message = [1, 0, 0, length, 0, message_seq, 0, 0, 0, 0, 0, length];
        let record = [22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, length + 12];
        [&record[..], &message, &body].concat()
    }

    fn client(client: &str) -> FiveTuple {
        FiveTuple {
            transport: Transport::Dtls,
            client: client.parse().unwrap(),
            server: "198.51.100.1:5349".parse().unwrap(),
        }
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }
}

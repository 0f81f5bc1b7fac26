//! Access tokens of a third party ([RFC 7635 §6.2](https://www.rfc-editor.org/rfc/rfc7635#section-6.2)): a key for the
//! client's messages, sealed for this server with a key that both share.

use std::{collections::HashMap, fmt, sync::Arc};

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::clock::UnixSeconds;
use crate::logging::Redacted;

/// Opens tokens. Clones share the keys.
#[derive(Clone)]
pub struct Tokens {
    server: Arc<str>,
    keys: Arc<HashMap<String, LessSafeKey>>,
}

/// What a token holds.
#[derive(Clone, PartialEq, Eq)]
pub struct Opened {
    /// What the client signs with.
    pub mac_key: Box<[u8]>,
    /// The first second in which what it let in must have ended: no later than its lifetime from now.
    pub expires_at: UnixSeconds,
}

impl Tokens {
    /// For a server of this name, and keys by their ids; `None` unless each key has 16 bytes (AES-128-GCM) or 32
    /// (AES-256-GCM).
    #[must_use]
    pub fn new(server: &str, keys: Vec<(String, Redacted<Vec<u8>>)>) -> Option<Self> {
        let keys = keys.into_iter().map(|(id, key)| {
            let algorithm = match key.expose().len() {
                16 => &AES_128_GCM,
                32 => &AES_256_GCM,
                _ => return None,
            };
            let key = UnboundKey::new(algorithm, key.expose()).ok()?;
            Some((id, LessSafeKey::new(key)))
        });
        Some(Self {
            server: Arc::from(server),
            keys: Arc::new(keys.collect::<Option<_>>()?),
        })
    }

    /// THIRD-PARTY-AUTHORIZATION: the name by which the authorization server knows this one.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// `None` unless the key with this id sealed the token for this server, and it is good at `now`.
    #[must_use]
    pub fn open(&self, now: UnixSeconds, key_id: &str, token: &[u8]) -> Option<Opened> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let key = self.keys.get(key_id)?;
        let sealed = token.strip_prefix(&NONCE_LENGTH)?;
        let (nonce, sealed) = sealed.split_first_chunk::<12>()?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let aad = Aad::from(self.server.as_bytes());
        let plain = key.open_in_place(nonce, aad, &mut sealed).ok()?;
        parse(now, plain)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Key length, key, time of issue (48 bits of seconds, 16 of their fraction), lifetime in seconds; nothing else.
fn parse(now: UnixSeconds, plain: &[u8]) -> Option<Opened> {
    let (length, rest) = plain.split_first_chunk::<2>()?;
    let (mac_key, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    let (issued, rest) = rest.split_first_chunk::<8>()?;
    let lifetime: [u8; 4] = rest.try_into().ok()?;
    if !MAC_KEY_BYTES.contains(&mac_key.len()) {
        return None;
    }
    let issued = u64::from_be_bytes(*issued) >> 16;
    let lifetime = u64::from(u32::from_be_bytes(lifetime));
    if lifetime == 0 || lifetime + SKEW_SECONDS <= now.0.abs_diff(issued) {
        return None;
    }
    let end = issued.min(now.0) + lifetime;
    // By our clock it has ended, by theirs it may not have.
    let grace = (end + SKEW_SECONDS).min(now.0 + lifetime);
    Some(Opened {
        mac_key: mac_key.into(),
        expires_at: UnixSeconds(if now.0 < end { end } else { grace }),
    })
}

/// The only length that GCM's nonces have here.
const NONCE_LENGTH: [u8; 2] = 12_u16.to_be_bytes();
const TOKEN_BYTES_MAX: usize = 1024;
const MAC_KEY_BYTES: std::ops::RangeInclusive<usize> = 16..=64;
/// How far the two clocks may disagree ([RFC 7635 §7](https://www.rfc-editor.org/rfc/rfc7635#section-7)).
const SKEW_SECONDS: u64 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_for_its_server_by_its_key_in_its_time() {
        for key in [&[7; 16][..], &[7; 32]] {
            let tokens = tokens("turn.example.org", key);
            let token = seal("turn.example.org", key, &plain(20, NOW, 60));
            let open = |seconds, id| tokens.open(UnixSeconds(seconds), id, &token);
            let opened = open(NOW, "north").unwrap();
            assert_eq!(opened.mac_key[..], [9; 20]);
            assert_eq!(opened.expires_at, UnixSeconds(NOW + 60));
            let late = open(NOW + 62, "north").unwrap();
            assert_eq!(late.expires_at, UnixSeconds(NOW + 65));
            let early = open(NOW - 62, "north").unwrap();
            assert_eq!(early.expires_at, UnixSeconds(NOW - 2));
            assert!(open(NOW + 64, "north").is_some() && open(NOW - 64, "north").is_some());
            assert!(open(NOW + 65, "north").is_none() && open(NOW - 65, "north").is_none());
            assert!(open(NOW, "south").is_none());
            let elsewhere = seal("elsewhere", key, &plain(20, NOW, 60));
            assert!(tokens.open(UnixSeconds(NOW), "north", &elsewhere).is_none());
        }
    }

    #[test]
    fn r90_lengths_in_a_token_are_bounded() {
        let tokens = tokens("s", &[7; 32]);
        let opens = |token: &[u8]| tokens.open(UnixSeconds(NOW), "north", token).is_some();
        let right = seal("s", &[7; 32], &plain(20, NOW, 60));
        assert!(opens(&right));
        for cut in 0..right.len() {
            assert!(!opens(&right[..cut]), "cut at {cut}");
        }
        for bit in 0..right.len() * 8 {
            let mut flipped = right.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!opens(&flipped), "bit {bit}");
        }
        for length in [0, 15, 65] {
            assert!(!opens(&seal("s", &[7; 32], &plain(length, NOW, 60))));
        }
        let mut long = plain(20, NOW, 60);
        long[1] = 255;
        assert!(!opens(&seal("s", &[7; 32], &long)));
        long[1] = 20;
        long.push(0);
        assert!(!opens(&seal("s", &[7; 32], &long)));
        assert!(!opens(&seal("s", &[7; 32], &plain(20, NOW, 0))));
        assert!(!opens(&vec![0; 65_535]));
        let far = seal("s", &[7; 32], &plain(20, u64::MAX >> 16, u32::MAX));
        assert!(!opens(&far));
    }

    #[test]
    fn keys_have_16_or_32_bytes() {
        for length in [0, 8, 15, 24, 33] {
            let key = ("north".to_owned(), Redacted::new(vec![7; length]));
            assert!(Tokens::new("s", vec![key]).is_none(), "{length}");
        }
    }

    const NOW: u64 = 1_700_000_000;

    fn tokens(server: &str, key: &[u8]) -> Tokens {
        let key = ("north".to_owned(), Redacted::new(key.to_vec()));
        Tokens::new(server, vec![key]).unwrap()
    }

    fn plain(key_bytes: u16, issued: u64, lifetime: u32) -> Vec<u8> {
        let mut plain = key_bytes.to_be_bytes().to_vec();
        plain.resize(plain.len() + usize::from(key_bytes), 9);
        plain.extend((issued << 16).to_be_bytes());
        plain.extend(lifetime.to_be_bytes());
        plain
    }

    fn seal(server: &str, key: &[u8], plain: &[u8]) -> Vec<u8> {
        let algorithm = if key.len() == 16 {
            &AES_128_GCM
        } else {
            &AES_256_GCM
        };
        let key = LessSafeKey::new(UnboundKey::new(algorithm, key).unwrap());
        let mut sealed = plain.to_vec();
        let nonce = Nonce::assume_unique_for_key([3; 12]);
        key.seal_in_place_append_tag(nonce, Aad::from(server.as_bytes()), &mut sealed)
            .unwrap();
        [&[0, 12][..], &[3; 12], &sealed].concat()
    }
}

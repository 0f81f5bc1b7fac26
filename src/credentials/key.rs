//! Long-term keys and user hashes ([RFC 8489 §9.2.2, §14.4](https://www.rfc-editor.org/rfc/rfc8489#section-9.2.2)).

use std::fmt;

use md5::{Digest, Md5};
use sha2::Sha256;

/// How a password becomes a key ([RFC 8489 §18.5](https://www.rfc-editor.org/rfc/rfc8489#section-18.5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordAlgorithm {
    /// What clients use that name none.
    Md5,
    /// The better one.
    Sha256,
}

/// Hash of user name ":" realm ":" password, 16 or 32 bytes: all that is kept of a password.
#[derive(Clone, PartialEq, Eq)]
pub struct LongTermKey(Bytes);

#[derive(Clone, PartialEq, Eq)]
enum Bytes {
    Md5([u8; 16]),
    Sha256([u8; 32]),
    Token(Box<[u8]>),
}

impl LongTermKey {
    /// The key for a user name and password in a realm.
    #[must_use]
    pub fn derive(
        algorithm: PasswordAlgorithm,
        username: &str,
        realm: &str,
        password: &str,
    ) -> Self {
        let parts = [username, ":", realm, ":", password];
        Self(match algorithm {
            PasswordAlgorithm::Md5 => Bytes::Md5(hash::<Md5>(&parts).into()),
            PasswordAlgorithm::Sha256 => Bytes::Sha256(hash::<Sha256>(&parts).into()),
        })
    }

    /// What a message integrity is keyed with.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Bytes::Md5(bytes) => bytes,
            Bytes::Sha256(bytes) => bytes,
            Bytes::Token(bytes) => bytes,
        }
    }

    /// The key that came in an access token.
    #[must_use]
    pub fn from_token(mac_key: Box<[u8]>) -> Self {
        Self(Bytes::Token(mac_key))
    }

    /// Whether a client that names this algorithm means this key; those from tokens know no algorithms.
    #[must_use]
    pub fn suits(&self, algorithm: PasswordAlgorithm) -> bool {
        match self.0 {
            Bytes::Md5(_) => algorithm == PasswordAlgorithm::Md5,
            Bytes::Sha256(_) => algorithm == PasswordAlgorithm::Sha256,
            Bytes::Token(_) => true,
        }
    }

    /// Whether it came in an access token.
    #[must_use]
    pub fn is_from_token(&self) -> bool {
        matches!(self.0, Bytes::Token(_))
    }
}

impl fmt::Debug for LongTermKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The keys of one user, for whichever algorithm the client chooses.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    md5: LongTermKey,
    sha256: LongTermKey,
}

impl Keys {
    pub(super) fn derive(username: &str, realm: &str, password: &str) -> Self {
        let with = |algorithm| LongTermKey::derive(algorithm, username, realm, password);
        Self {
            md5: with(PasswordAlgorithm::Md5),
            sha256: with(PasswordAlgorithm::Sha256),
        }
    }

    pub(super) fn by(&self, algorithm: PasswordAlgorithm) -> &LongTermKey {
        match algorithm {
            PasswordAlgorithm::Md5 => &self.md5,
            PasswordAlgorithm::Sha256 => &self.sha256,
        }
    }
}

/// A USERHASH: SHA-256 of user name ":" realm.
pub type UserHash = [u8; 32];

/// The USERHASH of a user name in a realm.
#[must_use]
pub fn user_hash(username: &str, realm: &str) -> UserHash {
    hash::<Sha256>(&[username, ":", realm]).into()
}

fn hash<D: Digest>(parts: &[&str]) -> md5::digest::Output<D> {
    let mut hash = D::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize()
}

//! Who may join: everybody, or whoever brings a token that the application signed.
//!
//! The token is a JWT ([RFC 7519](https://www.rfc-editor.org/rfc/rfc7519)) signed with HS256 and a secret that the
//! application shares with this server. These claims count, every other is left alone:
//!
//! | claim | meaning |
//! | --- | --- |
//! | `sub` | the participant that its bearer is; required |
//! | `session` | the one session that they may join; absent: any |
//! | `name` | how they are called; absent: as they say themselves |
//! | `role` | `"host"`, or anything else for a plain participant |
//! | `exp`, `nbf` | when it ends, and from when on it is good |

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use sha2::Sha256;

use crate::clock::UnixSeconds;
use crate::ident::{ID_BYTES_MAX, ParticipantId, SessionId};
use crate::logging::Redacted;

/// The rule that decides who may join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody, as whoever they say they are.
    Open,
    /// Whoever brings a token signed with this secret.
    Token(Redacted<String>),
}

/// What a token says of its bearer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Who they are.
    pub participant: ParticipantId,
    /// The one session that they may join, where the token names one.
    pub session: Option<SessionId>,
    /// How they are called, where the token says so; never blank.
    pub name: Option<String>,
    /// Whether they may steer what [`HostOnly`] keeps for hosts.
    pub host: bool,
}

/// Why somebody may not join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// There is no token.
    #[error("a token is required")]
    Required,
    /// The token proves nothing.
    #[error("the token is not valid: {0}")]
    Invalid(&'static str),
    /// The token was good once.
    #[error("the token has expired")]
    Expired,
}

/// What a session's members do to all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steering {
    /// Changing the verse.
    Verse,
    /// Rewriting the reading queue.
    Queue,
    /// Starting, pausing and resuming the timer.
    Timer,
    /// Ending the session.
    End,
}

/// What only a host may steer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostOnly([bool; 4]);

impl Access {
    /// Who comes with this token: nobody in particular where everybody may join, whatever the token.
    ///
    /// # Errors
    /// When a token is needed, and this one does not do.
    pub fn admit(
        &self,
        now: UnixSeconds,
        token: Option<&str>,
    ) -> Result<Option<Identity>, AccessError> {
        let secret = match self {
            Self::Open => return Ok(None),
            Self::Token(secret) => secret,
        };
        match token {
            None | Some("") => Err(AccessError::Required),
            Some(token) => Claims::verify(secret, token)?.identity(now).map(Some),
        }
    }

    /// Whether the secret is shorter than what HS256 asks for
    /// ([RFC 7518 §3.2](https://www.rfc-editor.org/rfc/rfc7518#section-3.2)).
    #[must_use]
    pub fn is_weak(&self) -> bool {
        match self {
            Self::Open => false,
            Self::Token(secret) => secret.expose().len() < SECRET_BYTES_MIN,
        }
    }
}

impl AccessError {
    /// The word for it on the wire.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Required => "TOKEN_REQUIRED",
            Self::Invalid(_) => "TOKEN_INVALID",
            Self::Expired => "TOKEN_EXPIRED",
        }
    }
}

impl HostOnly {
    /// Whether a host, or somebody who is none, may steer this.
    #[must_use]
    pub fn admits(self, steering: Steering, is_host: bool) -> bool {
        is_host || !self.0[steering as usize]
    }
}

impl FromIterator<Steering> for HostOnly {
    fn from_iter<I: IntoIterator<Item = Steering>>(kept: I) -> Self {
        let mut host_only = Self::default();
        for steering in kept {
            host_only.0[steering as usize] = true;
        }
        host_only
    }
}

const SECRET_BYTES_MIN: usize = 32;
/// Whoever has no token may still make us verify one.
const TOKEN_BYTES_MAX: usize = 8192;
/// The clocks of those who sign and those who verify differ by this much.
const LEEWAY_SECONDS: f64 = 30.0;

/// As [RFC 7515 §4.1](https://www.rfc-editor.org/rfc/rfc7515#section-4.1) has it.
#[derive(Deserialize)]
struct Header {
    alg: String,
    /// Extensions that must be understood: here none is.
    crit: Option<Value>,
}

/// The claims that count. One that comes twice makes the token invalid.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    session: Option<String>,
    name: Option<String>,
    role: Option<Value>,
    /// Seconds since 1970, perhaps with a fraction.
    exp: Option<f64>,
    nbf: Option<f64>,
}

impl Claims {
    /// What was really signed with `secret`. Nothing of it is read before that is sure, save the algorithm's name.
    fn verify(secret: &Redacted<String>, token: &str) -> Result<Self, AccessError> {
        let no_jwt = AccessError::Invalid("it is no signed JWT");
        if token.len() > TOKEN_BYTES_MAX {
            return Err(AccessError::Invalid("it is too long"));
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(no_jwt)?;
        let (header, claims) = signed.split_once('.').ok_or(no_jwt)?;
        let header: Header = decode(header).ok_or(no_jwt)?;
        if header.alg != "HS256" {
            return Err(AccessError::Invalid("its algorithm is not HS256"));
        }
        if header.crit.is_some() {
            return Err(AccessError::Invalid("it has critical extensions"));
        }
        let signature = BASE64_URL_SAFE_NO_PAD
            .decode(signature)
            .map_err(|_| no_jwt)?;
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes())
            .expect("HMAC takes keys of any length");
        mac.update(signed.as_bytes());
        mac.verify_slice(&signature)
            .map_err(|_| AccessError::Invalid("it is not signed with this server's secret"))?;
        decode(claims).ok_or(AccessError::Invalid(
            "sub must be a text, session and name too, exp and nbf numbers",
        ))
    }

    fn identity(self, now: UnixSeconds) -> Result<Identity, AccessError> {
        // Exact up to the year 285,000,000.
        let now = now.0 as f64;
        if self.exp.is_some_and(|exp| now >= exp + LEEWAY_SECONDS) {
            return Err(AccessError::Expired);
        }
        if self.nbf.is_some_and(|nbf| now < nbf - LEEWAY_SECONDS) {
            return Err(AccessError::Invalid("it is not good yet"));
        }
        let participant = ParticipantId::parse(&self.sub)
            .map_err(|_| AccessError::Invalid("sub names no participant"))?;
        let session = self.session.as_deref().map(SessionId::parse);
        let session = session
            .transpose()
            .map_err(|_| AccessError::Invalid("session names no session"))?;
        let name = self.name.filter(|name| !name.trim().is_empty());
        if name.as_ref().is_some_and(|name| name.len() > ID_BYTES_MAX) {
            return Err(AccessError::Invalid("name is too long"));
        }
        Ok(Identity {
            participant,
            session,
            name,
            host: self.role.is_some_and(|role| role == "host"),
        })
    }
}

fn decode<T: DeserializeOwned>(part: &str) -> Option<T> {
    let json = BASE64_URL_SAFE_NO_PAD.decode(part).ok()?;
    serde_json::from_slice(&json).ok()
}

#[cfg(test)]
mod tests;

//! Who sent a request ([RFC 8489 §9.2.4](https://www.rfc-editor.org/rfc/rfc8489#section-9.2.4)): 400, 401, 438 or an
//! identity.

use std::{collections::HashMap, sync::Arc};

use crate::clock::{Now, UnixSeconds};
use crate::credentials::{Claim, Credentials, LongTermKey};
use crate::ident::UserId;
use crate::logging::Redacted;
use crate::relay::engine::Auth;
use crate::relay::engine::five_tuple::FiveTuple;
use crate::relay::engine::nonce::Nonces;
use crate::relay::wire::request::{Method, Request};
use crate::relay::wire::response::{ErrorCode, Key, ReplyTo, Response};

/// Proves requests. Keeps nothing for those who have proved nothing.
pub(super) struct Authenticator {
    mode: Auth,
    strict_expiry: bool,
    credentials: Arc<Credentials>,
    nonces: Nonces,
    revoked: Revoked,
}

/// Who sent a request, proven.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) user: UserId,
    proof: Option<Proof>,
}

/// The credential that proved it. An allocation keeps it, so that it goes on working after its expiry.
#[derive(Clone, Debug)]
struct Proof {
    username: Box<str>,
    key: LongTermKey,
    expires_at: Option<UnixSeconds>,
}

impl Authenticator {
    pub(super) fn new(
        mode: Auth,
        strict_expiry: bool,
        nonce_key: Redacted<[u8; 32]>,
        credentials: Arc<Credentials>,
    ) -> Self {
        Self {
            mode,
            strict_expiry,
            credentials,
            nonces: Nonces::new(nonce_key),
            revoked: Revoked::default(),
        }
    }

    /// Proves `request`; `owner` is who made the allocation on the request's five-tuple.
    pub(super) fn authenticate(
        &self,
        now: Now,
        client: FiveTuple,
        request: &Request<'_>,
        owner: Option<&Identity>,
    ) -> Result<Identity, ErrorCode> {
        if self.mode == Auth::None || request.method == Method::Binding {
            return Ok(Identity::anyone());
        }
        let Some(integrity) = request.integrity() else {
            return Err(ErrorCode::Unauthenticated);
        };
        let (Some(username), Some(_), Some(nonce)) =
            (request.username(), request.realm(), request.nonce())
        else {
            return Err(ErrorCode::BadRequest);
        };
        if !integrity.is_whole() {
            return Err(ErrorCode::BadRequest);
        }
        let username = readable(username);
        let kept = match request.method {
            Method::Binding | Method::Allocate => None,
            Method::Refresh | Method::CreatePermission | Method::ChannelBind => {
                owner.and_then(|owner| owner.claim_kept_for(username, self.strict_expiry))
            }
        };
        let Some(claim) = kept.or_else(|| self.credentials.claim(username)) else {
            // An unknown user costs as much time as a wrong password.
            let _ = integrity.proves(&DUMMY_KEY);
            return Err(ErrorCode::Unauthenticated);
        };
        let Some(key) = claim
            .keys
            .into_iter()
            .find(|key| integrity.proves(key.as_bytes()))
        else {
            return Err(ErrorCode::Unauthenticated);
        };
        let has_expired = claim.expires_at.is_some_and(|at| at <= now.unix.seconds());
        if has_expired || self.revoked.includes(&claim.user, claim.expires_at) {
            return Err(ErrorCode::Unauthenticated);
        }
        if !self.nonces.verify(now.unix.seconds(), client.client, nonce) {
            return Err(ErrorCode::StaleNonce);
        }
        Ok(Identity {
            user: claim.user,
            proof: Some(Proof {
                username: username.into(),
                key,
                expires_at: claim.expires_at,
            }),
        })
    }

    /// The answer to a request that proved nothing: unsigned, with the means to do better where that helps.
    pub(super) fn challenge(
        &self,
        now: Now,
        client: FiveTuple,
        reply_to: ReplyTo,
        code: ErrorCode,
    ) -> Response {
        let response = Response::error(reply_to, code);
        match code {
            ErrorCode::Unauthenticated | ErrorCode::StaleNonce => {
                let nonce = self.nonces.issue(now.unix.seconds(), client.client);
                response.challenge(self.credentials.realm(), &nonce)
            }
            ErrorCode::BadRequest
            | ErrorCode::Forbidden
            | ErrorCode::UnknownAttribute
            | ErrorCode::AllocationMismatch
            | ErrorCode::AddressFamilyNotSupported
            | ErrorCode::WrongCredentials
            | ErrorCode::UnsupportedTransport
            | ErrorCode::PeerAddressFamilyMismatch
            | ErrorCode::ConnectionAlreadyExists
            | ErrorCode::ConnectionTimeoutOrFailure
            | ErrorCode::AllocationQuotaReached
            | ErrorCode::InsufficientCapacity => response,
        }
    }

    /// Refuses the user's credentials that expire at or before `until`.
    pub(super) fn revoke(&mut self, now: Now, user: &UserId, until: UnixSeconds) {
        self.revoked.insert(now.unix.seconds(), user, until);
    }
}

impl Identity {
    fn anyone() -> Self {
        Self {
            user: UserId::Anyone,
            proof: None,
        }
    }

    /// What answers are signed with.
    pub(super) fn key(&self) -> Option<&Key> {
        self.proof.as_ref().map(|proof| proof.key.as_bytes())
    }

    /// Whether the credential is one that a revocation until then ends.
    pub(super) fn ends_by(&self, until: UnixSeconds) -> bool {
        let expires_at = self.proof.as_ref().and_then(|proof| proof.expires_at);
        expires_at.is_some_and(|at| at <= until)
    }

    /// The credential as it was proved: its expiry does not matter any more, unless `strict`.
    fn claim_kept_for(&self, username: &str, strict: bool) -> Option<Claim> {
        let proof = self
            .proof
            .as_ref()
            .filter(|proof| *proof.username == *username)?;
        Some(Claim {
            user: self.user.clone(),
            expires_at: proof.expires_at.filter(|_| strict),
            keys: vec![proof.key.clone()],
        })
    }
}

/// Users whose credentials ended before their expiry.
#[derive(Default)]
struct Revoked {
    until: HashMap<UserId, UnixSeconds>,
    swept_len: usize,
}

impl Revoked {
    fn insert(&mut self, now: UnixSeconds, user: &UserId, until: UnixSeconds) {
        // Sweeping only after a doubling keeps the cost of one revocation constant.
        if self.until.len() > 2 * self.swept_len + SWEEP_SLACK {
            self.until.retain(|_, until| *until > now);
            self.swept_len = self.until.len();
        }
        let latest = self.until.entry(user.clone()).or_insert(until);
        *latest = until.max(*latest);
    }

    /// A credential without expiry is not one of those that were issued, and outlives every revocation.
    fn includes(&self, user: &UserId, expires_at: Option<UnixSeconds>) -> bool {
        let until = self.until.get(user);
        until
            .zip(expires_at)
            .is_some_and(|(until, expires_at)| expires_at <= *until)
    }
}

/// A user name that we may have issued, else one that names nobody.
fn readable(username: &[u8]) -> &str {
    match username.len() {
        0..=USERNAME_BYTES_MAX => std::str::from_utf8(username).unwrap_or_default(),
        _ => "",
    }
}

/// [RFC 8489 §14.3](https://www.rfc-editor.org/rfc/rfc8489#section-14.3): fewer than 509 bytes.
const USERNAME_BYTES_MAX: usize = 508;
const DUMMY_KEY: Key = [0; 16];
const SWEEP_SLACK: usize = 64;

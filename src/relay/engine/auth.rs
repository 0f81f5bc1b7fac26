//! Who sent a request ([RFC 8489 §9.2.4](https://www.rfc-editor.org/rfc/rfc8489#section-9.2.4)): 400, 401, 438 or an
//! identity.

use std::{borrow::Cow, net::SocketAddr, sync::Arc};

use crate::clock::{Now, UnixSeconds};
use crate::credentials::{Credentials, LongTermKey, Proven, Tokens, UserHash, user_hash};
use crate::ident::UserId;
use crate::logging::Redacted;
use crate::relay::engine::Auth;
use crate::relay::engine::five_tuple::FiveTuple;
use crate::relay::engine::nonce::Nonces;
use crate::relay::engine::revoked::Revoked;
use crate::relay::engine::signature::{Name, Signature};
use crate::relay::wire::integrity::{Codes, SigningKey};
use crate::relay::wire::request::{Method, Request};
use crate::relay::wire::response::{ErrorCode, Response};

/// Proves requests. Keeps nothing for those who have proved nothing.
pub(super) struct Authenticator {
    mode: Auth,
    strict_expiry: bool,
    credentials: Arc<Credentials>,
    tokens: Option<Tokens>,
    nonces: Nonces,
    revoked: Revoked,
}

/// Who sent a request, proven.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    /// `None` where nobody has to prove anything.
    credential: Option<Arc<Credential>>,
    /// How the answer to this request is signed.
    codes: Codes,
}

/// What proved it. An allocation keeps it, so that it goes on working after its expiry.
#[derive(Debug, PartialEq, Eq)]
struct Credential {
    user: UserId,
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
        tokens: Option<Tokens>,
    ) -> Self {
        Self {
            mode,
            strict_expiry,
            credentials,
            tokens,
            nonces: Nonces::new(nonce_key),
            revoked: Revoked::default(),
        }
    }

    /// These hold from now on.
    pub(super) fn apply(&mut self, strict_expiry: bool, tokens: Option<Tokens>) {
        self.strict_expiry = strict_expiry;
        self.tokens = tokens;
    }

    /// Proves `request`; `owner` is who made the allocation that it is about. A nonce of the allocation's client, at
    /// `control`, is good for the connections that belong to it.
    pub(super) fn authenticate(
        &mut self,
        now: Now,
        client: FiveTuple,
        request: &Request<'_>,
        owner: Option<&Identity>,
        control: Option<SocketAddr>,
    ) -> Result<Identity, ErrorCode> {
        if self.mode == Auth::None {
            return Ok(Identity::anyone());
        }
        let signature = Signature::of(request)?;
        let username = self.username(signature.name, owner);
        let kept = match request.method {
            Method::Binding | Method::Allocate => None,
            Method::Refresh
            | Method::CreatePermission
            | Method::ChannelBind
            | Method::Connect
            | Method::ConnectionBind => owner.and_then(|owner| owner.kept_for(&username)),
        };
        let Some(credential) = self.prove(now, &signature, &username, kept) else {
            return Err(ErrorCode::Unauthenticated);
        };
        let Credential {
            user,
            key,
            expires_at,
            ..
        } = &*credential;
        // A call may outlive the credential that it began with.
        let may_have_expired = kept.is_some() && !self.strict_expiry && !key.is_from_token();
        let has_expired = expires_at.is_some_and(|at| at <= now.unix.seconds());
        if has_expired && !may_have_expired || self.revoked.includes(user, *expires_at) {
            return Err(ErrorCode::Unauthenticated);
        }
        let nonce = signature.nonce;
        let mut clients = [Some(client.client), control].into_iter().flatten();
        if !clients.any(|client| self.nonces.verify(now.unix.seconds(), client, nonce)) {
            return Err(ErrorCode::StaleNonce);
        }
        Ok(Identity {
            credential: Some(credential),
            codes: signature.codes,
        })
    }

    /// A user name that we may have issued, else one that names nobody.
    fn username<'d>(&self, name: Name<'d>, owner: Option<&Identity>) -> Cow<'d, str> {
        match name {
            Name::Plain(bytes) if bytes.len() <= USERNAME_BYTES_MAX => {
                Cow::Borrowed(std::str::from_utf8(bytes).unwrap_or_default())
            }
            Name::Plain(_) => Cow::Borrowed(""),
            Name::Hashed(hash) => Cow::Owned(self.username_behind(hash, owner).unwrap_or_default()),
        }
    }

    fn username_behind(&self, hash: &[u8], owner: Option<&Identity>) -> Option<String> {
        let hash: &UserHash = hash.try_into().ok()?;
        let kept = owner.and_then(|owner| owner.credential.as_ref());
        match kept {
            Some(kept) if user_hash(&kept.username, self.credentials.realm()) == *hash => {
                Some(kept.username.to_string())
            }
            Some(_) | None => Some(self.credentials.name_behind(hash)?.to_string()),
        }
    }

    /// The key that an allocation was made with is at hand; any other is asked for.
    fn prove(
        &self,
        now: Now,
        signature: &Signature<'_>,
        username: &str,
        kept: Option<&Arc<Credential>>,
    ) -> Option<Arc<Credential>> {
        let Signature {
            algorithm,
            integrity,
            ..
        } = signature;
        let fresh = |proven| Arc::new(Credential::new(username, proven));
        if let (Some(tokens), Some(token)) = (&self.tokens, signature.token) {
            return prove_by_token(now, tokens, token, signature, username).map(fresh);
        }
        let kept = kept.filter(|kept| kept.key.suits(*algorithm));
        let kept = kept.filter(|kept| integrity.proves(kept.key.as_bytes()));
        kept.cloned().or_else(|| {
            let proves = |key: &LongTermKey| integrity.proves(key.as_bytes());
            let proven = self.credentials.prove(username, *algorithm, proves);
            proven.map(fresh)
        })
    }

    /// The answer to a request that proved nothing, with the means to do better where that helps.
    pub(super) fn challenge(
        &mut self,
        now: Now,
        client: FiveTuple,
        response: Response,
        code: ErrorCode,
    ) -> Response {
        match code {
            ErrorCode::Unauthenticated | ErrorCode::StaleNonce => {
                let nonce = self.nonces.issue(now.unix.seconds(), client.client);
                let response = response.challenge(self.credentials.realm(), &nonce);
                match &self.tokens {
                    Some(tokens) => response.third_party(tokens.server()),
                    None => response,
                }
            }
            ErrorCode::TryAlternate
            | ErrorCode::BadRequest
            | ErrorCode::Forbidden
            | ErrorCode::MobilityForbidden
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

    /// Whether ACCESS-TOKEN means something here.
    pub(super) fn takes_tokens(&self) -> bool {
        self.tokens.is_some()
    }

    /// Refuses the user's credentials that expire at or before `until`.
    pub(super) fn revoke(&mut self, now: Now, user: &UserId, until: UnixSeconds) {
        self.revoked.insert(now.unix.seconds(), user, until);
    }
}

impl Identity {
    pub(super) fn anyone() -> Self {
        Self {
            credential: None,
            codes: Codes::default(),
        }
    }

    /// Whose allocations these would be.
    pub(super) fn user(&self) -> &UserId {
        static ANYONE: UserId = UserId::Anyone;
        self.credential
            .as_ref()
            .map_or(&ANYONE, |credential| &credential.user)
    }

    /// What answers are signed with.
    pub(super) fn key(&self) -> Option<SigningKey<'_>> {
        self.credential.as_ref().map(|credential| SigningKey {
            key: credential.key.as_bytes(),
            codes: self.codes,
        })
    }

    /// When an allocation must end at the latest: with the access token
    /// ([RFC 7635 §4](https://www.rfc-editor.org/rfc/rfc7635#section-4)).
    pub(super) fn ends_at(&self) -> Option<UnixSeconds> {
        let credential = self.credential.as_ref()?;
        let is_from_token = credential.key.is_from_token();
        credential.expires_at.filter(|_| is_from_token)
    }

    /// Whether the credential is one that a revocation until then ends.
    pub(super) fn ends_by(&self, until: UnixSeconds) -> bool {
        let credential = self.credential.as_ref();
        let expires_at = credential.and_then(|credential| credential.expires_at);
        expires_at.is_some_and(|at| at <= until)
    }

    /// Keeps what the other one keeps, where it is the same: a user's allocations need not each have their own.
    pub(super) fn share(&mut self, other: &Self) {
        if self.credential == other.credential {
            self.credential.clone_from(&other.credential);
        }
    }

    /// The credential as it was proven.
    fn kept_for(&self, username: &str) -> Option<&Arc<Credential>> {
        let credential = self.credential.as_ref();
        credential.filter(|kept| *kept.username == *username)
    }
}

impl Credential {
    fn new(username: &str, proven: Proven) -> Self {
        let Proven {
            user,
            expires_at,
            key,
        } = proven;
        Self {
            user,
            username: username.into(),
            key,
            expires_at,
        }
    }
}

/// A token speaks for itself: the user name tells which key opens it, and whoever has tokens by the same key is one user.
fn prove_by_token(
    now: Now,
    tokens: &Tokens,
    token: &[u8],
    signature: &Signature<'_>,
    key_id: &str,
) -> Option<Proven> {
    let opened = tokens.open(now.unix.seconds(), key_id, token)?;
    let is_proven = signature.integrity.proves(&opened.mac_key);
    is_proven.then(|| Proven {
        user: UserId::Static(format!("{key_id}@{}", tokens.server()).into()),
        expires_at: Some(opened.expires_at),
        key: LongTermKey::from_token(opened.mac_key),
    })
}

/// [RFC 8489 §14.3](https://www.rfc-editor.org/rfc/rfc8489#section-14.3): fewer than 509 bytes.
const USERNAME_BYTES_MAX: usize = 508;

//! TURN credentials: issued by signaling and HTTP, checked by the relay. One module, one set of secrets.
//!
//! Time-limited credentials follow the TURN REST convention
//! ([draft-uberti-behave-turn-rest-00](https://datatracker.ietf.org/doc/html/draft-uberti-behave-turn-rest-00)):
//! user name `expiry:participant`, password `base64(HMAC-SHA1(secret, user name))`.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use sha1::Sha1;

use crate::clock::UnixSeconds;
use crate::ident::{ParticipantId, UserId};
use crate::logging::Redacted;

/// What the operator decides about credentials.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The realm that every long-term key is bound to.
    pub realm: String,
    /// HMAC secrets: the first issues, all are accepted. Never empty, or nothing can be issued.
    pub secrets: Vec<Redacted<String>>,
    /// How long an issued credential opens allocations.
    pub ttl: Duration,
    /// Long-term users with their passwords.
    pub users: Vec<(String, Redacted<String>)>,
}

/// A time-limited user name and password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// `expiry:participant`.
    pub username: String,
    /// `base64(HMAC-SHA1(secret, username))`.
    pub password: Redacted<String>,
    /// The first second in which it opens no allocation any more.
    pub expires_at: UnixSeconds,
}

/// MD5(user name ":" realm ":" password), 16 bytes ([RFC 8489 §9.2.2](https://www.rfc-editor.org/rfc/rfc8489#section-9.2.2)).
#[derive(Clone, PartialEq, Eq)]
pub struct LongTermKey([u8; 16]);

/// Who a user name says it is, and the keys that would prove it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Whose allocations these would be.
    pub user: UserId,
    /// The first second in which the credential has expired; static users never expire.
    pub expires_at: Option<UnixSeconds>,
    /// One key for each secret that may have signed the credential.
    pub keys: Vec<LongTermKey>,
}

/// Issues credentials and knows the keys behind them.
#[derive(Debug)]
pub struct Credentials {
    realm: String,
    /// Read for a request, never for a packet.
    secrets: RwLock<Vec<Redacted<String>>>,
    ttl: Duration,
    static_keys: HashMap<String, LongTermKey>,
    /// Expiries revoked moments ago, which a credential issued in the same second must outlive.
    revoked: Mutex<HashMap<ParticipantId, UnixSeconds>>,
}

impl Credentials {
    /// Takes the settings; of the static users only their keys are kept.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let Settings {
            realm,
            secrets,
            ttl,
            users,
        } = settings;
        let static_keys = users
            .into_iter()
            .map(|(name, password)| {
                let key = LongTermKey::derive(&name, &realm, password.expose());
                (name, key)
            })
            .collect();
        Self {
            realm,
            secrets: RwLock::new(secrets),
            ttl,
            static_keys,
            revoked: Mutex::default(),
        }
    }

    /// The realm that clients must sign for.
    #[must_use]
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// How long an issued credential lives.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// A fresh credential for `participant`, good even right after a [`revoke`](Self::revoke).
    #[must_use]
    pub fn issue(&self, now: UnixSeconds, participant: &ParticipantId) -> Credential {
        let expires_at = self.next_expiry(now, participant, &self.revoked());
        let username = format!("{}:{participant}", expires_at.0);
        let password = self
            .secrets()
            .first()
            .map(|secret| rest_password(secret, &username))
            .unwrap_or_default();
        Credential {
            username,
            password: Redacted::new(password),
            expires_at,
        }
    }

    /// Ends every credential issued to `participant` so far: those that expire at or before the returned second.
    #[must_use]
    pub fn revoke(&self, now: UnixSeconds, participant: &ParticipantId) -> UnixSeconds {
        let mut revoked = self.revoked();
        let until = self.next_expiry(now, participant, &revoked);
        let fresh = self.fresh_expiry(now);
        revoked.retain(|_, until| *until >= fresh);
        revoked.insert(participant.clone(), until);
        until
    }

    /// From now on `secret` signs what is issued; the earlier ones are still accepted.
    pub fn adopt(&self, secret: Redacted<String>) {
        let mut secrets = self.secrets.write().unwrap_or_else(PoisonError::into_inner);
        secrets.retain(|known| *known != secret);
        secrets.insert(0, secret);
    }

    /// What signs the credentials that are issued.
    #[must_use]
    pub fn secret(&self) -> Option<Redacted<String>> {
        self.secrets().first().cloned()
    }

    /// Another node, or an earlier process, revoked what `participant` was issued: see [`revoke`](Self::revoke).
    pub fn remember_revoked(&self, participant: &ParticipantId, until: UnixSeconds) {
        let mut revoked = self.revoked();
        let latest = revoked.entry(participant.clone()).or_insert(until);
        *latest = until.max(*latest);
    }

    /// What `username` claims to be; `None` when no key could ever prove it.
    #[must_use]
    pub fn claim(&self, username: &str) -> Option<Claim> {
        if let Some(key) = self.static_keys.get(username) {
            return Some(Claim {
                user: UserId::Static(username.into()),
                expires_at: None,
                keys: vec![key.clone()],
            });
        }
        let (expires_at, name) = parse_username(username)?;
        let secrets = self.secrets();
        let keys = secrets.iter().map(|secret| {
            LongTermKey::derive(username, &self.realm, &rest_password(secret, username))
        });
        Some(Claim {
            user: UserId::Participant(Arc::from(name)),
            expires_at: Some(expires_at),
            keys: keys.collect(),
        })
    }

    fn secrets(&self) -> RwLockReadGuard<'_, Vec<Redacted<String>>> {
        self.secrets.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_expiry(
        &self,
        now: UnixSeconds,
        participant: &ParticipantId,
        revoked: &HashMap<ParticipantId, UnixSeconds>,
    ) -> UnixSeconds {
        let fresh = self.fresh_expiry(now);
        match revoked.get(participant) {
            Some(until) if *until >= fresh => UnixSeconds(until.0.saturating_add(1)),
            Some(_) | None => fresh,
        }
    }

    fn fresh_expiry(&self, now: UnixSeconds) -> UnixSeconds {
        UnixSeconds(now.0.saturating_add(self.ttl.as_secs()))
    }

    fn revoked(&self) -> std::sync::MutexGuard<'_, HashMap<ParticipantId, UnixSeconds>> {
        self.revoked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LongTermKey {
    /// The key for a user name and password in a realm.
    #[must_use]
    pub fn derive(username: &str, realm: &str, password: &str) -> Self {
        let mut hash = Md5::new();
        for part in [username, ":", realm, ":", password] {
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    /// The 16 bytes that MESSAGE-INTEGRITY is keyed with.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for LongTermKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

fn rest_password(secret: &Redacted<String>, username: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.expose().as_bytes())
        .expect("HMAC takes keys of any length");
    mac.update(username.as_bytes());
    BASE64_STANDARD.encode(mac.finalize().into_bytes())
}

/// `digits[":" name]`; the name may itself hold colons.
fn parse_username(username: &str) -> Option<(UnixSeconds, &str)> {
    let (digits, name) = username.split_once(':').unwrap_or((username, ""));
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((UnixSeconds(digits.parse().ok()?), name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixSeconds = UnixSeconds(1_700_000_000);

    #[test]
    fn an_issued_credential_is_what_turn_rest_clients_compute() {
        // printf 1700003600:alice | openssl dgst -sha1 -hmac north -binary | base64
        let issued = credentials(&["north"]).issue(NOW, &alice());
        assert_eq!(issued.username, "1700003600:alice");
        assert_eq!(issued.password.expose(), "wjwSXO2ch1B6VaLTLMy2Avn5O9o=");
        assert_eq!(issued.expires_at, UnixSeconds(1_700_003_600));
    }

    #[test]
    fn any_configured_secret_may_have_signed_a_credential() {
        let old = credentials(&["south"]).issue(NOW, &alice());
        let claim = credentials(&["north", "south"])
            .claim(&old.username)
            .unwrap();
        let proof = LongTermKey::derive(&old.username, REALM, old.password.expose());
        assert!(claim.keys.contains(&proof));
    }

    #[test]
    fn a_credential_issued_in_the_second_of_a_revocation_outlives_it() {
        let credentials = credentials(&["north"]);
        let before = credentials.issue(NOW, &alice());
        let until = credentials.revoke(NOW, &alice());
        let after = credentials.issue(NOW, &alice());
        assert!(before.expires_at <= until && until < after.expires_at);
        assert!(after.expires_at <= credentials.revoke(NOW, &alice()));
    }

    #[test]
    fn user_names_of_time_limited_credentials() {
        let cases = [
            ("1700000000:alice", Some((1_700_000_000, "alice"))),
            ("1700000000", Some((1_700_000_000, ""))),
            ("1700000000:", Some((1_700_000_000, ""))),
            ("1:a:b", Some((1, "a:b"))),
            ("1:श्री", Some((1, "श्री"))),
            ("", None),
            (":alice", None),
            ("+1:alice", None),
            ("-1:alice", None),
            (" 1:alice", None),
            ("0x10:alice", None),
            ("1e9:alice", None),
            ("alice:1700000000", None),
            ("18446744073709551616:alice", None),
            ("١٢٣:alice", None),
        ];
        for (username, expected) in cases {
            let expected = expected.map(|(expiry, name)| (UnixSeconds(expiry), name));
            assert_eq!(parse_username(username), expected, "{username:?}");
        }
    }

    #[test]
    fn a_static_user_has_one_key_and_no_expiry() {
        let claim = credentials(&["north"]).claim("turnuser").unwrap();
        assert_eq!(claim.user, UserId::Static("turnuser".into()));
        assert_eq!(claim.expires_at, None);
        assert_eq!(
            claim.keys,
            [LongTermKey::derive("turnuser", REALM, "turnpass")]
        );
    }

    const REALM: &str = "vrinda-sangha.local";

    fn alice() -> ParticipantId {
        ParticipantId::parse("alice").unwrap()
    }

    fn credentials(secrets: &[&str]) -> Credentials {
        let redacted = |text: &str| Redacted::new(text.to_owned());
        Credentials::new(Settings {
            realm: REALM.to_owned(),
            secrets: secrets.iter().map(|secret| redacted(secret)).collect(),
            ttl: Duration::from_secs(3600),
            users: vec![("turnuser".to_owned(), redacted("turnpass"))],
        })
    }
}

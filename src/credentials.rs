//! TURN credentials: issued by signaling and HTTP, checked by the relay. One module, one set of secrets.
//!
//! Time-limited credentials follow the TURN REST convention
//! ([draft-uberti-behave-turn-rest-00](https://datatracker.ietf.org/doc/html/draft-uberti-behave-turn-rest-00)):
//! user name `expiry:participant`, password `base64(HMAC-SHA1(secret, user name))`.

mod key;
mod names;
mod opaque;
mod token;

pub use key::{LongTermKey, PasswordAlgorithm, UserHash, user_hash};
pub use opaque::opaque_string;
pub use token::{Opened, Tokens};

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use crate::clock::UnixSeconds;
use crate::credentials::key::Keys;
use crate::credentials::names::Names;
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

/// Who a user name was proven to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// Whose allocations these would be.
    pub user: UserId,
    /// The first second in which the credential has expired; static users never expire.
    pub expires_at: Option<UnixSeconds>,
    /// The key that proved it.
    pub key: LongTermKey,
}

/// Issues credentials and knows the keys behind them.
#[derive(Debug)]
pub struct Credentials {
    realm: String,
    /// Read for a request, never for a packet.
    known: RwLock<Known>,
    /// What a name is tried with that no static user has: it costs as much, and is never right.
    decoy: Keys,
    names: Names,
    /// Expiries revoked moments ago, which a credential issued in the same second must outlive.
    revoked: Mutex<HashMap<ParticipantId, UnixSeconds>>,
}

/// What an operator may change.
#[derive(Debug)]
struct Known {
    secrets: Vec<Redacted<String>>,
    ttl: Duration,
    users: HashMap<String, Keys>,
    user_hashes: HashMap<UserHash, Arc<str>>,
}

impl Credentials {
    /// Takes the settings; of the static users only their keys are kept.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let realm = settings.realm.clone();
        Self {
            known: RwLock::new(Known::new(&realm, settings)),
            realm,
            decoy: Keys::derive("", "", ""),
            names: Names::default(),
            revoked: Mutex::default(),
        }
    }

    /// These hold from now on, but for the realm, which stays. Allocations go on with the key that they were made with.
    pub fn apply(&self, settings: Settings) {
        *self.known_mut() = Known::new(&self.realm, settings);
    }

    /// The realm that clients must sign for.
    #[must_use]
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// How long an issued credential lives.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.known().ttl
    }

    /// A fresh credential for `participant`, good even right after a [`revoke`](Self::revoke).
    #[must_use]
    pub fn issue(&self, now: UnixSeconds, participant: &ParticipantId) -> Credential {
        let expires_at = self.next_expiry(now, participant, &self.revoked());
        let username = format!("{}:{participant}", expires_at.0);
        let known = self.known();
        let password = known
            .secrets
            .first()
            .map(|secret| rest_password(secret, &username))
            .unwrap_or_default();
        drop(known);
        let hash = user_hash(&username, &self.realm);
        self.names.remember(hash, &username);
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
        let secrets = &mut self.known_mut().secrets;
        secrets.retain(|known| *known != secret);
        secrets.insert(0, secret);
    }

    /// What signs the credentials that are issued.
    #[must_use]
    pub fn secret(&self) -> Option<Redacted<String>> {
        self.known().secrets.first().cloned()
    }

    /// Another node, or an earlier process, revoked what `participant` was issued: see [`revoke`](Self::revoke).
    pub fn remember_revoked(&self, participant: &ParticipantId, until: UnixSeconds) {
        let mut revoked = self.revoked();
        let latest = revoked.entry(participant.clone()).or_insert(until);
        *latest = until.max(*latest);
    }

    /// Who `username` is, if `proves` says yes to one of the keys that it may have by this algorithm.
    ///
    /// Whatever is wrong, it costs the same: nobody learns from the time it takes which users there are.
    #[must_use]
    pub fn prove(
        &self,
        username: &str,
        algorithm: PasswordAlgorithm,
        proves: impl Fn(&LongTermKey) -> bool,
    ) -> Option<Proven> {
        let issued = parse_username(username);
        let known = self.known();
        let by_user = || {
            let keys = known.users.get(username);
            let key = keys.unwrap_or(&self.decoy).by(algorithm);
            let is_proven = proves(key) && keys.is_some();
            is_proven.then(|| Proven {
                user: UserId::Static(username.into()),
                expires_at: None,
                key: key.clone(),
            })
        };
        let by_secret = || {
            known.secrets.iter().find_map(|secret| {
                let password = rest_password(secret, username);
                let key = LongTermKey::derive(algorithm, username, &self.realm, &password);
                let (expires_at, name) = proves(&key).then_some(issued).flatten()?;
                Some(Proven {
                    user: UserId::Participant(Arc::from(name)),
                    expires_at: Some(expires_at),
                    key,
                })
            })
        };
        match issued {
            Some(_) => by_secret().or_else(by_user),
            None => by_user().or_else(by_secret),
        }
    }

    /// The user name behind a USERHASH, if it is a static user's or was issued here lately.
    #[must_use]
    pub fn name_behind(&self, hash: &UserHash) -> Option<Arc<str>> {
        let of_user = self.known().user_hashes.get(hash).cloned();
        of_user.or_else(|| self.names.by_hash(hash))
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_mut(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
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
        UnixSeconds(now.0.saturating_add(self.ttl().as_secs()))
    }

    fn revoked(&self) -> std::sync::MutexGuard<'_, HashMap<ParticipantId, UnixSeconds>> {
        self.revoked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn new(realm: &str, settings: Settings) -> Self {
        let Settings {
            realm: _,
            secrets,
            ttl,
            users,
        } = settings;
        let hashed = users.iter().map(|(name, _)| {
            let hash = user_hash(name, realm);
            (hash, Arc::from(name.as_str()))
        });
        let user_hashes = hashed.collect();
        let users = users.into_iter().map(|(name, password)| {
            let keys = Keys::derive(&name, realm, password.expose());
            (name, keys)
        });
        Self {
            secrets,
            ttl,
            users: users.collect(),
            user_hashes,
        }
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
        let both = credentials(&["north", "south"]);
        for algorithm in ALGORITHMS {
            let signed = |password: &str| {
                let right = LongTermKey::derive(algorithm, &old.username, REALM, password);
                both.prove(&old.username, algorithm, |key| *key == right)
            };
            let proven = signed(old.password.expose()).unwrap();
            assert_eq!(proven.user, UserId::Participant("alice".into()));
            assert_eq!(proven.expires_at, Some(old.expires_at));
            assert_eq!(signed("wrong"), None);
        }
    }

    #[test]
    fn r26_whoever_is_wrong_costs_the_same() {
        let credentials = credentials(&["north", "south", "west"]);
        for name in ["turnuser", "nobody", "", "1700000000:alice", "1:"] {
            let tries = std::cell::Cell::new(0);
            let proven = credentials.prove(name, PasswordAlgorithm::Md5, |_| {
                tries.set(tries.get() + 1);
                false
            });
            assert_eq!((proven, tries.get()), (None, 4), "{name}");
        }
    }

    #[test]
    fn r26_a_name_that_nobody_has_is_never_proven() {
        let credentials = credentials(&["north"]);
        for (name, algorithm) in ["", "nobody", "x:1"].iter().zip(ALGORITHMS.iter().cycle()) {
            assert_eq!(credentials.prove(name, *algorithm, |_| true), None);
        }
    }

    #[test]
    fn r37_users_and_issued_names_are_known_by_their_hash() {
        let credentials = credentials(&["north"]);
        let issued = credentials.issue(NOW, &alice()).username;
        for name in ["turnuser", &issued] {
            let found = credentials.name_behind(&user_hash(name, REALM));
            assert_eq!(found.as_deref(), Some(name));
        }
        for (name, realm) in [("nobody", REALM), ("turnuser", "other"), ("1:alice", REALM)] {
            assert_eq!(credentials.name_behind(&user_hash(name, realm)), None);
        }
    }

    #[test]
    fn r39_no_password_is_kept() {
        let text = format!("{:?}", credentials(&["north"]));
        assert!(
            !text.contains("turnpass") && !text.contains("north"),
            "{text}"
        );
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
    fn a_static_user_has_a_key_by_each_algorithm_and_no_expiry() {
        let credentials = credentials(&["north"]);
        for algorithm in ALGORITHMS {
            let right = LongTermKey::derive(algorithm, "turnuser", REALM, "turnpass");
            let proven = credentials.prove("turnuser", algorithm, |key| *key == right);
            let proven = proven.unwrap();
            assert_eq!(proven.user, UserId::Static("turnuser".into()));
            assert_eq!((proven.expires_at, proven.key), (None, right));
        }
    }

    #[test]
    fn new_settings_hold_for_all_that_is_issued_and_proven() {
        let credentials = credentials(&["north"]);
        let old = credentials.issue(NOW, &alice());
        let right = |name: &str, password: &str| {
            let key = LongTermKey::derive(PasswordAlgorithm::Md5, name, REALM, password);
            let proven = credentials.prove(name, PasswordAlgorithm::Md5, |tried| *tried == key);
            proven.is_some()
        };
        let is_good = |issued: &Credential| right(&issued.username, issued.password.expose());
        assert!(is_good(&old) && right("turnuser", "turnpass"));
        credentials.apply(Settings {
            ttl: Duration::from_secs(60),
            users: vec![("carol".to_owned(), Redacted::new("west".to_owned()))],
            ..settings(&["south", "north"])
        });
        let new = credentials.issue(NOW, &alice());
        assert_eq!(new.expires_at, UnixSeconds(NOW.0 + 60));
        assert!(is_good(&old) && is_good(&new) && right("carol", "west"));
        assert!(!right("turnuser", "turnpass"));
        let name_of = |name| credentials.name_behind(&user_hash(name, REALM));
        assert_eq!(name_of("carol").as_deref(), Some("carol"));
        assert_eq!(name_of("turnuser"), None);
        credentials.apply(settings(&["south"]));
        assert!(!is_good(&old) && is_good(&new));
    }

    #[test]
    fn r38_a_name_in_another_spelling_is_another_name() {
        let composed = ("Ren\u{e9}".to_owned(), Redacted::new("turnpass".to_owned()));
        let credentials = Credentials::new(Settings {
            users: vec![composed],
            ..settings(&["north"])
        });
        for algorithm in ALGORITHMS {
            let right = LongTermKey::derive(algorithm, "Ren\u{e9}", REALM, "turnpass");
            let prove = |name| credentials.prove(name, algorithm, |key| *key == right);
            assert!(prove("Ren\u{e9}").is_some());
            for other in ["Rene\u{301}", "ren\u{e9}", "Ren\u{e9} "] {
                assert_eq!(prove(other), None, "{other:?}");
            }
        }
    }

    const ALGORITHMS: [PasswordAlgorithm; 2] = [PasswordAlgorithm::Md5, PasswordAlgorithm::Sha256];
    const REALM: &str = "vrinda-sangha.local";

    fn alice() -> ParticipantId {
        ParticipantId::parse("alice").unwrap()
    }

    fn credentials(secrets: &[&str]) -> Credentials {
        Credentials::new(settings(secrets))
    }

    fn settings(secrets: &[&str]) -> Settings {
        let redacted = |text: &str| Redacted::new(text.to_owned());
        Settings {
            realm: REALM.to_owned(),
            secrets: secrets.iter().map(|secret| redacted(secret)).collect(),
            ttl: Duration::from_secs(3600),
            users: vec![("turnuser".to_owned(), redacted("turnpass"))],
        }
    }
}

//! Which STUN and TURN servers a participant is told of, and the credential that opens them.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::clock::{Now, UnixMillis, UnixSeconds};
use crate::credentials::{Credential, Credentials};
use crate::ident::ParticipantId;

/// The relay as clients reach it: URLs of [RFC 7064](https://www.rfc-editor.org/rfc/rfc7064) and
/// [RFC 7065](https://www.rfc-editor.org/rfc/rfc7065).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayUrls {
    /// `stun:` URLs; they need no credential.
    pub stun: Vec<String>,
    /// `turn:` and `turns:` URLs. Few: a browser allocates once for each.
    pub turn: Vec<String>,
}

/// Answers "which ICE servers may this participant use?".
#[derive(Debug)]
pub struct IceServers {
    urls: RelayUrls,
    /// The `turn:` and `turns:` URLs of another node's relay.
    neighbour: RwLock<Vec<String>>,
    credentials: Arc<Credentials>,
}

impl IceServers {
    /// Hands out `urls` with credentials from `credentials`.
    #[must_use]
    pub fn new(urls: RelayUrls, credentials: Arc<Credentials>) -> Self {
        Self {
            urls,
            neighbour: RwLock::default(),
            credentials,
        }
    }

    /// How clients reach this node's relay.
    #[must_use]
    pub fn urls(&self) -> &RelayUrls {
        &self.urls
    }

    /// From now on the relay of another node is told of too, or of none: only its first and its last URL, since a
    /// browser allocates once for each.
    pub fn set_neighbour(&self, urls: Option<&RelayUrls>) {
        let turn = urls.map_or(&[][..], |urls| &urls.turn);
        let mut few: Vec<_> = turn
            .first()
            .into_iter()
            .chain(turn.last())
            .cloned()
            .collect();
        few.dedup();
        *self
            .neighbour
            .write()
            .unwrap_or_else(PoisonError::into_inner) = few;
    }

    /// An `RTCConfiguration` with a fresh credential for `participant`.
    #[must_use]
    pub fn for_participant(&self, now: Now, participant: &ParticipantId) -> IceServersAnswer {
        let credential = self.credentials.issue(now.unix.seconds(), participant);
        IceServersAnswer {
            ttl: ttl(now, &credential),
            expires_at: credential.expires_at.millis().iso8601(),
            refresh_after: refresh_after(now, &credential),
            ice_servers: self.ice_servers(&credential),
        }
    }

    /// The same credential in the shape of the TURN REST convention
    /// ([draft-uberti-behave-turn-rest-00 §2.2](https://datatracker.ietf.org/doc/html/draft-uberti-behave-turn-rest-00#section-2.2)).
    #[must_use]
    pub fn turn_rest(&self, now: Now, participant: &ParticipantId) -> TurnRestAnswer {
        let credential = self.credentials.issue(now.unix.seconds(), participant);
        TurnRestAnswer {
            ttl: ttl(now, &credential),
            password: credential.password.expose().clone(),
            username: credential.username,
            uris: self.urls.turn.clone(),
        }
    }

    fn ice_servers(&self, credential: &Credential) -> Vec<IceServer> {
        let stun = IceServer {
            urls: self.urls.stun.clone(),
            username: None,
            credential: None,
        };
        let turn = |urls| IceServer {
            urls,
            username: Some(credential.username.clone()),
            credential: Some(credential.password.expose().clone()),
        };
        let mut servers = vec![stun, turn(self.urls.turn.clone())];
        let neighbour = self
            .neighbour
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        servers.push(turn(neighbour.clone()));
        // `RTCPeerConnection` throws at an entry without URLs.
        servers.retain(|server| !server.urls.is_empty());
        servers
    }
}

/// What browsers take as `RTCConfiguration`, and until when. Not `Debug`: it holds a password.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IceServersAnswer {
    /// The servers, STUN first.
    pub ice_servers: Vec<IceServer>,
    /// Seconds until the credential opens no allocation any more.
    pub ttl: u64,
    /// The same moment, ISO 8601 in UTC.
    pub expires_at: String,
    /// When to replace it: at four fifths of its life.
    #[serde(skip)]
    pub refresh_after: Duration,
}

/// One `RTCIceServer`.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct IceServer {
    /// Where it is; never empty.
    pub urls: Vec<String>,
    /// `expiry:participant`, where a credential is needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The password that goes with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// The answer of the TURN REST convention. Not `Debug`: it holds a password.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct TurnRestAnswer {
    /// `expiry:participant`.
    pub username: String,
    /// The password that goes with it.
    pub password: String,
    /// Seconds until the credential opens no allocation any more.
    pub ttl: u64,
    /// The `turn:` and `turns:` URLs.
    pub uris: Vec<String>,
}

/// In seconds.
fn ttl(now: Now, credential: &Credential) -> u64 {
    let UnixSeconds(expires_at) = credential.expires_at;
    expires_at.saturating_sub(now.unix.seconds().0)
}

/// At least a second: however short lives are set, replacing credentials never becomes a busy loop.
fn refresh_after(now: Now, credential: &Credential) -> Duration {
    let UnixMillis(expires_at) = credential.expires_at.millis();
    let life = Duration::from_millis(expires_at.saturating_sub(now.unix.0));
    (life * 4 / 5).max(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::credentials::Settings;
    use crate::logging::Redacted;

    #[test]
    fn a_participant_gets_an_rtc_configuration() {
        let answer = ice_servers(urls()).for_participant(now(), &alice());
        let expected = json!({
            "iceServers": [
                { "urls": ["stun:192.0.2.1:3478"] },
                {
                    "urls": ["turn:192.0.2.1:3478?transport=udp"],
                    "username": "1700003600:alice",
                    "credential": "wjwSXO2ch1B6VaLTLMy2Avn5O9o=",
                },
            ],
            "ttl": 3600,
            "expiresAt": "2023-11-14T23:13:20.000Z",
        });
        assert_eq!(serde_json::to_value(&answer).unwrap(), expected);
        assert_eq!(answer.refresh_after, Duration::from_secs(2880));
    }

    #[test]
    fn the_turn_rest_answer_carries_the_same_credential() {
        let answer = ice_servers(urls()).turn_rest(now(), &alice());
        let expected = json!({
            "username": "1700003600:alice",
            "password": "wjwSXO2ch1B6VaLTLMy2Avn5O9o=",
            "ttl": 3600,
            "uris": ["turn:192.0.2.1:3478?transport=udp"],
        });
        assert_eq!(serde_json::to_value(&answer).unwrap(), expected);
    }

    #[test]
    fn an_entry_without_urls_is_left_out() {
        let answer = ice_servers(RelayUrls::default()).for_participant(now(), &alice());
        assert!(answer.ice_servers.is_empty());
    }

    fn now() -> Now {
        Now {
            unix: UnixMillis(1_700_000_000_000),
            ..Now::read()
        }
    }

    fn alice() -> ParticipantId {
        ParticipantId::parse("alice").unwrap()
    }

    fn urls() -> RelayUrls {
        RelayUrls {
            stun: vec!["stun:192.0.2.1:3478".to_owned()],
            turn: vec!["turn:192.0.2.1:3478?transport=udp".to_owned()],
        }
    }

    fn ice_servers(urls: RelayUrls) -> IceServers {
        let credentials = Credentials::new(Settings {
            realm: "vrinda-sangha.local".to_owned(),
            secrets: vec![Redacted::new("north".to_owned())],
            ttl: Duration::from_secs(3600),
            users: Vec::new(),
        });
        IceServers::new(urls, Arc::new(credentials))
    }
}

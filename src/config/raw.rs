//! The configuration as typed: one struct for a section, one field for a key, every default written here.
//!
//! The shipped `turn.toml` shows the same keys and values.

use serde::{Deserialize, Deserializer, Serialize};

/// Everything that can be configured, before it is known to make sense.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) profile: String,
    pub(super) http: Http,
    pub(super) access: Access,
    pub(super) signaling: Signaling,
    pub(super) store: Store,
    pub(super) turn: Turn,
    pub(super) acme: Acme,
    pub(super) credentials: Credentials,
    pub(super) peers: Peers,
    pub(super) limits: Limits,
    pub(super) shutdown: Shutdown,
    pub(super) metrics: Metrics,
    pub(super) log: Log,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Http {
    pub(super) listen: List,
    pub(super) tls_cert_file: String,
    pub(super) tls_key_file: String,
    pub(super) allowed_origins: List,
    pub(super) admin_token: String,
    pub(super) admin_token_file: String,
    pub(super) trusted_proxies: List,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Access {
    pub(super) mode: String,
    pub(super) jwt_secret: String,
    pub(super) jwt_secret_file: String,
    pub(super) host_only: List,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Signaling {
    pub(super) events_per_second: u32,
    pub(super) participants_per_session: u32,
    pub(super) sessions: u32,
    pub(super) payload_bytes: u32,
    pub(super) outbox_bytes: u32,
    pub(super) recovery: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Store {
    pub(super) redis_url: String,
    pub(super) redis_url_file: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Turn {
    pub(super) realm: String,
    pub(super) listen_udp: List,
    pub(super) alternate_port: u16,
    pub(super) listen_tcp: List,
    pub(super) listen_tls: List,
    pub(super) listen_dtls: List,
    pub(super) tls_cert_file: String,
    pub(super) tls_key_file: String,
    pub(super) external_ip: List,
    pub(super) host: String,
    pub(super) relay_ports: String,
    pub(super) tcp_relay: bool,
    pub(super) channels: String,
    pub(super) auth: String,
    pub(super) users: List,
    pub(super) users_file: String,
    pub(super) workers: u32,
    pub(super) icmp: bool,
    pub(super) port_sharing: String,
    pub(super) mobility: bool,
    pub(super) software: String,
    pub(super) alternate_servers: List,
    pub(super) oauth_server: String,
    pub(super) oauth_keys: List,
    pub(super) oauth_keys_file: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Acme {
    pub(super) domains: List,
    pub(super) contact: List,
    pub(super) directory: String,
    pub(super) directory_ca_file: String,
    pub(super) state_dir: String,
    pub(super) listen: List,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Credentials {
    pub(super) secret: String,
    pub(super) secret_file: String,
    pub(super) previous_secrets: List,
    pub(super) previous_secrets_file: String,
    pub(super) ttl: String,
    pub(super) strict_expiry: bool,
    pub(super) revocation_grace: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Peers {
    pub(super) mode: String,
    pub(super) allow: List,
    pub(super) deny: List,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) allocations: u32,
    pub(super) allocations_per_user: u32,
    pub(super) bytes_per_second: u32,
    pub(super) bytes_per_second_per_user: u32,
    pub(super) bytes_per_second_per_allocation: u32,
    pub(super) unauthenticated_replies_per_second: u32,
    pub(super) failed_logins_per_minute: u32,
    pub(super) connections: u32,
    pub(super) connections_per_source: u32,
    pub(super) credentials_per_minute: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Metrics {
    pub(super) listen: List,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Shutdown {
    pub(super) drain: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Log {
    pub(super) level: String,
    pub(super) format: String,
}

/// The word that leaves a value to the machine or the profile.
pub(super) const AUTO: &str = "auto";

/// The keys whose values are never printed.
pub(super) const SECRET_KEYS: [&str; 7] = [
    "http.admin_token",
    "access.jwt_secret",
    "store.redis_url",
    "credentials.secret",
    "credentials.previous_secrets",
    "turn.users",
    "turn.oauth_keys",
];

impl Raw {
    /// The keys, by section, that are refused as they are since a secret is missing.
    pub(super) fn needy_keys(&self) -> Vec<(&'static str, &'static str)> {
        let mut keys = Vec::new();
        let (access, turn) = (&self.access, &self.turn);
        if access.jwt_secret.is_empty() && access.jwt_secret_file.is_empty() {
            let is_changed = access.mode != Access::default().mode;
            keys.extend(is_changed.then_some(("access", "mode")));
            let is_some = !access.host_only.0.is_empty();
            keys.extend(is_some.then_some(("access", "host_only")));
        }
        if turn.oauth_keys.0.is_empty() && turn.oauth_keys_file.is_empty() {
            let is_some = !turn.oauth_server.is_empty();
            keys.extend(is_some.then_some(("turn", "oauth_server")));
        }
        keys
    }
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            profile: AUTO.to_owned(),
            http: Http::default(),
            access: Access::default(),
            signaling: Signaling::default(),
            store: Store::default(),
            turn: Turn::default(),
            acme: Acme::default(),
            credentials: Credentials::default(),
            peers: Peers::default(),
            limits: Limits::default(),
            shutdown: Shutdown::default(),
            metrics: Metrics::default(),
            log: Log::default(),
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: List::of(&["0.0.0.0:3001", "[::]:3001"]),
            tls_cert_file: String::new(),
            tls_key_file: String::new(),
            allowed_origins: List::of(&["http://localhost:3000"]),
            admin_token: String::new(),
            admin_token_file: String::new(),
            trusted_proxies: List::of(&["127.0.0.0/8", "::1/128"]),
        }
    }
}

impl Default for Access {
    fn default() -> Self {
        Self {
            mode: "open".to_owned(),
            jwt_secret: String::new(),
            jwt_secret_file: String::new(),
            host_only: List::default(),
        }
    }
}

impl Default for Signaling {
    fn default() -> Self {
        Self {
            events_per_second: 200,
            participants_per_session: 100,
            sessions: 0,
            payload_bytes: 1_000_000,
            outbox_bytes: 4_194_304,
            recovery: "2m".to_owned(),
        }
    }
}

impl Default for Turn {
    fn default() -> Self {
        Self {
            realm: "vrinda-sangha.local".to_owned(),
            listen_udp: List::of(&["0.0.0.0:3478", "[::]:3478"]),
            alternate_port: 3479,
            listen_tcp: List::of(&["0.0.0.0:3478", "[::]:3478"]),
            listen_tls: List::of(&["0.0.0.0:5349", "[::]:5349"]),
            listen_dtls: List::of(&["0.0.0.0:5349", "[::]:5349"]),
            tls_cert_file: String::new(),
            tls_key_file: String::new(),
            external_ip: List::of(&[AUTO]),
            host: AUTO.to_owned(),
            relay_ports: "49160-49200".to_owned(),
            tcp_relay: true,
            channels: "rfc8656".to_owned(),
            auth: "required".to_owned(),
            users: List::of(&[AUTO]),
            users_file: String::new(),
            workers: 0,
            icmp: true,
            port_sharing: "when_full".to_owned(),
            mobility: true,
            software: String::new(),
            alternate_servers: List::default(),
            oauth_server: String::new(),
            oauth_keys: List::default(),
            oauth_keys_file: String::new(),
        }
    }
}

impl Default for Acme {
    fn default() -> Self {
        Self {
            domains: List::default(),
            contact: List::default(),
            directory: "https://acme-v02.api.letsencrypt.org/directory".to_owned(),
            directory_ca_file: String::new(),
            state_dir: "/var/lib/setu/acme".to_owned(),
            listen: List::of(&["0.0.0.0:80", "[::]:80"]),
        }
    }
}

impl Default for Credentials {
    fn default() -> Self {
        Self {
            secret: String::new(),
            secret_file: String::new(),
            previous_secrets: List::default(),
            previous_secrets_file: String::new(),
            ttl: "24h".to_owned(),
            strict_expiry: false,
            revocation_grace: "30s".to_owned(),
        }
    }
}

impl Default for Peers {
    fn default() -> Self {
        Self {
            mode: "any".to_owned(),
            allow: List::default(),
            deny: List::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            allocations: 0,
            allocations_per_user: 100,
            bytes_per_second: 0,
            bytes_per_second_per_user: 0,
            bytes_per_second_per_allocation: 0,
            unauthenticated_replies_per_second: 50,
            failed_logins_per_minute: 60,
            connections: 10_000,
            connections_per_source: 100,
            credentials_per_minute: 60,
        }
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self {
            drain: "6s".to_owned(),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: "human".to_owned(),
        }
    }
}

/// Several values: a list, or one text with commas as the environment has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(super) struct List(pub(super) Vec<String>);

impl List {
    pub(super) fn of(entries: &[&str]) -> Self {
        Self(entries.iter().map(|&entry| entry.to_owned()).collect())
    }

    /// The entries between the commas, without the blanks around them; nothing for an empty text.
    pub(super) fn split(text: &str) -> Self {
        let entries = text.split(',').map(str::trim);
        Self(
            entries
                .filter(|entry| !entry.is_empty())
                .map(str::to_owned)
                .collect(),
        )
    }

    pub(super) fn is_auto(&self) -> bool {
        self.0 == [AUTO]
    }
}

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Typed {
            Text(String),
            Entries(Vec<String>),
        }
        Ok(match Typed::deserialize(deserializer)? {
            Typed::Text(text) => Self::split(&text),
            Typed::Entries(entries) => Self(entries),
        })
    }
}

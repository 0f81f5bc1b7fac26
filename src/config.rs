//! The configuration: valid by construction. Nothing binds until all of it was read and found to make sense.

use std::{ffi::OsString, net::IpAddr, path::Path, time::Duration};

use crate::credentials;
use crate::http;
use crate::logging;
use crate::relay::{self, engine::signaled::PeerMode, tls::Identity};
use crate::signaling;
use crate::store;

mod access;
mod acme;
mod alternate;
mod certificate;
mod external;
pub mod host;
pub mod import;
mod keys;
mod limits;
mod oauth;
mod raw;
mod relaying;
mod reload;
mod resolve;
mod secrets;
mod source;
mod values;

pub use external::is_globally_routable;
pub use reload::Reloaded;
pub use source::ConfigError;

/// What the operator decided, in each wing's own terms.
#[derive(Clone, Debug)]
pub struct Config {
    /// What kind of place this is, and why it is taken for one.
    pub profile: Profile,
    /// The reason, in words.
    pub profile_reason: String,
    /// Listeners, web origins, and who is let in.
    pub http: http::Settings,
    /// Whether the administrator's token was made at start, so that they must be told.
    pub random_admin_token: bool,
    /// Whether there is a secret for tokens that nobody is asked for.
    pub unused_jwt_secret: bool,
    /// The relay with its listeners and peers.
    pub relay: relay::Settings,
    /// In words, where the external addresses come from.
    pub external_origin: String,
    /// The name or address in the URLs that are handed out; IPv6 in brackets.
    pub relay_host: String,
    /// The authority that certificates come from.
    pub acme: Option<crate::acme::Settings>,
    /// Where HTTP's certificate comes from; without one it is served in clear.
    pub http_identity: Option<Identity>,
    /// Where the certificate of TURN over TLS comes from.
    pub turn_identity: Identity,
    /// Secrets, lifetimes and static users.
    pub credentials: credentials::Settings,
    /// Whether nobody outside this process knows the secret.
    pub random_secret: bool,
    /// The signaling's limits and times.
    pub signaling: signaling::Settings,
    /// Where sessions are kept.
    pub store: store::Settings,
    /// For how long calls may go on once the process is asked to end.
    pub drain: Duration,
    /// Which records are written, and how.
    pub log: logging::Settings,
    effective: raw::Raw,
    loaded: reload::Loaded,
}

/// What kind of place this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Well-known users, loopback and private peers: for one's own desk.
    Development,
    /// None of that.
    Production,
}

/// Reads `path`, or `turn.toml` in the working directory if there is one, and lays the environment over it.
///
/// # Errors
/// An unknown key, a bad value, a contradiction, or a file that can't be used: one line that names it and the fix.
pub fn load(
    path: Option<&Path>,
    env: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Config, ConfigError> {
    reload::Loaded::load(path, env)
}

/// Only where HTTP is served, and whether over TLS, of the same file and environment; nothing is made for it, such as a certificate.
///
/// # Errors
/// As [`load`], of what it reads.
pub fn http_listeners(
    path: Option<&Path>,
    env: impl Iterator<Item = (OsString, OsString)>,
) -> Result<(Vec<relay::Listen>, bool), ConfigError> {
    let source = source::Source::read(path, source::texts(env)?.into_iter())?;
    let raw = source.raw()?;
    let listen = resolve::http_listeners(&source, &raw)?;
    let in_clear = raw.http.tls_cert_file.is_empty() && raw.acme.domains.0.is_empty();
    Ok((listen, !in_clear))
}

/// How long a credential is to be good for, within the bounds of `credentials.ttl`.
///
/// # Errors
/// What to write instead.
pub fn credential_ttl(text: &str) -> Result<Duration, String> {
    secrets::ttl(text)
}

impl Config {
    /// Whether the certificate of TURN over TLS was made at start.
    #[must_use]
    pub fn is_self_signed(&self) -> bool {
        matches!(self.turn_identity, Identity::SelfSigned { .. })
    }

    /// The effective configuration as a `turn.toml` that can be loaded, without the secrets. What would be refused
    /// without one of them is a comment.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let keys = toml::to_string(&self.effective).unwrap_or_default();
        let secrets = raw::SECRET_KEYS.join(", ");
        let mut text = format!("# Secrets are left out: {secrets}.\n");
        let needy = self.effective.needy_keys();
        let mut section = "";
        for line in keys.lines() {
            if line.starts_with('[') {
                section = line.trim_matches(['[', ']']);
            }
            let key = line.split_once(" = ").map(|(key, _)| (section, key));
            if key.is_some_and(|key| needy.contains(&key)) {
                text.push_str("# Needs a secret: ");
            }
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// How many files and sockets may be open at a time. HTTP's connections and the relay's are counted apart.
    #[must_use]
    pub fn descriptors_wanted(&self) -> usize {
        let http = self.http.connections.unwrap_or_default();
        let relay = self.relay.limits.connections.unwrap_or_default() as usize;
        let ports = self.relay.relay_ports.len() * self.relay.external.len();
        http + relay + ports + DESCRIPTORS_OF_OUR_OWN
    }

    /// The addresses that clients are told.
    pub fn external_ips(&self) -> impl Iterator<Item = IpAddr> {
        self.relay.external.iter().map(|address| address.public)
    }
}

/// Listeners, workers, Redis.
const DESCRIPTORS_OF_OUR_OWN: usize = 100;

impl Profile {
    /// The word for it in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Production => "production",
        }
    }
}

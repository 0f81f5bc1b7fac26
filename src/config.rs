//! The configuration: valid by construction. Nothing binds until all of it was read and found to make sense.

use std::{net::IpAddr, path::Path};

use crate::credentials;
use crate::http;
use crate::logging;
use crate::relay;
use crate::signaling;

mod external;
mod host;
mod keys;
mod raw;
mod relaying;
mod resolve;
mod secrets;
mod source;
mod values;

pub use source::ConfigError;

/// What the operator decided, in each wing's own terms.
#[derive(Clone, Debug)]
pub struct Config {
    /// What kind of place this is, and why it is taken for one.
    pub profile: Profile,
    /// The reason, in words.
    pub profile_reason: String,
    /// Listeners and web origins.
    pub http: http::Settings,
    /// The relay with its listeners and peers.
    pub relay: relay::Settings,
    /// In words, where the external addresses come from.
    pub external_origin: String,
    /// The name or address in the URLs that are handed out; IPv6 in brackets.
    pub relay_host: String,
    /// Whether the certificate of TURN over TLS was made at start.
    pub self_signed: bool,
    /// Secrets, lifetimes and static users.
    pub credentials: credentials::Settings,
    /// Whether nobody outside this process knows the secret.
    pub random_secret: bool,
    /// The signaling's limits and times.
    pub signaling: signaling::Settings,
    /// Which records are written, and how.
    pub log: logging::Settings,
    /// `REDIS_URL` is set, but sessions are kept in memory.
    pub redis_ignored: bool,
    effective: raw::Raw,
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
    env: impl Iterator<Item = (String, String)>,
) -> Result<Config, ConfigError> {
    let env: Vec<_> = env.collect();
    let redis = env
        .iter()
        .any(|(variable, url)| variable == "REDIS_URL" && !url.is_empty());
    let source = source::Source::read(path, env.into_iter())?;
    let config = resolve::resolve(&source, &host::Host::read())?;
    Ok(Config {
        redis_ignored: redis,
        ..config
    })
}

impl Config {
    /// The effective configuration as a `turn.toml`, secrets redacted.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(&self.effective).unwrap_or_default()
    }

    /// The addresses that clients are told.
    pub fn external_ips(&self) -> impl Iterator<Item = IpAddr> {
        self.relay.external.iter().map(|address| address.public)
    }
}

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

//! The same file and environment read anew, while the server runs: what has changed, and what of it may.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt, fs,
    path::{Path, PathBuf},
};

use super::host::Host;
use super::keys::all_keys;
use super::raw::Raw;
use super::resolve::resolve;
use super::source::{ConfigError, Source, texts};
use super::{Config, PeerMode};

/// A configuration that takes the place of another.
#[derive(Clone, Debug)]
pub struct Reloaded {
    /// What holds from now on.
    pub config: Config,
    /// The keys that have another value, or whose files have other contents.
    pub applied: Vec<String>,
    /// Those that would need a restart: they are as they were.
    pub needs_restart: Vec<String>,
}

/// What a configuration was made of.
#[derive(Clone, Default)]
pub(super) struct Loaded {
    path: Option<PathBuf>,
    source: Source,
    /// What was in the files that keys name.
    contents: BTreeMap<String, Vec<u8>>,
    host: Host,
    /// Whether signaling has told the relay of peers from the start.
    knows_peers: bool,
}

impl Loaded {
    /// Reads everything and makes a configuration of it.
    pub(super) fn load(
        path: Option<&Path>,
        env: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Config, ConfigError> {
        let source = Source::read(path, texts(env)?.into_iter())?;
        let host = Host::read();
        let config = resolve(&source, &host)?;
        let loaded = Self {
            path: path.map(Path::to_owned),
            contents: contents(&source),
            source,
            host,
            knows_peers: config.relay.engine.peer_mode != PeerMode::Any,
        };
        Ok(Config { loaded, ..config })
    }
}

impl Config {
    /// Reads the same file again, with this environment over it. What was found or made at start, such as addresses, the
    /// profile and the self-signed certificate, stays.
    ///
    /// # Errors
    /// As [`load`](super::load).
    pub fn reload(
        &self,
        env: impl Iterator<Item = (OsString, OsString)>,
    ) -> Result<Reloaded, ConfigError> {
        let running = &self.loaded;
        let mut source = Source::read(running.path.as_deref(), texts(env)?.into_iter())?;
        // What waits for a restart must make sense too.
        let raw = resolve(&source, &running.host).and_then(|_| source.raw())?;
        let contents = contents(&source);
        let changed = all_keys().into_iter().filter(|key| {
            source.value(key) != running.source.value(key)
                || contents.get(key) != running.contents.get(key)
        });
        let (applied, needs_restart): (Vec<_>, Vec<_>) =
            changed.partition(|key| self.may_change(key, &raw));
        for key in &needs_restart {
            source.keep(key, &running.source);
        }
        let mut config = resolve(&source, &running.host)?;
        config.loaded = Loaded {
            source,
            contents,
            ..running.clone()
        };
        config.keep_made(self);
        Ok(Reloaded {
            config,
            applied,
            needs_restart,
        })
    }

    /// Whether the server can follow, with this file and environment.
    fn may_change(&self, key: &str, to: &Raw) -> bool {
        let (section, name) = key.split_once('.').unwrap_or(("", key));
        match (section, name) {
            ("credentials" | "limits" | "signaling" | "access" | "shutdown", _) => true,
            ("peers", "allow" | "deny") | ("log", "level") | ("http", "allowed_origins") => true,
            // Whom a call may reach is learned from its beginning on.
            ("peers", "mode") => self.loaded.knows_peers || to.peers.mode == "any",
            // One that is made is shown at start only.
            ("http", "admin_token" | "admin_token_file") => {
                let keys = &to.http;
                !keys.admin_token.is_empty() || !keys.admin_token_file.is_empty()
            }
            ("turn", "tls_cert_file" | "tls_key_file") => {
                !to.turn.tls_cert_file.is_empty() || self.acme.is_some()
            }
            // A port speaks TLS from its opening on, or does not.
            ("http", "tls_cert_file" | "tls_key_file") => {
                let is_named = !to.http.tls_cert_file.is_empty();
                self.http_identity.is_some() && (is_named || self.acme.is_some())
            }
            (
                "turn",
                "users" | "users_file" | "software" | "alternate_servers" | "oauth_server"
                | "oauth_keys" | "oauth_keys_file",
            ) => true,
            (_, _) => false,
        }
    }

    /// What nobody typed goes on as it was made.
    fn keep_made(&mut self, running: &Self) {
        if self.random_admin_token {
            self.http.admin_token = running.http.admin_token.clone();
        }
        if self.random_secret && running.random_secret {
            let (own, made) = (&mut self.credentials.secrets, &running.credentials.secrets);
            if let (Some(own), Some(made)) = (own.first_mut(), made.first()) {
                own.clone_from(made);
            }
        }
        if self.is_self_signed() {
            self.relay.tls = running.relay.tls.clone();
            self.relay.dtls = running.relay.dtls.clone();
        }
    }
}

/// Values may be secrets.
impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

fn contents(source: &Source) -> BTreeMap<String, Vec<u8>> {
    let keys = all_keys().into_iter().filter(|key| key.ends_with("_file"));
    let read = |key: String| {
        let file = source
            .value(&key)?
            .as_str()
            .filter(|file| !file.is_empty())?;
        Some((key, fs::read(file).ok()?))
    };
    keys.filter_map(read).collect()
}

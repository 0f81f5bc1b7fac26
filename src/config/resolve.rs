//! From what was typed to what it means. Every refusal names its key and the fix.

use std::{collections::HashMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use tokio_rustls::rustls::ServerConfig;

use super::external::{self, External};
use super::host::Host;
use super::raw::{AUTO, List, Raw};
use super::source::{ConfigError, Source};
use super::{Config, Profile, secrets, values};
use crate::entropy;
use crate::http;
use crate::logging::{self, Redacted};
use crate::relay::engine::{Auth, ChannelRange, policy::PeerPolicy};
use crate::relay::tls::{self, Identity};
use crate::relay::{self, Listen};
use crate::signaling;

/// Builds every wing's settings.
pub(super) fn resolve(source: &Source, host: &Host) -> Result<Config, ConfigError> {
    let raw = source.raw()?;
    let external = external(source, &raw, host)?;
    let (profile, profile_reason) = profile(source, &raw, &external)?;
    let credentials = secrets::credentials(source, &raw, profile)?;
    let relay_host = relay_host(source, &raw, &external)?;
    let relay = relay(source, &raw, host, &external, profile, &relay_host)?;
    let http = http(source, &raw)?;
    check_ports(source, &http, &relay)?;
    let config = Config {
        profile,
        profile_reason,
        signaling: signaling::Settings {
            revocation_grace: source.check(
                "credentials.revocation_grace",
                values::duration(&raw.credentials.revocation_grace, Duration::ZERO..=DAY),
            )?,
        },
        http,
        self_signed: raw.turn.tls_cert_file.is_empty(),
        random_secret: raw.credentials.secret.is_empty() && raw.credentials.secret_file.is_empty(),
        log: log(source, &raw)?,
        redis_ignored: false,
        external_origin: external.origin,
        effective: Raw::default(),
        relay_host,
        credentials,
        relay,
    };
    Ok(Config {
        effective: effective(raw, &config),
        ..config
    })
}

fn external(source: &Source, raw: &Raw, host: &Host) -> Result<External, ConfigError> {
    if raw.turn.external_ip.is_auto() {
        return Ok(external::find(host));
    }
    let parsed = external::parse(&raw.turn.external_ip.0, host);
    source.check("turn.external_ip", parsed)
}

fn profile(
    source: &Source,
    raw: &Raw,
    external: &External,
) -> Result<(Profile, String), ConfigError> {
    let words = [
        (AUTO, None),
        ("development", Some(Profile::Development)),
        ("production", Some(Profile::Production)),
    ];
    let written = source.check("profile", values::word(&raw.profile, &words))?;
    if let Some(profile) = written {
        return Ok((profile, "as configured".to_owned()));
    }
    let mut publics = external.addresses.iter().map(|address| address.public);
    Ok(
        match publics.find(|ip| external::is_globally_routable(*ip)) {
            Some(ip) => (Profile::Production, format!("the internet reaches {ip}")),
            None => (
                Profile::Development,
                "no external address is globally routable".to_owned(),
            ),
        },
    )
}

fn relay_host(source: &Source, raw: &Raw, external: &External) -> Result<String, ConfigError> {
    if raw.turn.host != AUTO {
        return source.check("turn.host", values::host(&raw.turn.host));
    }
    // Only the first address: a browser allocates once for each URL that it is given.
    let first = external.addresses.first().map(|address| address.public);
    Ok(first.map_or_else(String::new, |ip| {
        SocketAddr::new(ip, 0)
            .to_string()
            .trim_end_matches(":0")
            .to_owned()
    }))
}

fn relay(
    source: &Source,
    raw: &Raw,
    host: &Host,
    external: &External,
    profile: Profile,
    relay_host: &str,
) -> Result<relay::Settings, ConfigError> {
    let turn = &raw.turn;
    let listen_udp = listeners(source, "turn.listen_udp", &turn.listen_udp)?;
    let listen_tcp = listeners(source, "turn.listen_tcp", &turn.listen_tcp)?;
    let listen_tls = listeners(source, "turn.listen_tls", &turn.listen_tls)?;
    let relay_ports = source.check("turn.relay_ports", values::port_range(&turn.relay_ports))?;
    let policy = PeerPolicy {
        allow_private_and_loopback: profile == Profile::Development,
        allow: source.check("peers.allow", values::networks(&raw.peers.allow.0))?,
        deny: source.check("peers.deny", values::networks(&raw.peers.deny.0))?,
        relayed: external
            .addresses
            .iter()
            .map(|own| (own.public, relay_ports.clone()))
            .collect(),
        own_listeners: [&listen_udp, &listen_tcp, &listen_tls]
            .into_iter()
            .flatten()
            .map(|listen| listen.addr)
            .collect(),
    };
    let software = source.check("turn.software", values::short_text(&turn.software))?;
    Ok(relay::Settings {
        tls: tls(source, raw, external, relay_host)?,
        listen_udp,
        listen_tcp,
        listen_tls,
        external: external.addresses.clone(),
        relay_ports,
        workers: if turn.workers == 0 {
            host.cores.max(1)
        } else {
            usize::from(turn.workers)
        },
        engine: relay::engine::Settings {
            auth: auth(source, raw, profile)?,
            channels: source.check("turn.channels", values::word(&turn.channels, &CHANNELS))?,
            software: (!software.is_empty()).then_some(software),
            strict_expiry: raw.credentials.strict_expiry,
            policy,
            nonce_key: Redacted::new(entropy::bytes()),
        },
    })
}

fn auth(source: &Source, raw: &Raw, profile: Profile) -> Result<Auth, ConfigError> {
    let auth = source.check("turn.auth", values::word(&raw.turn.auth, &AUTH))?;
    match (auth, profile) {
        (Auth::None, Profile::Production) => {
            let problem = "would open the relay to everybody; write \"required\", or profile = \"development\"";
            Err(source.complain("turn.auth", &problem))
        }
        (Auth::None, Profile::Development) | (Auth::Required, _) => Ok(auth),
    }
}

fn tls(
    source: &Source,
    raw: &Raw,
    external: &External,
    relay_host: &str,
) -> Result<Arc<ServerConfig>, ConfigError> {
    let (cert, key) = (&raw.turn.tls_cert_file, &raw.turn.tls_key_file);
    let identity = match (cert.is_empty(), key.is_empty()) {
        (true, true) => {
            let mut names: Vec<_> = external
                .addresses
                .iter()
                .map(|address| address.public.to_string())
                .collect();
            names.push("localhost".to_owned());
            let host = relay_host.trim_matches(['[', ']']).to_owned();
            if !names.contains(&host) {
                names.push(host);
            }
            Identity::SelfSigned { names }
        }
        (false, false) => Identity::Files {
            cert: PathBuf::from(cert),
            key: PathBuf::from(key),
        },
        (true, false) => {
            let problem = "has no certificate; set turn.tls_cert_file too";
            return Err(source.complain("turn.tls_key_file", &problem));
        }
        (false, true) => {
            let problem = "has no private key; set turn.tls_key_file too";
            return Err(source.complain("turn.tls_cert_file", &problem));
        }
    };
    source.check("turn.tls_cert_file", tls::server_config(identity))
}

fn http(source: &Source, raw: &Raw) -> Result<http::Settings, ConfigError> {
    let listen = listeners(source, "http.listen", &raw.http.listen)?;
    if listen.is_empty() {
        return Err(source.complain("http.listen", &"must not be empty; write 0.0.0.0:3001"));
    }
    let origins = values::origins(&raw.http.allowed_origins.0);
    Ok(http::Settings {
        listen,
        allowed_origins: source.check("http.allowed_origins", origins)?,
    })
}

fn listeners(source: &Source, key: &str, entries: &List) -> Result<Vec<Listen>, ConfigError> {
    source.check(key, values::listeners(&entries.0, source.is_typed(key)))
}

/// No two listeners want one port, and no relayed address one of theirs.
fn check_ports(
    source: &Source,
    http: &http::Settings,
    relay: &relay::Settings,
) -> Result<(), ConfigError> {
    let streams = [
        ("http.listen", &http.listen),
        ("turn.listen_tcp", &relay.listen_tcp),
        ("turn.listen_tls", &relay.listen_tls),
    ];
    let mut taken: HashMap<SocketAddr, &str> = HashMap::new();
    for (key, listeners) in streams {
        for addr in listeners
            .iter()
            .map(|listen| listen.addr)
            .filter(|addr| addr.port() != 0)
        {
            if let Some(other) = taken.insert(addr, key) {
                let problem = format!("{addr} is also in {other}; choose another port");
                return Err(source.complain(key, &problem));
            }
        }
    }
    let range = &relay.relay_ports;
    let inside = |listen: &&Listen| range.contains(&listen.addr.port());
    match relay.listen_udp.iter().find(inside) {
        Some(listen) => {
            let problem = format!(
                "{} is within turn.relay_ports; choose another port",
                listen.addr
            );
            Err(source.complain("turn.listen_udp", &problem))
        }
        None => Ok(()),
    }
}

fn log(source: &Source, raw: &Raw) -> Result<logging::Settings, ConfigError> {
    Ok(logging::Settings {
        level: source.check("log.level", raw.log.level.parse())?,
        format: source.check("log.format", values::word(&raw.log.format, &FORMATS))?,
    })
}

/// What was typed, with what `auto` became and without the secrets.
fn effective(mut raw: Raw, config: &Config) -> Raw {
    let redacted = |count: usize| List(vec!["[redacted]".to_owned(); count]);
    raw.profile = config.profile.name().to_owned();
    let external =
        config
            .relay
            .external
            .iter()
            .map(|address| match address.public == address.local {
                true => address.public.to_string(),
                false => format!("{}/{}", address.public, address.local),
            });
    raw.turn.external_ip = List(external.collect());
    raw.turn.host = config.relay_host.clone();
    raw.turn.workers = u16::try_from(config.relay.workers).unwrap_or(u16::MAX);
    raw.turn.users = redacted(raw.turn.users.0.len().min(config.credentials.users.len()));
    raw.credentials.previous_secrets = redacted(raw.credentials.previous_secrets.0.len());
    if !raw.credentials.secret.is_empty() {
        raw.credentials.secret = "[redacted]".to_owned();
    }
    raw
}

const DAY: Duration = Duration::from_secs(24 * 3600);
const AUTH: [(&str, Auth); 2] = [("required", Auth::Required), ("none", Auth::None)];
const CHANNELS: [(&str, ChannelRange); 2] = [
    ("rfc8656", ChannelRange::Rfc8656),
    ("rfc5766", ChannelRange::Rfc5766),
];
const FORMATS: [(&str, logging::Format); 2] = [
    ("human", logging::Format::Human),
    ("json", logging::Format::Json),
];

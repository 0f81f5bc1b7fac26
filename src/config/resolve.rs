//! From what was typed to what it means. Every refusal names its key and the fix.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use super::external::{self, External};
use super::host::Host;
use super::raw::{AUTO, List, Raw};
use super::source::{ConfigError, Source};
use super::{Config, Profile, relaying, secrets, values};
use crate::http;
use crate::logging;
use crate::relay::{self, Listen};
use crate::signaling;

/// Builds every wing's settings.
pub(super) fn resolve(source: &Source, host: &Host) -> Result<Config, ConfigError> {
    let raw = source.raw()?;
    let external = external(source, &raw, host)?;
    let (profile, profile_reason) = profile(source, &raw, &external)?;
    let credentials = secrets::credentials(source, &raw, profile)?;
    let relay_host = relaying::relay_host(source, &raw, &external)?;
    let relay = relaying::relay(source, &raw, host, &external, profile, &relay_host)?;
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
    if raw.turn.external_ip.0.is_empty() || raw.turn.external_ip.is_auto() {
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

/// Where HTTP is served: at least one address.
pub(super) fn http_listeners(source: &Source, raw: &Raw) -> Result<Vec<Listen>, ConfigError> {
    let listen = relaying::listeners(source, "http.listen", &raw.http.listen)?;
    if listen.is_empty() {
        return Err(source.complain("http.listen", &"must not be empty; write 0.0.0.0:3001"));
    }
    Ok(listen)
}

fn http(source: &Source, raw: &Raw) -> Result<http::Settings, ConfigError> {
    let origins = values::origins(&raw.http.allowed_origins.0);
    Ok(http::Settings {
        listen: http_listeners(source, raw)?,
        allowed_origins: source.check("http.allowed_origins", origins)?,
    })
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
    if !raw.turn.users.is_auto() {
        raw.turn.users = List::default();
    }
    raw.credentials.previous_secrets = List::default();
    raw.credentials.secret = String::new();
    raw
}

const DAY: Duration = Duration::from_secs(24 * 3600);
const FORMATS: [(&str, logging::Format); 2] = [
    ("human", logging::Format::Human),
    ("json", logging::Format::Json),
];

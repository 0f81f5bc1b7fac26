//! From what was typed to what it means. Every refusal names its key and the fix.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::access::Rules;
use super::external::{self, External};
use super::host::Host;
use super::raw::{AUTO, List, Raw};
use super::reload::Loaded;
use super::source::{ConfigError, Source};
use super::{Config, Profile, access, acme, certificate, limits, relaying, secrets, values};
use crate::http;
use crate::logging;
use crate::relay::{self, Listen, tls::Identity};
use crate::signaling;

/// Builds every wing's settings.
pub(super) fn resolve(source: &Source, host: &Host) -> Result<Config, ConfigError> {
    let raw = source.raw()?;
    let external = external(source, &raw, host)?;
    let (profile, profile_reason) = profile(source, &raw, &external)?;
    let credentials = secrets::credentials(source, &raw, profile)?;
    let relay_host = relaying::relay_host(source, &raw, &external)?;
    let acme = acme::settings(source, &raw)?;
    let authority = acme.as_ref();
    let turn_identity = certificate::of_turn(source, &raw, authority, &external, &relay_host)?;
    let http_identity = certificate::of_http(source, &raw, authority)?;
    let relay = relaying::relay(source, &raw, host, &external, profile, &turn_identity)?;
    let rules = access::rules(source, &raw)?;
    let (http, random_admin_token) = http(source, &raw, profile, &rules, http_identity.as_ref())?;
    check_ports(source, &http, &relay, acme.as_ref())?;
    let relayed = external.addresses.iter().map(|address| address.public);
    let relayed = relayed.collect();
    let config = Config {
        profile,
        profile_reason,
        signaling: signaling(source, &raw, &rules, relayed)?,
        store: access::store(source, &raw)?,
        http,
        random_admin_token,
        unused_jwt_secret: rules.unused_secret,
        acme,
        http_identity,
        turn_identity,
        random_secret: raw.credentials.secret.is_empty() && raw.credentials.secret_file.is_empty(),
        drain: drain(source, &raw)?,
        log: log(source, &raw)?,
        external_origin: external.origin,
        effective: Raw::default(),
        loaded: Loaded::default(),
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

/// The settings, and whether the administrator's token was made just now.
fn http(
    source: &Source,
    raw: &Raw,
    profile: Profile,
    rules: &Rules,
    identity: Option<&Identity>,
) -> Result<(http::Settings, bool), ConfigError> {
    let origins = values::origins(&raw.http.allowed_origins.0);
    let proxies = values::networks(&raw.http.trusted_proxies.0);
    let (admin_token, is_random) = secrets::admin_token(source, raw)?;
    let settings = http::Settings {
        listen: http_listeners(source, raw)?,
        tls: identity
            .map(|identity| certificate::shown(source, identity))
            .transpose()?,
        metrics_listen: relaying::listeners(source, "metrics.listen", &raw.metrics.listen)?,
        allowed_origins: source.check("http.allowed_origins", origins)?,
        access: rules.access.clone(),
        admin_token,
        admin_open_to_loopback: profile == Profile::Development,
        trusted_proxies: source.check("http.trusted_proxies", proxies)?,
        connections: limits::size(raw.limits.connections),
        connections_per_source: limits::connections_per_source(source, raw),
        credentials_per_minute: limits::credentials_per_minute(source, raw),
    };
    Ok((settings, is_random))
}

fn signaling(
    source: &Source,
    raw: &Raw,
    rules: &Rules,
    relayed: Vec<IpAddr>,
) -> Result<signaling::Settings, ConfigError> {
    let grace = values::duration(&raw.credentials.revocation_grace, Duration::ZERO..=DAY);
    Ok(signaling::Settings {
        revocation_grace: source.check("credentials.revocation_grace", grace)?,
        recovery: limits::recovery(source, raw)?,
        limits: limits::signaling(source, raw)?,
        access: rules.access.clone(),
        host_only: rules.host_only,
        relayed,
    })
}

/// No two listeners want one port, and no relayed address one of theirs.
fn check_ports(
    source: &Source,
    http: &http::Settings,
    relay: &relay::Settings,
    acme: Option<&crate::acme::Settings>,
) -> Result<(), ConfigError> {
    let nowhere = Vec::new();
    let streams = [
        ("acme.listen", acme.map_or(&nowhere, |acme| &acme.listen)),
        ("http.listen", &http.listen),
        ("metrics.listen", &http.metrics_listen),
        ("turn.listen_tcp", &relay.listen_tcp),
        ("turn.listen_tls", &relay.listen_tls),
    ];
    let alternates = relay.alternates();
    let datagrams = [
        ("turn.listen_udp", &relay.listen_udp),
        ("turn.listen_dtls", &relay.listen_dtls),
        ("turn.alternate_port", &alternates),
    ];
    check_apart(source, &streams)?;
    check_apart(source, &datagrams)?;
    let range = &relay.relay_ports;
    for (key, listeners) in datagrams {
        let inside = |listen: &&Listen| range.contains(&listen.addr.port());
        if let Some(listen) = listeners.iter().find(inside) {
            let problem = format!(
                "{} is within turn.relay_ports; choose another port",
                listen.addr
            );
            return Err(source.complain(key, &problem));
        }
    }
    Ok(())
}

fn check_apart(source: &Source, groups: &[(&str, &Vec<Listen>)]) -> Result<(), ConfigError> {
    let mut taken: HashMap<SocketAddr, &str> = HashMap::new();
    for (key, listeners) in groups {
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
    Ok(())
}

fn drain(source: &Source, raw: &Raw) -> Result<Duration, ConfigError> {
    let drain = values::duration(&raw.shutdown.drain, Duration::ZERO..=DAY);
    source.check("shutdown.drain", drain)
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
    raw.turn.workers = u32::try_from(config.relay.workers).unwrap_or(u32::MAX);
    if !raw.turn.users.is_auto() {
        raw.turn.users = List::default();
    }
    raw.credentials.previous_secrets = List::default();
    raw.turn.oauth_keys = List::default();
    for secret in [
        &mut raw.http.admin_token,
        &mut raw.access.jwt_secret,
        &mut raw.store.redis_url,
        &mut raw.credentials.secret,
    ] {
        secret.clear();
    }
    raw
}

const DAY: Duration = Duration::from_secs(24 * 3600);
const FORMATS: [(&str, logging::Format); 2] = [
    ("human", logging::Format::Human),
    ("json", logging::Format::Json),
];

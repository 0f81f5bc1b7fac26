//! `[turn]` and `[peers]`: the relay's settings.

use std::{net::SocketAddr, ops::RangeInclusive, sync::Arc};

use super::alternate;
use super::external::External;
use super::host::Host;
use super::keys::default_entries;
use super::oauth;
use super::raw::{AUTO, List, Raw};
use super::source::{ConfigError, Source};
use super::{Profile, limits, values};
use crate::entropy;
use crate::logging::Redacted;
use crate::relay::engine::{
    Auth, ChannelRange, PortSharing, allocate::LIFETIMES, policy::PeerPolicy, share::Share,
    signaled::PeerMode,
};
use crate::relay::tls::{Certificate, Identity};
use crate::relay::{self, Listen};

/// The name or address in URLs; IPv6 in brackets.
pub(super) fn relay_host(
    source: &Source,
    raw: &Raw,
    external: &External,
) -> Result<String, ConfigError> {
    if !matches!(raw.turn.host.as_str(), "" | AUTO) {
        return source.check("turn.host", values::host(&raw.turn.host));
    }
    // The certificate is for this name.
    if let Some(domain) = raw.acme.domains.0.first() {
        return source.check("acme.domains", values::host(domain));
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

/// The relay's listeners, ports, peers and rules.
pub(super) fn relay(
    source: &Source,
    raw: &Raw,
    host: &Host,
    external: &External,
    profile: Profile,
    identity: &Identity,
) -> Result<relay::Settings, ConfigError> {
    let turn = &raw.turn;
    let listen_udp = listeners(source, "turn.listen_udp", &turn.listen_udp)?;
    let listen_tcp = listeners(source, "turn.listen_tcp", &turn.listen_tcp)?;
    let listen_tls = listeners(source, "turn.listen_tls", &turn.listen_tls)?;
    let listen_dtls = listeners(source, "turn.listen_dtls", &turn.listen_dtls)?;
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
        translated: external
            .addresses
            .iter()
            .filter(|own| own.public != own.local)
            .map(|own| (own.public, own.local))
            .collect(),
        own_addresses: host.interfaces.iter().map(|own| own.ip).collect(),
        // Known when they are bound.
        own_listeners: Vec::new(),
    };
    let port_sharing = values::word(&turn.port_sharing, &PORT_SHARING);
    let port_sharing = source.check("turn.port_sharing", port_sharing)?;
    let software = source.check("turn.software", values::short_text(&turn.software))?;
    let certificate = Certificate::load(identity.clone());
    let certificate = source.check("turn.tls_cert_file", certificate)?;
    Ok(relay::Settings {
        tls: source.check("turn.tls_cert_file", certificate.tls())?,
        dtls: certificate.dtls(),
        listen_udp,
        alternate_port: (turn.alternate_port != 0).then_some(turn.alternate_port),
        listen_tcp,
        listen_tls,
        listen_dtls,
        external: external.addresses.clone(),
        workers: workers(source, raw, host, &relay_ports, port_sharing)?,
        relay_ports,
        icmp: turn.icmp,
        limits: limits::relay(source, raw),
        engine: relay::engine::Settings {
            // Known when it is bound.
            discovery: Vec::new(),
            auth: auth(source, raw, profile)?,
            channels: source.check("turn.channels", values::word(&turn.channels, &CHANNELS))?,
            lifetimes: LIFETIMES,
            software: (!software.is_empty()).then_some(software),
            strict_expiry: raw.credentials.strict_expiry,
            policy,
            peer_mode: source.check("peers.mode", values::word(&raw.peers.mode, &PEER_MODES))?,
            alternates: source.check(
                "turn.alternate_servers",
                alternate::parse(&turn.alternate_servers.0),
            )?,
            tokens: oauth::tokens(source, raw)?,
            nonce_key: Redacted::new(entropy::bytes()),
            tcp_relay: turn.tcp_relay,
            share: Share::ALONE,
            mobility: turn.mobility,
            port_sharing,
            // Known when the relay starts.
            relayed: Arc::default(),
        },
    })
}

/// A worker's clients can only share ports that it has: each needs one.
fn workers(
    source: &Source,
    raw: &Raw,
    host: &Host,
    relay_ports: &RangeInclusive<u16>,
    port_sharing: PortSharing,
) -> Result<usize, ConfigError> {
    let ports = match port_sharing {
        PortSharing::Never => usize::MAX,
        PortSharing::WhenFull | PortSharing::Always => relay_ports.len(),
    };
    let problem = match usize::try_from(raw.turn.workers).unwrap_or(usize::MAX) {
        0 => return Ok(host.cores.clamp(1, ports.min(WORKERS_MAX))),
        workers if workers > WORKERS_MAX => {
            format!("must be at most {WORKERS_MAX}; 0 is one for each core")
        }
        workers if workers > ports => format!(
            "must be at most {ports}, one for each port of turn.relay_ports; or write port_sharing = \"never\""
        ),
        workers => return Ok(workers),
    };
    Err(source.complain("turn.workers", &problem))
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

/// Typed ones are required; of the defaults, those of a family that the machine has.
pub(super) fn listeners(
    source: &Source,
    key: &str,
    entries: &List,
) -> Result<Vec<Listen>, ConfigError> {
    let example = || match default_entries(key) {
        // Only metrics are on no address of their own unless somebody wants them to be.
        none if none.is_empty() => "127.0.0.1:9478".to_owned(),
        entries => entries.join(" or "),
    };
    source.check(
        key,
        values::listeners(&entries.0, source.is_typed(key), example),
    )
}

const WORKERS_MAX: usize = 256;
const AUTH: [(&str, Auth); 2] = [("required", Auth::Required), ("none", Auth::None)];
const PEER_MODES: [(&str, PeerMode); 3] = [
    ("any", PeerMode::Any),
    ("observe", PeerMode::Observe),
    ("signaled", PeerMode::Signaled),
];
const PORT_SHARING: [(&str, PortSharing); 3] = [
    ("when_full", PortSharing::WhenFull),
    ("always", PortSharing::Always),
    ("never", PortSharing::Never),
];
const CHANNELS: [(&str, ChannelRange); 2] = [
    ("rfc8656", ChannelRange::Rfc8656),
    ("rfc5766", ChannelRange::Rfc5766),
];

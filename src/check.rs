//! `setu check`: whether configuration and surroundings let a server serve, in one line for each thing looked at.
//!
//! It works beside a running server, which it then tries out, and before the first start: then it starts a relay on the
//! same addresses for the moment. Each file gathers facts and judges them; the judging is pure.

mod certificate;
mod dtls;
mod external;
mod firewall;
mod http;
mod kernel;
mod link;
mod listeners;
mod name;
mod range;
mod reach;
mod redis;
mod relaying;
mod report;
mod secrets;
mod sockets;
mod stage;
mod time;
mod turn;
mod web;
mod x509;

pub use report::{Finding, Report, Status};

use std::{ffi::OsString, net::IpAddr, path::Path};

use tokio::net::lookup_host;

use crate::config::{self, Config, host::Host};
use crate::relay::engine::five_tuple::Transport;
use firewall::Firewall;
use http::Site;
use listeners::Doors;
use sockets::Sockets;
use stage::Stage;
use time::Witness;
use turn::Client;

/// Whom to ask besides, and what is expected.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A STUN server elsewhere, as `host:port`: how does the internet see this machine?
    pub stun: Option<String>,
    /// An NTP server, as `host` or `host:port`.
    pub ntp: Option<String>,
    /// A web server, as `http://host/`, for its `Date`.
    pub date: Option<String>,
    /// How many people are relayed to each other at a time.
    pub people: Option<u32>,
}

/// Looks at everything. Where the configuration is refused, that is the one finding.
pub async fn run(
    path: Option<&Path>,
    env: impl Iterator<Item = (OsString, OsString)>,
    options: &Options,
) -> Report {
    let mut report = Report::default();
    let config = match config::load(path, env) {
        Ok(config) => config,
        Err(error) => {
            report.push(refused(&error.to_string()));
            return report;
        }
    };
    let source = path.map_or("turn.toml, if there is one".to_owned(), |path| {
        path.display().to_string()
    });
    report.push(Finding::ok(
        "configuration",
        format!("it makes sense ({source}, and the environment)"),
    ));
    report.push(Finding::ok(
        "profile",
        format!("{}: {}", config.profile.name(), config.profile_reason),
    ));
    let (host, sockets) = (Host::read(), Sockets::read());
    let mut doors = Doors::try_all(&config, &sockets);
    let site = Site::of(&config);
    let health = match site {
        Some(site) => site.health().await,
        None => None,
    };
    if health.is_some() {
        doors.hidden_are_ours();
    }
    let is_running = doors.is_running();
    report.extend(doors.all().map(|door| door.judge(is_running)));
    if let Some(site) = site.filter(|_| is_running) {
        report.push(site.ready().await);
    }
    let witnesses = surroundings(&config, &host, &sockets, &doors, options, &mut report).await;
    report.extend(secrets::examine(&config));
    let (finding, ahead) = redis::look(&config).await;
    report.push(finding);
    report.push(kernel::buffers());
    report.push(kernel::descriptors(&config, doors.process()));
    let mut witnesses = [witnesses, time::of_this_machine(path)].concat();
    witnesses.extend(ahead.map(|ahead| Witness::new("Redis", ahead)));
    witnesses.extend(health.and_then(|health| {
        let moment = humantime::parse_rfc3339(health["timestamp"].as_str()?).ok();
        time::heard("the running server", moment)
    }));
    report.push(clock(options, witnesses).await);
    report
}

/// Everything that packets go through.
async fn surroundings(
    config: &Config,
    host: &Host,
    sockets: &Sockets,
    doors: &Doors,
    options: &Options,
    report: &mut Report,
) -> Vec<Witness> {
    let firewall = Firewall::read();
    let stage = match Stage::set(config, doors).await {
        Ok(stage) => stage,
        Err(error) => {
            let fix = "free the port, or set another; the other lines may say why";
            report.push(Finding::failure("relay", error.to_string(), fix));
            return Vec::new();
        }
    };
    let seen = seen(config, options).await;
    let probes = reach::probe(config, host, &stage).await;
    report.extend(external::examine(config, host, &probes, &seen));
    report.extend(reach::judge(config, &stage, &probes, &firewall));
    report.push(firewall::judge(config, host, &stage, &firewall));
    report.push(range::size(
        &config.relay.relay_ports,
        config.relay.engine.port_sharing,
        options.people,
    ));
    report.push(range::examine(
        config,
        host,
        sockets,
        doors.process(),
        &firewall,
    ));
    report.push(name::examine(config).await);
    report.extend(certificate::examine(config, &stage).await);
    report.extend(relaying::examine(config, &stage, &probes).await);
    stage.strike().await;
    let issued = certificate::not_before(config);
    let witness =
        issued.and_then(|moment| Witness::since("the first day of the certificate", moment));
    witness.into_iter().collect()
}

fn refused(error: &str) -> Finding {
    let (found, fix) = error
        .rsplit_once("; ")
        .unwrap_or((error, "correct it there; turn.toml explains every key"));
    Finding::failure("configuration", found, fix)
}

/// How a STUN server sees this machine, in each family that clients are told: whether IPv4, and the address.
async fn seen(config: &Config, options: &Options) -> Vec<(bool, Result<IpAddr, String>)> {
    let Some(server) = &options.stun else {
        return Vec::new();
    };
    let mut seen = Vec::new();
    let found = lookup_host(server.as_str())
        .await
        .map(Iterator::collect::<Vec<_>>);
    for is_v4 in [true, false] {
        if !config.external_ips().any(|ip| ip.is_ipv4() == is_v4) {
            continue;
        }
        match &found {
            Ok(addrs) => {
                let Some(addr) = addrs.iter().find(|addr| addr.is_ipv4() == is_v4) else {
                    continue;
                };
                let asked = async {
                    Client::connect(Transport::Udp, *addr)
                        .await?
                        .binding()
                        .await
                };
                let answer = asked
                    .await
                    .map(|addr| addr.ip())
                    .map_err(|error| error.to_string());
                seen.push((is_v4, answer));
            }
            Err(error) => seen.push((is_v4, Err(error.to_string()))),
        }
    }
    seen
}

async fn clock(options: &Options, mut witnesses: Vec<Witness>) -> Finding {
    let mut failed = Vec::new();
    if let Some(server) = &options.ntp {
        match time::ntp(server).await {
            Ok(witness) => witnesses.push(witness),
            Err(error) => failed.push((format!("the NTP server {server}"), error.to_string())),
        }
    }
    if let Some(url) = &options.date {
        match time::date(url).await {
            Ok(witness) => witnesses.push(witness),
            Err(error) => failed.push((url.clone(), error.to_string())),
        }
    }
    time::judge(&witnesses, &failed)
}

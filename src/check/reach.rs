//! Whether the listeners are reached at the addresses that clients are told.

use std::net::SocketAddr;

use super::firewall::{Firewall, Packet};
use super::report::Finding;
use super::sockets::Protocol;
use super::stage::Stage;
use super::turn::{Client, Trouble};
use crate::config::{Config, host::Host};
use crate::relay::engine::five_tuple::Transport;

/// What came of asking at one external address over one transport.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    pub(super) over: Transport,
    pub(super) addr: SocketAddr,
    /// Whether an interface of this machine has the address.
    pub(super) is_here: bool,
    /// Whether the server that answers is ours; an answer alone would be anybody's.
    pub(super) answer: Result<(), String>,
}

pub(super) const TRANSPORTS: [Transport; 4] = [
    Transport::Udp,
    Transport::Tcp,
    Transport::Tls,
    Transport::Dtls,
];

/// Asks at every external address over every transport.
pub(super) async fn probe(config: &Config, host: &Host, stage: &Stage) -> Vec<Probe> {
    let over = async |over| {
        let mut probes = Vec::new();
        for external in &config.relay.external {
            let Some(addr) = stage.outside(over, external) else {
                continue;
            };
            let is_here = host.has(addr.ip());
            let answer = ask(over, addr, is_here, stage).await;
            probes.push(Probe {
                over,
                addr,
                is_here,
                answer,
            });
        }
        probes
    };
    // What does not answer takes its time.
    let [udp, tcp, tls, dtls] = TRANSPORTS.map(over);
    let (udp, tcp, tls, dtls) = tokio::join!(udp, tcp, tls, dtls);
    [udp, tcp, tls, dtls].concat()
}

async fn ask(
    over: Transport,
    addr: SocketAddr,
    is_here: bool,
    stage: &Stage,
) -> Result<(), String> {
    let asked = async {
        let mut client = Client::connect(over, addr).await?;
        client.binding().await?;
        if is_here {
            return Ok(());
        }
        let mut refused = Ok(());
        for (_, login) in &stage.logins {
            match client.allocate(login, addr).await {
                Ok(_) => {
                    client.release().await;
                    return Ok(());
                }
                Err(trouble) => refused = Err(trouble),
            }
            client = Client::connect(over, addr).await?;
        }
        refused
    };
    asked.await.map_err(|trouble: Trouble| match trouble {
        Trouble::Code(401) => "another server answers there: it refuses our credential".to_owned(),
        trouble @ (Trouble::Silence | Trouble::Io(_) | Trouble::Code(_) | Trouble::Nonsense) => {
            trouble.to_string()
        }
    })
}

/// One line for each transport that anything listens for.
pub(super) fn judge(
    config: &Config,
    stage: &Stage,
    probes: &[Probe],
    firewall: &Firewall,
) -> Vec<Finding> {
    let judged = TRANSPORTS.into_iter().filter_map(|over| {
        if stage.listeners(over).is_empty() {
            return None;
        }
        let probes: Vec<_> = probes.iter().filter(|probe| probe.over == over).collect();
        Some(judge_one(config, over, &probes, firewall))
    });
    judged.collect()
}

fn judge_one(config: &Config, over: Transport, probes: &[&Probe], firewall: &Firewall) -> Finding {
    let (check, key, name) = names(over);
    let is_outside = !config.external_ips().all(|ip| ip.is_loopback());
    let Some(first) = probes.first() else {
        let told: Vec<_> = config.external_ips().map(|ip| ip.to_string()).collect();
        let found = format!(
            "nothing listens over {name} at the address that clients are told, {}",
            told.join(", ")
        );
        return match is_outside {
            true => Finding::failure(
                check,
                found,
                format!("set {key} to 0.0.0.0 or that address, with its port"),
            ),
            false => Finding::note(check, found),
        };
    };
    let failed = |probe: &&&Probe| probe.answer.is_err();
    if let Some(probe) = probes.iter().filter(|probe| probe.is_here).find(failed) {
        return unanswered(check, name, probe, firewall);
    }
    let unknown = probes.iter().find(failed);
    if let Some(Probe { addr, answer, .. }) = unknown {
        let reason = answer.as_ref().err().map_or("", String::as_str);
        let found = format!(
            "{addr} can't be tried from here ({reason}): the router does not lead this machine back to itself"
        );
        let port = format!("{}/{}", addr.port(), Protocol::of(over).name());
        return Finding::note(check, found).with_fix(format!(
            "forward {port} of {} to this machine, and try from elsewhere",
            addr.ip()
        ));
    }
    let through = if first.is_here {
        ""
    } else {
        ", through the router"
    };
    let addrs: Vec<_> = probes.iter().map(|probe| probe.addr.to_string()).collect();
    Finding::ok(
        check,
        format!("{} answers over {name}{through}", addrs.join(", ")),
    )
}

/// This machine does not reach itself.
fn unanswered(check: &'static str, name: &str, probe: &Probe, firewall: &Firewall) -> Finding {
    let addr = probe.addr;
    let reason = probe.answer.as_ref().err().map_or("", String::as_str);
    let protocol = Protocol::of(probe.over);
    let (cause, fix) = match firewall.closes(&Packet::to(protocol, addr)) {
        Some(closed) => (
            format!(
                "{} is blocked, {}",
                protocol.name().to_uppercase(),
                closed.by
            ),
            closed.fix(&format!("{} dport {}", protocol.name(), addr.port())),
        ),
        None => {
            let port = format!("{}/{}", addr.port(), protocol.name());
            (
                format!("something on this machine blocks {name}"),
                format!("let {port} in (nft list ruleset shows the firewall; ufw allow {port})"),
            )
        }
    };
    let found = format!("no answer from {addr} over {name} ({reason}): {cause}");
    Finding::failure(check, found, fix)
}

/// The check, the key and the word for a transport.
fn names(over: Transport) -> (&'static str, &'static str, &'static str) {
    match over {
        Transport::Udp => ("reach.udp", "turn.listen_udp", "UDP"),
        Transport::Tcp => ("reach.tcp", "turn.listen_tcp", "TCP"),
        Transport::Tls => ("reach.tls", "turn.listen_tls", "TLS"),
        Transport::Dtls => ("reach.dtls", "turn.listen_dtls", "DTLS"),
    }
}

//! A real allocation with a real credential, which relays a packet to itself.

use std::{net::SocketAddr, time::Duration};

use super::reach::{Probe, TRANSPORTS};
use super::report::Finding;
use super::sockets::Protocol;
use super::stage::{Source, Stage};
use super::turn::{Client, Login, Trouble};
use crate::clock::Now;
use crate::config::Config;
use crate::entropy;
use crate::relay::engine::five_tuple::Transport;

/// One line for each transport that anything listens for.
pub(super) async fn examine(config: &Config, stage: &Stage, probes: &[Probe]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for over in TRANSPORTS {
        if let Some(server) = server(over, stage, probes) {
            findings.push(judge(over, config, stage, run(over, server, stage).await));
        }
    }
    findings
}

/// The way that clients go, where it leads anywhere.
fn server(over: Transport, stage: &Stage, probes: &[Probe]) -> Option<SocketAddr> {
    let mut answered = probes
        .iter()
        .filter(|probe| probe.over == over && probe.answer.is_ok());
    let outside = answered.next().map(|probe| probe.addr);
    outside.or_else(|| stage.inside(over))
}

/// What happened: with which credential, and how long the packet took.
#[derive(Debug)]
struct Run {
    server: SocketAddr,
    /// Credentials that the server refused before.
    refused: Vec<Source>,
    outcome: Result<Relayed, (Step, Trouble)>,
}

#[derive(Debug)]
struct Relayed {
    address: SocketAddr,
    micros: u128,
}

/// How far it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Connect,
    Allocate,
    Permit,
    Relay,
}

async fn run(over: Transport, server: SocketAddr, stage: &Stage) -> Run {
    let mut refused = Vec::new();
    for (source, login) in &stage.logins {
        match relay(over, server, login).await {
            Err((Step::Allocate, Trouble::Code(401))) => refused.push(*source),
            outcome => {
                return Run {
                    server,
                    refused,
                    outcome,
                };
            }
        }
    }
    Run {
        server,
        refused,
        outcome: Err((Step::Allocate, Trouble::Code(401))),
    }
}

async fn relay(
    over: Transport,
    server: SocketAddr,
    login: &Login,
) -> Result<Relayed, (Step, Trouble)> {
    let at = |step| move |trouble| (step, trouble);
    let connected = Client::connect(over, server).await;
    let mut client = connected.map_err(at(Step::Connect))?;
    let allocated = client.allocate(login, server).await;
    let address = allocated.map_err(at(Step::Allocate))?;
    let permitted = client.permit(address).await;
    permitted.map_err(at(Step::Permit))?;
    let payload: [u8; 32] = entropy::bytes();
    let began = Now::read().mono;
    let mut heard = Err(Trouble::Silence);
    for wait in WAITS {
        let sent = client.send(address, &payload).await;
        sent.map_err(at(Step::Relay))?;
        heard = client.hears(&payload, wait).await;
        if !matches!(heard, Err(Trouble::Silence)) {
            break;
        }
    }
    let micros = Now::read().mono.duration_since(began).as_micros();
    client.release().await;
    heard.map_err(at(Step::Relay))?;
    Ok(Relayed { address, micros })
}

/// Datagrams may be lost.
const WAITS: [Duration; 3] = [
    Duration::from_millis(300),
    Duration::from_millis(600),
    Duration::from_millis(900),
];

fn judge(over: Transport, config: &Config, stage: &Stage, run: Run) -> Finding {
    let (check, name) = names(over);
    let server = run.server;
    match run.outcome {
        Ok(relayed) if run.refused.contains(&Source::Secret) => restart(check, &relayed),
        Ok(Relayed { address, micros }) => Finding::ok(
            check,
            format!(
                "a packet went through {server} over {name} to its own relayed address {address} and back in {}.{} ms",
                micros / 1000,
                micros % 1000 / 100
            ),
        ),
        Err((step, trouble)) => failed(over, config, stage, server, step, &trouble),
    }
}

fn failed(
    over: Transport,
    config: &Config,
    stage: &Stage,
    server: SocketAddr,
    step: Step,
    trouble: &Trouble,
) -> Finding {
    let (check, name) = names(over);
    let range = &config.relay.relay_ports;
    let ports = format!("{}-{}", range.start(), range.end());
    match (step, trouble) {
        (Step::Allocate, Trouble::Code(401)) if stage.logins.is_empty() => Finding::note(
            check,
            "not tried: no credential is known here that the running server would accept",
        )
        .with_fix("set credentials.secret, so that check and server have the same"),
        (Step::Allocate, Trouble::Code(401)) => Finding::failure(
            check,
            format!("{server} refuses every credential of this configuration (401)"),
            "restart the server, or kill -HUP its process: it runs with another credentials.secret or turn.realm; and compare the clocks",
        ),
        (Step::Allocate, Trouble::Code(508)) => Finding::failure(
            check,
            format!("{server} has no relayed port left of {ports} (508)"),
            "widen turn.relay_ports, and the firewall with it; or stop what takes these ports",
        ),
        (Step::Allocate, Trouble::Code(code @ (300 | 486))) => Finding::warning(
            check,
            format!("{server} takes no more allocations ({code})"),
            "raise limits.allocations, or wait until some have ended",
        ),
        (Step::Permit, Trouble::Code(403)) => Finding::warning(
            check,
            format!(
                "{server} may not relay to its own relayed addresses (403): two relayed clients never meet"
            ),
            "take the external address out of peers.deny",
        ),
        (Step::Relay, _) => Finding::failure(
            check,
            format!(
                "{server} allocates over {name}, but a packet to its relayed address does not come back ({trouble})"
            ),
            format!("open {ports}/udp in the firewall of this machine, and see turn.external_ip"),
        ),
        (Step::Connect | Step::Allocate | Step::Permit, Trouble::Silence) => Finding::failure(
            check,
            format!(
                "{server} does not answer over {name}: {} is blocked on this machine",
                blocked(over)
            ),
            format!(
                "let {}/{} in: nft list ruleset shows the firewall",
                server.port(),
                Protocol::of(over).name()
            ),
        ),
        (Step::Connect | Step::Allocate | Step::Permit, _) => Finding::failure(
            check,
            format!("{server} relays nothing over {name}: {trouble} to {step:?}"),
            "see the server's log (SETU_LOG__LEVEL=debug)",
        ),
    }
}

fn restart(check: &'static str, relayed: &Relayed) -> Finding {
    Finding::warning(
        check,
        format!(
            "it relays (from {}), but the running server refuses credentials signed with credentials.secret",
            relayed.address
        ),
        "let it load its configuration anew (kill -HUP its process), or restart it: it has another secret",
    )
}

fn names(over: Transport) -> (&'static str, &'static str) {
    match over {
        Transport::Udp => ("relay.udp", "UDP"),
        Transport::Tcp => ("relay.tcp", "TCP"),
        Transport::Tls => ("relay.tls", "TLS"),
        Transport::Dtls => ("relay.dtls", "DTLS"),
    }
}

fn blocked(over: Transport) -> &'static str {
    match Protocol::of(over) {
        Protocol::Udp => "UDP",
        Protocol::Tcp => "TCP",
    }
}

//! Whether this machine's own firewall lets in what must come in: its rules read, and tried on packets that nobody sends.
//!
//! What comes from this very machine, over loopback, proves little: most rulesets let all of that pass.

use std::{io, net::SocketAddr, ops::RangeInclusive, process::Command};

use super::report::Finding;
use super::sockets::Protocol;
use super::stage::Stage;
use crate::config::{Config, host::Host};
use crate::relay::engine::five_tuple::Transport;

mod iptables;
mod nft;
mod rules;

pub(super) use rules::{Closed, Packet};

use rules::{Chain, Verdict};

/// The rules that packets to this machine go through.
#[derive(Debug)]
pub(super) enum Firewall {
    /// Base chains, each of which must accept.
    Rules(Vec<Chain>),
    /// Why they can't be read.
    Hidden(String),
}

impl Firewall {
    /// What `nft` and `iptables-save` print.
    pub(super) fn read() -> Self {
        let nft = run("nft", &["-j", "list", "ruleset"]);
        let saves = ["iptables-save", "ip6tables-save"].map(|program| (program, run(program, &[])));
        let mut chains = Vec::new();
        let mut hidden = None;
        match nft {
            Ok(text) => chains.extend(nft::parse(&text)),
            Err(reason) => hidden = Some(format!("nft: {reason}")),
        }
        for (program, saved) in saves {
            if let Ok(text) = saved {
                hidden = None;
                chains.extend(iptables::parse(&text, program == "iptables-save"));
            }
        }
        match hidden {
            Some(reason) => Self::Hidden(reason),
            None => Self::Rules(chains),
        }
    }

    /// What surely keeps this packet out; where rules can't be judged, nothing does.
    pub(super) fn closes(&self, packet: &Packet) -> Option<Closed> {
        let Self::Rules(chains) = self else {
            return None;
        };
        let mut verdicts = chains.iter().map(|chain| chain.judge(packet));
        verdicts.find_map(|verdict| match verdict {
            Verdict::Closed(closed) => Some(closed),
            Verdict::Open | Verdict::Unknown => None,
        })
    }
}

/// One line: the listeners and the relay's ports, as strangers would come to them.
pub(super) fn judge(config: &Config, host: &Host, stage: &Stage, firewall: &Firewall) -> Finding {
    let chains = match firewall {
        Firewall::Rules(chains) => chains,
        Firewall::Hidden(reason) => {
            let found = format!("its rules can't be read ({reason})");
            return Finding::note(CHECK, found)
                .with_fix("run `setu check` as root to have them looked at");
        }
    };
    if chains.is_empty() {
        return Finding::ok(
            CHECK,
            "no rules on this machine; the provider's firewall can't be seen from here",
        );
    }
    let external: Vec<_> = config.external_ips().collect();
    for (key, over) in LISTENERS {
        let protocol = Protocol::of(over);
        for addr in stage
            .listeners(over)
            .iter()
            .filter(|addr| !addr.ip().is_loopback())
        {
            let mut inside = external.iter().filter(|ip| ip.is_ipv4() == addr.is_ipv4());
            let Some(ip) = inside.next() else { continue };
            let packet = Packet::from_stranger(protocol, SocketAddr::new(*ip, addr.port()), host);
            if let Some(closed) = firewall.closes(&packet) {
                return blocked(protocol, &format!("{} ({key})", addr.port()), &closed);
            }
        }
    }
    let range = &config.relay.relay_ports;
    for ip in external.iter().filter(|ip| !ip.is_loopback()) {
        if let Some((ports, closed)) = closed_ports(firewall, host, *ip, range) {
            return blocked(
                Protocol::Udp,
                &format!("{ports} (turn.relay_ports)"),
                &closed,
            );
        }
        let out = Packet::to_stranger(*ip, *range.start(), host);
        if let Some(closed) = firewall.closes(&out) {
            let found = format!("UDP is blocked on its way out: {}", closed.by);
            let fix = closed.fix(&format!("udp sport {}-{}", range.start(), range.end()));
            return Finding::failure(CHECK, found, fix);
        }
    }
    Finding::ok(
        CHECK,
        "this machine's rules let the listeners and the relay's ports in; the provider's firewall can't be seen from here",
    )
}

/// The first run of relay ports that stay closed.
fn closed_ports(
    firewall: &Firewall,
    host: &Host,
    ip: std::net::IpAddr,
    range: &RangeInclusive<u16>,
) -> Option<(String, Closed)> {
    let step = (range.len() / PORTS_TRIED_MAX).max(1);
    let mut closed = None;
    let (mut first, mut last) = (0, 0);
    for port in range.clone().step_by(step).chain([*range.end()]) {
        let packet = Packet::from_stranger(Protocol::Udp, SocketAddr::new(ip, port), host);
        match firewall.closes(&packet) {
            Some(found) if closed.is_none() => {
                (first, last) = (port, port);
                closed = Some(found);
            }
            Some(_) => last = port,
            None if closed.is_some() => break,
            None => {}
        }
    }
    Some((format!("{first}-{last}"), closed?))
}

fn blocked(protocol: Protocol, ports: &str, closed: &Closed) -> Finding {
    let name = protocol.name();
    let number = ports.split(' ').next().unwrap_or(ports);
    Finding::failure(
        CHECK,
        format!(
            "{} to port {ports} is blocked: {}",
            name.to_uppercase(),
            closed.by
        ),
        closed.fix(&format!("{name} dport {number}")),
    )
}

const CHECK: &str = "firewall";
/// Browsers have no use for DTLS.
const LISTENERS: [(&str, Transport); 3] = [
    ("turn.listen_udp", Transport::Udp),
    ("turn.listen_tcp", Transport::Tcp),
    ("turn.listen_tls", Transport::Tls),
];
/// A range may have 64,511.
const PORTS_TRIED_MAX: usize = 512;

/// What a program prints. One that is not there has no rules to print.
fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let path = ["/usr/sbin", "/sbin", "/usr/bin"].map(|folder| format!("{folder}/{program}"));
    let mut outputs = path
        .iter()
        .map(|path| Command::new(path).args(arguments).output());
    let ran = outputs
        .find(|output| !matches!(output, Err(error) if error.kind() == io::ErrorKind::NotFound));
    let output = match ran {
        None => return Err("not installed".to_owned()),
        Some(output) => output.map_err(|error| error.to_string())?,
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(said.lines().next().unwrap_or("it failed").to_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

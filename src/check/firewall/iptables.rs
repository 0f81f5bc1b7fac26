//! What `iptables-save` prints, read as [`Chain`]s: the INPUT and OUTPUT of its filter table.

use std::{collections::HashMap, ops::RangeInclusive, sync::Arc};

use ipnet::IpNet;

use super::rules::{Action, Chain, Match, Rule, Syntax};
use crate::check::sockets::Protocol;

pub(super) fn parse(text: &str, is_v4: bool) -> Vec<Chain> {
    let filter = text
        .lines()
        .skip_while(|line| *line != "*filter")
        .take_while(|line| *line != "COMMIT");
    let mut policies: HashMap<&str, &str> = HashMap::new();
    let mut rules: HashMap<String, Vec<Rule>> = HashMap::new();
    for line in filter {
        if let Some((chain, rest)) = line.strip_prefix(':').and_then(|line| line.split_once(' ')) {
            policies.insert(chain, rest.split(' ').next().unwrap_or_default());
        } else if let Some((chain, rest)) = line
            .strip_prefix("-A ")
            .and_then(|line| line.split_once(' '))
        {
            rules.entry(chain.to_owned()).or_default().push(read(rest));
        }
    }
    let program = if is_v4 { "iptables" } else { "ip6tables" };
    let rules = Arc::new(rules);
    let chain = |(name, is_in): (&str, bool)| Chain {
        name: format!("{program} {name}"),
        is_in,
        families: (is_v4, !is_v4),
        drops_by_default: policies.get(name) == Some(&"DROP"),
        rules: rules.get(name).cloned().unwrap_or_default(),
        others: Arc::clone(&rules),
        syntax: Syntax::Iptables,
    };
    [("INPUT", true), ("OUTPUT", false)].map(chain).to_vec()
}

fn read(text: &str) -> Rule {
    let mut words = text.split(' ');
    let mut matches = Vec::new();
    let (mut action, mut negated) = (Action::Nothing, false);
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_default();
        let one = match word {
            "!" => {
                negated = true;
                continue;
            }
            // What it adds follows as options.
            "-m" if KNOWN_MATCHES.contains(&value()) => continue,
            "-j" => {
                action = target(value());
                break;
            }
            "-g" => {
                action = Action::Goto(value().to_owned());
                break;
            }
            "-p" => protocol(value(), negated),
            "--dport" | "--dports" => ports(value(), negated),
            "-d" => value()
                .parse::<IpNet>()
                .map_or(Match::Unknown, |net| Match::Address(vec![net], negated)),
            "-i" | "-o" => Match::Interface(vec![value().to_owned()], negated),
            "--ctstate" | "--state" => {
                Match::New(value().split(',').any(|state| state == "NEW") != negated)
            }
            _ => Match::Unknown,
        };
        matches.push(one);
        negated = false;
    }
    Rule {
        matches,
        action,
        text: text.to_owned(),
    }
}

const KNOWN_MATCHES: [&str; 6] = ["udp", "tcp", "multiport", "conntrack", "state", "comment"];

fn target(name: &str) -> Action {
    match name {
        "ACCEPT" => Action::Accept,
        "DROP" | "REJECT" => Action::Drop,
        "RETURN" => Action::Return,
        "LOG" | "NFLOG" | "MARK" | "CONNMARK" | "TRACE" => Action::Nothing,
        chain => Action::Jump(chain.to_owned()),
    }
}

fn protocol(name: &str, negated: bool) -> Match {
    match name {
        "udp" | "17" => Match::Protocol(vec![17], negated),
        "tcp" | "6" => Match::Protocol(vec![6], negated),
        "all" => Match::New(true),
        _ => Match::Protocol(vec![0], negated),
    }
}

fn ports(text: &str, negated: bool) -> Match {
    let range = |part: &str| -> Option<RangeInclusive<u16>> {
        let (first, last) = part.split_once(':').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    let ranges: Option<Vec<_>> = text.split(',').map(range).collect();
    let protocol: Option<Protocol> = None;
    ranges.map_or(Match::Unknown, |ranges| {
        Match::Port(protocol, ranges, negated)
    })
}

#[cfg(test)]
mod tests {
    use super::super::rules::{Packet, Verdict};
    use super::*;

    /// Much shortened, of `ufw enable` and `ufw allow 3478`.
    const UFW: &str = "*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n:ufw-before-input - [0:0]\n\
        :ufw-user-input - [0:0]\n\
        -A INPUT -j ufw-before-input\n-A ufw-before-input -i lo -j ACCEPT\n\
        -A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
        -A ufw-before-input -j ufw-user-input\n\
        -A ufw-user-input -p udp -m udp --dport 3478 -j ACCEPT\n\
        -A ufw-user-input -p udp -m multiport --dports 49160:49200 -j ACCEPT\nCOMMIT\n";

    #[test]
    fn what_ufw_writes_is_understood() {
        let cases = [
            (Protocol::Udp, 3478, true),
            (Protocol::Udp, 49_170, true),
            (Protocol::Udp, 5349, false),
            (Protocol::Tcp, 3478, false),
        ];
        let chains = parse(UFW, true);
        for (protocol, port, open) in cases {
            let packet = Packet {
                interface: Some("eth0".to_owned()),
                ..Packet::to(protocol, ([198, 51, 100, 1], port).into())
            };
            let verdict = chains[0].judge(&packet);
            assert_eq!(verdict == Verdict::Open, open, "{port} {verdict:?}");
        }
        let Verdict::Closed(closed) = chains[0].judge(&Packet {
            interface: Some("eth0".to_owned()),
            ..Packet::to(Protocol::Udp, ([198, 51, 100, 1], 5349).into())
        }) else {
            panic!("5349 is not let in");
        };
        assert!(closed.fix("udp dport 5349").contains("ufw allow 5349/udp"));
    }
}

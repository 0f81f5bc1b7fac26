//! A ruleset as far as it matters here, and what it does with a packet. Pure.
//!
//! Three-valued: what is not understood, or hangs on where a stranger comes from, may match or not. Then nothing is
//! claimed.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    sync::Arc,
};

use ipnet::IpNet;

use crate::check::sockets::Protocol;
use crate::config::host::Host;

/// A packet that nobody sends: the first one of somebody far away, or of ours to them.
#[derive(Clone, Debug)]
pub(in crate::check) struct Packet {
    pub(super) is_in: bool,
    pub(super) protocol: Protocol,
    /// The end on this machine.
    pub(super) own: SocketAddr,
    /// The interface that it passes; unknown where there are several.
    pub(super) interface: Option<String>,
}

/// A base chain with all chains of its table.
#[derive(Clone, Debug)]
pub(in crate::check) struct Chain {
    /// "inet filter input".
    pub(super) name: String,
    pub(super) is_in: bool,
    /// Which packets come here at all: IPv4, IPv6, both.
    pub(super) families: (bool, bool),
    pub(super) drops_by_default: bool,
    pub(super) rules: Vec<Rule>,
    /// Those that rules jump to.
    pub(super) others: Arc<HashMap<String, Vec<Rule>>>,
    /// How a rule is added in front.
    pub(super) syntax: Syntax,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::check) enum Syntax {
    Nft,
    Iptables,
}

#[derive(Clone, Debug)]
pub(in crate::check) struct Rule {
    pub(super) matches: Vec<Match>,
    pub(super) action: Action,
    /// As it is printed.
    pub(super) text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::check) enum Action {
    Accept,
    Drop,
    Jump(String),
    Goto(String),
    Return,
    /// Counters, logs, marks.
    Nothing,
}

/// One condition.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::check) enum Match {
    Protocol(Vec<u8>, Negated),
    /// The port here, of this protocol if it is given.
    Port(Option<Protocol>, Vec<RangeInclusive<u16>>, Negated),
    /// The address here.
    Address(Vec<IpNet>, Negated),
    Interface(Vec<String>, Negated),
    /// Whether IPv6.
    Family(bool),
    /// Whether the first packet of a conversation matches.
    New(bool),
    /// May match or not.
    Unknown,
}

pub(in crate::check) type Negated = bool;

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::check) enum Verdict {
    Open,
    Closed(Closed),
    Unknown,
}

/// Why a packet does not get through, for sure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::check) struct Closed {
    /// "chain inet filter input drops it: udp dport 3478 drop".
    pub(in crate::check) by: String,
    chain: String,
    syntax: Syntax,
}

impl Closed {
    /// A rule that lets it through, for `what` as in "udp dport 3478".
    pub(in crate::check) fn fix(&self, what: &str) -> String {
        match self.syntax {
            Syntax::Nft => format!("nft insert rule {} {what} accept", self.chain),
            Syntax::Iptables => {
                let (protocol, rest) = what.split_once(' ').unwrap_or((what, ""));
                let (side, ports) = rest.split_once(' ').unwrap_or((rest, ""));
                let ports = ports.replace('-', ":");
                let (program, chain) = self.chain.split_once(' ').unwrap_or(("iptables", "INPUT"));
                format!(
                    "{program} -I {chain} -p {protocol} --{side} {ports} -j ACCEPT (with ufw: ufw allow {ports}/{protocol})"
                )
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Truth {
    Yes,
    No,
    Maybe,
}

impl Packet {
    /// From this machine to itself.
    pub(in crate::check) fn to(protocol: Protocol, own: SocketAddr) -> Self {
        Self {
            is_in: true,
            protocol,
            own,
            interface: Some("lo".to_owned()),
        }
    }

    pub(super) fn from_stranger(protocol: Protocol, own: SocketAddr, host: &Host) -> Self {
        Self {
            interface: host.towards_the_internet(own.ip()).map(str::to_owned),
            ..Self::to(protocol, own)
        }
    }

    pub(super) fn to_stranger(ip: IpAddr, port: u16, host: &Host) -> Self {
        Self {
            is_in: false,
            ..Self::from_stranger(Protocol::Udp, SocketAddr::new(ip, port), host)
        }
    }
}

impl Chain {
    pub(super) fn judge(&self, packet: &Packet) -> Verdict {
        let (v4, v6) = self.families;
        let passes = if packet.own.is_ipv4() { v4 } else { v6 };
        if !passes || self.is_in != packet.is_in {
            return Verdict::Open;
        }
        let mut walk = Walk {
            chain: self,
            packet,
            may_be_accepted: false,
            steps_left: STEPS_MAX,
        };
        let end = match walk.through(&self.rules) {
            Some(end) => end,
            None if self.drops_by_default => {
                End::Dropped("its policy is drop, and no rule accepts it".to_owned())
            }
            None => End::Accepted,
        };
        match end {
            End::Accepted => Verdict::Open,
            End::Dropped(_) if walk.may_be_accepted || walk.steps_left == 0 => Verdict::Unknown,
            End::Dropped(why) => Verdict::Closed(Closed {
                by: format!("chain {} drops it: {why}", self.name),
                chain: self.name.clone(),
                syntax: self.syntax,
            }),
        }
    }
}

enum End {
    Accepted,
    Dropped(String),
}

/// Against rulesets that go in circles.
const STEPS_MAX: usize = 100_000;

struct Walk<'a> {
    chain: &'a Chain,
    packet: &'a Packet,
    /// A rule that may match accepts.
    may_be_accepted: bool,
    steps_left: usize,
}

impl Walk<'_> {
    /// `None`: the rules come to no end.
    fn through(&mut self, rules: &[Rule]) -> Option<End> {
        for rule in rules {
            self.steps_left = self.steps_left.checked_sub(1)?;
            let truth = all(&rule.matches, self.packet);
            match (&rule.action, truth) {
                (_, Truth::No) | (Action::Nothing, _) | (Action::Drop, Truth::Maybe) => {}
                (Action::Accept, Truth::Yes) => return Some(End::Accepted),
                (Action::Accept, Truth::Maybe) => self.may_be_accepted = true,
                (Action::Drop, Truth::Yes) => return Some(End::Dropped(rule.text.clone())),
                (Action::Return, Truth::Yes) => return None,
                // What follows may never be reached.
                (Action::Return, Truth::Maybe) => self.may_be_accepted = true,
                (Action::Jump(target) | Action::Goto(target), truth) => {
                    let others = Arc::clone(&self.chain.others);
                    let rules = others.get(target).map_or(&[][..], Vec::as_slice);
                    match (self.through(rules), truth) {
                        (Some(End::Accepted), Truth::Maybe) => self.may_be_accepted = true,
                        (Some(end), Truth::Yes) => return Some(end),
                        (Some(_) | None, _) => {}
                    }
                    if matches!(rule.action, Action::Goto(_)) && truth == Truth::Yes {
                        return None;
                    }
                }
            }
        }
        None
    }
}

fn all(matches: &[Match], packet: &Packet) -> Truth {
    let mut truth = Truth::Yes;
    for one in matches {
        match holds(one, packet) {
            Truth::No => return Truth::No,
            Truth::Maybe => truth = Truth::Maybe,
            Truth::Yes => {}
        }
    }
    truth
}

fn holds(one: &Match, packet: &Packet) -> Truth {
    let yes = |is: bool, negated: bool| if is != negated { Truth::Yes } else { Truth::No };
    match one {
        Match::Protocol(numbers, negated) => {
            let number = match packet.protocol {
                Protocol::Udp => 17,
                Protocol::Tcp => 6,
            };
            yes(numbers.contains(&number), *negated)
        }
        Match::Port(protocol, ranges, negated) => {
            if protocol.is_some_and(|protocol| protocol != packet.protocol) {
                return Truth::No;
            }
            let inside = ranges
                .iter()
                .any(|range| range.contains(&packet.own.port()));
            yes(inside, *negated)
        }
        Match::Address(networks, negated) => {
            let inside = networks.iter().any(|net| net.contains(&packet.own.ip()));
            yes(inside, *negated)
        }
        Match::Interface(names, negated) => match &packet.interface {
            Some(interface) => yes(names.iter().any(|name| fits(name, interface)), *negated),
            // Not loopback, but which one nobody knows.
            None if names == &["lo"] => yes(false, *negated),
            None => Truth::Maybe,
        },
        Match::Family(is_v6) => yes(packet.own.is_ipv6() == *is_v6, false),
        Match::New(is) => yes(*is, false),
        Match::Unknown => Truth::Maybe,
    }
}

/// `eth*`, and `eth+` as iptables writes it.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix(['*', '+']) {
        Some(start) => name.starts_with(start),
        None => pattern == name,
    }
}

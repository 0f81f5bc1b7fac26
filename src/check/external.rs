//! The address that clients are told, against those that this machine has and is seen with.

use std::net::IpAddr;

use super::reach::Probe;
use super::report::Finding;
use crate::config::{Config, Profile, host::Host};
use crate::relay::ExternalAddr;

/// What is known of one of the external addresses.
#[derive(Clone, Debug)]
pub(super) struct Facts<'a> {
    pub(super) external: ExternalAddr,
    /// Whether somebody typed it.
    pub(super) is_typed: bool,
    pub(super) is_production: bool,
    /// Whether somebody typed the profile.
    pub(super) is_profile_typed: bool,
    /// The interface that has it.
    pub(super) interface: Option<&'a str>,
    /// Where packets of its family leave from.
    pub(super) route: Option<IpAddr>,
    /// Whether another external address is public.
    pub(super) has_public_sibling: bool,
    /// How a STUN server sees this machine.
    pub(super) seen: Option<&'a Result<IpAddr, String>>,
    /// Whether our own server answers at it.
    pub(super) is_answered: bool,
    /// What to lead here: "3478/udp, …".
    pub(super) ports: &'a str,
}

/// One line for each external address.
pub(super) fn examine(
    config: &Config,
    host: &Host,
    probes: &[Probe],
    seen: &[(bool, Result<IpAddr, String>)],
) -> Vec<Finding> {
    let ports = ports(config);
    let judged = config.relay.external.iter().map(|external| {
        let ip = external.public;
        let same_family = |other: &&IpAddr| other.is_ipv4() == ip.is_ipv4();
        let answered = |probe: &Probe| probe.addr.ip() == ip && probe.answer.is_ok();
        let mut others = config.external_ips();
        judge(&Facts {
            external: *external,
            is_typed: config.external_origin == "turn.external_ip",
            is_production: config.profile == Profile::Production,
            is_profile_typed: config.profile_reason == "as configured",
            interface: host.interface(ip),
            route: host.default_route.iter().find(same_family).copied(),
            has_public_sibling: others.any(|other| other != ip && Kind::of(other) == Kind::Public),
            seen: seen
                .iter()
                .find(|(is_v4, _)| *is_v4 == ip.is_ipv4())
                .map(|(_, seen)| seen),
            is_answered: probes.iter().any(answered),
            ports: &ports,
        })
    });
    judged.collect()
}

/// What must be let in: "3478/udp, 3478/tcp, 5349/tcp and 49160-49200/udp".
pub(super) fn ports(config: &Config) -> String {
    let relay = &config.relay;
    let mut ports = Vec::new();
    let groups = [
        (&relay.listen_udp, "udp"),
        (&relay.listen_tcp, "tcp"),
        (&relay.listen_tls, "tcp"),
        (&relay.listen_dtls, "udp"),
    ];
    for (listens, protocol) in groups {
        for listen in listens {
            let port = format!("{}/{protocol}", listen.addr.port());
            if !ports.contains(&port) {
                ports.push(port);
            }
        }
    }
    let range = &relay.relay_ports;
    format!(
        "{} and {}-{}/udp",
        ports.join(", "),
        range.start(),
        range.end()
    )
}

/// How far an address reaches, as far as it matters here. Documentation addresses are public: laboratories play the
/// internet with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Public,
    Private,
    Loopback,
}

impl Kind {
    fn of(ip: IpAddr) -> Self {
        let is_private = match ip {
            IpAddr::V4(ip) => {
                let is_shared = matches!(ip.octets(), [100, 64..=127, ..]);
                ip.is_private() || ip.is_link_local() || is_shared
            }
            IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
        };
        match (ip.is_loopback(), is_private) {
            (true, _) => Self::Loopback,
            (false, true) => Self::Private,
            (false, false) => Self::Public,
        }
    }
}

fn judge(facts: &Facts<'_>) -> Finding {
    let ip = facts.external.public;
    match facts.seen {
        Some(Ok(seen)) if *seen == ip => {
            return Finding::ok(
                CHECK,
                format!("clients are told {ip}, and a STUN server sees {seen}"),
            );
        }
        Some(Ok(seen)) => return seen_otherwise(facts, *seen),
        Some(Err(reason)) => {
            return Finding::warning(
                CHECK,
                format!(
                    "the STUN server does not answer ({reason}): it is away, or UDP is blocked on its way out"
                ),
                "name another with --stun, or let UDP out of the firewall",
            );
        }
        None => {}
    }
    match facts.interface {
        Some(interface) => here(facts, interface),
        None => elsewhere(facts),
    }
}

const CHECK: &str = "external_address";

fn seen_otherwise(facts: &Facts<'_>, seen: IpAddr) -> Finding {
    let ip = facts.external.public;
    let mapping = match facts.route {
        Some(route) if route != seen => format!("{seen}/{route}"),
        Some(_) | None => seen.to_string(),
    };
    let forward = match facts.route {
        Some(route) if route != seen => format!("; and forward {} to {route}", facts.ports),
        Some(_) | None => String::new(),
    };
    Finding::failure(
        CHECK,
        format!("clients are told {ip}, but a STUN server sees this machine as {seen}"),
        format!("set turn.external_ip = \"{mapping}\"{forward}"),
    )
}

/// An interface has it.
fn here(facts: &Facts<'_>, interface: &str) -> Finding {
    let ip = facts.external.public;
    match Kind::of(ip) {
        Kind::Public => Finding::ok(
            CHECK,
            format!("clients are told {ip}, the address of {interface}"),
        ),
        Kind::Loopback if facts.is_production => Finding::failure(
            CHECK,
            format!("clients are told {ip}, which only this machine reaches"),
            "set turn.external_ip to the address that the internet reaches, or profile = \"development\"",
        ),
        Kind::Loopback => Finding::ok(
            CHECK,
            format!("clients are told {ip}: only those on this machine reach it"),
        ),
        Kind::Private => private(facts, interface),
    }
}

fn private(facts: &Facts<'_>, interface: &str) -> Finding {
    let ip = facts.external.public;
    let found = format!(
        "clients are told {ip}, the private address of {interface}: only its own network reaches it"
    );
    let is_meant = facts.is_profile_typed && !facts.is_production;
    if facts.has_public_sibling || facts.route.is_none() || is_meant {
        return Finding::ok(CHECK, found);
    }
    let fix = format!(
        "behind NAT set turn.external_ip = \"PUBLIC/{ip}\" with the router's public address for PUBLIC (setu check \
         --stun HOST:PORT finds it), and forward {} to {ip}; for this network alone, set profile = \"development\"",
        facts.ports
    );
    match facts.is_typed && !facts.is_production {
        true => Finding::note(CHECK, found).with_fix(fix),
        false => Finding::warning(CHECK, found, fix),
    }
}

/// No interface has it.
fn elsewhere(facts: &Facts<'_>) -> Finding {
    let ExternalAddr { public, local } = facts.external;
    let ports = facts.ports;
    if facts.is_answered {
        return Finding::ok(
            CHECK,
            format!("clients are told {public}, which leads here through the router"),
        );
    }
    let is_mapped = !local.is_unspecified();
    match facts.route {
        None => Finding::failure(
            CHECK,
            format!(
                "clients are told {public}, which no interface of this machine has, and there is no default route to a router that could"
            ),
            "set turn.external_ip to an address of this machine, or give it a default route (ip route add default via ROUTER)",
        ),
        Some(route) if Kind::of(route) == Kind::Public && !is_mapped => Finding::failure(
            CHECK,
            format!(
                "clients are told {public}, which no interface has and which does not lead here; this machine's address is {route}"
            ),
            format!(
                "set turn.external_ip = \"{route}\"; if {public} is really led to this machine, \"{public}/{route}\", and forward {ports}"
            ),
        ),
        Some(route) if Kind::of(public) != Kind::Public => Finding::failure(
            CHECK,
            format!(
                "clients are told {public}, which no interface of this machine has; its address is {route}"
            ),
            format!(
                "set turn.external_ip = \"{route}\", or behind NAT \"PUBLIC/{route}\", and forward {ports} to {route}"
            ),
        ),
        Some(route) => {
            let inner = if is_mapped { local } else { route };
            let mapping = if is_mapped {
                String::new()
            } else {
                format!("write turn.external_ip = \"{public}/{route}\", ")
            };
            Finding::note(
                CHECK,
                format!("clients are told {public}, the address of a router before this machine ({inner}); whether it is the right one can't be told from here"),
            )
            .with_fix(format!(
                "{mapping}forward {ports} of {public} to {inner}; setu check --stun HOST:PORT says how the internet sees this machine"
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Status::{self, Failure, Note, Ok, Warning};
    use super::*;

    #[test]
    fn an_address_that_is_here() {
        let public = || Setup::of("198.51.100.1", "198.51.100.1").here();
        let private = || Setup::of("10.0.0.5", "10.0.0.5").here();
        let loopback = || Setup::of("127.0.0.1", "10.0.0.5").here();
        let nowhere = Setup::of("10.0.0.5", "").here();
        holds(&[
            ("public", public(), Ok, ""),
            ("private, found", private(), Warning, "\"PUBLIC/10.0.0.5\""),
            (
                "private, typed",
                private().typed(),
                Note,
                "PORTS to 10.0.0.5",
            ),
            (
                "private in production",
                private().typed().production(),
                Warning,
                "PUBLIC",
            ),
            ("private, no way out", nowhere, Ok, ""),
            ("loopback", loopback(), Ok, ""),
            (
                "loopback in production",
                loopback().production(),
                Failure,
                "turn.external_ip",
            ),
        ]);
    }

    #[test]
    fn an_address_that_is_elsewhere() {
        let mapped = || Setup::of("198.51.100.9", "10.0.0.5");
        let wrong = Setup::of("198.51.100.9", "198.51.100.1");
        let foreign = Setup::of("10.0.0.9", "10.0.0.5");
        let lost = Setup::of("198.51.100.9", "");
        let seen = mapped().seen("198.51.100.7");
        holds(&[
            (
                "nobody's",
                wrong,
                Failure,
                "set turn.external_ip = \"198.51.100.1\"",
            ),
            ("a router's", mapped(), Note, "\"198.51.100.9/10.0.0.5\""),
            ("leads here", mapped().answered(), Ok, ""),
            ("somebody else's", foreign, Failure, "\"10.0.0.5\""),
            ("no way out", lost, Failure, "default route"),
            ("seen as it is", mapped().seen("198.51.100.9"), Ok, ""),
            ("seen otherwise", seen, Failure, "\"198.51.100.7/10.0.0.5\""),
        ]);
    }

    #[track_caller]
    fn holds(cases: &[(&str, Setup, Status, &str)]) {
        for (name, setup, status, fix) in cases {
            let finding = setup.judge();
            assert_eq!(finding.status, *status, "{name}: {finding:?}");
            assert!(finding.fix.unwrap_or_default().contains(fix), "{name}");
        }
    }

    #[derive(Clone, Default)]
    struct Setup {
        ip: &'static str,
        route: &'static str,
        is_here: bool,
        is_typed: bool,
        is_production: bool,
        is_answered: bool,
        seen: Option<Result<IpAddr, String>>,
    }

    impl Setup {
        fn of(ip: &'static str, route: &'static str) -> Self {
            Self {
                ip,
                route,
                ..Self::default()
            }
        }

        fn here(self) -> Self {
            Self {
                is_here: true,
                ..self
            }
        }

        fn typed(self) -> Self {
            Self {
                is_typed: true,
                ..self
            }
        }

        fn production(self) -> Self {
            Self {
                is_production: true,
                ..self
            }
        }

        fn answered(self) -> Self {
            Self {
                is_answered: true,
                ..self
            }
        }

        fn seen(self, ip: &str) -> Self {
            Self {
                seen: Some(Result::Ok(ip.parse().unwrap())),
                ..self
            }
        }

        fn judge(&self) -> Finding {
            let public: IpAddr = self.ip.parse().unwrap();
            judge(&Facts {
                external: ExternalAddr {
                    public,
                    local: if self.is_here {
                        public
                    } else {
                        "0.0.0.0".parse().unwrap()
                    },
                },
                is_typed: self.is_typed,
                is_production: self.is_production,
                is_profile_typed: false,
                interface: self.is_here.then_some("eth0"),
                route: self.route.parse().ok(),
                has_public_sibling: false,
                seen: self.seen.as_ref(),
                is_answered: self.is_answered,
                ports: "PORTS",
            })
        }
    }
}

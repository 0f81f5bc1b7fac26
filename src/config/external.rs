//! `turn.external_ip`: the addresses that clients are told, found or typed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::host::Host;
use crate::relay::ExternalAddr;

/// The external addresses, the one for URLs first, and in words where they come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct External {
    pub(super) addresses: Vec<ExternalAddr>,
    pub(super) origin: String,
}

/// What the routes say, else the first address that others could reach, else loopback.
pub(super) fn find(host: &Host) -> External {
    let reachable = |ip: &IpAddr| !ip.is_loopback() && !ip.is_unspecified() && !is_link_local(*ip);
    let routed: Vec<IpAddr> = host
        .default_route
        .iter()
        .copied()
        .filter(reachable)
        .collect();
    if let Some(first) = routed.first() {
        let origin = format!(
            "{}, which has the default route",
            interface_of(*first, host)
        );
        return external(routed, origin);
    }
    let mut candidates = host
        .interfaces
        .iter()
        .map(|interface| interface.ip)
        .filter(reachable);
    match candidates.next() {
        Some(ip) => {
            let origin = format!("{}; there is no default route", interface_of(ip, host));
            external(vec![ip], origin)
        }
        None => external(
            vec![Ipv4Addr::LOCALHOST.into()],
            "this machine has no other address".to_owned(),
        ),
    }
}

/// `address` or `public/private` each; at most one for each family can be told to clients.
pub(super) fn parse(entries: &[String], host: &Host) -> Result<External, String> {
    let mut addresses: Vec<ExternalAddr> = Vec::new();
    for entry in entries {
        let address = parse_one(entry, host)?;
        if addresses
            .iter()
            .any(|other| other.public.is_ipv4() == address.public.is_ipv4())
        {
            return Err(format!(
                "{entry} is the second of its family; name one IPv4 and one IPv6 address at most"
            ));
        }
        addresses.push(address);
    }
    if addresses.is_empty() {
        return Err("must be \"auto\" or an address, or public/private behind NAT".to_owned());
    }
    Ok(External {
        addresses,
        origin: "turn.external_ip".to_owned(),
    })
}

/// Whether the internet would route it to whoever has it.
#[must_use]
pub fn is_globally_routable(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !matches!(
            ip.octets(),
            [0 | 10 | 127 | 224.., ..]
                | [100, 64..=127, ..]
                | [169, 254, ..]
                | [172, 16..=31, ..]
                | [192, 168, ..]
                | [192, 0, 0 | 2, _]
                | [198, 18 | 19, ..]
                | [198, 51, 100, _]
                | [203, 0, 113, _]
        ),
        IpAddr::V6(ip) => match ip.segments() {
            // Documentation (RFC 3849, RFC 9637).
            [0x2001, 0xDB8, ..] | [0x3FFF, 0..=0x0FFF, ..] => false,
            [0x2000..=0x3FFF, ..] => true,
            _ => false,
        },
    }
}

fn external(ips: Vec<IpAddr>, origin: String) -> External {
    let as_itself = |ip| ExternalAddr {
        public: ip,
        local: ip,
    };
    External {
        addresses: ips.into_iter().map(as_itself).collect(),
        origin,
    }
}

fn interface_of(ip: IpAddr, host: &Host) -> String {
    let name = host.interface(ip).unwrap_or("an interface");
    format!("the address of {name}")
}

fn parse_one(entry: &str, host: &Host) -> Result<ExternalAddr, String> {
    let (public, local) = match entry.split_once('/') {
        Some((public, local)) => (parse_ip(public)?, Some(parse_ip(local)?)),
        None => (parse_ip(entry)?, None),
    };
    if public.is_unspecified() || public.is_multicast() {
        return Err(format!(
            "clients can't send to {public}; name an address of this machine"
        ));
    }
    if local.is_some_and(|local| local.is_ipv4() != public.is_ipv4()) {
        return Err(format!("{entry} mixes IPv4 and IPv6"));
    }
    if let Some(local) = local.filter(|local| !is_here(*local, host)) {
        let own = host.interfaces.iter().map(|own| own.ip.to_string());
        let own = own.collect::<Vec<_>>().join(", ");
        return Err(format!(
            "no interface of this machine has {local}; write one of its own addresses behind the slash: {own}"
        ));
    }
    Ok(ExternalAddr {
        public,
        local: local.unwrap_or_else(|| local_for(public, host)),
    })
}

/// Whether a socket can be bound to it. Without a list of the interfaces, nobody knows better than who typed it.
fn is_here(ip: IpAddr, host: &Host) -> bool {
    let is_known = host.interface(ip).is_some() || host.interfaces.is_empty();
    is_known || ip.is_loopback() || ip.is_unspecified()
}

/// An address that no interface has is some router's, which forwards to whatever address this machine has.
fn local_for(public: IpAddr, host: &Host) -> IpAddr {
    if public.is_loopback() || host.interface(public).is_some() {
        return public;
    }
    match public {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn parse_ip(text: &str) -> Result<IpAddr, String> {
    let bare = text.trim().trim_start_matches('[').trim_end_matches(']');
    bare.parse()
        .map_err(|_| format!("{text:?} is no IP address; write one, or public/private behind NAT"))
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::host::Interface;
    use super::*;

    #[test]
    fn the_default_routes_address_is_found_in_both_families() {
        let found = find(&host());
        assert_eq!(publics(&found), ["192.0.2.7", "2001:db8::7"]);
        assert_eq!(
            found.origin,
            "the address of eth0, which has the default route"
        );
    }

    #[test]
    fn without_a_default_route_the_first_address_that_others_reach_is_taken() {
        let host = Host {
            default_route: Vec::new(),
            ..host()
        };
        assert_eq!(publics(&find(&host)), ["10.1.1.1"]);
    }

    #[test]
    fn alone_on_earth_it_is_loopback() {
        assert_eq!(publics(&find(&Host::default())), ["127.0.0.1"]);
    }

    #[test]
    fn a_typed_address_binds_where_the_machine_has_it() {
        let cases = [
            ("192.0.2.7", "192.0.2.7"),
            ("198.51.100.9", "0.0.0.0"),
            ("198.51.100.9/10.1.1.1", "10.1.1.1"),
            ("2001:db8::7", "2001:db8::7"),
            ("[2001:db8::9]", "::"),
        ];
        for (entry, local) in cases {
            let parsed = parse(&[entry.to_owned()], &host()).unwrap();
            assert_eq!(parsed.addresses[0].local.to_string(), local, "{entry}");
        }
    }

    #[test]
    fn what_is_no_external_address_is_refused() {
        let cases: [&[&str]; 8] = [
            &[],
            &["example.com"],
            &["192.0.2.7/"],
            &["0.0.0.0"],
            &["224.0.0.1"],
            &["192.0.2.7/::1"],
            &["198.51.100.9/10.1.1.2"],
            &["192.0.2.7", "192.0.2.8"],
        ];
        for entries in cases {
            let entries: Vec<_> = entries.iter().map(|&entry| entry.to_owned()).collect();
            assert!(parse(&entries, &host()).is_err(), "{entries:?}");
        }
    }

    #[test]
    fn documentation_and_private_addresses_are_not_routed() {
        let cases = [
            ("8.8.8.8", true),
            ("192.0.2.1", false),
            ("10.0.0.1", false),
            ("172.32.0.1", true),
            ("100.64.0.1", false),
            ("2a00::1", true),
            ("2001:db8::1", false),
            ("fd00::1", false),
            ("::1", false),
        ];
        for (ip, routable) in cases {
            assert_eq!(is_globally_routable(ip.parse().unwrap()), routable, "{ip}");
        }
    }

    fn publics(external: &External) -> Vec<String> {
        let addresses = external.addresses.iter();
        addresses
            .map(|address| address.public.to_string())
            .collect()
    }

    fn host() -> Host {
        let interface = |name: &str, ip: &str| Interface {
            name: name.to_owned(),
            ip: ip.parse().unwrap(),
        };
        Host {
            cores: 2,
            default_route: vec!["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()],
            interfaces: vec![
                interface("lo", "127.0.0.1"),
                interface("br0", "10.1.1.1"),
                interface("eth0", "192.0.2.7"),
                interface("eth0", "2001:db8::7"),
            ],
        }
    }
}

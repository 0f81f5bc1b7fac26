//! How relayed transport addresses are told, and how this server's own are reached.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::RangeInclusive,
};

use crate::relay::engine::five_tuple::{Family, PeerAddr};

/// One address of this server: as clients and peers know it, and as its sockets bind to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExternalAddr {
    /// What clients are told.
    pub public: IpAddr,
    /// What relay sockets bind to; the same as `public` unless a NAT stands before this machine. May be unspecified.
    pub local: IpAddr,
}

/// All external addresses, and the ports that relayed transport addresses have.
#[derive(Clone, Debug)]
pub(crate) struct External {
    addrs: Vec<ExternalAddr>,
    ports: RangeInclusive<u16>,
}

impl External {
    pub(crate) fn new(addrs: Vec<ExternalAddr>, ports: RangeInclusive<u16>) -> Self {
        Self { addrs, ports }
    }

    /// The address that relay sockets of this family have; `None` when the family is off.
    pub(crate) fn for_family(&self, family: Family) -> Option<&ExternalAddr> {
        self.addrs
            .iter()
            .find(|addr| Family::of(addr.public) == family)
    }

    /// Where a datagram for `peer` really goes: a relayed address of our own is reached without the NAT's help.
    pub(crate) fn outbound(&self, peer: PeerAddr) -> SocketAddr {
        let PeerAddr(addr) = peer;
        let mapped = self.mapped(addr.port(), |external| external.public == addr.ip());
        mapped.map_or(addr, |external| {
            SocketAddr::new(from_here(external.local), addr.port())
        })
    }

    /// Whom a datagram counts as coming from: one from a relay socket of our own comes from its relayed address.
    pub(crate) fn inbound(&self, source: SocketAddr) -> PeerAddr {
        let mapped = self.mapped(source.port(), |external| {
            from_here(external.local) == source.ip()
        });
        let ip = mapped.map_or(source.ip(), |external| external.public);
        // Rebuilt without IPv6 flow and scope, which no XOR-PEER-ADDRESS carries.
        PeerAddr(SocketAddr::new(ip, source.port()))
    }

    fn mapped(&self, port: u16, is_it: impl Fn(&ExternalAddr) -> bool) -> Option<&ExternalAddr> {
        if !self.ports.contains(&port) {
            return None;
        }
        let behind_nat = |addr: &&ExternalAddr| addr.public != addr.local && is_it(addr);
        self.addrs.iter().find(behind_nat)
    }
}

/// Where others on this machine reach what is bound to this address: over loopback, if it is none in particular.
#[must_use]
pub fn from_here(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPPINGS: &[(&str, &str, &str, &str)] = &[
        // (name, mapping, as peers know it, as sockets know it)
        (
            "behind NAT",
            "203.0.113.9/10.0.0.2",
            "203.0.113.9:49160",
            "10.0.0.2:49160",
        ),
        (
            "a port of no relay",
            "203.0.113.9/10.0.0.2",
            "203.0.113.9:3478",
            "203.0.113.9:3478",
        ),
        (
            "somebody else",
            "203.0.113.9/10.0.0.2",
            "203.0.113.8:49160",
            "203.0.113.8:49160",
        ),
        (
            "no NAT",
            "203.0.113.9/203.0.113.9",
            "203.0.113.9:49160",
            "203.0.113.9:49160",
        ),
        (
            "bound to all addresses",
            "203.0.113.9/0.0.0.0",
            "203.0.113.9:49160",
            "127.0.0.1:49160",
        ),
        (
            "IPv6",
            "2001:db8::9/fd00::2",
            "[2001:db8::9]:49160",
            "[fd00::2]:49160",
        ),
    ];

    #[test]
    fn own_relayed_addresses_are_reached_and_recognised_inside() {
        for (name, mapping, outside, inside) in MAPPINGS {
            let external = external(mapping);
            let (outside, inside) = (outside.parse().unwrap(), inside.parse().unwrap());
            assert_eq!(external.outbound(PeerAddr(outside)), inside, "{name}");
            assert_eq!(external.inbound(inside), PeerAddr(outside), "{name}");
        }
    }

    #[test]
    fn a_family_without_an_external_address_is_off() {
        let external = external("203.0.113.9/10.0.0.2");
        assert!(external.for_family(Family::V4).is_some());
        assert!(external.for_family(Family::V6).is_none());
    }

    fn external(mapping: &str) -> External {
        let (public, local) = mapping.split_once('/').unwrap();
        let addr = ExternalAddr {
            public: public.parse().unwrap(),
            local: local.parse().unwrap(),
        };
        External::new(vec![addr], 49160..=49200)
    }
}

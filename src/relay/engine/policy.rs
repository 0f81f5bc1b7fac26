//! Which peers a relay may reach, decided on what an address really names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use ipnet::IpNet;

/// The peers that clients may name. `deny` and the own listeners win over all, then this server's own relayed
/// addresses, then `allow`, then the built-in list.
#[derive(Clone, Debug, Default)]
pub struct PeerPolicy {
    /// Development: private, shared and unique local addresses and loopback are allowed.
    pub allow_private_and_loopback: bool,
    /// Allowed by name.
    pub allow: Vec<IpNet>,
    /// Denied by name.
    pub deny: Vec<IpNet>,
    /// This server's own relayed addresses, as clients see them: two clients of one server are each other's peers.
    pub relayed: Vec<(IpAddr, RangeInclusive<u16>)>,
    /// This server's own listeners: a relay that talks to them could loop
    /// ([RFC 8656 §21.1.7](https://www.rfc-editor.org/rfc/rfc8656#section-21.1.7)). An unspecified address means the
    /// port on every address of [`relayed`](Self::relayed) and on loopback.
    pub own_listeners: Vec<SocketAddr>,
}

impl PeerPolicy {
    /// Whether a permission may be installed for this address, whatever the port.
    #[must_use]
    pub fn permits_ip(&self, ip: IpAddr) -> bool {
        let peer = canonical(ip);
        !self.denies(ip, peer) && (self.relays_on(peer) || self.permits_by_range(ip, peer))
    }

    /// Whether a datagram may be sent to this address and port.
    #[must_use]
    pub fn permits(&self, addr: SocketAddr) -> bool {
        let (peer, port) = (canonical(addr.ip()), addr.port());
        if port == 0 || self.denies(addr.ip(), peer) || self.listens_on(peer, port) {
            return false;
        }
        let own_relay = |(own, ports): &(IpAddr, RangeInclusive<u16>)| {
            canonical(*own) == peer && ports.contains(&port)
        };
        self.relayed.iter().any(own_relay) || self.permits_by_range(addr.ip(), peer)
    }

    /// The address as it came counts too: `deny = 2002::/16` must hold for all of 6to4.
    fn denies(&self, ip: IpAddr, peer: IpAddr) -> bool {
        let names = |net: &IpNet| net.contains(&ip) || net.contains(&peer);
        self.deny.iter().any(names)
    }

    fn relays_on(&self, peer: IpAddr) -> bool {
        self.relayed.iter().any(|(own, _)| canonical(*own) == peer)
    }

    fn listens_on(&self, peer: IpAddr, port: u16) -> bool {
        let mut same_port = self.own_listeners.iter().filter(|own| own.port() == port);
        same_port.any(|own| match canonical(own.ip()) {
            ip if ip.is_unspecified() => peer.is_loopback() || self.relays_on(peer),
            ip => ip == peer,
        })
    }

    /// An embedding is as good as the worse of what carries and what is carried: an ISATAP interface id fits behind
    /// any prefix, `ff02::` too.
    fn permits_by_range(&self, ip: IpAddr, peer: IpAddr) -> bool {
        if self.allow.iter().any(|net| net.contains(&peer)) {
            return true;
        }
        [ip, peer].into_iter().all(|ip| match Reach::of(ip) {
            Reach::Global => true,
            Reach::Private | Reach::Loopback => self.allow_private_and_loopback,
            Reach::Special => false,
        })
    }
}

/// How far an address reaches.
enum Reach {
    Global,
    /// RFC 1918, shared (RFC 6598) and unique local (RFC 4193) addresses.
    Private,
    Loopback,
    /// Unspecified, link-local (cloud metadata among them), site-local, multicast, reserved, broadcast.
    Special,
}

impl Reach {
    fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::of_v4(ip),
            IpAddr::V6(ip) => Self::of_v6(ip),
        }
    }

    fn of_v4(ip: Ipv4Addr) -> Self {
        match ip.octets() {
            [127, ..] => Self::Loopback,
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Self::Private,
            [0 | 224..=255, ..] | [169, 254, ..] => Self::Special,
            _ => Self::Global,
        }
    }

    fn of_v6(ip: Ipv6Addr) -> Self {
        match ip.segments() {
            [0, 0, 0, 0, 0, 0, 0, 1] => Self::Loopback,
            [0xFC00..=0xFDFF, ..] => Self::Private,
            // 64:ff9b:1::/48 embeds IPv4 at a place that only its own network knows (RFC 8215).
            [0, 0, 0, 0, 0, 0, 0, 0] | [0xFE80..=0xFFFF, ..] | [0x64, 0xFF9B, 1, ..] => {
                Self::Special
            }
            _ => Self::Global,
        }
    }
}

/// The IPv4 address inside an IPv6 address that merely carries one; else the address itself.
pub(super) fn canonical(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => embedded_v4(v6).map_or(ip, IpAddr::V4),
    }
}

fn embedded_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        // IPv4-compatible, IPv4-mapped, IPv4-translated (RFC 2765).
        [0, 0, 0, 0, 0, 0 | 0xFFFF, high, low] | [0, 0, 0, 0, 0xFFFF, 0, high, low] => {
            v4(high, low)
        }
        // NAT64 (RFC 6052), 6to4 (RFC 3056), Teredo (RFC 4380), ISATAP (RFC 5214).
        [0x64, 0xFF9B, 0, 0, 0, 0, high, low] => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        [0x2001, 0, .., high, low] => v4(!high, !low),
        [.., 0 | 0x200, 0x5EFE, high, low] => v4(high, low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_list() {
        // (address, in production, in development)
        let cases = [
            ("203.0.113.7", true, true),
            ("2001:db8::7", true, true),
            ("99.255.255.255", true, true),
            ("100.64.0.1", false, true),
            ("100.128.0.1", true, true),
            ("10.1.2.3", false, true),
            ("172.15.255.255", true, true),
            ("172.16.0.1", false, true),
            ("172.32.0.1", true, true),
            ("192.168.1.1", false, true),
            ("127.0.0.1", false, true),
            ("::1", false, true),
            ("fd12::1", false, true),
            ("0.0.0.0", false, false),
            ("0.1.2.3", false, false),
            ("169.254.169.254", false, false),
            ("224.0.0.1", false, false),
            ("240.0.0.1", false, false),
            ("255.255.255.255", false, false),
            ("::", false, false),
            ("fe80::1", false, false),
            ("fec0::1", false, false),
            ("ff02::1", false, false),
            ("64:ff9b:1::a9fe:a9fe", false, false),
            // Embeddings are as good as what they embed.
            ("::ffff:203.0.113.7", true, true),
            ("::ffff:10.0.0.1", false, true),
            ("::ffff:169.254.169.254", false, false),
            ("::ffff:0:169.254.169.254", false, false),
            ("::10.0.0.1", false, true),
            ("::169.254.169.254", false, false),
            ("64:ff9b::169.254.169.254", false, false),
            ("64:ff9b::203.0.113.7", true, true),
            ("2002:a9fe:a9fe::1", false, false),
            ("2002:cb00:7107::1", true, true),
            ("2001:0:cb00:7107::5601:5601", false, false),
            ("fd00::5efe:169.254.169.254", false, false),
            ("fd00::5efe:8.8.8.8", false, true),
            ("2001:db8::5efe:8.8.8.8", true, true),
            // What carries counts as well.
            ("fe80::5efe:8.8.8.8", false, false),
            ("fec0::200:5efe:8.8.8.8", false, false),
            ("ff02::5efe:8.8.8.8", false, false),
            ("64:ff9b:1::5efe:8.8.8.8", false, false),
        ];
        for (ip, production, development) in cases {
            let ip = ip.parse().unwrap();
            for (allow_private_and_loopback, permitted) in
                [(false, production), (true, development)]
            {
                let policy = PeerPolicy {
                    allow_private_and_loopback,
                    ..PeerPolicy::default()
                };
                assert_eq!(policy.permits_ip(ip), permitted, "{ip}");
                assert_eq!(policy.permits(SocketAddr::new(ip, 9)), permitted, "{ip}");
            }
        }
    }

    #[test]
    fn deny_wins_over_own_relays_win_over_allow_wins_over_the_built_in_list() {
        let policy = PeerPolicy {
            allow: nets(&["10.0.0.0/8", "169.254.7.0/24"]),
            deny: nets(&["10.9.0.0/16", "203.0.113.0/24", "2002::/16"]),
            relayed: vec![("192.168.0.1".parse().unwrap(), 49160..=49200)],
            own_listeners: vec!["0.0.0.0:3478".parse().unwrap()],
            ..PeerPolicy::default()
        };
        let cases = [
            ("10.1.1.1:1", true),
            ("169.254.7.1:1", true),
            ("[::ffff:10.1.1.1]:1", true),
            ("10.9.1.1:1", false),
            ("[::ffff:10.9.1.1]:1", false),
            ("203.0.113.7:1", false),
            ("[2002:101:101::1]:1", false),
            ("198.51.100.1:3478", true),
            ("192.168.0.1:49160", true),
            ("192.168.0.1:49200", true),
            ("192.168.0.1:49201", false),
            ("192.168.0.1:3478", false),
            ("192.168.0.2:49160", false),
            ("198.51.100.1:0", false),
        ];
        for (addr, permitted) in cases {
            assert_eq!(policy.permits(addr.parse().unwrap()), permitted, "{addr}");
        }
        assert!(policy.permits_ip("192.168.0.1".parse().unwrap()));
    }

    #[test]
    fn a_development_server_does_not_relay_to_its_own_listeners() {
        let policy = PeerPolicy {
            allow_private_and_loopback: true,
            own_listeners: vec![
                "[::]:3478".parse().unwrap(),
                "192.168.0.1:5349".parse().unwrap(),
            ],
            ..PeerPolicy::default()
        };
        let permits = |addr: &str| policy.permits(addr.parse().unwrap());
        assert!(
            !permits("127.0.0.1:3478") && !permits("[::1]:3478") && !permits("192.168.0.1:5349")
        );
        assert!(permits("127.0.0.1:3479") && permits("192.168.0.2:5349"));
    }

    fn nets(nets: &[&str]) -> Vec<IpNet> {
        nets.iter().map(|net| net.parse().unwrap()).collect()
    }
}

//! How far an address reaches, and which IPv4 address an IPv6 one carries
//! ([IANA's special-purpose registries](https://www.iana.org/assignments/iana-ipv4-special-registry)).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far an address reaches.
pub(super) enum Reach {
    /// To everybody. Documentation addresses count as such: nobody has them, and laboratories play the internet with
    /// them.
    Global,
    /// RFC 1918, shared (RFC 6598) and unique local (RFC 4193) addresses.
    Private,
    /// This machine.
    Loopback,
    /// One link.
    LinkLocal,
    /// Nowhere that a peer could be: unspecified, site-local, multicast, broadcast, set aside or given to nobody.
    Reserved,
}

impl Reach {
    pub(super) fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::of_v4(ip),
            IpAddr::V6(ip) => Self::of_v6(ip),
        }
    }

    fn of_v4(ip: Ipv4Addr) -> Self {
        match ip.octets() {
            [127, ..] => Self::Loopback,
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Self::Private,
            [169, 254, ..] => Self::LinkLocal,
            [0 | 224..=255, ..] => Self::Reserved,
            // Protocol assignments (RFC 6890), 6to4 anycast (RFC 7526), benchmarks (RFC 2544).
            [192, 0, 0, _] | [192, 88, 99, _] | [198, 18 | 19, ..] => Self::Reserved,
            _ => Self::Global,
        }
    }

    fn of_v6(ip: Ipv6Addr) -> Self {
        match ip.segments() {
            [0, 0, 0, 0, 0, 0, 0, 1] => Self::Loopback,
            [0xFC00..=0xFDFF, ..] => Self::Private,
            [0xFE80..=0xFEBF, ..] => Self::LinkLocal,
            // Benchmarks (RFC 5180), ORCHIDs (RFC 4843, RFC 7343).
            [0x2001, 2, 0, ..] | [0x2001, 0x10..=0x2F, ..] => Self::Reserved,
            [0x2000..=0x3FFF, ..] => Self::Global,
            // Outside of global unicast only what merely carries an IPv4 address goes anywhere. 64:ff9b:1::/48 carries
            // it at a place that only its own network knows (RFC 8215).
            _ => match carried_v4(ip) {
                Some(_) => Self::Global,
                None => Self::Reserved,
            },
        }
    }
}

/// The IPv4 address inside an IPv6 address that merely carries one; else the address itself.
pub(in crate::relay::engine) fn canonical(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => carried_v4(v6)
            .or_else(|| isatap_v4(v6))
            .map_or(ip, IpAddr::V4),
    }
}

/// What the prefix says it carries.
fn carried_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        // IPv4-compatible, IPv4-mapped, IPv4-translated (RFC 2765).
        [0, 0, 0, 0, 0, 0 | 0xFFFF, high, low] | [0, 0, 0, 0, 0xFFFF, 0, high, low] => {
            Some(v4(high, low))
        }
        // NAT64 (RFC 6052), 6to4 (RFC 3056), Teredo (RFC 4380).
        [0x64, 0xFF9B, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        [0x2001, 0, .., high, low] => Some(v4(!high, !low)),
        _ => None,
    }
}

/// What the interface id carries, behind whatever prefix (RFC 5214).
fn isatap_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    match ip.segments() {
        [.., 0 | 0x200, 0x5EFE, high, low] => Some(v4(high, low)),
        _ => None,
    }
}

fn v4(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
}

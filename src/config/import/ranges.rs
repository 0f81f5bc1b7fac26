//! Ranges of addresses as coturn writes them, and the networks that they are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// All addresses from the first to the last of one IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    is_v4: bool,
    first: u128,
    last: u128,
}

impl Range {
    /// `first-last`, one address, or a network.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Ok(network) = text.parse::<IpNet>() {
            return Self::new(network.network(), network.broadcast());
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Self::new(address(first)?, address(last)?)
    }

    fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        let range = Self {
            is_v4: first.is_ipv4(),
            first: number(first),
            last: number(last),
        };
        (first.is_ipv4() == last.is_ipv4() && range.first <= range.last).then_some(range)
    }

    /// What is left without the others: ranges in order.
    pub(super) fn without(self, others: &[Self]) -> Vec<Self> {
        let mut left = vec![self];
        for other in others.iter().filter(|other| other.is_v4 == self.is_v4) {
            left = left.iter().flat_map(|range| range.minus(*other)).collect();
        }
        left
    }

    /// The fewest networks that hold these addresses and no other.
    pub(super) fn networks(self) -> Vec<IpNet> {
        let width: u32 = if self.is_v4 { 32 } else { 128 };
        let mut networks = Vec::new();
        let mut next = Some(self.first);
        while let Some(first) = next.filter(|first| *first <= self.last) {
            let aligned = first.trailing_zeros().min(width);
            let fitting = (self.last - first).checked_add(1).map_or(128, u128::ilog2);
            let bits = aligned.min(fitting);
            let prefix = u8::try_from(width - bits).unwrap_or_default();
            networks.extend(IpNet::new(self.address(first), prefix));
            next = 1u128
                .checked_shl(bits)
                .and_then(|size| first.checked_add(size));
        }
        networks
    }

    fn minus(self, other: Self) -> Vec<Self> {
        if other.last < self.first || self.last < other.first {
            return vec![self];
        }
        let below = Self {
            last: other.first.wrapping_sub(1),
            ..self
        };
        let above = Self {
            first: other.last.wrapping_add(1),
            ..self
        };
        let mut left = Vec::new();
        left.extend((self.first < other.first).then_some(below));
        left.extend((other.last < self.last).then_some(above));
        left
    }

    fn address(self, number: u128) -> IpAddr {
        match (self.is_v4, u32::try_from(number)) {
            (true, Ok(number)) => Ipv4Addr::from(number).into(),
            (true, Err(_)) | (false, _) => Ipv6Addr::from(number).into(),
        }
    }
}

fn address(text: &str) -> Option<IpAddr> {
    text.trim().trim_matches(['[', ']']).parse().ok()
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u32::from(ip).into(),
        IpAddr::V6(ip) => ip.into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_are_the_fewest_networks() {
        let cases: [(&str, &[&str]); 8] = [
            ("83.166.64.0-83.166.95.255", &["83.166.64.0/19"]),
            (
                "10.0.0.1-10.0.0.4",
                &["10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/32"],
            ),
            ("83.166.68.45", &["83.166.68.45/32"]),
            ("0.0.0.0-255.255.255.255", &["0.0.0.0/0"]),
            ("::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", &["::/0"]),
            ("[2001:db8::]-[2001:db8::1]", &["2001:db8::/127"]),
            ("10.0.0.0/8", &["10.0.0.0/8"]),
            ("255.255.255.254-255.255.255.255", &["255.255.255.254/31"]),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(&[Range::parse(text).unwrap()]), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in [
            "",
            "10.0.0.2-10.0.0.1",
            "10.0.0.1-::1",
            "example.org",
            "10.0.0.0/33",
        ] {
            assert_eq!(Range::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_allowed_is_cut_out_of_what_is_denied() {
        let range = |text| Range::parse(text).unwrap();
        let left = range("10.0.0.0-10.0.0.255").without(&[range("10.0.0.128/25"), range("::1")]);
        assert_eq!(shown(&left), ["10.0.0.0/25"]);
        assert!(range("10.0.0.1").without(&[range("10.0.0.0/8")]).is_empty());
    }

    proptest! {
        #[test]
        fn networks_hold_the_range_and_nothing_else(a: u32, b: u32, probe: u32) {
            let (first, last) = (a.min(b), a.max(b));
            let range = Range::new(Ipv4Addr::from(first).into(), Ipv4Addr::from(last).into()).unwrap();
            let networks = range.networks();
            for probe in [probe, first, last, first.wrapping_sub(1), last.wrapping_add(1)] {
                let held = networks.iter().any(|network| network.contains(&IpAddr::from(Ipv4Addr::from(probe))));
                prop_assert_eq!(held, (first..=last).contains(&probe));
            }
        }
    }

    fn shown(ranges: &[Range]) -> Vec<String> {
        let networks = ranges.iter().flat_map(|range| range.networks());
        networks.map(|network| network.to_string()).collect()
    }
}

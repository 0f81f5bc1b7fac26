//! `turn.alternate_servers`: where clients are sent when this server is full.

use std::net::{IpAddr, SocketAddr};

use super::values;
use crate::relay::engine::alternate::Alternate;

/// `address`, `address:port`, or either behind `name/`.
pub(super) fn parse(entries: &[String]) -> Result<Vec<Alternate>, String> {
    entries.iter().map(|entry| parse_one(entry)).collect()
}

fn parse_one(entry: &str) -> Result<Alternate, String> {
    let (name, addr) = match entry.split_once('/') {
        Some((name, addr)) => (Some(name), addr),
        None => (None, entry),
    };
    let refused = || {
        format!(
            "{entry:?} must be an address, with a port or a name where needed: turn2.example.org/192.0.2.7:3478"
        )
    };
    let name = name.map(values::host).transpose().map_err(|_| refused())?;
    let (ip, port) = match (addr.parse::<SocketAddr>(), addr.parse::<IpAddr>()) {
        (Ok(addr), _) => (addr.ip(), Some(addr.port())),
        (Err(_), Ok(ip)) => (ip, None),
        (Err(_), Err(_)) => return Err(refused()),
    };
    if ip.is_unspecified() || ip.is_multicast() || port == Some(0) {
        return Err(refused());
    }
    Ok(Alternate { name, ip, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_ports_and_names() {
        let cases = [
            ("192.0.2.7", Some((None, "192.0.2.7", None))),
            ("192.0.2.7:3479", Some((None, "192.0.2.7", Some(3479)))),
            ("2001:db8::7", Some((None, "2001:db8::7", None))),
            ("[2001:db8::7]:443", Some((None, "2001:db8::7", Some(443)))),
            (
                "turn2.example.org/192.0.2.7",
                Some((Some("turn2.example.org"), "192.0.2.7", None)),
            ),
            ("turn2.example.org", None),
            ("turn2.example.org/", None),
            ("/192.0.2.7", None),
            ("192.0.2.7:0", None),
            ("0.0.0.0", None),
            ("239.1.1.1:3478", None),
            ("", None),
        ];
        for (entry, expected) in cases {
            let expected = expected.map(|(name, ip, port)| Alternate {
                name: name.map(str::to_owned),
                ip: ip.parse().unwrap(),
                port,
            });
            assert_eq!(parse_one(entry).ok(), expected, "{entry:?}");
        }
    }
}

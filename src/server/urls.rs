//! The URLs that clients are handed: from what is really bound, few, since a browser allocates once for each.

use std::net::{IpAddr, SocketAddr};

use crate::relay::Bound;
use crate::signaling::ice_servers::RelayUrls;

/// STUN and TURN URLs ([RFC 7064](https://www.rfc-editor.org/rfc/rfc7064),
/// [RFC 7065](https://www.rfc-editor.org/rfc/rfc7065)) with `host`, one for each transport.
pub(super) fn relay_urls(host: &str, bound: &Bound) -> RelayUrls {
    let udp = port(host, &bound.udp);
    let tcp = port(host, &bound.tcp);
    let tls = port(host, &bound.tls);
    let turn = [
        udp.map(|port| format!("turn:{host}:{port}?transport=udp")),
        tcp.map(|port| format!("turn:{host}:{port}?transport=tcp")),
        tls.map(|port| format!("turns:{host}:{port}?transport=tcp")),
    ];
    RelayUrls {
        stun: udp
            .iter()
            .map(|port| format!("stun:{host}:{port}"))
            .collect(),
        turn: turn.into_iter().flatten().collect(),
    }
}

/// The port of the listener that `host` most likely leads to.
fn port(host: &str, bound: &[SocketAddr]) -> Option<u16> {
    let named: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    let exact = bound.iter().find(|addr| Some(addr.ip()) == named);
    let wildcard = || {
        let family = |addr: &&SocketAddr| named.is_none_or(|ip| ip.is_ipv4() == addr.is_ipv4());
        bound
            .iter()
            .filter(|addr| addr.ip().is_unspecified())
            .find(family)
    };
    let chosen = exact.or_else(wildcard).or_else(|| bound.first());
    chosen.map(SocketAddr::port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_transport_has_one_url() {
        let bound = Bound {
            udp: addrs(&["0.0.0.0:3478", "[::]:3479"]),
            tcp: addrs(&["127.0.0.1:1", "192.0.2.1:3480"]),
            tls: addrs(&["[::]:5349", "0.0.0.0:5350"]),
            // Browsers have no use for it.
            dtls: addrs(&["0.0.0.0:5351"]),
        };
        let urls = relay_urls("192.0.2.1", &bound);
        assert_eq!(urls.stun, ["stun:192.0.2.1:3478"]);
        let expected = [
            "turn:192.0.2.1:3478?transport=udp",
            "turn:192.0.2.1:3480?transport=tcp",
            "turns:192.0.2.1:5350?transport=tcp",
        ];
        assert_eq!(urls.turn, expected);
        assert_eq!(
            relay_urls("[2001:db8::1]", &bound).stun,
            ["stun:[2001:db8::1]:3479"]
        );
    }

    #[test]
    fn a_transport_without_listener_has_none() {
        assert_eq!(
            relay_urls("turn.example.org", &Bound::default()),
            RelayUrls::default()
        );
    }

    fn addrs(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }
}

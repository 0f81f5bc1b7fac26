//! The client behind the connection: whom trusted proxies name in `X-Forwarded-For`.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName},
    middleware::Next,
    response::Response,
};
use ipnet::IpNet;

use crate::source::Source;

/// The proxies whose word is taken for where a request comes from. Clone freely.
#[derive(Clone, Debug)]
pub struct TrustedProxies(Arc<[IpNet]>);

impl TrustedProxies {
    /// Trusts whoever speaks from these networks.
    #[must_use]
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks.into())
    }

    /// Whether connections from there are those of others.
    #[must_use]
    pub fn contains(&self, source: Source) -> bool {
        let ip = source.0.to_canonical();
        self.0.iter().any(|network| network.contains(&ip))
    }

    /// Each proxy appends whom it was asked by: from the last hop back to the first that is not trusted, which only
    /// says who it is. What stands before that, anybody may have made up.
    fn client(&self, peer: Source, headers: &HeaderMap) -> Source {
        let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
        let hops = lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
        let mut source = peer;
        for hop in hops {
            if !self.contains(source) {
                break;
            }
            let Some(ip) = parse_hop(hop.trim()) else {
                break;
            };
            source = Source(ip);
        }
        source
    }
}

/// Middleware to lay around everything: puts the client's [`Source`] in the place of the connection's.
pub async fn resolve(
    State(proxies): State<TrustedProxies>,
    mut request: Request,
    next: Next,
) -> Response {
    if let Some(peer) = request.extensions().get::<Source>().copied() {
        let client = proxies.client(peer, request.headers());
        request.extensions_mut().insert(client);
    }
    next.run(request).await
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// An address, as some write it with a port, IPv6 in brackets or not.
fn parse_hop(hop: &str) -> Option<IpAddr> {
    let with_port = || hop.parse::<SocketAddr>().map(|addr| addr.ip());
    let bracketed = || hop.trim_matches(['[', ']']).parse();
    let ip = with_port().or_else(|_| bracketed()).ok()?;
    Some(ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_the_last_who_is_no_trusted_proxy() {
        let cases: &[(&str, &str, &[&str], &str)] = &[
            ("no proxy", "192.0.2.9", &[], "192.0.2.9"),
            ("a proxy that names nobody", "127.0.0.1", &[], "127.0.0.1"),
            ("a stranger's word", "192.0.2.9", &["10.0.0.1"], "192.0.2.9"),
            ("a proxy", "127.0.0.1", &["192.0.2.1"], "192.0.2.1"),
            ("IPv6", "::1", &["2001:db8::1"], "2001:db8::1"),
            ("a port", "::1", &["192.0.2.1:4711"], "192.0.2.1"),
            ("brackets", "::1", &["[2001:db8::1]"], "2001:db8::1"),
            ("both", "::1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            (
                "IPv4 in IPv6",
                "::ffff:127.0.0.1",
                &["::ffff:192.0.2.1"],
                "192.0.2.1",
            ),
            (
                "an invented hop",
                "127.0.0.1",
                &["10.9.9.9, 192.0.2.1"],
                "192.0.2.1",
            ),
            (
                "an invented line",
                "127.0.0.1",
                &["10.9.9.9", "192.0.2.1"],
                "192.0.2.1",
            ),
            (
                "two proxies",
                "127.0.0.1",
                &["192.0.2.1, 10.1.0.2"],
                "192.0.2.1",
            ),
            (
                "in two lines",
                "127.0.0.1",
                &["192.0.2.1", "10.1.0.2"],
                "192.0.2.1",
            ),
            (
                "proxies only",
                "127.0.0.1",
                &["10.1.0.1,10.1.0.2"],
                "10.1.0.1",
            ),
            ("junk", "127.0.0.1", &["192.0.2.1, unknown"], "127.0.0.1"),
            (
                "junk behind a proxy",
                "127.0.0.1",
                &["junk, 10.1.0.2"],
                "10.1.0.2",
            ),
            ("nothing", "127.0.0.1", &[""], "127.0.0.1"),
        ];
        let networks = ["127.0.0.0/8", "::1/128", "10.1.0.0/16"];
        let proxies = TrustedProxies::new(networks.map(|text| text.parse().unwrap()).into());
        for (name, peer, lines, expected) in cases {
            let mut headers = HeaderMap::new();
            for line in *lines {
                headers.append(X_FORWARDED_FOR, line.parse().unwrap());
            }
            let client = proxies.client(Source(peer.parse().unwrap()), &headers);
            assert_eq!(client.0.to_canonical().to_string(), *expected, "{name}");
        }
    }
}

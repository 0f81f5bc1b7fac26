//! A small internet: the server, a peer and a client's home behind its NAT, each on a link of the one router between.

use crate::namespace::Namespace;

pub(crate) const SERVER: &str = "198.51.100.1";
pub(crate) const SERVER_V6: &str = "2001:db8:1::1";
pub(crate) const PEER: &str = "192.0.2.9";
pub(crate) const PEER_V6: &str = "2001:db8:2::9";
/// The NAT, as the internet sees it.
pub(crate) const NAT: &str = "203.0.113.2";
pub(crate) const CLIENT_V6: &str = "2001:db8:4::2";
/// The server's own address where it is behind a NAT too.
pub(crate) const SERVER_PRIVATE: &str = "10.0.0.5";

pub(crate) struct Internet {
    pub(crate) server: Namespace,
    pub(crate) peer: Namespace,
    pub(crate) client: Namespace,
    pub(crate) nat: Namespace,
    pub(crate) router: Namespace,
    /// In front of the server.
    gateway: Option<Namespace>,
}

impl Internet {
    pub(crate) fn new() -> Self {
        let internet = Self::without_server();
        let (server, router) = (&internet.server, &internet.router);
        router.cable("server", server, "eth0");
        internet.serve_at(server, "eth0");
        internet
    }

    /// The server has a private address, and a gateway that maps the public one to it, one to one.
    pub(crate) fn with_server_behind_nat() -> Self {
        let mut internet = Self::without_server();
        let gateway = Namespace::new("gw");
        internet.router.cable("server", &gateway, "outer");
        internet.serve_at(&gateway, "outer");
        gateway.forwards();
        gateway.cable("inner", &internet.server, "eth0");
        gateway.address("inner", "10.0.0.1/24");
        internet
            .server
            .address("eth0", &format!("{SERVER_PRIVATE}/24"));
        internet.server.ip("route add default via 10.0.0.1");
        gateway.nft(&format!(
            "table ip nat {{
                chain in {{ type nat hook prerouting priority -100; ip daddr {SERVER} dnat to {SERVER_PRIVATE}; }}
                chain out {{ type nat hook postrouting priority 100; ip saddr {SERVER_PRIVATE} snat to {SERVER}; }}
            }}"
        ));
        internet.gateway = Some(gateway);
        internet
    }

    fn without_server() -> Self {
        let [server, peer, client, nat, router] =
            ["server", "peer", "client", "nat", "router"].map(Namespace::new);
        router.forwards();
        nat.forwards();
        router.cable("peer", &peer, "eth0");
        router.address("peer", "192.0.2.1/24");
        router.address("peer", "2001:db8:2::1/64");
        peer.address("eth0", &format!("{PEER}/24"));
        peer.address("eth0", &format!("{PEER_V6}/64"));
        peer.ip("route add default via 192.0.2.1");
        peer.ip("-6 route add default via 2001:db8:2::1");
        router.cable("nat", &nat, "outer");
        router.address("nat", "203.0.113.1/24");
        router.address("nat", "2001:db8:3::1/64");
        nat.address("outer", &format!("{NAT}/24"));
        nat.address("outer", "2001:db8:3::2/64");
        nat.ip("route add default via 203.0.113.1");
        nat.ip("-6 route add default via 2001:db8:3::1");
        router.ip("-6 route add 2001:db8:4::/64 via 2001:db8:3::2");
        nat.cable("inner", &client, "eth0");
        nat.address("inner", "192.168.1.1/24");
        nat.address("inner", "2001:db8:4::1/64");
        client.address("eth0", "192.168.1.2/24");
        client.address("eth0", &format!("{CLIENT_V6}/64"));
        client.ip("route add default via 192.168.1.1");
        client.ip("-6 route add default via 2001:db8:4::1");
        // A port drawn anew for every destination: a symmetric NAT.
        nat.nft(
            "table ip nat {
                chain out { type nat hook postrouting priority 100; oifname outer masquerade random,fully-random; }
            }",
        );
        Self {
            server,
            peer,
            client,
            nat,
            router,
            gateway: None,
        }
    }

    fn serve_at(&self, namespace: &Namespace, device: &str) {
        self.router.address("server", "198.51.100.254/24");
        self.router.address("server", "2001:db8:1::fe/64");
        namespace.address(device, &format!("{SERVER}/24"));
        namespace.address(device, &format!("{SERVER_V6}/64"));
        namespace.ip("route add default via 198.51.100.254");
        namespace.ip("-6 route add default via 2001:db8:1::fe");
    }
}

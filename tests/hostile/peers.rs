//! The server's own services are nobody's peers.

use std::net::{SocketAddr, TcpListener};

use crate::client::{Client, Over};
use crate::start;
use crate::world::{PASSWORD, USER};

#[tokio::test]
async fn r86_a_relay_reaches_none_of_the_servers_own_services_by_any_of_its_addresses() {
    // A Redis that never says a word is one, too.
    let redis = TcpListener::bind("127.0.0.1:0").unwrap();
    let redis = redis.local_addr().unwrap();
    let url = format!("redis://{redis}");
    let setu = start(&[
        ("SETU_STORE__REDIS_URL", &url),
        ("SETU_HTTP__LISTEN", "0.0.0.0:0"),
        ("SETU_TURN__LISTEN_TCP", "0.0.0.0:0"),
    ]);
    let mut client = Client::with(setu.udp, Over::Udp, USER, PASSWORD).await;
    client.allocate().await.unwrap();
    for port in [&redis, &setu.http, &setu.tcp].map(SocketAddr::port) {
        for ip in ["127.0.0.1", "127.0.0.9"] {
            let peer = SocketAddr::new(ip.parse().unwrap(), port);
            let bound = client.bind_channel(0x4000, peer).await;
            assert_eq!(bound.map(drop), Err(403), "{peer}");
        }
    }
    for listener in [setu.udp, setu.tls] {
        let bound = client.bind_channel(0x4000, listener).await;
        assert_eq!(bound.map(drop), Err(403), "{listener}");
    }
    let elsewhere = SocketAddr::new(setu.udp.ip(), 9);
    assert!(client.bind_channel(0x4000, elsewhere).await.is_ok());
}

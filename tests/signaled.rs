//! `peers.mode = "signaled"`: signaling tells the relay whom its participants may reach, on one node and on two.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;

use serde_json::{Value, json};

use client::{Client, Over};
use common::Setu;
use polling::{Polling, credential};
use servers::{Server, until};

#[path = "relay/client.rs"]
#[allow(dead_code, reason = "each test target uses its part")]
mod client;
#[allow(dead_code, reason = "each test target uses its part")]
mod common;
#[path = "common/polling.rs"]
mod polling;
#[path = "common/redis.rs"]
#[allow(dead_code, reason = "each test target uses its part")]
mod servers;
#[path = "relay/world.rs"]
#[allow(dead_code, reason = "each test target uses its part")]
mod world;

/// 127.0.0.1 is the relay's own address, and that of every client here.
const CANDIDATE: &str = "127.0.0.7:9";
const DESCRIBED: &str = "127.0.0.8:9";

#[tokio::test]
async fn a_peer_is_reached_once_it_was_named_in_the_session() {
    let setu = start(&[]);
    let (_alice, hers) = Polling::join(setu.http, "one", "alice");
    let (mut bob, _) = Polling::join(setu.http, "one", "bob");
    let (_carol, other) = Polling::join(setu.http, "two", "carol");
    let mut alice = relayed(setu.udp, &hers).await;
    let mut carol = relayed(setu.udp, &other).await;
    for peer in [CANDIDATE, DESCRIBED] {
        assert_eq!(permit(&mut alice, peer).await, Err(403), "{peer}");
    }
    bob.emit("webrtc-ice-candidate", &candidate());
    until_permitted(&mut alice, CANDIDATE).await;
    assert_eq!(permit(&mut alice, DESCRIBED).await, Err(403));
    bob.emit("webrtc-offer", &offer());
    until_permitted(&mut alice, DESCRIBED).await;
    for peer in [CANDIDATE, DESCRIBED] {
        assert_eq!(permit(&mut carol, peer).await, Err(403), "another session");
    }
}

#[tokio::test]
async fn a_forged_message_names_nobody() {
    let setu = start(&[]);
    let (_alice, hers) = Polling::join(setu.http, "one", "alice");
    let (mut mallory, _) = Polling::join(setu.http, "two", "mallory");
    mallory.emit("webrtc-ice-candidate", &candidate());
    assert_eq!(mallory.wait_for("error")["code"], "NOT_IN_SESSION");
    let mut alice = relayed(setu.udp, &hers).await;
    assert_eq!(permit(&mut alice, CANDIDATE).await, Err(403));
}

/// Both are on the first node, which has no reason to pass their messages on; the relay is the second one's.
#[tokio::test]
async fn the_relays_of_other_nodes_are_told() {
    let redis = Server::start(&[]);
    let url = redis.url();
    let [first, second] = [(); 2].map(|()| start(&[("SETU_STORE__REDIS_URL", &url)]));
    let (_alice, hers) = Polling::join(first.http, "one", "alice");
    let (mut bob, _) = Polling::join(first.http, "one", "bob");
    until("the other node knows both", || {
        let health = common::get(second.http, "/health").json();
        health["cluster"]["activeParticipants"] == 2
    });
    let mut alice = relayed(second.udp, &hers).await;
    assert_eq!(permit(&mut alice, CANDIDATE).await, Err(403));
    bob.emit("webrtc-ice-candidate", &candidate());
    until_permitted(&mut alice, CANDIDATE).await;
}

fn candidate() -> Value {
    let candidate = "candidate:1 1 udp 2122260223 127.0.0.7 9 typ host";
    signal("ice-candidate", &json!({ "candidate": candidate }))
}

fn offer() -> Value {
    let sdp = "v=0\r\na=candidate:1 1 udp 2122260223 127.0.0.8 9 typ host\r\n";
    signal("offer", &json!({ "type": "offer", "sdp": sdp }))
}

fn signal(what: &str, data: &Value) -> Value {
    json!({ "type": what, "sessionId": "one", "from": "bob", "to": "alice", "data": data })
}

/// A client with an allocation by the credential of its join.
async fn relayed(server: SocketAddr, joined: &Value) -> Client {
    let [username, password] = credential(joined);
    let mut client = Client::with(server, Over::Udp, username, password).await;
    client.allocate().await.unwrap();
    client
}

async fn permit(client: &mut Client, peer: &str) -> Result<(), u16> {
    client.permit(peer.parse().unwrap()).await.map(drop)
}

/// Nobody says when the relay has heard of it: the message is acknowledged to nobody here.
async fn until_permitted(client: &mut Client, peer: &str) {
    let attempts = async {
        while permit(client, peer).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(world::PATIENCE, attempts)
        .await
        .unwrap();
}

fn start(variables: &[(&str, &str)]) -> Setu {
    let ports = world::free_range();
    let ports = format!("{}-{}", ports.start(), ports.end());
    let mut all = vec![
        ("SETU_PEERS__MODE", "signaled"),
        ("SETU_CREDENTIALS__SECRET", "north"),
        ("SETU_TURN__RELAY_PORTS", ports.as_str()),
    ];
    all.extend_from_slice(variables);
    Setu::start(&all)
}

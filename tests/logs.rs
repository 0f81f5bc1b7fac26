//! What the log says, and what it never says.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, File};

use serde_json::{Value, json};
use tokio::net::UdpSocket;

use client::{Client, Over};
use common::{Folder, Setu, ask, get, jwt};
use polling::{Polling, credential};
use servers::Server;

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

const ADMIN_TOKEN: &str = "admin-token-of-this-test";
const SECRET: &str = "secret-that-signs-credentials-of-this-test";
const PREVIOUS_SECRET: &str = "secret-that-signed-them-before";
const STATIC_PASSWORD: &str = "password-of-a-static-user";
const REDIS_PASSWORD: &str = "password-of-redis-in-this-test";
const JWT_SECRET: &str = "secret-that-signs-the-tokens-of-this-test";
const OAUTH_KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZg==";
const ADDRESS: &str = "203.0.113.77";
const FINGERPRINT: &str = "AB:CD:EF:01:23:45:67:89";
const ICE_PASSWORD: &str = "icePasswordOfThisTest0123456789";
const UFRAG: &str = "uFrg77";

#[tokio::test]
async fn a_whole_call_leaves_no_secret_in_the_log_at_any_level() {
    let redis = Server::start(&["--requirepass", REDIS_PASSWORD]);
    let port = redis.url().rsplit(':').next().unwrap().to_owned();
    let redis_url = format!("redis://:{REDIS_PASSWORD}@127.0.0.1:{port}");
    let setu = Logging::start(&[
        ("SETU_LOG__LEVEL", "trace"),
        ("SETU_LOG__FORMAT", "json"),
        ("SETU_STORE__REDIS_URL", &redis_url),
    ]);
    let token = jwt(
        JWT_SECRET,
        &json!({ "sub": "alice", "exp": 4_000_000_000_u64 }),
    );
    let (mut alice, joined) = Polling::join_by(&token, setu.server.http, "circle", "alice");
    talk(&mut alice);
    let [username, password] = credential(&joined);
    for over in Over::ALL {
        call(&setu, over, username, password).await;
        call(&setu, over, "static-user", STATIC_PASSWORD).await;
    }
    let mut stranger = Client::with(setu.server.udp, Over::Udp, username, "guessed").await;
    assert_eq!(stranger.allocate().await.err(), Some(401));
    let bearer = format!("Authorization: Bearer {token}");
    let handed_out = ask(setu.server.http, "GET /ice-servers", &[&bearer], "");
    assert_eq!(handed_out.status, 200, "{handed_out:?}");
    let more = handed_out.json()["iceServers"][1]["credential"].clone();
    let operator = format!("Authorization: Bearer {ADMIN_TOKEN}");
    for path in ["/api/sessions", "/api/sessions/circle", "/metrics"] {
        let answer = ask(setu.server.http, &format!("GET {path}"), &[&operator], "");
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let wrong = ask(
        setu.server.http,
        "GET /api/sessions",
        &["Authorization: Bearer guessed-token"],
        "",
    );
    assert_eq!(wrong.status, 401);
    get(setu.server.http, "/");
    let text = setu.end();
    let never = [
        ADMIN_TOKEN,
        SECRET,
        PREVIOUS_SECRET,
        STATIC_PASSWORD,
        REDIS_PASSWORD,
        JWT_SECRET,
        OAUTH_KEY,
        ADDRESS,
        FINGERPRINT,
        ICE_PASSWORD,
        UFRAG,
        "guessed",
        "m=audio",
        "candidate:",
        &token,
        password,
        more.as_str().unwrap(),
    ];
    for secret in never {
        let line = text.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
    let levels = text.lines().map(|line| {
        let record: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        record["level"].as_str().unwrap().to_owned()
    });
    let levels: Vec<_> = levels.collect();
    for level in ["INFO", "DEBUG"] {
        assert!(levels.iter().any(|found| found == level), "{level}");
    }
}

#[tokio::test]
async fn an_allocation_leaves_one_line_that_tells_its_life() {
    let setu = Logging::start(&[("SETU_LOG__FORMAT", "json")]);
    call(&setu, Over::Tcp, "static-user", STATIC_PASSWORD).await;
    let mut kept = Client::with(setu.server.udp, Over::Udp, "static-user", STATIC_PASSWORD).await;
    kept.allocate().await.unwrap();
    let text = setu.end();
    let lives = text
        .lines()
        .filter(|line| line.contains("\"allocation gone\""));
    let lives: Vec<Value> = lives
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let told: Vec<_> = lives
        .iter()
        .map(|life| {
            let life = &life["fields"];
            let text = |key: &str| life[key].as_str().unwrap().to_owned();
            let number = |key: &str| life[key].as_u64().unwrap();
            let there = [number("to_peers_packets"), number("to_peers_bytes")];
            let back = [number("to_clients_packets"), number("to_clients_bytes")];
            (text("user"), text("transport"), there, back, text("why"))
        })
        .collect();
    let line = |transport: &str, there, back, why: &str| {
        let user = "static-user".to_owned();
        (user, transport.to_owned(), there, back, why.to_owned())
    };
    let expected = [
        line("tcp", [1, 7], [1, 2], "released"),
        line("udp", [0, 0], [0, 0], "stopped"),
    ];
    assert_eq!(told, expected, "{lives:?}");
}

/// Everything that passes through signaling and is nobody's business.
fn talk(alice: &mut Polling) {
    let sdp = format!(
        "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 {ADDRESS}\r\na=ice-ufrag:{UFRAG}\r\n\
         a=ice-pwd:{ICE_PASSWORD}\r\na=fingerprint:sha-256 {FINGERPRINT}\r\n"
    );
    let candidate = format!("candidate:1 1 udp 2122260223 {ADDRESS} 54321 typ host ufrag {UFRAG}");
    let message = |data: Value| json!({ "sessionId": "circle", "from": "alice", "data": data });
    for event in ["webrtc-offer", "webrtc-answer", "webrtc-signaling"] {
        alice.emit(event, &message(json!({ "type": "offer", "sdp": sdp })));
    }
    let candidate = message(json!({ "candidate": candidate, "sdpMid": "0" }));
    alice.emit("webrtc-ice-candidate", &candidate);
    // Refused, and told so.
    alice.emit(
        "webrtc-offer",
        &json!({ "sessionId": "another", "from": "alice", "sdp": sdp }),
    );
    alice.emit(&candidate.to_string(), &json!({ "sdp": sdp }));
    alice.wait_for("error");
}

/// One packet each way, and the allocation is given back.
async fn call(setu: &Logging, over: Over, username: &str, password: &str) {
    let server = match over {
        Over::Udp => setu.server.udp,
        Over::Tcp => setu.server.tcp,
        Over::Tls => setu.server.tls,
        Over::Dtls => setu.server.dtls.unwrap(),
    };
    let mut client = Client::with(server, over, username, password).await;
    let relayed = client.allocate().await.unwrap();
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = peer.local_addr().unwrap();
    client.bind_channel(0x4000, address).await.unwrap();
    client.send_channel_data(0x4000, b"namaste").await;
    let mut buffer = [0; 64];
    let received = tokio::time::timeout(world::PATIENCE, peer.recv_from(&mut buffer)).await;
    assert_eq!(received.unwrap().unwrap(), (7, relayed));
    peer.send_to(b"om", relayed).await.unwrap();
    assert_eq!(client.receive_channel_data(0x4000).await, b"om");
    client.refresh(0).await.unwrap();
}

/// A server whose log is kept.
struct Logging {
    server: Setu,
    folder: Folder,
}

impl Logging {
    fn start(variables: &[(&str, &str)]) -> Self {
        let folder = Folder::new();
        let ports = world::free_range();
        let ports = format!("{}-{}", ports.start(), ports.end());
        let users = format!("static-user:{STATIC_PASSWORD}");
        let oauth_key = format!("kid:{OAUTH_KEY}");
        let mut all = vec![
            ("SETU_HTTP__ADMIN_TOKEN", ADMIN_TOKEN),
            ("SETU_CREDENTIALS__SECRET", SECRET),
            ("SETU_CREDENTIALS__PREVIOUS_SECRETS", PREVIOUS_SECRET),
            ("SETU_TURN__USERS", &users),
            ("SETU_TURN__RELAY_PORTS", &ports),
            ("SETU_TURN__OAUTH_SERVER", "turn.example.org"),
            ("SETU_TURN__OAUTH_KEYS", &oauth_key),
            ("SETU_ACCESS__MODE", "token"),
            ("SETU_ACCESS__JWT_SECRET", JWT_SECRET),
        ];
        all.extend_from_slice(variables);
        let log = File::create(folder.0.join("log")).unwrap();
        Self {
            server: Setu::start_logging(&all, log),
            folder,
        }
    }

    /// All that was logged until the server had stopped.
    fn end(mut self) -> String {
        self.server.signal("TERM");
        assert!(self.server.wait().success());
        fs::read_to_string(self.folder.0.join("log")).unwrap()
    }
}

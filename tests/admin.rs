//! What operators see and end under `/api`: on one node, and on two.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::net::UdpSocket;

use client::{Client, Over};
use common::{Answer, Setu, ask};
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

const ADMIN_TOKEN: &str = "open-sesame";
const CIRCLE: &str = "circle/1 ॐ";
const CIRCLE_PATH: &str = "/api/sessions/circle%2F1%20%E0%A5%90";

#[test]
fn only_operators_are_answered_and_every_refusal_says_why() {
    let setu = start(&[]);
    let too_long = format!("GET /api/sessions/{}", "x".repeat(257));
    let cases = [
        ("GET /api/sessions/none", 404, "NOT_FOUND"),
        ("DELETE /api/sessions/none", 404, "NOT_FOUND"),
        (
            "DELETE /api/sessions/none/participants/alice",
            404,
            "NOT_FOUND",
        ),
        ("DELETE /api/allocations/0000000000000001", 404, "NOT_FOUND"),
        ("DELETE /api/allocations/none", 404, "NOT_FOUND"),
        ("GET /api/live?offset=few", 400, "INVALID_PARAMETERS"),
        (too_long.as_str(), 400, "INVALID_SESSION_ID"),
        ("GET /api/sessions/%FF", 400, "INVALID_PARAMETERS"),
        ("PUT /api/log", 415, "UNSUPPORTED_MEDIA_TYPE"),
        ("POST /api/sessions", 405, "METHOD_NOT_ALLOWED"),
        (
            "GET /api/sessions/none/participants/alice",
            405,
            "METHOD_NOT_ALLOWED",
        ),
    ];
    for (request, status, code) in cases {
        let answer = as_operator(setu.http, request);
        let expected = (status, code.to_owned());
        assert_eq!((answer.status, code_of(&answer)), expected, "{request}");
        if status != 405 {
            let stranger = ask(setu.http, request, &["Authorization: Bearer guess"], "");
            let expected = (401, "TOKEN_INVALID".to_owned());
            assert_eq!((stranger.status, code_of(&stranger)), expected, "{request}");
        }
    }
    let nothing = as_operator(setu.http, "GET /api/sessions");
    assert_eq!(nothing.json(), json!({ "sessions": [] }));
}

#[test]
fn what_is_logged_changes_without_a_restart() {
    let setu = start(&[("SETU_LOG__LEVEL", "warn")]);
    let put = |level: &str| {
        let token = format!("Authorization: Bearer {ADMIN_TOKEN}");
        let head = [token.as_str(), "Content-Type: application/json"];
        let body = json!({ "level": level }).to_string();
        ask(setu.http, "PUT /api/log", &head, &body)
    };
    let level = || as_operator(setu.http, "GET /api/log").json();
    assert_eq!(level(), json!({ "level": "warn" }));
    let changed = put("info,setu::relay=debug");
    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!(changed.json(), level());
    let now = level()["level"].as_str().unwrap().to_owned();
    assert!(now.contains("setu::relay=debug"), "{now}");
    let refused = put("loud");
    let expected = (400, "INVALID_PARAMETERS".to_owned());
    assert_eq!((refused.status, code_of(&refused)), expected);
    assert_eq!(level()["level"], now.as_str());
}

#[test]
fn whoever_watches_is_told_at_once_and_then_every_second() {
    let setu = start(&[]);
    let (_alice, _) = Polling::join(setu.http, CIRCLE, "alice");
    let mut watched = Watched::open(setu.http, "");
    let first = watched.next();
    let rows = &first["list"]["sessions"];
    assert_eq!(rows[0]["sessionId"], CIRCLE);
    assert_eq!(rows[0]["names"], json!(["alice"]));
    assert!(first["history"].is_array(), "{first}");
    assert_eq!(first["session"], Value::Null);
    assert_eq!(first["redis"], Value::Null);
    assert_eq!(first["nodes"][0]["own"], true);
    let (_bob, _) = Polling::join(setu.http, "another", "bob");
    let later = watched.until(|told| told["list"]["matching"] == 2);
    assert_eq!(later.get("history"), None, "told once");
    let found = Watched::open(setu.http, "?search=BOB").next();
    assert_eq!(found["list"]["matching"], 1);
    assert_eq!(found["point"][2], 2, "of all, whatever is searched for");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_session_tells_how_its_media_may_travel_and_what_it_relays() {
    let setu = start(&[]);
    let (mut alice, joined) = Polling::join(setu.http, CIRCLE, "alice");
    let candidate =
        json!({ "candidate": "candidate:1 1 udp 1 192.0.2.1 1 typ srflx raddr 10.0.0.1 rport 1" });
    let message =
        json!({ "type": "ice-candidate", "sessionId": CIRCLE, "from": "alice", "data": candidate });
    alice.emit("webrtc-ice-candidate", &message);
    let mut turn = Turn::allocate(setu.udp, &joined).await.unwrap();
    turn.relay(3).await;
    let query = "?session=circle%2F1%20%E0%A5%90&allocations=true&search=ali";
    let mut watched = Watched::open(setu.http, query);
    let told =
        watched.until(|told| told["session"]["participants"][0]["candidates"]["srflx"] == true);
    let alice = &told["session"]["participants"][0];
    let kinds = json!({ "host": false, "srflx": true, "prflx": false, "relay": false });
    assert_eq!(alice["candidates"], kinds);
    assert_eq!(alice["relay"], figures(1, [3, 21], [3, 6]));
    let [allocation] = alice["allocations"].as_array().unwrap().as_slice() else {
        panic!("{alice}");
    };
    assert_eq!(allocation["relayed"], turn.relayed.to_string());
    assert_eq!(told["allocations"]["matching"], 1);
    assert_eq!(
        told["allocations"]["allocations"][0]["id"],
        allocation["id"]
    );
    watched.until(|told| told["session"]["participants"][0]["rate"].is_object());

    let remove = format!("DELETE {CIRCLE_PATH}/participants/alice");
    assert_eq!(as_operator(setu.http, &remove).status, 204);
    let gone = watched.until(|told| told["session"].is_null());
    assert_eq!(gone["allocations"]["matching"], 0);
}

#[test]
fn many_sessions_come_a_page_at_a_time() {
    let setu = start(&[]);
    let mut everybody = Vec::new();
    for number in 0..60 {
        everybody.push(Polling::join(setu.http, &format!("s{number:02}"), "alice"));
    }
    let page = |offset: usize| Watched::open(setu.http, &format!("?offset={offset}")).next();
    let (first, second) = (page(0), page(50));
    assert_eq!(first["list"]["matching"], 60);
    assert_eq!(first["list"]["sessions"].as_array().unwrap().len(), 50);
    let rest = second["list"]["sessions"].as_array().unwrap();
    assert_eq!((rest.len(), &rest[0]["sessionId"]), (10, &json!("s50")));
}

#[test]
fn whoever_has_an_earlier_token_watches_no_longer() {
    let folder = common::Folder::new();
    let file = folder.write("token", ADMIN_TOKEN);
    let setu = Setu::start(&[("SETU_HTTP__ADMIN_TOKEN_FILE", file.to_str().unwrap())]);
    let mut watched = Watched::open(setu.http, "");
    watched.next();
    folder.write("token", "another-sesame");
    setu.signal("HUP");
    let mut rest = String::new();
    watched.0.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "it ended: {rest}");
    let request = "GET /api/live";
    assert_eq!(as_operator(setu.http, request).status, 401);
}

#[test]
fn as_many_watch_as_may() {
    let setu = start(&[("SETU_LIMITS__CONNECTIONS_PER_SOURCE", "0")]);
    let mut watching: Vec<_> = (0..32).map(|_| Watched::open(setu.http, "")).collect();
    for one in &mut watching {
        one.next();
    }
    let refused = as_operator(setu.http, "GET /api/live");
    assert_eq!(
        (refused.status, code_of(&refused)),
        (429, "LIMIT_EXCEEDED".to_owned())
    );
    drop(watching);
    within_a_second("a place is free", || {
        let mut stream = Watched::request(setu.http, "");
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        &head == b"HTTP/1.1 200"
    });
}

#[test]
fn a_session_is_shown_as_its_members_know_it() {
    let setu = start(&[]);
    let (mut alice, _) = Polling::join(setu.http, CIRCLE, "alice");
    let (mut bob, _) = Polling::join(setu.http, CIRCLE, "bob");
    let said = [
        ("update-queue", "queue", json!(["bob", "alice"])),
        ("change-verse", "verse", json!({ "id": "1.1" })),
        ("start-session-timer", "duration", json!(60)),
    ];
    for (event, key, value) in said {
        alice.emit(event, &json!({ "sessionId": CIRCLE, key: value }));
    }
    bob.wait_for("session-timer-update");

    let all = as_operator(setu.http, "GET /api/sessions").json();
    let [session] = all["sessions"].as_array().unwrap().as_slice() else {
        panic!("{all}");
    };
    assert_eq!(session["sessionId"], CIRCLE);
    let counts = [&session["participants"], &session["queue"]];
    assert_eq!(counts, [2, 2], "{session}");
    assert_eq!(session["verse"], true);

    let session = shown(setu.http);
    assert_eq!(session["queue"], json!(["bob", "alice"]));
    assert_eq!(session["currentReader"], "bob");
    assert_eq!(session["verse"], json!({ "id": "1.1" }));
    assert_eq!(session["timer"]["isActive"], true);
    let names = session["participants"].as_array().unwrap().iter();
    let names: Vec<_> = names
        .map(|one| (&one["participantId"], &one["sockets"]))
        .collect();
    assert_eq!(
        names,
        [(&json!("alice"), &json!(1)), (&json!("bob"), &json!(1))]
    );
    assert_eq!(relay_of(&session, "bob"), figures(0, [0, 0], [0, 0]));
}

#[tokio::test]
async fn what_a_participant_relayed_is_shown_and_outlives_its_allocation() {
    let setu = start(&[]);
    let (_alice, joined) = Polling::join(setu.http, CIRCLE, "alice");
    let mut turn = Turn::allocate(setu.udp, &joined).await.unwrap();
    turn.relay(3).await;
    let relayed = figures(1, [3, 21], [3, 6]);
    assert_eq!(relay_of(&shown(setu.http), "alice"), relayed);

    let all = as_operator(setu.http, "GET /api/allocations").json();
    let [allocation] = all["allocations"].as_array().unwrap().as_slice() else {
        panic!("{all}");
    };
    let expected = json!({
        "id": allocation["id"],
        "user": "alice",
        "transport": "udp",
        "client": turn.client.local_addr(),
        "relayed": turn.relayed,
        "ageSeconds": allocation["ageSeconds"],
        "remainingSeconds": allocation["remainingSeconds"],
        "permissions": 1,
        "channels": 1,
        "toPeers": relayed["toPeers"],
        "toClients": relayed["toClients"],
    });
    assert_eq!(allocation, &expected);
    assert!(allocation["remainingSeconds"].as_u64().unwrap() > 500);

    let id = allocation["id"].as_str().unwrap();
    let close = format!("DELETE /api/allocations/{id}");
    assert_eq!(as_operator(setu.http, &close).status, 204);
    assert_eq!(as_operator(setu.http, &close).status, 404);
    assert_eq!(allocations(setu.http), 0);
    let session = shown(setu.http);
    assert_eq!(relay_of(&session, "alice"), figures(0, [3, 21], [3, 6]));
    assert!(Turn::allocate(setu.udp, &joined).await.is_ok(), "another");
}

#[tokio::test]
async fn what_a_participant_relayed_is_not_told_of_their_next_stay() {
    let setu = start(&[]);
    let (mut alice, joined) = Polling::join(setu.http, CIRCLE, "alice");
    let mut turn = Turn::allocate(setu.udp, &joined).await.unwrap();
    turn.relay(3).await;
    let stay = json!({"sessionId": CIRCLE, "participantId": "alice"});
    alice.emit("leave-session", &stay);
    alice.wait_for("session-left");
    within_a_second("nothing is relayed", || allocations(setu.http) == 0);
    let (_alice, _) = Polling::join(setu.http, CIRCLE, "alice");
    let nothing = figures(0, [0, 0], [0, 0]);
    assert_eq!(relay_of(&shown(setu.http), "alice"), nothing);
}

#[tokio::test]
async fn whoever_is_removed_loses_the_relay_within_a_second() {
    let setu = start(&[]);
    let (mut alice, hers) = Polling::join(setu.http, CIRCLE, "alice");
    let (mut bob, his) = Polling::join(setu.http, CIRCLE, "bob");
    let _turn = Turn::allocate(setu.udp, &hers).await.unwrap();
    let _other = Turn::allocate(setu.udp, &his).await.unwrap();
    let remove = format!("DELETE {CIRCLE_PATH}/participants/alice");
    assert_eq!(as_operator(setu.http, &remove).status, 204);
    within_a_second("only bob's is left", || allocations(setu.http) == 1);
    assert_eq!(Turn::allocate(setu.udp, &hers).await.err(), Some(401));
    assert!(Turn::allocate(setu.udp, &his).await.is_ok());
    for (client, event) in [(&mut alice, "session-left"), (&mut bob, "participant-left")] {
        assert_eq!(client.wait_for(event)["participantId"], "alice");
    }
    assert_eq!(as_operator(setu.http, &remove).status, 404);
    assert_eq!(
        shown(setu.http)["participants"].as_array().unwrap().len(),
        1
    );
}

#[tokio::test]
async fn an_ended_session_is_gone_with_everybodys_relay() {
    let setu = start(&[]);
    let (mut alice, hers) = Polling::join(setu.http, CIRCLE, "alice");
    let _turn = Turn::allocate(setu.udp, &hers).await.unwrap();
    let end = format!("DELETE {CIRCLE_PATH}?reason=house%20rules");
    assert_eq!(as_operator(setu.http, &end).status, 204);
    within_a_second("nothing is relayed", || allocations(setu.http) == 0);
    assert_eq!(Turn::allocate(setu.udp, &hers).await.err(), Some(401));
    assert_eq!(alice.wait_for("session-ended")["reason"], "house rules");
    assert_eq!(as_operator(setu.http, &end).status, 404);
    let show = format!("GET {CIRCLE_PATH}");
    assert_eq!(as_operator(setu.http, &show).status, 404);

    let (mut bob, _) = Polling::join(setu.http, "another", "bob");
    as_operator(setu.http, "DELETE /api/sessions/another");
    let reason = &bob.wait_for("session-ended")["reason"];
    assert!(!reason.as_str().unwrap().is_empty());
}

#[tokio::test]
async fn two_nodes_add_up_what_they_relay_and_let_go_together() {
    let redis = Server::start(&[]);
    let url = redis.url();
    let [first, second] = [(); 2].map(|()| start(&[("SETU_STORE__REDIS_URL", &url)]));
    let (_alice, hers) = Polling::join(first.http, CIRCLE, "alice");
    let (_bob, his) = Polling::join(second.http, CIRCLE, "bob");
    for node in [&first, &second] {
        until("each node knows the other, and both participants", || {
            let health = common::get(node.http, "/health").json();
            health["cluster"]["nodes"] == 2 && health["cluster"]["activeParticipants"] == 2
        });
    }
    let mut here = Turn::allocate(first.udp, &hers).await.unwrap();
    let mut there = Turn::allocate(second.udp, &hers).await.unwrap();
    let mut his = Turn::allocate(second.udp, &his).await.unwrap();
    here.relay(1).await;
    there.relay(2).await;
    his.relay(4).await;
    for node in [&first, &second] {
        let session = shown(node.http);
        let alices = figures(2, [3, 21], [3, 6]);
        assert_eq!(relay_of(&session, "alice"), alices, "{session}");
        assert_eq!(relay_of(&session, "bob"), figures(1, [4, 28], [4, 8]));
        let nodes = ["alice", "bob"].map(|who| participant(&session, who)["nodes"][0].clone());
        assert_ne!(nodes[0], nodes[1], "one on each");
    }

    let remove = format!("DELETE {CIRCLE_PATH}/participants/alice");
    assert_eq!(as_operator(first.http, &remove).status, 204);
    within_a_second("only bob's is left", || {
        allocations(first.http) == 0 && allocations(second.http) == 1
    });
    for node in [&first, &second] {
        assert_eq!(Turn::allocate(node.udp, &hers).await.err(), Some(401));
    }

    second.signal("KILL");
    let session = shown(first.http);
    let bobs = relay_of(&session, "bob");
    assert_eq!(
        bobs,
        figures(0, [0, 0], [0, 0]),
        "whoever is dead says nothing"
    );
}

/// A stream of what goes on.
struct Watched(BufReader<TcpStream>);

impl Watched {
    fn open(server: SocketAddr, query: &str) -> Self {
        Self(BufReader::new(Self::request(server, query)))
    }

    fn request(server: SocketAddr, query: &str) -> TcpStream {
        let mut stream = common::connect(server);
        let request = format!(
            "GET /api/live{query} HTTP/1.1\r\nHost: {server}\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    fn next(&mut self) -> Value {
        loop {
            let mut line = String::new();
            assert_ne!(
                self.0.read_line(&mut line).unwrap(),
                0,
                "the stream goes on"
            );
            if let Some(data) = line.strip_prefix("data: ") {
                return serde_json::from_str(data).unwrap();
            }
        }
    }

    fn until(&mut self, mut is_so: impl FnMut(&Value) -> bool) -> Value {
        let mut told = self.next();
        for _ in 0..SECONDS_MAX {
            if is_so(&told) {
                return told;
            }
            told = self.next();
        }
        panic!("not so within {SECONDS_MAX} s: {told}");
    }
}

/// The stream speaks once a second.
const SECONDS_MAX: usize = 10;

/// One allocation, and a peer of its own.
struct Turn {
    client: Client,
    relayed: SocketAddr,
    peer: UdpSocket,
}

impl Turn {
    /// With the credential that came with `session-joined`.
    async fn allocate(server: SocketAddr, joined: &Value) -> Result<Self, u16> {
        let [username, password] = credential(joined);
        let mut client = Client::with(server, Over::Udp, username, password).await;
        let relayed = client.allocate().await?;
        let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        Ok(Self {
            client,
            relayed,
            peer,
        })
    }

    /// So many packets to the peer, each answered: 7 bytes there, 2 back.
    async fn relay(&mut self, packets: usize) {
        let peer = self.peer.local_addr().unwrap();
        self.client.bind_channel(0x4000, peer).await.unwrap();
        for _ in 0..packets {
            self.client.send_channel_data(0x4000, b"namaste").await;
            let mut buffer = [0; 64];
            let received = self.peer.recv_from(&mut buffer);
            let received = tokio::time::timeout(world::PATIENCE, received).await;
            let (bytes, from) = received.unwrap().unwrap();
            assert_eq!((&buffer[..bytes], from), (&b"namaste"[..], self.relayed));
            self.peer.send_to(b"om", self.relayed).await.unwrap();
            assert_eq!(self.client.receive_channel_data(0x4000).await, b"om");
        }
    }
}

/// On free relay ports, with these variables on top.
fn start(variables: &[(&str, &str)]) -> Setu {
    let ports = world::free_range();
    let ports = format!("{}-{}", ports.start(), ports.end());
    let mut all = vec![
        ("SETU_HTTP__ADMIN_TOKEN", ADMIN_TOKEN),
        ("SETU_CREDENTIALS__SECRET", "north"),
        ("SETU_TURN__RELAY_PORTS", ports.as_str()),
    ];
    all.extend_from_slice(variables);
    Setu::start(&all)
}

fn as_operator(server: SocketAddr, request: &str) -> Answer {
    let token = format!("Authorization: Bearer {ADMIN_TOKEN}");
    ask(server, request, &[&token], "")
}

fn shown(server: SocketAddr) -> Value {
    let answer = as_operator(server, &format!("GET {CIRCLE_PATH}"));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// How many allocations a node shows.
fn allocations(server: SocketAddr) -> usize {
    let all = as_operator(server, "GET /api/allocations").json();
    all["allocations"].as_array().unwrap().len()
}

fn participant<'s>(session: &'s Value, id: &str) -> &'s Value {
    let mut all = session["participants"].as_array().unwrap().iter();
    all.find(|one| one["participantId"] == id).unwrap()
}

fn relay_of(session: &Value, id: &str) -> Value {
    participant(session, id)["relay"].clone()
}

/// Packets and bytes each way.
fn figures(allocations: u64, to_peers: [u64; 2], to_clients: [u64; 2]) -> Value {
    let [to_peers, to_clients] = [to_peers, to_clients]
        .map(|[packets, bytes]| json!({ "packets": packets, "bytes": bytes }));
    json!({ "allocations": allocations, "toPeers": to_peers, "toClients": to_clients })
}

fn code_of(answer: &Answer) -> String {
    answer.json()["error"]["code"].as_str().unwrap().to_owned()
}

#[expect(clippy::disallowed_methods, reason = "how long it really takes")]
fn within_a_second(what: &str, mut is_so: impl FnMut() -> bool) {
    let asked = Instant::now();
    while !is_so() {
        assert!(
            asked.elapsed() < Duration::from_secs(1),
            "not in time: {what}"
        );
    }
}

//! What Prometheus reads, and who else may.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    io::Write,
    net::SocketAddr,
    process::{Command, Stdio},
};

use serde_json::json;
use setu::metrics::table;
use tokio::net::UdpSocket;

use client::{Client, Over};
use common::{Setu, ask, get};
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

#[test]
fn prometheus_itself_reads_every_metric_there_is() {
    let redis = Server::start(&[]);
    let setu = start(&[("SETU_STORE__REDIS_URL", &redis.url())]);
    let answer = get(setu.http, "/metrics");
    assert_eq!(answer.status, 200);
    let content_type = answer.header("content-type");
    assert_eq!(
        content_type,
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    for metric in table::ALL {
        let head = format!(
            "# HELP {name} {}\n# TYPE {name} {}\n{name}",
            metric.help,
            metric.kind.name(),
            name = metric.name,
        );
        assert_eq!(answer.body.matches(&head).count(), 1, "{head}");
    }
    let heads = answer.body.matches("# TYPE ").count();
    assert_eq!(heads, table::ALL.len(), "nothing that the table has not");
    promtool(&answer.body);
}

#[test]
fn this_machine_and_whoever_has_the_token_may_read() {
    for profile in ["development", "production"] {
        let setu = start(&[
            ("SETU_PROFILE", profile),
            ("SETU_CREDENTIALS__SECRET", &"s".repeat(32)),
        ]);
        let read = |head: &[&str]| ask(setu.http, "GET /metrics", head, "").status;
        assert_eq!(read(&[]), 200, "{profile}");
        assert_eq!(
            read(&["X-Forwarded-For: 192.0.2.1"]),
            401,
            "a proxy's client"
        );
        assert_eq!(read(&["Authorization: Bearer guess"]), 401);
        let token = format!("Authorization: Bearer {ADMIN_TOKEN}");
        assert_eq!(read(&[&token, "X-Forwarded-For: 192.0.2.1"]), 200);
        assert_eq!(ask(setu.http, "POST /metrics", &[], "").status, 405);
        let counted = samples(setu.http);
        assert_eq!(counted["setu_http_failed_logins_total"], 1.0);
    }
}

#[test]
fn listeners_of_their_own_are_open_and_the_only_ones() {
    let setu = start(&[("SETU_METRICS__LISTEN", "127.0.0.1:0")]);
    let metrics = setu.metrics.unwrap();
    let answer = ask(metrics, "GET /metrics", &["X-Forwarded-For: 192.0.2.1"], "");
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("\nsetu_ready 1\n"), "{}", answer.body);
    assert_eq!(get(setu.http, "/metrics").status, 404);
    for elsewhere in ["/health", "/api/sessions", "/"] {
        assert_eq!(get(metrics, elsewhere).status, 404, "{elsewhere}");
    }
}

#[tokio::test]
async fn each_counter_moves_when_its_cause_happens() {
    let setu = start(&[
        ("SETU_LIMITS__ALLOCATIONS_PER_USER", "1"),
        ("SETU_LIMITS__CREDENTIALS_PER_MINUTE", "1"),
        ("SETU_SIGNALING__PARTICIPANTS_PER_SESSION", "1"),
        ("SETU_SIGNALING__EVENTS_PER_SECOND", "0"),
    ]);
    let before = samples(setu.http);
    let (mut alice, joined) = Polling::join(setu.http, "circle", "alice");
    alice.emit("get-queue", &json!({ "sessionId": "another" }));
    alice.emit("get-queue", &json!([]));
    let another = json!({ "sessionId": "circle", "participantId": "bob" });
    alice.emit("start-reading", &another);
    alice.emit("session-joined", &json!({}));
    assert_eq!(
        Polling::refused(setu.http, "circle", "bob"),
        "LIMIT_EXCEEDED"
    );
    for (status, query) in [(200, "a"), (429, "b")] {
        let path = format!("/ice-servers?participantId={query}");
        assert_eq!(get(setu.http, &path).status, status);
    }
    let _alice = relay(&setu, credential(&joined)).await;
    let after = samples(setu.http);
    for (sample, moved) in MOVED {
        let [before, after] = [&before, &after].map(|samples| samples[*sample]);
        assert_eq!(after - before, *moved, "{sample}");
    }
    let took = "setu_signaling_event_duration_seconds_count";
    assert!(after[took] > before[took]);
    let cpu = "process_cpu_seconds_total";
    assert!(after[cpu] > 0.0 && after["process_start_time_seconds"] > 1.6e9);
}

/// (what, how much more of it)
const MOVED: &[(&str, f64)] = &[
    (r#"setu_relay_successes_total{method="binding"}"#, 1.0),
    (r#"setu_relay_successes_total{method="allocate"}"#, 2.0),
    (r#"setu_relay_successes_total{method="refresh"}"#, 1.0),
    (r#"setu_relay_successes_total{method="channel_bind"}"#, 1.0),
    (r#"setu_relay_errors_total{code="403"}"#, 1.0),
    (r#"setu_relay_errors_total{code="486"}"#, 1.0),
    ("setu_relay_failed_logins_total", 1.0),
    (r#"setu_relay_denied_peers_total{kind="reserved"}"#, 1.0),
    (r#"setu_relay_packets_total{direction="to_peers"}"#, 2.0),
    (r#"setu_relay_packets_total{direction="to_clients"}"#, 1.0),
    (
        r#"setu_relay_payload_bytes_total{direction="to_peers"}"#,
        14.0,
    ),
    (
        r#"setu_relay_payload_bytes_total{direction="to_clients"}"#,
        2.0,
    ),
    (
        r#"setu_relay_dropped_packets_total{reason="no_channel"}"#,
        1.0,
    ),
    (
        r#"setu_relay_dropped_packets_total{reason="unknown_protocol"}"#,
        1.0,
    ),
    (
        r#"setu_relay_allocations{transport="udp",relayed="udp"}"#,
        0.0,
    ),
    (
        r#"setu_relay_allocations{transport="tcp",relayed="udp"}"#,
        1.0,
    ),
    (r#"setu_relay_allocations_made_total{transport="udp"}"#, 1.0),
    (r#"setu_relay_allocations_made_total{transport="tcp"}"#, 1.0),
    (
        r#"setu_relay_allocations_ended_total{reason="released"}"#,
        1.0,
    ),
    ("setu_relay_connections", 1.0),
    (r#"setu_relay_ports_in_use{relayed="udp"}"#, 1.0),
    (r#"setu_relay_ports{relayed="udp"}"#, 0.0),
    (
        r#"setu_limit_refusals_total{wing="relay",limit="allocations_per_user"}"#,
        1.0,
    ),
    (
        r#"setu_limit_refusals_total{wing="http",limit="credentials_per_minute"}"#,
        1.0,
    ),
    (
        r#"setu_limit_refusals_total{wing="signaling",limit="participants_per_session"}"#,
        1.0,
    ),
    ("setu_signaling_sessions", 1.0),
    ("setu_signaling_participants", 1.0),
    ("setu_signaling_sockets", 2.0),
    (
        r#"setu_signaling_engine_sessions{transport="polling"}"#,
        2.0,
    ),
    (
        r#"setu_signaling_engine_sessions_opened_total{transport="polling"}"#,
        2.0,
    ),
    ("setu_signaling_connections_total", 2.0),
    (r#"setu_signaling_events_total{event="join-session"}"#, 2.0),
    (r#"setu_signaling_events_total{event="get-queue"}"#, 2.0),
    (r#"setu_signaling_events_total{event="other"}"#, 1.0),
    (r#"setu_signaling_errors_total{code="NOT_IN_SESSION"}"#, 1.0),
    (
        r#"setu_signaling_errors_total{code="INVALID_PAYLOAD"}"#,
        1.0,
    ),
    (r#"setu_signaling_errors_total{code="FORBIDDEN"}"#, 1.0),
    (r#"setu_signaling_errors_total{code="LIMIT_EXCEEDED"}"#, 1.0),
    ("setu_cluster_nodes", 0.0),
    ("setu_cluster_sessions", 1.0),
];

/// Two packets there and one back, two allocations of which one is given back, and all that goes wrong.
async fn relay(setu: &Setu, [username, password]: [&str; 2]) -> Client {
    let mut client = Client::with(setu.udp, Over::Udp, username, password).await;
    client.bind().await;
    let relayed = client.allocate().await.unwrap();
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = peer.local_addr().unwrap();
    client.bind_channel(0x4000, address).await.unwrap();
    client.send(b"\xFFnothing that anybody speaks").await;
    client.send_channel_data(0x4FFF, b"nobody's").await;
    for _ in 0..2 {
        client.send_channel_data(0x4000, b"namaste").await;
        let mut buffer = [0; 64];
        let received = peer.recv_from(&mut buffer);
        let received = tokio::time::timeout(world::PATIENCE, received).await;
        assert_eq!(received.unwrap().unwrap(), (7, relayed));
    }
    peer.send_to(b"om", relayed).await.unwrap();
    assert_eq!(client.receive_channel_data(0x4000).await, b"om");
    let multicast = "224.0.0.1:9".parse().unwrap();
    assert_eq!(client.permit(multicast).await.err(), Some(403));
    let mut beyond = Client::with(setu.tcp, Over::Tcp, username, password).await;
    assert_eq!(beyond.allocate().await.err(), Some(486));
    let mut stranger = Client::with(setu.udp, Over::Udp, username, "guess").await;
    assert_eq!(stranger.allocate().await.err(), Some(401));
    client.refresh(0).await.unwrap();
    beyond.allocate().await.unwrap();
    beyond
}

#[test]
fn r99_nobody_outside_can_add_a_series() {
    let setu = start(&[("SETU_SIGNALING__EVENTS_PER_SECOND", "0")]);
    let (mut alice, _) = Polling::join(setu.http, "circle", "alice");
    let before = samples(setu.http);
    for number in 0..500 {
        alice.emit(&format!("event-{number}\n\"}} 1"), &json!({}));
        alice.emit(
            "join-session",
            &json!({ "sessionId": format!("{number}"), "participantId": "a" }),
        );
    }
    for number in 0..50 {
        get(setu.http, &format!("/path-{number}"));
    }
    let after = samples(setu.http);
    let names = |samples: &BTreeMap<String, f64>| samples.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&before), names(&after));
    assert_eq!(
        after[r#"setu_signaling_events_total{event="other"}"#],
        500.0
    );
    assert!(after.len() < 400, "{}", after.len());
}

#[test]
fn what_redis_does_is_told() {
    let mut redis = Server::start(&[]);
    let setu = start(&[("SETU_STORE__REDIS_URL", &redis.url())]);
    until("Redis confirms", || {
        samples(setu.http)["setu_redis_append_duration_seconds_count"] > 0.0
    });
    let now = samples(setu.http);
    let told = ["setu_redis_up", "setu_redis_connections_total"].map(|name| now[name]);
    assert_eq!(told, [1.0, 1.0]);
    redis.kill();
    until("it is missed", || {
        samples(setu.http)["setu_redis_up"] == 0.0
    });
    until("something waits", || {
        samples(setu.http)["setu_redis_pending_entries"] > 0.0
    });
    assert!(samples(setu.http)["setu_redis_pending_bytes"] > 0.0);
    redis.restart();
    until("it is back", || {
        let now = samples(setu.http);
        now["setu_redis_up"] == 1.0 && now["setu_redis_connections_total"] == 2.0
    });
}

#[test]
fn the_reference_has_every_metric() {
    let reference = std::fs::read_to_string("docs/metrics.md").unwrap();
    let rows = table::ALL.iter().map(|metric| {
        let labels = metric.labels.iter().map(|label| format!("`{label}`"));
        let labels = labels.collect::<Vec<_>>().join(", ");
        let kind = metric.kind.name();
        format!(
            "| `{}` | {kind} | {labels} | {} |\n",
            metric.name, metric.help
        )
    });
    let rows: String = rows.collect();
    assert!(reference.contains(&rows), "{reference}\nhas not:\n{rows}");
}

/// The numbers by their names, with their labels.
fn samples(server: SocketAddr) -> BTreeMap<String, f64> {
    let answer = get(server, "/metrics");
    assert_eq!(answer.status, 200, "{answer:?}");
    let lines = answer.body.lines().filter(|line| !line.starts_with('#'));
    let parsed = lines.map(|line| {
        let (name, number) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), number.parse().unwrap())
    });
    parsed.collect()
}

/// What Prometheus's own checker says: nothing.
fn promtool(text: &str) {
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is needed: apt-get install prometheus");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

/// On free relay ports, with these variables on top.
fn start(variables: &[(&str, &str)]) -> Setu {
    let ports = world::free_range();
    let ports = format!("{}-{}", ports.start(), ports.end());
    let mut all = vec![
        ("SETU_HTTP__ADMIN_TOKEN", ADMIN_TOKEN),
        ("SETU_TURN__RELAY_PORTS", ports.as_str()),
    ];
    all.extend_from_slice(variables);
    Setu::start(&all)
}

//! What HTTP clients may rely on.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};

use setu::credentials::{LongTermKey, PasswordAlgorithm};

use common::{Answer, Setu, ask, connect, get};

#[allow(dead_code, reason = "each test target uses its part")]
mod common;

const APP: &str = "http://localhost:3000";
const STRANGER: &str = "https://evil.example";

#[test]
fn health_says_how_much_is_going_on() {
    let setu = Setu::start(&[]);
    let answer = get(setu.http, "/health");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let health = answer.json();
    assert_eq!(health["status"], "ok");
    assert_eq!(health["activeSessions"], 0);
    assert_eq!(health["activeParticipants"], 0);
    let relay = serde_json::json!({
        "allocations": 0,
        "portsInUse": 0,
        "tcpPortsInUse": 0,
        "portsTotal": 41,
        "peerConnections": 0,
    });
    assert_eq!(health["relay"], relay);
    let timestamp = health["timestamp"].as_str().unwrap();
    assert!(
        timestamp.len() == 24 && timestamp.ends_with('Z'),
        "{timestamp}"
    );
    let head = ask(setu.http, "HEAD /health", &[], "");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[test]
fn a_started_server_is_ready() {
    let setu = Setu::start(&[]);
    let answer = get(setu.http, "/ready");
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, "{\"status\":\"ready\"}")
    );
}

#[test]
fn ice_servers_come_with_a_credential_that_the_relay_accepts() {
    let setu = Setu::start(&[
        ("SETU_CREDENTIALS__SECRET", "north"),
        ("SETU_CREDENTIALS__TTL", "1h"),
    ]);
    let answer = get(setu.http, "/ice-servers?participantId=alice%3Asmith");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let body = answer.json();
    assert_eq!(body["ttl"], 3600);
    let [stun, turn] = body["iceServers"].as_array().unwrap().as_slice() else {
        panic!("{body}");
    };
    assert_eq!(
        stun["urls"][0],
        format!("stun:127.0.0.1:{}", setu.udp.port())
    );
    assert_eq!(stun.get("credential"), None);
    assert_eq!(turn["urls"].as_array().unwrap().len(), 3);
    let username = turn["username"].as_str().unwrap();
    assert!(username.ends_with(":alice:smith"), "{username}");
    assert!(fits(
        "north",
        username,
        turn["credential"].as_str().unwrap()
    ));
}

#[test]
fn a_participant_that_is_none_gets_no_credential() {
    let setu = Setu::start(&[]);
    let too_long = format!("/ice-servers?participantId={}", "x".repeat(257));
    let cases = [
        ("/ice-servers", "INVALID_PARTICIPANT_ID"),
        ("/ice-servers?participantId=", "INVALID_PARTICIPANT_ID"),
        ("/ice-servers?participantid=alice", "INVALID_PARTICIPANT_ID"),
        (
            "/ice-servers?participantId=a&participantId=b",
            "INVALID_PARAMETERS",
        ),
        (too_long.as_str(), "INVALID_PARTICIPANT_ID"),
    ];
    for (path, code) in cases {
        let answer = get(setu.http, path);
        assert_eq!(
            (answer.status, code_of(&answer)),
            (400, code.to_owned()),
            "{path}"
        );
    }
}

#[test]
fn turn_rest_takes_its_parameters_in_the_url_or_as_a_form() {
    let setu = Setu::start(&[("SETU_CREDENTIALS__SECRET", "north")]);
    let form = "Content-Type: application/x-www-form-urlencoded";
    let answers = [
        get(setu.http, "/turn?service=turn&username=bob&key=whatever"),
        ask(setu.http, "POST /turn?service=turn&username=bob", &[], ""),
        ask(
            setu.http,
            "POST /turn",
            &[form],
            "service=turn&username=bob",
        ),
        ask(
            setu.http,
            "POST /turn?service=turn",
            &[form],
            "username=bob",
        ),
    ];
    for answer in answers {
        let body = answer.json();
        let username = body["username"].as_str().unwrap();
        assert!(username.ends_with(":bob"), "{username}");
        assert!(fits("north", username, body["password"].as_str().unwrap()));
        assert_eq!(body["ttl"], 86400);
        assert_eq!(body["uris"].as_array().unwrap().len(), 3);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    let somebody = get(setu.http, "/turn?service=turn").json();
    assert!(
        somebody["username"]
            .as_str()
            .unwrap()
            .contains(":anonymous-")
    );
}

#[test]
fn turn_rest_refuses_what_it_does_not_serve() {
    let setu = Setu::start(&[]);
    let cases = [
        ("GET /turn", 400, "INVALID_SERVICE"),
        ("GET /turn?service=ftp&username=bob", 400, "INVALID_SERVICE"),
        (
            "GET /turn?service=turn&username=",
            400,
            "INVALID_PARTICIPANT_ID",
        ),
        ("POST /turn", 400, "INVALID_SERVICE"),
        ("DELETE /turn?service=turn", 405, "METHOD_NOT_ALLOWED"),
    ];
    for (request, status, code) in cases {
        let answer = ask(setu.http, request, &[], "");
        assert_eq!(
            (answer.status, code_of(&answer)),
            (status, code.to_owned()),
            "{request}"
        );
    }
    let form = "Content-Type: application/x-www-form-urlencoded";
    let flood = format!("service=turn&username={}", "x".repeat(100_000));
    let answer = ask(setu.http, "POST /turn", &[form], &flood);
    assert_eq!(
        (answer.status, code_of(&answer)),
        (413, "PAYLOAD_TOO_LARGE".to_owned())
    );
    let json = "Content-Type: application/json";
    let answer = ask(setu.http, "POST /turn?service=turn", &[json], "{}");
    assert_eq!(
        (answer.status, code_of(&answer)),
        (415, "UNSUPPORTED_MEDIA_TYPE".to_owned())
    );
}

#[test]
fn every_error_is_json() {
    let setu = Setu::start(&[]);
    let cases = [
        ("GET /nothing", 404, "NOT_FOUND"),
        ("GET /assets/nothing.js", 404, "NOT_FOUND"),
        ("GET /assets/../turn.toml", 404, "NOT_FOUND"),
        ("GET /assets/..%2f..%2fCargo.toml", 404, "NOT_FOUND"),
        ("POST /health", 405, "METHOD_NOT_ALLOWED"),
        ("DELETE /", 405, "METHOD_NOT_ALLOWED"),
    ];
    for (request, status, code) in cases {
        let answer = ask(setu.http, request, &[], "");
        assert_eq!(
            (answer.status, code_of(&answer)),
            (status, code.to_owned()),
            "{request}"
        );
        let message = answer.json()["error"]["message"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(!message.is_empty(), "{request}");
    }
}

#[test]
fn only_named_origins_and_its_own_pages_are_let_in() {
    let setu = Setu::start(&[]);
    for path in [
        "/health",
        "/ice-servers?participantId=a",
        "/socket.io/?EIO=4&transport=polling",
    ] {
        for origin in [APP, STRANGER] {
            let answer = ask(
                setu.http,
                &format!("GET {path}"),
                &[&format!("Origin: {origin}")],
                "",
            );
            assert_eq!(
                answer.header("access-control-allow-origin"),
                Some(APP),
                "{path}"
            );
            assert_eq!(
                answer.header("access-control-allow-credentials"),
                Some("true"),
                "{path}"
            );
        }
    }
    let asks = [
        format!("Origin: {APP}"),
        "Access-Control-Request-Method: GET".to_owned(),
        "Access-Control-Request-Headers: x-own".to_owned(),
    ];
    let asks: Vec<_> = asks.iter().map(String::as_str).collect();
    let preflight = ask(setu.http, "OPTIONS /ice-servers", &asks, "");
    assert_eq!(preflight.status, 204);
    assert_eq!(
        preflight.header("access-control-allow-methods"),
        Some("GET,POST")
    );
    assert_eq!(
        preflight.header("access-control-allow-headers"),
        Some("x-own")
    );
}

#[test]
fn a_foreign_pages_web_socket_is_refused() {
    let setu = Setu::start(&[]);
    let own = format!("http://{}", setu.http);
    let cases = [
        (Some(STRANGER), "403"),
        (Some(APP), "101"),
        (Some(own.as_str()), "101"),
        (None, "101"),
    ];
    for (origin, status) in cases {
        let mut stream = connect(setu.http);
        let origin_line = origin
            .map(|origin| format!("Origin: {origin}\r\n"))
            .unwrap_or_default();
        let upgrade = format!(
            "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {}\r\n{origin_line}Connection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            setu.http
        );
        stream.write_all(upgrade.as_bytes()).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(
            answer,
            format!("HTTP/1.1 {status}").as_bytes(),
            "{origin:?}"
        );
    }
}

#[test]
fn the_call_page_is_self_contained_and_cached_until_it_changes() {
    let setu = Setu::start(&[]);
    let page = get(setu.http, "/");
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'self';") && !policy.contains("unsafe"),
        "{policy}"
    );
    let assets: Vec<_> = page
        .body
        .split('"')
        .filter(|part| part.starts_with("/assets/"))
        .collect();
    assert!(assets.len() >= 2, "{assets:?}");
    for path in assets {
        let asset = get(setu.http, path);
        assert_eq!(asset.status, 200, "{path}");
        assert_eq!(
            asset.header("x-content-type-options"),
            Some("nosniff"),
            "{path}"
        );
        let tag = format!("If-None-Match: {}", asset.header("etag").unwrap());
        let again = ask(setu.http, &format!("GET {path}"), &[&tag], "");
        assert_eq!((again.status, again.body.as_str()), (304, ""), "{path}");
    }
}

#[test]
fn an_endless_head_is_cut_off() {
    let setu = Setu::start(&[]);
    let mut stream = connect(setu.http);
    let _ = stream.write_all(format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(200_000)).as_bytes());
    let mut answer = Vec::new();
    // A reset is as good an end as an answer.
    let _ = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer);
    assert!(
        answer.is_empty() || text.starts_with("HTTP/1.1 431"),
        "{text}"
    );
    assert_eq!(get(setu.http, "/ready").status, 200);
}

fn code_of(answer: &Answer) -> String {
    answer.json()["error"]["code"].as_str().unwrap().to_owned()
}

/// Whether the password is the one that the TURN REST convention makes of secret and user name.
fn fits(secret: &str, username: &str, password: &str) -> bool {
    let credentials = setu::credentials::Credentials::new(setu::credentials::Settings {
        realm: "r".to_owned(),
        secrets: vec![setu::logging::Redacted::new(secret.to_owned())],
        ttl: std::time::Duration::from_secs(60),
        users: Vec::new(),
    });
    let right = LongTermKey::derive(PasswordAlgorithm::Md5, username, "r", password);
    credentials
        .prove(username, PasswordAlgorithm::Md5, |key| *key == right)
        .is_some()
}

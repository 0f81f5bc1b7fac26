//! Who is let in over HTTP: tokens, sources, and how much each may have.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{Read, Write},
    net::SocketAddr,
};

use serde_json::json;
use setu::clock::Now;

use common::{Answer, DEADLINE, Setu, ask, connect, get, jwt};

#[allow(dead_code, reason = "each test target uses its part")]
mod common;

const APP: &str = "http://localhost:3000";
const SECRET: &str = "north-star-north-star-north-star";
const ADMIN_TOKEN: &str = "open-sesame";

/// What a request brings along.
#[derive(Clone, Copy)]
enum Token {
    None,
    Junk,
    Forged,
    Expired,
    Alices,
}

/// (what is asked for, with which token, the status, the code)
const REFUSALS: &[(&str, Token, u16, &str)] = &[
    (ALICE, Token::None, 401, "TOKEN_REQUIRED"),
    (ALICE, Token::Junk, 401, "TOKEN_INVALID"),
    (ALICE, Token::Forged, 401, "TOKEN_INVALID"),
    (ALICE, Token::Expired, 401, "TOKEN_EXPIRED"),
    (BOB, Token::Alices, 403, "FORBIDDEN"),
    (REST_ALICE, Token::None, 401, "TOKEN_REQUIRED"),
    (REST_ALICE, Token::Expired, 401, "TOKEN_EXPIRED"),
    (REST_BOB, Token::Alices, 403, "FORBIDDEN"),
    ("/turn", Token::Alices, 400, "INVALID_SERVICE"),
];

const ALICE: &str = "/ice-servers?participantId=alice";
const BOB: &str = "/ice-servers?participantId=bob";
const REST_ALICE: &str = "/turn?service=turn&username=alice";
const REST_BOB: &str = "/turn?service=turn&username=bob";

#[test]
fn where_tokens_are_asked_for_nobody_else_is_given_a_credential() {
    let setu = start_with_tokens(&[]);
    for (path, token, status, code) in REFUSALS {
        let token = token.text();
        let answer = ask_as(setu.http, path, token.as_deref());
        let name = format!("{path} {token:?}");
        let expected = (*status, (*code).to_owned());
        assert_eq!((answer.status, code_of(&answer)), expected, "{name}");
        let challenge = (*status == 401).then_some("Bearer");
        assert_eq!(answer.header("www-authenticate"), challenge, "{name}");
        let is_told = token.is_some_and(|token| answer.body.contains(&token));
        assert!(!is_told, "{name}");
    }
    assert_eq!(get(setu.http, "/health").status, 200);
}

#[test]
fn a_tokens_bearer_is_given_their_own_credential() {
    let setu = start_with_tokens(&[]);
    let token = Token::Alices.text();
    for path in ["/ice-servers", ALICE, "/turn?service=turn", REST_ALICE] {
        let answer = ask_as(setu.http, path, token.as_deref());
        assert!(
            username_of(&answer).ends_with(":alice"),
            "{path}: {}",
            answer.body
        );
    }
}

#[test]
fn the_admin_token_asks_for_anybody() {
    let setu = start_with_tokens(&[("SETU_LIMITS__CREDENTIALS_PER_MINUTE", "1")]);
    for name in ["alice", "bob", "carol"] {
        let path = format!("/turn?service=turn&username={name}");
        let answer = ask_as(setu.http, &path, Some(ADMIN_TOKEN));
        assert!(
            username_of(&answer).ends_with(&format!(":{name}")),
            "{}",
            answer.body
        );
    }
    let nobody = ask_as(setu.http, "/ice-servers", Some(ADMIN_TOKEN));
    assert_eq!(
        (nobody.status, code_of(&nobody)),
        (400, "INVALID_PARTICIPANT_ID".to_owned())
    );
}

#[test]
fn pages_of_the_application_may_send_a_token() {
    let setu = start_with_tokens(&[]);
    let origin = format!("Origin: {APP}");
    let preflight = [
        origin.as_str(),
        "Access-Control-Request-Method: GET",
        "Access-Control-Request-Headers: authorization",
    ];
    let answer = ask(setu.http, "OPTIONS /ice-servers", &preflight, "");
    assert_eq!(answer.status, 204);
    assert_eq!(
        answer.header("access-control-allow-headers"),
        Some("authorization")
    );
    let refused = ask(setu.http, "GET /ice-servers", &[&origin], "");
    assert_eq!(refused.status, 401);
    assert_eq!(refused.header("access-control-allow-origin"), Some(APP));
}

#[test]
fn a_source_is_given_so_many_credentials_a_minute() {
    let setu = Setu::start(&[("SETU_LIMITS__CREDENTIALS_PER_MINUTE", "3")]);
    let paths = [
        "/ice-servers?participantId=a",
        "/turn?service=turn",
        "/ice-servers?participantId=b",
    ];
    // What hands out nothing counts for nothing.
    assert_eq!(get(setu.http, "/ice-servers").status, 400);
    for path in paths {
        assert_eq!(get(setu.http, path).status, 200, "{path}");
    }
    for path in paths {
        let answer = get(setu.http, path);
        assert_eq!(
            (answer.status, code_of(&answer)),
            (429, "LIMIT_EXCEEDED".to_owned()),
            "{path}"
        );
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=20).contains(&wait), "{wait}");
    }
    assert_eq!(get(setu.http, "/health").status, 200);
}

#[test]
fn behind_a_trusted_proxy_each_client_is_a_source_of_its_own() {
    let limit = ("SETU_LIMITS__CREDENTIALS_PER_MINUTE", "1");
    let status = |setu: &Setu, forwarded: &str| {
        let line = format!("X-Forwarded-For: {forwarded}");
        ask(setu.http, "GET /ice-servers?participantId=a", &[&line], "").status
    };
    let setu = Setu::start(&[limit]);
    let cases = [
        ("192.0.2.1", 200),
        ("192.0.2.1", 429),
        ("10.9.9.9, 192.0.2.1", 429),
        ("192.0.2.2", 200),
        ("2001:db8::1", 200),
        ("2001:db8::2", 429),
        ("2001:db8:0:1::1", 200),
    ];
    for (forwarded, expected) in cases {
        assert_eq!(status(&setu, forwarded), expected, "{forwarded}");
    }
    let setu = Setu::start(&[limit, ("SETU_HTTP__TRUSTED_PROXIES", "")]);
    assert_eq!(status(&setu, "192.0.2.1"), 200);
    assert_eq!(status(&setu, "192.0.2.2"), 429);
}

#[test]
fn this_machine_counts_only_where_that_is_asked_for() {
    let setu = Setu::start(&[]);
    for _ in 0..70 {
        assert_eq!(get(setu.http, "/turn?service=turn").status, 200);
    }
}

#[test]
fn a_source_has_so_many_connections() {
    let setu = Setu::start(&[
        ("SETU_LIMITS__CONNECTIONS_PER_SOURCE", "2"),
        ("SETU_HTTP__TRUSTED_PROXIES", ""),
    ]);
    let held = [connect(setu.http), connect(setu.http)];
    let mut refused = String::new();
    connect(setu.http).read_to_string(&mut refused).unwrap();
    assert!(
        refused.starts_with("HTTP/1.1 429") && refused.contains("LIMIT_EXCEEDED"),
        "{refused}"
    );
    let (_, body) = refused.split_once("\r\n\r\n").unwrap();
    assert!(
        refused.contains(&format!("Content-Length: {}\r\n", body.len())),
        "{refused}"
    );
    drop(held);
    await_status(setu.http, "/health", 200);
}

impl Token {
    fn text(self) -> Option<String> {
        let alice = json!({ "sub": "alice" });
        match self {
            Self::None => None,
            Self::Junk => Some("junk.of.sorts".to_owned()),
            Self::Forged => Some(jwt("south-cross", &alice)),
            Self::Expired => Some(jwt(
                SECRET,
                &json!({ "sub": "alice", "exp": 1_700_000_000 }),
            )),
            Self::Alices => Some(jwt(SECRET, &alice)),
        }
    }
}

fn start_with_tokens(variables: &[(&str, &str)]) -> Setu {
    let tokens = [
        ("SETU_ACCESS__MODE", "token"),
        ("SETU_ACCESS__JWT_SECRET", SECRET),
        ("SETU_HTTP__ADMIN_TOKEN", ADMIN_TOKEN),
    ];
    Setu::start(&[&tokens, variables].concat())
}

fn ask_as(server: SocketAddr, path: &str, token: Option<&str>) -> Answer {
    let line = token.map(|token| format!("Authorization: Bearer {token}"));
    let lines: Vec<_> = line.iter().map(String::as_str).collect();
    ask(server, &format!("GET {path}"), &lines, "")
}

/// Of either kind of answer.
fn username_of(answer: &Answer) -> String {
    let body = answer.json();
    let of_rest = body["username"].as_str();
    let username = of_rest.or(body["iceServers"][1]["username"].as_str());
    username.unwrap_or_default().to_owned()
}

/// The server notices a moment later that a client hung up.
fn await_status(server: SocketAddr, path: &str, status: u16) {
    let deadline = Now::read().mono + DEADLINE;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n");
    let expected = format!("HTTP/1.1 {status}");
    loop {
        let mut stream = connect(server);
        let mut answer = Vec::new();
        // Whoever is refused may find the connection reset.
        let _ = stream.write_all(request.as_bytes());
        let _ = stream.read_to_end(&mut answer);
        if answer.starts_with(expected.as_bytes()) {
            return;
        }
        assert!(
            Now::read().mono < deadline,
            "{path} does not answer {status}"
        );
    }
}

fn code_of(answer: &Answer) -> String {
    answer.json()["error"]["code"].as_str().unwrap().to_owned()
}

//! The signaling contract over the real socket.io client: each test runs one file of node tests against a server of
//! its own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use common::Setu;

#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "each test target uses its part")]
mod common;

#[test]
fn joining_and_leaving() {
    run("presence.test.js");
}

#[test]
fn offers_answers_and_candidates() {
    run("signals.test.js");
}

#[test]
fn requests_that_are_refused() {
    run("errors.test.js");
}

#[test]
fn transports_and_origins() {
    run("transport.test.js");
}

#[test]
fn credentials_and_the_relay() {
    run("relay.test.js");
}

#[test]
fn a_client_that_does_not_read() {
    run("slow.test.js");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how long a real stop takes")]
fn the_end_of_the_server_reaches_every_client_within_two_seconds() {
    let mut setu = start();
    let mut members = node("stop.js", &setu).spawn().unwrap();
    while common::get(setu.http, "/health").json()["activeParticipants"] != 2 {
        assert!(
            members.try_wait().unwrap().is_none(),
            "the members are gone"
        );
    }
    let asked = Instant::now();
    setu.signal("TERM");
    assert!(setu.wait().success());
    assert!(asked.elapsed() < Duration::from_secs(2));
    assert!(members.wait().unwrap().success(), "a client was not told");
}

/// Runs one file of node tests and shows what they printed if any of them failed.
fn run(file: &str) {
    let setu = start();
    let output = node(file, &setu).output().unwrap();
    assert!(
        output.status.success(),
        "{file}:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
}

/// Short lives, so that tests see credentials renewed and graces end.
fn start() -> Setu {
    Setu::start(&[
        ("SETU_CREDENTIALS__TTL", "5s"),
        ("SETU_CREDENTIALS__REVOCATION_GRACE", "2s"),
        ("SETU_TURN__RELAY_PORTS", "46160-46200"),
    ])
}

fn node(file: &str, setu: &Setu) -> Command {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/signaling");
    assert!(
        folder.join("node_modules").exists(),
        "the socket.io client is missing: npm ci --prefix tests/signaling"
    );
    // Each wait in there has a deadline of its own; this one is for a process that does not end.
    let mut command = Command::new("timeout");
    command.args(["120", "node", file]).current_dir(folder);
    command.env("SETU_URL", format!("http://{}", setu.http));
    command.env("SETU_TURN", setu.udp.to_string());
    command
}

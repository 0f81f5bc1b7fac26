//! The signaling contract over the real socket.io client: each test runs one file of node tests against servers of its
//! own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    env,
    fs::File,
    io::Write,
    path::Path,
    process::Command,
    sync::{PoisonError, RwLock},
    time::{Duration, Instant},
};

use common::Folder;
use servers::{Servers, Target};

#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "each test target uses its part")]
mod common;
mod servers;

/// What holds of one node holds of several, and with every store.
macro_rules! on_every_target {
    ($($name:ident: $file:literal, $settings:expr;)+) => {$(
        mod $name {
            use super::*;

            #[test]
            fn on_the_embedded_store() {
                run($file, Target::Embedded, $settings);
            }

            #[test]
            fn on_redis() {
                run($file, Target::Redis, $settings);
            }

            #[test]
            fn on_two_nodes() {
                run($file, Target::TwoNodes, $settings);
            }
        }
    )+};
}

on_every_target! {
    joining_and_leaving: "presence.test.js", UNLIMITED;
    offers_answers_and_candidates: "signals.test.js", UNLIMITED;
    verses_queue_and_turns: "reading.test.js", UNLIMITED;
    timers: "timer.test.js", UNLIMITED;
    the_end_of_a_session: "ending.test.js", UNLIMITED;
    the_parser_monitor: "monitor.test.js", UNLIMITED;
    requests_that_are_refused: "errors.test.js", UNLIMITED;
    lost_transports_and_returns: "recovery.test.js", UNLIMITED;
    credentials_and_the_relay: "relay.test.js", SHORT_LIVES;
}

#[test]
fn joining_and_signals_over_https_and_wss() {
    let folder = Folder::new();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let cert = folder.write("cert.pem", &made.cert.pem());
    let key = folder.write("key.pem", &made.signing_key.serialize_pem());
    let settings = [
        UNLIMITED[0],
        ("SETU_HTTP__TLS_CERT_FILE", cert.to_str().unwrap()),
        ("SETU_HTTP__TLS_KEY_FILE", key.to_str().unwrap()),
    ];
    let servers = Servers::start(Target::Embedded, &settings);
    for file in ["presence.test.js", "signals.test.js"] {
        let mut node = against(&servers, node(file));
        node.env("SETU_URLS", servers.urls().replace("http:", "https:"))
            .env("NODE_EXTRA_CA_CERTS", &cert);
        passes(file, node);
    }
}

#[test]
fn transports_and_origins() {
    run("transport.test.js", Target::Embedded, UNLIMITED);
}

#[test]
fn a_client_that_does_not_read() {
    run("slow.test.js", Target::Embedded, UNLIMITED);
}

#[test]
fn limits() {
    run("limits.test.js", Target::Embedded, LIMITS);
}

#[test]
fn connections_of_one_source() {
    run("sources.test.js", Target::Embedded, SOURCES);
}

#[test]
fn tokens() {
    run("token.test.js", Target::Embedded, TOKENS);
}

#[test]
fn hosts() {
    run("hosts.test.js", Target::Embedded, HOSTS);
}

#[test]
fn two_thousand_at_once() {
    run_undisturbed("crowd.test.js", Target::Embedded);
}

#[test]
fn two_thousand_at_once_on_two_nodes() {
    run_undisturbed("crowd.test.js", Target::TwoNodes);
}

#[test]
fn the_keys_in_redis() {
    run_alone("redis.test.js");
}

#[test]
fn a_start_on_a_living_redis() {
    run_alone("restart.test.js");
}

#[test]
fn redis_goes_and_comes_back() {
    run_alone("outage.test.js");
}

#[test]
fn a_redis_cluster() {
    run_alone("cluster.test.js");
}

#[test]
fn nodes_whose_clocks_differ() {
    run_alone("clocks.test.js");
}

#[test]
fn a_node_is_killed() {
    run_alone("failover.test.js");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how long a real stop takes")]
fn the_end_of_the_server_reaches_every_client_within_two_seconds() {
    let mut servers = Servers::start(Target::Embedded, UNLIMITED);
    let mut members = against(&servers, node("stop.js")).spawn().unwrap();
    while servers::participants(&servers) != 2 {
        assert!(
            members.try_wait().unwrap().is_none(),
            "the members are gone"
        );
    }
    let asked = Instant::now();
    servers.nodes[0].signal("TERM");
    assert!(servers.nodes[0].wait().success());
    assert!(asked.elapsed() < Duration::from_secs(2));
    assert!(members.wait().unwrap().success(), "a client was not told");
}

type Settings = &'static [(&'static str, &'static str)];

/// Tests say more in a second than people do.
const UNLIMITED: Settings = &[("SETU_SIGNALING__EVENTS_PER_SECOND", "0")];

/// So that tests see credentials renewed and graces end.
const SHORT_LIVES: Settings = &[
    ("SETU_SIGNALING__EVENTS_PER_SECOND", "0"),
    ("SETU_CREDENTIALS__TTL", "5s"),
    ("SETU_CREDENTIALS__REVOCATION_GRACE", "2s"),
];

const LIMITS: Settings = &[
    ("SETU_SIGNALING__EVENTS_PER_SECOND", "50"),
    ("SETU_SIGNALING__PARTICIPANTS_PER_SESSION", "3"),
    ("SETU_SIGNALING__SESSIONS", "4"),
];

const SOURCES: Settings = &[("SETU_LIMITS__CONNECTIONS_PER_SOURCE", "5")];

const JWT_SECRET: &str = "a secret of the tests, more than long enough";

const TOKENS: Settings = &[
    ("SETU_ACCESS__MODE", "token"),
    ("SETU_ACCESS__JWT_SECRET", JWT_SECRET),
];

const HOSTS: Settings = &[
    ("SETU_ACCESS__MODE", "token"),
    ("SETU_ACCESS__JWT_SECRET", JWT_SECRET),
    ("SETU_ACCESS__HOST_ONLY", "verse,queue,timer,end"),
];

fn run(file: &str, target: Target, settings: Settings) {
    let _shared = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
    let servers = Servers::start(target, settings);
    passes(file, against(&servers, node(file)));
}

/// For a crowd that would make the others late.
fn run_undisturbed(file: &str, target: Target) {
    let _alone = MACHINE.write().unwrap_or_else(PoisonError::into_inner);
    let servers = Servers::start(target, UNLIMITED);
    passes(file, against(&servers, node(file)));
}

/// For a file that starts its servers itself, since it also ends them.
fn run_alone(file: &str) {
    let _shared = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
    passes(file, node(file));
}

/// Some of these tests look at the clock.
static MACHINE: RwLock<()> = RwLock::new(());

/// Runs one file of node tests and shows what they printed if any of them failed.
fn passes(file: &str, mut node: Command) {
    let output = node.output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    count(&printed);
    assert!(
        output.status.success(),
        "{file}:\n{printed}{}",
        String::from_utf8_lossy(&output.stderr),
    );
}

/// Adds what node counted to the file in which `tests/run` sums up.
fn count(printed: &str) {
    let Some(path) = env::var_os("SETU_TEST_COUNTS") else {
        return;
    };
    let counted = ["# pass ", "# fail ", "# cancelled "];
    let lines = printed
        .lines()
        .filter(|line| counted.iter().any(|start| line.starts_with(start)));
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    let mut file = File::options()
        .create(true)
        .append(true)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn node(file: &str) -> Command {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/signaling");
    assert!(
        folder.join("node_modules").exists(),
        "the socket.io client is missing: npm ci --prefix tests/signaling"
    );
    // Each wait in there has a deadline of its own; this one is for a process that does not end.
    let mut command = Command::new("timeout");
    command.args(["180", "node", "--test-reporter=tap", file]);
    command.current_dir(folder);
    command.env("SETU_BIN", env!("CARGO_BIN_EXE_setu"));
    command.env("SETU_JWT_SECRET", JWT_SECRET);
    command
}

fn against(servers: &Servers, mut node: Command) -> Command {
    node.env("SETU_URLS", servers.urls());
    node.env("SETU_TURN", servers.relays());
    node
}

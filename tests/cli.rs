//! The command line, and the life of the process.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, UdpSocket},
    process::{Command, Output},
    sync::mpsc,
    thread,
    time::Duration,
};

use setu::clock::UnixSeconds;
use setu::credentials::{Credentials, LongTermKey, PasswordAlgorithm, Settings};
use setu::logging::Redacted;

use common::{Folder, Setu, command, connect, get};

#[allow(dead_code, reason = "each test target uses its part")]
mod common;

#[test]
fn the_summary_tells_what_is_really_open() {
    let setu = Setu::start(&[]);
    for address in [setu.http, setu.udp, setu.tcp, setu.tls] {
        assert!(setu.summary.contains(&address.to_string()), "{address}");
    }
    let page = format!("http://{}/", setu.http);
    for part in [
        page.as_str(),
        "49160-49200/udp  (41 ports)",
        "development",
        "turnuser, admin",
        "self-signed",
    ] {
        assert!(setu.summary.contains(part), "{part} in {}", setu.summary);
    }
    let configuration = setu.summary.split_once("{ \"iceServers\":").unwrap().1;
    let configuration = format!("{{ \"iceServers\":{configuration}");
    let configuration: serde_json::Value = serde_json::from_str(&configuration).unwrap();
    let offered = &configuration["iceServers"];
    let given = &get(setu.http, "/ice-servers?participantId=alice").json()["iceServers"];
    assert_eq!(offered[1]["urls"], given[1]["urls"]);
    assert_eq!(
        given[1]["urls"][0],
        format!("turn:127.0.0.1:{}?transport=udp", setu.udp.port())
    );
}

#[test]
fn the_summary_shows_a_token_that_was_made_and_no_other() {
    let row = |setu: &Setu| {
        let mut lines = setu.summary.lines();
        let line = lines.find_map(|line| line.trim().strip_prefix("Admin token"))?;
        Some(line.split_whitespace().next().unwrap().to_owned())
    };
    assert_eq!(row(&Setu::start(&[])).unwrap().len(), 64);
    let typed = Setu::start(&[("SETU_HTTP__ADMIN_TOKEN", "open-sesame")]);
    assert!(row(&typed).is_none() && !typed.summary.contains("open-sesame"));
}

#[test]
fn the_summary_tells_who_may_join() {
    let setu = Setu::start(&[("SETU_ACCESS__JWT_SECRET", "north")]);
    assert!(setu.summary.contains("everybody"), "{}", setu.summary);
    assert!(setu.summary.contains("nobody is asked for a token"));
    let setu = Setu::start(&[
        ("SETU_ACCESS__JWT_SECRET", "north"),
        ("SETU_ACCESS__MODE", "token"),
    ]);
    assert!(setu.summary.contains("signed token"), "{}", setu.summary);
    assert!(setu.summary.contains("shorter than 32 bytes"));
    assert!(!setu.summary.contains("north"), "{}", setu.summary);
}

#[test]
fn what_makes_a_challenge_long_is_warned_about() {
    let oauth = [
        ("SETU_TURN__OAUTH_SERVER", "turn.example.org"),
        ("SETU_TURN__OAUTH_KEYS", "as:MDEyMzQ1Njc4OWFiY2RlZg=="),
    ];
    let long = [("SETU_TURN__REALM", "a-realm-of-24-bytes.test")];
    for (settings, is_long) in [(&oauth[..], true), (&long, true), (&[], false)] {
        let setu = Setu::start(settings);
        let says = setu.summary.contains("more than 2.5 times");
        assert_eq!(says, is_long, "{}", setu.summary);
    }
}

#[test]
fn the_summary_counts_the_relayed_ports() {
    let setu = Setu::start(&[("SETU_TURN__RELAY_PORTS", "50000-50009")]);
    assert!(
        setu.summary.contains("50000-50009/udp  (10 ports)"),
        "{}",
        setu.summary
    );
}

#[test]
fn an_external_address_that_nothing_listens_on_is_warned_about() {
    let setu = Setu::start(&[("SETU_TURN__EXTERNAL_IP", "192.0.2.1")]);
    assert!(
        setu.summary.contains("TURN listens on loopback only"),
        "{}",
        setu.summary
    );
    assert!(!Setu::start(&[]).summary.contains("loopback only"));
}

#[test]
fn an_external_address_of_the_other_ip_version_is_warned_about() {
    let anywhere = |ip: &str| {
        let setu = Setu::start(&[
            ("SETU_TURN__EXTERNAL_IP", "192.0.2.1"),
            ("SETU_TURN__LISTEN_UDP", ip),
            ("SETU_TURN__LISTEN_TCP", ip),
            ("SETU_TURN__LISTEN_TLS", ip),
            ("SETU_TURN__LISTEN_DTLS", ip),
        ]);
        setu.summary.contains("or not in its IP version")
    };
    assert!(anywhere("[::]:0"));
    assert!(!anywhere("0.0.0.0:0"));
}

#[test]
fn both_signals_end_it_cleanly_within_two_seconds_whoever_is_connected() {
    for signal in ["TERM", "INT"] {
        let mut setu = Setu::start(&[]);
        let _idle_turn_client = connect(setu.tcp);
        let _idle_tls_client = connect(setu.tls);
        let _idle_browser = connect(setu.http);
        let mut web_socket = connect(setu.http);
        let upgrade = format!(
            "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            setu.http
        );
        web_socket.write_all(upgrade.as_bytes()).unwrap();
        let mut answer = [0; 12];
        web_socket.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 101");
        setu.signal(signal);
        let (ended, end) = mpsc::channel();
        thread::spawn(move || ended.send(setu.wait()));
        let status = end.recv_timeout(Duration::from_secs(2)).unwrap();
        assert_eq!(status.code(), Some(0), "{signal}");
    }
}

#[test]
fn a_taken_port_is_named_with_the_key_to_change() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    for variable in [
        "SETU_HTTP__LISTEN",
        "SETU_TURN__LISTEN_TCP",
        "SETU_TURN__LISTEN_TLS",
    ] {
        let output = command(&[(variable, &addr)]).output().unwrap();
        let complaint = complaint(&output, 1);
        let key = variable
            .trim_start_matches("SETU_")
            .replace("__", ".")
            .to_lowercase();
        assert!(
            complaint.contains(&addr) && complaint.contains(&key),
            "{complaint}"
        );
        assert!(complaint.contains("Address already in use"), "{complaint}");
    }
}

#[test]
fn a_taken_alternate_port_is_named_with_its_own_key() {
    let taken = UdpSocket::bind("127.0.0.2:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let free = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let output = command(&[
        (
            "SETU_TURN__LISTEN_UDP",
            &format!("127.0.0.1:{port},127.0.0.2:{port}"),
        ),
        ("SETU_TURN__ALTERNATE_PORT", &addr.port().to_string()),
    ])
    .output()
    .unwrap();
    let complaint = complaint(&output, 1);
    assert!(
        complaint.contains(&addr.to_string()) && complaint.contains("set turn.alternate_port"),
        "{complaint}"
    );
}

#[test]
fn a_wrong_configuration_is_one_line_and_exit_code_2() {
    let output = command(&[("SETU_TURN__RELAY_PORTS", "9-1")])
        .output()
        .unwrap();
    let complaint = complaint(&output, 2);
    assert!(
        complaint.starts_with("setu: environment variable SETU_TURN__RELAY_PORTS: "),
        "{complaint}"
    );
    let folder = Folder::new();
    let file = folder.write("own.toml", "[turn]\nrelm = \"x\"\n");
    let output = command(&[]).arg("--config").arg(&file).output().unwrap();
    assert!(self::complaint(&output, 2).contains("did you mean turn.realm?"));
}

#[test]
fn wrong_arguments_are_exit_code_2() {
    assert_eq!(
        command(&[]).arg("server").output().unwrap().status.code(),
        Some(2)
    );
}

#[test]
fn a_credential_opens_a_server_with_the_same_secret() {
    let secret = [("SETU_CREDENTIALS__SECRET", "north")];
    let output = command(&secret)
        .args(["credential", "alice", "--ttl", "30m"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().to_owned()
    };
    let (username, password) = (field("username:"), field("password:"));
    let right = LongTermKey::derive(PasswordAlgorithm::Md5, &username, REALM, &password);
    let proven = credentials("north")
        .prove(&username, PasswordAlgorithm::Md5, |key| *key == right)
        .unwrap();
    let left = proven.expires_at.unwrap().0 - now().0;
    assert!((1700..=1800).contains(&left), "{left}");
}

#[test]
fn a_credentials_ttl_has_the_bounds_of_the_key() {
    for ttl in ["0s", "1500ms", "31days"] {
        let mut setu = command(&[("SETU_CREDENTIALS__SECRET", "north")]);
        let output = setu.args(["credential", "alice", "--ttl", ttl]).output();
        assert_eq!(output.unwrap().status.code(), Some(2), "{ttl}");
    }
}

#[test]
fn without_a_secret_no_credential_would_fit() {
    let output = command(&[]).args(["credential", "alice"]).output().unwrap();
    assert!(complaint(&output, 1).contains("credentials.secret is not set"));
}

#[test]
fn the_effective_configuration_is_a_configuration_without_secrets() {
    let secret = [
        ("SETU_CREDENTIALS__SECRET", "north-star"),
        ("SETU_TURN__USERS", "alice:hunter2"),
    ];
    let output = command(&secret).arg("config").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let table: toml::Table = text.parse().unwrap();
    assert_eq!(table["turn"]["external_ip"][0].as_str(), Some("127.0.0.1"));
    assert_eq!(table["profile"].as_str(), Some("development"));
    assert!(
        !text.contains("north-star") && !text.contains("hunter2"),
        "{text}"
    );
}

#[test]
fn health_asks_the_running_server() {
    let setu = Setu::start(&[]);
    let addr = setu.http.to_string();
    let by_key = command(&[("SETU_HTTP__LISTEN", &addr)])
        .arg("health")
        .status()
        .unwrap();
    assert_eq!(by_key.code(), Some(0));
    let by_url = command(&[])
        .args(["health", "--url", &format!("http://{addr}/health")])
        .status();
    assert_eq!(by_url.unwrap().code(), Some(0));
    let missing = command(&[])
        .args(["health", "--url", &format!("http://{addr}/nothing")])
        .output();
    assert!(complaint(&missing.unwrap(), 1).contains("404"));
    drop(setu);
    let gone = command(&[("SETU_HTTP__LISTEN", &addr)])
        .arg("health")
        .output()
        .unwrap();
    assert!(complaint(&gone, 1).contains("no answer"));
}

#[test]
fn bash_completes_commands_and_their_options() {
    let folder = Folder::new();
    let script = folder.write("setu", &printed(&["completions", "bash"]));
    for (words, wanted) in [
        ("setu he", &["health", "help"][..]),
        ("setu check --js", &["--json"]),
        ("setu completions fi", &["fish"]),
    ] {
        let last = words.rsplit(' ').next().unwrap();
        let asked = format!(
            ". \"$0\"; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _setu setu {last}; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let output = Command::new("bash")
            .args(["--norc", "-c", &asked])
            .arg(&script)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(
            said.lines().collect::<Vec<_>>(),
            wanted,
            "{words}: {output:?}"
        );
    }
}

#[test]
fn each_command_has_a_manual_page_without_a_flaw() {
    let folder = Folder::new();
    let pages = folder.0.join("man");
    let written = command(&[]).args(["man", "--all"]).arg(&pages).status();
    assert!(written.unwrap().success());
    let help = printed(&["help"]);
    let commands = help.split_once("Commands:\n").unwrap().1;
    let commands = commands.lines().take_while(|line| !line.is_empty());
    let names = commands.filter_map(|line| line.split_whitespace().next());
    for name in names.filter(|name| *name != "help") {
        let page = pages.join(format!("setu-{name}.1"));
        assert_eq!(fs::read_to_string(page).unwrap(), printed(&["man", name]));
    }
    for page in fs::read_dir(&pages).unwrap() {
        let page = page.unwrap().path();
        let output = Command::new("groff")
            .args(["-man", "-ww", "-Tutf8", "-P-cbou"])
            .arg(&page)
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{page:?}");
        let shown = String::from_utf8(output.stdout).unwrap();
        assert!(
            shown.contains("SYNOPSIS") && shown.contains("--config"),
            "{shown}"
        );
    }
    assert_eq!(
        fs::read_to_string(pages.join("setu.1")).unwrap(),
        printed(&["man"])
    );
}

#[test]
fn there_is_no_page_of_a_command_that_is_none() {
    let output = command(&[]).args(["man", "serv"]).output().unwrap();
    assert!(complaint(&output, 2).contains("no command \"serv\""));
}

/// What this prints when all is well.
fn printed(args: &[&str]) -> String {
    let output = command(&[]).args(args).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The one line on the standard error.
fn complaint(output: &Output, code: i32) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert_eq!(text.trim_end().lines().count(), 1, "{text}");
    text
}

const REALM: &str = "vrinda-sangha.local";

fn credentials(secret: &str) -> Credentials {
    Credentials::new(Settings {
        realm: REALM.to_owned(),
        secrets: vec![Redacted::new(secret.to_owned())],
        ttl: Duration::from_secs(60),
        users: Vec::new(),
    })
}

fn now() -> UnixSeconds {
    setu::clock::Now::read().unix.seconds()
}

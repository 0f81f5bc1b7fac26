//! What goes wrong on any machine, without namespaces.

use std::net::{TcpListener, UdpSocket};

use serde_json::Value;

use super::checked::Checked;
use super::common::{Setu, command};
use super::vps::SECRET;

#[test]
fn a_desk_is_right_before_the_first_start() {
    let checked = Checked::run(&mut command(&[]), &[]);
    for check in [
        "relay.udp",
        "relay.tcp",
        "relay.tls",
        "relay.dtls",
        "clock",
        "relay_ports",
    ] {
        checked.is_ok(check);
    }
    checked.and_nothing_else_than(&[]);
}

#[test]
fn people_are_told_in_lines_and_by_the_exit_code() {
    let output = command(&[("SETU_TURN__RELAY_PORTS", "9-1")])
        .arg("check")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("failure  configuration"), "{text}");
    assert!(
        text.contains("turn.relay_ports") && text.contains("write 1-9"),
        "{text}"
    );
}

#[test]
fn a_taken_port_is_named_with_who_has_it() {
    let (taken, datagrams) = (
        TcpListener::bind("127.0.0.1:0").unwrap(),
        UdpSocket::bind("127.0.0.1:0").unwrap(),
    );
    let addr = taken.local_addr().unwrap().to_string();
    let pid = format!("(pid {})", std::process::id());
    Checked::run(&mut command(&[("SETU_TURN__LISTEN_TCP", &addr)]), &[])
        .says("port.tcp", "failure", &pid, "turn.listen_tcp")
        .and_nothing_else_than(&["port.tcp"]);
    Checked::run(&mut command(&[("SETU_HTTP__LISTEN", &addr)]), &[])
        .says("port.http", "failure", &pid, "http.listen")
        .and_nothing_else_than(&["port.http"]);
    Checked::run(&mut command(&[("SETU_METRICS__LISTEN", &addr)]), &[])
        .says("port.metrics", "failure", &pid, "metrics.listen")
        .and_nothing_else_than(&["port.metrics"]);
    let proven = [
        ("SETU_ACME__DOMAINS", "turn.example.org"),
        ("SETU_ACME__LISTEN", &*addr),
        ("SETU_ACME__STATE_DIR", "/nowhere"),
        ("SETU_TURN__HOST", "127.0.0.1"),
    ];
    Checked::run(&mut command(&proven), &[])
        .says("port.acme", "failure", &pid, "acme.listen")
        .and_nothing_else_than(&["port.acme"]);
    let addr = datagrams.local_addr().unwrap().to_string();
    Checked::run(&mut command(&[("SETU_TURN__LISTEN_UDP", &addr)]), &[])
        .says("port.udp", "failure", &pid, "kill")
        .and_nothing_else_than(&["port.udp"]);
}

#[test]
fn a_running_server_is_tried_out_with_its_own_credentials() {
    let setu = Setu::start(&[]);
    let [http, udp, tcp, tls] =
        [setu.http, setu.udp, setu.tcp, setu.tls].map(|addr| addr.to_string());
    let there = [
        ("SETU_HTTP__LISTEN", &*http),
        ("SETU_TURN__LISTEN_UDP", &udp),
        ("SETU_TURN__LISTEN_TCP", &tcp),
        ("SETU_TURN__LISTEN_TLS", &tls),
        ("SETU_TURN__LISTEN_DTLS", ""),
    ];
    let checked = Checked::run(&mut command(&there), &[]);
    let pid = format!("setu (pid {})", setu.pid());
    checked
        .says("port.udp", "ok", &pid, "")
        .is_ok("http")
        .is_ok("relay.tls");
    checked.and_nothing_else_than(&[]);
    // And what it was not started with.
    let other = [&there[..], &[("SETU_CREDENTIALS__SECRET", SECRET)]].concat();
    Checked::run(&mut command(&other), &[])
        .says(
            "relay.udp",
            "warning",
            "refuses credentials signed with credentials.secret",
            "restart",
        )
        .and_nothing_else_than(&["relay.udp", "relay.tcp", "relay.tls"]);
}

#[test]
fn secrets_that_can_be_guessed() {
    let production = |variables: &[(&str, &str)]| {
        let all = [
            &[
                ("SETU_PROFILE", "production"),
                ("SETU_TURN__EXTERNAL_IP", "192.0.2.7/127.0.0.1"),
            ],
            variables,
        ]
        .concat();
        Checked::run(&mut command(&all), &[])
    };
    production(&[("SETU_CREDENTIALS__SECRET", "changeme")]).says(
        "secret",
        "failure",
        "can be guessed",
        "openssl rand",
    );
    production(&[("SETU_CREDENTIALS__SECRET", "k7Qp2xz!vR")]).says(
        "secret",
        "warning",
        "short",
        "openssl rand",
    );
    production(&[]).says("secret", "warning", "a restart voids", "credentials.secret");
    production(&[("SETU_TURN__USERS", "turnuser:turnpass")]).says(
        "users",
        "failure",
        "turnuser",
        "turn.users",
    );
    production(&[("SETU_HTTP__ADMIN_TOKEN", "admin123")]).says(
        "admin_token",
        "failure",
        "guessed",
        "http.admin_token",
    );
    production(&[
        ("SETU_ACCESS__MODE", "token"),
        ("SETU_ACCESS__JWT_SECRET", "k7Qp2xz!vRk7Qp2xz!vR"),
    ])
    .says(
        "access",
        "warning",
        "shorter than 32 bytes",
        "in the application",
    );
}

#[test]
fn a_relay_range_that_is_too_small() {
    let alone = [("SETU_TURN__PORT_SHARING", "never")];
    Checked::run(&mut command(&alone), &["--people", "12"])
        .says(
            "relay_range",
            "warning",
            "12 may need 396 ports",
            "turn.relay_ports",
        )
        .and_nothing_else_than(&["relay_range"]);
    // Twelve who share ports need no more than there are; sixty do.
    Checked::run(&mut command(&[]), &["--people", "12"])
        .says("relay_range", "ok", "18 where some share a port", "")
        .and_nothing_else_than(&[]);
    Checked::run(&mut command(&[]), &["--people", "60"])
        .says(
            "relay_range",
            "warning",
            "60 may need 443 ports",
            "turn.relay_ports",
        )
        .and_nothing_else_than(&["relay_range"]);
    Checked::run(
        &mut command(&[("SETU_TURN__RELAY_PORTS", "49160-49161")]),
        &[],
    )
    .says("relay_range", "warning", "2 ports", "turn.relay_ports");
}

#[test]
fn a_relay_range_that_somebody_else_has() {
    let taken = neighbours(10);
    let first = taken[0].local_addr().unwrap().port();
    let range = format!("{first}-{}", first + 9);
    let pid = format!("(pid {})", std::process::id());
    Checked::run(&mut command(&[("SETU_TURN__RELAY_PORTS", &range)]), &[]).says(
        "relay_ports",
        "failure",
        &pid,
        "turn.relay_ports",
    );
}

/// So many ports in a row that nobody has but this test.
fn neighbours(count: u16) -> Vec<UdpSocket> {
    let bind = |port| UdpSocket::bind(("0.0.0.0", port)).ok();
    let mut tries = (0..100).filter_map(|_| {
        let first = bind(0)?;
        let port = first.local_addr().ok()?.port();
        let others = (1..count).map(|step| bind(port.checked_add(step)?));
        std::iter::once(Some(first)).chain(others).collect()
    });
    tries.next().unwrap()
}

#[test]
fn a_clock_that_is_off_by_a_day() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = server.local_addr().unwrap().to_string();
    let day = 86_400;
    std::thread::spawn(move || {
        let mut request = [0; 48];
        for offset in [day, -day, 0] {
            let (_, from) = server.recv_from(&mut request).unwrap();
            let now = i64::try_from(setu::clock::Now::read().unix.seconds().0).unwrap();
            let seconds = u32::try_from(now + 2_208_988_800 + offset).unwrap();
            let mut answer = [0; 48];
            answer[40..44].copy_from_slice(&seconds.to_be_bytes());
            server.send_to(&answer, from).unwrap();
        }
    });
    let check = || Checked::run(&mut command(&[]), &["--ntp", &addr]);
    check().says("clock", "failure", "behind the NTP server", "timedatectl");
    check().says("clock", "failure", "ahead of the NTP server", "timedatectl");
    check().and_nothing_else_than(&[]);
}

#[test]
fn a_clock_that_differs_from_that_of_a_web_server() {
    let setu = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", setu.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = setu.accept().unwrap();
        let mut request = [0; 512];
        let _ = std::io::Read::read(&mut stream, &mut request).unwrap();
        let answer =
            b"HTTP/1.1 200 OK\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n";
        std::io::Write::write_all(&mut stream, answer).unwrap();
    });
    Checked::run(&mut command(&[]), &["--date", &url]).says(
        "clock",
        "failure",
        "ahead of http://",
        "timedatectl",
    );
}

#[test]
fn the_report_has_four_fields_a_finding() {
    let output = command(&[]).args(["check", "--json"]).output().unwrap();
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    for finding in findings.as_array().unwrap() {
        let mut keys: Vec<_> = finding.as_object().unwrap().keys().collect();
        keys.sort_unstable();
        assert_eq!(keys, ["check", "fix", "found", "status"]);
    }
}

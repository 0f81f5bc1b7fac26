//! Addresses, names and limits of a machine on the internet, and of one behind a router.

use std::net::UdpSocket;

use super::checked::Checked;
use super::vps::{ADDRESS, PRIVATE, Vps};

#[test]
fn a_vps_is_right_before_the_first_start_and_beside_a_running_server() {
    let vps = Vps::new().hosts(&format!(
        "127.0.0.1 localhost\n{ADDRESS} turn.example.org\n"
    ));
    let named = [("SETU_TURN__HOST", "turn.example.org")];
    let checked = Checked::run(&mut vps.setu(&named), &[]);
    for check in [
        "relay.udp",
        "relay.tcp",
        "relay.tls",
        "relay.dtls",
        "certificate",
        "dns",
        "external_address",
    ] {
        checked.is_ok(check);
    }
    checked.and_nothing_else_than(&[]);
    let _server = vps.serve(&named);
    let checked = Checked::run(&mut vps.setu(&named), &[]);
    checked.says("port.udp", "ok", "is taken by setu (pid", "");
    for check in [
        "http",
        "relay.udp",
        "relay.tcp",
        "relay.tls",
        "relay.dtls",
        "reach.udp",
    ] {
        checked.is_ok(check);
    }
    checked.and_nothing_else_than(&[]);
}

#[test]
fn an_address_that_this_machine_does_not_have() {
    let vps = Vps::new();
    let wrong = [
        ("SETU_TURN__EXTERNAL_IP", "198.51.100.77"),
        ("SETU_TURN__HOST", ADDRESS),
    ];
    Checked::run(&mut vps.setu(&wrong), &[]).says(
        "external_address",
        "failure",
        "clients are told 198.51.100.77",
        &format!("turn.external_ip = \"{ADDRESS}\""),
    );
}

#[test]
fn a_right_mapping_behind_nat_leaves_nothing_but_notes() {
    let vps = Vps::behind_nat();
    let mapped = format!("{ADDRESS}/{PRIVATE}");
    let checked = Checked::run(&mut vps.setu(&[("SETU_TURN__EXTERNAL_IP", &mapped)]), &[]);
    checked
        .says("external_address", "note", "can't be told from here", &format!("forward 3478/udp, 3478/tcp, 5349/tcp, 5349/udp and 49160-49200/udp of {ADDRESS} to {PRIVATE}"))
        .says("reach.udp", "note", "can't be tried from here", "forward 3478/udp")
        .is_ok("relay.udp")
        .and_nothing_else_than(&[]);
}

#[test]
fn a_private_address_without_a_mapping() {
    let vps = Vps::behind_nat();
    for profile in ["production", "auto"] {
        let found = [
            ("SETU_TURN__EXTERNAL_IP", "auto"),
            ("SETU_PROFILE", profile),
            ("SETU_TURN__HOST", ADDRESS),
        ];
        Checked::run(&mut vps.setu(&found), &[]).says(
            "external_address",
            "warning",
            &format!("clients are told {PRIVATE}"),
            &format!("turn.external_ip = \"PUBLIC/{PRIVATE}\""),
        );
    }
}

#[test]
fn a_stun_server_tells_the_address_of_the_router() {
    let vps = Vps::behind_nat();
    vps.router.cable("outer", &vps.router, "far");
    vps.router.address("outer", &format!("{ADDRESS}/24"));
    vps.router.nft(&format!("table ip nat {{\nchain in {{ type nat hook input priority 100; ip saddr {PRIVATE} snat to {ADDRESS}; }}\n}}\n"));
    let stun = vps.router.enter(|| UdpSocket::bind("10.0.0.1:0").unwrap());
    let server = stun.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut request = [0; 512];
        while let Ok((bytes, from)) = stun.recv_from(&mut request) {
            let _ = stun.send_to(&binding_answer(&request[..bytes], from), from);
        }
    });
    let ask = |external: &str| {
        let mut setu = vps.setu(&[("SETU_TURN__EXTERNAL_IP", external)]);
        Checked::run(&mut setu, &["--stun", &server])
    };
    ask(&format!("{ADDRESS}/{PRIVATE}"))
        .says("external_address", "ok", "a STUN server sees", "")
        .and_nothing_else_than(&[]);
    ask(&format!("198.51.100.77/{PRIVATE}")).says(
        "external_address",
        "failure",
        &format!("sees this machine as {ADDRESS}"),
        &format!("turn.external_ip = \"{ADDRESS}/{PRIVATE}\""),
    );
}

#[test]
fn a_name_that_leads_elsewhere_or_nowhere() {
    let vps = Vps::new().hosts("127.0.0.1 localhost\n198.51.100.99 turn.example.org\n");
    let host = |name| Checked::run(&mut vps.setu(&[("SETU_TURN__HOST", name)]), &[]);
    host("turn.example.org")
        .says(
            "dns",
            "failure",
            "turn.example.org is 198.51.100.99",
            &format!("turn.example.org A {ADDRESS}"),
        )
        .and_nothing_else_than(&["dns"]);
    host("nowhere.invalid").says("dns", "failure", "does not resolve", "nowhere.invalid A");
}

#[test]
fn a_listener_that_only_this_machine_reaches() {
    let vps = Vps::new();
    Checked::run(
        &mut vps.setu(&[("SETU_TURN__LISTEN_UDP", "127.0.0.1:3478")]),
        &[],
    )
    .says(
        "reach.udp",
        "failure",
        "nothing listens over UDP at the address that clients are told",
        "turn.listen_udp",
    )
    .and_nothing_else_than(&["reach.udp"]);
}

#[test]
fn a_listener_on_an_address_of_another_machine() {
    let vps = Vps::new();
    Checked::run(
        &mut vps.setu(&[("SETU_TURN__LISTEN_TCP", "198.51.100.3:3478")]),
        &[],
    )
    .says(
        "port.tcp",
        "failure",
        "no interface of this machine has this address",
        "turn.listen_tcp",
    )
    .and_nothing_else_than(&["port.tcp"]);
}

#[test]
fn too_few_descriptors() {
    let vps = Vps::new();
    let few = |limit: &str| {
        let script = format!("ulimit -n {limit}; exec \"$0\" \"$@\"");
        Checked::run(
            &mut vps.by(&["sh", "-c", &script, env!("CARGO_BIN_EXE_setu")], &[]),
            &[],
        )
    };
    few("1024")
        .says("descriptors", "warning", "1024 allowed", "LimitNOFILE")
        .and_nothing_else_than(&["descriptors"]);
    few("120").says("descriptors", "failure", "120 allowed", "LimitNOFILE");
}

#[test]
fn development_users_on_a_machine_that_the_internet_reaches() {
    let vps = Vps::new();
    vps.machine.address("eth0", "192.31.7.9/24");
    let open = [
        ("SETU_PROFILE", "development"),
        ("SETU_TURN__EXTERNAL_IP", "192.31.7.9"),
        ("SETU_TURN__HOST", ADDRESS),
    ];
    Checked::run(&mut vps.setu(&open), &[]).says("users", "failure", "turnuser", "production");
}

/// A Binding's success with XOR-MAPPED-ADDRESS.
fn binding_answer(request: &[u8], from: std::net::SocketAddr) -> Vec<u8> {
    let std::net::SocketAddr::V4(from) = from else {
        panic!("IPv4 only");
    };
    let cookie = [0x21, 0x12, 0xA4, 0x42];
    let mut answer = [&[1, 1, 0, 12][..], &request[4..20], &[0, 0x20, 0, 8, 0, 1]].concat();
    let port = from.port().to_be_bytes();
    answer.extend([port[0] ^ cookie[0], port[1] ^ cookie[1]]);
    answer.extend(
        from.ip()
            .octets()
            .iter()
            .zip(cookie)
            .map(|(byte, mask)| byte ^ mask),
    );
    answer
}

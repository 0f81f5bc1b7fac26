//! 85-100: what no RFC demands and experience does.

use std::fs;
use std::path::{Path, PathBuf};

use setu::clock::UnixSeconds;
use setu::ident::{ParticipantId, UserId};
use setu::relay::engine::five_tuple::Transport;

use crate::bytes::*;
use crate::desk::*;
use crate::world::RELAYED;

/// Asks for a permission, a channel and a Send to this address: none may come of it.
#[track_caller]
fn is_out_of_reach(peer: &str) {
    let mut desk = Desk::new();
    let family = if peer.starts_with('[') { 2 } else { 1 };
    assert_eq!(desk.code(good(ALLOCATE).family(family)), 0);
    assert_eq!(desk.permit(peer), 403, "{peer}");
    assert_eq!(desk.bind(0x4000, peer), 403, "{peer}");
    assert!(desk.send_to(peer, b"x").is_silence(), "{peer}");
    assert!(desk.on_channel(0x4000, b"x").is_silence(), "{peer}");
    let snapshot = desk.world.snapshot();
    assert_eq!((snapshot.permissions, snapshot.channels), (0, 0), "{peer}");
}

#[test]
fn r85_an_address_inside_another_is_judged_as_itself() {
    for inner in [
        "7f00:1",
        "a9fe:a9fe",
        "0:0",
        "e000:1",
        "ffff:ffff",
        "a00:1",
        "6440:1",
        "cb00:7142",
    ] {
        is_out_of_reach(&format!("[::ffff:{inner}]:7000"));
        is_out_of_reach(&format!("[64:ff9b::{inner}]:7000"));
        is_out_of_reach(&format!("[2002:{inner}::1]:7000"));
        is_out_of_reach(&format!("[::ffff:0:{inner}]:7000"));
    }
    is_out_of_reach("[::7f00:1]:7000");
    is_out_of_reach("[::a9fe:a9fe]:7000");
    // Teredo hides the client's address behind its complement: 127.0.0.1.
    is_out_of_reach("[2001:0:cb00:7107::80ff:fffe]:7000");
}

#[test]
fn r85_the_policy_holds_at_every_send() {
    // The permission is for an address, and some of its ports are the server's own.
    let listener = format!("{RELAYED}:3478");
    let mut desk = Desk::with(|settings| {
        settings
            .policy
            .own_listeners
            .push(listener.parse().unwrap());
        settings
            .policy
            .relayed
            .push((RELAYED.parse().unwrap(), 49160..=49200));
    });
    assert_eq!(desk.code(good(ALLOCATE)), 0);
    assert_eq!(desk.permit(&format!("{RELAYED}:49161")), 0);
    desk.send_to(&format!("{RELAYED}:49161"), b"x").outward();
    assert!(desk.send_to(&listener, b"x").is_silence());
    assert_eq!(desk.bind(0x4000, &listener), 403);
}

#[test]
fn r86_what_is_nobodys_business_is_denied() {
    let denied = [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "169.254.0.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
    ];
    for ip in denied {
        is_out_of_reach(&format!("{ip}:7000"));
    }
    let denied = [
        "::",
        "::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "fc00::1",
        "fdff:ffff::1",
        "ff02::1",
        "ff0e::1",
    ];
    for ip in denied {
        is_out_of_reach(&format!("[{ip}]:7000"));
    }
}

#[test]
fn r0e_private_shared_and_local_peers_are_denied_unless_allowed() {
    let private = [
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "100.127.255.255",
    ];
    for ip in private {
        is_out_of_reach(&format!("{ip}:7000"));
        let peer = format!("{ip}:7000");
        let mut named = Desk::with(|settings| {
            settings
                .policy
                .allow
                .push(format!("{ip}/32").parse().unwrap())
        });
        assert_eq!(
            (named.code(good(ALLOCATE)), named.permit(&peer)),
            (0, 0),
            "{ip}"
        );
        let mut development =
            Desk::with(|settings| settings.policy.allow_private_and_loopback = true);
        assert_eq!(
            (development.code(good(ALLOCATE)), development.permit(&peer)),
            (0, 0),
            "{ip}"
        );
    }
    for neighbour in [
        "11.0.0.1",
        "172.15.0.1",
        "172.32.0.1",
        "192.167.1.1",
        "100.63.0.1",
        "100.128.0.1",
    ] {
        let mut desk = Desk::allocated();
        assert_eq!(desk.permit(&format!("{neighbour}:1")), 0, "{neighbour}");
    }
}

#[test]
fn r0e_this_servers_relayed_addresses_are_reachable_before_any_list() {
    let mut desk = Desk::with(|settings| {
        let ports = 49160..=49200;
        settings
            .policy
            .relayed
            .push(("10.0.0.1".parse().unwrap(), ports.clone()));
        settings
            .policy
            .relayed
            .push(("192.168.7.7".parse().unwrap(), ports));
    });
    assert_eq!(desk.code(good(ALLOCATE)), 0);
    for peer in ["10.0.0.1:49160", "192.168.7.7:49200"] {
        assert_eq!(desk.permit(peer), 0, "{peer}");
        desk.send_to(peer, b"x").outward();
    }
    // Its other ports are no relays.
    assert!(desk.send_to("10.0.0.1:22", b"x").is_silence());
    assert_eq!(desk.permit("10.0.0.2:49160"), 403);
}

#[test]
fn r87_randomness_is_the_operating_systems() {
    let mut numbers: Vec<_> = (0..1000).map(|_| setu::entropy::number()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 1000);
    // One file reads it, and nothing else draws numbers for the wire.
    for (path, source) in sources() {
        let is_source = path.ends_with("src/entropy.rs");
        assert!(is_source || !source.contains("getrandom::"), "{path:?}");
        for other in ["rand::", "fastrand", "SmallRng"] {
            assert!(
                !path.starts_with("src/relay") || !source.contains(other),
                "{path:?} has {other}"
            );
        }
    }
}

#[test]
fn r88_padding_is_zero_in_all_that_is_sent() {
    // Of every answer the reader checks it; here are those with odd lengths.
    for size in 1..8 {
        let mut desk = Desk::with(|settings| settings.software = Some("x".repeat(size)));
        assert_eq!(desk.code(good(ALLOCATE)), 0);
        assert_eq!(desk.permit(PEER), 0);
        let data = Parsed::read(&desk.peer_sends(PEER, &vec![0xFF; size]).inward());
        assert_eq!(data.get(attr::DATA).unwrap().len(), size);
        let answer = desk.code(
            good(REFRESH)
                .attr(0x7001, b"")
                .attr(0x7003, b"")
                .attr(0x7005, b""),
        );
        assert_eq!(answer, 420);
    }
}

#[test]
fn r89_no_code_of_the_relay_reads_unchecked() {
    for (path, source) in sources() {
        let code = source
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        for line in code.filter(|_| !path.ends_with("batch.rs")) {
            assert!(
                !line.contains("unsafe {") && !line.contains("unsafe fn"),
                "{path:?}: {line}"
            );
        }
    }
    // Nor does it matter where in memory a message begins.
    let mut desk = Desk::bound();
    let request = desk.sign(home(), ALICE, good(CREATE_PERMISSION));
    for offset in 0..8 {
        let shifted = [&vec![0xEE; offset][..], &request].concat();
        assert_eq!(desk.send(home(), &shifted[offset..]).answer().code(), 0);
    }
}

#[test]
fn r90_lengths_inside_attributes_are_bounded() {
    let values: &[&[u8]] = &[
        &[],
        &[0xFF],
        &[0xFF; 2],
        &[0xFF; 4],
        &[0xFF, 0xFF, 0, 0],
        &[0xFF; 255],
        &[0xFF; 2000],
    ];
    let required = 0x0001..0x0040;
    for typ in required.chain([
        0x8000, 0x8001, 0x8002, 0x8004, 0x8022, 0x8028, 0x802E, 0x8030,
    ]) {
        let mut desk = Desk::allocated();
        for value in values {
            for method in [BINDING, ALLOCATE, REFRESH, CREATE_PERMISSION, CHANNEL_BIND] {
                // Answered or not: it does no harm before credentials, nor behind them.
                desk.send(from(3), &Builder::request(method).attr(typ, value).done());
                let signed = desk.sign(home(), ALICE, Builder::request(method).attr(typ, value));
                desk.send(home(), &signed);
            }
            desk.send(
                home(),
                &Builder::indication(SEND).peer(PEER).attr(typ, value).done(),
            );
        }
        assert!(desk.allocations() <= 1, "{typ:#x}");
    }
}

#[test]
fn r92_strangers_leave_nothing_behind() {
    let mut desk = Desk::new();
    for host in 0..5_000_u32 {
        let [_, high, mid, low] = host.to_be_bytes();
        let client = format!("10.{high}.{mid}.{low}:5000");
        let from = at(Transport::Udp, &client);
        desk.send(from, &good(ALLOCATE).done());
        let request = good(ALLOCATE)
            .login("alice", REALM, "none")
            .integrity(b"wrong");
        desk.send(from, &request.done());
    }
    assert_eq!(desk.allocations(), 0);
    assert_eq!(desk.world.engine.poll_timeout(), None);
}

#[test]
fn r93_nothing_unproven_is_answered_with_much() {
    let mut desk = Desk::allocated();
    let mut datagrams = vec![
        Builder::request(BINDING).done(),
        Builder::request(BINDING).fingerprint().done(),
        Builder::request(BINDING).attr(0x7001, b"").done(),
        Builder::request(BINDING)
            .attr(0x7001, b"")
            .attr(0x7002, b"")
            .fingerprint()
            .done(),
        Builder::request(BINDING)
            .u32(attr::CHANGE_REQUEST, 6)
            .done(),
    ];
    for method in TURN_REQUESTS {
        for fingerprinted in [false, true] {
            let finish = |request: Builder| match fingerprinted {
                true => request.fingerprint().done(),
                false => request.done(),
            };
            datagrams.push(finish(Builder::request(method)));
            datagrams.push(finish(good(method)));
            datagrams.push(finish(Builder::request(method).integrity(b"wrong")));
            datagrams.push(finish(
                Builder::request(method).attr(attr::MESSAGE_INTEGRITY, b""),
            ));
            datagrams.push(finish(
                Builder::request(method).attr(attr::MESSAGE_INTEGRITY_SHA256, b""),
            ));
            datagrams.push(finish(
                Builder::request(method)
                    .login("", "", "")
                    .integrity(b"wrong"),
            ));
            datagrams.push(finish(
                Builder::request(method)
                    .login("a", "b", "c")
                    .integrity(b"wrong"),
            ));
        }
    }
    for (host, datagram) in (100..).zip(&datagrams) {
        for client in [
            format!("192.0.2.{host}:5000"),
            format!("[2001:db8:{host}::1]:5000"),
        ] {
            let from = at(Transport::Udp, &client);
            let headers = if from.client.is_ipv4() { 28 } else { 48 };
            if let Got::Answer(answer) = desk.send(from, datagram) {
                let (sent, got) = (headers + datagram.len(), headers + answer.raw.len());
                assert!(2 * got <= 5 * sent, "{got} bytes for {sent}: {answer:?}");
            }
        }
    }
}

#[test]
fn r96_a_captured_message_is_worth_nothing_elsewhere() {
    let mut desk = Desk::new();
    let captured = desk.sign(home(), ALICE, good(ALLOCATE));
    assert_eq!(desk.send(home(), &captured).answer().code(), 0);
    let refresh = desk.sign(home(), ALICE, good(REFRESH).lifetime(0));
    for thief in [
        "192.0.2.66:5000",
        "192.0.2.1:5001",
        "[::ffff:192.0.2.1]:5000",
    ] {
        let thief = at(Transport::Udp, thief);
        assert_eq!(desk.send(thief, &captured).answer().code(), 438);
        assert_eq!(desk.send(thief, &refresh).answer().code(), 438);
        assert_eq!(desk.allocations(), 1);
    }
}

#[test]
fn r0c_a_nonce_belongs_to_address_and_port() {
    let mut desk = Desk::new();
    let nonce = desk.nonce(home());
    let signed = good(ALLOCATE)
        .login("alice", REALM, &nonce)
        .integrity(&key("alice", REALM, "north"));
    let rebound = at(Transport::Udp, "192.0.2.1:5001");
    let stale = desk.send(rebound, &signed.clone().done()).answer();
    assert_eq!(stale.code(), 438);
    // A NAT's rebinding costs that one answer.
    let fresh = stale.text(attr::NONCE);
    let again = good(ALLOCATE)
        .login("alice", REALM, &fresh)
        .integrity(&key("alice", REALM, "north"));
    assert_eq!(desk.send(rebound, &again.done()).answer().code(), 0);
    assert_eq!(desk.send(home(), &signed.done()).answer().code(), 0);
}

#[test]
fn r97_permissions_and_channels_are_bounded_and_found_at_once() {
    // Few and many must cost alike: a look-up that scanned would cost hundreds of times as much.
    let cost = |count: u16| {
        let mut desk = Desk::allocated();
        for number in 0..count {
            let peer = format!("203.1.{}.{}:9", number / 200, number % 200);
            assert_eq!(desk.bind(0x4000 + number, &peer), 0);
        }
        let best = (0..5).map(|_| {
            let begin = setu::clock::Now::read().mono;
            for _ in 0..200 {
                desk.on_channel(0x4000, b"x").outward();
                desk.peer_sends("203.1.0.0:9", b"x").inward();
            }
            setu::clock::Now::read().mono - begin
        });
        best.min().unwrap()
    };
    let (few, many) = (cost(1), cost(1000));
    assert!(many < few * 20, "{few:?} with one, {many:?} with 1000");
}

#[test]
fn r0f_what_ends_frees_the_port_at_once() {
    let tcp = at(Transport::Tcp, "192.0.2.1:5000");
    let mut desk = Desk::new();
    desk.world.relays_max = 1;
    assert_eq!(desk.ask(tcp, ALICE, good(ALLOCATE)).code(), 0);
    assert_eq!(desk.ask(from(2), BOB, good(ALLOCATE)).code(), 508);
    desk.world.close_connection(tcp);
    assert_eq!(desk.ask(from(2), BOB, good(ALLOCATE)).code(), 0);
    assert_eq!(desk.ask(from(2), BOB, good(REFRESH).lifetime(0)).code(), 0);
    let (name, password) = desk.world.issue("carol");
    let carol = (name.as_str(), password.as_str());
    assert_eq!(desk.ask(from(3), carol, good(ALLOCATE)).code(), 0);
    let user = UserId::of(&ParticipantId::parse("carol").unwrap());
    desk.world.revoke(&user, UnixSeconds(u64::from(u32::MAX)));
    assert_eq!(desk.ask(from(2), BOB, good(ALLOCATE)).code(), 0);
    assert_eq!(desk.ask(from(4), carol, good(ALLOCATE)).code(), 401);
}

#[test]
fn r95_a_new_connection_on_the_same_address_inherits_nothing() {
    let tcp = at(Transport::Tcp, "192.0.2.1:5000");
    let mut desk = Desk::new();
    for method in [ALLOCATE, CHANNEL_BIND] {
        assert_eq!(desk.ask(tcp, ALICE, good(method)).code(), 0);
    }
    desk.world.close_connection(tcp);
    assert_eq!((desk.allocations(), desk.world.open.len()), (0, 0));
    assert!(desk.send(tcp, &channel_data(0x4000, 1, b"x")).is_silence());
    assert_eq!(desk.ask(tcp, ALICE, good(REFRESH)).code(), 437);
    assert_eq!(desk.ask(tcp, BOB, good(ALLOCATE)).code(), 0);
    assert!(desk.send(tcp, &channel_data(0x4000, 1, b"x")).is_silence());
}

#[test]
fn r99_a_thousand_allocations_leave_nothing_behind() {
    let mut desk = Desk::new();
    for round in 0..250_u32 {
        for host in 1..=4 {
            assert_eq!(desk.ask(from(host), ALICE, good(ALLOCATE)).code(), 0);
            assert_eq!(desk.ask(from(host), ALICE, good(CHANNEL_BIND)).code(), 0);
        }
        desk.wait(if round % 2 == 0 { 600 } else { 1 });
        for host in 1..=4 {
            let code = desk
                .ask(from(host), ALICE, good(REFRESH).lifetime(0))
                .code();
            assert_eq!(code, if round % 2 == 0 { 437 } else { 0 });
        }
    }
    desk.wait(3600);
    let snapshot = desk.world.snapshot();
    assert_eq!(
        (
            snapshot.allocations,
            snapshot.permissions,
            snapshot.channels
        ),
        (0, 0, 0)
    );
    assert!(desk.world.open.is_empty() && desk.world.engine.poll_timeout().is_none());
}

fn sources() -> Vec<(PathBuf, String)> {
    let mut folders = vec![PathBuf::from("src")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push((path, fs::read_to_string(entry.path()).unwrap()));
            }
        }
    }
    found
}

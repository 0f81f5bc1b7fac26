use super::*;

#[test]
fn built_in_list() {
    for (ip, production, development) in BUILT_IN {
        let ip = ip.parse().unwrap();
        for (allow_private_and_loopback, permitted) in [(false, *production), (true, *development)]
        {
            let policy = PeerPolicy {
                allow_private_and_loopback,
                ..PeerPolicy::default()
            };
            assert_eq!(policy.permits_ip(ip), permitted, "{ip}");
            assert_eq!(policy.permits(SocketAddr::new(ip, 9)), permitted, "{ip}");
        }
    }
}

#[test]
fn deny_wins_over_own_relays_win_over_allow_wins_over_the_built_in_list() {
    let policy = PeerPolicy {
        allow: nets(&["10.0.0.0/8", "169.254.7.0/24"]),
        deny: nets(&["10.9.0.0/16", "203.0.113.0/24", "2002::/16"]),
        relayed: vec![("192.168.0.1".parse().unwrap(), 49160..=49200)],
        own_listeners: vec!["0.0.0.0:3478".parse().unwrap()],
        ..PeerPolicy::default()
    };
    let cases = [
        ("10.1.1.1:1", true),
        ("169.254.7.1:1", true),
        ("[::ffff:10.1.1.1]:1", true),
        ("10.9.1.1:1", false),
        ("[::ffff:10.9.1.1]:1", false),
        ("203.0.113.7:1", false),
        ("[2002:101:101::1]:1", false),
        ("198.51.100.1:3478", true),
        ("192.168.0.1:49160", true),
        ("192.168.0.1:49200", true),
        ("192.168.0.1:49201", false),
        ("192.168.0.1:3478", false),
        ("192.168.0.2:49160", false),
        ("198.51.100.1:0", false),
    ];
    for (addr, permitted) in cases {
        assert_eq!(policy.permits(addr.parse().unwrap()), permitted, "{addr}");
    }
    assert!(policy.permits_ip("192.168.0.1".parse().unwrap()));
}

#[test]
fn a_development_server_does_not_relay_to_its_own_listeners() {
    let policy = PeerPolicy {
        allow_private_and_loopback: true,
        own_listeners: vec![
            "[::]:3478".parse().unwrap(),
            "192.168.0.1:5349".parse().unwrap(),
        ],
        ..PeerPolicy::default()
    };
    let permits = |addr: &str| policy.permits(addr.parse().unwrap());
    assert!(!permits("127.0.0.1:3478") && !permits("[::1]:3478") && !permits("192.168.0.1:5349"));
    assert!(permits("127.0.0.1:3479") && permits("192.168.0.2:5349"));
}

#[test]
fn relay_sockets_are_reached_by_the_address_that_clients_are_told_only() {
    let policy = |behind: &str| PeerPolicy {
        allow_private_and_loopback: true,
        relayed: vec![("203.0.113.1".parse().unwrap(), 49160..=49200)],
        translated: vec![("203.0.113.1".parse().unwrap(), behind.parse().unwrap())],
        own_addresses: vec!["10.0.0.7".parse().unwrap()],
        ..PeerPolicy::default()
    };
    let cases = [
        ("203.0.113.1:49160", Ok(()), Ok(())),
        ("10.0.0.7:49160", Err(Denial::Own), Err(Denial::Own)),
        (
            "[::ffff:10.0.0.7]:49200",
            Err(Denial::Own),
            Err(Denial::Own),
        ),
        ("127.0.0.1:49160", Ok(()), Err(Denial::Own)),
        ("10.0.0.7:49159", Ok(()), Ok(())),
        ("10.0.0.8:49160", Ok(()), Ok(())),
    ];
    for (addr, behind_one, behind_any) in cases {
        let peer = addr.parse().unwrap();
        assert_eq!(policy("10.0.0.7").check(peer), behind_one, "{addr}");
        assert_eq!(policy("0.0.0.0").check(peer), behind_any, "{addr}");
    }
}

#[test]
fn a_listener_on_every_address_is_kept_from_on_every_address() {
    let policy = PeerPolicy {
        allow_private_and_loopback: true,
        relayed: vec![("203.0.113.1".parse().unwrap(), 49160..=49200)],
        own_addresses: vec!["10.0.0.7".parse().unwrap(), "2001:db8::7".parse().unwrap()],
        own_listeners: vec!["0.0.0.0:3001".parse().unwrap()],
        ..PeerPolicy::default()
    };
    let check = |addr: &str| policy.check(addr.parse().unwrap());
    for own in [
        "127.0.0.1:3001",
        "127.8.9.1:3001",
        "[::1]:3001",
        "10.0.0.7:3001",
        "[::ffff:10.0.0.7]:3001",
        "[2001:db8::7]:3001",
        "203.0.113.1:3001",
    ] {
        assert_eq!(check(own), Err(Denial::Own), "{own}");
    }
    for other in ["10.0.0.7:3002", "10.0.0.8:3001", "203.0.113.1:49160"] {
        assert_eq!(check(other), Ok(()), "{other}");
    }
}

#[test]
fn a_listener_behind_nat_is_kept_from_on_its_public_address_too() {
    let policy = |local: &str| PeerPolicy {
        relayed: vec![("203.0.113.1".parse().unwrap(), 49160..=49200)],
        translated: vec![("203.0.113.1".parse().unwrap(), local.parse().unwrap())],
        own_listeners: vec!["10.0.0.7:3478".parse().unwrap()],
        ..PeerPolicy::default()
    };
    let cases = [
        ("203.0.113.1:3478", Err(Denial::Own), Err(Denial::Own)),
        (
            "[64:ff9b::203.0.113.1]:3478",
            Err(Denial::Own),
            Err(Denial::Own),
        ),
        ("10.0.0.7:3478", Err(Denial::Own), Err(Denial::Own)),
        ("203.0.113.1:3479", Ok(()), Ok(())),
        ("203.0.113.1:49160", Ok(()), Ok(())),
        ("203.0.113.2:3478", Ok(()), Ok(())),
    ];
    for (addr, behind_one, behind_any) in cases {
        let peer = addr.parse().unwrap();
        assert_eq!(policy("10.0.0.7").check(peer), behind_one, "{addr}");
        assert_eq!(policy("0.0.0.0").check(peer), behind_any, "{addr}");
    }
    let elsewhere = policy("10.0.0.8").check("203.0.113.1:3478".parse().unwrap());
    assert_eq!(elsewhere, Ok(()));
}

#[test]
fn what_merely_carries_a_relayed_address_is_none() {
    let policy = PeerPolicy {
        relayed: vec![("198.51.100.1".parse().unwrap(), 49160..=49200)],
        ..PeerPolicy::default()
    };
    let cases = [
        ("198.51.100.1", true),
        ("::ffff:198.51.100.1", true),
        ("fd00::5efe:198.51.100.1", false),
        ("fe80::5efe:198.51.100.1", false),
        ("ff02::5efe:198.51.100.1", false),
        // As good as what carries it.
        ("64:ff9b::198.51.100.1", true),
        ("2001:db8::5efe:198.51.100.1", true),
    ];
    for (ip, permitted) in cases {
        let ip = ip.parse().unwrap();
        assert_eq!(policy.permits_ip(ip), permitted, "{ip}");
        assert_eq!(
            policy.permits(SocketAddr::new(ip, 49160)),
            permitted,
            "{ip}"
        );
    }
}

#[test]
fn a_store_on_this_machine_is_kept_from_on_all_its_addresses_another_on_its_own() {
    let mut policy = PeerPolicy {
        allow: nets(&["0.0.0.0/0", "::/0"]),
        own_addresses: vec!["10.0.0.7".parse().unwrap()],
        ..PeerPolicy::default()
    };
    for store in ["127.0.0.1:6379", "10.0.0.9:6380"] {
        policy.keep_from(store.parse().unwrap());
    }
    let check = |addr: &str| policy.check(addr.parse().unwrap());
    for own in [
        "127.0.0.1:6379",
        "[::1]:6379",
        "10.0.0.7:6379",
        "10.0.0.9:6380",
        "[64:ff9b::10.0.0.9]:6380",
    ] {
        assert_eq!(check(own), Err(Denial::Own), "{own}");
    }
    for other in ["10.0.0.9:6379", "10.0.0.7:6380"] {
        assert_eq!(check(other), Ok(()), "{other}");
    }
}

#[test]
fn a_denial_says_what_kind_of_peer_it_was() {
    let policy = PeerPolicy {
        deny: nets(&["203.0.113.0/24"]),
        own_listeners: vec!["198.51.100.1:3478".parse().unwrap()],
        ..PeerPolicy::default()
    };
    let cases = [
        ("10.0.0.1:9", Denial::Private),
        ("[fd00::1]:9", Denial::Private),
        ("[::ffff:192.168.1.1]:9", Denial::Private),
        ("127.0.0.1:9", Denial::Loopback),
        ("[::1]:9", Denial::Loopback),
        ("169.254.169.254:80", Denial::LinkLocal),
        ("[64:ff9b::169.254.169.254]:80", Denial::LinkLocal),
        ("[fe80::1]:9", Denial::LinkLocal),
        ("0.0.0.0:9", Denial::Reserved),
        ("224.0.0.1:9", Denial::Reserved),
        ("198.51.100.2:0", Denial::Reserved),
        ("198.51.100.1:3478", Denial::Own),
        ("203.0.113.7:9", Denial::Named),
    ];
    for (addr, denial) in cases {
        assert_eq!(policy.check(addr.parse().unwrap()), Err(denial), "{addr}");
    }
    for (index, denial) in Denial::ALL.into_iter().enumerate() {
        assert_eq!(denial as usize, index);
    }
}

fn nets(nets: &[&str]) -> Vec<IpNet> {
    nets.iter().map(|net| net.parse().unwrap()).collect()
}

/// An address, whether it is reached in production, and in development.
const BUILT_IN: &[(&str, bool, bool)] = &[
    ("203.0.113.7", true, true),
    ("2001:db8::7", true, true),
    ("99.255.255.255", true, true),
    ("100.64.0.1", false, true),
    ("100.128.0.1", true, true),
    ("10.1.2.3", false, true),
    ("172.15.255.255", true, true),
    ("172.16.0.1", false, true),
    ("172.32.0.1", true, true),
    ("192.168.1.1", false, true),
    ("127.0.0.1", false, true),
    ("::1", false, true),
    ("fd12::1", false, true),
    ("0.0.0.0", false, false),
    ("0.1.2.3", false, false),
    ("169.254.169.254", false, false),
    ("224.0.0.1", false, false),
    ("240.0.0.1", false, false),
    ("255.255.255.255", false, false),
    ("::", false, false),
    ("fe80::1", false, false),
    ("fec0::1", false, false),
    ("ff02::1", false, false),
    // Protocol assignments, 6to4's anycast, benchmarks; neighbours of theirs.
    ("192.0.0.8", false, false),
    ("192.0.1.8", true, true),
    ("192.88.99.1", false, false),
    ("198.17.255.255", true, true),
    ("198.18.0.1", false, false),
    ("198.19.255.255", false, false),
    ("198.20.0.1", true, true),
    // What nobody has been given, discard, ORCHIDs, benchmarks, segment routing.
    ("100::1", false, false),
    ("200::1", false, false),
    ("1fff::1", false, false),
    ("4000::1", false, false),
    ("5f00::1", false, false),
    ("e000::1", false, false),
    ("2001:2::1", false, false),
    ("2001:10::1", false, false),
    ("2001:2f:ffff::1", false, false),
    ("2001:4:112::1", true, true),
    ("2600::1", true, true),
    ("3fff:ffff::1", true, true),
    ("64:ff9b:1::a9fe:a9fe", false, false),
    // Embeddings are as good as what they embed.
    ("::ffff:203.0.113.7", true, true),
    ("::ffff:10.0.0.1", false, true),
    ("::ffff:169.254.169.254", false, false),
    ("::ffff:0:169.254.169.254", false, false),
    ("::10.0.0.1", false, true),
    ("::169.254.169.254", false, false),
    ("64:ff9b::169.254.169.254", false, false),
    ("64:ff9b::203.0.113.7", true, true),
    ("2002:a9fe:a9fe::1", false, false),
    ("2002:cb00:7107::1", true, true),
    ("2001:0:cb00:7107::5601:5601", false, false),
    ("fd00::5efe:169.254.169.254", false, false),
    ("fd00::5efe:8.8.8.8", false, true),
    ("2001:db8::5efe:8.8.8.8", true, true),
    // What carries counts as well.
    ("fe80::5efe:8.8.8.8", false, false),
    ("fec0::200:5efe:8.8.8.8", false, false),
    ("ff02::5efe:8.8.8.8", false, false),
    ("64:ff9b:1::5efe:8.8.8.8", false, false),
];

//! `setu config import`: coturn's configuration in our terms.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use proptest::prelude::*;
use setu::config::{
    self, Config,
    import::{Fate, Imported, KEYS, Takes, import},
};
use toml::{Table, Value};

use common::{Folder, command};

#[allow(dead_code, reason = "each test target uses its part")]
mod common;

/// What stands in turnserver.conf, and what that makes of a key of ours.
const CASES: &[(&str, &str, &str)] = &[
    (
        "listening-port=3479",
        "turn.listen_udp",
        r#"["0.0.0.0:3479", "[::]:3479"]"#,
    ),
    (
        "listening-port=3479",
        "turn.listen_tcp",
        r#"["0.0.0.0:3479", "[::]:3479"]"#,
    ),
    ("listening-port=3479", "turn.alternate_port", "3480"),
    ("listening-port=3478", "turn.listen_udp", ""),
    (
        "min-port=50000 # from here\nmax-port 50100\t# to there",
        "turn.relay_ports",
        r#""50000-50100""#,
    ),
    ("no-udp # blocked anyway", "turn.listen_udp", "[]"),
    ("user=alice:a #b", "turn.users", r#"["alice:a #b"]"#),
    (
        "tls-listening-port=443",
        "turn.listen_tls",
        r#"["0.0.0.0:443", "[::]:443"]"#,
    ),
    (
        "tls-listening-port=443",
        "turn.listen_dtls",
        r#"["0.0.0.0:443", "[::]:443"]"#,
    ),
    ("alt-listening-port=4000", "turn.alternate_port", "4000"),
    ("no-rfc5780", "turn.alternate_port", "0"),
    ("no-rfc5780=no", "turn.alternate_port", ""),
    (
        "listening-ip=127.0.0.1\nlistening-ip ::1",
        "turn.listen_tls",
        r#"["127.0.0.1:5349", "[::1]:5349"]"#,
    ),
    (
        "listening-ip=127.0.0.1\nlistening-ip ::1",
        "turn.external_ip",
        r#"["127.0.0.1", "::1"]"#,
    ),
    (
        "aux-server=127.0.0.1:33478\nlistening-ip=127.0.0.2",
        "turn.listen_udp",
        r#"["127.0.0.2:3478", "127.0.0.1:33478"]"#,
    ),
    ("no-udp", "turn.listen_udp", "[]"),
    ("no-tcp=yes", "turn.listen_tcp", "[]"),
    ("no-tls", "turn.listen_tls", "[]"),
    ("no-dtls 1", "turn.listen_dtls", "[]"),
    (
        "external-ip=203.0.113.5",
        "turn.external_ip",
        r#"["203.0.113.5"]"#,
    ),
    (
        "external-ip=203.0.113.5/127.0.0.1",
        "turn.external_ip",
        r#"["203.0.113.5/127.0.0.1"]"#,
    ),
    (
        "external-ip=203.0.113.5\nrelay-ip=127.0.0.1",
        "turn.external_ip",
        r#"["203.0.113.5/127.0.0.1"]"#,
    ),
    (
        "relay-ip=127.0.0.1\nrelay-ip=::1",
        "turn.external_ip",
        r#"["127.0.0.1", "::1"]"#,
    ),
    ("", "turn.relay_ports", r#""49152-65535""#),
    (
        "min-port=50000\nmax-port=50100",
        "turn.relay_ports",
        r#""50000-50100""#,
    ),
    ("relay-threads=4", "turn.workers", "4"),
    ("relay-threads=0", "turn.workers", "1"),
    ("no-tcp-relay", "turn.tcp_relay", "false"),
    ("realm=example.org", "turn.realm", r#""example.org""#),
    (
        "user=alice:a=b#c\nlt-cred-mech\nuser=bob:1:2",
        "turn.users",
        r#"["alice:a=b#c", "bob:1:2"]"#,
    ),
    ("", "turn.users", "[]"),
    (
        "user=alice:secret\nuse-auth-secret\nstatic-auth-secret=north",
        "turn.users",
        "[]",
    ),
    (
        "use-auth-secret\nstatic-auth-secret=\"north\"",
        "credentials.secret",
        r#""north""#,
    ),
    (
        "static-auth-secret=north\nstatic-auth-secret=south",
        "credentials.previous_secrets",
        r#"["south"]"#,
    ),
    (
        "alternate-server=192.0.2.7\ntls-alternate-server=192.0.2.7",
        "turn.alternate_servers",
        r#"["192.0.2.7"]"#,
    ),
    (
        "alternate-server=[2001:db8::7]:4000",
        "turn.alternate_servers",
        r#"["[2001:db8::7]:4000"]"#,
    ),
    ("user-quota=12", "limits.allocations_per_user", "12"),
    ("", "limits.allocations_per_user", "0"),
    ("total-quota=1200", "limits.allocations", "1200"),
    (
        "max-bps=3000000",
        "limits.bytes_per_second_per_allocation",
        "6000000",
    ),
    (
        "bps-capacity=3000000000",
        "limits.bytes_per_second",
        "4294967295",
    ),
    (
        "denied-peer-ip=83.166.64.0-83.166.95.255",
        "peers.deny",
        r#"["83.166.64.0/19"]"#,
    ),
    (
        "denied-peer-ip=10.0.0.0-10.0.0.255\nallowed-peer-ip=10.0.0.128-10.0.0.255",
        "peers.deny",
        r#"["10.0.0.0/25"]"#,
    ),
    (
        "denied-peer-ip=10.0.0.0-10.0.0.255\nallowed-peer-ip=10.0.0.128-10.0.0.255",
        "peers.allow",
        r#"["10.0.0.128/25"]"#,
    ),
    (
        "allowed-peer-ip=127.0.0.1\nallowed-peer-ip=239.1.1.1\nallowed-peer-ip=10.0.0.1",
        "peers.allow",
        r#"["10.0.0.1/32"]"#,
    ),
    (
        "allow-loopback-peers",
        "peers.allow",
        r#"["127.0.0.0/8", "::1/128"]"#,
    ),
    (
        "prometheus",
        "metrics.listen",
        r#"["0.0.0.0:9641", "[::]:9641"]"#,
    ),
    (
        "prometheus\nprometheus-port=9000\nprometheus-address=127.0.0.1",
        "metrics.listen",
        r#"["127.0.0.1:9000"]"#,
    ),
    ("prometheus-port=9000", "metrics.listen", ""),
    ("Verbose", "log.level", r#""debug""#),
    ("verbose", "log.level", ""),
    ("", "http.listen", r#"["127.0.0.1:3001"]"#),
];

#[test]
fn each_key_becomes_one_of_ours() {
    for (text, key, expected) in CASES {
        let imported = convert(text);
        assert_eq!(
            (&imported.lost, &imported.missing),
            (&vec![], &None),
            "{text:?}"
        );
        let table: Table = imported.toml.parse().unwrap();
        let (section, name) = key.split_once('.').unwrap();
        let value = table.get(section).and_then(|section| section.get(name));
        let shown = value.map(Value::to_string).unwrap_or_default();
        assert_eq!(v4_only(&shown), v4_only(expected), "{text:?}: {key}");
    }
}

/// A line that matters and cannot be carried over, and a word of what is said of it.
const LOST: &[(&str, &str)] = &[
    ("no-auth", "opens the relay"),
    ("pkey-pwd=north", "openssl pkey"),
    ("CA-file=/etc/ca.pem", "certificate"),
    ("listening-device=eth0", "turn.listen_udp"),
    ("relay-device=eth0", "turn.external_ip"),
    ("tcp-proxy-port=5555", "PROXY"),
    ("no-udp-relay", "firewall"),
    ("stun-only", "relays"),
    ("no-stun", "Binding"),
    ("secure-stun", "Binding"),
    ("server-relay", "permission"),
    ("keep-address-family", "IPv4"),
    ("allocation-default-address-family=keep", "IPv4"),
    ("rest-api-separator=|", "colon"),
    ("use-auth-secret", "database"),
    (
        "redis-userdb=\"ip=127.0.0.1 password=north\"",
        "turn.users_file",
    ),
    ("psql-userdb=\"host=db password=north\"", "turn.users_file"),
    ("userdb=/var/lib/turn/turndb", "turn.users_file"),
    ("oauth", "turn.oauth_keys"),
    ("user=alice:0xbc807ee29df3c9ffa736523fb2c4e8ee", "no"),
    ("user=alice", "name:password"),
    ("user=1234:north", "digits"),
    ("static-auth-secret=[redacted]", "openssl rand"),
    ("external-ip=example.org", "not an address"),
    (
        "external-ip=203.0.113.5\nexternal-ip=203.0.113.6",
        "each IP version",
    ),
    ("relay-ip=127.0.0.1\nrelay-ip=127.0.0.2", "each IP version"),
    ("listening-ip=eth0", "not an address"),
    ("aux-server=192.0.2.1", "with a port"),
    ("listening-port=70000", "not a port"),
    ("min-port=80", "below 1024"),
    ("min-port=60000\nmax-port=50000", "begins after"),
    ("denied-peer-ip=10.0.0.9-10.0.0.1", "first-last"),
    ("alternate-server=turn2.example.org", "not an address"),
    ("tls-alternate-server=192.0.2.7:443", "UDP and TCP"),
    ("cert=/etc/turn.pem", "pkey"),
    ("pkey=/etc/turn.key", "cert"),
    ("realm=\"a\\b\"", "127 characters"),
    ("no-upd", "unknown key"),
    ("no-udp=maybe", "can't be read"),
    ("user-quota=many", "can't be read"),
    ("realm=", "can't be read"),
];

#[test]
fn what_matters_and_is_lost_is_named_with_its_line() {
    for (text, word) in LOST {
        let imported = convert(&format!("# a comment\n\n{text}"));
        let last = 2 + text.lines().count();
        let line = imported.lost.iter().find(|line| line.contains(word));
        let line = line.unwrap_or_else(|| panic!("{text:?}: {:?}", imported.lost));
        assert!(line.starts_with(&format!("line {last}: ")), "{line}");
        assert!(imported.toml.contains(&format!("# {line}\n")), "{text:?}");
        let mut lost = imported.lost.iter();
        assert!(!lost.any(|line| line.contains("does not load")), "{text:?}");
        assert_eq!(imported.missing, None, "{text:?}");
    }
}

#[test]
fn no_secret_is_shown_in_what_is_said() {
    let text = "user=alice:0xn0rth\npkey-pwd=n0rth\nredis-userdb=n0rth\ncli-password=n0rth\nstatic-auth-secret=\nuser=n0rth";
    let imported = convert(text);
    assert!(!imported.toml.contains("n0rth"), "{}", imported.toml);
    assert!(imported.lost.iter().all(|line| !line.contains("n0rth")));
}

#[test]
fn every_key_is_carried_over_or_commented_on() {
    let lines = KEYS.iter().map(|key| match key.takes {
        Takes::Flag => format!("{}\n", key.name),
        Takes::Number => format!("{}=1\n", key.name),
        Takes::Text | Takes::Secret => format!("{}=x\n", key.name),
    });
    let imported = convert(&lines.collect::<String>());
    let known = known_keys();
    for (at, key) in KEYS.iter().enumerate() {
        let line = format!("line {}: {}: ", at + 1, key.name);
        let is_told = imported.toml.contains(&format!("# {line}"));
        let is_lost = imported.lost.iter().any(|lost| lost.starts_with(&line));
        match key.fate {
            Fate::Becomes(ours, _) => {
                let unknown = ours
                    .split(", ")
                    .find(|key| !known.contains(&(*key).to_owned()));
                assert_eq!(unknown, None, "{key:?}");
            }
            Fate::Itself(why) | Fate::Dropped(why) => {
                assert!(is_told && !why.is_empty(), "{key:?}");
            }
            Fate::Lost(why) => assert!(is_told && is_lost && !why.is_empty(), "{key:?}"),
        }
    }
}

#[test]
fn no_key_is_there_twice() {
    for (at, key) in KEYS.iter().enumerate() {
        assert!(
            KEYS[..at].iter().all(|other| other.name != key.name),
            "{}",
            key.name
        );
    }
}

/// Debian's own file, as it is and with all that it shows put to use.
#[test]
fn every_key_of_debians_own_file_is_known() {
    let text = fs::read_to_string("/etc/turnserver.conf")
        .expect("coturn's configuration is missing: apt-get install coturn");
    let imported = convert(&text);
    assert_eq!(imported.lost, [""; 0]);
    loads(&imported.toml).unwrap();
    let shown: Vec<_> = text
        .lines()
        .filter_map(|line| line.trim_start_matches(['#', ' ']).split(['=', ' ']).next())
        .filter(|word| {
            word.contains('-') && word.chars().all(|c| c.is_ascii_lowercase() || c == '-')
        })
        .filter(|word| {
            text.contains(&format!("\n#{word}=")) || text.contains(&format!("\n#{word}\n"))
        })
        .collect();
    assert!(shown.len() > 70, "{shown:?}");
    for name in shown {
        assert!(KEYS.iter().any(|key| key.name == name), "{name}");
    }
}

/// And all that coturn's program itself knows.
#[test]
fn every_option_of_coturns_help_is_known() {
    let output = Command::new("turnserver").arg("--help").output();
    let output = output.expect("coturn is missing: apt-get install coturn");
    let help = text(&[output.stdout, output.stderr].concat());
    let on_the_command_line_only = [
        "help",
        "version",
        "config",
        "db",
        "generate-encrypted-password-aes",
    ];
    let mut count = 0;
    for line in help.lines() {
        let words = line.split([',', ' ', '\t', '=', '[', '<', '|']);
        let Some(name) = words.filter_map(|word| word.strip_prefix("--")).next() else {
            continue;
        };
        if line.trim_start().starts_with('-') && !on_the_command_line_only.contains(&name) {
            assert!(
                KEYS.iter().any(|key| key.name == name),
                "{name} in {line:?}"
            );
            count += 1;
        }
    }
    assert!(count > 90, "{count} in {help}");
}

#[test]
fn relative_certificates_lie_beside_the_file() {
    let folder = Folder::new();
    let imported = import(b"cert=turn.pem\npkey=/etc/turn.key", &folder.0);
    let cert = folder.0.join("turn.pem").display().to_string();
    assert!(imported.toml.contains(&cert), "{}", imported.toml);
    assert!(imported.toml.contains(r#"tls_key_file = "/etc/turn.key""#));
    // They are not there, which is no fault of what was made.
    let missing = imported.missing.unwrap();
    assert!(missing.contains("turn.tls_cert_file"), "{missing}");
    assert!(imported.toml.contains(&format!("# {missing}\n")));
    assert_eq!(imported.lost, [""; 0]);
}

#[test]
fn an_address_that_is_not_here_is_missing_and_a_contradiction_is_lost() {
    let imported = convert("external-ip=203.0.113.5/10.99.99.99");
    assert!(imported.missing.unwrap().contains("10.99.99.99") && imported.lost.is_empty());
    let imported = convert("listening-port=50000");
    assert!(
        imported.lost[0].contains("within turn.relay_ports"),
        "{imported:?}"
    );
    assert_eq!(imported.missing, None);
}

#[test]
fn the_command_prints_a_configuration_and_says_by_its_exit_code_whether_that_is_all() {
    let folder = Folder::new();
    let (given, made) = (folder.0.join("turnserver.conf"), folder.0.join("turn.toml"));
    fs::write(&given, "realm=example.org\nno-cli\nuser=alice:north\n").unwrap();
    let output = ran(&["config", "import", &given.display().to_string()]);
    assert_eq!(
        (output.status.code(), text(&output.stderr)),
        (Some(0), String::new())
    );
    assert!(text(&output.stdout).contains("# line 2: no-cli: "));
    fs::write(&made, &output.stdout).unwrap();
    let effective = ran(&["config", "--config", &made.display().to_string()]);
    assert!(
        text(&effective.stdout).contains("realm = \"example.org\""),
        "{effective:?}"
    );

    fs::write(&given, "realm=example.org\nstun-only\nwonder=1\n").unwrap();
    let output = ran(&["config", "import", &given.display().to_string()]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(
        said.contains("line 2: stun-only: ") && said.contains("line 3: wonder: unknown key"),
        "{said}"
    );

    let output = ran(&["config", "import", "/nowhere/turnserver.conf"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("cannot be read"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn whatever_is_read_what_comes_out_loads_or_says_why_not(bytes in conf()) {
        let imported = import(&bytes, Path::new("/"));
        let loaded = loads(&imported.toml);
        let mut lost = imported.lost.iter();
        let says = lost.any(|line| line.contains("does not load")) || imported.missing.is_some();
        prop_assert_eq!(loaded.is_ok(), !says, "{:?} of {}", loaded, imported.toml);
    }
}

/// Any bytes, and lines that are nearly right.
fn conf() -> impl Strategy<Value = Vec<u8>> {
    let names: Vec<_> = KEYS.iter().map(|key| key.name).collect();
    let values = prop_oneof![
        "[ -~]{0,12}".prop_map(|text| text),
        any::<u32>().prop_map(|number| number.to_string()),
        any::<std::net::IpAddr>().prop_map(|ip| ip.to_string()),
        any::<[std::net::IpAddr; 2]>().prop_map(|[a, b]| format!("{a}-{b}")),
        any::<[std::net::Ipv4Addr; 2]>().prop_map(|[a, b]| format!("{a}/{b}")),
        any::<std::net::SocketAddr>().prop_map(|addr| addr.to_string()),
        "\\PC{0,6}".prop_map(|text| text),
        Just(String::new()),
    ];
    let line =
        (prop::sample::select(names), values).prop_map(|(name, value)| format!("{name}={value}\n"));
    let lines = prop::collection::vec(line, 0..12).prop_map(|lines| lines.concat().into_bytes());
    prop_oneof![3 => lines, 1 => prop::collection::vec(any::<u8>(), 0..200)]
}

fn convert(text: &str) -> Imported {
    import(text.as_bytes(), Path::new("/"))
}

fn loads(toml: &str) -> Result<Config, String> {
    let folder = Folder::new();
    let file = folder.0.join("turn.toml");
    fs::write(&file, toml).unwrap();
    config::load(Some(&file), std::iter::empty()).map_err(|error| error.to_string())
}

/// The defaults have IPv6 on machines that do.
fn v4_only(shown: &str) -> String {
    shown
        .replace(r#", "[::]:3479""#, "")
        .replace(r#", "[::]:443""#, "")
        .replace(r#", "[::]:9641""#, "")
}

fn known_keys() -> Vec<String> {
    let shipped: Table = fs::read_to_string("turn.toml").unwrap().parse().unwrap();
    let mut keys = Vec::new();
    for (section, value) in &shipped {
        let names = value.as_table().into_iter().flat_map(Table::keys);
        keys.extend(names.map(|name| format!("{section}.{name}")));
    }
    keys
}

fn ran(arguments: &[&str]) -> Output {
    command(&[]).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

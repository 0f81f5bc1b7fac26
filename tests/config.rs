//! The configuration: what is accepted, what it means, and what a refusal says.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    ffi::OsString,
    fs,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use setu::access::{Access, HostOnly, Steering};
use setu::config::{self, Config, ConfigError, Profile};
use setu::relay::engine::limits;
use setu::relay::engine::{Auth, ChannelRange, signaled::PeerMode};
use setu::source::PerSource;

use common::Folder;

#[allow(dead_code, reason = "each test target uses its part")]
mod common;

#[test]
fn without_file_and_environment_everything_has_a_default() {
    let config = load("", &[]).unwrap();
    let http: Vec<_> = config
        .http
        .listen
        .iter()
        .map(|l| l.addr.to_string())
        .collect();
    assert_eq!(http, ["0.0.0.0:3001", "[::]:3001"]);
    assert_eq!(config.http.allowed_origins, ["http://localhost:3000"]);
    assert_eq!(config.relay.relay_ports, 49160..=49200);
    assert_eq!(config.relay.engine.auth, Auth::Required);
    assert_eq!(config.relay.engine.channels, ChannelRange::Rfc8656);
    assert_eq!(config.relay.engine.software, None);
    assert_eq!(config.credentials.realm, "vrinda-sangha.local");
    assert_eq!(config.credentials.ttl.as_secs(), 24 * 3600);
    assert_eq!(config.signaling.revocation_grace.as_secs(), 30);
    assert!(config.random_secret && config.is_self_signed() && config.random_admin_token);
    assert_eq!(config.http.access, Access::Open);
    assert!(config.store.redis_url.is_none() && !config.unused_jwt_secret);
    assert!(!config.relay.external.is_empty() && config.relay.workers >= 1);
}

#[test]
fn the_shipped_file_shows_every_key_at_its_default() {
    let shipped = fs::read_to_string("turn.toml").unwrap();
    let from_file = load(&shipped, &[]).unwrap().to_toml();
    assert_eq!(from_file, load("", &[]).unwrap().to_toml());
    let shown: toml::Table = shipped.parse().unwrap();
    let known: toml::Table = from_file.parse().unwrap();
    assert_eq!(keys(&shown), keys(&known));
}

#[test]
fn the_file_is_laid_over_the_defaults_and_the_environment_over_the_file() {
    let file =
        "[turn]\nrelay_ports = \"50000-50099\"\nrealm = \"example.org\"\n[log]\nlevel = \"warn\"";
    let config = load(file, &[("SETU_TURN__RELAY_PORTS", "51000-51099")]).unwrap();
    assert_eq!(config.relay.relay_ports, 51000..=51099);
    assert_eq!(config.credentials.realm, "example.org");
}

#[test]
fn the_environment_sets_every_type_of_value() {
    let config = load(
        "",
        &[
            ("SETU_PROFILE", "production"),
            ("SETU_TURN__LISTEN_UDP", "127.0.0.1:0, [::1]:0"),
            ("SETU_TURN__LISTEN_TLS", ""),
            ("SETU_TURN__WORKERS", "3"),
            ("SETU_CREDENTIALS__STRICT_EXPIRY", "true"),
            ("SETU_CREDENTIALS__TTL", "90m"),
        ],
    )
    .unwrap();
    assert_eq!(config.profile, Profile::Production);
    assert_eq!(config.relay.listen_udp.len(), 2);
    assert!(config.relay.listen_tls.is_empty());
    assert_eq!(config.relay.workers, 3);
    assert!(config.relay.engine.strict_expiry);
    assert_eq!(config.credentials.ttl.as_secs(), 90 * 60);
}

#[test]
fn there_are_no_more_workers_than_ports_to_share() {
    let workers = |turn: &str| load(&format!("[turn]\n{turn}"), &[]).unwrap().relay.workers;
    assert_eq!(workers("relay_ports = \"49160-49160\""), 1);
    assert_eq!(workers("relay_ports = \"49160-49161\"\nworkers = 2"), 2);
    let never = "relay_ports = \"49160-49160\"\nworkers = 4\nport_sharing = \"never\"";
    assert_eq!(workers(never), 4);
}

#[test]
fn the_variables_of_the_replaced_system_work_and_ours_win() {
    let theirs = [
        ("SOCKET_PORT", "4001"),
        ("NEXT_PUBLIC_APP_URL", "https://App.example.org/"),
        ("REDIS_URL", "redis://localhost"),
    ];
    let config = load("[http]\nlisten = [\"0.0.0.0:5001\"]", &theirs).unwrap();
    assert_eq!(config.http.listen[0].addr.port(), 4001);
    assert_eq!(config.http.allowed_origins, ["https://app.example.org"]);
    assert_eq!(
        config.store.redis_url.unwrap().to_string(),
        "redis://localhost:6379/0"
    );
    let both = [
        ("SETU_HTTP__LISTEN", "127.0.0.1:6001"),
        ("SOCKET_PORT", "4001"),
    ];
    assert_eq!(load("", &both).unwrap().http.listen[0].addr.port(), 6001);
    let unused = [
        ("SOCKET_PORT", "http"),
        ("SETU_HTTP__LISTEN", "127.0.0.1:6001"),
    ];
    assert!(load("", &unused).is_ok(), "nobody reads it");
}

#[test]
fn variables_that_others_set_beside_a_service_called_setu_are_left_alone() {
    let others = [
        ("SETU_BIN", "target/debug/setu"),
        ("SETU_PORT", "tcp://10.0.0.1:3001"),
        ("SETU_SERVICE_HOST", "10.0.0.1"),
        ("SETU_PORT_3001_TCP_ADDR", "10.0.0.1"),
        ("SETU_TURN_SERVICE_HOST", "10.0.0.1"),
        ("SETU_TURN_SERVICE_PORT", "3478"),
        ("SETU_TURN_SERVICE_PORT_UDP", "3478"),
        ("SETU_TURN_PORT", "udp://10.0.0.1:3478"),
        ("SETU_TURN_PORT_3478_UDP_ADDR", "10.0.0.1"),
    ];
    assert!(load("", &others).is_ok());
}

#[test]
fn limits_have_defaults_and_0_lifts_them() {
    let config = load("", &[]).unwrap();
    let limits = config.signaling.limits;
    assert_eq!(limits.connections, Some(10_000));
    assert_eq!(limits.events_per_second, Some(200));
    assert_eq!(limits.participants_per_session, Some(100));
    assert_eq!(limits.sessions, None);
    assert_eq!(limits.payload_bytes, Some(1_000_000));
    assert_eq!(limits.outbox_bytes, Some(4_194_304));
    assert_eq!(config.signaling.recovery.unwrap().as_secs(), 120);
    let lifted = [
        ("SETU_LIMITS__CONNECTIONS", "0"),
        ("SETU_LIMITS__CREDENTIALS_PER_MINUTE", "0"),
        ("SETU_SIGNALING__EVENTS_PER_SECOND", "0"),
        ("SETU_SIGNALING__PAYLOAD_BYTES", "0"),
        ("SETU_SIGNALING__OUTBOX_BYTES", "0"),
        ("SETU_SIGNALING__RECOVERY", "0s"),
    ];
    let config = load("", &lifted).unwrap();
    let limits = config.signaling.limits;
    assert_eq!((limits.connections, config.http.connections), (None, None));
    assert_eq!(config.http.credentials_per_minute.max, None);
    assert_eq!(limits.events_per_second, None);
    assert_eq!((limits.payload_bytes, limits.outbox_bytes), (None, None));
    assert_eq!(config.signaling.recovery, None);
}

#[test]
fn limits_of_the_relay_have_defaults_and_can_be_typed() {
    let limits = load("", &[]).unwrap().relay.limits;
    let per_source = |max, counts_loopback| PerSource {
        max: Some(max),
        counts_loopback,
    };
    let defaults = limits::Settings {
        allocations: None,
        allocations_per_user: Some(100),
        bytes_per_second: None,
        bytes_per_second_per_user: None,
        bytes_per_second_per_allocation: None,
        unauthenticated_replies_per_second: per_source(50, false),
        failed_logins_per_minute: per_source(60, false),
        connections: Some(10_000),
        connections_per_source: per_source(100, false),
    };
    assert_eq!(limits, defaults);
    let file = "[limits]\nallocations = 1\nallocations_per_user = 2\nbytes_per_second = 3\n\
                bytes_per_second_per_user = 4\nbytes_per_second_per_allocation = 5\n\
                unauthenticated_replies_per_second = 6\nfailed_logins_per_minute = 7\n\
                connections = 8\nconnections_per_source = 9";
    let typed = limits::Settings {
        allocations: Some(1),
        allocations_per_user: Some(2),
        bytes_per_second: Some(3),
        bytes_per_second_per_user: Some(4),
        bytes_per_second_per_allocation: Some(5),
        unauthenticated_replies_per_second: per_source(6, true),
        failed_logins_per_minute: per_source(7, true),
        connections: Some(8),
        connections_per_source: per_source(9, true),
    };
    assert_eq!(load(file, &[]).unwrap().relay.limits, typed);
}

#[test]
fn limits_for_a_source_count_loopback_once_they_are_typed() {
    let defaults = load("", &[]).unwrap().http;
    let typed = [
        ("SETU_LIMITS__CONNECTIONS_PER_SOURCE", "5"),
        ("SETU_LIMITS__CREDENTIALS_PER_MINUTE", "7"),
    ];
    let typed = load("", &typed).unwrap().http;
    let limit = |max, counts_loopback| PerSource {
        max: Some(max),
        counts_loopback,
    };
    assert_eq!(defaults.connections_per_source, limit(100, false));
    assert_eq!(defaults.credentials_per_minute, limit(60, false));
    assert_eq!(typed.connections_per_source, limit(5, true));
    assert_eq!(typed.credentials_per_minute, limit(7, true));
}

#[test]
fn who_may_join_and_who_may_steer() {
    let file =
        "[access]\nmode = \"token\"\njwt_secret = \"north\"\nhost_only = [\"verse\", \"end\"]";
    let config = load(file, &[]).unwrap();
    let (http, signaling) = (config.http.access, config.signaling.access);
    assert!(http == signaling && http.is_weak());
    let Access::Token(secret) = http else {
        panic!("{http:?}");
    };
    assert_eq!(secret.expose(), "north");
    let expected: HostOnly = [Steering::Verse, Steering::End].into_iter().collect();
    assert_eq!(config.signaling.host_only, expected);
    let unused = load("", &[("SETU_ACCESS__JWT_SECRET", "north")]).unwrap();
    assert!(unused.http.access == Access::Open && unused.unused_jwt_secret);
}

#[test]
fn an_admin_token_is_made_unless_there_is_one() {
    let token = |env: &[(&str, &str)]| load("", env).unwrap().http.admin_token;
    let made = token(&[]);
    assert!(made.expose().len() == 64 && made != token(&[]));
    let typed = [("SETU_HTTP__ADMIN_TOKEN", "north")];
    assert_eq!(token(&typed).expose(), "north");
    assert!(!load("", &typed).unwrap().random_admin_token);
}

#[test]
fn only_defaults_may_lack_their_family() {
    let defaults = load("", &[]).unwrap();
    assert!(defaults.http.listen[0].required && !defaults.http.listen[1].required);
    let typed = load("", &[("SETU_TURN__LISTEN_UDP", "[::]:3478")]).unwrap();
    assert!(typed.relay.listen_udp[0].required);
    let theirs = load("", &[("SOCKET_PORT", "4001")]).unwrap();
    assert!(theirs.http.listen[0].required && !theirs.http.listen[1].required);
}

#[test]
fn an_empty_address_or_host_is_found_like_auto() {
    let empty = [("SETU_TURN__EXTERNAL_IP", ""), ("SETU_TURN__HOST", "")];
    let auto = load("", &[]).unwrap();
    assert_eq!(load("", &empty).unwrap().relay_host, auto.relay_host);
}

#[test]
fn a_variable_of_ours_that_is_no_text_is_refused() {
    let junk = || OsString::from_vec(vec![0xFF]);
    let load = |name: &str| config::load(None, [(name.into(), junk())].into_iter());
    assert_eq!(
        load("SETU_CREDENTIALS__SECRET").unwrap_err().to_string(),
        "environment variable SETU_CREDENTIALS__SECRET: is not UTF-8; set it anew, or unset it"
    );
    assert!(load("SOMEBODY_ELSES").is_ok());
}

#[test]
fn no_empty_or_redacted_secret_comes_from_a_file() {
    let folder = Folder::new();
    let secret = folder.write("secret", "[redacted]\n");
    let variable = ("SETU_CREDENTIALS__SECRET_FILE", secret.to_str().unwrap());
    let refusal = load("", &[variable]).unwrap_err().to_string();
    assert!(
        refusal.contains("credentials.secret_file") && refusal.contains("redacted secret"),
        "{refusal}"
    );
}

#[test]
fn the_effective_configuration_can_be_loaded() {
    for users in ["auto", "alice:hunter2"] {
        let secrets = [
            ("SETU_CREDENTIALS__SECRET", "north"),
            ("SETU_TURN__USERS", users),
        ];
        let shown = load("", &secrets).unwrap().to_toml();
        assert_eq!(load(&shown, &[]).unwrap().to_toml(), shown);
    }
}

#[test]
fn the_profile_follows_the_external_address() {
    let cases = [
        ("127.0.0.1", Profile::Development, 2),
        ("192.0.2.1", Profile::Development, 2),
        ("10.0.0.1", Profile::Development, 2),
        ("8.8.8.8", Profile::Production, 0),
        ("8.8.8.8/127.0.0.1", Profile::Production, 0),
        ("10.0.0.1, 2a00::1", Profile::Production, 0),
    ];
    for (external, profile, users) in cases {
        let config = load("", &[("SETU_TURN__EXTERNAL_IP", external)]).unwrap();
        assert_eq!(config.profile, profile, "{external}");
        assert_eq!(config.credentials.users.len(), users, "{external}");
        let open = config.relay.engine.policy.allow_private_and_loopback;
        assert_eq!(open, profile == Profile::Development, "{external}");
    }
}

#[test]
fn the_peer_mode_is_one_of_three_words() {
    let cases = [
        ("any", PeerMode::Any),
        ("observe", PeerMode::Observe),
        ("signaled", PeerMode::Signaled),
    ];
    assert_eq!(load("", &[]).unwrap().relay.engine.peer_mode, PeerMode::Any);
    for (word, mode) in cases {
        let config = load("", &[("SETU_PEERS__MODE", word)]).unwrap();
        assert_eq!(config.relay.engine.peer_mode, mode, "{word}");
    }
}

#[test]
fn the_host_in_urls_is_the_first_external_address_unless_named() {
    let host = |env: &[(&str, &str)]| load("", env).unwrap().relay_host;
    assert_eq!(
        host(&[("SETU_TURN__EXTERNAL_IP", "192.0.2.1/127.0.0.1, 2001:db8::1")]),
        "192.0.2.1"
    );
    assert_eq!(
        host(&[("SETU_TURN__EXTERNAL_IP", "2001:db8::1")]),
        "[2001:db8::1]"
    );
    assert_eq!(
        host(&[("SETU_TURN__HOST", "turn.example.org")]),
        "turn.example.org"
    );
}

#[test]
fn secrets_come_from_files_too() {
    let folder = Folder::new();
    let secret = folder.write("secret", "north\n");
    let previous = folder.write("previous", "south\n\nwest\n");
    let users = folder.write("users", "alice:wonder:land\n");
    let admin = folder.write("admin", "east\n");
    let jwt = folder.write("jwt", "up\n");
    let redis = folder.write("redis", "rediss://localhost\n");
    let config = load(
        "",
        &[
            ("SETU_CREDENTIALS__SECRET_FILE", secret.to_str().unwrap()),
            (
                "SETU_CREDENTIALS__PREVIOUS_SECRETS_FILE",
                previous.to_str().unwrap(),
            ),
            ("SETU_TURN__USERS_FILE", users.to_str().unwrap()),
            ("SETU_HTTP__ADMIN_TOKEN_FILE", admin.to_str().unwrap()),
            ("SETU_ACCESS__MODE", "token"),
            ("SETU_ACCESS__JWT_SECRET_FILE", jwt.to_str().unwrap()),
            ("SETU_STORE__REDIS_URL_FILE", redis.to_str().unwrap()),
        ],
    )
    .unwrap();
    assert_eq!(config.http.admin_token.expose(), "east");
    let Access::Token(secret) = &config.http.access else {
        panic!("{:?}", config.http.access);
    };
    assert_eq!(secret.expose(), "up");
    let redis = config.store.redis_url.as_ref().unwrap();
    assert_eq!(redis.to_string(), "rediss://localhost:6379/0");
    let secrets: Vec<_> = config
        .credentials
        .secrets
        .iter()
        .map(|s| s.expose().as_str())
        .collect();
    assert_eq!(secrets, ["north", "south", "west"]);
    assert_eq!(config.credentials.users[0].0, "alice");
    assert!(!config.random_secret);
}

#[test]
fn the_effective_configuration_shows_no_secret() {
    let file = r#"
        [turn]
        users = ["alice:hunter2"]
        oauth_server = "turn.example.org"
        oauth_keys = ["as:MDEyMzQ1Njc4OWFiY2RlZg=="]
        [credentials]
        secret = "north-star"
        previous_secrets = ["south-cross"]
        [http]
        admin_token = "pole-star"
        [access]
        mode = "token"
        jwt_secret = "dog-star"
        [store]
        redis_url = "redis://:evening-star@localhost"
    "#;
    let config = load(file, &[]).unwrap();
    for text in [config.to_toml(), format!("{config:?}")] {
        for secret in ["hunter2", "-star", "south-cross", "MDEyMzQ1"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

#[test]
fn what_needs_a_secret_that_is_left_out_is_shown_as_a_comment() {
    let file = r#"
        [access]
        mode = "token"
        jwt_secret = "dog-star"
        host_only = ["verse"]
        [turn]
        oauth_server = "turn.example.org"
        oauth_keys = ["as:MDEyMzQ1Njc4OWFiY2RlZg=="]
    "#;
    let shown = load(file, &[]).unwrap().to_toml();
    load(&shown, &[]).unwrap();
    for line in [
        "# Needs a secret: mode = \"token\"",
        "# Needs a secret: host_only = [\"verse\"]",
        "# Needs a secret: oauth_server = \"turn.example.org\"",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}: {shown}");
    }
    let folder = Folder::new();
    let secret = folder.write("secret", "dog-star");
    let file = format!("[access]\nmode = \"token\"\njwt_secret_file = {secret:?}");
    let shown = load(&file, &[]).unwrap().to_toml();
    assert!(shown.contains("\nmode = \"token\""), "{shown}");
    load(&shown, &[]).unwrap();
}

/// (what is wrong, the file, the environment, the line)
type Refusal = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static str,
);

const REFUSALS: &[Refusal] = &[
    (
        "a misspelt key",
        "[turn]\nrelay_port = \"1-2\"",
        &[],
        "FILE: turn.relay_port: unknown key; did you mean turn.relay_ports?",
    ),
    (
        "a misspelt section",
        "[trun]\nrealm = \"x\"",
        &[],
        "FILE: trun.realm: unknown key; did you mean turn.realm?",
    ),
    (
        "a key from nowhere",
        "[turn]\nzzz = 1",
        &[],
        "FILE: turn.zzz: unknown key; remove it (`setu config` lists the known ones)",
    ),
    (
        "a misspelt variable",
        "",
        &[("SETU_TURN__RELAY_PORT", "1-2")],
        "environment variable SETU_TURN__RELAY_PORT: turn.relay_port: unknown key; did you mean SETU_TURN__RELAY_PORTS?",
    ),
    (
        "one underscore too few",
        "",
        &[("SETU_TURN_REALM", "x")],
        "environment variable SETU_TURN_REALM: turn_realm: unknown key; did you mean SETU_TURN__REALM?",
    ),
    (
        "no TOML",
        "[turn]\nrealm = ",
        &[],
        "FILE: line 2: string values must be quoted, expected literal string",
    ),
    (
        "a number for a text",
        "[turn]\nrealm = 5",
        &[],
        "FILE: turn.realm = 5: must be a text in quotes",
    ),
    (
        "a text for a number",
        "[turn]\nworkers = \"many\"",
        &[],
        "FILE: turn.workers = \"many\": must be a whole number from 0 to 4294967295",
    ),
    (
        "more workers than ports to share",
        "[turn]\nworkers = 3\nrelay_ports = \"49160-49161\"",
        &[],
        "FILE: turn.workers = 3: must be at most 2, one for each port of turn.relay_ports; or write port_sharing = \"never\"",
    ),
    (
        "a range beyond the ports",
        "[turn]\nrelay_ports = \"49160-70000\"",
        &[],
        "FILE: turn.relay_ports = \"49160-70000\": ends above 65535; write a range within 1024-65535, such as 49160-49200",
    ),
    (
        "a bad value in the environment",
        "",
        &[("SETU_CREDENTIALS__TTL", "soon")],
        "environment variable SETU_CREDENTIALS__TTL: credentials.ttl = \"soon\": must be a time from 1s to 30days, such as 30s, 90m or 24h",
    ),
    (
        "a bad port of the replaced system",
        "",
        &[("SOCKET_PORT", "http")],
        "environment variable SOCKET_PORT: \"http\" is no port; write a number up to 65535, such as 3001",
    ),
    (
        "a port of the replaced system beyond the ports",
        "",
        &[("SOCKET_PORT", "70000")],
        "environment variable SOCKET_PORT: \"70000\" is no port; write a number up to 65535, such as 3001",
    ),
    (
        "a bad address for HTTP",
        "",
        &[("SETU_HTTP__LISTEN", "abc")],
        "environment variable SETU_HTTP__LISTEN: http.listen = \"abc\": \"abc\" is no address with a port; write 0.0.0.0:3001 or [::]:3001",
    ),
    (
        "a bad address for TURN",
        "[turn]\nlisten_udp = [\"3478\"]",
        &[],
        "FILE: turn.listen_udp = \"3478\": \"3478\" is no address with a port; write 0.0.0.0:3478 or [::]:3478",
    ),
    (
        "a bad address for TURN over TLS",
        "[turn]\nlisten_tls = [\"localhost:5349\"]",
        &[],
        "FILE: turn.listen_tls = \"localhost:5349\": \"localhost:5349\" is no address with a port; write 0.0.0.0:5349 or [::]:5349",
    ),
    (
        "a bad address for metrics, which have none of their own",
        "[metrics]\nlisten = [\"9478\"]",
        &[],
        "FILE: metrics.listen = \"9478\": \"9478\" is no address with a port; write 127.0.0.1:9478",
    ),
    (
        "a certificate without key",
        "[turn]\ntls_cert_file = \"cert.pem\"",
        &[],
        "FILE: turn.tls_cert_file = \"cert.pem\": has no private key; set turn.tls_key_file too",
    ),
    (
        "a key without certificate",
        "[turn]\ntls_key_file = \"key.pem\"",
        &[],
        "FILE: turn.tls_key_file = \"key.pem\": has no certificate; set turn.tls_cert_file too",
    ),
    (
        "nobody to authenticate in production",
        "profile = \"production\"\n[turn]\nauth = \"none\"",
        &[],
        "FILE: turn.auth = \"none\": would open the relay to everybody; write \"required\", or profile = \"development\"",
    ),
    (
        "a secret twice",
        "[credentials]\nsecret = \"north\"\nsecret_file = \"/run/secret\"",
        &[],
        "FILE: credentials.secret = [redacted]: contradicts credentials.secret_file = \"/run/secret\"; set one of the two",
    ),
    (
        "a user without password",
        "[turn]\nusers = [\"alice\"]",
        &[],
        "FILE: turn.users = [redacted]: entry 1 must be name:password",
    ),
    (
        "a redacted user",
        "[turn]\nusers = [\"alice:[redacted]\"]",
        &[],
        "FILE: turn.users = [redacted]: the password of entry 1 is empty or redacted",
    ),
    (
        "a token key that is no base64",
        "[turn]\noauth_server = \"turn.example.org\"\noauth_keys = [\"as:!!!!\"]",
        &[],
        "FILE: turn.oauth_keys = [redacted]: must be \"id:key\" each, the key 16 or 32 bytes in base64; openssl rand -base64 32 makes a good one",
    ),
    (
        "a token key of the wrong length",
        "[turn]\noauth_server = \"turn.example.org\"\noauth_keys = [\"as:c2hvcnQ=\"]",
        &[],
        "FILE: turn.oauth_keys = [redacted]: must be \"id:key\" each, the key 16 or 32 bytes in base64; openssl rand -base64 32 makes a good one",
    ),
    (
        "a token key without id",
        "[turn]\noauth_server = \"turn.example.org\"\noauth_keys = [\"c2hvcnQ=\"]",
        &[],
        "FILE: turn.oauth_keys = [redacted]: must be \"id:key\" each, the key 16 or 32 bytes in base64; openssl rand -base64 32 makes a good one",
    ),
    (
        "a token key with an empty id",
        "[turn]\noauth_server = \"turn.example.org\"\noauth_keys = [\":MDEyMzQ1Njc4OWFiY2RlZg==\"]",
        &[],
        "FILE: turn.oauth_keys = [redacted]: must be \"id:key\" each, the key 16 or 32 bytes in base64; openssl rand -base64 32 makes a good one",
    ),
    (
        "token keys for no server",
        "[turn]\noauth_keys = [\"as:MDEyMzQ1Njc4OWFiY2RlZg==\"]",
        &[],
        "FILE: turn.oauth_keys = [redacted]: are good for no server; set turn.oauth_server too",
    ),
    (
        "a server of tokens without keys",
        "[turn]\noauth_server = \"turn.example.org\"",
        &[],
        "FILE: turn.oauth_server = \"turn.example.org\": has no keys to open tokens with; set turn.oauth_keys too",
    ),
    (
        "a server of tokens that no attribute can carry",
        "[turn]\noauth_server = 'a\"b'",
        &[],
        "FILE: turn.oauth_server = \"a\\\"b\": must have at most 127 characters, no quotes, backslashes or line ends",
    ),
    (
        "an alternate server that is only a name",
        "[turn]\nalternate_servers = [\"turn2.example.org\"]",
        &[],
        "FILE: turn.alternate_servers = \"turn2.example.org\": \"turn2.example.org\" must be an address, with a port or a name where needed: turn2.example.org/192.0.2.7:3478",
    ),
    (
        "an alternate server with a bad port",
        "[turn]\nalternate_servers = [\"192.0.2.7:70000\"]",
        &[],
        "FILE: turn.alternate_servers = \"192.0.2.7:70000\": \"192.0.2.7:70000\" must be an address, with a port or a name where needed: turn2.example.org/192.0.2.7:3478",
    ),
    (
        "an alternate server that nobody reaches",
        "[turn]\nalternate_servers = [\"0.0.0.0:3478\"]",
        &[],
        "FILE: turn.alternate_servers = \"0.0.0.0:3478\": \"0.0.0.0:3478\" must be an address, with a port or a name where needed: turn2.example.org/192.0.2.7:3478",
    ),
    (
        "a password that nobody can type",
        "[turn]\nusers = [\"alice:a\\u0000b\"]",
        &[],
        "FILE: turn.users = [redacted]: the password of entry 1 holds a control, invisible, private or unassigned character; remove it",
    ),
    (
        "a name that nobody sees",
        "[turn]\nusers = [\"ali\\u00ADce:a\"]",
        &[],
        "FILE: turn.users = [redacted]: the name of entry 1 holds a control, invisible, private or unassigned character; remove it",
    ),
    (
        "no realm",
        "[turn]\nrealm = \"\"",
        &[],
        "FILE: turn.realm = \"\": must not be empty; write your domain",
    ),
    (
        "a realm that nobody sees",
        "[turn]\nrealm = \"a\\u200Bb\"",
        &[],
        "FILE: turn.realm = \"a\\u{200b}b\": holds a control, invisible, private or unassigned character; remove it",
    ),
    (
        "an empty earlier secret",
        "[credentials]\nprevious_secrets = [\"\"]",
        &[],
        "FILE: credentials.previous_secrets = [redacted]: holds an empty or redacted secret; openssl rand -hex 32 makes a good one",
    ),
    (
        "a blank secret",
        "[credentials]\nsecret = \" \"",
        &[],
        "FILE: credentials.secret = [redacted]: holds an empty or redacted secret; openssl rand -hex 32 makes a good one",
    ),
    (
        "two listeners on one port",
        "[turn]\nlisten_tls = [\"0.0.0.0:3001\"]",
        &[],
        "FILE: turn.listen_tls = \"0.0.0.0:3001\": 0.0.0.0:3001 is also in http.listen; choose another port",
    ),
    (
        "HTTP where the authority looks for proof",
        "[http]\nlisten = [\"0.0.0.0:80\"]\n[acme]\ndomains = [\"setu.example.org\"]",
        &[],
        "FILE: http.listen = \"0.0.0.0:80\": 0.0.0.0:80 is also in acme.listen; choose another port",
    ),
    (
        "a listener among the relayed ports",
        "[turn]\nlisten_udp = [\"0.0.0.0:49170\"]",
        &[],
        "FILE: turn.listen_udp = \"0.0.0.0:49170\": 0.0.0.0:49170 is within turn.relay_ports; choose another port",
    ),
    (
        "DTLS on the port of UDP",
        "[turn]\nlisten_dtls = [\"0.0.0.0:3478\"]",
        &[],
        "FILE: turn.listen_dtls = \"0.0.0.0:3478\": 0.0.0.0:3478 is also in turn.listen_udp; choose another port",
    ),
    (
        "an alternate port among the relayed ones",
        "[turn]\nlisten_udp = [\"127.0.0.1:3478\", \"127.0.0.2:3478\"]\nalternate_port = 49170",
        &[],
        "FILE: turn.alternate_port = 49170: 127.0.0.1:49170 is within turn.relay_ports; choose another port",
    ),
    (
        "tokens without a secret",
        "[access]\nmode = \"token\"",
        &[],
        "FILE: access.mode = \"token\": needs the secret that tokens are signed with; set access.jwt_secret or access.jwt_secret_file",
    ),
    (
        "hosts where nobody has a role",
        "[access]\nhost_only = [\"verse\"]",
        &[],
        "FILE: access.host_only = \"verse\": needs tokens that say who is a host; write access.mode = \"token\", or no access.host_only",
    ),
    (
        "a host for nothing that there is",
        "[access]\nhost_only = [\"verses\"]",
        &[],
        "FILE: access.host_only = \"verses\": \"verses\" is none of verse, queue, timer, end; remove it",
    ),
    (
        "no way of access",
        "[access]\nmode = \"jwt\"",
        &[],
        "FILE: access.mode = \"jwt\": must be \"open\" or \"token\"",
    ),
    (
        "an admin token that no header can carry",
        "[http]\nadmin_token = \"open sesame\"",
        &[],
        "FILE: http.admin_token = [redacted]: may hold letters, digits and -._~+/= only; openssl rand -hex 32 makes a good one",
    ),
    (
        "a proxy that is no network",
        "[http]\ntrusted_proxies = [\"caddy\"]",
        &[],
        "FILE: http.trusted_proxies = \"caddy\": \"caddy\" is no network; write 10.0.0.0/8, 2001:db8::/32 or one address",
    ),
    (
        "no Redis",
        "",
        &[("REDIS_URL", "http://:hunter2@localhost")],
        "environment variable REDIS_URL: store.redis_url = [redacted]: must start with redis://, redis+sentinel:// or redis-cluster:// (rediss for TLS)",
    ),
    (
        "a negative number",
        "[limits]\nconnections = -1",
        &[],
        "FILE: limits.connections = -1: must be a whole number from 0 to 4294967295",
    ),
    (
        "an outbox smaller than a payload",
        "[signaling]\noutbox_bytes = 5000",
        &[],
        "FILE: signaling.outbox_bytes = 5000: holds less than one payload (signaling.payload_bytes); write at least 1000000",
    ),
    (
        "a payload larger than the outbox",
        "[signaling]\npayload_bytes = 5000000",
        &[],
        "FILE: signaling.payload_bytes = 5000000: does not fit into signaling.outbox_bytes; write at most 4194304",
    ),
    (
        "a recovery longer than anybody waits",
        "[signaling]\nrecovery = \"2h\"",
        &[],
        "FILE: signaling.recovery = \"2h\": must be a time from 0s to 1h, such as 30s, 90m or 24h",
    ),
    (
        "no network",
        "[peers]\nallow = [\"10.0.0.0/40\"]",
        &[],
        "FILE: peers.allow = \"10.0.0.0/40\": \"10.0.0.0/40\" is no network; write 10.0.0.0/8, 2001:db8::/32 or one address",
    ),
    (
        "no mode",
        "[peers]\nmode = \"strict\"",
        &[],
        "FILE: peers.mode = \"strict\": must be \"any\" or \"observe\" or \"signaled\"",
    ),
    (
        "a word that is none of the few",
        "profile = \"staging\"",
        &[],
        "FILE: profile = \"staging\": must be \"auto\" or \"development\" or \"production\"",
    ),
    (
        "an origin with a path",
        "[http]\nallowed_origins = [\"https://app.example.org/app\"]",
        &[],
        "FILE: http.allowed_origins = \"https://app.example.org/app\": \"https://app.example.org/app\" is no web origin; write https://app.example.org, without a path",
    ),
    (
        "a level that is none",
        "[log]\nlevel = \"inof\"",
        &[],
        "FILE: log.level = \"inof\": must be error, warn, info, debug, trace or off, or such levels for modules: info,setu::relay=debug",
    ),
];

#[test]
fn every_refusal_is_one_line_with_origin_key_value_and_fix() {
    for (name, file, env, expected) in REFUSALS {
        let error = load(file, env)
            .err()
            .unwrap_or_else(|| panic!("{name} is accepted"));
        assert_eq!(error.to_string(), *expected, "{name}");
        assert!(!error.to_string().contains('\n'), "{name}");
    }
}

#[test]
fn a_named_file_must_exist() {
    let error = config::load(Some(Path::new("/nowhere/turn.toml")), no_variables()).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("/nowhere/turn.toml: cannot be read: "),
        "{error}"
    );
}

#[test]
fn a_certificate_that_is_none_is_named() {
    let folder = Folder::new();
    let junk = folder.write("cert.pem", "no certificate");
    let path = junk.to_str().unwrap();
    let env = [
        ("SETU_TURN__TLS_CERT_FILE", path),
        ("SETU_TURN__TLS_KEY_FILE", path),
    ];
    let error = load("", &env).unwrap_err().to_string();
    assert!(
        error.contains("turn.tls_cert_file") && error.contains("holds no PEM certificate"),
        "{error}"
    );
}

fn load(file: &str, env: &[(&str, &str)]) -> Result<Config, Refused> {
    let folder = Folder::new();
    let path = folder.write("turn.toml", file);
    let env = env
        .iter()
        .map(|(name, text)| (OsString::from(name), OsString::from(text)));
    config::load(Some(&path), env).map_err(|error| Refused {
        error,
        path: path.clone(),
    })
}

/// Shows the file's path as `FILE`.
#[derive(Debug)]
struct Refused {
    error: ConfigError,
    path: PathBuf,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.path.display().to_string();
        f.write_str(&self.error.to_string().replace(&path, "FILE"))
    }
}

fn no_variables() -> impl Iterator<Item = (OsString, OsString)> {
    std::iter::empty()
}

fn keys(table: &toml::Table) -> Vec<String> {
    let mut keys = Vec::new();
    for (name, value) in table {
        match value.as_table() {
            Some(section) => keys.extend(section.keys().map(|key| format!("{name}.{key}"))),
            None => keys.push(name.clone()),
        }
    }
    keys.sort();
    keys
}

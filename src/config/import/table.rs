//! The keys of coturn's `turnserver.conf`, and what becomes of each: data, which docs/coturn.md shows as its table.

/// A key of coturn's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// As coturn spells it.
    pub name: &'static str,
    /// What stands behind it.
    pub takes: Takes,
    /// What becomes of it.
    pub fate: Fate,
}

/// What stands behind a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing, or yes or no.
    Flag,
    /// A whole number.
    Number,
    /// Anything.
    Text,
    /// What must not be shown.
    Secret,
}

/// What becomes of a key; the text says why, or how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Keys of ours.
    Becomes(&'static str, &'static str),
    /// Setu does so anyway.
    Itself(&'static str),
    /// It has no counterpart, and nobody is less safe or less well connected.
    Dropped(&'static str),
    /// It has no counterpart, and safety or connectivity depends on it.
    Lost(&'static str),
}

/// The key with this name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

const fn flag(name: &'static str, fate: Fate) -> Key {
    let takes = Takes::Flag;
    Key { name, takes, fate }
}

const fn number(name: &'static str, fate: Fate) -> Key {
    let takes = Takes::Number;
    Key { name, takes, fate }
}

const fn text(name: &'static str, fate: Fate) -> Key {
    let takes = Takes::Text;
    Key { name, takes, fate }
}

const fn secret(name: &'static str, fate: Fate) -> Key {
    let takes = Takes::Secret;
    Key { name, takes, fate }
}

use Fate::{Becomes, Dropped, Itself, Lost};

const DATABASE: Fate = Lost(
    "Setu has no user database: list users with `turnadmin -l` and secrets with `turnadmin -s`, and write them in turn.users_file and credentials.secret",
);
const FIXED: Fate = Itself("the RFC's value, which clients count on");
const JOURNAL: Fate =
    Dropped("Setu logs to the standard output, which systemd or Docker keeps; see [log]");
const NO_CLI: Fate =
    Dropped("there is no telnet; /dashboard and /api do the same, behind http.admin_token");
const NO_WEB_ADMIN: Fate = Dropped("/dashboard is on http.listen, behind http.admin_token");
const ANY_DH: Fate = Itself("TLS 1.2 and 1.3 agree on keys by elliptic curves only");
const OLD_TLS: Fate = Itself("TLS 1.2 and 1.3 only");
const SERVICE: Fate = Dropped(
    "Setu stays who starts it: User= of the systemd unit, or the image's user; it needs no root",
);
const WITHOUT_DATABASE: Fate = Dropped("it is about coturn's database, and Setu has none");

/// All keys of coturn 4.6, and those of newer releases that are in use.
pub const KEYS: &[Key] = &[
    number(
        "listening-port",
        Becomes("turn.listen_udp, turn.listen_tcp", "the port in both"),
    ),
    number(
        "tls-listening-port",
        Becomes("turn.listen_tls, turn.listen_dtls", "the port in both"),
    ),
    number(
        "alt-listening-port",
        Becomes(
            "turn.alternate_port",
            "0 is the port after `listening-port` there, and off here",
        ),
    ),
    number(
        "alt-tls-listening-port",
        Dropped("NAT behaviour discovery is for UDP (RFC 5780 §7.1)"),
    ),
    number(
        "tcp-proxy-port",
        Lost(
            "Setu does not speak the PROXY protocol: let TCP clients reach turn.listen_tcp directly",
        ),
    ),
    text(
        "listening-ip",
        Becomes(
            "turn.listen_udp, turn.listen_tcp, turn.listen_tls, turn.listen_dtls",
            "the addresses in all of them",
        ),
    ),
    text(
        "listening-device",
        Lost("Setu binds addresses: write the device's in turn.listen_udp, and in the other lists"),
    ),
    text(
        "aux-server",
        Becomes("turn.listen_udp, turn.listen_tcp", "one more address"),
    ),
    flag(
        "udp-self-balance",
        Itself("all workers serve each UDP address"),
    ),
    text(
        "relay-ip",
        Becomes("turn.external_ip", "the part behind the slash"),
    ),
    text(
        "relay-device",
        Lost("Setu relays from an address: write the device's in turn.external_ip"),
    ),
    text(
        "external-ip",
        Becomes(
            "turn.external_ip",
            "public, or public/private; one for each IP version",
        ),
    ),
    number(
        "relay-threads",
        Becomes("turn.workers", "0 is one thread there, and one a core here"),
    ),
    text("cpus", Becomes("turn.workers", "")),
    number(
        "min-port",
        Becomes("turn.relay_ports", "49152 where nothing is written"),
    ),
    number(
        "max-port",
        Becomes("turn.relay_ports", "65535 where nothing is written"),
    ),
    flag(
        "verbose",
        Itself("log.level = \"info\" has a line for each allocation"),
    ),
    flag("Verbose", Becomes("log.level", "debug")),
    flag("log-binding", Dropped("no line is written for a packet")),
    flag(
        "fingerprint",
        Itself("an answer has a FINGERPRINT where the request had one"),
    ),
    flag(
        "lt-cred-mech",
        Itself("long-term credentials are always on"),
    ),
    flag(
        "no-auth",
        Lost(
            "it opens the relay to everybody; where that is meant, write turn.auth = \"none\" and profile = \"development\"",
        ),
    ),
    flag(
        "use-auth-secret",
        Itself(
            "time-limited credentials are always on; without `static-auth-secret` the secret is in coturn's database",
        ),
    ),
    secret(
        "static-auth-secret",
        Becomes(
            "credentials.secret",
            "further ones in credentials.previous_secrets",
        ),
    ),
    number("secret-ts-exp-time", Dropped("coturn ignores it too")),
    text("server-name", Becomes("turn.oauth_server", "with `oauth`")),
    flag(
        "oauth",
        Lost(
            "the keys are in coturn's database: write them in turn.oauth_keys, and its server-name in turn.oauth_server",
        ),
    ),
    secret(
        "user",
        Becomes(
            "turn.users",
            "passwords only: of a key (0x…) nobody can tell the password",
        ),
    ),
    text("userdb", DATABASE),
    text("db", DATABASE),
    secret("psql-userdb", DATABASE),
    secret("mysql-userdb", DATABASE),
    secret("mongo-userdb", DATABASE),
    secret("redis-userdb", DATABASE),
    text("secret-key-file", WITHOUT_DATABASE),
    secret(
        "redis-statsdb",
        Dropped("/metrics and /api/allocations tell the same"),
    ),
    flag("no-auth-pings", WITHOUT_DATABASE),
    flag("no-dynamic-ip-list", WITHOUT_DATABASE),
    flag("no-dynamic-realms", WITHOUT_DATABASE),
    text("realm", Becomes("turn.realm", "one for all")),
    flag(
        "check-origin-consistency",
        Dropped("ORIGIN is ignored: any client can write what it likes there"),
    ),
    number(
        "user-quota",
        Becomes(
            "limits.allocations_per_user",
            "0, no limit, where nothing is written",
        ),
    ),
    number("total-quota", Becomes("limits.allocations", "")),
    number(
        "max-bps",
        Becomes(
            "limits.bytes_per_second_per_allocation",
            "twice as much: both directions count together here",
        ),
    ),
    number(
        "bps-capacity",
        Becomes(
            "limits.bytes_per_second",
            "twice as much: both directions count together here",
        ),
    ),
    flag("no-udp", Becomes("turn.listen_udp", "an empty list")),
    flag("no-tcp", Becomes("turn.listen_tcp", "an empty list")),
    flag("no-tls", Becomes("turn.listen_tls", "an empty list")),
    flag("no-dtls", Becomes("turn.listen_dtls", "an empty list")),
    flag(
        "no-udp-relay",
        Lost("Setu always relays datagrams: close turn.relay_ports for UDP in the firewall"),
    ),
    flag("no-tcp-relay", Becomes("turn.tcp_relay", "false")),
    number(
        "stale-nonce",
        Itself("a nonce is good for an hour, and for one client address"),
    ),
    number(
        "max-allocate-lifetime",
        Itself("an hour, coturn's default too"),
    ),
    number("channel-lifetime", FIXED),
    number("permission-lifetime", FIXED),
    text(
        "cert",
        Becomes(
            "turn.tls_cert_file",
            "the chain; relative paths count from turnserver.conf's folder there",
        ),
    ),
    text("pkey", Becomes("turn.tls_key_file", "")),
    secret(
        "pkey-pwd",
        Lost("Setu reads no encrypted key: `openssl pkey -in KEY -out PLAIN` decrypts it"),
    ),
    text(
        "cipher-list",
        Itself("only ciphers that are held to be safe"),
    ),
    text("ec-curve-name", Itself("X25519, P-256 and P-384")),
    flag("dh566", ANY_DH),
    flag("dh1066", ANY_DH),
    flag("dh2066", ANY_DH),
    text("dh-file", ANY_DH),
    text(
        "CA-file",
        Lost("Setu asks TLS clients for no certificate: credentials say who they are"),
    ),
    flag("no-sslv2", OLD_TLS),
    flag("no-sslv3", OLD_TLS),
    flag("no-tlsv1", OLD_TLS),
    flag("no-tlsv1_1", OLD_TLS),
    flag(
        "no-tlsv1_2",
        Dropped("TLS 1.2 stays, with safe ciphers only"),
    ),
    text("log-file", JOURNAL),
    flag("no-stdout-log", JOURNAL),
    flag("syslog", JOURNAL),
    text("syslog-facility", JOURNAL),
    flag("simple-log", JOURNAL),
    flag("new-log-timestamp", Itself("every line has an ISO time")),
    text(
        "new-log-timestamp-format",
        Dropped("log.format = \"json\" is for programs"),
    ),
    text(
        "alternate-server",
        Becomes(
            "turn.alternate_servers",
            "clients are sent there when this server is full, not always",
        ),
    ),
    text(
        "tls-alternate-server",
        Becomes(
            "turn.alternate_servers",
            "where its port is `tls-listening-port`; put the name of its certificate before it",
        ),
    ),
    flag(
        "stun-only",
        Lost("Setu always relays too: whoever has no credentials can't"),
    ),
    flag(
        "no-stun",
        Lost("Setu always answers Binding, which is no larger than it must be"),
    ),
    flag(
        "secure-stun",
        Lost("Setu answers Binding without credentials, as browsers expect"),
    ),
    flag(
        "prod",
        Itself("turn.software is empty unless you write something"),
    ),
    flag(
        "no-software-attribute",
        Itself("turn.software is empty unless you write something"),
    ),
    flag(
        "software-attribute",
        Dropped("write what you like in turn.software"),
    ),
    text("rest-api-separator", Itself("a colon, as everywhere")),
    flag(
        "allow-loopback-peers",
        Becomes("peers.allow", "127.0.0.0/8 and ::1"),
    ),
    flag(
        "no-loopback-peers",
        Itself("loopback is denied in production"),
    ),
    flag(
        "no-multicast-peers",
        Itself("multicast and broadcast are always denied"),
    ),
    text(
        "allowed-peer-ip",
        Becomes("peers.allow", "ranges as networks"),
    ),
    text(
        "denied-peer-ip",
        Becomes(
            "peers.deny",
            "ranges as networks, without what `allowed-peer-ip` allows: here deny wins",
        ),
    ),
    number(
        "max-allocate-timeout",
        Itself("a connection must speak soon, and may not be slow"),
    ),
    text("pidfile", Dropped("systemd and Docker know the process")),
    text("proc-user", SERVICE),
    text("proc-group", SERVICE),
    flag(
        "daemon",
        Dropped("a service manager keeps it in the background"),
    ),
    flag("mobility", Itself("turn.mobility is on")),
    flag(
        "keep-address-family",
        Lost("who asks for no family is relayed over IPv4 (RFC 8656 §7.2)"),
    ),
    text(
        "allocation-default-address-family",
        Itself("ipv4, for clients that ask for no family (RFC 8656 §7.2)"),
    ),
    flag("no-cli", Itself("there is no telnet interface")),
    flag("cli", NO_CLI),
    text("cli-ip", NO_CLI),
    number("cli-port", NO_CLI),
    secret("cli-password", NO_CLI),
    number("cli-max-output-sessions", NO_CLI),
    flag("web-admin", NO_WEB_ADMIN),
    text("web-admin-ip", NO_WEB_ADMIN),
    number("web-admin-port", NO_WEB_ADMIN),
    flag("web-admin-listen-on-workers", NO_WEB_ADMIN),
    text(
        "acme-redirect",
        Dropped("Setu gets its certificate by itself: acme.domains"),
    ),
    flag(
        "server-relay",
        Lost("no packet passes without a permission (RFC 8656 §9)"),
    ),
    number("ne", Dropped("there is one way of serving")),
    number(
        "sock-buf-size",
        Itself("as large as the kernel allows; `setu check` says where that is too little"),
    ),
    flag(
        "prometheus",
        Becomes("metrics.listen", "with `prometheus-port`"),
    ),
    number(
        "prometheus-port",
        Becomes("metrics.listen", "9641 where nothing is written"),
    ),
    text(
        "prometheus-address",
        Becomes("metrics.listen", "with `prometheus`"),
    ),
    text("prometheus-path", Dropped("/metrics")),
    flag(
        "prometheus-username-labels",
        Dropped("who relays how much is told by /api/sessions, not by labels without end"),
    ),
    flag("no-rfc5780", Becomes("turn.alternate_port", "0")),
    flag(
        "rfc5780",
        Itself("on where turn.listen_udp names two addresses of one family"),
    ),
    flag(
        "no-stun-backward-compatibility",
        Dropped("RFC 3489 clients are answered, with no more than they asked for"),
    ),
    flag(
        "stun-backward-compatibility",
        Itself("RFC 3489 clients are answered"),
    ),
    flag(
        "response-origin-only-with-rfc5780",
        Itself("RESPONSE-ORIGIN is sent with RFC 5780 only"),
    ),
    flag(
        "respond-http-unsupported",
        Dropped("HTTP has its own port here"),
    ),
    flag(
        "include-reason-string",
        Itself("each error has its reason phrase"),
    ),
];

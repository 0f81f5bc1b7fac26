//! Writes the seed corpora: real messages, made by the tests' own builder.
//!
//! `cargo run --manifest-path fuzz/Cargo.toml --example seeds`

#![allow(dead_code, reason = "the tests' bytes offer more than seeds need")]

#[path = "../tests/requirements/bytes.rs"]
mod bytes;

use std::{fs, path::Path};

use bytes::*;

const KEY: &[u8] = b"0123456789abcdef";
const ID: [u8; 12] = *b"transaction!";

fn main() {
    for (name, message) in messages() {
        write("wire", name, &message);
        let padded = [
            &message[..],
            &vec![0; message.len().next_multiple_of(4) - message.len()],
        ];
        write("stream", name, &[&[7], &padded.concat()[..]].concat());
        let datagram = [&[0, 0, u8::try_from(message.len()).unwrap()], &message[..]].concat();
        write("engine", &format!("raw-{name}"), &with_defaults(&datagram));
    }
    write("wire", "dtls-hello", &dtls_hello(0, b""));
    write("wire", "dtls-hello-with-cookie", &dtls_hello(1, &[7; 32]));
    for (name, script) in SCRIPTS {
        write("engine", name, &with_defaults(script));
    }
    for (name, script) in DATAGRAMS {
        write("dtls", name, script);
    }
    for (name, text) in TEXTS {
        write("candidates", name, text.as_bytes());
    }
    for (name, frame) in FRAMES {
        write("engine_io", name, frame);
    }
}

/// The last byte says what the operator wants otherwise.
fn with_defaults(script: &[u8]) -> Vec<u8> {
    [script, &[0]].concat()
}

/// Offers DTLS 1.2 and one cipher suite.
fn dtls_hello(number: u8, cookie: &[u8]) -> Vec<u8> {
    let cookie_bytes = u8::try_from(cookie.len()).unwrap();
    let body = [
        &[254, 253][..],
        &[0xAB; 32],
        &[0, cookie_bytes],
        cookie,
        &[0, 2, 0xC0, 0x2B, 1, 0, 0, 4, 0, 23, 0, 0],
    ];
    let body = body.concat();
    let length = u8::try_from(body.len()).unwrap();
    let message = [1, 0, 0, length, 0, number, 0, 0, 0, 0, 0, length];
    let record = [22, 254, 253, 0, 0, 0, 0, 0, 0, 0, number, 0, length + 12];
    [&record[..], &message, &body].concat()
}

fn messages() -> Vec<(&'static str, Vec<u8>)> {
    let request = |method| Builder::with_id(method, Class::Request, ID);
    let signed = |request: Builder| {
        let request = request.login("alice", "vrinda-sangha.local", "obMatJos2AAAAnonce");
        request.integrity(KEY).fingerprint().done()
    };
    let peer = |method| request(method).peer("203.0.113.9:7000");
    let send = Builder::with_id(SEND, Class::Indication, ID).peer("[2001:db8::9]:7000");
    let refresh = request(REFRESH)
        .lifetime(0)
        .login("alice", "realm", "nonce");
    vec![
        ("binding", request(BINDING).done()),
        ("binding-fingerprint", request(BINDING).fingerprint().done()),
        (
            "binding-change",
            request(BINDING).u32(attr::CHANGE_REQUEST, 6).done(),
        ),
        ("allocate", request(ALLOCATE).udp().done()),
        (
            "allocate-signed",
            signed(request(ALLOCATE).udp().lifetime(900).family(1)),
        ),
        (
            "allocate-even",
            signed(request(ALLOCATE).udp().attr(attr::EVEN_PORT, &[0x80])),
        ),
        (
            "allocate-token",
            signed(
                request(ALLOCATE)
                    .udp()
                    .attr(attr::RESERVATION_TOKEN, b"reserved"),
            ),
        ),
        (
            "allocate-dual",
            signed(request(ALLOCATE).udp().additional(2)),
        ),
        ("refresh-sha256", refresh.integrity_sha256(KEY).done()),
        (
            "permission",
            signed(peer(CREATE_PERMISSION).peer("203.0.113.10:1")),
        ),
        ("channel", signed(peer(CHANNEL_BIND).channel(0x4000))),
        (
            "send",
            send.data(b"payload").attr(attr::DONT_FRAGMENT, &[]).done(),
        ),
        ("channel-data", channel_data(0x4000, 5, b"media")),
        ("channel-data-empty", channel_data(0x4FFF, 0, b"")),
    ]
}

/// Steps as the target reads them: what, from where, by whom, how signed, method, attributes.
const SCRIPTS: &[(&str, &[u8])] = &[
    ("allocate", &[1, 0, 0, 0, 0, 1, 0]),
    (
        "allocate-permit-send",
        &[
            1, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 2, 1, 6, 0, 6, 0, 0, 2, 1, 2, 8, 0, 0, 1, 9,
        ],
    ),
    (
        "allocate-bind-data",
        &[
            1, 4, 1, 0, 0, 1, 0, 1, 4, 1, 0, 3, 2, 5, 0, 6, 0, 7, 4, 0, 2, 2, 8, 0, 0, 3,
        ],
    ),
    (
        "allocate-expire",
        &[1, 0, 2, 0, 0, 2, 0, 2, 3, 0, 9, 38, 1, 0, 2, 0, 1, 0],
    ),
    (
        "allocate-refresh-0",
        &[1, 0, 2, 0, 0, 1, 0, 1, 0, 2, 0, 1, 1, 2, 0, 0],
    ),
    (
        "tcp-close",
        &[1, 4, 0, 0, 0, 1, 0, 10, 4, 1, 4, 0, 0, 0, 1, 0],
    ),
    ("revoke", &[1, 0, 2, 0, 0, 1, 0, 11, 1, 6, 0, 0, 1]),
    ("sha256", &[1, 0, 0, 0x18, 0, 3, 0, 11, 2, 12]),
    ("userhash", &[1, 0, 0, 0x3A, 0, 3, 0, 11, 2, 12]),
    (
        "dual",
        &[1, 0, 0, 0, 0, 2, 0, 4, 2, 1, 0, 0, 0, 1, 2, 3, 2, 2, 0, 0],
    ),
    (
        "tcp-relay-connect",
        &[
            1, 4, 0, 0, 0, 1, 1, 1, 4, 0, 0, 7, 1, 6, 0, 1, 5, 0, 0, 8, 1, 10, 1,
        ],
    ),
    (
        "tcp-relay-connected-and-bound",
        &[
            1, 4, 0, 0, 0, 1, 1, 1, 4, 0, 0, 7, 1, 6, 0, 13, 0, 2, 1, 5, 0, 0, 8, 1, 10, 0, 13, 0,
            1, 1, 0, 10, 5,
        ],
    ),
    (
        "tcp-relay-accepted",
        &[
            1, 4, 0, 0, 0, 1, 1, 1, 4, 0, 0, 2, 1, 6, 0, 12, 0, 0, 1, 5, 0, 0, 8, 1, 10, 0, 13, 0,
            0,
        ],
    ),
    (
        "mobile",
        &[
            1, 0, 0, 0, 0, 2, 0, 16, 1, 0, 0, 0, 3, 2, 5, 0, 6, 0, 1, 1, 0, 0, 1, 1, 17, 0, 8, 0,
            0, 1, 9, 7, 1, 0, 1, 1, 8, 0, 0, 1, 9, 1, 2, 0, 0, 1, 2, 18, 0, 2, 0, 0,
        ],
    ),
    (
        "mobile-over-dtls",
        &[
            1, 12, 0, 0, 0, 2, 0, 16, 1, 13, 0, 0, 1, 1, 17, 0, 6, 13, 0, 1, 9, 15, 0,
        ],
    ),
    (
        "icmp-and-new-rules",
        &[
            1, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 2, 1, 6, 0, 14, 0, 0, 3, 3, 0, 0, 16, 3, 6, 0, 0, 1, 9,
        ],
    ),
    (
        "classic-over-dtls",
        &[
            0, 12, 20, 0, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
        ],
    ),
    (
        "even-and-token",
        &[1, 0, 0, 0, 0, 2, 0, 7, 0x80, 1, 1, 0, 0, 0, 2, 0, 8],
    ),
];

/// Steps of the DTLS target: shake hands (0), one datagram there (1) or back (2), bent (3), cut (4), again (5), invented
/// (6), said by the client (7) or the server (8), time (9), the end (10), noise (11).
const DATAGRAMS: &[(&str, &[u8])] = &[
    ("talk", &[0, 7, 4, 1, 2, 3, 4, 1, 8, 3, 5, 6, 7, 2, 10, 1]),
    ("lost-and-again", &[1, 2, 1, 9, 8, 0, 0, 5, 0, 5, 1, 0]),
    ("bent-hello", &[3, 0, 20, 1, 1, 2, 0]),
    ("cut-flight", &[1, 2, 1, 2, 4, 0, 40, 0]),
    ("bent-record", &[0, 7, 2, 1, 2, 3, 0, 14, 1, 7, 1, 9, 1]),
    ("replayed-record", &[0, 7, 2, 1, 2, 1, 5, 0, 5, 0]),
    ("alert-in-clear", &[0, 6, 2, 0, 9, 2, 2, 40, 7, 1, 1, 1]),
    ("data-in-clear", &[1, 2, 6, 4, 0, 9, 2, 1, 2, 0]),
    ("noise", &[11, 5, 1, 2, 3, 4, 5, 0]),
];

const TEXTS: &[(&str, &str)] = &[
    (
        "host",
        r#"{"candidate":"candidate:1467250027 1 udp 2122260223 192.168.1.5 46243 typ host"}"#,
    ),
    (
        "reflexive",
        r#"{"candidate":"candidate:8 1 udp 1 203.0.113.9 5 typ srflx raddr 10.0.0.5 rport 6"}"#,
    ),
    (
        "name",
        r#"{"candidate":"candidate:4 1 udp 1 7d3e.local 5 typ host"}"#,
    ),
    (
        "description",
        r#"{"sdp":"v=0\r\nc=IN IP4 203.0.113.9\r\na=candidate:1 1 udp 1 2001:db8::5 9 typ host\r\n"}"#,
    ),
];

const FRAMES: &[(&str, &[u8])] = &[
    ("text", b"\x81\x85\x01\x02\x03\x04idolk"),
    (
        "fragments",
        b"\x01\x81\0\0\0\0a\x89\x80\0\0\0\0\x80\x81\0\0\0\0b",
    ),
    ("close", b"\x88\x82\0\0\0\0\x03\xe8"),
    ("long", b"\x82\xfe\x00\x80\0\0\0\0"),
    ("body", b"42[\"join-session\",{}]\x1e2probe\x1ebAQID"),
];

fn write(target: &str, name: &str, bytes: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("seeds")
        .join(target);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(name), bytes).unwrap();
}

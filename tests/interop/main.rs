//! ICE agents that we did not write, their media relayed through the real binary: aioice and libnice.
//!
//! `tests/run` installs what they need.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "the HTTP tests use all of it")]
#[path = "../common/mod.rs"]
mod common;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use common::{Folder, Setu};

const USER: &str = "turnuser";
const PASSWORD: &str = "turnpass";

#[test]
fn aioice_over_udp() {
    let setu = start(&[]);
    aioice(&[], setu.udp, "udp");
}

#[test]
fn aioice_over_tcp() {
    let setu = start(&[]);
    aioice(&[], setu.tcp, "tcp");
}

#[test]
fn aioice_over_tls() {
    let folder = Folder::new();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let certificate = folder.write("cert.pem", &made.cert.pem());
    let key = folder.write("key.pem", &made.signing_key.serialize_pem());
    let [certificate, key] = [&certificate, &key].map(|path| path.to_str().unwrap());
    let setu = start(&[
        ("SETU_TURN__TLS_CERT_FILE", certificate),
        ("SETU_TURN__TLS_KEY_FILE", key),
    ]);
    // Python's TLS trusts our certificate, and no other.
    aioice(&[("SSL_CERT_FILE", certificate)], setu.tls, "tls");
}

#[test]
fn libnice_over_udp() {
    let setu = start(&[]);
    libnice(setu.udp, "udp");
}

#[test]
fn libnice_over_tcp() {
    let setu = start(&[]);
    libnice(setu.tcp, "tcp");
}

fn start(more: &[(&str, &str)]) -> Setu {
    let users = format!("{USER}:{PASSWORD}");
    let mine = [("SETU_TURN__USERS", users.as_str())];
    Setu::start(&[&mine, more].concat())
}

/// Two agents, only relayed candidates, messages both ways.
fn aioice(variables: &[(&str, &str)], server: SocketAddr, transport: &str) {
    let python = root().join("target/interop/venv/bin/python");
    let hint = "aioice is missing: python3 -m venv target/interop/venv && \
                target/interop/venv/bin/pip install -r tests/interop/requirements.txt";
    assert!(python.exists(), "{hint}");
    let mut command = Command::new(python);
    command.arg(root().join("tests/interop/agents.py"));
    command.envs(variables.iter().copied());
    relays(&mut command, server, transport);
}

/// The same in C.
fn libnice(server: SocketAddr, transport: &str) {
    let folder = Folder::new();
    let program = folder.0.join("agents");
    let flags = Command::new("pkg-config")
        .args(["--cflags", "--libs", "nice"])
        .output();
    let hint = "libnice is missing: apt-get install libnice-dev gcc pkg-config";
    let flags = flags.unwrap_or_else(|_| panic!("{hint}"));
    assert!(flags.status.success(), "{hint}");
    let flags = String::from_utf8(flags.stdout).unwrap();
    let built = Command::new("cc")
        .args(["-Wall", "-Werror", "-o"])
        .arg(&program)
        .arg(root().join("tests/interop/agents.c"))
        .args(flags.split_whitespace())
        .status();
    assert!(built.unwrap_or_else(|_| panic!("{hint}")).success());
    relays(&mut Command::new(program), server, transport);
}

#[track_caller]
fn relays(command: &mut Command, server: SocketAddr, transport: &str) {
    let (host, port) = (server.ip().to_string(), server.port().to_string());
    let output = command
        .args([&host, &port, transport, USER, PASSWORD])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let also = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{also}");
    assert!(said.contains("all relayed"), "{said}{also}");
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

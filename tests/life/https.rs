//! HTTPS on the HTTP port, and certificates that change while they are shown.

use std::{fs, net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};

use crate::certificates;
use crate::client::{Client, Over};
use crate::common::{self, Folder};
use crate::process::Setu;

#[tokio::test]
async fn health_is_told_over_https_and_nothing_in_clear() {
    let (folder, der) = with_certificate("own");
    let setu = start(folder, "own");
    let answer = ask(setu.http, &der, "/health").await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains(r#""status":"ok""#),
        "{answer}"
    );
    let mut clear = TcpStream::connect(setu.http).await.unwrap();
    clear
        .write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut said = Vec::new();
    let _ = clear.read_to_end(&mut said).await;
    assert!(!said.starts_with(b"HTTP/"), "{said:?}");
    let mut health = common::command(&[
        ("SETU_HTTP__LISTEN", &setu.http.to_string()),
        ("SETU_HTTP__TLS_CERT_FILE", "/nowhere.pem"),
    ]);
    assert!(health.arg("health").status().unwrap().success());
}

#[tokio::test]
async fn signaling_is_spoken_over_wss_on_the_same_port() {
    let (folder, der) = with_certificate("own");
    let setu = start(folder, "own");
    let mut stream = connect(setu.http, &der).await;
    let upgrade = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\n\
                   Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    stream.write_all(upgrade.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    // The first packet of Engine.IO.
    while !String::from_utf8_lossy(&said).contains("0{\"sid\":") {
        let read = timeout(common::DEADLINE, stream.read_buf(&mut said)).await;
        assert!(read.unwrap().unwrap() > 0, "{said:?}");
    }
    assert!(said.starts_with(b"HTTP/1.1 101 "), "{said:?}");
}

#[tokio::test]
async fn a_certificate_that_is_replaced_is_shown_everywhere_and_drops_nobody() {
    let (folder, old) = with_certificate("own");
    let new = certificates::make(&folder, "next");
    let mut setu = start(folder, "own");
    let mut caller = Client::with(setu.tls, Over::Tls, "alice", "north").await;
    let mut over_dtls = Client::with(setu.dtls, Over::Dtls, "alice", "north").await;
    caller.allocate().await.unwrap();
    over_dtls.allocate().await.unwrap();
    for server in [setu.http, setu.tls] {
        assert_eq!(certificates::shown(server).await, old);
    }
    // First half of a pair that does not fit, as a program writes one file after the other.
    replace(&setu.folder, "next.pem", "own.pem");
    setu.line("new clients are shown the earlier certificate");
    setu.line("new clients are shown the earlier certificate");
    for server in [setu.http, setu.tls] {
        assert_eq!(certificates::shown(server).await, old);
    }
    replace(&setu.folder, "next.key", "own.key");
    setu.line("new clients are shown a new certificate");
    setu.line("new clients are shown a new certificate");
    for server in [setu.http, setu.tls] {
        assert_eq!(certificates::shown(server).await, new);
    }
    assert_eq!(certificates::shown_over_dtls(setu.dtls).await, new);
    caller.refresh(600).await.unwrap();
    over_dtls.refresh(600).await.unwrap();
    for client in [&mut caller, &mut over_dtls] {
        client.refresh(0).await.unwrap();
    }
    setu.signal("TERM");
    assert!(setu.wait().success());
}

#[tokio::test]
async fn links_that_are_turned_to_another_folder_are_followed() {
    let (folder, _) = with_certificate("1");
    let new = certificates::make(&folder, "2");
    for kind in ["pem", "key"] {
        link(&folder, &format!("1.{kind}"), &format!("own.{kind}"));
    }
    let setu = start(folder, "own");
    for kind in ["pem", "key"] {
        link(&setu.folder, &format!("2.{kind}"), &format!("own.{kind}"));
    }
    while certificates::shown(setu.tls).await != new {
        setu.line("new clients are shown");
    }
}

fn with_certificate(name: &str) -> (Folder, Vec<u8>) {
    let folder = Folder::new();
    let der = certificates::make(&folder, name);
    (folder, der)
}

/// HTTP and TURN with the same certificate.
fn start(folder: Folder, name: &str) -> Setu {
    let dir = folder.0.display();
    let files =
        format!("tls_cert_file = \"{dir}/{name}.pem\"\ntls_key_file = \"{dir}/{name}.key\"\n");
    let toml = format!("[http]\n{files}[turn]\nusers = [\"alice:north\"]\n{files}");
    Setu::start_in(folder, &toml, |_| {})
}

/// In one step, as careful programs do it.
fn replace(folder: &Folder, from: &str, to: &str) {
    let beside = folder.0.join("beside");
    fs::copy(folder.0.join(from), &beside).unwrap();
    fs::rename(beside, folder.0.join(to)).unwrap();
}

fn link(folder: &Folder, to: &str, name: &str) {
    let beside = folder.0.join("beside");
    std::os::unix::fs::symlink(to, &beside).unwrap();
    fs::rename(beside, folder.0.join(name)).unwrap();
}

/// Asks over TLS, and trusts this certificate alone.
pub(crate) async fn ask(server: SocketAddr, trusted: &[u8], path: &str) -> String {
    let mut stream = connect(server, trusted).await;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

async fn connect(server: SocketAddr, trusted: &[u8]) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.to_vec().into()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let socket = TcpStream::connect(server).await.unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, socket).await.unwrap()
}

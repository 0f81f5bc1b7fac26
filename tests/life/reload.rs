//! SIGHUP: what holds from then on, and who notices.

use std::net::SocketAddr;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use setu::clock::Now;
use sha1::Sha1;
use tokio::net::UdpSocket;

use crate::client::{Client, Over};
use crate::common::{ask, get};
use crate::polling::{Polling, credential};
use crate::process::Setu;

const CHANNEL: u16 = 0x4000;

#[tokio::test]
async fn a_secret_is_rotated_and_users_are_exchanged_while_an_allocation_goes_on() {
    let setu = Setu::start("[turn]\nusers = [\"alice:north\"]\n[credentials]\nsecret = \"one\"\n");
    let peer = peer().await;
    let mut alice = Client::with(setu.udp, Over::Udp, "alice", "north").await;
    alice.allocate().await.unwrap();
    alice.bind_channel(CHANNEL, addr(&peer)).await.unwrap();

    let line = setu.reload(
        "[turn]\nusers = [\"bob:west\"]\nrealm = \"example.org\"\n\
         [credentials]\nsecret = \"two\"\nprevious_secrets = [\"one\"]\n",
    );
    let applied = r#"applied="credentials.previous_secrets, credentials.secret, turn.users""#;
    assert!(
        line.contains(applied) && line.contains(r#"needs_restart="turn.realm""#),
        "{line}"
    );
    assert!(!line.contains("west") && !line.contains("two"), "{line}");

    alice.send_channel_data(CHANNEL, b"still here").await;
    assert_eq!(received(&peer).await, b"still here");
    alice.bind_channel(CHANNEL, addr(&peer)).await.unwrap();
    alice.refresh(600).await.unwrap();
    let allocate = async |name: &str, password: &str| {
        let mut client = Client::with(setu.udp, Over::Udp, name, password).await;
        client.allocate().await.map(|_| ()).err()
    };
    assert_eq!(allocate("alice", "north").await, Some(401));
    assert_eq!(allocate("bob", "west").await, None);
    let name = format!("{}:carol", Now::read().unix.seconds().0 + 3600);
    for (secret, refused) in [("one", None), ("two", None), ("three", Some(401))] {
        assert_eq!(
            allocate(&name, &signed(secret, &name)).await,
            refused,
            "{secret}"
        );
    }

    let line = setu.reload("[turn]\nusers = [\"bob:west\"]\n[credentials]\nsecret = \"two\"\n");
    assert!(
        line.contains(r#"applied="credentials.previous_secrets""#),
        "{line}"
    );
    assert_eq!(allocate(&name, &signed("one", &name)).await, Some(401));
}

#[tokio::test]
async fn a_peer_that_is_denied_from_now_on_hears_nothing_more() {
    let users = "[turn]\nusers = [\"alice:north\"]\n";
    let setu = Setu::start(users);
    let peer = peer().await;
    let mut alice = Client::with(setu.tls, Over::Tls, "alice", "north").await;
    alice.allocate().await.unwrap();
    alice.bind_channel(CHANNEL, addr(&peer)).await.unwrap();
    alice.send_channel_data(CHANNEL, b"before").await;
    assert_eq!(received(&peer).await, b"before");

    setu.reload(&format!("{users}[peers]\ndeny = [\"127.0.0.0/8\"]\n"));
    // The worker follows a moment later.
    while alice.permit(addr(&peer)).await.is_ok() {}
    alice.send_channel_data(CHANNEL, b"after").await;
    assert_eq!(
        alice.bind_channel(CHANNEL, addr(&peer)).await.err(),
        Some(403)
    );

    setu.reload(users);
    while alice.bind_channel(CHANNEL, addr(&peer)).await.is_err() {}
    alice.send_channel_data(CHANNEL, b"again").await;
    assert_eq!(received(&peer).await, b"again");
}

#[tokio::test]
async fn limits_hold_for_those_who_come_next() {
    let users = "[turn]\nusers = [\"alice:north\"]\n";
    let setu = Setu::start(users);
    let mut first = Client::with(setu.udp, Over::Udp, "alice", "north").await;
    first.allocate().await.unwrap();
    let line = setu.reload(&format!(
        "{users}[limits]\nallocations_per_user = 1\ncredentials_per_minute = 1\n\
         [signaling]\nparticipants_per_session = 1\n"
    ));
    assert!(
        line.contains("limits.allocations_per_user, limits.credentials_per_minute"),
        "{line}"
    );
    let mut second = Client::with(setu.udp, Over::Udp, "alice", "north").await;
    assert_eq!(second.allocate().await, Err(486));
    first.refresh(600).await.unwrap();
    let path = "/ice-servers?participantId=alice";
    let statuses = [(); 2].map(|()| get(setu.http, path).status);
    assert_eq!(statuses, [200, 429]);
    let (_first, _) = Polling::join(setu.http, "s", "one");
    let mut second = Polling::connect(setu.http);
    second.emit(
        "join-session",
        &json!({ "sessionId": "s", "participantId": "two" }),
    );
    assert_eq!(second.wait_for("error")["code"], "LIMIT_EXCEEDED");
}

#[test]
fn origins_tokens_and_the_admin_token_are_exchanged() {
    let http = |origin: &str, token: &str| {
        format!("[http]\nallowed_origins = [\"{origin}\"]\nadmin_token = \"{token}\"\n")
    };
    let setu = Setu::start(&http("https://one.example", "first"));
    let allowed = || {
        let answer = get(setu.http, "/health");
        answer
            .header("access-control-allow-origin")
            .unwrap()
            .to_owned()
    };
    let opens = |token: &str| {
        let head = format!("Authorization: Bearer {token}");
        ask(setu.http, "GET /api/sessions", &[&head], "").status == 200
    };
    assert_eq!(allowed(), "https://one.example");
    assert!(opens("first") && !opens("second"));
    let access = "[access]\nmode = \"token\"\njwt_secret = \"0123456789abcdef0123456789abcdef\"\n";
    setu.reload(&(http("https://two.example", "second") + access));
    assert_eq!(allowed(), "https://two.example");
    assert!(opens("second") && !opens("first"));
    assert_eq!(
        get(setu.http, "/ice-servers?participantId=alice").status,
        401
    );
    // A token that is made cannot be shown any more: the last one stays.
    let line = setu.reload("");
    assert!(
        line.contains(r#"needs_restart="http.admin_token""#),
        "{line}"
    );
    assert!(opens("second"));
    assert_eq!(
        get(setu.http, "/ice-servers?participantId=alice").status,
        200
    );
}

#[test]
fn a_configuration_that_does_not_load_changes_nothing() {
    let setu = Setu::start("[http]\nallowed_origins = [\"https://one.example\"]\n");
    let line = setu.reload(
        "[http]\nallowed_origins = [\"https://two.example\"]\n[turn]\nchannels = \"all\"\n",
    );
    assert!(
        line.contains("nothing is changed") && line.contains("turn.channels"),
        "{line}"
    );
    let line = setu
        .reload("[http]\nallowed_origins = [\"https://two.example\"]\n[limits]\nconections = 1\n");
    assert!(line.contains("limits.conections"), "{line}");
    let answer = get(setu.http, "/health");
    assert_eq!(
        answer.header("access-control-allow-origin"),
        Some("https://one.example")
    );
}

#[tokio::test]
async fn what_was_made_at_start_stays() {
    let setu = Setu::start("");
    let (_client, joined) = Polling::join(setu.http, "s", "alice");
    let [name, password] = credential(&joined);
    let line = setu.reload("[log]\nlevel = \"debug\"\n");
    assert!(line.contains(r#"applied="log.level""#), "{line}");
    let mut client = Client::with(setu.udp, Over::Udp, name, password).await;
    client.allocate().await.unwrap();
    setu.line("DEBUG");
}

#[test]
fn members_get_credentials_by_the_new_secret() {
    let with = |secret: &str| format!("[credentials]\nttl = \"100s\"\nsecret = \"{secret}\"\n");
    let setu = Setu::start(&with("one"));
    let (mut client, joined) = Polling::join(setu.http, "s", "alice");
    let [name, password] = credential(&joined);
    assert_eq!(password, signed("one", name));
    setu.reload(&with("two"));
    let servers = client.wait_for("ice-servers");
    let [name, password] = credential(&servers);
    assert_eq!(password, signed("two", name));
}

async fn peer() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.unwrap()
}

fn addr(peer: &UdpSocket) -> SocketAddr {
    peer.local_addr().unwrap()
}

/// What comes next.
async fn received(peer: &UdpSocket) -> Vec<u8> {
    let mut room = [0; 2000];
    let receive = peer.recv(&mut room);
    let length = tokio::time::timeout(crate::common::DEADLINE, receive).await;
    room[..length.unwrap().unwrap()].to_vec()
}

/// The TURN REST convention.
fn signed(secret: &str, name: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(name.as_bytes());
    BASE64_STANDARD.encode(mac.finalize().into_bytes())
}

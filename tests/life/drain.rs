//! SIGTERM: who is waited for, who is refused, what they are told.

#![expect(clippy::disallowed_methods, reason = "how long a real stop takes")]

use std::{
    process::Command,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::client::{Client, Over};
use crate::common::{Folder, get};
use crate::polling::Polling;
use crate::process::{Setu, behind};

const USERS: &str = "[turn]\nusers = [\"alice:north\"]\n";

#[test]
fn where_nobody_is_left_it_ends_at_once() {
    let mut setu = Setu::start("[shutdown]\ndrain = \"1h\"\n");
    let asked = Instant::now();
    setu.signal("TERM");
    assert!(setu.wait().success());
    assert!(asked.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn what_there_is_goes_on_and_nothing_new_begins_until_the_last_call_has_ended() {
    let mut setu = Setu::start(&format!("{USERS}[shutdown]\ndrain = \"1h\"\n"));
    let mut alice = Client::with(setu.udp, Over::Udp, "alice", "north").await;
    alice.allocate().await.unwrap();
    let (mut carol, _) = Polling::join(setu.http, "s", "carol");
    setu.signal("TERM");
    setu.line("waiting for calls to end");
    assert_eq!(get(setu.http, "/ready").status, 503);
    assert_eq!(get(setu.http, "/health").status, 200);
    let told = carol.wait_for("server-draining");
    assert_eq!(told["reconnectAfterMs"], 3_601_000);

    let mut bob = Client::with(setu.udp, Over::Udp, "alice", "north").await;
    assert_eq!(bob.allocate().await, Err(508));
    alice.refresh(600).await.unwrap();
    let mut dave = Polling::connect(setu.http);
    dave.emit(
        "join-session",
        &json!({ "sessionId": "s", "participantId": "dave" }),
    );
    assert_eq!(dave.wait_for("error")["code"], "SERVER_DRAINING");
    // The same participant on another connection is no news.
    let (mut again, _) = Polling::join(setu.http, "s", "carol");
    for client in [&mut carol, &mut again] {
        client.emit(
            "leave-session",
            &json!({ "sessionId": "s", "participantId": "carol" }),
        );
        client.wait_for("session-left");
    }
    assert_eq!(alice.refresh(600).await.err(), None);
    alice.refresh(0).await.unwrap();
    assert!(setu.wait().success());
}

#[test]
fn when_the_time_is_over_the_rest_is_closed() {
    let mut setu = Setu::start("[shutdown]\ndrain = \"1s\"\n");
    let (_client, _) = Polling::join(setu.http, "s", "alice");
    let asked = Instant::now();
    setu.signal("TERM");
    assert!(setu.wait().success());
    let took = asked.elapsed();
    assert!(
        took >= Duration::from_secs(1) && took < Duration::from_secs(3),
        "{took:?}"
    );
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for second in ["TERM", "INT"] {
        let mut setu = Setu::start("[shutdown]\ndrain = \"1h\"\n");
        let (_client, _) = Polling::join(setu.http, "s", "alice");
        setu.signal("TERM");
        setu.line("waiting for calls to end");
        let asked = Instant::now();
        setu.signal(second);
        assert!(setu.wait().success());
        assert!(asked.elapsed() < Duration::from_secs(1));
    }
}

/// The kernel keeps signals from such a process that it does not ask for.
#[test]
fn as_the_first_process_of_a_container_it_ends_when_asked() {
    let mut setu = Setu::start_in(Folder::new(), "", |command| {
        let mut unshare = Command::new("unshare");
        unshare.args([
            "--user",
            "--map-root-user",
            "--pid",
            "--fork",
            "--kill-child",
        ]);
        *command = behind(unshare, command);
    });
    setu.signal_behind("TERM");
    assert!(setu.wait().success());
}

#[test]
fn by_default_docker_stop_need_not_kill_it() {
    let mut setu = Setu::start("");
    let (_client, _) = Polling::join(setu.http, "s", "alice");
    let asked = Instant::now();
    setu.signal("TERM");
    assert!(setu.wait().success());
    assert!(asked.elapsed() < Duration::from_secs(9));
}

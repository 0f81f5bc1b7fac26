//! Redis goes away and comes back: with its memory, without it, or after having stood still.

use std::time::Duration;

use setu::store::redis::{EntryId, KeyChange, LogEvent};

use crate::{
    keys::write_participant,
    node::{Node, eventually, numbers},
    servers::Server,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_kept_its_data_has_lost_nothing() {
    // Redis's usual everysec confirms what is not yet in its file.
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let (mut reader, writer) = (
        Node::join(&server.url()).await,
        Node::join(&server.url()).await,
    );
    writer.append(0..5000);
    // In the middle of it.
    let mut seen = reader.texts(500).await;
    server.kill();
    writer.append(5000..10_000);
    assert_eq!(next_loss(&mut reader, &mut seen).await, LogEvent::Lost);
    assert!(!reader.redis.is_live());
    server.restart();
    assert_eq!(
        next_loss(&mut reader, &mut seen).await,
        LogEvent::Returned { data_lost: false }
    );
    assert!(reader.redis.is_live());
    while let Some(missing) = 10_000_usize
        .checked_sub(distinct(&seen).len())
        .filter(|missing| *missing > 0)
    {
        seen.extend(reader.texts(missing).await);
    }
    assert_eq!(distinct(&seen), numbers(0..10_000));
}

#[tokio::test]
async fn a_server_that_comes_back_empty_is_told_everything_that_waited() {
    let mut server = Server::start(&[]);
    let mut node = Node::join(&server.url()).await;
    node.append(0..3);
    assert_eq!(node.texts(3).await, numbers(0..3));
    // An entry may be read before it is confirmed, and would be sent again.
    node.flush().await;
    server.kill();
    assert_eq!(node.news().await, LogEvent::Lost);
    node.append(3..6);
    for id in ["a", "b"] {
        write_participant(&node.redis, "s", id);
    }
    server.restart();
    assert_eq!(node.event().await, LogEvent::Returned { data_lost: true });
    assert_eq!(node.texts(3).await, numbers(3..6));
    node.flush().await;
    assert_eq!(
        server.ask::<String>(&["GET", "participants:s"]),
        r#"["a","b"]"#
    );
    // A loss is reported once, and counts from the new log on.
    server.kill();
    server.restart();
    assert!(node.returned().await);
}

/// Redis may have confirmed what nobody had read before it forgot everything.
#[tokio::test]
async fn what_was_confirmed_and_not_yet_read_is_sent_again() {
    let mut server = Server::start(&[]);
    let mut node = Node::join(&server.url()).await;
    // More than wait for a consumer that is slow.
    node.append(0..1800);
    node.flush().await;
    server.kill();
    node.append(1800..1803);
    server.restart();
    assert_eq!(node.texts(1803).await, numbers(0..1803));
}

#[tokio::test]
async fn a_server_that_comes_back_empty_and_was_filled_by_another_node_is_noticed() {
    let mut server = Server::start(&[]);
    let mut node = Node::join(&server.url()).await;
    node.append(0..3);
    node.texts(3).await;
    server.signal("STOP");
    assert_eq!(node.news().await, LogEvent::Lost);
    server.kill();
    server.restart();
    server.ask::<String>(&["XADD", "setu:log", "*", "e", "other"]);
    let returned = node.event().await;
    assert!(
        matches!(returned, LogEvent::Returned { data_lost: true }),
        "{returned:?}"
    );
    assert_eq!(node.texts(1).await, ["other"]);
}

#[tokio::test]
async fn a_server_that_stands_still_is_missed_within_seconds() {
    let server = Server::start(&[]);
    let mut node = Node::join(&server.url()).await;
    node.append(0..1);
    node.texts(1).await;
    node.flush().await;
    server.signal("STOP");
    let lost = tokio::time::timeout(Duration::from_secs(8), node.news()).await;
    assert_eq!(lost.unwrap(), LogEvent::Lost);
    node.append(1..3);
    server.signal("CONT");
    assert!(!node.returned().await);
    assert_eq!(node.texts(2).await, numbers(1..3));
}

#[tokio::test]
async fn a_connection_that_is_cut_is_made_again() {
    let server = Server::start(&[]);
    let mut node = Node::join(&server.url()).await;
    node.append(0..2000);
    server.ask::<usize>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    assert_eq!(node.texts(2000).await, numbers(0..2000));
}

#[tokio::test]
async fn a_server_that_comes_late_is_found() {
    let mut server = Server::start(&[]);
    server.kill();
    let mut node = Node::open(&server.url());
    assert_eq!(
        node.redis
            .share_secret("own", Duration::from_millis(300))
            .await,
        None
    );
    assert!(!node.redis.is_live());
    node.append(0..2);
    server.restart();
    node.restored().await;
    node.redis.follow(EntryId::START);
    assert_eq!(node.texts(2).await, numbers(0..2));
    assert!(node.redis.is_live());
}

#[tokio::test]
async fn a_flush_ends_in_time_though_redis_is_away() {
    let mut server = Server::start(&[]);
    let mut node = Node::join(&server.url()).await;
    server.kill();
    assert_eq!(node.news().await, LogEvent::Lost);
    node.append(0..1);
    let signaling = Some(Some("m".to_owned()));
    node.redis.write(
        "s",
        KeyChange {
            signaling,
            ..KeyChange::default()
        },
    );
    let flush = node.redis.flush(Duration::from_millis(200));
    tokio::time::timeout(Duration::from_secs(5), flush)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_replica_is_no_place_to_write_to() {
    let master = Server::start(&[]);
    let of = master.port.to_string();
    let server = Server::start(&["--replicaof", "127.0.0.1", &of]);
    let mut node = Node::open(&server.url());
    node.restored().await;
    node.redis.follow(EntryId::START);
    node.append(0..2);
    assert_eq!(next_other(&mut node).await, LogEvent::Lost);
    server.ask::<()>(&["REPLICAOF", "NO", "ONE"]);
    assert_eq!(node.texts(2).await, numbers(0..2));
}

#[tokio::test]
async fn the_last_handle_takes_the_connections_with_it() {
    let server = Server::start(&[]);
    let node = Node::join(&server.url()).await;
    let clients = || {
        let list: String = server.ask(&["CLIENT", "LIST"]);
        list.lines().count()
    };
    assert_eq!(clients(), 3);
    drop(node);
    eventually("only the test itself is connected", || clients() == 1).await;
}

/// Collects entries up to the next news that is not CaughtUp.
async fn next_loss(node: &mut Node, seen: &mut Vec<String>) -> LogEvent {
    loop {
        match node.event().await {
            LogEvent::Entry { text, .. } => seen.push(text),
            LogEvent::CaughtUp => {}
            other @ (LogEvent::Restored(_) | LogEvent::Lost | LogEvent::Returned { .. }) => {
                return other;
            }
        }
    }
}

async fn next_other(node: &mut Node) -> LogEvent {
    next_loss(node, &mut Vec::new()).await
}

/// The first of each.
fn distinct(texts: &[String]) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    texts
        .iter()
        .filter(|text| seen.insert(*text))
        .cloned()
        .collect()
}

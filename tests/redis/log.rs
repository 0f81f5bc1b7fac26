//! Entries: in order, each once, for every node.

use std::time::Duration;

use setu::store::redis::{EntryId, LogEvent};

use crate::{
    node::{Node, eventually, numbers},
    servers::Server,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_read_all_entries_in_one_order() {
    let server = Server::start(&[]);
    let mut one = Node::join(&server.url()).await;
    let mut two = Node::join(&server.url()).await;
    for number in 0..2000 {
        assert!(one.redis.append(format!("one {number}")));
        assert!(two.redis.append(format!("two {number}")));
    }
    let (seen_by_one, seen_by_two) = (one.entries(4000).await, two.entries(4000).await);
    assert_eq!(seen_by_one, seen_by_two);
    assert!(seen_by_one.windows(2).all(|pair| pair[0].0 < pair[1].0));
    for name in ["one", "two"] {
        let own = seen_by_one.iter().map(|(_, text)| text.as_str());
        let own: Vec<_> = own.filter(|text| text.starts_with(name)).collect();
        let sent: Vec<_> = (0..2000).map(|number| format!("{name} {number}")).collect();
        assert_eq!(own, sent);
    }
    let ttl: i64 = server.ask(&["TTL", "setu:log"]);
    assert!((3500..=3600).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn a_node_reads_on_from_where_it_was_told_to() {
    let server = Server::start(&[]);
    let mut early = Node::join(&server.url()).await;
    early.append(0..10);
    let middle = early.entries(10).await[4].0;
    let mut late = Node::open(&server.url());
    late.restored().await;
    late.redis.follow(middle);
    late.redis.follow(EntryId::START);
    assert_eq!(late.texts(5).await, numbers(5..10));
    assert_eq!(late.event().await, LogEvent::CaughtUp);
}

#[tokio::test]
async fn nothing_is_written_before_the_restored_was_digested() {
    let server = Server::start(&[]);
    let mut node = Node::open(&server.url());
    node.append(0..3);
    node.redis.put(
        "setu:node:a",
        Some(("{}".to_owned(), Duration::from_secs(9))),
    );
    node.restored().await;
    node.redis.flush(Duration::from_millis(300)).await;
    assert_eq!(server.ask::<usize>(&["DBSIZE"]), 0);
    node.redis.follow(EntryId::START);
    node.flush().await;
    assert_eq!(server.ask::<usize>(&["DBSIZE"]), 2);
}

#[tokio::test]
async fn a_long_log_is_trimmed() {
    let server = Server::start(&[]);
    let node = Node::join(&server.url()).await;
    let mut drain = Node::join(&server.url()).await;
    let text = "x".repeat(100_000);
    for number in 0..1500 {
        while !node.redis.append(format!("{number} {text}")) {
            drain.event().await;
        }
    }
    node.flush().await;
    // 64 MiB hold some 670 of them; Redis trims whole nodes of its tree.
    let length: usize = server.ask(&["XLEN", "setu:log"]);
    assert!((600..900).contains(&length), "{length}");
}

#[tokio::test]
async fn entries_wait_while_redis_has_no_memory_for_them() {
    let server = Server::start(&[]);
    let mut node = Node::join(&server.url()).await;
    server.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    node.append(0..3);
    eventually("the refusal shows", || !node.redis.is_live()).await;
    server.ask::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(node.texts(3).await, numbers(0..3));
    eventually("all is well again", || node.redis.is_live()).await;
}

#[tokio::test]
async fn what_is_no_entry_of_ours_is_passed_over() {
    let server = Server::start(&[]);
    server.ask::<()>(&["SET", "setu:log", "no stream"]);
    let mut node = Node::join(&server.url()).await;
    server.ask::<String>(&["XADD", "setu:log", "*", "foreign", "field"]);
    let mut junk = redis::cmd("XADD");
    junk.arg("setu:log")
        .arg("*")
        .arg("e")
        .arg(b"\xff\xfe".as_slice());
    let _: String = junk.query(&mut server.connection()).unwrap();
    node.append(0..1);
    assert_eq!(node.texts(1).await, ["0"]);
}

#[tokio::test]
async fn a_log_that_becomes_something_else_is_begun_anew() {
    let server = Server::start(&[]);
    let mut node = Node::join(&server.url()).await;
    node.append(0..1);
    node.texts(1).await;
    server.ask::<()>(&["SET", "setu:log", "no stream"]);
    assert!(node.returned().await);
    node.append(1..2);
    assert_eq!(node.texts(1).await, ["1"]);
}

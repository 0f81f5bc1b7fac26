//! Ways to reach Redis: with a password, over TLS, through Sentinels, as a Cluster.

use std::time::Duration;

use setu::store::redis::{EntryId, LogEvent, Redis, RedisUrl};

use crate::{
    common::Folder,
    keys::write_participant,
    node::{Node, eventually, numbers},
    servers::{Cluster, Server, Watched, certificate, free_port, until},
};

#[tokio::test]
async fn a_password_opens_and_a_wrong_one_is_tried_again() {
    let server = Server::start(&[]);
    let rules = ["ACL", "SETUSER", "me", "on", ">p@ss:word", "~*", "+@all"];
    server.ask::<()>(&rules);
    let url = |password: &str| format!("redis://me:{password}@127.0.0.1:{}/3", server.port);
    let node = Node::join(&url("p%40ss%3Aword")).await;
    node.append(0..1);
    node.flush().await;
    let length: usize = {
        let mut connection = server.connection();
        let () = redis::cmd("SELECT").arg(3).query(&mut connection).unwrap();
        redis::cmd("XLEN")
            .arg("setu:log")
            .query(&mut connection)
            .unwrap()
    };
    assert_eq!(length, 1);
    let mut stranger = Node::open(&url("new"));
    let secret = stranger.redis.share_secret("s", Duration::from_millis(300));
    assert_eq!(secret.await, None);
    server.ask::<()>(&["ACL", "SETUSER", "me", ">new"]);
    stranger.restored().await;
}

#[tokio::test]
async fn tls_is_spoken_with_a_server_that_a_given_authority_vouches_for() {
    let folder = Folder::new();
    let [certificate, key] = certificate(&folder);
    let port = free_port().to_string();
    let _server = Server::start(&[
        "--tls-port",
        &port,
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &certificate,
        "--tls-auth-clients",
        "no",
    ]);
    let url = format!("rediss://127.0.0.1:{port}");
    let mut node = Node::join(&format!("{url}?ca={certificate}")).await;
    node.append(0..3);
    assert_eq!(node.texts(3).await, numbers(0..3));
    // Signed by nobody that is known.
    let stranger = Node::open(&url);
    let secret = stranger.redis.share_secret("s", Duration::from_millis(500));
    assert_eq!(secret.await, None);
}

#[tokio::test]
async fn a_ca_file_that_is_missing_is_named() {
    let url = RedisUrl::parse("rediss://:secret@h?ca=/nowhere/ca.pem").unwrap();
    let said = Redis::open(&url).unwrap_err();
    assert!(
        said.contains("/nowhere/ca.pem") && !said.contains("secret"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_name_the_new_master() {
    let mut watched = Watched::start();
    let mut node = Node::join(&watched.url()).await;
    node.append(0..100);
    write_participant(&node.redis, "s", "a");
    assert_eq!(node.texts(100).await, numbers(0..100));
    node.flush().await;
    until("the replica has it all", || {
        watched.replica.ask::<usize>(&["XLEN", "setu:log"]) == 100
    });
    watched.master.kill();
    assert_eq!(node.news().await, LogEvent::Lost);
    node.append(100..200);
    write_participant(&node.redis, "s", "b");
    assert_eq!(node.event().await, LogEvent::Returned { data_lost: false });
    assert_eq!(node.texts(100).await, numbers(100..200));
    node.flush().await;
    let stored: String = watched.replica.ask(&["GET", "participants:s"]);
    assert_eq!(stored, r#"["a","b"]"#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_failover_loses_is_noticed() {
    let mut watched = Watched::start();
    let mut node = Node::join(&watched.url()).await;
    // The replica hears nothing any more, and will be master without these entries.
    watched.replica.signal("STOP");
    node.append(0..3);
    assert_eq!(node.texts(3).await, numbers(0..3));
    // Or they would be written again, having been read but not yet answered.
    node.flush().await;
    watched.master.kill();
    watched.replica.signal("CONT");
    assert!(node.returned().await);
    node.append(3..6);
    assert_eq!(node.texts(3).await, numbers(3..6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_one_redis() {
    let mut cluster = Cluster::start();
    let mut node = Node::join(&cluster.url()).await;
    node.append(0..1000);
    for number in 0..200 {
        write_participant(&node.redis, &number.to_string(), "a");
    }
    assert_eq!(node.texts(1000).await, numbers(0..1000));
    node.flush().await;
    let restored = Node::open(&cluster.url()).restored().await;
    assert_eq!(restored.participants.len(), 200);
    let within = Duration::from_secs(9);
    let secret = node.redis.share_secret("north", within).await;
    assert_eq!(secret.as_deref(), Some("north"));

    cluster.master_of("setu:log").kill();
    assert_eq!(node.news().await, LogEvent::Lost);
    node.append(1000..2000);
    for number in 0..200 {
        write_participant(&node.redis, &number.to_string(), "b");
    }
    // Replication is not waited for: the new master may miss the last moments before.
    node.returned().await;
    assert_eq!(node.texts(1000).await, numbers(1000..2000));
    node.flush().await;
    let restored = Node::open(&cluster.url()).restored().await;
    assert_eq!(restored.participants.len(), 200);
    assert!(
        restored
            .participants
            .iter()
            .all(|(_, ids)| ids == r#"["a","b"]"#)
    );
}

/// The log's node lives: only keys of the other one wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_node_of_a_cluster_holds_up_its_own_keys_alone() {
    let mut cluster = Cluster::start();
    let mut node = Node::join(&cluster.url()).await;
    let log = cluster.master_of("setu:log").port;
    let other = (0..).map(|number| number.to_string());
    let other = other
        .into_iter()
        .find(|session| cluster.master_of(&format!("participants:{session}")).port != log);
    let other = other.unwrap();
    cluster.master_of(&format!("participants:{other}")).kill();
    write_participant(&node.redis, &other, "a");
    node.append(0..10);
    assert_eq!(node.texts(10).await, numbers(0..10));
    node.flush().await;
    let restored = Node::open(&cluster.url()).restored().await;
    assert_eq!(restored.participants, [(other, r#"["a"]"#.to_owned())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_takes_the_log_along() {
    let mut cluster = Cluster::start();
    let mut node = Node::join(&cluster.url()).await;
    node.append(0..10);
    node.texts(10).await;
    // The master steps down for its replica in good order.
    let port = cluster.master_of("setu:log").port;
    let id: String = cluster.master_of("setu:log").ask(&["CLUSTER", "MYID"]);
    let replica = cluster.nodes.iter().find(|node| {
        let nodes: String = node.ask(&["CLUSTER", "NODES"]);
        let myself = nodes.lines().find(|line| line.contains("myself")).unwrap();
        myself.contains("slave") && myself.contains(&id)
    });
    replica.unwrap().ask::<()>(&["CLUSTER", "FAILOVER"]);
    eventually("the replica is master", || {
        cluster.master_of("setu:log").port != port
    })
    .await;
    node.append(10..20);
    assert_eq!(node.texts(10).await, numbers(10..20));
}

#[tokio::test]
async fn a_fresh_node_starts_at_the_beginning() {
    let server = Server::start(&[]);
    Node::join(&server.url()).await.append(0..0);
    let mut node = Node::open(&server.url());
    assert_eq!(node.restored().await, Default::default());
    node.redis.follow(EntryId::START);
    assert_eq!(node.event().await, LogEvent::CaughtUp);
}

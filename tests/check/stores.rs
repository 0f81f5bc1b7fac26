//! Redis, right and wrong.

use super::checked::Checked;
use super::common::command;
use super::redis::{Cluster, Server, Watched};

fn with(url: &str) -> Checked {
    Checked::run(&mut command(&[("SETU_STORE__REDIS_URL", url)]), &[])
}

#[test]
fn a_redis_that_is_as_it_should_be() {
    let redis = Server::start(&[]);
    with(&redis.url())
        .says("redis", "ok", "version", "")
        .and_nothing_else_than(&[]);
}

#[test]
fn a_redis_with_a_password() {
    let redis = Server::start(&["--requirepass", "hunter22"]);
    with(&redis.url())
        .says(
            "redis",
            "failure",
            "it wants a password",
            "redis://:PASSWORD@",
        )
        .and_nothing_else_than(&["redis"]);
    with(&format!("redis://:wrong@127.0.0.1:{}", redis.port))
        .says("redis", "failure", "it refuses the password", "correct")
        .and_nothing_else_than(&["redis"]);
    with(&format!("redis://:hunter22@127.0.0.1:{}", redis.port)).and_nothing_else_than(&[]);
}

#[test]
fn a_redis_that_evicts_keys() {
    let redis = Server::start(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    with(&redis.url())
        .says("redis", "warning", "allkeys-lru", "noeviction")
        .and_nothing_else_than(&["redis"]);
}

#[test]
fn a_redis_that_is_a_replica() {
    let master = Server::start(&[]);
    let replica = Server::start(&["--replicaof", "127.0.0.1", &master.port.to_string()]);
    with(&replica.url())
        .says("redis", "failure", "is a replica", "its master")
        .and_nothing_else_than(&["redis"]);
}

#[test]
fn no_redis_there() {
    let mut redis = Server::start(&[]);
    redis.kill();
    with(&redis.url())
        .says(
            "redis",
            "failure",
            "refused",
            "systemctl start redis-server",
        )
        .and_nothing_else_than(&["redis"]);
}

#[test]
fn sentinels_and_a_cluster_are_right_too() {
    let watched = Watched::start();
    with(&watched.url())
        .says("redis", "ok", "version", "")
        .and_nothing_else_than(&[]);
    drop(watched);
    let cluster = Cluster::start();
    with(&cluster.url())
        .says("redis", "ok", "version", "")
        .and_nothing_else_than(&[]);
}

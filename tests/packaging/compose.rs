//! The compose files, as Compose reads them.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::common::{Folder, command};
use crate::redis::Server;

#[test]
fn alone_it_has_no_redis() {
    let services = services(&["compose.yaml"]);
    assert_eq!(services.as_object().unwrap().len(), 1);
    let setu = &services["setu"];
    assert_eq!(setu["network_mode"], "host");
    assert_eq!(setu["environment"]["SETU_STORE__REDIS_URL"], "");
}

#[test]
fn neither_container_may_do_anything_beyond_its_task() {
    let services = services(&BOTH);
    for service in services.as_object().unwrap().values() {
        assert_eq!(service["read_only"], true, "{service:#}");
        assert_eq!(service["cap_drop"][0], "ALL", "{service:#}");
        assert_eq!(service["security_opt"][0], "no-new-privileges:true");
    }
}

#[test]
fn with_a_redis_it_waits_for_one_that_nobody_else_reaches() {
    let services = services(&BOTH);
    let (setu, redis) = (&services["setu"], &services["redis"]);
    assert_eq!(setu["depends_on"]["redis"]["condition"], "service_healthy");
    assert_eq!(redis["network_mode"], "host");
    assert!(redis.get("ports").is_none(), "{redis:#}");
    let bound = after("--bind", &options(redis));
    let url = format!("redis://{bound}:{}", after("--port", &options(redis)));
    assert_eq!(setu["environment"]["SETU_STORE__REDIS_URL"], url);
    assert_eq!(bound, "127.0.0.1");
}

#[test]
fn what_redis_is_told_keeps_every_session() {
    let services = services(&BOTH);
    let options = options(&services["redis"]);
    // Where it listens is this test's own.
    let place = ["--bind", "--port"];
    let mut pairs: Vec<_> = options.chunks(2).collect();
    pairs.retain(|pair| !place.contains(&pair[0].as_str()));
    let options: Vec<_> = pairs.concat();
    let redis = Server::start(&options.iter().map(String::as_str).collect::<Vec<_>>());
    let setting = |name: &str| redis.ask::<Vec<String>>(&["CONFIG", "GET", name])[1].clone();
    assert_eq!(setting("appendonly"), "yes");
    let checked = command(&[("SETU_STORE__REDIS_URL", &redis.url())])
        .args(["check", "--json"])
        .output()
        .unwrap();
    let found: Value = serde_json::from_slice(&checked.stdout).unwrap();
    let mut checks = found.as_array().unwrap().iter();
    let about = checks.find(|check| check["check"] == "redis").unwrap();
    assert_eq!(about["status"], "ok", "{about:#}");
    let test = &services["redis"]["healthcheck"]["test"];
    let mut words = test.as_array().unwrap().iter().map(|word| word.as_str());
    assert_eq!(words.next().unwrap(), Some("CMD"));
    let port = redis.port.to_string();
    let words = words.map(|word| word.map(|word| word.replace("6379", &port)).unwrap());
    let words: Vec<_> = words.collect();
    let asked = Command::new(&words[0]).args(&words[1..]).output().unwrap();
    assert_eq!(asked.stdout, b"PONG\n");
}

/// The options of redis-server.
fn options(redis: &Value) -> Vec<String> {
    let words = redis["command"].as_array().unwrap().iter();
    let mut words = words.map(|word| word.as_str().unwrap().to_owned());
    assert_eq!(words.next().unwrap(), "redis-server");
    words.collect()
}

fn after(option: &str, options: &[String]) -> String {
    let at = options.iter().position(|word| word == option).unwrap();
    options[at + 1].clone()
}

/// The files put together, without an .env and our variables.
fn services(files: &[&str]) -> Value {
    let folder = Folder::new();
    let mut compose = Command::new("docker-compose");
    compose.arg("--env-file").arg(folder.write("empty", ""));
    for file in files {
        compose.args(["--file", file]);
    }
    let output = compose
        .arg("config")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .output();
    let output = output.expect("docker-compose is missing: apt-get install docker-compose");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{files:?}: {said}");
    let mut python = Command::new("/usr/bin/python3")
        .args([
            "-c",
            "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout)",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = python.stdin.take().unwrap();
    stdin.write_all(&output.stdout).unwrap();
    drop(stdin);
    let read = python.wait_with_output().unwrap();
    let mut read: Value = serde_json::from_slice(&read.stdout).unwrap();
    read["services"].take()
}

const BOTH: [&str; 2] = ["compose.yaml", "compose.redis.yaml"];

//! The real binary from its start to its end: what it reloads, whom it waits for, whom it tells.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod acme;
mod authority;
mod call;
mod certificates;
mod drain;
mod https;
mod process;
mod reload;
mod systemd;

#[path = "../relay/client.rs"]
#[allow(dead_code, reason = "each test target uses its part")]
mod client;
#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "each test target uses its part")]
mod common;
#[path = "../common/polling.rs"]
#[allow(dead_code, reason = "each test target uses its part")]
mod polling;
#[path = "../relay/world.rs"]
#[allow(dead_code, reason = "each test target uses its part")]
mod world;

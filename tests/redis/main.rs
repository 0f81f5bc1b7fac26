//! The log and the keys in real Redis servers: alone, watched by Sentinels, as a Cluster; lost, and found again.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "each test target uses its part")]
mod common;
#[path = "../common/redis.rs"]
mod servers;

mod arrangements;
mod keys;
mod log;
mod node;
mod outages;

//! `setu check`, the real binary: in set-ups that are right, where it finds nothing, and in broken ones, where it names
//! the cause and the fix.
//!
//! Needs root, iproute2, nftables and redis-server: `sudo -E cargo test --test check`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test target uses its part")]
#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code, reason = "each test target uses its part")]
#[path = "../netns/namespace.rs"]
mod namespace;
#[allow(dead_code, reason = "each test target uses its part")]
#[path = "../common/redis.rs"]
mod redis;

mod certificates;
mod checked;
mod desk;
mod firewall;
mod machine;
mod stores;
mod vps;

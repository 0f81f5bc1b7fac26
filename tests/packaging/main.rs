//! What is shipped beside the binary.
//!
//! The Debian package needs root, cargo-deb, mmdebstrap and systemd-container: `sudo -E cargo test --test packaging`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod compose;
mod debian;
mod dockerfile;
mod machine;
mod systemd;

#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "each test target uses its part")]
mod common;
#[path = "../netns/namespace.rs"]
#[allow(dead_code, reason = "each test target uses its part")]
mod namespace;
#[path = "../common/redis.rs"]
#[allow(dead_code, reason = "each test target uses its part")]
mod redis;

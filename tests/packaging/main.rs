//! What is shipped beside the binary.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod dockerfile;
mod systemd;

#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "each test target uses its part")]
mod common;

//! Two hosts and what lies between them: the real binary in a network namespace of its own, clients behind real NATs,
//! peers behind a real router.
//!
//! Needs root, iproute2, nftables and conntrack: `sudo -E cargo test --test netns`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "a table of the RFCs' names")]
#[path = "../requirements/bytes.rs"]
mod bytes;
mod client;
mod internet;
mod namespace;
mod server;

mod families;
mod nat;
mod path;
mod sharing;

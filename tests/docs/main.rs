//! The documentation: every command in it is run, every piece of configuration and code is read, every link followed.
//!
//! Commands run on a machine behind 1:1 NAT, made of network and mount namespaces, with stand-ins for what only the
//! outside world has (`stand-ins/`). Needs root, iproute2, nftables, python3-yaml, nodejs, curl and openssl:
//! `sudo -E cargo test --test docs`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "a table of the RFCs' names")]
#[path = "../requirements/bytes.rs"]
mod bytes;
#[allow(dead_code, reason = "each test target uses its part")]
#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code, reason = "each test target uses its part")]
#[path = "../netns/namespace.rs"]
mod namespace;

mod call;
mod commands;
mod contents;
mod machine;
mod page;
mod translated;

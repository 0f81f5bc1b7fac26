//! The relay with real sockets, on loopback: our own raw client, webrtc-rs' `turn` client, coturn's tools.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod client;
mod world;

mod abuse;
mod allocations;
mod coturn;
mod credentials;
mod dtls;
mod family;
mod icmp;
mod inspect;
mod limits;
mod listening;
mod mobility;
mod relaying;
mod requirements;
mod revoke;
mod sharing;
mod signaled;
mod tcp;
mod tls;
mod webrtc_rs;

//! The relay's engine in virtual time: one behaviour a test, its rule linked.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod allocate;
mod alternate;
mod auth;
mod channel;
mod classic;
mod data;
mod discovery;
mod dual;
mod ending;
mod expiry;
mod family;
mod icmp;
mod integrity;
mod limits;
mod mobility;
mod neighbours;
mod permission;
mod properties;
mod revoke;
mod rules;
mod sharing;
mod signaled;
mod strangers;
mod tcp;
mod token;
mod usage;
mod view;
mod world;

//! Every numbered requirement of the relay, by its number: `r23_…` tests number 23, `r0d_…` the decision d.
//!
//! They are written from the RFCs' text with a message builder of their own, and share nothing with the engine's tests
//! but the virtual world. What needs sockets is in `tests/relay/requirements.rs`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(
    dead_code,
    reason = "a table of the RFCs' names, for the fuzz targets too"
)]
mod bytes;
#[expect(dead_code, reason = "the engine's tests use all of it")]
#[path = "../engine/world.rs"]
mod world;

mod allocate;
mod channels;
mod credentials;
mod data;
mod desk;
mod dual;
mod general;
mod hardening;
mod messages;
mod model;
mod numbers;
mod permissions;
mod quotas;
mod refresh;
mod time_limited;

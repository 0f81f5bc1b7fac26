//! Setu: Socket.IO signaling, a STUN/TURN relay and the credentials that tie them together, in one process.
//!
//! The map of the house is `ARCHITECTURE.md`; `tests/architecture.rs` holds its floors.

pub mod access;
pub mod acme;
pub mod check;
pub mod cli;
pub mod clock;
pub mod config;
pub mod credentials;
pub mod entropy;
pub mod http;
pub mod ident;
pub mod logging;
pub mod metrics;
pub mod relay;
pub mod server;
pub mod signaling;
pub mod source;
pub mod store;
pub mod trusting;

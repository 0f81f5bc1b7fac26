//! Signaling over Socket.IO: who is in which session, and what they tell each other.

pub mod ice_servers;
pub mod leases;
pub mod session;

//! What a node tells of itself.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::ice_servers::RelayUrls;

/// What a node tells of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeInfo {
    /// How clients reach its relay.
    pub urls: RelayUrls,
    /// The addresses that its relayed transport addresses have.
    pub relayed: Vec<IpAddr>,
    /// Allocations on its relay.
    pub allocations: u64,
    /// Relay ports in use.
    pub ports_in_use: usize,
    /// Connected sockets.
    pub sockets: usize,
    /// Those of them that watch the parser.
    pub monitors: usize,
    /// It is about to stop.
    pub draining: bool,
}

//! What was gathered at one moment, for all who watch.

use std::{collections::HashMap, sync::Arc};

use crate::clock::Now;
use crate::ident::{SessionId, UserId};
use crate::relay::Snapshot;
use crate::relay::engine::{AllocationView, SomeAllocations};
use crate::signaling::nodes::NodeView;
use crate::signaling::traffic::Figures;
use crate::signaling::view::SessionView;

use super::history::Point;
use super::rates::Relaying;

/// Everything that any of those who watch wants to see.
pub(super) struct Frame {
    pub(super) now: Now,
    /// The last of those for whom it was gathered.
    pub(super) for_viewers: u64,
    pub(super) relay: Snapshot,
    pub(super) sockets: usize,
    pub(super) timers: usize,
    pub(super) point: Point,
    /// Those before it, the oldest first.
    pub(super) history: Arc<[Point]>,
    /// The first is this one.
    pub(super) nodes: Vec<NodeView>,
    /// Where a Redis is configured: whether it is there.
    pub(super) redis: Option<bool>,
    /// In the order of their names.
    pub(super) sessions: Vec<SessionView>,
    /// Of those in the sessions on somebody's page.
    pub(super) usage: HashMap<UserId, Relaying>,
    /// Of the sessions that somebody has opened.
    pub(super) opened: HashMap<SessionId, Opened>,
    /// By what was searched for.
    pub(super) listed: HashMap<String, SomeAllocations>,
    /// Of the allocations shown, by their ids.
    pub(super) allocation_rates: HashMap<String, Relaying>,
}

/// A session that somebody has opened.
pub(super) struct Opened {
    /// Through all nodes.
    pub(super) figures: Figures,
    /// On this node.
    pub(super) allocations: Vec<AllocationView>,
}

//! The other nodes of a deploy, pure: which of them live, and what they are like.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use crate::clock::Now;
use crate::ident::NodeId;

use super::ice_servers::RelayUrls;
use super::node_info::NodeInfo;

/// Who else is there.
#[derive(Debug)]
pub struct Nodes {
    own: NodeId,
    /// When this node last read a greeting of its own: while it reads none, silence of others means nothing.
    heard_own: Option<Instant>,
    /// Of the last entry that this node read of its own.
    own_number: u64,
    others: HashMap<NodeId, Node>,
}

/// A node as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeView {
    /// Which.
    pub id: NodeId,
    /// Whether it is the one that is asked.
    pub is_own: bool,
    /// How long ago it was last heard of.
    pub silent: Duration,
    /// What it told of itself.
    pub info: NodeInfo,
}

#[derive(Debug)]
struct Node {
    heard: Instant,
    /// Of the last entry that it appended.
    number: u64,
    info: NodeInfo,
}

impl Nodes {
    /// None is known yet.
    #[must_use]
    pub fn new(own: NodeId) -> Self {
        Self {
            own,
            heard_own: None,
            own_number: 0,
            others: HashMap::new(),
        }
    }

    /// Whether an entry is one that this node has not read yet.
    pub fn is_new(&mut self, now: Now, node: NodeId, number: u64) -> bool {
        let known = match node == self.own {
            true => &mut self.own_number,
            false => &mut self.meet(now, node).number,
        };
        let is_new = number > *known;
        *known = number.max(*known);
        is_new
    }

    /// A node that has not been heard of yet, such as one whose connections an earlier process left behind. It has its
    /// time to be heard of.
    pub fn expect(&mut self, now: Now, node: NodeId) {
        if node != self.own {
            self.meet(now, node);
        }
    }

    /// A node lives. True if it tells what was not known.
    pub fn hear(&mut self, now: Now, node: NodeId, info: NodeInfo) -> bool {
        if node == self.own {
            let since = self.heard_own.replace(now.mono);
            // After a time without the log, everybody has their time anew.
            if since.is_none_or(|since| now.mono > since + PATIENCE / 2) {
                for other in self.others.values_mut() {
                    other.heard = now.mono;
                }
            }
            return false;
        }
        let known = self.meet(now, node);
        known.heard = now.mono;
        let is_news = known.info != info;
        known.info = info;
        is_news
    }

    /// So many sockets of a node watch the parser.
    pub fn set_monitors(&mut self, now: Now, node: NodeId, monitors: usize) {
        if node != self.own {
            self.meet(now, node).info.monitors = monitors;
        }
    }

    /// A node is no more.
    pub fn forget(&mut self, node: NodeId) {
        self.others.remove(&node);
    }

    /// Who has not been heard of for too long.
    #[must_use]
    pub fn dead(&self, now: Now) -> Vec<NodeId> {
        let is_reading = self
            .heard_own
            .is_some_and(|at| now.mono < at + PATIENCE / 2);
        if !is_reading {
            return Vec::new();
        }
        let silent = self
            .others
            .iter()
            .filter(|(_, node)| node.heard + PATIENCE <= now.mono);
        silent.map(|(id, _)| *id).collect()
    }

    /// The relay to tell of beside this node's own: the one with the least to do.
    #[must_use]
    pub fn neighbour(&self) -> Option<&RelayUrls> {
        let ready = self.others.iter().filter(|(_, node)| node.is_ready());
        let least = ready.min_by_key(|(id, node)| (node.info.allocations, **id));
        least.map(|(_, node)| &node.info.urls)
    }

    /// The addresses of all other relays.
    #[must_use]
    pub fn relayed(&self) -> Vec<IpAddr> {
        let infos = self.others.values().map(|node| &node.info);
        infos
            .flat_map(|info| info.relayed.iter().copied())
            .collect()
    }

    /// How many of their sockets watch the parser.
    #[must_use]
    pub fn monitors(&self) -> usize {
        self.others.values().map(|node| node.info.monitors).sum()
    }

    /// What is known of each.
    pub fn seen(&self, now: Now) -> impl Iterator<Item = NodeView> {
        self.others.iter().map(move |(id, node)| NodeView {
            id: *id,
            is_own: false,
            silent: now.mono.saturating_duration_since(node.heard),
            info: node.info.clone(),
        })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.others.len()
    }

    /// Whether this node is alone.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.others.is_empty()
    }

    fn meet(&mut self, now: Now, node: NodeId) -> &mut Node {
        self.others.entry(node).or_insert_with(|| Node {
            heard: now.mono,
            number: 0,
            info: NodeInfo::default(),
        })
    }
}

impl Node {
    fn is_ready(&self) -> bool {
        !self.info.draining && !self.info.urls.turn.is_empty()
    }
}

/// A node greets every second.
pub const GREETING: Duration = Duration::from_secs(1);
/// A node that has not greeted for so long is dead.
const PATIENCE: Duration = Duration::from_millis(3500);

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: NodeId = NodeId(1);
    const OTHER: NodeId = NodeId(2);

    #[test]
    fn a_silent_node_is_dead_unless_this_one_is_deaf() {
        let start = Now::read();
        let mut nodes = Nodes::new(OWN);
        nodes.hear(start, OWN, NodeInfo::default());
        nodes.hear(start, OTHER, info(0, false));
        let later = start.advanced(Duration::from_secs(4));
        assert_eq!(nodes.dead(later), [], "nothing was read meanwhile");
        nodes.hear(later, OWN, NodeInfo::default());
        assert_eq!(nodes.dead(later), [], "its time begins anew");
        let mut now = later;
        for _ in 0..4 {
            now = now.advanced(GREETING);
            nodes.hear(now, OWN, NodeInfo::default());
        }
        assert_eq!(nodes.dead(now), [OTHER]);
        nodes.forget(OTHER);
        assert!(nodes.is_empty() && nodes.dead(now).is_empty());
    }

    #[test]
    fn an_entry_counts_once() {
        let now = Now::read();
        let mut nodes = Nodes::new(OWN);
        for node in [OWN, OTHER] {
            let read = [1, 2, 2, 1, 3].map(|number| nodes.is_new(now, node, number));
            assert_eq!(read, [true, true, false, false, true], "of {node}");
        }
    }

    #[test]
    fn the_neighbour_is_the_one_with_the_least_to_do() {
        let now = Now::read();
        let mut nodes = Nodes::new(OWN);
        assert_eq!(nodes.neighbour(), None);
        nodes.hear(now, OTHER, info(5, false));
        nodes.hear(now, NodeId(3), info(2, false));
        nodes.hear(now, NodeId(4), info(0, true));
        nodes.expect(now, NodeId(5));
        assert_eq!(nodes.neighbour(), Some(&info(2, false).urls));
        nodes.forget(NodeId(3));
        assert_eq!(nodes.neighbour(), Some(&info(5, false).urls));
    }

    fn info(allocations: u64, draining: bool) -> NodeInfo {
        let urls = RelayUrls {
            stun: Vec::new(),
            turn: vec![format!("turn:{allocations}")],
        };
        NodeInfo {
            urls,
            allocations,
            draining,
            ..NodeInfo::default()
        }
    }
}

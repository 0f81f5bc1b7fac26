//! What tells an allocation apart from others that share its relayed transport address: the peers it has named or sent
//! to, and the ICE user fragments of its own checks.

use std::net::IpAddr;

use smallvec::SmallVec;

use crate::relay::engine::five_tuple::PeerAddr;

/// How many peers are remembered; beyond that an allocation can't share.
pub(super) const PEERS_MAX: usize = 1024;

/// How many user fragments: one for each restart of ICE, the last ones.
const FRAGMENTS_MAX: usize = 4;

/// One allocation's.
#[derive(Debug, Default)]
pub(super) struct Traces {
    /// In their order.
    peers: SmallVec<[PeerAddr; 1]>,
    fragments: Vec<Box<[u8]>>,
}

impl Traces {
    pub(super) fn peers(&self) -> &[PeerAddr] {
        &self.peers
    }

    pub(super) fn knows(&self, peer: PeerAddr) -> bool {
        self.peers.binary_search(&peer).is_ok()
    }

    /// Whether there is no room for another peer.
    pub(super) fn is_full(&self) -> bool {
        self.peers.len() >= PEERS_MAX
    }

    /// The caller has seen to it that there is room.
    pub(super) fn add(&mut self, peer: PeerAddr) {
        if let Err(at) = self.peers.binary_search(&peer) {
            self.peers.insert(at, peer);
        }
    }

    /// Forgets peers that are not to be kept.
    pub(super) fn retain(&mut self, is_kept: impl Fn(IpAddr) -> bool) {
        self.peers.retain(|peer| is_kept(peer.0.ip()));
    }

    /// Whether a check for this fragment is for this allocation's client.
    pub(super) fn answers_to(&self, fragment: &[u8]) -> bool {
        self.fragments.iter().any(|known| **known == *fragment)
    }

    /// Whether a check of the client's own has been seen.
    pub(super) fn has_fragments(&self) -> bool {
        !self.fragments.is_empty()
    }

    /// A check of the client's own carried this fragment as its own.
    pub(super) fn learn(&mut self, fragment: &[u8]) {
        if self.answers_to(fragment) {
            return;
        }
        if self.fragments.len() == FRAGMENTS_MAX {
            self.fragments.remove(0);
        }
        self.fragments.push(fragment.into());
    }
}

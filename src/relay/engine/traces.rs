//! What tells an allocation apart from others that share its relayed transport address: the peers it has named or sent
//! to, and the ICE user fragments of its own checks.

use smallvec::SmallVec;

use crate::relay::engine::five_tuple::PeerAddr;

/// How many peers are remembered; beyond that an allocation can't share.
pub(super) const PEERS_MAX: usize = 1024;

/// How many user fragments, the last ones: one for each restart of ICE, and each connection that shares the allocation.
const FRAGMENTS_MAX: usize = 64;

/// One allocation's.
#[derive(Debug, Default)]
pub(super) struct Traces {
    /// In their order.
    peers: SmallVec<[PeerAddr; 1]>,
    fragments: Vec<Box<[u8]>>,
    /// Whether there have been more.
    has_forgotten_fragments: bool,
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

    /// Forgets the peers that are not to be kept, and tells them.
    pub(super) fn forget(&mut self, is_kept: impl Fn(PeerAddr) -> bool) -> Vec<PeerAddr> {
        let mut forgotten = Vec::new();
        self.peers.retain(|peer| {
            let stays = is_kept(*peer);
            if !stays {
                forgotten.push(*peer);
            }
            stays
        });
        forgotten
    }

    /// Whether a check for this fragment is for this allocation's client.
    pub(super) fn answers_to(&self, fragment: &[u8]) -> bool {
        self.fragments.iter().any(|known| **known == *fragment)
    }

    /// Whether checks of the client's own have told all its fragments, as far as can be known.
    pub(super) fn tells_fragments(&self) -> bool {
        !self.fragments.is_empty() && !self.has_forgotten_fragments
    }

    /// A check of the client's own carried this fragment as its own.
    pub(super) fn learn(&mut self, fragment: &[u8]) {
        if self.answers_to(fragment) {
            return;
        }
        if self.fragments.len() == FRAGMENTS_MAX {
            self.fragments.remove(0);
            self.has_forgotten_fragments = true;
        }
        self.fragments.push(fragment.into());
    }
}

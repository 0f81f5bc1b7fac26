//! What tells an allocation apart from others that share its relayed transport address: the peers it has named or sent
//! to, and the ICE user fragments of its own checks.

use std::time::Instant;

use smallvec::SmallVec;

use crate::clock::Now;
use crate::relay::engine::five_tuple::PeerAddr;

/// How many peers are remembered; beyond that an allocation can't share.
pub(super) const PEERS_MAX: usize = 1024;

/// How many user fragments, the last ones: one for each restart of ICE, and each connection that shares the allocation.
const FRAGMENTS_MAX: usize = 64;

/// One allocation's.
#[derive(Debug, Default)]
pub(super) struct Traces {
    /// In their order.
    peers: SmallVec<[Named; 1]>,
    fragments: Vec<Fragment>,
    /// Whether there have been more.
    has_forgotten_fragments: bool,
}

/// A peer that it has named or sent to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named {
    pub(super) peer: PeerAddr,
    /// Whether it was sent a check.
    pub(super) is_checked: bool,
}

/// A user fragment of its client.
#[derive(Debug)]
struct Fragment {
    name: Box<[u8]>,
    /// When a check last carried it.
    said_at: Instant,
}

impl Traces {
    pub(super) fn named(&self) -> &[Named] {
        &self.peers
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = PeerAddr> {
        self.peers.iter().map(|named| named.peer)
    }

    pub(super) fn knows(&self, peer: PeerAddr) -> bool {
        self.place(peer).is_ok()
    }

    fn place(&self, peer: PeerAddr) -> Result<usize, usize> {
        self.peers.binary_search_by_key(&peer, |named| named.peer)
    }

    /// Whether there is no room for another peer.
    pub(super) fn is_full(&self) -> bool {
        self.peers.len() >= PEERS_MAX
    }

    /// The caller has seen to it that there is room.
    pub(super) fn add(&mut self, peer: PeerAddr) {
        if let Err(at) = self.place(peer) {
            let is_checked = false;
            self.peers.insert(at, Named { peer, is_checked });
        }
    }

    /// Forgets the peers that are not to be kept, and tells them.
    pub(super) fn forget(&mut self, is_kept: impl Fn(PeerAddr) -> bool) -> Vec<PeerAddr> {
        let mut forgotten = Vec::new();
        self.peers.retain(|named| {
            let stays = is_kept(named.peer);
            if !stays {
                forgotten.push(named.peer);
            }
            stays
        });
        forgotten
    }

    /// When the client last called itself by this fragment; `None` where a check for it is not for this client.
    pub(super) fn called_at(&self, fragment: &[u8]) -> Option<Instant> {
        let mut fragments = self.fragments.iter();
        let known = fragments.find(|known| *known.name == *fragment);
        known.map(|known| known.said_at)
    }

    /// Whether checks of the client's own have told all its fragments, as far as can be known.
    pub(super) fn tells_fragments(&self) -> bool {
        !self.fragments.is_empty() && !self.has_forgotten_fragments
    }

    /// A check of the client's own to this peer carried this fragment as its own.
    pub(super) fn learn(&mut self, now: Now, peer: PeerAddr, fragment: &[u8]) {
        if let Ok(at) = self.place(peer) {
            self.peers[at].is_checked = true;
        }
        let mut fragments = self.fragments.iter_mut();
        if let Some(known) = fragments.find(|known| *known.name == *fragment) {
            known.said_at = now.mono;
            return;
        }
        if self.fragments.len() == FRAGMENTS_MAX {
            self.fragments.remove(0);
            self.has_forgotten_fragments = true;
        }
        self.fragments.push(Fragment {
            name: fragment.into(),
            said_at: now.mono,
        });
    }
}

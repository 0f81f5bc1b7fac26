//! Permissions ([RFC 8656 §9, §10](https://www.rfc-editor.org/rfc/rfc8656#section-9)): which peers may reach a client.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use smallvec::SmallVec;

use crate::clock::Now;
use crate::relay::engine::allocation::Allocation;
use crate::relay::engine::counters::Snapshot;
use crate::relay::engine::five_tuple::{Family, PeerAddr};
use crate::relay::engine::peers::Peers;
use crate::relay::wire::request::Request;
use crate::relay::wire::response::ErrorCode;

/// How long a permission lives unless refreshed ([RFC 8656 §9](https://www.rfc-editor.org/rfc/rfc8656#section-9)).
pub const PERMISSION_LIFETIME: Duration = Duration::from_secs(300);

/// How many peers one allocation may permit at a time: beyond any call, and little to keep.
pub const PERMISSIONS_MAX: usize = 1024;

/// So few are found sooner by looking at each.
const SCANNED_MAX: usize = 8;

/// The peers that a CreatePermission names, if all of them may be permitted.
pub(super) fn admit(
    now: Now,
    request: &Request<'_>,
    allocation: &Allocation,
    admission: &Peers,
    counters: &mut Snapshot,
) -> Result<Vec<PeerAddr>, ErrorCode> {
    let peers = request.peers()?;
    let ips: Vec<_> = peers.iter().map(|peer| peer.ip()).collect();
    if !ips
        .iter()
        .all(|ip| allocation.reaches(now, Family::of(*ip)))
    {
        return Err(ErrorCode::PeerAddressFamilyMismatch);
    }
    admission.admit_ips(now, allocation.owner.user(), &ips, counters)?;
    Ok(peers.into_iter().map(PeerAddr).collect())
}

/// The permissions of one allocation, in the order of their addresses. Most allocations have one or two.
#[derive(Debug, Default)]
pub(super) struct Permissions {
    by_ip: SmallVec<[Permission; 1]>,
}

#[derive(Clone, Copy, Debug)]
struct Permission {
    ip: IpAddr,
    until: Instant,
}

impl Permissions {
    /// Whether `peer` may send to the client, and the client to it.
    pub(super) fn permit(&self, now: Now, peer: IpAddr) -> bool {
        self.position(peer)
            .is_some_and(|at| self.by_ip[at].lives(now))
    }

    /// Installs or refreshes them all, or none where there is no room.
    pub(super) fn install(&mut self, now: Now, mut ips: Vec<IpAddr>) -> Result<(), ErrorCode> {
        ips.sort_unstable();
        ips.dedup();
        if self.by_ip.len() + self.fresh(&ips) > PERMISSIONS_MAX {
            self.by_ip.retain(|permission| permission.lives(now));
        }
        if self.by_ip.len() + self.fresh(&ips) > PERMISSIONS_MAX {
            return Err(ErrorCode::InsufficientCapacity);
        }
        let until = now.mono + PERMISSION_LIFETIME;
        let known = self.by_ip.len();
        for ip in ips {
            match self.by_ip[..known].binary_search_by_key(&ip, |known| known.ip) {
                Ok(at) => self.by_ip[at].until = until,
                Err(_) => self.by_ip.push(Permission { ip, until }),
            }
        }
        self.by_ip.sort_unstable_by_key(|permission| permission.ip);
        Ok(())
    }

    fn fresh(&self, ips: &[IpAddr]) -> usize {
        let is_fresh = |ip: &&IpAddr| self.position(**ip).is_none();
        ips.iter().filter(is_fresh).count()
    }

    fn position(&self, ip: IpAddr) -> Option<usize> {
        if self.by_ip.len() <= SCANNED_MAX {
            return self.by_ip.iter().position(|known| known.ip == ip);
        }
        self.by_ip.binary_search_by_key(&ip, |known| known.ip).ok()
    }

    /// Drops those for peers of this family.
    pub(super) fn forget(&mut self, family: Family) {
        self.retain(|ip| Family::of(ip) != family);
    }

    /// Drops those for peers that are not to be kept.
    pub(super) fn retain(&mut self, is_kept: impl Fn(IpAddr) -> bool) {
        self.by_ip.retain(|permission| is_kept(permission.ip));
    }

    /// How many permit something now.
    pub(super) fn live(&self, now: Now) -> usize {
        let alive = self.by_ip.iter().filter(|permission| permission.lives(now));
        alive.count()
    }

    /// How many are kept, lapsed ones included.
    pub(super) fn len(&self) -> usize {
        self.by_ip.len()
    }
}

impl Permission {
    fn lives(&self, now: Now) -> bool {
        now.mono < self.until
    }
}

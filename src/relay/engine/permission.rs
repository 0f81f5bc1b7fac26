//! Permissions ([RFC 8656 §9, §10](https://www.rfc-editor.org/rfc/rfc8656#section-9)): which peers may reach a client.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use rustc_hash::FxHashMap;

use crate::clock::Now;
use crate::relay::engine::allocations::Allocation;
use crate::relay::engine::counters::Snapshot;
use crate::relay::engine::five_tuple::Family;
use crate::relay::engine::peers::Peers;
use crate::relay::wire::request::Request;
use crate::relay::wire::response::ErrorCode;

/// How long a permission lives unless refreshed ([RFC 8656 §9](https://www.rfc-editor.org/rfc/rfc8656#section-9)).
pub const PERMISSION_LIFETIME: Duration = Duration::from_secs(300);

/// How many peers one allocation may permit at a time: beyond any call, and little to keep.
pub const PERMISSIONS_MAX: usize = 1024;

/// Handles CreatePermission: all its peers are permitted, or none.
pub(super) fn create(
    now: Now,
    request: &Request<'_>,
    allocation: &mut Allocation,
    admission: &Peers,
    counters: &mut Snapshot,
) -> Result<(), ErrorCode> {
    let peers = request.peers()?;
    let ips: Vec<_> = peers.iter().map(|peer| peer.ip()).collect();
    if !ips
        .iter()
        .all(|ip| allocation.reaches(now, Family::of(*ip)))
    {
        return Err(ErrorCode::PeerAddressFamilyMismatch);
    }
    admission.admit_ips(now, &allocation.owner.user, &ips, counters)?;
    allocation.permissions.install(now, ips)
}

/// The permissions of one allocation.
#[derive(Debug, Default)]
pub(super) struct Permissions {
    until: FxHashMap<IpAddr, Instant>,
}

impl Permissions {
    /// Whether `peer` may send to the client, and the client to it.
    pub(super) fn permit(&self, now: Now, peer: IpAddr) -> bool {
        self.until.get(&peer).is_some_and(|until| now.mono < *until)
    }

    /// Installs or refreshes them all, or none where there is no room.
    pub(super) fn install(&mut self, now: Now, mut ips: Vec<IpAddr>) -> Result<(), ErrorCode> {
        ips.sort_unstable();
        ips.dedup();
        if self.until.len() + self.fresh(&ips) > PERMISSIONS_MAX {
            self.until.retain(|_, until| now.mono < *until);
        }
        if self.until.len() + self.fresh(&ips) > PERMISSIONS_MAX {
            return Err(ErrorCode::InsufficientCapacity);
        }
        let until = now.mono + PERMISSION_LIFETIME;
        self.until.extend(ips.into_iter().map(|ip| (ip, until)));
        Ok(())
    }

    fn fresh(&self, ips: &[IpAddr]) -> usize {
        let is_fresh = |ip: &&IpAddr| !self.until.contains_key(*ip);
        ips.iter().filter(is_fresh).count()
    }

    /// Drops those for peers of this family.
    pub(super) fn forget(&mut self, family: Family) {
        self.until.retain(|ip, _| Family::of(*ip) != family);
    }

    /// Drops those for peers that are not to be kept.
    pub(super) fn retain(&mut self, is_kept: impl Fn(IpAddr) -> bool) {
        self.until.retain(|ip, _| is_kept(*ip));
    }

    /// How many permit something now.
    pub(super) fn live(&self, now: Now) -> usize {
        let is_live = |until: &&Instant| now.mono < **until;
        self.until.values().filter(is_live).count()
    }

    /// How many are kept, lapsed ones included.
    pub(super) fn len(&self) -> usize {
        self.until.len()
    }
}

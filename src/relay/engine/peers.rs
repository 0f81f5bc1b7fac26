//! Which peers a user may name in CreatePermission and ChannelBind: the policy first, then what was signaled.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use crate::clock::Now;
use crate::ident::UserId;
use crate::logging::Redacted;
use crate::relay::engine::counters::Snapshot;
use crate::relay::engine::limits::Limits;
use crate::relay::engine::policy::{Denial, PeerPolicy};
use crate::relay::engine::signaled::{PeerMode, SignaledPeers};
use crate::relay::wire::response::ErrorCode;

/// What decides about a peer.
pub(super) struct Peers {
    pub(super) policy: PeerPolicy,
    pub(super) mode: PeerMode,
    pub(super) signaled: Arc<SignaledPeers>,
    /// Where denials are counted.
    pub(super) limits: Arc<Limits>,
}

impl Peers {
    /// Admits permissions for all these addresses, or refuses them all.
    pub(super) fn admit_ips(
        &self,
        now: Now,
        user: &UserId,
        ips: &[IpAddr],
        counters: &mut Snapshot,
    ) -> Result<(), ErrorCode> {
        let checked = ips.iter().try_for_each(|ip| self.policy.check_ip(*ip));
        checked.map_err(|denial| self.deny(now, denial))?;
        self.admit_signaled(user, ips, counters)
    }

    /// Admits a channel to this peer, or refuses it.
    pub(super) fn admit(
        &self,
        now: Now,
        user: &UserId,
        peer: SocketAddr,
        counters: &mut Snapshot,
    ) -> Result<(), ErrorCode> {
        let checked = self.policy.check(peer);
        checked.map_err(|denial| self.deny(now, denial))?;
        self.admit_signaled(user, &[peer.ip()], counters)
    }

    /// Whether a datagram may go to this peer: a permission covers every port of its address, the policy may not.
    pub(super) fn admits_data(&self, now: Now, peer: SocketAddr) -> bool {
        let checked = self.policy.check(peer);
        checked.map_err(|denial| self.deny(now, denial)).is_ok()
    }

    fn deny(&self, now: Now, denial: Denial) -> ErrorCode {
        self.limits.deny(now, denial);
        ErrorCode::Forbidden
    }

    fn admit_signaled(
        &self,
        user: &UserId,
        ips: &[IpAddr],
        counters: &mut Snapshot,
    ) -> Result<(), ErrorCode> {
        let all_signaled = || ips.iter().all(|ip| self.signaled.admits(user, *ip));
        match self.mode {
            PeerMode::Any => Ok(()),
            PeerMode::Observe | PeerMode::Signaled if all_signaled() => Ok(()),
            PeerMode::Observe => {
                counters.unsignaled_observed += 1;
                tracing::debug!(user = %Redacted::new(user), "a peer was not signaled");
                Ok(())
            }
            PeerMode::Signaled => {
                counters.unsignaled_refused += 1;
                Err(ErrorCode::Forbidden)
            }
        }
    }
}

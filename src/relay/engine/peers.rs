//! Which peers a user may name in CreatePermission and ChannelBind: the policy first, then what was signaled.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use crate::ident::UserId;
use crate::logging::Redacted;
use crate::relay::engine::counters::Snapshot;
use crate::relay::engine::policy::PeerPolicy;
use crate::relay::engine::signaled::{PeerMode, SignaledPeers};
use crate::relay::wire::response::ErrorCode;

/// What decides about a peer.
pub(super) struct Peers {
    pub(super) policy: PeerPolicy,
    pub(super) mode: PeerMode,
    pub(super) signaled: Arc<SignaledPeers>,
}

impl Peers {
    /// Admits permissions for all these addresses, or refuses them all.
    pub(super) fn admit_ips(
        &self,
        user: &UserId,
        ips: &[IpAddr],
        counters: &mut Snapshot,
    ) -> Result<(), ErrorCode> {
        if !ips.iter().all(|ip| self.policy.permits_ip(*ip)) {
            return Err(ErrorCode::Forbidden);
        }
        self.admit_signaled(user, ips, counters)
    }

    /// Admits a channel to this peer, or refuses it.
    pub(super) fn admit(
        &self,
        user: &UserId,
        peer: SocketAddr,
        counters: &mut Snapshot,
    ) -> Result<(), ErrorCode> {
        if !self.policy.permits(peer) {
            return Err(ErrorCode::Forbidden);
        }
        self.admit_signaled(user, &[peer.ip()], counters)
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

//! What the operator may decide anew while there are allocations: their clients go on, but for peers that are denied now.

use std::net::SocketAddr;

use crate::clock::Now;
use crate::credentials::Tokens;
use crate::relay::engine::alternate::Alternate;
use crate::relay::engine::policy::PeerPolicy;
use crate::relay::engine::signaled::PeerMode;
use crate::relay::engine::{Engine, Settings};

/// The part of [`Settings`] that may change.
#[derive(Clone, Debug)]
pub struct Rules {
    /// SOFTWARE in Allocate and Refresh answers; `None` hides it.
    pub software: Option<String>,
    /// Whether Refresh, CreatePermission and ChannelBind refuse a credential that expired since the Allocate.
    pub strict_expiry: bool,
    /// Which peers may be reached.
    pub policy: PeerPolicy,
    /// Which of these a participant may name.
    pub peer_mode: PeerMode,
    /// Where clients are sent when this server is full.
    pub alternates: Vec<Alternate>,
    /// Lets in clients with access tokens too.
    pub tokens: Option<Tokens>,
}

impl From<Settings> for Rules {
    fn from(settings: Settings) -> Self {
        let Settings {
            software,
            strict_expiry,
            policy,
            peer_mode,
            alternates,
            tokens,
            auth: _,
            discovery: _,
            channels: _,
            lifetimes: _,
            nonce_key: _,
            tcp_relay: _,
            share: _,
            mobility: _,
            port_sharing: _,
            relayed: _,
        } = settings;
        Self {
            software,
            strict_expiry,
            policy,
            peer_mode,
            alternates,
            tokens,
        }
    }
}

impl Engine {
    /// These rules hold from now on, and whatever limits the process has got: permissions for peers that they deny are
    /// gone at once, channels and connections too, and what is relayed is counted anew.
    pub fn apply(&mut self, now: Now, rules: Rules) {
        debug_assert!(self.effects.is_empty() && self.pending.is_none());
        let Rules {
            software,
            strict_expiry,
            policy,
            peer_mode,
            alternates,
            tokens,
        } = rules;
        self.software = software;
        self.alternates = alternates;
        self.authenticator.apply(strict_expiry, tokens);
        self.peers.policy = policy;
        self.peers.mode = peer_mode;
        self.recheck(now);
    }

    fn recheck(&mut self, now: Now) {
        let policy = &self.peers.policy;
        self.allocations.change_all(|allocation| {
            allocation.place.renew();
            allocation.permissions.retain(|ip| policy.permits_ip(ip));
            let bound = |peer: SocketAddr| policy.permits(peer);
            allocation.channels.retain(bound);
        });
        for id in self.connections.with_peers(|peer| !policy.permits(peer)) {
            self.close_connection(now, id);
        }
    }
}

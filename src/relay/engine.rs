//! The TURN server without sockets, clocks or randomness: datagrams and time in, outcomes and effects out.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use crate::clock::{Now, UnixSeconds};
use crate::credentials::Credentials;
use crate::ident::UserId;
use crate::relay::wire::frame::Frame;

pub mod counters;
pub mod five_tuple;
pub mod outcome;
pub mod policy;

pub use crate::relay::wire::channel_data::ChannelRange;
pub use counters::{DropReason, Snapshot};
pub use outcome::{
    Effect, OpenedRelay, Outcome, PortKind, PortRequest, RelayRefused, ReservationToken,
};

use five_tuple::{FiveTuple, PeerAddr, RelayKey};
use policy::PeerPolicy;

/// What the operator decides about the relay; the realm comes with the credentials.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who may allocate.
    pub auth: Auth,
    /// Which channel numbers clients may bind.
    pub channels: ChannelRange,
    /// SOFTWARE in Allocate and Refresh answers; `None` hides it.
    pub software: Option<String>,
    /// Whether Refresh, CreatePermission and ChannelBind refuse a credential that expired since the Allocate.
    pub strict_expiry: bool,
    /// Which peers may be reached.
    pub policy: PeerPolicy,
    /// Signs nonces: random, the same for all workers, since a client's packets may reach any of them.
    pub nonce_key: [u8; 32],
}

/// Who may allocate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Whoever proves a long-term credential.
    Required,
    /// Anyone.
    None,
}

/// One worker's TURN server: every input returns at once, and its effects are drained before the next.
#[derive(Debug)]
pub struct Engine {
    effects: VecDeque<Effect>,
    counters: Snapshot,
}

impl Engine {
    /// An engine without allocations. `seed` varies the transaction ids of its Data indications.
    #[must_use]
    pub fn new(_settings: Settings, _credentials: Arc<Credentials>, _seed: u64) -> Self {
        Self {
            effects: VecDeque::new(),
            counters: Snapshot::default(),
        }
    }

    /// Takes a datagram, or one message of a stream, from a client. `client.server` is the local address it arrived at.
    pub fn handle_client<'d>(
        &mut self,
        _now: Now,
        _client: FiveTuple,
        _datagram: &'d [u8],
    ) -> Outcome<'d> {
        debug_assert!(self.effects.is_empty());
        self.dropped(DropReason::UnknownProtocol)
    }

    /// Takes a datagram that a peer sent to a relayed transport address.
    pub fn handle_peer<'b>(
        &mut self,
        _now: Now,
        _relay: RelayKey,
        _peer: PeerAddr,
        _frame: Frame<'b>,
    ) -> Outcome<'b> {
        debug_assert!(self.effects.is_empty());
        self.dropped(DropReason::NoAllocation)
    }

    /// Answers the one [`Effect::OpenRelay`] of the last [`handle_client`](Self::handle_client), before any other input.
    pub fn handle_relay_opened(&mut self, _now: Now, _opened: Result<OpenedRelay, RelayRefused>) {
        debug_assert!(self.effects.is_empty());
    }

    /// A TCP or TLS connection ended: its allocation goes at once.
    pub fn handle_client_closed(&mut self, _now: Now, _client: FiveTuple) {
        debug_assert!(self.effects.is_empty());
    }

    /// Removes what has expired.
    pub fn handle_timeout(&mut self, _now: Now) {
        debug_assert!(self.effects.is_empty());
    }

    /// Ends the user's allocations, and refuses credentials of theirs that expire at or before `until`.
    pub fn revoke(&mut self, _now: Now, _user: &UserId, _until: UnixSeconds) {
        debug_assert!(self.effects.is_empty());
    }

    /// What the worker must do next.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due: a peek; may be early, never late.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Whether an allocation lives on this five-tuple.
    #[must_use]
    pub fn has_allocation(&self, _client: &FiveTuple) -> bool {
        false
    }

    /// The state in numbers.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.counters
    }

    fn dropped<'d>(&mut self, reason: DropReason) -> Outcome<'d> {
        self.counters.count_drop(reason);
        Outcome::Dropped(reason)
    }
}

//! ICMP about what a client sent, told to the client
//! ([RFC 8656 §11.5](https://www.rfc-editor.org/rfc/rfc8656#section-11.5)).

use std::time::{Duration, Instant};

use crate::clock::Now;
use crate::relay::engine::Engine;
use crate::relay::engine::counters::DropReason;
use crate::relay::engine::five_tuple::{PeerAddr, RelayKey};
use crate::relay::engine::outcome::Outcome;
use crate::relay::engine::relays::Incoming;
use crate::relay::wire::frame::Frame;
use crate::relay::wire::icmp::Icmp;

/// How many ICMP messages one client is told of in a second: whoever can forge them can't flood with them.
pub const ICMP_PER_SECOND_MAX: u8 = 20;

impl Engine {
    /// Takes an ICMP message about a datagram from a relayed transport address to `peer`.
    pub fn handle_icmp(
        &mut self,
        now: Now,
        relay: RelayKey,
        peer: PeerAddr,
        icmp: Icmp,
    ) -> Outcome<'static> {
        debug_assert!(self.effects.is_empty() && self.pending.is_none());
        let outcome = self.forward_icmp(now, relay, peer, icmp);
        outcome.unwrap_or_else(|reason| self.dropped(reason))
    }

    fn forward_icmp(
        &mut self,
        now: Now,
        relay: RelayKey,
        peer: PeerAddr,
        icmp: Icmp,
    ) -> Result<Outcome<'static>, DropReason> {
        let allocation = self
            .allocations
            .receiver(now, relay, Incoming::about(peer))?;
        if !allocation.icmp.get_or_insert_default().admit(now) {
            return Err(DropReason::IcmpOverLimit);
        }
        self.counters.icmp += 1;
        let client = allocation.client;
        let frame = Frame::icmp_indication(peer.0, icmp, self.transaction_ids.next());
        let frame = frame.ok_or(DropReason::TooLong)?;
        Ok(Outcome::ToClient { client, frame })
    }
}

/// How many ICMP messages a client was told of within the present second.
#[derive(Debug, Default)]
pub(super) struct IcmpBudget {
    second: Option<Instant>,
    told: u8,
}

impl IcmpBudget {
    fn admit(&mut self, now: Now) -> bool {
        let second_ago = |since: Instant| now.mono.saturating_duration_since(since) >= SECOND;
        if self.second.is_none_or(second_ago) {
            (self.second, self.told) = (Some(now.mono), 0);
        }
        let admitted = self.told < ICMP_PER_SECOND_MAX;
        self.told += u8::from(admitted);
        admitted
    }
}

const SECOND: Duration = Duration::from_secs(1);

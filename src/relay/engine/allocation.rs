//! One allocation: what a client holds.

use std::{mem, time::Instant};

use crate::clock::Now;
use crate::relay::engine::auth::Identity;
use crate::relay::engine::channel::Channels;
use crate::relay::engine::counters::{Held, Traffic};
use crate::relay::engine::five_tuple::{Family, FiveTuple, PeerAddr};
use crate::relay::engine::halves::Halves;
use crate::relay::engine::icmp::IcmpBudget;
use crate::relay::engine::limits::Place;
use crate::relay::engine::made::Made;
use crate::relay::engine::mobility::Mobility;
use crate::relay::engine::outcome::RelayTransport;
use crate::relay::engine::permission::Permissions;
use crate::relay::engine::traces::Traces;
use crate::relay::engine::view::AllocationId;
use crate::relay::wire::connection::ConnectionId;

/// What a client holds ([RFC 8656 §3.2](https://www.rfc-editor.org/rfc/rfc8656#section-3.2)).
#[derive(Debug)]
pub(super) struct Allocation {
    pub(super) id: AllocationId,
    pub(super) client: FiveTuple,
    pub(super) halves: Halves,
    /// Who made it, with the key that they made it with.
    pub(super) owner: Identity,
    /// What it counts in the limits.
    pub(super) place: Place,
    pub(super) made_at: Instant,
    pub(super) permissions: Permissions,
    pub(super) channels: Channels,
    /// Its connections to peers; `None` where it relays datagrams.
    pub(super) connections: Option<Vec<ConnectionId>>,
    pub(super) to_peers: Traffic,
    pub(super) to_clients: Traffic,
    /// Once ICMP has come for it.
    pub(super) icmp: Option<Box<IcmpBudget>>,
    /// What lets it move to another five-tuple.
    pub(super) mobility: Option<Box<Mobility>>,
    /// How it began.
    pub(super) made: Made,
    /// Where it stands among its user's.
    pub(super) at_user: usize,
    /// What tells it apart from others on the same relayed transport address.
    pub(super) traces: Traces,
}

impl Allocation {
    /// What it counts in the sums.
    pub(super) fn held(&self) -> Held {
        Held::by_one(
            self.client.transport,
            self.relays(),
            self.permissions.len(),
            self.channels.len(),
        )
    }

    /// Whether peers of this family can be reached.
    pub(super) fn reaches(&self, now: Now, family: Family) -> bool {
        self.halves.of(now, family).is_some()
    }

    /// What is relayed.
    pub(super) fn relays(&self) -> RelayTransport {
        match self.connections {
            None => RelayTransport::Udp,
            Some(_) => RelayTransport::Tcp,
        }
    }

    /// One that has expired is as good as gone, even before its deadline is handled.
    pub(super) fn lives(&self, now: Now) -> bool {
        self.halves.live(now)
    }

    /// Whether a peer that it has named is its own still.
    pub(super) fn holds(&self, now: Now, peer: PeerAddr) -> bool {
        self.permissions.permit(now, peer.0.ip()) || self.channels.number(now, peer).is_some()
    }

    /// Makes room for another peer to keep in mind, as far as there are some that it does not hold any more: these.
    pub(super) fn make_room(&mut self, now: Now) -> Vec<PeerAddr> {
        if !self.traces.is_full() {
            return Vec::new();
        }
        let mut traces = mem::take(&mut self.traces);
        let forgotten = traces.forget(|peer| self.holds(now, peer));
        self.traces = traces;
        forgotten
    }

    /// Whether it is on this five-tuple, or moves to it.
    pub(super) fn is_at(&self, client: &FiveTuple) -> bool {
        self.client == *client || self.moves_to(client)
    }

    pub(super) fn moves_to(&self, client: &FiveTuple) -> bool {
        let mobility = self.mobility.as_ref();
        mobility.is_some_and(|mobility| mobility.next.as_ref() == Some(client))
    }

    /// The five-tuple that it moves to.
    pub(super) fn next(&self) -> Option<FiveTuple> {
        self.mobility.as_ref()?.next
    }

    pub(super) fn set_next(&mut self, next: Option<FiveTuple>) {
        if let Some(mobility) = &mut self.mobility {
            mobility.next = next;
        }
    }
}

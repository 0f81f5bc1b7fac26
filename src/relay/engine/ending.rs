//! How allocations end, and the one line that tells of each one's life.

use crate::clock::Now;
use crate::relay::engine::allocation::Allocation;

/// Why an allocation is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// Nobody refreshed it in time.
    Expired,
    /// Its client gave it back: refreshed with lifetime 0.
    Released,
    /// Its user left, or was shown out.
    Revoked,
    /// Its TCP or TLS connection, or DTLS session, is over.
    Disconnected,
    /// An operator closed it.
    Closed,
    /// The server stops.
    Stopped,
}

impl Ending {
    /// Every ending, in the order of their counters.
    pub const ALL: [Self; 6] = [
        Self::Expired,
        Self::Released,
        Self::Revoked,
        Self::Disconnected,
        Self::Closed,
        Self::Stopped,
    ];

    /// One word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Released => "released",
            Self::Revoked => "revoked",
            Self::Disconnected => "disconnected",
            Self::Closed => "closed",
            Self::Stopped => "stopped",
        }
    }
}

/// Who it was, for how long, how much each way, and why it is over. Names are what operators know their users by, and
/// written as text, so that none of them can look like another line; addresses they are not told.
pub(super) fn tell(now: Now, allocation: &Allocation, ending: Ending) {
    let lived = now.mono.saturating_duration_since(allocation.made_at);
    tracing::info!(
        user = allocation.owner.user().name(),
        transport = allocation.client.transport.name(),
        relays = allocation.relays().name(),
        relayed_port = allocation.halves.first().relayed.0.port(),
        seconds = lived.as_secs(),
        to_peers_packets = allocation.to_peers.packets,
        to_peers_bytes = allocation.to_peers.bytes,
        to_clients_packets = allocation.to_clients.packets,
        to_clients_bytes = allocation.to_clients.bytes,
        why = ending.name(),
        "allocation gone"
    );
}

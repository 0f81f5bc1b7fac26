//! What the engine says to its worker: an [`Outcome`] for each datagram, [`Effect`]s for everything else.

use crate::relay::engine::counters::DropReason;
use crate::relay::engine::five_tuple::{Family, FiveTuple, PeerAddr, RelayKey, RelayedAddr};
use crate::relay::engine::view::AllocationId;
use crate::relay::wire::connection::ConnectionId;
use crate::relay::wire::frame::Frame;
use crate::relay::wire::response::ErrorCode;

/// What became of one datagram. It borrows from the datagram, never from the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'d> {
    /// Send this payload from the relay socket to the peer.
    ToPeer {
        /// The socket to send from.
        relay: RelayKey,
        /// Where to.
        peer: PeerAddr,
        /// The datagram, whole; may be empty.
        payload: &'d [u8],
        /// Whether it must arrive unfragmented or not at all
        /// ([RFC 8656 §15](https://www.rfc-editor.org/rfc/rfc8656#section-15)).
        dont_fragment: bool,
    },
    /// Give this payload to another worker, whose relayed transport address the peer is; there, to
    /// `Engine::handle_neighbour`.
    ToNeighbour {
        /// The worker's number.
        worker: u32,
        /// Where to.
        to: RelayedAddr,
        /// Where from.
        from: RelayedAddr,
        /// Who sent it, of those who share that address.
        sender: Sender,
        /// The datagram, whole; may be empty.
        payload: &'d [u8],
    },
    /// Send this to the client: a ChannelData message (padded where the transport is a stream) or a Data indication.
    ToClient {
        /// Whom to.
        client: FiveTuple,
        /// The message, around the payload.
        frame: Frame<'d>,
    },
    /// Done; effects may wait in `Engine::poll_effect`.
    Handled,
    /// It deserved no answer, and is counted.
    Dropped(DropReason),
}

/// Who sends from a relayed transport address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The allocation.
    pub id: AllocationId,
    /// Whether no other one with the same address has named the same peer.
    pub is_sole: bool,
}

/// What the worker must do. All effects are drained, in order, before the engine's next input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect<'e> {
    /// Send this STUN message to the client.
    Respond {
        /// Whom to: from the five-tuple's server address.
        client: FiveTuple,
        /// The whole message, until the next effect is polled.
        message: &'e [u8],
    },
    /// Open a relay socket, then call `Engine::handle_relay_opened` at once, with no other input in between.
    OpenRelay(PortRequest),
    /// Close the relay socket: its port is free again.
    CloseRelay(RelayKey),
    /// Connect a relay socket's address to a peer, then call `Engine::handle_peer_connected` or `handle_peer_closed`.
    ConnectPeer {
        /// The name of the connection.
        id: ConnectionId,
        /// Where from.
        relay: RelayKey,
        /// Where to.
        peer: PeerAddr,
    },
    /// Bind the client's connection to that of a peer, as soon as it has been sent what was said to it before: it is a
    /// stream of bytes from now on, and no STUN. Then call `Engine::handle_spliced` for what passes, and
    /// `handle_peer_closed` when it ends.
    Splice {
        /// The client's, which has no allocation.
        client: FiveTuple,
        /// The peer's.
        id: ConnectionId,
    },
    /// Close the connection to a peer, and the client's that is bound to it; say nothing more of it.
    ClosePeer(ConnectionId),
}

/// The relayed transport address that an Allocate asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRequest {
    /// REQUESTED-TRANSPORT.
    pub transport: RelayTransport,
    /// REQUESTED-ADDRESS-FAMILY; IPv4 where the client named none. Says nothing where the port is reserved.
    pub family: Family,
    /// EVEN-PORT and RESERVATION-TOKEN.
    pub kind: PortKind,
}

/// What is relayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayTransport {
    /// Datagrams.
    Udp,
    /// Connections: the relay socket is a listener ([RFC 6062](https://www.rfc-editor.org/rfc/rfc6062)).
    Tcp,
}

impl RelayTransport {
    /// Both, in the order of their counters.
    pub const ALL: [Self; 2] = [Self::Udp, Self::Tcp];

    /// One word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

/// Which port will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortKind {
    /// Any free one.
    Any,
    /// An even one ([RFC 8656 §18.6](https://www.rfc-editor.org/rfc/rfc8656#section-18.6), R bit 0).
    Even,
    /// An even one whose successor is reserved for whoever brings the token (R bit 1).
    EvenWithNext,
    /// The one reserved under this token.
    Reserved(ReservationToken),
}

/// Names a reserved port ([RFC 8656 §18.10](https://www.rfc-editor.org/rfc/rfc8656#section-18.10)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReservationToken(pub [u8; 8]);

/// A relay socket, open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenedRelay {
    /// The worker's number for it: small, as the engine keeps a table by it; not in use by another allocation.
    pub key: RelayKey,
    /// Its address as clients are told.
    pub relayed: RelayedAddr,
    /// The token of the port reserved with it, where [`PortKind::EvenWithNext`] was asked.
    pub reservation: Option<ReservationToken>,
}

/// Why no relay socket was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayRefused {
    /// No port of the wanted kind is free: 508.
    NoPort,
    /// The server has no address of this family: 440.
    UnsupportedFamily,
}

impl RelayRefused {
    pub(super) fn code(self) -> ErrorCode {
        match self {
            Self::NoPort => ErrorCode::InsufficientCapacity,
            Self::UnsupportedFamily => ErrorCode::AddressFamilyNotSupported,
        }
    }
}

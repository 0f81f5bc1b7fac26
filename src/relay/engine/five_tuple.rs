//! Who talks to whom: the addresses that name an allocation ([RFC 8656 §2](https://www.rfc-editor.org/rfc/rfc8656#section-2)).

use std::{
    hash::{Hash, Hasher},
    net::{IpAddr, SocketAddr},
};

/// How a client reaches the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// One message a datagram.
    Udp,
    /// A byte stream: messages delimited by their own length, ChannelData padded to 4.
    Tcp,
    /// The same inside TLS.
    Tls,
    /// One message a record ([RFC 7350](https://www.rfc-editor.org/rfc/rfc7350)).
    Dtls,
}

impl Transport {
    /// Every transport, in the order of their counters.
    pub const ALL: [Self; 4] = [Self::Udp, Self::Tcp, Self::Tls, Self::Dtls];

    /// One word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Dtls => "dtls",
        }
    }

    /// Whether messages travel in a byte stream.
    #[must_use]
    pub fn is_stream(self) -> bool {
        match self {
            Self::Udp | Self::Dtls => false,
            Self::Tcp | Self::Tls => true,
        }
    }
}

/// Client address, server address and transport: what an allocation belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FiveTuple {
    /// The transport between client and server.
    pub transport: Transport,
    /// The client's address as the server sees it (server-reflexive).
    pub client: SocketAddr,
    /// The server's own address that the client sent to.
    pub server: SocketAddr,
}

/// Hashed for every packet: in two words where both addresses are IPv4.
impl Hash for FiveTuple {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_addr(self.client, 0, state);
        hash_addr(self.server, self.transport as u64, state);
    }
}

fn hash_addr<H: Hasher>(addr: SocketAddr, transport: u64, state: &mut H) {
    let port = u64::from(addr.port()) << 8 | transport;
    match addr.ip() {
        IpAddr::V4(ip) => state.write_u64(u64::from(ip.to_bits()) << 32 | port),
        IpAddr::V6(ip) => {
            state.write_u128(ip.to_bits());
            state.write_u64(port);
        }
    }
}

/// The address of a peer, as seen by the relayed transport address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerAddr(pub SocketAddr);

/// A relayed transport address, as clients and peers are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RelayedAddr(pub SocketAddr);

/// A relay socket of this worker, as the worker numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RelayKey(pub u32);

/// An address family, as REQUESTED-ADDRESS-FAMILY names it
/// ([RFC 8656 §18.7](https://www.rfc-editor.org/rfc/rfc8656#section-18.7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// 0x01.
    V4,
    /// 0x02.
    V6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The longest payload that a UDP datagram can have: what a length of 16 bits leaves beside the headers.
    #[must_use]
    pub fn datagram_bytes_max(self) -> usize {
        match self {
            Self::V4 => 65_535 - 20 - 8,
            Self::V6 => 65_535 - 8,
        }
    }

    /// `None` for a number that stands for neither.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            0x01 => Some(Self::V4),
            0x02 => Some(Self::V6),
            _ => None,
        }
    }

    /// As it goes on the wire.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::V4 => 0x01,
            Self::V6 => 0x02,
        }
    }
}

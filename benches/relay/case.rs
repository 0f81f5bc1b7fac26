//! What can be asked of a server: which way, over what, how many, how large, how fast.

use std::fmt;

use crate::wire::Transport;

/// What is measured at a time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) transport: Transport,
    pub(crate) direction: Direction,
    pub(crate) clients: usize,
    pub(crate) payload_bytes: usize,
    pub(crate) pace: Pace,
    /// Datagrams that leave together, to one destination.
    pub(crate) train: usize,
}

/// Which way media goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From clients to a peer.
    Up,
    /// From a peer to clients.
    Down,
    /// From client to client, each of them relayed.
    RelayToRelay,
}

/// When packets leave.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As soon as an earlier one has arrived: the server is never idle, and no buffer overflows.
    Saturated,
    /// So many a second, each when it is due.
    Even(u64),
    /// So many a second: what is due leaves each millisecond, as from one thread with one timer.
    Bursts(u64),
}

impl Case {
    /// Those that tell most, in bearable time.
    pub(crate) fn telling() -> Vec<Self> {
        use Direction::{Down, RelayToRelay, Up};
        use Pace::{Bursts, Even, Saturated};
        use Transport::{Tcp, Tls, Udp};
        [
            (Udp, Up, 100, 160, Even(50_000), 1),
            (Udp, Down, 100, 160, Even(50_000), 1),
            (Udp, RelayToRelay, 100, 160, Even(25_000), 1),
            (Udp, Up, 100, 160, Bursts(50_000), 1),
            (Udp, Down, 100, 160, Bursts(50_000), 1),
            (Tls, Up, 100, 160, Even(25_000), 1),
            (Tls, Down, 100, 160, Even(25_000), 1),
            (Udp, Up, 1, 160, Saturated, 1),
            (Udp, Up, 10, 160, Saturated, 1),
            (Udp, Up, 100, 160, Saturated, 1),
            (Udp, Up, 1000, 160, Saturated, 1),
            (Udp, Up, 100, 160, Saturated, 16),
            (Udp, Up, 100, 1200, Saturated, 1),
            (Udp, Down, 1, 160, Saturated, 1),
            (Udp, Down, 10, 160, Saturated, 1),
            (Udp, Down, 100, 160, Saturated, 1),
            (Udp, Down, 1000, 160, Saturated, 1),
            (Udp, Down, 100, 160, Saturated, 16),
            (Udp, Down, 100, 1200, Saturated, 1),
            (Udp, RelayToRelay, 100, 160, Saturated, 1),
            (Udp, RelayToRelay, 100, 1200, Saturated, 1),
            (Tcp, Up, 100, 160, Saturated, 1),
            (Tcp, Down, 100, 160, Saturated, 1),
            (Tls, Up, 100, 160, Saturated, 1),
            (Tls, Down, 100, 160, Saturated, 1),
        ]
        .map(
            |(transport, direction, clients, payload_bytes, pace, train)| Self {
                transport,
                direction,
                clients,
                payload_bytes,
                pace,
                train,
            },
        )
        .into()
    }

    /// Every transport, direction, number of clients and size of payload, at an even pace and saturated.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
            for direction in [Direction::Up, Direction::Down, Direction::RelayToRelay] {
                let is_plain = transport == Transport::Udp && direction != Direction::RelayToRelay;
                // What the slowest of them can bear.
                let even = Pace::Even(if is_plain { 50_000 } else { 25_000 });
                for payload_bytes in [160, 1200] {
                    for clients in [1, 10, 100, 1000] {
                        all.extend([even, Pace::Saturated].map(|pace| Self {
                            transport,
                            direction,
                            clients,
                            payload_bytes,
                            pace,
                            train: 1,
                        }));
                    }
                }
            }
        }
        all
    }

    /// The same with ten clients at most, and a tenth of the rate.
    pub(crate) fn in_brief(self) -> Self {
        Self {
            clients: self.clients.min(10),
            pace: match self.pace {
                Pace::Saturated => Pace::Saturated,
                Pace::Even(rate) => Pace::Even(rate / 10),
                Pace::Bursts(rate) => Pace::Bursts(rate / 10),
            },
            ..self
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.transport {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
        };
        let direction = match self.direction {
            Direction::Up => "up",
            Direction::Down => "down",
            Direction::RelayToRelay => "relay to relay",
        };
        let (clients, bytes) = (self.clients, self.payload_bytes);
        let plural = if clients == 1 { "" } else { "s" };
        write!(
            f,
            "{transport} {direction}, {clients} client{plural}, {bytes} bytes"
        )?;
        if self.train > 1 {
            write!(f, ", trains of {}", self.train)?;
        }
        match self.pace {
            Pace::Saturated => write!(f, ", saturated"),
            Pace::Even(rate) => write!(f, ", {rate}/s"),
            Pace::Bursts(rate) => write!(f, ", {rate}/s in bursts"),
        }
    }
}

//! The names of connections: known in every node's copy of a session.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::ident::{NodeId, ParticipantId};

/// Names one Socket.IO connection: the node that serves it, and its number there, used once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId {
    /// Where it is connected.
    pub node: NodeId,
    /// Counted from the node's start.
    pub number: u64,
}

impl Serialize for SocketId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        (self.node, self.number).serialize(to)
    }
}

impl<'de> Deserialize<'de> for SocketId {
    fn deserialize<D: Deserializer<'de>>(pair: D) -> Result<Self, D::Error> {
        let (node, number) = Deserialize::deserialize(pair)?;
        Ok(Self { node, number })
    }
}

/// What a client shows to be who it was after its transport broke (Socket.IO's private session id): random, and
/// known to that client alone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(u128);

impl Ticket {
    /// Takes 16 random bytes.
    #[must_use]
    pub fn new(random: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(random))
    }

    /// Reads what [`Display`](fmt::Display) wrote: 32 lower-case hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 32 || !text.bytes().all(digit) {
            return None;
        }
        u128::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Not the number: whoever knows it is taken for its owner.
impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket")
    }
}

impl Serialize for Ticket {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Ticket {
    fn deserialize<D: Deserializer<'de>>(text: D) -> Result<Self, D::Error> {
        let text = String::deserialize(text)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("no ticket"))
    }
}

/// One connection of a participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Which.
    pub socket: SocketId,
    /// By what it can be recovered, where that is offered.
    pub ticket: Option<Ticket>,
}

/// Somebody whose transport broke and who may come back without knowing that it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// Shown by who they are.
    pub ticket: Ticket,
    /// Who they are.
    pub participant: ParticipantId,
    /// What they go by.
    pub name: Arc<str>,
}

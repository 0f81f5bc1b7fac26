//! Send indications ([RFC 8656 §11.1](https://www.rfc-editor.org/rfc/rfc8656#section-11.1)), read without allocating.

use std::net::SocketAddr;

use stun::attributes::{
    ATTR_DATA, ATTR_DONT_FRAGMENT, ATTR_MESSAGE_INTEGRITY, ATTR_MESSAGE_INTEGRITY_SHA256,
    ATTR_XOR_PEER_ADDRESS,
};
use stun::message::{CLASS_INDICATION, METHOD_SEND, MessageType};

use crate::relay::wire::address::XorAddress;
use crate::relay::wire::message::Message;
use crate::relay::wire::request::unknown_type;

/// A Send indication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendIndication<'d> {
    /// XOR-PEER-ADDRESS.
    pub peer: SocketAddr,
    /// DATA; may be empty.
    pub payload: &'d [u8],
    /// DONT-FRAGMENT.
    pub dont_fragment: bool,
}

/// Why a Send indication is discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discard {
    /// XOR-PEER-ADDRESS or DATA is missing, or the address malformed.
    Incomplete,
    /// It has a comprehension-required attribute that this server does not know.
    UnknownAttribute,
}

impl<'d> SendIndication<'d> {
    /// The message type of a Send indication.
    pub const TYPE: MessageType = MessageType {
        method: METHOD_SEND,
        class: CLASS_INDICATION,
    };

    /// Reads the indication out of a message known to be one.
    ///
    /// # Errors
    /// When it must be discarded.
    pub fn parse(message: &Message<'d>) -> Result<Self, Discard> {
        let (mut peer, mut payload, mut dont_fragment) = (None, None, false);
        for found in message.attributes() {
            match found.typ {
                ATTR_XOR_PEER_ADDRESS => peer = peer.or(Some(found.value)),
                ATTR_DATA => payload = payload.or(Some(found.value)),
                ATTR_DONT_FRAGMENT => dont_fragment = true,
                // Nobody signs a Send; what follows a code counts for nothing all the same.
                ATTR_MESSAGE_INTEGRITY | ATTR_MESSAGE_INTEGRITY_SHA256 => break,
                _ if unknown_type(found).is_some() => return Err(Discard::UnknownAttribute),
                _ => {}
            }
        }
        let peer = peer.and_then(|value| XorAddress::decode(value, message.transaction_id));
        let (Some(peer), Some(payload)) = (peer, payload) else {
            return Err(Discard::Incomplete);
        };
        Ok(Self {
            peer,
            payload,
            dont_fragment,
        })
    }
}

//! A payload on its way to a client: what comes before it and the padding behind it are told beside it, so that it stays
//! where it lies until the kernel takes it.

use std::{fmt, net::SocketAddr};

use stun::attributes::{ATTR_DATA, ATTR_XOR_PEER_ADDRESS, AttrType};
use stun::message::{CLASS_INDICATION, MAGIC_COOKIE, METHOD_DATA, MessageType};

use crate::relay::wire::address::XorAddress;
use crate::relay::wire::attributes::ATTR_ICMP;
use crate::relay::wire::channel_data::{self, ChannelNumber};
use crate::relay::wire::icmp::{self, Icmp};
use crate::relay::wire::message::{ATTRIBUTE_HEADER_BYTES, HEADER_BYTES, TransactionId};

/// The longest head: STUN header 20, XOR-PEER-ADDRESS over IPv6 24, and ICMP 12 (or the header of DATA, 4).
const HEAD_BYTES_MAX: usize = HEADER_BYTES + 24 + ATTRIBUTE_HEADER_BYTES + icmp::VALUE_BYTES;

/// One message for a client: a head, the payload, and padding.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Frame<'p> {
    head: Head,
    payload: &'p [u8],
    padding_bytes: u8,
}

impl<'p> Frame<'p> {
    /// The payload as ChannelData ([RFC 8656 §12.4](https://www.rfc-editor.org/rfc/rfc8656#section-12.4)), padded where
    /// the transport is a stream; `None` when it is too long for one.
    #[must_use]
    pub fn channel_data(number: ChannelNumber, payload: &'p [u8], padded: bool) -> Option<Self> {
        let length = u16::try_from(payload.len()).ok()?;
        let mut head = Head::default();
        head.put(&number.to_be_bytes());
        head.put(&length.to_be_bytes());
        debug_assert_eq!(head.as_bytes().len(), channel_data::HEADER_BYTES);
        Some(Self {
            head,
            payload,
            padding_bytes: if padded { padding(payload.len()) } else { 0 },
        })
    }

    /// The payload in a Data indication ([RFC 8656 §11.2](https://www.rfc-editor.org/rfc/rfc8656#section-11.2));
    /// `None` when it is too long for one.
    #[must_use]
    pub fn data_indication(
        peer: SocketAddr,
        transaction_id: TransactionId,
        payload: &'p [u8],
    ) -> Option<Self> {
        Some(Self {
            head: Head::of_indication(ATTR_DATA, payload.len(), peer, transaction_id)?,
            payload,
            padding_bytes: padding(payload.len()),
        })
    }

    /// The message's parts, in their order; any may be empty.
    #[must_use]
    pub fn parts(&self) -> [&[u8]; 3] {
        let padding = &[0; 3][..usize::from(self.padding_bytes)];
        [self.head.as_bytes(), self.payload, padding]
    }

    /// The bytes of the whole message.
    #[must_use]
    pub fn message_bytes(&self) -> usize {
        self.parts().iter().map(|part| part.len()).sum()
    }

    /// The message, in one piece.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.parts().concat()
    }
}

impl Frame<'static> {
    /// A Data indication about what became of a datagram to `peer`
    /// ([RFC 8656 §11.5](https://www.rfc-editor.org/rfc/rfc8656#section-11.5)).
    #[must_use]
    pub fn icmp_indication(
        peer: SocketAddr,
        icmp: Icmp,
        transaction_id: TransactionId,
    ) -> Option<Self> {
        let value = icmp.to_bytes();
        let mut head = Head::of_indication(ATTR_ICMP, value.len(), peer, transaction_id)?;
        head.put(&value);
        Some(Self {
            head,
            payload: &[],
            padding_bytes: 0,
        })
    }
}

impl fmt::Debug for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Frame").field(&self.parts()).finish()
    }
}

/// What comes before the payload.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Head {
    bytes: [u8; HEAD_BYTES_MAX],
    length: u8,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            bytes: [0; HEAD_BYTES_MAX],
            length: 0,
        }
    }
}

impl Head {
    /// Of a Data indication: XOR-PEER-ADDRESS, and the header of an attribute whose value comes next.
    fn of_indication(
        typ: AttrType,
        value_bytes: usize,
        peer: SocketAddr,
        transaction_id: TransactionId,
    ) -> Option<Self> {
        let peer = XorAddress::encode(peer, transaction_id);
        let padded = value_bytes + usize::from(padding(value_bytes));
        let attributes_bytes = 2 * ATTRIBUTE_HEADER_BYTES + peer.as_bytes().len() + padded;
        let length = u16::try_from(attributes_bytes).ok()?;
        let message_type = MessageType::new(METHOD_DATA, CLASS_INDICATION);
        let mut head = Self::default();
        head.put(&message_type.value().to_be_bytes());
        head.put(&length.to_be_bytes());
        head.put(&MAGIC_COOKIE.to_be_bytes());
        head.put(&transaction_id);
        head.put_attribute_header(ATTR_XOR_PEER_ADDRESS, peer.as_bytes().len());
        head.put(peer.as_bytes());
        head.put_attribute_header(typ, value_bytes);
        Some(head)
    }

    fn put(&mut self, bytes: &[u8]) {
        let start = usize::from(self.length);
        self.bytes[start..][..bytes.len()].copy_from_slice(bytes);
        // HEAD_BYTES_MAX is far below 256.
        self.length += bytes.len() as u8;
    }

    /// The caller has checked that the whole message, and so each value, fits 16 bits.
    fn put_attribute_header(&mut self, typ: AttrType, value_bytes: usize) {
        let length = u16::try_from(value_bytes).unwrap_or(u16::MAX);
        self.put(&typ.0.to_be_bytes());
        self.put(&length.to_be_bytes());
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// Up to the next multiple of 4.
fn padding(payload_bytes: usize) -> u8 {
    (payload_bytes.next_multiple_of(4) - payload_bytes) as u8
}

#[cfg(test)]
mod tests {
    use stun::message::Getter;
    use turn::proto::{chandata, data::Data, peeraddr::PeerAddress};

    use super::*;
    use crate::relay::wire::channel_data::ChannelRange;

    #[test]
    fn data_indications_are_read_by_other_hands() {
        for peer in ["192.0.2.1:5000", "[2001:db8::1]:5000"] {
            for payload in [&b""[..], b"a", b"ab", b"abc", b"abcd"] {
                let peer: SocketAddr = peer.parse().unwrap();
                let frame = Frame::data_indication(peer, *b"transaction!", payload).unwrap();
                let bytes = frame.to_vec();
                assert_eq!(frame.message_bytes(), bytes.len());
                let mut message = stun::message::Message::new();
                message.unmarshal_binary(&bytes).unwrap();
                assert_eq!(message.typ, MessageType::new(METHOD_DATA, CLASS_INDICATION));
                assert_eq!(message.raw.len(), HEADER_BYTES + message.length as usize);
                let (mut data, mut from) = (Data::default(), PeerAddress::default());
                data.get_from(&message).unwrap();
                from.get_from(&message).unwrap();
                assert_eq!(
                    (data.0.as_slice(), SocketAddr::new(from.ip, from.port)),
                    (payload, peer)
                );
                let padding = payload.len().next_multiple_of(4) - payload.len();
                assert!(bytes.ends_with(&[0, 0, 0][..padding]));
            }
        }
    }

    #[test]
    fn channel_data_is_padded_in_streams_only() {
        let number = ChannelNumber::new(0x4001, ChannelRange::Rfc8656).unwrap();
        for (padded, expected) in [
            (false, &b"\x40\x01\0\x01a"[..]),
            (true, b"\x40\x01\0\x01a\0\0\0"),
        ] {
            let frame = Frame::channel_data(number, b"a", padded).unwrap();
            assert_eq!(frame.to_vec(), expected);
            let mut read = chandata::ChannelData {
                raw: frame.to_vec(),
                ..Default::default()
            };
            read.decode().unwrap();
            assert_eq!((read.number.0, read.data.as_slice()), (0x4001, &b"a"[..]));
        }
    }

    #[test]
    fn a_payload_too_long_for_its_length_field_is_not_wrapped() {
        let number = ChannelNumber::new(0x4000, ChannelRange::Rfc8656).unwrap();
        let peer = "[2001:db8::1]:5000".parse().unwrap();
        let payload = vec![0; 65_536];
        let channel = |bytes| Frame::channel_data(number, &payload[..bytes], true).is_some();
        assert!(channel(65_535) && !channel(65_536));
        let indication = |bytes| Frame::data_indication(peer, [0; 12], &payload[..bytes]).is_some();
        assert!(indication(65_500) && !indication(65_507));
    }
}

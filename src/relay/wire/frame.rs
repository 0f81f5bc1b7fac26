//! A payload on its way to a client. It stays where it lies until the kernel takes it: what comes before it is written into
//! its headroom, or told beside it where there is none, as the padding behind it is.

use std::{fmt, net::SocketAddr};

use stun::attributes::{ATTR_DATA, ATTR_XOR_PEER_ADDRESS, AttrType};
use stun::message::{CLASS_INDICATION, MAGIC_COOKIE, METHOD_DATA, MessageType};

use crate::relay::wire::address::XorAddress;
use crate::relay::wire::attributes::ATTR_ICMP;
use crate::relay::wire::channel_data::{self, ChannelNumber};
use crate::relay::wire::datagram::Datagram;
use crate::relay::wire::icmp::{self, Icmp};
use crate::relay::wire::message::{ATTRIBUTE_HEADER_BYTES, HEADER_BYTES, TransactionId};

/// The longest head: STUN header 20, XOR-PEER-ADDRESS over IPv6 24, and ICMP 12 (or the header of DATA, 4).
const HEAD_BYTES_MAX: usize = HEADER_BYTES + 24 + ATTRIBUTE_HEADER_BYTES + icmp::VALUE_BYTES;

/// One message for a client: a head and the payload, in one piece or two, and padding.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Frame<'p> {
    /// Empty where it is part of the body.
    head: Head,
    body: &'p [u8],
    padding_bytes: u8,
}

impl<'p> Frame<'p> {
    /// The payload as ChannelData ([RFC 8656 §12.4](https://www.rfc-editor.org/rfc/rfc8656#section-12.4)), padded where
    /// the transport is a stream; `None` when it is too long for one.
    #[must_use]
    pub fn channel_data(
        number: ChannelNumber,
        payload: Datagram<'p>,
        padded: bool,
    ) -> Option<Self> {
        let payload_bytes = payload.bytes().len();
        let length = u16::try_from(payload_bytes).ok()?;
        let mut head = Head::default();
        head.put(&number.to_be_bytes());
        head.put(&length.to_be_bytes());
        debug_assert_eq!(head.as_bytes().len(), channel_data::HEADER_BYTES);
        let padding_bytes = if padded { padding(payload_bytes) } else { 0 };
        Some(Self::new(head, payload, padding_bytes))
    }

    /// The payload in a Data indication ([RFC 8656 §11.2](https://www.rfc-editor.org/rfc/rfc8656#section-11.2));
    /// `None` when it is too long for one.
    #[must_use]
    pub fn data_indication(
        peer: SocketAddr,
        transaction_id: TransactionId,
        payload: Datagram<'p>,
    ) -> Option<Self> {
        let payload_bytes = payload.bytes().len();
        let head = Head::of_indication(ATTR_DATA, payload_bytes, peer, transaction_id)?;
        Some(Self::new(head, payload, padding(payload_bytes)))
    }

    fn new(head: Head, payload: Datagram<'p>, padding_bytes: u8) -> Self {
        let (head, body) = match payload.headed(head.as_bytes()) {
            Ok(whole) => (Head::default(), whole),
            Err(payload) => (head, payload),
        };
        Self {
            head,
            body,
            padding_bytes,
        }
    }

    /// The message's parts, in their order; any may be empty.
    #[must_use]
    pub fn parts(&self) -> [&[u8]; 3] {
        let padding = &[0; 3][..usize::from(self.padding_bytes)];
        [self.head.as_bytes(), self.body, padding]
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
            body: &[],
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
                let frame = Frame::data_indication(peer, *b"transaction!", payload.into()).unwrap();
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
    fn what_comes_before_a_payload_is_written_into_its_headroom() {
        type Framing = fn(Datagram<'_>) -> Frame<'_>;
        let ways: [(&str, usize, Framing); 2] = [
            ("ChannelData", 4, |payload| {
                let number = ChannelNumber::new(0x4001, ChannelRange::Rfc8656).unwrap();
                Frame::channel_data(number, payload, true).unwrap()
            }),
            ("Data indication", 48, |payload| {
                let peer = "[2001:db8::1]:5000".parse().unwrap();
                Frame::data_indication(peer, *b"transaction!", payload).unwrap()
            }),
        ];
        for (name, head_bytes, frame_of) in ways {
            let beside = frame_of((&b"abc"[..]).into());
            for headroom_bytes in [0, head_bytes - 1, head_bytes, HEAD_BYTES_MAX] {
                let mut memory = [&vec![0xEE; headroom_bytes][..], b"abc"].concat();
                let frame = frame_of(Datagram::behind(headroom_bytes, &mut memory));
                assert_eq!(frame.to_vec(), beside.to_vec(), "{name}");
                assert_eq!(frame.message_bytes(), beside.message_bytes(), "{name}");
                let is_in_place = frame.parts()[0].is_empty();
                assert_eq!(is_in_place, headroom_bytes >= head_bytes, "{name}");
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
            let frame = Frame::channel_data(number, (&b"a"[..]).into(), padded).unwrap();
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
        let channel =
            |bytes| Frame::channel_data(number, (&payload[..bytes]).into(), true).is_some();
        assert!(channel(65_535) && !channel(65_536));
        let indication =
            |bytes| Frame::data_indication(peer, [0; 12], (&payload[..bytes]).into()).is_some();
        assert!(indication(65_500) && !indication(65_507));
    }
}

//! A payload with room around it, wrapped for the client where it lies.

use std::net::SocketAddr;

use stun::attributes::{ATTR_DATA, ATTR_XOR_PEER_ADDRESS, AttrType};
use stun::message::{CLASS_INDICATION, MAGIC_COOKIE, METHOD_DATA, MessageType};

use crate::relay::wire::address::XorAddress;
use crate::relay::wire::attributes::ATTR_ICMP;
use crate::relay::wire::channel_data::{self, ChannelNumber};
use crate::relay::wire::icmp::{self, Icmp};
use crate::relay::wire::message::{ATTRIBUTE_HEADER_BYTES, HEADER_BYTES, TransactionId};

/// Room a [`Frame`] keeps in front of its payload: STUN header 20, XOR-PEER-ADDRESS over IPv6 24, DATA header 4.
pub const HEADROOM_BYTES: usize = 48;

/// Room a [`Frame`] keeps behind its payload: padding to a multiple of 4.
pub const TAILROOM_BYTES: usize = 3;

/// The room that an ICMP message needs, wrapped.
pub const FRAME_BYTES_ICMP: usize = HEADROOM_BYTES + icmp::VALUE_BYTES + TAILROOM_BYTES;

/// A datagram from a peer, inside a buffer with at least [`HEADROOM_BYTES`] before and [`TAILROOM_BYTES`] after it.
#[derive(Debug)]
pub struct Frame<'b> {
    buffer: &'b mut [u8],
    payload_bytes: usize,
}

impl<'b> Frame<'b> {
    /// The payload lies at `buffer[HEADROOM_BYTES..][..payload_bytes]`; `None` when the buffer lacks room around it.
    pub fn new(buffer: &'b mut [u8], payload_bytes: usize) -> Option<Self> {
        let needed = HEADROOM_BYTES + payload_bytes + TAILROOM_BYTES;
        (buffer.len() >= needed).then_some(Self {
            buffer,
            payload_bytes,
        })
    }

    /// What the peer sent.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.buffer[HEADROOM_BYTES..][..self.payload_bytes]
    }

    /// The payload as a ChannelData message, padded to a multiple of 4 where the transport is a stream; `None` when
    /// it is too long for one.
    #[must_use]
    pub fn into_channel_data(mut self, number: ChannelNumber, padded: bool) -> Option<&'b [u8]> {
        let length = u16::try_from(self.payload_bytes).ok()?;
        let mut front = Front::new(self.buffer);
        front.put(&length.to_be_bytes());
        front.put(&number.to_be_bytes());
        let start = front.start;
        debug_assert_eq!(HEADROOM_BYTES - start, channel_data::HEADER_BYTES);
        let end = if padded {
            self.pad()
        } else {
            HEADROOM_BYTES + self.payload_bytes
        };
        Some(&self.buffer[start..end])
    }

    /// The payload in a Data indication ([RFC 8656 §11.2](https://www.rfc-editor.org/rfc/rfc8656#section-11.2));
    /// `None` when it is too long for one.
    #[must_use]
    pub fn into_data_indication(
        self,
        peer: SocketAddr,
        transaction_id: TransactionId,
    ) -> Option<&'b [u8]> {
        self.into_indication(ATTR_DATA, peer, transaction_id)
    }

    /// A Data indication about what became of a datagram to `peer`, built in `room`
    /// ([RFC 8656 §11.5](https://www.rfc-editor.org/rfc/rfc8656#section-11.5)).
    #[must_use]
    pub fn icmp_indication(
        room: &'b mut [u8; FRAME_BYTES_ICMP],
        peer: SocketAddr,
        icmp: Icmp,
        transaction_id: TransactionId,
    ) -> &'b [u8] {
        room[HEADROOM_BYTES..][..icmp::VALUE_BYTES].copy_from_slice(&icmp.to_bytes());
        let frame = Self {
            buffer: room,
            payload_bytes: icmp::VALUE_BYTES,
        };
        frame
            .into_indication(ATTR_ICMP, peer, transaction_id)
            .unwrap_or_default()
    }

    /// XOR-PEER-ADDRESS, and the payload as an attribute of this type.
    fn into_indication(
        mut self,
        typ: AttrType,
        peer: SocketAddr,
        transaction_id: TransactionId,
    ) -> Option<&'b [u8]> {
        let peer = XorAddress::encode(peer, transaction_id);
        let end = self.pad();
        let attributes_bytes =
            2 * ATTRIBUTE_HEADER_BYTES + peer.as_bytes().len() + end - HEADROOM_BYTES;
        let length = u16::try_from(attributes_bytes).ok()?;
        let message_type = MessageType::new(METHOD_DATA, CLASS_INDICATION);
        let mut front = Front::new(self.buffer);
        front.put_attribute_header(typ, self.payload_bytes);
        front.put(peer.as_bytes());
        front.put_attribute_header(ATTR_XOR_PEER_ADDRESS, peer.as_bytes().len());
        front.put(&transaction_id);
        front.put(&MAGIC_COOKIE.to_be_bytes());
        front.put(&length.to_be_bytes());
        front.put(&message_type.value().to_be_bytes());
        let start = front.start;
        debug_assert_eq!(HEADER_BYTES + attributes_bytes, end - start);
        Some(&self.buffer[start..end])
    }

    /// Zeroes the padding behind the payload; where it ends.
    fn pad(&mut self) -> usize {
        let payload_end = HEADROOM_BYTES + self.payload_bytes;
        let end = payload_end.next_multiple_of(4);
        self.buffer[payload_end..end].fill(0);
        end
    }
}

/// The headroom, filled from the payload towards the front.
struct Front<'a> {
    buffer: &'a mut [u8],
    start: usize,
}

impl<'a> Front<'a> {
    fn new(buffer: &'a mut [u8]) -> Self {
        Self {
            buffer,
            start: HEADROOM_BYTES,
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        let end = self.start;
        self.start -= bytes.len();
        self.buffer[self.start..end].copy_from_slice(bytes);
    }

    /// The caller has checked that the whole message, and so each value, fits 16 bits.
    fn put_attribute_header(&mut self, typ: AttrType, value_bytes: usize) {
        let length = u16::try_from(value_bytes).unwrap_or(u16::MAX);
        self.put(&length.to_be_bytes());
        self.put(&typ.0.to_be_bytes());
    }
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
                let mut buffer = buffer_with(payload);
                let frame = Frame::new(&mut buffer, payload.len()).unwrap();
                let bytes = frame.into_data_indication(peer, *b"transaction!").unwrap();
                let mut message = stun::message::Message::new();
                message.unmarshal_binary(bytes).unwrap();
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
            let mut buffer = buffer_with(b"a");
            let bytes = Frame::new(&mut buffer, 1)
                .unwrap()
                .into_channel_data(number, padded)
                .unwrap();
            assert_eq!(bytes, expected);
            let mut read = chandata::ChannelData {
                raw: bytes.to_vec(),
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
        let mut buffer = vec![0; HEADROOM_BYTES + 65_536 + TAILROOM_BYTES];
        let mut frame = |payload_bytes| {
            Frame::new(&mut buffer, payload_bytes)
                .unwrap()
                .into_channel_data(number, true)
                .is_some()
        };
        assert!(frame(65_535) && !frame(65_536));
        let mut frame = |payload_bytes| {
            Frame::new(&mut buffer, payload_bytes)
                .unwrap()
                .into_data_indication(peer, [0; 12])
                .is_some()
        };
        assert!(frame(65_500) && !frame(65_507));
    }

    #[test]
    fn a_frame_needs_its_room() {
        let mut buffer = [0; HEADROOM_BYTES + 1 + TAILROOM_BYTES];
        assert!(Frame::new(&mut buffer, 1).is_some());
        assert!(Frame::new(&mut buffer, 2).is_none());
        assert!(Frame::new(&mut [], 0).is_none());
    }

    /// Dirty all around the payload, as a reused buffer is.
    fn buffer_with(payload: &[u8]) -> Vec<u8> {
        let mut buffer = vec![0xEE; HEADROOM_BYTES];
        buffer.extend_from_slice(payload);
        buffer.extend_from_slice(&[0xEE; TAILROOM_BYTES]);
        buffer
    }
}

//! XOR-MAPPED-ADDRESS and its kin ([RFC 8489 §14.2](https://www.rfc-editor.org/rfc/rfc8489#section-14.2)).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use stun::message::MAGIC_COOKIE;

use crate::relay::wire::message::TransactionId;

/// The longest value, that of an IPv6 address.
pub const VALUE_BYTES_MAX: usize = 20;

const FAMILY_IPV4: u8 = 0x01;
const FAMILY_IPV6: u8 = 0x02;

/// An address as an attribute's value.
#[derive(Clone, Copy, Debug)]
pub struct XorAddress {
    bytes: [u8; VALUE_BYTES_MAX],
    length: usize,
}

/// `addr` as MAPPED-ADDRESS has it: in clear ([RFC 8489 §14.1](https://www.rfc-editor.org/rfc/rfc8489#section-14.1)).
#[must_use]
pub fn in_clear(addr: SocketAddr) -> Vec<u8> {
    let [p0, p1] = addr.port().to_be_bytes();
    match addr.ip() {
        IpAddr::V4(ip) => [&[0, FAMILY_IPV4, p0, p1][..], &ip.octets()].concat(),
        IpAddr::V6(ip) => [&[0, FAMILY_IPV6, p0, p1][..], &ip.octets()].concat(),
    }
}

impl XorAddress {
    /// Writes `addr` for a message with this transaction id.
    #[must_use]
    pub fn encode(addr: SocketAddr, transaction_id: TransactionId) -> Self {
        let mut bytes = [0; VALUE_BYTES_MAX];
        let (family, length) = match addr.ip() {
            IpAddr::V4(ip) => {
                bytes[4..8].copy_from_slice(&(ip.to_bits() ^ MAGIC_COOKIE).to_be_bytes());
                (FAMILY_IPV4, 8)
            }
            IpAddr::V6(ip) => {
                bytes[4..].copy_from_slice(&(ip.to_bits() ^ mask(transaction_id)).to_be_bytes());
                (FAMILY_IPV6, 20)
            }
        };
        bytes[1] = family;
        bytes[2..4].copy_from_slice(&(addr.port() ^ PORT_MASK).to_be_bytes());
        Self { bytes, length }
    }

    /// `None` when the family is unknown or the value has not exactly that family's length.
    #[must_use]
    pub fn decode(value: &[u8], transaction_id: TransactionId) -> Option<SocketAddr> {
        let (&[_, family, p0, p1], ip) = value.split_first_chunk()?;
        let ip = match family {
            FAMILY_IPV4 => {
                let bits = u32::from_be_bytes(ip.try_into().ok()?);
                IpAddr::V4(Ipv4Addr::from_bits(bits ^ MAGIC_COOKIE))
            }
            FAMILY_IPV6 => {
                let bits = u128::from_be_bytes(ip.try_into().ok()?);
                IpAddr::V6(Ipv6Addr::from_bits(bits ^ mask(transaction_id)))
            }
            _ => return None,
        };
        let port = u16::from_be_bytes([p0, p1]) ^ PORT_MASK;
        Some(SocketAddr::new(ip, port))
    }

    /// The attribute's value: 8 or 20 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// What an IPv6 address is xored with: the cookie and the transaction id.
fn mask(transaction_id: TransactionId) -> u128 {
    let mut mask = [0; 16];
    mask[..4].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
    mask[4..].copy_from_slice(&transaction_id);
    u128::from_be_bytes(mask)
}

/// The cookie's first half.
const PORT_MASK: u16 = (MAGIC_COOKIE >> 16) as u16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_5769_addresses() {
        // RFC 5769 §2.2 and §2.3.
        let v4 = [0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43];
        let v6 = [
            0x00, 0x02, 0xa1, 0x47, 0x01, 0x13, 0xa9, 0xfa, 0xa5, 0xd3, 0xf1, 0x79, 0xbc, 0x25,
            0xf4, 0xb5, 0xbe, 0xd2, 0xb9, 0xd9,
        ];
        let cases: [(&[u8], &str); 2] = [
            (&v4, "192.0.2.1:32853"),
            (&v6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853"),
        ];
        for (value, addr) in cases {
            let addr = addr.parse().unwrap();
            assert_eq!(XorAddress::decode(value, ID), Some(addr));
            assert_eq!(XorAddress::encode(addr, ID).as_bytes(), value);
        }
    }

    #[test]
    fn other_lengths_and_families_are_refused() {
        let long = [0x00, 0x01, 0, 0, 0, 0, 0, 0, 0];
        for length in [0, 1, 3, 4, 7, 9] {
            assert_eq!(XorAddress::decode(&long[..length], ID), None, "{length}");
        }
        assert_eq!(XorAddress::decode(&[0, 2, 0, 0, 0, 0, 0, 0], ID), None);
        assert_eq!(XorAddress::decode(&[0, 3, 0, 0, 0, 0, 0, 0], ID), None);
        assert_eq!(XorAddress::decode(&[0; 21], ID), None);
    }

    const ID: TransactionId = *b"\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae";
}

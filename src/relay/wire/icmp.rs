//! What routers and hosts say about a datagram that did not arrive
//! ([RFC 8656 §18.13](https://www.rfc-editor.org/rfc/rfc8656#section-18.13)).

use std::net::IpAddr;

/// An ICMP message of a kind that clients are told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Icmp {
    typ: u8,
    code: u8,
    mtu: u32,
}

/// The bytes of an ICMP attribute's value.
pub const VALUE_BYTES: usize = 8;

impl Icmp {
    /// A message about a datagram to `peer`; `mtu` is that of the next hop, where it says so. `None` for types that
    /// concern nobody but us ([RFC 8656 §11.5](https://www.rfc-editor.org/rfc/rfc8656#section-11.5)).
    #[must_use]
    pub fn new(peer: IpAddr, typ: u8, code: u8, mtu: u32) -> Option<Self> {
        let (is_told, is_about_size) = match peer {
            IpAddr::V4(_) => (
                matches!(typ, V4_UNREACHABLE | V4_TIME_EXCEEDED),
                (typ, code) == (V4_UNREACHABLE, V4_TOO_BIG),
            ),
            IpAddr::V6(_) => (
                matches!(typ, V6_UNREACHABLE | V6_TOO_BIG | V6_TIME_EXCEEDED),
                typ == V6_TOO_BIG,
            ),
        };
        let mtu = if is_about_size { mtu } else { 0 };
        is_told.then_some(Self { typ, code, mtu })
    }

    /// What a router would say of a datagram that must not be fragmented, and is too big for the first link.
    #[must_use]
    pub fn too_big(peer: IpAddr, mtu: u32) -> Self {
        let (typ, code) = match peer {
            IpAddr::V4(_) => (V4_UNREACHABLE, V4_TOO_BIG),
            IpAddr::V6(_) => (V6_TOO_BIG, 0),
        };
        Self { typ, code, mtu }
    }

    /// The attribute's value: 16 bits reserved, 7 of type, 9 of code, 32 of data.
    #[must_use]
    pub fn to_bytes(self) -> [u8; VALUE_BYTES] {
        let type_and_code = u16::from(self.typ) << 9 | u16::from(self.code);
        let [t, c] = type_and_code.to_be_bytes();
        let [m0, m1, m2, m3] = self.mtu.to_be_bytes();
        [0, 0, t, c, m0, m1, m2, m3]
    }
}

const V4_UNREACHABLE: u8 = 3;
const V4_TOO_BIG: u8 = 4;
const V4_TIME_EXCEEDED: u8 = 11;
const V6_UNREACHABLE: u8 = 1;
const V6_TOO_BIG: u8 = 2;
const V6_TIME_EXCEEDED: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r76_types_that_concern_the_client_are_written_with_7_and_9_bits() {
        let (v4, v6) = ("192.0.2.1", "2001:db8::1");
        let cases: &[(&str, u8, u8, Option<[u8; 8]>)] = &[
            (v4, 3, 3, Some([0, 0, 6, 3, 0, 0, 0, 0])),
            (v4, 3, 4, Some([0, 0, 6, 4, 0, 0, 5, 0x14])),
            (v4, 11, 0, Some([0, 0, 22, 0, 0, 0, 0, 0])),
            (v4, 11, 255, Some([0, 0, 22, 255, 0, 0, 0, 0])),
            (v4, 5, 0, None),
            (v4, 12, 0, None),
            (v6, 1, 4, Some([0, 0, 2, 4, 0, 0, 0, 0])),
            (v6, 2, 0, Some([0, 0, 4, 0, 0, 0, 5, 0x14])),
            (v6, 3, 1, Some([0, 0, 6, 1, 0, 0, 0, 0])),
            (v6, 4, 0, None),
            (v6, 11, 0, None),
        ];
        for &(peer, typ, code, value) in cases {
            let told = Icmp::new(peer.parse().unwrap(), typ, code, 1300);
            assert_eq!(told.map(Icmp::to_bytes), value, "{peer}: {typ}, {code}");
        }
    }

    #[test]
    fn a_datagram_too_big_for_the_first_link_reads_as_if_a_router_had_said_so() {
        for (peer, typ, code) in [("192.0.2.1", 3, 4), ("2001:db8::1", 2, 0)] {
            let peer = peer.parse().unwrap();
            assert_eq!(
                Icmp::new(peer, typ, code, 1280),
                Some(Icmp::too_big(peer, 1280))
            );
        }
    }
}

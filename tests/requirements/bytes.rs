//! STUN by the byte, right or wrong: written from the RFCs' tables, with neither the server's code nor its crates.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::Sha256;

pub(crate) const BINDING: u16 = 0x001;
pub(crate) const ALLOCATE: u16 = 0x003;
pub(crate) const REFRESH: u16 = 0x004;
pub(crate) const SEND: u16 = 0x006;
pub(crate) const DATA: u16 = 0x007;
pub(crate) const CREATE_PERMISSION: u16 = 0x008;
pub(crate) const CHANNEL_BIND: u16 = 0x009;

/// Attribute types ([RFC 8489 §18.3](https://www.rfc-editor.org/rfc/rfc8489#section-18.3),
/// [RFC 8656 §18](https://www.rfc-editor.org/rfc/rfc8656#section-18)).
pub(crate) mod attr {
    pub(crate) const CHANGE_REQUEST: u16 = 0x0003;
    pub(crate) const USERNAME: u16 = 0x0006;
    pub(crate) const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub(crate) const ERROR_CODE: u16 = 0x0009;
    pub(crate) const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
    pub(crate) const CHANNEL_NUMBER: u16 = 0x000C;
    pub(crate) const LIFETIME: u16 = 0x000D;
    pub(crate) const XOR_PEER_ADDRESS: u16 = 0x0012;
    pub(crate) const DATA: u16 = 0x0013;
    pub(crate) const REALM: u16 = 0x0014;
    pub(crate) const NONCE: u16 = 0x0015;
    pub(crate) const XOR_RELAYED_ADDRESS: u16 = 0x0016;
    pub(crate) const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
    pub(crate) const EVEN_PORT: u16 = 0x0018;
    pub(crate) const REQUESTED_TRANSPORT: u16 = 0x0019;
    pub(crate) const DONT_FRAGMENT: u16 = 0x001A;
    pub(crate) const MESSAGE_INTEGRITY_SHA256: u16 = 0x001C;
    pub(crate) const PASSWORD_ALGORITHM: u16 = 0x001D;
    pub(crate) const USERHASH: u16 = 0x001E;
    pub(crate) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub(crate) const RESERVATION_TOKEN: u16 = 0x0022;
    pub(crate) const PADDING: u16 = 0x0026;
    pub(crate) const RESPONSE_PORT: u16 = 0x0027;
    pub(crate) const ADDITIONAL_ADDRESS_FAMILY: u16 = 0x8000;
    pub(crate) const ADDRESS_ERROR_CODE: u16 = 0x8001;
    pub(crate) const PASSWORD_ALGORITHMS: u16 = 0x8002;
    pub(crate) const ICMP: u16 = 0x8004;
    pub(crate) const SOFTWARE: u16 = 0x8022;
    pub(crate) const FINGERPRINT: u16 = 0x8028;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Request,
    Indication,
    Success,
    Error,
}

/// A message in the making. Nothing is checked: what is asked for is written.
#[derive(Clone, Debug)]
pub(crate) struct Builder {
    bytes: Vec<u8>,
}

impl Builder {
    /// With a transaction id of its own.
    pub(crate) fn new(method: u16, class: Class) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let mut id = *b"req.00000000";
        id[4..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        Self::with_id(method, class, id)
    }

    pub(crate) fn request(method: u16) -> Self {
        Self::new(method, Class::Request)
    }

    pub(crate) fn indication(method: u16) -> Self {
        Self::new(method, Class::Indication)
    }

    pub(crate) fn with_id(method: u16, class: Class, id: [u8; 12]) -> Self {
        let typ = message_type(method, class).to_be_bytes();
        let bytes = [&typ[..], &[0, 0], &COOKIE, &id].concat();
        Self { bytes }
    }

    pub(crate) fn attr(self, typ: u16, value: &[u8]) -> Self {
        self.attr_padded_with(typ, value, 0)
    }

    pub(crate) fn attr_padded_with(self, typ: u16, value: &[u8], padding: u8) -> Self {
        let length = u16::try_from(value.len()).unwrap();
        let mut bytes = [&typ.to_be_bytes()[..], &length.to_be_bytes(), value].concat();
        bytes.resize(bytes.len().next_multiple_of(4), padding);
        self.raw(&bytes)
    }

    /// These bytes as they are; the header's length field counts them.
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        let length = self.bytes.len() - HEADER;
        self.length(u16::try_from(length).unwrap_or(u16::MAX))
    }

    /// Sets the header's length field.
    pub(crate) fn length(mut self, length: u16) -> Self {
        self.bytes[2..4].copy_from_slice(&length.to_be_bytes());
        self
    }

    pub(crate) fn u32(self, typ: u16, value: u32) -> Self {
        self.attr(typ, &value.to_be_bytes())
    }

    /// REQUESTED-TRANSPORT UDP.
    pub(crate) fn udp(self) -> Self {
        self.attr(attr::REQUESTED_TRANSPORT, &[17, 0, 0, 0])
    }

    pub(crate) fn lifetime(self, seconds: u32) -> Self {
        self.u32(attr::LIFETIME, seconds)
    }

    /// REQUESTED-ADDRESS-FAMILY.
    pub(crate) fn family(self, family: u8) -> Self {
        self.attr(attr::REQUESTED_ADDRESS_FAMILY, &[family, 0, 0, 0])
    }

    /// ADDITIONAL-ADDRESS-FAMILY.
    pub(crate) fn additional(self, family: u8) -> Self {
        self.attr(attr::ADDITIONAL_ADDRESS_FAMILY, &[family, 0, 0, 0])
    }

    pub(crate) fn channel(self, number: u16) -> Self {
        self.u32(attr::CHANNEL_NUMBER, u32::from(number) << 16)
    }

    /// XOR-PEER-ADDRESS.
    pub(crate) fn peer(self, addr: &str) -> Self {
        let value = xored(addr.parse().unwrap(), self.id());
        self.attr(attr::XOR_PEER_ADDRESS, &value)
    }

    pub(crate) fn data(self, payload: &[u8]) -> Self {
        self.attr(attr::DATA, payload)
    }

    pub(crate) fn text(self, typ: u16, value: &str) -> Self {
        self.attr(typ, value.as_bytes())
    }

    /// USERNAME, REALM and NONCE.
    pub(crate) fn login(self, user: &str, realm: &str, nonce: &str) -> Self {
        self.text(attr::USERNAME, user)
            .text(attr::REALM, realm)
            .text(attr::NONCE, nonce)
    }

    /// MESSAGE-INTEGRITY.
    pub(crate) fn integrity(self, key: &[u8]) -> Self {
        let code = hmac_sha1(key, &self.covered(20));
        self.attr(attr::MESSAGE_INTEGRITY, &code)
    }

    /// MESSAGE-INTEGRITY-SHA256.
    pub(crate) fn integrity_sha256(self, key: &[u8]) -> Self {
        let code = hmac_sha256(key, &self.covered(32));
        self.attr(attr::MESSAGE_INTEGRITY_SHA256, &code)
    }

    pub(crate) fn fingerprint(self) -> Self {
        let code = crc32(&self.covered(4)) ^ 0x5354_554e;
        self.u32(attr::FINGERPRINT, code)
    }

    pub(crate) fn id(&self) -> [u8; 12] {
        self.bytes[8..HEADER].try_into().unwrap()
    }

    pub(crate) fn done(self) -> Vec<u8> {
        self.bytes
    }

    /// The message so far, its length as if an attribute of `value_bytes` stood at its end.
    fn covered(&self, value_bytes: usize) -> Vec<u8> {
        let length = self.bytes.len() - HEADER + 4 + value_bytes;
        self.clone().length(u16::try_from(length).unwrap()).bytes
    }
}

/// A message of the server's, read strictly: wrong lengths and padding that is not zero fail the test.
#[derive(Clone, Debug)]
pub(crate) struct Parsed {
    pub(crate) raw: Vec<u8>,
    pub(crate) method: u16,
    pub(crate) class: Class,
    pub(crate) id: [u8; 12],
    /// Type, value, and where it begins.
    attributes: Vec<(u16, Vec<u8>, usize)>,
}

impl Parsed {
    pub(crate) fn read(raw: &[u8]) -> Self {
        assert!(
            raw.len() >= HEADER && raw[..1] < [4][..],
            "no STUN: {raw:02x?}"
        );
        assert_eq!(raw[4..8], COOKIE, "{raw:02x?}");
        let length = usize::from(u16::from_be_bytes([raw[2], raw[3]]));
        assert_eq!(length, raw.len() - HEADER, "the header's length");
        let (mut at, mut attributes) = (HEADER, Vec::new());
        while at < raw.len() {
            let typ = u16::from_be_bytes([raw[at], raw[at + 1]]);
            let length = usize::from(u16::from_be_bytes([raw[at + 2], raw[at + 3]]));
            let (begin, end) = (at + 4, at + 4 + length);
            let padded = end.next_multiple_of(4);
            assert!(
                raw[end..padded].iter().all(|byte| *byte == 0),
                "padding of {typ:#06x}"
            );
            attributes.push((typ, raw[begin..end].to_vec(), at));
            at = padded;
        }
        let typ = u16::from_be_bytes([raw[0], raw[1]]);
        let class = match typ & 0x0110 {
            0x000 => Class::Request,
            0x010 => Class::Indication,
            0x100 => Class::Success,
            _ => Class::Error,
        };
        Self {
            raw: raw.to_vec(),
            method: (typ & 0xF) | ((typ & 0xE0) >> 1) | ((typ & 0x3E00) >> 2),
            class,
            id: raw[8..HEADER].try_into().unwrap(),
            attributes,
        }
    }

    pub(crate) fn get(&self, typ: u16) -> Option<&[u8]> {
        let mut found = self.attributes.iter().filter(|(found, _, _)| *found == typ);
        found.next().map(|(_, value, _)| value.as_slice())
    }

    pub(crate) fn all(&self, typ: u16) -> Vec<&[u8]> {
        let found = self.attributes.iter().filter(|(found, _, _)| *found == typ);
        found.map(|(_, value, _)| value.as_slice()).collect()
    }

    pub(crate) fn has(&self, typ: u16) -> bool {
        self.get(typ).is_some()
    }

    pub(crate) fn types(&self) -> Vec<u16> {
        self.attributes.iter().map(|(typ, _, _)| *typ).collect()
    }

    /// Types and lengths: what answers can be told apart by.
    pub(crate) fn shape(&self) -> Vec<(u16, usize)> {
        let attributes = self.attributes.iter();
        attributes
            .map(|(typ, value, _)| (*typ, value.len()))
            .collect()
    }

    /// 0 for success.
    pub(crate) fn code(&self) -> u16 {
        match self.get(attr::ERROR_CODE) {
            Some(value) => {
                assert_eq!(self.class, Class::Error);
                u16::from(value[2]) * 100 + u16::from(value[3])
            }
            None => {
                assert_eq!(self.class, Class::Success);
                0
            }
        }
    }

    pub(crate) fn text(&self, typ: u16) -> String {
        String::from_utf8(self.get(typ).unwrap().to_vec()).unwrap()
    }

    pub(crate) fn lifetime(&self) -> u32 {
        u32::from_be_bytes(self.get(attr::LIFETIME).unwrap().try_into().unwrap())
    }

    pub(crate) fn address(&self, typ: u16) -> SocketAddr {
        unxored(self.get(typ).unwrap(), self.id)
    }

    pub(crate) fn relayed(&self) -> Vec<SocketAddr> {
        let found = self.all(attr::XOR_RELAYED_ADDRESS);
        found
            .into_iter()
            .map(|value| unxored(value, self.id))
            .collect()
    }

    /// The types in UNKNOWN-ATTRIBUTES.
    pub(crate) fn unknown(&self) -> Vec<u16> {
        let value = self.get(attr::UNKNOWN_ATTRIBUTES).unwrap();
        assert!(value.len().is_multiple_of(2));
        value
            .chunks(2)
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
            .collect()
    }

    /// Whether MESSAGE-INTEGRITY is right under `key`.
    pub(crate) fn is_signed(&self, key: &[u8]) -> bool {
        self.code_of(attr::MESSAGE_INTEGRITY, 20, |covered| {
            hmac_sha1(key, covered)
        })
    }

    pub(crate) fn is_signed_sha256(&self, key: &[u8]) -> bool {
        self.code_of(attr::MESSAGE_INTEGRITY_SHA256, 32, |covered| {
            hmac_sha256(key, covered)
        })
    }

    pub(crate) fn has_right_fingerprint(&self) -> bool {
        let is_last = self.types().last() == Some(&attr::FINGERPRINT);
        let code = |covered: &[u8]| (crc32(covered) ^ 0x5354_554e).to_be_bytes().to_vec();
        is_last && self.code_of(attr::FINGERPRINT, 4, code)
    }

    fn code_of(&self, typ: u16, bytes: usize, code: impl Fn(&[u8]) -> Vec<u8>) -> bool {
        let Some((_, value, at)) = self.attributes.iter().find(|(found, _, _)| *found == typ)
        else {
            return false;
        };
        let mut covered = self.raw[..*at].to_vec();
        let length = u16::try_from(*at - HEADER + 4 + bytes).unwrap();
        covered[2..4].copy_from_slice(&length.to_be_bytes());
        value.len() == bytes && *value == code(&covered)
    }
}

pub(crate) fn message_type(method: u16, class: Class) -> u16 {
    let class = match class {
        Class::Request => 0x000,
        Class::Indication => 0x010,
        Class::Success => 0x100,
        Class::Error => 0x110,
    };
    class | (method & 0xF) | ((method & 0x70) << 1) | ((method & 0xF80) << 2)
}

/// A ChannelData message whose length field may lie.
pub(crate) fn channel_data(number: u16, length: usize, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(length).unwrap();
    [&number.to_be_bytes()[..], &length.to_be_bytes(), payload].concat()
}

/// The value of an XOR-…-ADDRESS.
pub(crate) fn xored(addr: SocketAddr, id: [u8; 12]) -> Vec<u8> {
    let mask = [&COOKIE[..], &id].concat();
    let port = (addr.port() ^ 0x2112).to_be_bytes();
    let (family, octets) = match addr.ip() {
        IpAddr::V4(ip) => (1, ip.octets().to_vec()),
        IpAddr::V6(ip) => (2, ip.octets().to_vec()),
    };
    let ip: Vec<u8> = octets
        .iter()
        .zip(&mask)
        .map(|(byte, mask)| byte ^ mask)
        .collect();
    [&[0, family][..], &port, &ip].concat()
}

fn unxored(value: &[u8], id: [u8; 12]) -> SocketAddr {
    let mask = [&COOKIE[..], &id].concat();
    let port = u16::from_be_bytes([value[2], value[3]]) ^ 0x2112;
    let octets: Vec<u8> = value[4..]
        .iter()
        .zip(&mask)
        .map(|(byte, mask)| byte ^ mask)
        .collect();
    let ip: IpAddr = match value[1] {
        1 => Ipv4Addr::from(<[u8; 4]>::try_from(octets).unwrap()).into(),
        2 => Ipv6Addr::from(<[u8; 16]>::try_from(octets).unwrap()).into(),
        family => panic!("family {family}"),
    };
    assert_eq!(value[0], 0);
    SocketAddr::new(ip, port)
}

/// The long-term key of algorithm 1.
pub(crate) fn key(user: &str, realm: &str, password: &str) -> Vec<u8> {
    Md5::digest(format!("{user}:{realm}:{password}")).to_vec()
}

/// The long-term key of algorithm 2.
pub(crate) fn key_sha256(user: &str, realm: &str, password: &str) -> Vec<u8> {
    Sha256::digest(format!("{user}:{realm}:{password}")).to_vec()
}

pub(crate) fn userhash(user: &str, realm: &str) -> Vec<u8> {
    Sha256::digest(format!("{user}:{realm}")).to_vec()
}

pub(crate) fn hmac_sha1(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha1>::new_from_slice(key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

pub(crate) fn hmac_sha256(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            let carry = 0xEDB8_8320 & (crc & 1).wrapping_neg();
            (crc >> 1) ^ carry
        })
    })
}

pub(crate) const HEADER: usize = 20;
pub(crate) const COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];

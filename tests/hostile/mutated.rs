//! Messages that are nearly right: random, the same at each run.

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use sha1::Sha1;

use crate::world::REALM;

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.number() % bound as u64).unwrap()
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.number().to_le_bytes()[0]).collect()
    }

    fn one_of(&mut self, choices: &[u16]) -> u16 {
        choices[self.below(choices.len())]
    }
}

/// What proves a request.
pub(crate) struct Login<'l> {
    pub(crate) user: &'l str,
    pub(crate) password: &'l str,
    pub(crate) nonce: &'l str,
}

/// A third has right integrity, a third had it before some bits were turned, a third is junk of all sizes.
pub(crate) fn mutated(random: &mut Random, login: &Login<'_>) -> Vec<u8> {
    let mut bytes = message(random);
    match random.below(3) {
        0 => signed(bytes, login),
        1 => {
            let mut bytes = signed(bytes, login);
            for _ in 0..=random.below(4) {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
            bytes
        }
        _ => {
            let length = random.below(bytes.len() + 1);
            bytes.truncate(length);
            let more = random.below(64);
            bytes.extend(random.bytes(more));
            bytes
        }
    }
}

/// A header and attributes as requests have them; lengths are wrong now and then.
fn message(random: &mut Random) -> Vec<u8> {
    let typ = match random.below(20) {
        0 => u16::try_from(random.below(0x4000)).unwrap(),
        _ => random.one_of(&TYPES),
    };
    let mut bytes = header(typ, &random.bytes(12));
    for _ in 0..random.below(6) {
        let (typ, right) = ATTRIBUTES[random.below(ATTRIBUTES.len())];
        let length = match random.below(4) {
            0 => random.below(40),
            _ => right,
        };
        let mut value = random.bytes(length);
        // An IPv4 peer, or one of a family that there is not; a transport of UDP.
        if let [first, second, ..] = value.as_mut_slice() {
            (*first, *second) = match typ {
                REQUESTED_TRANSPORT => (17, *second),
                _ => (0, 1 + *second % 3),
            };
        }
        let mut said = u16::try_from(length).unwrap();
        if random.below(20) == 0 {
            said = u16::try_from(random.below(0x1_0000)).unwrap();
        }
        attribute(&mut bytes, typ, said, &value);
    }
    finished(bytes)
}

/// An Allocate signed with whatever that is.
pub(crate) fn allocate(random: &mut Random, login: &Login<'_>) -> Vec<u8> {
    let mut bytes = header(ALLOCATE, &random.bytes(12));
    attribute(&mut bytes, REQUESTED_TRANSPORT, 4, &[17, 0, 0, 0]);
    signed(bytes, login)
}

/// A request without attributes.
pub(crate) fn bare(random: &mut Random, typ: u16) -> Vec<u8> {
    header(typ, &random.bytes(12))
}

fn header(typ: u16, id: &[u8]) -> Vec<u8> {
    [&typ.to_be_bytes()[..], &[0, 0, 0x21, 0x12, 0xA4, 0x42], id].concat()
}

fn attribute(bytes: &mut Vec<u8>, typ: u16, length: u16, value: &[u8]) {
    bytes.extend(typ.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

fn finished(mut bytes: Vec<u8>) -> Vec<u8> {
    let length = u16::try_from(bytes.len() - 20).unwrap();
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    bytes
}

fn signed(mut bytes: Vec<u8>, login: &Login<'_>) -> Vec<u8> {
    for (typ, value) in [(0x0006, login.user), (0x0014, REALM), (0x0015, login.nonce)] {
        let length = u16::try_from(value.len()).unwrap();
        attribute(&mut bytes, typ, length, value.as_bytes());
    }
    let secret = format!("{}:{REALM}:{}", login.user, login.password);
    let length = u16::try_from(bytes.len() + 24 - 20).unwrap();
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    let mut mac = Hmac::<Sha1>::new_from_slice(&Md5::digest(secret)).unwrap();
    mac.update(&bytes);
    attribute(&mut bytes, 0x0008, 20, &mac.finalize().into_bytes());
    bytes
}

pub(crate) const BINDING: u16 = 0x0001;
pub(crate) const ALLOCATE: u16 = 0x0003;
const REQUESTED_TRANSPORT: u16 = 0x0019;
/// Requests, and the Send indication.
const TYPES: [u16; 8] = [
    BINDING, ALLOCATE, 0x0004, 0x0008, 0x0009, 0x0016, 0x000A, 0x000B,
];
/// With the lengths that they should have.
const ATTRIBUTES: [(u16, usize); 16] = [
    (0x000C, 4),
    (0x000D, 4),
    (0x0012, 8),
    (0x0012, 20),
    (0x0013, 32),
    (0x0017, 4),
    (0x0018, 1),
    (REQUESTED_TRANSPORT, 4),
    (REQUESTED_TRANSPORT, 4),
    (0x001A, 0),
    (0x0022, 8),
    (0x002A, 4),
    (0x8000, 4),
    (0x8022, 12),
    (0x8028, 4),
    (0x8030, 16),
];

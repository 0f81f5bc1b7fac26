//! SHA-256 integrity, password algorithms and user hashes
//! ([RFC 8489 §9.2](https://www.rfc-editor.org/rfc/rfc8489#section-9.2)), signed by hand.

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use setu::relay::engine::five_tuple::FiveTuple;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use stun::attributes::*;
use stun::message::*;

use crate::world::*;

/// How a client signs.
#[derive(Clone)]
struct Signer {
    username: String,
    password: String,
    /// USERHASH instead of USERNAME.
    is_hashed: bool,
    /// PASSWORD-ALGORITHM.
    chosen: Option<Vec<u8>>,
    /// PASSWORD-ALGORITHMS.
    offered: Option<Vec<u8>>,
    /// How the key is really made.
    key_by: Algorithm,
    codes: Vec<AttrType>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Algorithm {
    Md5,
    Sha256,
}

impl Signer {
    fn md5(username: &str, password: &str) -> Self {
        Self {
            username: username.to_owned(),
            password: password.to_owned(),
            is_hashed: false,
            chosen: None,
            offered: None,
            key_by: Algorithm::Md5,
            codes: vec![ATTR_MESSAGE_INTEGRITY],
        }
    }

    /// As RFC 8489 wants it of a client that was offered algorithms.
    fn sha256(username: &str, password: &str) -> Self {
        Self {
            is_hashed: true,
            chosen: Some(SHA256.to_vec()),
            offered: Some(OFFERED.to_vec()),
            key_by: Algorithm::Sha256,
            codes: vec![ATTR_MESSAGE_INTEGRITY_SHA256],
            ..Self::md5(username, password)
        }
    }

    fn with_codes(mut self, codes: &[AttrType]) -> Self {
        self.codes = codes.to_vec();
        self
    }

    fn key(&self) -> Vec<u8> {
        let text = format!("{}:{REALM}:{}", self.username, self.password);
        match self.key_by {
            Algorithm::Md5 => Md5::digest(text).to_vec(),
            Algorithm::Sha256 => Sha256::digest(text).to_vec(),
        }
    }

    fn request(
        &self,
        world: &mut World,
        from: FiveTuple,
        method: Method,
        attributes: &[&dyn Setter],
    ) -> Vec<u8> {
        let nonce = text(ATTR_NONCE, &world.nonce(from));
        let realm = text(ATTR_REALM, REALM);
        let hash = Sha256::digest(format!("{}:{REALM}", self.username));
        let name = match self.is_hashed {
            true => raw(ATTR_USER_HASH, &hash),
            false => text(ATTR_USERNAME, &self.username),
        };
        let chosen = self.chosen.as_ref();
        let chosen = chosen.map(|value| raw(ATTR_PASSWORD_ALGORITHM, value));
        let offered = self.offered.as_ref();
        let offered = offered.map(|value| raw(ATTR_PASSWORD_ALGORITHMS, value));
        let mut all = [attributes, &[&name, &realm, &nonce]].concat();
        all.extend(chosen.iter().map(|chosen| chosen as &dyn Setter));
        all.extend(offered.iter().map(|offered| offered as &dyn Setter));
        let mut bytes = world.unsigned(MessageType::new(method, CLASS_REQUEST), &all);
        for typ in &self.codes {
            sign(&mut bytes, *typ, &self.key());
        }
        bytes
    }

    fn ask(&self, world: &mut World, from: FiveTuple, method: Method) -> Answer {
        let bytes = self.request(world, from, method, &[&udp()]);
        world.send(from, &bytes).answer()
    }

    /// The codes of an answer, each of them checked.
    fn codes_of(&self, answer: &Answer) -> Vec<AttrType> {
        let mut found = Vec::new();
        let mut covered = answer.0.raw[..20].to_vec();
        for attribute in &answer.0.attributes.0 {
            let typ = attribute.typ;
            if [ATTR_MESSAGE_INTEGRITY, ATTR_MESSAGE_INTEGRITY_SHA256].contains(&typ) {
                assert_eq!(attribute.value, code(&covered, typ, &self.key()), "{typ}");
                found.push(typ);
            }
            append(&mut covered, typ, &attribute.value);
        }
        found
    }
}

fn append(bytes: &mut Vec<u8>, typ: AttrType, value: &[u8]) {
    bytes.extend(typ.0.to_be_bytes());
    bytes.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let length = u16::try_from(bytes.len() - 20).unwrap();
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
}

fn sign(bytes: &mut Vec<u8>, typ: AttrType, key: &[u8]) {
    let code = code(bytes, typ, key);
    append(bytes, typ, &code);
}

fn code(covered: &[u8], typ: AttrType, key: &[u8]) -> Vec<u8> {
    let size = if typ == ATTR_MESSAGE_INTEGRITY {
        20
    } else {
        32
    };
    let mut covered = covered.to_vec();
    let length = u16::try_from(covered.len() - 20 + 4 + size).unwrap();
    covered[2..4].copy_from_slice(&length.to_be_bytes());
    if typ == ATTR_MESSAGE_INTEGRITY {
        let mac = Hmac::<Sha1>::new_from_slice(key).unwrap();
        mac.chain_update(&covered).finalize().into_bytes().to_vec()
    } else {
        let mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.chain_update(&covered).finalize().into_bytes().to_vec()
    }
}

const MD5: &[u8] = &[0, 1, 0, 0];
const SHA256: &[u8] = &[0, 2, 0, 0];
const OFFERED: &[u8] = &[0, 2, 0, 0, 0, 1, 0, 0];
const BOTH: &[AttrType] = &[ATTR_MESSAGE_INTEGRITY, ATTR_MESSAGE_INTEGRITY_SHA256];
const WEAK: &[AttrType] = &[ATTR_MESSAGE_INTEGRITY];
const STRONG: &[AttrType] = &[ATTR_MESSAGE_INTEGRITY_SHA256];

#[test]
fn r32_an_answer_is_signed_as_its_request_was() {
    let sha256 = Signer::sha256("alice", "north");
    let md5 = Signer::md5("alice", "north");
    let chose_md5 = Signer {
        chosen: Some(MD5.to_vec()),
        offered: Some(OFFERED.to_vec()),
        ..md5.clone()
    };
    let cases = [
        ("no algorithm, SHA-1", md5.clone(), WEAK, WEAK),
        ("no algorithm, SHA-256", md5.clone(), STRONG, STRONG),
        ("no algorithm, both", md5, BOTH, WEAK),
        ("MD5 key, SHA-256", chose_md5.clone(), STRONG, STRONG),
        ("MD5 key, both", chose_md5.clone(), BOTH, BOTH),
        ("MD5 key, SHA-1", chose_md5, WEAK, BOTH),
        ("SHA-256 key, SHA-256", sha256.clone(), STRONG, STRONG),
        ("SHA-256 key, SHA-1", sha256.clone(), WEAK, BOTH),
        ("SHA-256 key, both", sha256, BOTH, BOTH),
    ];
    for (name, signer, asked, answered) in cases {
        let signer = signer.with_codes(asked);
        let mut world = World::new();
        let from = ALICE.address();
        for (method, code) in [
            (METHOD_REFRESH, 437),
            (METHOD_ALLOCATE, 0),
            (METHOD_REFRESH, 0),
            (METHOD_CREATE_PERMISSION, 400),
        ] {
            let answer = signer.ask(&mut world, from, method);
            assert_eq!(answer.code(), code, "{name}, {method}");
            assert_eq!(signer.codes_of(&answer), answered, "{name}, {method}");
            let tells = [ATTR_REALM, ATTR_NONCE, ATTR_USERNAME, ATTR_USER_HASH];
            assert!(!tells.iter().any(|typ| answer.has(*typ)), "{name}");
        }
        let unknown = raw(AttrType(0x7001), b"");
        let request = signer.request(&mut world, from, METHOD_REFRESH, &[&unknown]);
        let answer = world.send(from, &request).answer();
        assert_eq!(
            (answer.code(), signer.codes_of(&answer).as_slice()),
            (420, answered)
        );
    }
}

#[test]
fn r36_the_stronger_code_decides_and_only_whole() {
    let from = ALICE.address();
    for signer in [
        Signer::md5("alice", "north"),
        Signer::sha256("alice", "north"),
    ] {
        let mut world = World::new();
        let mut request =
            signer
                .with_codes(BOTH)
                .request(&mut world, from, METHOD_ALLOCATE, &[&udp()]);
        *request.last_mut().unwrap() ^= 1;
        assert_eq!(world.send(from, &request).answer().code(), 401);
        for length in [0, 4, 12, 16, 20, 28] {
            let mut cut = request[..request.len() - 36].to_vec();
            append(&mut cut, ATTR_MESSAGE_INTEGRITY_SHA256, &vec![7; length]);
            let answer = world.send(from, &cut).answer();
            assert_eq!((answer.code(), answer.shape().len()), (400, 1), "{length}");
        }
        assert_eq!(world.snapshot().allocations, 0);
    }
}

#[test]
fn r36_a_cut_code_is_refused_even_where_its_beginning_is_right() {
    let (signer, from, mut world) = (
        Signer::sha256("alice", "north"),
        ALICE.address(),
        World::new(),
    );
    let bare = signer
        .clone()
        .with_codes(&[])
        .request(&mut world, from, METHOD_ALLOCATE, &[&udp()]);
    for length in [16, 20, 24, 28] {
        let mut covered = bare.clone();
        let header = u16::try_from(covered.len() - 20 + 4 + length).unwrap();
        covered[2..4].copy_from_slice(&header.to_be_bytes());
        let mac = Hmac::<Sha256>::new_from_slice(&signer.key()).unwrap();
        let code = mac.chain_update(&covered).finalize().into_bytes();
        let mut cut = bare.clone();
        append(&mut cut, ATTR_MESSAGE_INTEGRITY_SHA256, &code[..length]);
        assert_eq!(world.send(from, &cut).answer().code(), 400, "{length}");
    }
}

#[test]
fn r30_what_follows_a_code_counts_for_nothing() {
    let signer = Signer::sha256("alice", "north");
    let (from, mut world) = (ALICE.address(), World::new());
    let mut request =
        signer
            .clone()
            .with_codes(WEAK)
            .request(&mut world, from, METHOD_ALLOCATE, &[&udp()]);
    append(&mut request, AttrType(0x7001), b"unknown");
    append(&mut request, ATTR_LIFETIME, &3000_u32.to_be_bytes());
    sign(&mut request, ATTR_MESSAGE_INTEGRITY_SHA256, &signer.key());
    append(&mut request, ATTR_MESSAGE_INTEGRITY, &[0; 20]);
    append(&mut request, ATTR_USERNAME, b"bob");
    append(&mut request, AttrType(0x7002), b"unknown");
    let answer = world.send(from, &fingerprinted(&request)).answer();
    assert_eq!((answer.code(), answer.lifetime_seconds()), (0, 600));

    // A weaker code behind the stronger one is no code at all.
    let mut request = signer.request(&mut world, from, METHOD_REFRESH, &[]);
    sign(&mut request, ATTR_MESSAGE_INTEGRITY, &signer.key());
    let answer = world.send(from, &request).answer();
    assert_eq!(
        (answer.code(), signer.codes_of(&answer).as_slice()),
        (0, STRONG)
    );
}

#[test]
fn r35_password_algorithms_must_be_those_that_were_offered() {
    let right = Signer::sha256("alice", "north");
    let with = |chosen: Option<&[u8]>, offered: Option<&[u8]>| Signer {
        chosen: chosen.map(<[u8]>::to_vec),
        offered: offered.map(<[u8]>::to_vec),
        ..right.clone()
    };
    let reversed: &[u8] = &[0, 1, 0, 0, 0, 2, 0, 0];
    let with_parameters: &[u8] = &[0, 2, 0, 4, 1, 2, 3, 4];
    let cases = [
        ("only the chosen one", with(Some(SHA256), None)),
        ("only the list", with(None, Some(OFFERED))),
        ("a shorter list", with(Some(SHA256), Some(SHA256))),
        ("only MD5 in the list", with(Some(MD5), Some(MD5))),
        ("another order", with(Some(SHA256), Some(reversed))),
        ("an empty list", with(Some(SHA256), Some(&[]))),
        ("a list cut short", with(Some(SHA256), Some(&OFFERED[..7]))),
        (
            "a longer list",
            with(Some(SHA256), Some(&[OFFERED, &[0, 3, 0, 0]].concat())),
        ),
        ("not in the list", with(Some(&[0, 3, 0, 0]), Some(OFFERED))),
        ("nothing chosen", with(Some(&[]), Some(OFFERED))),
        (
            "chosen with parameters",
            with(Some(with_parameters), Some(OFFERED)),
        ),
        ("chosen, cut short", with(Some(&SHA256[..2]), Some(OFFERED))),
    ];
    let (from, mut world) = (ALICE.address(), World::new());
    for (name, signer) in cases {
        for key_by in [Algorithm::Md5, Algorithm::Sha256] {
            let signer = Signer {
                key_by,
                ..signer.clone()
            };
            let answer = signer.ask(&mut world, from, METHOD_ALLOCATE);
            assert_eq!((answer.code(), answer.shape().len()), (400, 1), "{name}");
        }
    }
    assert_eq!(right.ask(&mut world, from, METHOD_ALLOCATE).code(), 0);
}

#[test]
fn r35_the_key_is_made_as_the_client_said() {
    let right = Signer::sha256("alice", "north");
    let said_md5 = Signer {
        chosen: Some(MD5.to_vec()),
        ..right.clone()
    };
    let said_nothing = Signer {
        chosen: None,
        offered: None,
        ..right.clone()
    };
    let (from, mut world) = (ALICE.address(), World::new());
    for signer in [said_md5, said_nothing] {
        for codes in [WEAK, STRONG, BOTH] {
            let wrong = signer.clone().with_codes(codes);
            assert_eq!(wrong.ask(&mut world, from, METHOD_ALLOCATE).code(), 401);
            let right = Signer {
                key_by: Algorithm::Md5,
                ..wrong
            };
            assert_eq!(right.ask(&mut world, from, METHOD_REFRESH).code(), 437);
        }
    }
}

#[test]
fn r34_whoever_strips_the_cookies_bits_or_the_list_spoils_the_nonce() {
    let (from, mut world) = (ALICE.address(), World::new());
    let nonce = world.nonce(from);
    assert_eq!(&nonce[..13], "obMatJos2AAAD");
    for features in ["AAAA", "AAAB", "AAAC"] {
        let stripped = format!("obMatJos2{features}{}", &nonce[13..]);
        let request = world.signed_with(&stripped, ("alice", "north"), METHOD_REFRESH, &[]);
        assert_eq!(world.send(from, &request).answer().code(), 438);
    }
}

#[test]
fn r37_a_user_hash_is_as_good_as_a_name() {
    let mut world = World::new();
    let (name, password) = world.issue("carol");
    for (host, name, password) in [(ALICE, "alice", "north"), (BOB, &name, &password)] {
        for signer in [
            Signer::sha256(name, password),
            Signer {
                is_hashed: true,
                ..Signer::md5(name, password)
            },
        ] {
            let answer = signer.ask(&mut world, host.address(), METHOD_ALLOCATE);
            assert_eq!(answer.code(), 0, "{name}");
            let request =
                signer.request(&mut world, host.address(), METHOD_REFRESH, &[&lifetime(0)]);
            let answer = world.send(host.address(), &request).answer();
            assert_eq!((answer.code(), answer.lifetime_seconds()), (0, 0));
        }
    }
}

#[test]
fn r37_a_user_hash_that_stands_for_nobody_is_like_any_wrong_name() {
    let (from, mut world) = (ALICE.address(), World::new());
    let wrong = Signer::sha256("alice", "south").ask(&mut world, from, METHOD_ALLOCATE);
    let unknown = Signer::sha256("mallory", "north").ask(&mut world, from, METHOD_ALLOCATE);
    assert_eq!((wrong.code(), unknown.code()), (401, 401));
    assert_eq!(wrong.shape(), unknown.shape());
    let hash = Sha256::digest(format!("alice:{REALM}"));
    let long = [&hash[..], &[0; 700]].concat();
    for malformed in [&hash[..0], &hash[..31], &long[..33], &long] {
        let nonce = world.nonce(from);
        let (hash, realm, nonce) = (
            raw(ATTR_USER_HASH, malformed),
            text(ATTR_REALM, REALM),
            text(ATTR_NONCE, &nonce),
        );
        let typ = MessageType::new(METHOD_ALLOCATE, CLASS_REQUEST);
        let request = world.unsigned(typ, &[&hash, &realm, &nonce, &key("alice", "north")]);
        assert_eq!(world.send(from, &request).answer().code(), 401);
    }
}

#[test]
fn r37_a_name_and_a_hash_contradict_each_other() {
    let (from, mut world) = (ALICE.address(), World::new());
    let name = text(ATTR_USERNAME, "alice");
    let signer = Signer::sha256("alice", "north");
    let request = signer.request(&mut world, from, METHOD_ALLOCATE, &[&udp(), &name]);
    let answer = world.send(from, &request).answer();
    assert_eq!((answer.code(), answer.shape().len()), (400, 1));
}

#[test]
fn r0b_a_call_outlives_its_credential_whatever_it_is_signed_with() {
    let mut world = World::new();
    let (name, password) = world.issue("carol");
    let (md5, sha256) = (
        Signer::md5(&name, &password),
        Signer::sha256(&name, &password),
    );
    let from = ALICE.address();
    assert_eq!(sha256.ask(&mut world, from, METHOD_ALLOCATE).code(), 0);
    for _ in 0..8 {
        world.advance(seconds(500));
        world.fresh_nonce(from);
        for signer in [&md5, &sha256] {
            assert_eq!(signer.ask(&mut world, from, METHOD_REFRESH).code(), 0);
        }
    }
    for signer in [&md5, &sha256] {
        assert_eq!(
            signer
                .ask(&mut world, BOB.address(), METHOD_ALLOCATE)
                .code(),
            401
        );
    }
}

#[test]
fn r29_a_flipped_bit_anywhere_authenticates_nobody() {
    let from = ALICE.address();
    for signer in [
        Signer::md5("alice", "north"),
        Signer::sha256("alice", "north"),
        Signer::md5("alice", "north").with_codes(STRONG),
    ] {
        let mut world = World::new();
        let request = signer.request(&mut world, from, METHOD_ALLOCATE, &[&udp()]);
        for bit in 0..request.len() * 8 {
            let mut flipped = request.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Did::Answered(answer) = world.send(from, &flipped) {
                let is_binding = answer.0.typ.method == METHOD_BINDING;
                let code = answer.code();
                assert!(matches!(code, 400 | 401) || is_binding, "bit {bit}: {code}");
            }
        }
        assert_eq!(world.snapshot().allocations, 0);
    }
}

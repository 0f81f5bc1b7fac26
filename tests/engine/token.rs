//! Access tokens ([RFC 7635](https://www.rfc-editor.org/rfc/rfc7635)).

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use setu::credentials::Tokens;
use setu::logging::Redacted;
use setu::relay::wire::attributes::{ATTR_ACCESS_TOKEN, ATTR_THIRD_PARTY_AUTHORIZATION};
use stun::attributes::*;
use stun::integrity::MessageIntegrity;
use stun::message::*;

use crate::world::*;

const SERVER: &str = "turn.example.org";
const MAC_KEY: [u8; 20] = [9; 20];

fn world() -> World {
    let key = ("kid".to_owned(), Redacted::new(vec![7; 32]));
    World::with(|settings| settings.tokens = Tokens::new(SERVER, vec![key]))
}

fn token(world: &World, lifetime_seconds: u32) -> Vec<u8> {
    token_with(world, &MAC_KEY, lifetime_seconds)
}

fn token_with(world: &World, mac_key: &[u8; 20], lifetime_seconds: u32) -> Vec<u8> {
    let issued = world.now.unix.seconds().0 << 16;
    let mut sealed = [&[0, 20][..], mac_key, &issued.to_be_bytes()].concat();
    sealed.extend(lifetime_seconds.to_be_bytes());
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).unwrap());
    let nonce = Nonce::assume_unique_for_key([3; 12]);
    key.seal_in_place_append_tag(nonce, Aad::from(SERVER.as_bytes()), &mut sealed)
        .unwrap();
    [&[0, 12][..], &[3; 12], &sealed].concat()
}

fn ask(
    world: &mut World,
    token: Option<&[u8]>,
    mac_key: &[u8],
    method: Method,
    more: &[&dyn Setter],
) -> Answer {
    let from = ALICE.address();
    let nonce = text(ATTR_NONCE, &world.nonce(from));
    let (user, realm) = (text(ATTR_USERNAME, "kid"), text(ATTR_REALM, REALM));
    let token = token.map(|token| raw(ATTR_ACCESS_TOKEN, token));
    let integrity = MessageIntegrity(mac_key.to_vec());
    let mut all = [more, &[&user, &realm, &nonce]].concat();
    all.extend(token.iter().map(|token| token as &dyn Setter));
    all.push(&integrity);
    let request = world.unsigned(MessageType::new(method, CLASS_REQUEST), &all);
    world.send(from, &request).answer()
}

fn is_signed(answer: &Answer) -> bool {
    let integrity = MessageIntegrity(MAC_KEY.to_vec());
    integrity.check(&mut answer.0.clone()).is_ok()
}

#[test]
fn a_challenge_names_the_server_that_tokens_are_for() {
    let mut world = world();
    let bare = world.unsigned(MessageType::new(METHOD_ALLOCATE, CLASS_REQUEST), &[]);
    let answer = world.send(ALICE.address(), &bare).answer();
    assert_eq!(answer.text(ATTR_THIRD_PARTY_AUTHORIZATION), SERVER);
}

#[test]
fn a_token_opens_an_allocation_that_ends_with_it() {
    let mut world = world();
    let token = token(&world, 300);
    let more = &[&udp() as &dyn Setter, &lifetime(3600)];
    let answer = ask(&mut world, Some(&token), &MAC_KEY, METHOD_ALLOCATE, more);
    assert!(answer.code() == 0 && is_signed(&answer));
    assert!((299..=300).contains(&answer.lifetime_seconds()));
    world.advance(seconds(100));
    for token in [Some(token.as_slice()), None] {
        let answer = ask(&mut world, token, &MAC_KEY, METHOD_REFRESH, &[]);
        assert!(answer.code() == 0 && is_signed(&answer));
        assert!((199..=200).contains(&answer.lifetime_seconds()));
        let at = &[&at(PEER) as &dyn Setter];
        let answer = ask(&mut world, token, &MAC_KEY, METHOD_CREATE_PERMISSION, at);
        assert!(answer.code() == 0 && is_signed(&answer));
    }
    world.advance(seconds(200));
    assert_eq!(world.snapshot().allocations, 0);
    // The clocks may disagree a little.
    let answer = ask(&mut world, Some(&token), &MAC_KEY, METHOD_REFRESH, &[]);
    assert_eq!(answer.code(), 437);
    world.advance(seconds(5));
    for token in [Some(token.as_slice()), None] {
        let answer = ask(&mut world, token, &MAC_KEY, METHOD_REFRESH, &[]);
        assert_eq!(answer.code(), 401);
    }
}

#[test]
fn a_newer_token_takes_the_place_of_the_older_one() {
    let mut world = world();
    let older = token(&world, 300);
    let udp = &[&udp() as &dyn Setter];
    let answer = ask(&mut world, Some(&older), &MAC_KEY, METHOD_ALLOCATE, udp);
    assert_eq!(answer.code(), 0);
    world.advance(seconds(200));
    let mac_key = [5; 20];
    let newer = token_with(&world, &mac_key, 300);
    // Whoever can't sign with its key changes nothing.
    let answer = ask(&mut world, Some(&newer), &MAC_KEY, METHOD_REFRESH, &[]);
    assert_eq!(answer.code(), 401);
    let answer = ask(&mut world, Some(&newer), &mac_key, METHOD_REFRESH, &[]);
    assert_eq!(answer.code(), 0);
    assert!((299..=300).contains(&answer.lifetime_seconds()));
    // The older one has ended, and what it let in has not.
    world.advance(seconds(150));
    let at = &[&at(PEER) as &dyn Setter];
    for (mac_key, code) in [(&mac_key, 0), (&MAC_KEY, 401)] {
        let answer = ask(&mut world, None, mac_key, METHOD_CREATE_PERMISSION, at);
        assert_eq!(answer.code(), code);
    }
    world.advance(seconds(150));
    assert_eq!(world.snapshot().allocations, 0);
}

#[test]
fn whoever_has_no_good_token_is_refused() {
    let mut world = world();
    let right = token(&world, 300);
    let mut flipped = right.clone();
    flipped[20] ^= 1;
    let udp = &[&udp() as &dyn Setter];
    for (token, mac_key) in [
        (Some(right.as_slice()), &[8; 20][..]),
        (Some(right.as_slice()), &[]),
        (Some(flipped.as_slice()), &MAC_KEY),
        (Some(&[]), &MAC_KEY),
        (None, &MAC_KEY),
    ] {
        let answer = ask(&mut world, token, mac_key, METHOD_ALLOCATE, udp);
        assert_eq!(answer.code(), 401);
    }
    let alices = [raw(ATTR_ACCESS_TOKEN, &right)];
    let request = world.signed(ALICE, METHOD_ALLOCATE, &[&alices[0]]);
    assert_eq!(world.send(ALICE.address(), &request).answer().code(), 401);
    assert_eq!(world.snapshot().allocations, 0);
    assert_eq!(world.ask(ALICE, METHOD_ALLOCATE, udp).code(), 0);
}

#[test]
fn where_tokens_mean_nothing_they_are_unknown() {
    let mut world = World::new();
    let token = raw(ATTR_ACCESS_TOKEN, &token(&world, 300));
    let answer = world.ask(ALICE, METHOD_ALLOCATE, &[&udp(), &token]);
    assert_eq!(answer.code(), 420);
    let named = answer.0.get(ATTR_UNKNOWN_ATTRIBUTES).unwrap();
    assert_eq!(named, ATTR_ACCESS_TOKEN.0.to_be_bytes());
}

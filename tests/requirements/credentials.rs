//! 23-39: long-term credentials ([RFC 8489 §9.2](https://www.rfc-editor.org/rfc/rfc8489#section-9.2)).

use setu::credentials::{LongTermKey, PasswordAlgorithm};

use crate::bytes::*;
use crate::desk::*;

fn alice() -> Vec<u8> {
    key("alice", REALM, "north")
}

/// REALM and NONCE, and nothing of a user or a signature.
#[track_caller]
fn is_challenge(answer: &Parsed, code: u16) {
    assert_eq!(
        (answer.code(), answer.text(attr::REALM).as_str()),
        (code, REALM)
    );
    assert!(answer.has(attr::NONCE));
    has_no_proof(answer);
}

#[track_caller]
fn has_no_proof(answer: &Parsed) {
    for typ in [
        attr::USERNAME,
        attr::USERHASH,
        attr::MESSAGE_INTEGRITY,
        attr::MESSAGE_INTEGRITY_SHA256,
    ] {
        assert!(!answer.has(typ), "{typ:#x} in {answer:?}");
    }
}

/// How well a request is signed: the pieces that are present, and the key.
fn pieces(desk: &mut Desk, without: u16, request: Builder) -> Builder {
    let nonce = desk.nonce(home());
    let all = [
        (attr::USERNAME, "alice"),
        (attr::REALM, REALM),
        (attr::NONCE, nonce.as_str()),
    ];
    let kept = all.into_iter().filter(|(typ, _)| *typ != without);
    kept.fold(request, |request, (typ, value)| request.text(typ, value))
}

#[test]
fn r23_without_integrity_there_is_a_challenge() {
    for mut desk in [Desk::new(), Desk::allocated()] {
        for method in TURN_REQUESTS {
            is_challenge(&desk.bare(home(), Builder::request(method)), 401);
            is_challenge(&desk.bare(home(), good(method)), 401);
            let named = good(method).text(attr::USERNAME, "alice");
            is_challenge(&desk.bare(home(), named), 401);
            let unsigned = pieces(&mut desk, 0, good(method));
            is_challenge(&desk.bare(home(), unsigned), 401);
        }
    }
}

#[test]
fn r24_authentication_comes_before_unknown_attributes() {
    let mut desk = Desk::allocated();
    for method in TURN_REQUESTS {
        let unknown = || good(method).attr(0x7001, b"x");
        is_challenge(&desk.bare(home(), unknown()), 401);
        let answer = desk.ask(home(), ALICE, unknown());
        assert!(answer.code() == 420 && answer.is_signed(&alice()));
    }
}

#[test]
fn r25_integrity_without_name_realm_or_nonce_is_a_bad_request() {
    for method in TURN_REQUESTS {
        for without in [attr::USERNAME, attr::REALM, attr::NONCE] {
            let mut desk = Desk::new();
            let request = pieces(&mut desk, without, good(method)).integrity(&alice());
            let answer = desk.bare(home(), request);
            assert_eq!(answer.code(), 400, "{method:#x} without {without:#x}");
            has_no_proof(&answer);
            assert!(!answer.has(attr::REALM) && !answer.has(attr::NONCE));
        }
    }
}

#[test]
fn r26_an_unknown_user_and_a_wrong_password_look_alike() {
    let mut desk = Desk::allocated();
    for method in TURN_REQUESTS {
        let mut shapes = Vec::new();
        for login in [
            ("alice", "south"),
            ("mallory", "north"),
            ("Alice", "north"),
            ("bob", ""),
        ] {
            let answer = desk.ask(home(), login, good(method));
            is_challenge(&answer, 401);
            shapes.push((
                answer.get(attr::ERROR_CODE).unwrap().to_vec(),
                answer.shape(),
            ));
        }
        shapes.dedup();
        assert_eq!(shapes.len(), 1);
    }
}

#[test]
fn r27_a_nonce_that_is_not_valid_is_replaced_by_one_that_is() {
    let mut desk = Desk::new();
    let good_nonce = desk.nonce(home());
    let of_another = desk.nonce(from(2));
    let flipped = |at: usize| {
        let mut nonce = good_nonce.clone().into_bytes();
        nonce[at] = if nonce[at] == b'B' { b'C' } else { b'B' };
        String::from_utf8(nonce).unwrap()
    };
    let mut nonces = vec![
        String::new(),
        "x".to_owned(),
        "x".repeat(763),
        of_another,
        good_nonce[1..].to_owned(),
        format!("{good_nonce}A"),
        good_nonce.to_ascii_uppercase(),
    ];
    // The last character's low bits may be slack.
    nonces.extend((0..good_nonce.len() - 1).map(flipped));
    let signed =
        |nonce: &str, key: &[u8]| good(ALLOCATE).login("alice", REALM, nonce).integrity(key);
    for nonce in nonces {
        let stale = desk.bare(home(), signed(&nonce, &alice()));
        is_challenge(&stale, 438);
        let wrong = desk.bare(home(), signed(&nonce, b"another key"));
        assert!(matches!(wrong.code(), 401 | 438), "{nonce}");
        has_no_proof(&wrong);
    }
    let fresh = desk
        .bare(home(), signed("stale", &alice()))
        .text(attr::NONCE);
    assert_eq!(desk.bare(home(), signed(&fresh, &alice())).code(), 0);
}

#[test]
fn r28_nonces_expire_within_the_hour_and_are_each_clients_own() {
    let mut desk = Desk::new();
    let (old, other) = (desk.nonce(home()), desk.nonce(from(2)));
    assert!(old != other && old.len() <= 763 && !old.contains("192.0.2"));
    let signed = |nonce: &str| {
        good(ALLOCATE)
            .login("alice", REALM, nonce)
            .integrity(&alice())
    };
    desk.wait(600);
    let code = |answer: Parsed| answer.code();
    let on = |desk: &mut Desk, nonce: &str, from| code(desk.bare(from, signed(nonce)));
    assert_eq!(on(&mut desk, &other, home()), 438);
    assert_eq!(on(&mut desk, &old, home()), 0);
    desk.wait(3000);
    assert_eq!(on(&mut desk, &old, home()), 438);
}

#[test]
fn r29_integrity_is_twenty_bytes_over_all_that_is_before_it() {
    let mut desk = Desk::new();
    let signed = desk.sign(home(), ALICE, good(ALLOCATE).lifetime(900));
    for bit in 0..signed.len() * 8 {
        let mut flipped = signed.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let got = desk.send(home(), &flipped);
        if !got.is_silence() {
            // A damaged method may be Binding, which needs no proof.
            let answer = got.answer();
            let harmless = matches!(answer.code(), 400 | 401 | 420) || answer.method == BINDING;
            assert!(harmless, "bit {bit}: {answer:?}");
        }
        assert_eq!(desk.allocations(), 0, "bit {bit}");
    }
    let code = signed[signed.len() - 20..].to_vec();
    for size in [0, 4, 12, 16, 19, 21, 24, 32] {
        let mut resized = code.clone();
        resized.resize(size, 0);
        let request = pieces(&mut desk, 0, good(ALLOCATE)).attr(attr::MESSAGE_INTEGRITY, &resized);
        let answer = desk.bare(home(), request);
        assert!(matches!(answer.code(), 400 | 401), "{size}");
    }
    assert_eq!(desk.send(home(), &signed).answer().code(), 0);
}

#[test]
fn r30_what_follows_integrity_is_neither_used_nor_unknown() {
    let mut desk = Desk::allocated();
    let request = pieces(&mut desk, 0, Builder::request(REFRESH)).integrity(&alice());
    let request = request.lifetime(0).attr(0x7001, b"x").attr(0x7002, b"");
    let answer = desk.bare(home(), request);
    assert_eq!((answer.code(), answer.lifetime()), (0, 600));
    let request = pieces(&mut desk, 0, Builder::request(CREATE_PERMISSION)).integrity(&alice());
    assert_eq!(desk.bare(home(), request.peer(PEER)).code(), 400);
    let request = pieces(&mut desk, 0, good(CREATE_PERMISSION)).integrity(&alice());
    assert_eq!(
        desk.bare(home(), request.attr(0x7001, b"x").fingerprint())
            .code(),
        0
    );
    let nameless = pieces(&mut desk, attr::USERNAME, good(REFRESH)).integrity(&alice());
    let answer = desk.bare(home(), nameless.text(attr::USERNAME, "alice"));
    assert_eq!(answer.code(), 400);
}

#[test]
fn r30_what_follows_integrity_in_a_send_counts_for_nothing_either() {
    let mut desk = Desk::permitted();
    let send = || Builder::indication(SEND).peer(PEER);
    let signed = [
        send().data(b"x").integrity(&alice()),
        send().data(b"x").integrity_sha256(&alice()),
    ];
    for signed in signed {
        let sent = signed.attr(0x7001, b"").data(b"y").fingerprint().done();
        let (_, payload) = desk.send(home(), &sent).outward();
        assert_eq!(payload, b"x");
    }
    let behind = send().integrity(&alice()).data(b"x").done();
    assert!(desk.send(home(), &behind).is_silence());
}

#[test]
fn r31_the_first_integrity_counts() {
    let mut desk = Desk::allocated();
    let right_first = pieces(&mut desk, 0, good(REFRESH))
        .integrity(&alice())
        .integrity(b"wrong");
    assert_eq!(desk.bare(home(), right_first).code(), 0);
    let wrong_first = pieces(&mut desk, 0, good(REFRESH))
        .integrity(b"wrong")
        .integrity(&alice());
    assert_eq!(desk.bare(home(), wrong_first).code(), 401);
}

#[test]
fn r32_answers_to_the_proven_are_signed_with_the_same_key() {
    let mut desk = Desk::allocated();
    let cases = [
        ("mismatch", good(ALLOCATE), 437),
        ("refresh", good(REFRESH), 0),
        ("permission", good(CREATE_PERMISSION), 0),
        ("channel", good(CHANNEL_BIND), 0),
        ("no peer", Builder::request(CREATE_PERMISSION), 400),
        (
            "forbidden",
            Builder::request(CREATE_PERMISSION).peer(FORBIDDEN),
            403,
        ),
        ("unknown attribute", good(REFRESH).attr(0x7001, b""), 420),
    ];
    for (name, request, code) in cases {
        let request = pieces(&mut desk, 0, request).integrity(&alice());
        let answer = desk.bare(home(), request);
        assert!(
            answer.code() == code && answer.is_signed(&alice()),
            "{name}: {answer:?}"
        );
    }
    let of_bob = desk.ask(home(), BOB, good(REFRESH));
    assert!(of_bob.code() == 441 && of_bob.is_signed(&key("bob", REALM, "south")));
    let elsewhere = desk.ask(from(7), ALICE, good(REFRESH));
    assert!(elsewhere.code() == 437 && elsewhere.is_signed(&alice()));
}

#[test]
fn r33_the_requests_realm_makes_no_key() {
    let mut desk = Desk::new();
    let nonce = desk.nonce(home());
    for realm in ["evil.example", "", "vrinda-sangha.local.evil"] {
        let of_other_realm = key("alice", realm, "north");
        let request = good(ALLOCATE)
            .login("alice", realm, &nonce)
            .integrity(&of_other_realm);
        let answer = desk.bare(home(), request);
        assert!(matches!(answer.code(), 400 | 401), "{realm}: {answer:?}");
    }
    assert_eq!(desk.allocations(), 0);
}

#[test]
fn r34_the_nonce_says_what_the_server_can_and_guards_it() {
    let mut desk = Desk::new();
    let answer = desk.bare(home(), good(ALLOCATE));
    let nonce = answer.text(attr::NONCE);
    // 24 bits, of which the lowest two: password algorithms and user name anonymity.
    assert_eq!(&nonce[..13], "obMatJos2AAAD");
    let algorithms = answer.get(attr::PASSWORD_ALGORITHMS).unwrap();
    let mut numbers: Vec<_> = algorithms.chunks(4).map(|entry| entry[1]).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2]);
    for features in ["AAAA", "AAAB", "AAAC", "gAAA", "wAAA", "____"] {
        let stripped = format!("obMatJos2{features}{}", &nonce[13..]);
        let request = good(ALLOCATE)
            .login("alice", REALM, &stripped)
            .integrity(&alice());
        let answer = desk.bare(home(), request);
        assert!(
            answer.code() == 438 && answer.has(attr::PASSWORD_ALGORITHMS),
            "{features}"
        );
    }
    let plain = good(ALLOCATE)
        .login("alice", REALM, &nonce[9..])
        .integrity(&alice());
    assert_eq!(desk.bare(home(), plain).code(), 438);
}

#[test]
fn r35_password_algorithms_come_together_or_not_at_all() {
    let offered = Desk::new().bare(home(), good(ALLOCATE));
    let list = offered.get(attr::PASSWORD_ALGORITHMS).unwrap().to_vec();
    let (md5, sha256): ([u8; 4], [u8; 4]) = ([0, 1, 0, 0], [0, 2, 0, 0]);
    let reversed = [&list[4..], &list[..4]].concat();
    let strong = key_sha256("alice", REALM, "north");
    // PASSWORD-ALGORITHM, PASSWORD-ALGORITHMS, the key, and what the answer is.
    type Case<'t> = (&'t str, Option<&'t [u8]>, Option<&'t [u8]>, &'t [u8], u16);
    let cases: &[Case<'_>] = &[
        ("neither", None, None, &alice(), 0),
        ("neither, and the other key", None, None, &strong, 401),
        ("MD5", Some(&md5), Some(&list), &alice(), 0),
        ("SHA-256", Some(&sha256), Some(&list), &strong, 0),
        (
            "SHA-256 with the key of MD5",
            Some(&sha256),
            Some(&list),
            &alice(),
            401,
        ),
        ("no list", Some(&sha256), None, &strong, 400),
        ("no choice", None, Some(&list), &alice(), 400),
        (
            "another order",
            Some(&sha256),
            Some(&reversed),
            &strong,
            400,
        ),
        (
            "a list that was cut down",
            Some(&md5),
            Some(&md5),
            &alice(),
            400,
        ),
        (
            "an unknown algorithm",
            Some(&[0, 3, 0, 0]),
            Some(&list),
            &strong,
            400,
        ),
        ("an empty list", Some(&md5), Some(&[]), &alice(), 400),
        ("an empty choice", Some(&[]), Some(&list), &alice(), 400),
    ];
    for (name, choice, list, key, code) in cases {
        let mut desk = Desk::new();
        let mut request = pieces(&mut desk, 0, good(ALLOCATE));
        for (typ, value) in [
            (attr::PASSWORD_ALGORITHM, choice),
            (attr::PASSWORD_ALGORITHMS, list),
        ] {
            request = value.map_or(request.clone(), |value| request.attr(typ, value));
        }
        let answer = desk.bare(home(), request.integrity(key));
        assert_eq!(answer.code(), *code, "{name}");
        assert!(*code != 0 || answer.is_signed(key), "{name}");
    }
}

#[test]
fn r36_sha256_integrity_is_32_bytes_and_answered_in_kind() {
    let mut desk = Desk::allocated();
    let request = pieces(&mut desk, 0, good(REFRESH)).integrity_sha256(&alice());
    let whole = request.clone().done();
    let answer = desk.bare(home(), request);
    assert_eq!(answer.code(), 0);
    assert!(answer.is_signed_sha256(&alice()) && !answer.has(attr::MESSAGE_INTEGRITY));
    let refused = pieces(&mut desk, 0, good(ALLOCATE)).integrity_sha256(&alice());
    let refused = desk.bare(home(), refused);
    assert!(refused.code() == 437 && refused.is_signed_sha256(&alice()));
    let code = &whole[whole.len() - 32..];
    for size in [0, 4, 12, 15, 16, 20, 24, 28, 31] {
        let request = pieces(&mut desk, 0, good(REFRESH).lifetime(0));
        let request = request.attr(attr::MESSAGE_INTEGRITY_SHA256, &code[..size]);
        let answer = desk.bare(home(), request);
        assert!(matches!(answer.code(), 400 | 401), "{size}: {answer:?}");
    }
    for wrong in [b"wrong".to_vec(), key_sha256("alice", REALM, "north")] {
        let request = pieces(&mut desk, 0, good(REFRESH)).integrity_sha256(&wrong);
        assert_eq!(desk.bare(home(), request).code(), 401);
    }
    assert_eq!(desk.allocations(), 1);
}

#[test]
fn r37_a_user_hash_stands_for_its_user_or_for_nobody() {
    let hashed = |desk: &mut Desk, hash: &[u8]| {
        let nonce = desk.nonce(home());
        let request = good(ALLOCATE).attr(attr::USERHASH, hash);
        request.text(attr::REALM, REALM).text(attr::NONCE, &nonce)
    };
    let mut desk = Desk::new();
    let unknown = [
        &userhash("mallory", REALM)[..],
        &[0; 32],
        &userhash("alice", "other"),
    ];
    for hash in unknown {
        let request = hashed(&mut desk, hash).integrity(&alice());
        is_challenge(&desk.bare(home(), request), 401);
    }
    for hash in [&userhash("alice", REALM)[..31], &[]] {
        let request = hashed(&mut desk, hash).integrity(&alice());
        assert!(matches!(desk.bare(home(), request).code(), 400 | 401));
    }
    let request = hashed(&mut desk, &userhash("alice", REALM)).integrity(b"wrong");
    is_challenge(&desk.bare(home(), request), 401);
    let request = hashed(&mut desk, &userhash("alice", REALM)).integrity(&alice());
    let answer = desk.bare(home(), request);
    assert!(answer.code() == 0 && answer.is_signed(&alice()));
    assert!(!answer.has(attr::USERNAME) && !answer.has(attr::USERHASH));
}

#[test]
fn r38_hostile_user_names_are_refused_like_any_other() {
    let long = "x".repeat(508);
    let longer = "x".repeat(513);
    let names: &[&[u8]] = &[
        b"",
        b"\0",
        b"alice\0",
        b"alice\r\nAdmin: yes",
        b"'; DROP TABLE users; --",
        b"\"alice\"",
        b"%s%n%x{}{0}$HOME",
        b"ALICE",
        b" alice",
        b"alice ",
        b"\xFF\xFEalice",
        b"\xC0\x80",
        "ａｌｉｃｅ".as_bytes(),
        long.as_bytes(),
        longer.as_bytes(),
        &[b'y'; 763],
    ];
    let mut desk = Desk::new();
    let nonce = desk.nonce(home());
    for name in names {
        let request = good(ALLOCATE)
            .attr(attr::USERNAME, name)
            .text(attr::REALM, REALM)
            .text(attr::NONCE, &nonce);
        for key in [alice(), key("", REALM, "")] {
            let answer = desk.bare(home(), request.clone().integrity(&key));
            assert!(matches!(answer.code(), 400 | 401), "{name:?}: {answer:?}");
        }
    }
    assert_eq!(desk.allocations(), 0);
}

#[test]
fn r39_what_is_kept_or_printed_holds_no_password() {
    let mut desk = Desk::allocated();
    let derived = LongTermKey::derive(PasswordAlgorithm::Md5, "alice", REALM, "north");
    assert_eq!(derived.as_bytes()[..], alice()[..]);
    let printed = format!(
        "{:?} {:?} {derived:?}",
        desk.world.credentials, desk.world.engine
    );
    assert!(
        !printed.contains("north") && !printed.contains("current"),
        "{printed}"
    );
    let hex: String = alice().iter().map(|byte| format!("{byte:02x}")).collect();
    let decimal = format!("{:?}", &alice()[..4]);
    assert!(!printed.contains(&hex) && !printed.contains(decimal.trim_matches(['[', ']'])));
    assert_eq!(desk.refresh(0).code(), 0);
}

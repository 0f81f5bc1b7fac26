//! 40-44: time-limited credentials (draft-uberti-behave-turn-rest-00): `expiry[:name]`, and its HMAC-SHA1 under the
//! secret.

use base64::{Engine as _, prelude::BASE64_STANDARD};

use crate::bytes::*;
use crate::desk::*;

/// What whoever knows the secret makes of a user name.
fn password(secret: &str, user: &str) -> String {
    BASE64_STANDARD.encode(hmac_sha1(secret.as_bytes(), user.as_bytes()))
}

fn code(desk: &mut Desk, from_host: u8, user: &str, password: &str) -> u16 {
    desk.ask(from(from_host), (user, password), good(ALLOCATE))
        .code()
}

fn expiry(desk: &Desk, in_secs: u64) -> u64 {
    desk.world.now.unix.seconds().0 + in_secs
}

#[test]
fn r40_expiry_and_name_signed_with_the_secret_are_a_login() {
    let mut desk = Desk::new();
    desk.world.relays_max = 20;
    let soon = expiry(&desk, 60);
    let names = [
        format!("{soon}"),
        format!("{soon}:carol"),
        format!("{soon}:a:b:c"),
        format!("{soon}:Кришна"),
        format!("{}:carol", u32::MAX),
        format!("0{soon}:leading zero"),
    ];
    for (host, name) in (10..).zip(&names) {
        assert_eq!(
            code(&mut desk, host, name, &password("current", name)),
            0,
            "{name}"
        );
    }
    let by_old_secret = format!("{soon}:dave");
    let old = password("previous", &by_old_secret);
    assert_eq!(code(&mut desk, 30, &by_old_secret, &old), 0);
}

#[test]
fn r41_expired_or_tampered_credentials_are_a_401_like_any_other() {
    let mut desk = Desk::new();
    let (now, soon) = (expiry(&desk, 0), expiry(&desk, 60));
    let name = format!("{soon}:carol");
    let right = password("current", &name);
    let own = |name: &str| (name.to_owned(), password("current", name));
    let cases = [
        own("0:carol"),
        own("1:carol"),
        own("0"),
        own(&format!("{now}:carol")),
        own(&format!("{}:carol", now - 1)),
        (format!("{}:carol", soon + 1), right.clone()),
        (format!("{soon}:dave"), right.clone()),
        (format!("{soon}"), right.clone()),
        (name.clone(), password("another secret", &name)),
        (name.clone(), String::new()),
        (name.clone(), "current".to_owned()),
        (name.clone(), right.to_ascii_lowercase()),
        (name.clone(), format!("{right}\n")),
    ];
    let usual = desk.ask(home(), ("mallory", "x"), good(ALLOCATE)).shape();
    for (user, password) in &cases {
        let answer = desk.ask(home(), (user, password), good(ALLOCATE));
        assert_eq!(
            (answer.code(), answer.shape()),
            (401, usual.clone()),
            "{user} {password}"
        );
    }
    assert_eq!(code(&mut desk, 1, &name, &right), 0);
}

#[test]
fn r42_an_expiry_is_digits_and_nothing_else() {
    let mut desk = Desk::new();
    let soon = expiry(&desk, 60);
    let expiries = [
        String::new(),
        "carol".to_owned(),
        format!("+{soon}"),
        format!("-{soon}"),
        format!(" {soon}"),
        format!("{soon} "),
        format!("0x{soon:x}"),
        format!("{soon}.0"),
        "2e10".to_owned(),
        "18446744073709551616".to_owned(),
        "99999999999999999999999999".to_owned(),
        "٢٠٠٠٠٠٠٠٠٠".to_owned(),
        format!("{soon},"),
    ];
    for expiry in expiries {
        for user in [format!("{expiry}:carol"), expiry.clone()] {
            let code = code(&mut desk, 1, &user, &password("current", &user));
            assert!(matches!(code, 400 | 401), "{user}: {code}");
        }
    }
    let reversed = format!("carol:{soon}");
    assert_eq!(
        code(&mut desk, 1, &reversed, &password("current", &reversed)),
        401
    );
    assert_eq!(desk.allocations(), 0);
}

#[test]
fn r43_an_allocation_outlives_its_credential_and_a_new_one_needs_another() {
    let mut desk = Desk::new();
    let user = format!("{}:carol", expiry(&desk, 100));
    let password = password("current", &user);
    let login = (user.as_str(), password.as_str());
    assert_eq!(desk.ask(home(), login, good(ALLOCATE)).code(), 0);
    assert_eq!(desk.ask(home(), login, good(CREATE_PERMISSION)).code(), 0);
    desk.wait(101);
    assert_eq!(desk.ask(from(2), login, good(ALLOCATE)).code(), 401);
    assert_eq!(desk.send_to(PEER, b"still").outward().1, b"still");
    assert_eq!(desk.peer_sends(PEER, b"here").inward().len() % 4, 0);
    assert_eq!(desk.ask(home(), login, good(REFRESH)).code(), 0);
}

#[test]
fn r0b_an_expired_credential_binds_allocate_and_with_strictness_all() {
    for (strict, code) in [(false, 0), (true, 401)] {
        let mut desk = Desk::with(|settings| settings.strict_expiry = strict);
        let user = format!("{}:carol", expiry(&desk, 100));
        let password = password("current", &user);
        let login = (user.as_str(), password.as_str());
        assert_eq!(desk.ask(home(), login, good(ALLOCATE)).code(), 0);
        desk.wait(101);
        for method in [CREATE_PERMISSION, CHANNEL_BIND, REFRESH] {
            assert_eq!(
                desk.ask(home(), login, good(method)).code(),
                code,
                "{method:#x}"
            );
        }
        assert_eq!(desk.ask(from(2), login, good(ALLOCATE)).code(), 401);
        // Somebody else's that expired is no better on this five-tuple.
        let other = format!("{}:dave", expiry(&desk, 0) - 1);
        let other_password = self::password("current", &other);
        assert_eq!(
            desk.ask(home(), (&other, &other_password), good(REFRESH))
                .code(),
            401
        );
    }
}

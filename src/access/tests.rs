use serde_json::json;

use super::*;

const NOW: UnixSeconds = UnixSeconds(1_700_000_000);
const SECRET: &str = "north-star-north-star-north-star";

#[test]
fn a_token_that_others_signed_is_read() {
    // The example that jwt.io has shown for years.
    let token = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.\
        eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6IkpvaG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ.\
        SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c";
    let access = Access::Token(Redacted::new("your-256-bit-secret".to_owned()));
    let identity = access.admit(NOW, Some(token)).unwrap().unwrap();
    assert_eq!(identity.participant.as_str(), "1234567890");
    assert_eq!(identity.name.as_deref(), Some("John Doe"));
    assert_eq!((identity.session, identity.host), (None, false));
}

#[test]
fn in_open_mode_a_token_says_nothing() {
    for token in [None, Some(""), Some("junk"), Some(&*good())] {
        assert_eq!(Access::Open.admit(NOW, token), Ok(None), "{token:?}");
    }
}

#[test]
fn without_a_token_nobody_is_admitted() {
    for token in [None, Some("")] {
        assert_eq!(admit(token), Err(AccessError::Required), "{token:?}");
    }
}

#[test]
fn claims_become_an_identity() {
    let all = json!({ "sub": "alice", "session": "circle", "name": "Alice", "role": "host", "aud": "app" });
    let identity = admit(Some(&sign(&all))).unwrap();
    assert_eq!(identity.participant.as_str(), "alice");
    assert_eq!(identity.session.unwrap().as_str(), "circle");
    assert_eq!(identity.name.as_deref(), Some("Alice"));
    assert!(identity.host);
    let roles = [
        json!("guest"),
        json!("Host"),
        json!(["host"]),
        json!(1),
        json!(null),
    ];
    for role in roles {
        let token = sign(&json!({ "sub": "alice", "role": role }));
        assert!(!admit(Some(&token)).unwrap().host, "{role}");
    }
    let blank = sign(&json!({ "sub": "alice", "session": null, "name": " " }));
    let identity = admit(Some(&blank)).unwrap();
    assert_eq!((identity.session, identity.name), (None, None));
}

#[test]
fn times_have_half_a_minute_of_leeway() {
    let now = NOW.0;
    let expired = Err(AccessError::Expired);
    let cases = [
        ("in an hour", json!({ "exp": now + 3600 }), Ok(())),
        ("just now", json!({ "exp": now }), Ok(())),
        ("29 seconds ago", json!({ "exp": now - 29 }), Ok(())),
        ("30 seconds ago", json!({ "exp": now - 30 }), expired),
        ("before 1970", json!({ "exp": -1 }), expired),
        (
            "with a fraction",
            json!({ "exp": now as f64 - 29.5 }),
            Ok(()),
        ),
        ("at the end of time", json!({ "exp": 1e300 }), Ok(())),
        ("no end", json!({ "exp": null }), Ok(())),
        ("no number", json!({ "exp": "soon" }), Err(UNREADABLE)),
        ("good since now", json!({ "nbf": now }), Ok(())),
        ("good in 30 seconds", json!({ "nbf": now + 30 }), Ok(())),
        (
            "good in 31 seconds",
            json!({ "nbf": now + 31 }),
            Err(AccessError::Invalid("it is not good yet")),
        ),
        ("good from junk on", json!({ "nbf": [] }), Err(UNREADABLE)),
    ];
    for (name, mut claims, expected) in cases {
        claims["sub"] = json!("alice");
        assert_eq!(admit(Some(&sign(&claims))).map(drop), expected, "{name}");
    }
}

#[test]
fn a_token_that_proves_nothing_is_invalid() {
    let good = good();
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let alice = json!({ "sub": "alice" });
    let with_header = |header: Value| sign_as(&header, &alice, SECRET);
    let cases = [
        ("no JWT", "junk".to_owned()),
        ("two parts", signed.to_owned()),
        ("four parts", format!("{good}.x")),
        ("no signature", format!("{signed}.")),
        (
            "a signature cut short",
            format!("{signed}.{}", &signature[..20]),
        ),
        (
            "a signature of nothing like it",
            format!("{signed}.{}", "A".repeat(43)),
        ),
        ("padding", format!("{good}=")),
        ("a blank", format!(" {good}")),
        (
            "another secret",
            sign_as(&json!({ "alg": "HS256" }), &alice, "south"),
        ),
        (
            "the empty secret",
            sign_as(&json!({ "alg": "HS256" }), &alice, ""),
        ),
        ("no algorithm", with_header(json!({}))),
        ("alg none", with_header(json!({ "alg": "none" }))),
        (
            "alg none without signature",
            unsigned(&json!({ "alg": "none" }), &alice),
        ),
        ("alg hs256", with_header(json!({ "alg": "hs256" }))),
        ("alg HS512", with_header(json!({ "alg": "HS512" }))),
        ("alg RS256", with_header(json!({ "alg": "RS256" }))),
        (
            "an unknown critical extension",
            with_header(json!({ "alg": "HS256", "crit": ["b64"], "b64": false })),
        ),
    ];
    check_invalid(&cases);
}

#[test]
fn claims_that_make_no_identity_are_invalid() {
    let cases = [
        ("nobody", sign(&json!({ "name": "Alice" }))),
        ("sub empty", sign(&json!({ "sub": "" }))),
        ("sub no text", sign(&json!({ "sub": 5 }))),
        ("sub too long", sign(&json!({ "sub": "x".repeat(257) }))),
        (
            "session empty",
            sign(&json!({ "sub": "alice", "session": "" })),
        ),
        (
            "session no text",
            sign(&json!({ "sub": "alice", "session": 5 })),
        ),
        (
            "name too long",
            sign(&json!({ "sub": "alice", "name": "x".repeat(257) })),
        ),
        ("claims no object", sign(&json!("alice"))),
        (
            "too long",
            sign(&json!({ "sub": "alice", "padding": "x".repeat(9000) })),
        ),
    ];
    check_invalid(&cases);
}

#[test]
fn a_claim_that_was_changed_is_found_out() {
    let token = good();
    let [header, _, signature]: [&str; 3] =
        token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let bob = BASE64_URL_SAFE_NO_PAD.encode(json!({ "sub": "bob" }).to_string());
    let forged = format!("{header}.{bob}.{signature}");
    assert_eq!(
        admit(Some(&forged)),
        Err(AccessError::Invalid(
            "it is not signed with this server's secret"
        ))
    );
}

#[test]
fn only_what_is_kept_for_hosts_is_refused_to_others() {
    let host_only: HostOnly = [Steering::Verse, Steering::End].into_iter().collect();
    let cases = [
        (Steering::Verse, false),
        (Steering::Queue, true),
        (Steering::Timer, true),
        (Steering::End, false),
    ];
    for (steering, admitted) in cases {
        assert_eq!(host_only.admits(steering, false), admitted, "{steering:?}");
        assert!(host_only.admits(steering, true), "{steering:?}");
        assert!(HostOnly::default().admits(steering, false), "{steering:?}");
    }
}

const UNREADABLE: AccessError =
    AccessError::Invalid("sub must be a text, session and name too, exp and nbf numbers");

fn check_invalid(cases: &[(&str, String)]) {
    for (name, token) in cases {
        let error = admit(Some(token)).expect_err(name);
        assert_eq!(error.code(), "TOKEN_INVALID", "{name}");
        let message = error.to_string();
        assert!(
            !message.contains(token) && !message.contains('\n'),
            "{name}: {message}"
        );
    }
}

fn admit(token: Option<&str>) -> Result<Identity, AccessError> {
    let access = Access::Token(Redacted::new(SECRET.to_owned()));
    access.admit(NOW, token).map(Option::unwrap)
}

fn good() -> String {
    sign(&json!({ "sub": "alice", "exp": NOW.0 + 3600 }))
}

fn sign(claims: &Value) -> String {
    sign_as(&json!({ "alg": "HS256", "typ": "JWT" }), claims, SECRET)
}

fn sign_as(header: &Value, claims: &Value, secret: &str) -> String {
    let unsigned = unsigned(header, claims);
    let signed = unsigned.trim_end_matches('.');
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    let signature = BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    format!("{signed}.{signature}")
}

fn unsigned(header: &Value, claims: &Value) -> String {
    let encode = |part: &Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
    format!("{}.{}.", encode(header), encode(claims))
}

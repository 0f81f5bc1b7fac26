//! Secrets that can be guessed, and what is open to whom.

use super::report::Finding;
use crate::access::Access;
use crate::config::{Config, Profile};

/// The secret of credentials, users, tokens: a line each, of those that there are.
pub(super) fn examine(config: &Config) -> Vec<Finding> {
    let is_production = config.profile == Profile::Production;
    let mut findings = vec![secret(config, is_production), users(config, is_production)];
    findings.push(access(config, is_production));
    findings.push(match config.random_admin_token {
        true => Finding::ok(
            "admin_token",
            "made at each start, and shown in the start summary",
        ),
        false => typed(
            "admin_token",
            "http.admin_token",
            config.http.admin_token.expose(),
            is_production,
        ),
    });
    findings
}

fn secret(config: &Config, is_production: bool) -> Finding {
    if config.random_secret {
        return match (is_production, config.store.redis_url.is_some()) {
            (false, _) => Finding::ok(
                "secret",
                "made at each start; that is enough for development",
            ),
            (true, true) => Finding::ok("secret", "made at the first start, and kept in Redis"),
            (true, false) => Finding::warning(
                "secret",
                "credentials.secret is not set: each start makes a new one, so that a restart voids all credentials handed out",
                "set credentials.secret, or SETU_CREDENTIALS__SECRET, to what openssl rand -hex 32 prints",
            ),
        };
    }
    let secrets = config.credentials.secrets.iter();
    let judged = secrets.map(|secret| {
        typed(
            "secret",
            "credentials.secret",
            secret.expose(),
            is_production,
        )
    });
    let worst = judged.max_by_key(|finding| finding.status);
    worst.unwrap_or_else(|| Finding::note("secret", "there is none"))
}

fn users(config: &Config, is_production: bool) -> Finding {
    let users = &config.credentials.users;
    let names: Vec<_> = users.iter().map(|(name, _)| name.as_str()).collect();
    if users.is_empty() {
        return Finding::ok("users", "no static users");
    }
    let reaches_internet = config
        .external_ips()
        .any(crate::config::is_globally_routable);
    let is_well_known = |(name, password): &&(String, crate::logging::Redacted<String>)| {
        let pair = (name.as_str(), password.expose().as_str());
        WELL_KNOWN_USERS.contains(&pair) || password.expose() == name
    };
    if let Some((name, _)) = users.iter().find(is_well_known)
        && (is_production || reaches_internet)
    {
        return Finding::failure(
            "users",
            format!("everybody knows the password of the user {name}: anybody may relay"),
            "take the development users out of turn.users, or set profile = \"production\"",
        );
    }
    let is_weak = |(_, password): &&(String, crate::logging::Redacted<String>)| {
        weakness(password.expose()).is_some()
    };
    match users.iter().find(is_weak) {
        Some((name, _)) if is_production => Finding::warning(
            "users",
            format!("the password of the user {name} is short or can be guessed"),
            "give each of turn.users what openssl rand -hex 16 prints",
        ),
        Some(_) | None => Finding::ok("users", format!("static users: {}", names.join(", "))),
    }
}

fn access(config: &Config, is_production: bool) -> Finding {
    match &config.http.access {
        Access::Open if is_production => Finding::note(
            "access",
            "whoever reaches the HTTP port may join, and is given credentials for the relay; access.mode = \"token\" asks for a signed one",
        ),
        Access::Open => Finding::ok("access", "everybody may join"),
        Access::Token(secret) => {
            let finding = typed(
                "access",
                "access.jwt_secret",
                secret.expose(),
                is_production,
            );
            match config.http.access.is_weak() {
                true if finding.fix.is_none() => Finding::warning(
                    "access",
                    "access.jwt_secret is shorter than 32 bytes: whoever has one token may find it by trying",
                    "set it to what openssl rand -hex 32 prints, here and in the application",
                ),
                true | false => finding,
            }
        }
    }
}

/// A secret that somebody typed.
fn typed(check: &'static str, key: &str, secret: &str, is_production: bool) -> Finding {
    let fix = format!("set {key} to what openssl rand -hex 32 prints");
    match weakness(secret) {
        None => Finding::ok(check, format!("{key} has {} bytes", secret.len())),
        Some(Weakness::Guessable) if is_production => {
            Finding::failure(check, format!("{key} can be guessed"), fix)
        }
        Some(Weakness::Guessable) => Finding::warning(check, format!("{key} can be guessed"), fix),
        Some(Weakness::Short) => Finding::warning(
            check,
            format!("{key} is short: it can be found by trying"),
            fix,
        ),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weakness {
    Short,
    Guessable,
}

fn weakness(secret: &str) -> Option<Weakness> {
    let lower = secret.to_lowercase();
    let letters: String = lower.chars().filter(char::is_ascii_alphabetic).collect();
    let distinct = lower
        .bytes()
        .collect::<std::collections::HashSet<_>>()
        .len();
    let is_common = COMMON.iter().any(|word| letters == *word || lower == *word);
    let is_digits = secret.len() < LONG_BYTES && secret.bytes().all(|byte| byte.is_ascii_digit());
    if secret.len() < 8 || distinct < 5 || is_common || is_digits || is_sequence(&lower) {
        return Some(Weakness::Guessable);
    }
    (secret.len() < LONG_BYTES).then_some(Weakness::Short)
}

/// `abcdefgh`, `12345678`.
fn is_sequence(text: &str) -> bool {
    let bytes = text.as_bytes();
    let steps = bytes
        .windows(2)
        .filter(|pair| pair[1] == pair[0].wrapping_add(1));
    steps.count() * 4 >= bytes.len() * 3
}

const LONG_BYTES: usize = 16;
const WELL_KNOWN_USERS: [(&str, &str); 4] = [
    ("turnuser", "turnpass"),
    ("admin", "adminpass"),
    ("user", "password"),
    ("test", "test"),
];
const COMMON: &[&str] = &[
    "admin",
    "adminpass",
    "adminpassword",
    "changeit",
    "changeme",
    "changemeplease",
    "coturn",
    "default",
    "development",
    "example",
    "examplesecret",
    "jwtsecret",
    "letmein",
    "mypassword",
    "mysecret",
    "mysecretkey",
    "north",
    "opensesame",
    "passw",
    "password",
    "qwerty",
    "qwertyuiop",
    "replaceme",
    "replacewithyoursecret",
    "secret",
    "secretkey",
    "secretsecret",
    "setu",
    "staticauthsecret",
    "supersecret",
    "supersecretkey",
    "test",
    "testsecret",
    "testtest",
    "todo",
    "turn",
    "turnpass",
    "turnsecret",
    "turnserver",
    "turnuser",
    "verysecret",
    "vrindasangha",
    "yoursecret",
    "yoursecrethere",
    "yoursecretkey",
    "yourturnsecret",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_weighed() {
        use Weakness::{Guessable, Short};
        let cases = [
            ("north", Some(Guessable)),
            ("changeme", Some(Guessable)),
            ("Change-Me!", Some(Guessable)),
            ("secret123", Some(Guessable)),
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", Some(Guessable)),
            ("1234567890123", Some(Guessable)),
            ("abcdefghijklmnopqrst", Some(Guessable)),
            ("k7#Qp2xz", Some(Short)),
            ("5f1c0d9be8a74c22ad3190cf5b6ee871", None),
            ("correct horse battery staple", None),
        ];
        for (secret, expected) in cases {
            assert_eq!(weakness(secret), expected, "{secret}");
        }
    }
}

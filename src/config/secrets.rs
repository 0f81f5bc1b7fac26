//! What proves a client: secrets typed, in files, or made at start.

use std::{fs, time::Duration};

use super::raw::{List, Raw};
use super::source::{ConfigError, Source};
use super::{Profile, values};
use crate::credentials;
use crate::entropy;
use crate::logging::Redacted;

/// Secrets, lifetimes and users; without a secret, one that only this process knows.
pub(super) fn credentials(
    source: &Source,
    raw: &Raw,
    profile: Profile,
) -> Result<credentials::Settings, ConfigError> {
    let keys = &raw.credentials;
    let key = "credentials.secret";
    let secret = secret(source, key, &keys.secret, &keys.secret_file)?;
    let key = "credentials.previous_secrets";
    let previous = secrets(
        source,
        key,
        &keys.previous_secrets,
        &keys.previous_secrets_file,
    )?;
    let mut all = vec![secret.unwrap_or_else(random_secret)];
    all.extend(previous);
    let realm = source.check("turn.realm", values::realm(&raw.turn.realm))?;
    let ttl = ttl(&keys.ttl);
    Ok(credentials::Settings {
        realm,
        secrets: all.into_iter().map(Redacted::new).collect(),
        ttl: source.check("credentials.ttl", ttl)?,
        users: users(source, raw, profile)?,
    })
}

/// The bearer token for administration, and whether it was made just now.
pub(super) fn admin_token(
    source: &Source,
    raw: &Raw,
) -> Result<(Redacted<String>, bool), ConfigError> {
    let keys = &raw.http;
    let key = "http.admin_token";
    let Some(token) = secret(source, key, &keys.admin_token, &keys.admin_token_file)? else {
        return Ok((Redacted::new(random_secret()), true));
    };
    // What a header can carry behind `Bearer` (RFC 6750 §2.1).
    let sendable = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
    if !token.chars().all(sendable) {
        let problem =
            "may hold letters, digits and -._~+/= only; openssl rand -hex 32 makes a good one";
        return Err(source.complain(key, &problem));
    }
    Ok((Redacted::new(token), false))
}

/// The one secret of `key`, typed or alone in the file that `key` with `_file` names.
pub(super) fn secret(
    source: &Source,
    key: &str,
    typed: &str,
    file: &str,
) -> Result<Option<String>, ConfigError> {
    let typed = List(vec![typed.to_owned()]);
    let typed = if typed.0 == [""] {
        List::default()
    } else {
        typed
    };
    let lines = secrets(source, key, &typed, file)?;
    if lines.len() > 1 {
        let problem = "must hold one line; remove the others";
        return Err(source.complain(&format!("{key}_file"), &problem));
    }
    Ok(lines.into_iter().next())
}

/// How long a credential may open allocations: a second to 30 days.
pub(super) fn ttl(text: &str) -> Result<Duration, String> {
    values::duration(text, Duration::from_secs(1)..=MONTH)
}

fn users(
    source: &Source,
    raw: &Raw,
    profile: Profile,
) -> Result<Vec<(String, Redacted<String>)>, ConfigError> {
    let typed = if raw.turn.users.is_auto() {
        List::default()
    } else {
        raw.turn.users.clone()
    };
    let mut entries = secrets(source, "turn.users", &typed, &raw.turn.users_file)?;
    let left_to_profile = raw.turn.users.is_auto() && raw.turn.users_file.is_empty();
    if left_to_profile && profile == Profile::Development {
        entries = DEVELOPMENT_USERS.map(str::to_owned).to_vec();
    }
    source.check("turn.users", values::users(&entries))
}

/// The secrets of `key`, typed or one a line in the file that `key` with `_file` names.
pub(super) fn secrets(
    source: &Source,
    key: &str,
    typed: &List,
    file: &str,
) -> Result<Vec<String>, ConfigError> {
    if file.is_empty() {
        return real(source, key, typed.0.clone());
    }
    if !typed.0.is_empty() {
        exclusive(source, key, file)?;
    }
    let file_key = format!("{key}_file");
    let text = fs::read_to_string(file).map_err(|error| format!("cannot be read: {error}"));
    let text = source.check(&file_key, text)?;
    let lines: Vec<_> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    if lines.is_empty() {
        return Err(source.complain(&file_key, &"is empty; put each secret on a line of its own"));
    }
    let lines = lines.into_iter().map(str::to_owned).collect();
    real(source, &file_key, lines)
}

/// Everybody knows the empty secret, and what is printed in place of one.
fn real(source: &Source, key: &str, secrets: Vec<String>) -> Result<Vec<String>, ConfigError> {
    if secrets.iter().any(|secret| values::is_no_secret(secret)) {
        let problem = "holds an empty or redacted secret; openssl rand -hex 32 makes a good one";
        return Err(source.complain(key, &problem));
    }
    Ok(secrets)
}

fn exclusive(source: &Source, key: &str, file: &str) -> Result<(), ConfigError> {
    if file.is_empty() {
        return Ok(());
    }
    let problem = format!("contradicts {key}_file = {file:?}; set one of the two");
    Err(source.complain(key, &problem))
}

/// 256 bits as text.
fn random_secret() -> String {
    entropy::bytes::<32>()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

const DEVELOPMENT_USERS: [&str; 2] = ["turnuser:turnpass", "admin:adminpass"];
const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);

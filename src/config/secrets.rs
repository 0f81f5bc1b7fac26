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
    let secret = secrets(
        source,
        "credentials.secret",
        &List::split(""),
        &keys.secret_file,
    );
    let secret = if keys.secret.is_empty() {
        secret?
    } else {
        exclusive(source, "credentials.secret", &keys.secret_file)?;
        real(source, "credentials.secret", vec![keys.secret.clone()])?
    };
    if secret.len() > 1 {
        let problem = "must hold one line; further secrets go to credentials.previous_secrets_file";
        return Err(source.complain("credentials.secret_file", &problem));
    }
    let key = "credentials.previous_secrets";
    let previous = secrets(
        source,
        key,
        &keys.previous_secrets,
        &keys.previous_secrets_file,
    )?;
    let mut all = if secret.is_empty() {
        vec![random_secret()]
    } else {
        secret
    };
    all.extend(previous);
    let realm = source.check("turn.realm", values::short_text(&raw.turn.realm))?;
    if realm.is_empty() {
        return Err(source.complain("turn.realm", &"must not be empty; write your domain"));
    }
    let ttl = ttl(&keys.ttl);
    Ok(credentials::Settings {
        realm,
        secrets: all.into_iter().map(Redacted::new).collect(),
        ttl: source.check("credentials.ttl", ttl)?,
        users: users(source, raw, profile)?,
    })
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
fn secrets(
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

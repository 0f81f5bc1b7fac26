//! What stands at the URL, for whoever asks before the server starts: nothing is written.

use std::time::Duration;

use redis::{ErrorKind, RedisError, Value, cmd};
use tokio::time::timeout;

use super::link::Link;
use super::url::RedisUrl;
use crate::clock::{Now, UnixMillis};

/// A Redis that answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examined {
    /// "7.0.15"; of a Cluster, that of one of its nodes.
    pub version: String,
    /// "master", "slave".
    pub role: String,
    /// `maxmemory-policy`.
    pub eviction: String,
    /// `maxmemory`, in bytes; 0 is no limit.
    pub memory_bytes_max: u64,
    /// What it uses of it.
    pub memory_bytes: u64,
    /// How long it takes to answer.
    pub latency: Duration,
    /// Its clock, less ours, in milliseconds.
    pub ahead_millis: i64,
}

/// Why there is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// It wants a password, and was given none.
    #[error("it wants a password")]
    PasswordMissing,
    /// It was given a wrong one.
    #[error("it refuses the password")]
    PasswordWrong,
    /// The user may not do what it takes.
    #[error("the user may not do what it takes: {0}")]
    Forbidden(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// Asks it for its state.
///
/// # Errors
/// When it can't be reached within that time, or does not let us in.
pub async fn examine(url: &RedisUrl, within: Duration) -> Result<Examined, Unavailable> {
    let link = Link::new(url).map_err(Unavailable::Other)?;
    let examined = timeout(within, ask(&link)).await;
    let examined = examined.map_err(|_| Unavailable::Other("no answer in time".to_owned()))?;
    examined.map_err(|error| unavailable(&error))
}

async fn ask(link: &Link) -> Result<Examined, RedisError> {
    let mut line = link.connect().await?.writer;
    let before = Now::read();
    let time: Value = cmd("TIME").query_async(&mut line).await?;
    let latency = Now::read().mono.duration_since(before.mono);
    let info: Value = cmd("INFO").query_async(&mut line).await?;
    let info = texts(&info).join("\r\n");
    let field = |name: &str| {
        let line = info
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().trim().to_owned()
    };
    Ok(Examined {
        version: field("redis_version"),
        role: field("role"),
        eviction: field("maxmemory_policy"),
        memory_bytes_max: field("maxmemory").parse().unwrap_or_default(),
        memory_bytes: field("used_memory").parse().unwrap_or_default(),
        latency,
        ahead_millis: ahead(&time, before.unix.plus(latency / 2)),
    })
}

/// TIME answers with seconds and microseconds.
fn ahead(time: &Value, now: UnixMillis) -> i64 {
    let numbers: Vec<i64> = texts(time)
        .iter()
        .filter_map(|text| text.parse().ok())
        .collect();
    let [seconds, micros] = numbers[..] else {
        return 0;
    };
    let theirs = seconds.saturating_mul(1000).saturating_add(micros / 1000);
    theirs.saturating_sub(i64::try_from(now.0).unwrap_or(i64::MAX))
}

/// Every text within; a Cluster answers for several nodes.
fn texts(value: &Value) -> Vec<String> {
    if let Value::Map(pairs) = value {
        return pairs.iter().flat_map(|(_, value)| texts(value)).collect();
    }
    if let Some(values) = value.as_sequence() {
        return values.iter().flat_map(texts).collect();
    }
    let text = redis::from_redis_value_ref::<String>(value);
    text.into_iter().collect()
}

fn unavailable(error: &RedisError) -> Unavailable {
    let text = error.to_string();
    match error.code() {
        Some("NOAUTH") => Unavailable::PasswordMissing,
        Some("WRONGPASS") => Unavailable::PasswordWrong,
        Some("NOPERM") => Unavailable::Forbidden(text),
        _ if text.contains("NOAUTH") => Unavailable::PasswordMissing,
        _ if error.kind() == ErrorKind::AuthenticationFailed => Unavailable::PasswordWrong,
        _ => Unavailable::Other(text),
    }
}

//! What an earlier life, or another node, has left in Redis.

use std::{collections::BTreeSet, time::Duration};

use redis::{RedisResult, Value, cmd, from_redis_value};

use super::{
    keys::{NODE, PARTICIPANTS, REVOKED, SNAPSHOT, TIMER},
    line::Line,
    trouble::is_wrong_type,
};

/// Everything found in Redis after the first connection: names without their prefixes, and values. What is no text was
/// left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// `setu:session:{session}`.
    pub snapshots: Vec<(String, String)>,
    /// `timer:{session}`, with the time it has left.
    pub timers: Vec<(String, String, Option<Duration>)>,
    /// `participants:{session}`.
    pub participants: Vec<(String, String)>,
    /// `setu:revoked:{…}`.
    pub revoked: Vec<(String, String)>,
    /// `setu:node:{node}`.
    pub nodes: Vec<(String, String)>,
}

impl Restored {
    /// Reads all of it. SCAN lets Redis serve others meanwhile.
    pub(super) async fn find(line: &mut Line) -> RedisResult<Self> {
        let names = line.scan(PATTERN).await?.into_iter();
        let names: BTreeSet<String> = names
            .filter_map(|name| String::from_utf8(name).ok())
            .collect();
        let of = |prefix: &str| -> Vec<String> {
            let names = names.iter().filter_map(|name| name.strip_prefix(prefix));
            names.map(str::to_owned).collect()
        };
        let timers = values(TIMER, of(TIMER), line).await?;
        Ok(Self {
            snapshots: values(SNAPSHOT, of(SNAPSHOT), line).await?,
            timers: with_time_left(timers, line).await?,
            participants: values(PARTICIPANTS, of(PARTICIPANTS), line).await?,
            revoked: values(REVOKED, of(REVOKED), line).await?,
            nodes: values(NODE, of(NODE), line).await?,
        })
    }
}

/// Admits `part…`, `time…`, `setu…` and little else: one pass over a database that holds the application's keys too.
const PATTERN: &str = "[pts][aie][rmt][teu]*";
const AT_ONCE: usize = 128;

async fn values(
    prefix: &str,
    names: Vec<String>,
    line: &mut Line,
) -> RedisResult<Vec<(String, String)>> {
    let mut found = Vec::new();
    for names in names.chunks(AT_ONCE) {
        let gets = names.iter().map(|name| {
            let mut get = cmd("GET");
            get.arg(format!("{prefix}{name}"));
            get
        });
        let values = line.each(gets.collect()).await?;
        for (name, value) in names.iter().zip(values) {
            match value {
                Ok(value) => found.extend(text(value).map(|text| (name.clone(), text))),
                Err(error) if is_wrong_type(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(found)
}

async fn with_time_left(
    timers: Vec<(String, String)>,
    line: &mut Line,
) -> RedisResult<Vec<(String, String, Option<Duration>)>> {
    let mut found = Vec::new();
    for timers in timers.chunks(AT_ONCE) {
        let asks = timers.iter().map(|(name, _)| {
            let mut ask = cmd("PTTL");
            ask.arg(format!("{TIMER}{name}"));
            ask
        });
        let answers = line.each(asks.collect()).await?;
        for ((name, text), answer) in timers.iter().zip(answers) {
            let left_ms: i64 = answer.and_then(|value| Ok(from_redis_value(value)?))?;
            // Negative: it lives for ever, or is gone by now.
            let left = u64::try_from(left_ms).ok().map(Duration::from_millis);
            found.push((name.clone(), text.clone(), left));
        }
    }
    Ok(found)
}

/// The text, unless it is none or has just gone.
fn text(value: Value) -> Option<String> {
    from_redis_value::<Option<String>>(value).ok().flatten()
}

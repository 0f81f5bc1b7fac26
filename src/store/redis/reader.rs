//! The log as it grows: every entry once, in order, across connections.

use std::{convert::Infallible, time::Duration};

use redis::{Cmd, ErrorKind, RedisResult, cmd};
use tracing::debug;

use super::{
    LogEvent,
    entry_id::EntryId,
    keys::{FIELD, LOG},
    line::Line,
    news::News,
};

/// Where the reading stands. Outlives its connections.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// The last entry that was delivered; none before the first reading.
    position: Option<EntryId>,
    has_caught_up: bool,
}

impl Reader {
    /// Whether the log's end was reached on the present connection.
    pub(super) fn has_caught_up(&self) -> bool {
        self.has_caught_up
    }

    /// The last entry that was delivered.
    pub(super) fn position(&self) -> EntryId {
        self.position.unwrap_or(EntryId::START)
    }

    /// Delivers what comes after `from`, or after the last entry delivered, until the connection ends.
    pub(super) async fn run(
        &mut self,
        from: EntryId,
        line: &mut Line,
        news: &News,
    ) -> RedisResult<Infallible> {
        self.has_caught_up = false;
        loop {
            let after = *self.position.get_or_insert(from);
            let entries = next(after, self.has_caught_up, line).await?;
            let is_end = entries.len() < READ_COUNT;
            for (id, text) in entries {
                if let Some(text) = text {
                    news.deliver(LogEvent::Entry { id, text }).await;
                }
                self.position = Some(id);
            }
            if is_end && !self.has_caught_up {
                self.has_caught_up = true;
                news.deliver(LogEvent::CaughtUp).await;
            }
        }
    }

    /// Finds out, on a new connection, whether the log still holds what was read from it and what it confirmed. If not,
    /// reading goes on after the last entry that is left.
    pub(super) async fn has_lost_entries(
        &mut self,
        confirmed: Option<EntryId>,
        line: &mut Line,
    ) -> RedisResult<bool> {
        let mut has_lost = false;
        for id in [self.position, confirmed].into_iter().flatten() {
            has_lost |= id > EntryId::START && newest_up_to(id, line).await? != Some(id);
        }
        if has_lost && let Some(position) = self.position {
            let left = newest_up_to(position, line).await?;
            self.position = Some(left.unwrap_or(EntryId::START));
        }
        Ok(has_lost)
    }
}

/// How many entries one answer brings at most: even long ones must come through a slow network within a read.
const READ_COUNT: usize = 64;
/// A connection that says nothing for so long is asked again: a dead one is noticed then.
const BLOCK: Duration = Duration::from_secs(1);

type Fields = Vec<Vec<u8>>;
type Streams = Option<Vec<(String, Vec<(String, Fields)>)>>;

/// The entries after `after`; those that nobody of ours wrote have no text.
async fn next(
    after: EntryId,
    may_wait: bool,
    line: &mut Line,
) -> RedisResult<Vec<(EntryId, Option<String>)>> {
    let mut read = cmd("XREAD");
    read.arg("COUNT").arg(READ_COUNT);
    if may_wait {
        read.arg("BLOCK").arg(BLOCK.as_millis() as u64);
    }
    read.arg("STREAMS").arg(LOG).arg(after.to_string());
    let streams: Streams = read.query_async(line).await?;
    let entries = streams
        .into_iter()
        .flatten()
        .flat_map(|(_, entries)| entries);
    entries
        .map(|(id, fields)| Ok((parse(&id)?, text_of(fields))))
        .collect()
}

fn text_of(fields: Fields) -> Option<String> {
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        if name == FIELD.as_bytes() {
            return String::from_utf8(value).ok();
        }
    }
    debug!("an entry of the log is not ours");
    None
}

async fn newest_up_to(id: EntryId, line: &mut Line) -> RedisResult<Option<EntryId>> {
    let mut range: Cmd = cmd("XREVRANGE");
    range
        .arg(LOG)
        .arg(id.to_string())
        .arg("-")
        .arg("COUNT")
        .arg(1);
    let found: Vec<(String, Fields)> = range.query_async(line).await?;
    found.first().map(|(id, _)| parse(id)).transpose()
}

fn parse(id: &str) -> RedisResult<EntryId> {
    id.parse()
        .map_err(|_| (ErrorKind::UnexpectedReturnType, "an entry without an id").into())
}

//! Entries on their way into the log: in order, each until Redis has confirmed it.

use std::{
    collections::VecDeque,
    convert::Infallible,
    mem,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use redis::{Pipeline, RedisResult};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};
use tracing::warn;

use crate::clock::Now;
use crate::metrics::histogram::Histogram;

use super::{
    entry_id::EntryId,
    keys::{FIELD, LOG},
    line::Line,
    recent::Recent,
    trouble::{Backoff, Complaint, ends_connection},
};

/// What waits to be appended.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    news: Notify,
    /// Notified whenever entries were confirmed.
    confirmed: Notify,
    is_refused: AtomicBool,
}

/// The two sums include what has been sent and is not yet confirmed.
#[derive(Debug, Default)]
struct Waiting {
    entries: VecDeque<String>,
    count: usize,
    bytes: usize,
}

impl Outbox {
    /// Adds an entry; false when there is no room for it.
    pub(super) fn push(&self, entry: String) -> bool {
        let mut waiting = self.waiting();
        if waiting.count >= ENTRIES_MAX || waiting.bytes + entry.len() > BYTES_MAX {
            return false;
        }
        waiting.count += 1;
        waiting.bytes += entry.len();
        waiting.entries.push_back(entry);
        let is_first = waiting.entries.len() == 1;
        drop(waiting);
        if is_first {
            self.news.notify_one();
        }
        true
    }

    /// How many entries wait, and their bytes.
    pub(super) fn load(&self) -> (usize, usize) {
        let waiting = self.waiting();
        (waiting.count, waiting.bytes)
    }

    /// Whether Redis is there and takes no entries.
    pub(super) fn is_refused(&self) -> bool {
        self.is_refused.load(Ordering::Relaxed)
    }

    /// Ends once every entry is confirmed.
    pub(super) async fn emptied(&self) {
        loop {
            let confirmed = self.confirmed.notified();
            if self.waiting().count == 0 {
                return;
            }
            confirmed.await;
        }
    }

    /// Moves entries into an empty batch; waits until there are some.
    async fn take(&self, batch: &mut Vec<String>) {
        while batch.is_empty() {
            let news = self.news.notified();
            self.fill(batch);
            if batch.is_empty() {
                news.await;
            }
        }
    }

    fn fill(&self, batch: &mut Vec<String>) {
        let (mut waiting, mut bytes) = (self.waiting(), 0);
        while batch.len() < BATCH_ENTRIES_MAX
            && bytes < BATCH_BYTES_MAX
            && let Some(entry) = waiting.entries.pop_front()
        {
            bytes += entry.len();
            batch.push(entry);
        }
    }

    fn confirm(&self, batch: &[String]) {
        let mut waiting = self.waiting();
        waiting.count -= batch.len();
        waiting.bytes -= bytes_of(batch);
        drop(waiting);
        self.confirmed.notify_waiters();
    }

    /// Confirmed entries are so no more.
    fn take_back(&self, batch: &[String]) {
        let mut waiting = self.waiting();
        waiting.count += batch.len();
        waiting.bytes += bytes_of(batch);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes entries from the outbox to Redis. Outlives its connections, and so does the batch that is under way.
#[derive(Debug, Default)]
pub(super) struct Carrier {
    batch: Vec<String>,
    /// The last entry that Redis has confirmed.
    pub(super) confirmed: Option<EntryId>,
    recent: Recent,
    average_bytes: usize,
    expiry_set: Option<Instant>,
    refused: Complaint,
}

impl Carrier {
    /// Appends until the connection ends. Safe to drop at any moment: the batch is sent again on the next connection,
    /// and whoever reads the log finds some entries twice, but none before an older one.
    pub(super) async fn run(
        &mut self,
        outbox: &Outbox,
        append: &Histogram,
        line: &mut Line,
    ) -> RedisResult<Infallible> {
        let mut backoff = Backoff::default();
        outbox.is_refused.store(false, Ordering::Relaxed);
        loop {
            if timeout(EXPIRY_EVERY, outbox.take(&mut self.batch))
                .await
                .is_err()
            {
                // Nobody has anything to say, but the log must outlive a quiet hour.
                let mut expire = redis::cmd("EXPIRE");
                let _: i64 = expire
                    .arg(LOG)
                    .arg(EXPIRY.as_secs())
                    .query_async(line)
                    .await?;
                continue;
            }
            let sent = Now::read().mono;
            match self.send(line).await {
                Ok(ids) => {
                    append.observe(Now::read().mono.saturating_duration_since(sent));
                    outbox.confirm(&self.batch);
                    self.recent.keep(&ids, mem::take(&mut self.batch));
                    if outbox.is_refused.swap(false, Ordering::Relaxed) {
                        self.refused.forget();
                    }
                    backoff.reset();
                }
                Err(error) if ends_connection(&error) => return Err(error),
                Err(error) => {
                    outbox.is_refused.store(true, Ordering::Relaxed);
                    if self.refused.is_due(Now::read()) {
                        warn!(%error, "Redis takes no entries; they wait");
                    }
                    sleep(backoff.pause()).await;
                }
            }
        }
    }

    /// Redis has lost what it confirmed: whatever was not read until then goes before everything else. Who did read it
    /// knows its number.
    pub(super) fn send_again(&mut self, read: EntryId, outbox: &Outbox) {
        self.confirmed = None;
        let mut batch = self.recent.unread(read);
        outbox.take_back(&batch);
        batch.append(&mut self.batch);
        self.batch = batch;
    }

    async fn send(&mut self, line: &mut Line) -> RedisResult<Vec<EntryId>> {
        let now = Now::read().mono;
        self.average_bytes = smoothed(
            self.average_bytes,
            bytes_of(&self.batch) / self.batch.len().max(1),
        );
        let retained = retained(self.average_bytes);
        let mut pipeline = Pipeline::with_capacity(self.batch.len() + 1);
        for entry in &self.batch {
            let append = pipeline.cmd("XADD").arg(LOG).arg("MAXLEN").arg("~");
            append.arg(retained).arg("*").arg(FIELD).arg(entry);
        }
        let needs_expiry = self.expiry_set.is_none_or(|set| set + EXPIRY_EVERY <= now);
        if needs_expiry {
            pipeline
                .cmd("EXPIRE")
                .arg(LOG)
                .arg(EXPIRY.as_secs())
                .ignore();
        }
        if pipeline.len() > 1 {
            // All or none: an entry refused alone would come after those behind it.
            pipeline.atomic();
        }
        let ids: Vec<String> = pipeline.query_async(line).await?;
        let ids: Vec<EntryId> = ids.iter().filter_map(|id| id.parse().ok()).collect();
        self.confirmed = ids.last().copied();
        if needs_expiry {
            self.expiry_set = Some(now);
        }
        Ok(ids)
    }
}

/// Counted are those not yet confirmed.
const ENTRIES_MAX: usize = 100_000;
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// One batch is one transaction: Redis serves nobody else meanwhile.
const BATCH_ENTRIES_MAX: usize = 256;
const BATCH_BYTES_MAX: usize = 256 * 1024;

/// What the log may take in Redis, about.
const LOG_BYTES: usize = 64 * 1024 * 1024;
/// What an entry takes beside its text, about.
const ENTRY_OVERHEAD_BYTES: usize = 32;
const RETAINED_MIN: usize = 256;
const RETAINED_MAX: usize = 20_000;
/// So long after the last sign of life of the last node, the log is gone.
const EXPIRY: Duration = Duration::from_secs(3600);
const EXPIRY_EVERY: Duration = Duration::from_secs(300);

/// How many entries the log keeps.
fn retained(average_bytes: usize) -> usize {
    (LOG_BYTES / (average_bytes + ENTRY_OVERHEAD_BYTES)).clamp(RETAINED_MIN, RETAINED_MAX)
}

/// The average follows within some tens of batches.
fn smoothed(average: usize, latest: usize) -> usize {
    if average == 0 {
        return latest;
    }
    (average * 15 + latest) / 16
}

fn bytes_of(batch: &[String]) -> usize {
    batch.iter().map(String::len).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn entries_leave_in_order_and_count_until_they_are_confirmed() {
        let (outbox, mut batch) = (Outbox::default(), Vec::new());
        for number in 0..BATCH_ENTRIES_MAX + 1 {
            assert!(outbox.push(number.to_string()));
        }
        outbox.take(&mut batch).await;
        assert_eq!(batch.len(), BATCH_ENTRIES_MAX);
        assert_eq!(batch.last().unwrap(), "255");
        outbox.confirm(&mem::take(&mut batch));
        outbox.take(&mut batch).await;
        assert_eq!(batch, ["256"]);
        assert_eq!(outbox.waiting().count, 1);
        outbox.confirm(&batch);
        outbox.emptied().await;
    }

    #[test]
    fn a_full_outbox_says_so() {
        let outbox = Outbox::default();
        for _ in 0..16 {
            assert!(outbox.push("x".repeat(1024 * 1024)));
        }
        assert!(!outbox.push("x".to_owned()));
        let outbox = Outbox::default();
        for _ in 0..ENTRIES_MAX {
            assert!(outbox.push(String::new()));
        }
        assert!(!outbox.push(String::new()));
    }

    #[test]
    fn the_log_stays_near_64_mib() {
        let cases = [
            (0, 20_000),
            (300, 20_000),
            (10_000, 6_689),
            (10_000_000, 256),
        ];
        for (average, expected) in cases {
            assert_eq!(retained(average), expected, "{average}");
        }
        assert_eq!(smoothed(0, 300), 300);
        assert_eq!(smoothed(300, 1900), 400);
    }
}

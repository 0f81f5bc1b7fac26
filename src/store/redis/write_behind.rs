//! Keys on their way to Redis: coalesced, a little later, and none of them forgotten.

use std::{
    convert::Infallible,
    future::pending,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use redis::{RedisResult, Value};
use tokio::{sync::Notify, time::sleep_until};
use tracing::warn;

use crate::clock::Now;

use super::{
    change::{KeyChange, Lasting},
    line::Line,
    part::{Calling, Part},
    trouble::{Complaint, ends_connection, lacks_script},
    waiting::{NotWritten, Waiting},
};

/// Keys that wait to be written.
#[derive(Debug, Default)]
pub(super) struct WriteBehind {
    keys: Mutex<Keys>,
    news: Notify,
    /// Notified whenever a batch has been dealt with.
    dealt_with: Notify,
    refused: Complaint,
}

#[derive(Debug, Default)]
struct Keys {
    sessions: Waiting<KeyChange>,
    others: Waiting<Lasting>,
    is_hurried: bool,
    /// Batches that were taken, and not yet dealt with.
    under_way: usize,
}

impl WriteBehind {
    /// Adds a change of a session's keys.
    pub(super) fn write(&self, session: &str, change: KeyChange) {
        let is_first = self
            .keys()
            .sessions
            .push(session, change, || Now::read().mono);
        self.announce(is_first);
    }

    /// Adds a key of our own.
    pub(super) fn put(&self, key: &str, value: Lasting) {
        let is_first = self.keys().others.push(key, value, || Now::read().mono);
        self.announce(is_first);
    }

    /// How many names wait.
    pub(super) fn waiting(&self) -> usize {
        let keys = self.keys();
        keys.sessions.len() + keys.others.len()
    }

    /// From now on nothing waits for others to join it, until [`relax`](Self::relax).
    pub(super) fn hurry(&self) {
        self.keys().is_hurried = true;
        self.news.notify_one();
    }

    /// Takes [`hurry`](Self::hurry) back.
    pub(super) fn relax(&self) {
        self.keys().is_hurried = false;
    }

    /// Ends once every key is written.
    pub(super) async fn emptied(&self) {
        loop {
            let dealt_with = self.dealt_with.notified();
            if self.keys().is_empty() {
                return;
            }
            dealt_with.await;
        }
    }

    /// Writes until the connection ends. Safe to drop at any moment: what is under way is written again.
    pub(super) async fn run(&self, line: &mut Line) -> RedisResult<Infallible> {
        loop {
            let mut batch = self.take().await;
            let outcomes = line.each(batch.commands(Calling::ByHash)).await?;
            batch.settle(outcomes, line)?;
            if !batch.writes.is_empty() {
                // The server does not know the script: it has restarted, or never heard of it.
                let outcomes = line.each(batch.commands(Calling::ByText)).await?;
                batch.settle(outcomes, line)?;
            }
        }
    }

    /// Waits until changes are due, and takes them.
    async fn take(&self) -> Batch<'_> {
        loop {
            let news = self.news.notified();
            let now = Now::read().mono;
            let next = {
                let mut keys = self.keys();
                if keys.is_hurried {
                    keys.sessions.hurry(now);
                    keys.others.hurry(now);
                }
                let sessions = keys.sessions.take_due(now, BATCH_MAX);
                let others = keys.others.take_due(now, BATCH_MAX);
                if !sessions.is_empty() || !others.is_empty() {
                    keys.under_way += 1;
                    return Batch::new(self, sessions, others);
                }
                let next = [keys.sessions.next_due(), keys.others.next_due()];
                next.into_iter().flatten().min()
            };
            let due = async {
                match next {
                    Some(due) => sleep_until(due.into()).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = news => {}
                () = due => {}
            }
        }
    }

    /// Later changes are due no sooner than the first.
    fn announce(&self, is_first: bool) {
        if is_first {
            self.news.notify_one();
        }
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keys {
    fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.others.is_empty() && self.under_way == 0
    }

    fn put_back(&mut self, write: Write, why: NotWritten) {
        let Write { name, part } = write;
        match part.undone() {
            Ok(change) => self.sessions.put_back(name, change, why),
            Err(value) => self.others.put_back(name, value, why),
        }
    }
}

/// What was taken, and is not yet written; put back when dropped.
struct Batch<'a> {
    from: &'a WriteBehind,
    writes: Vec<Write>,
}

/// One key of a session, or one of our own.
struct Write {
    name: Arc<str>,
    part: Part,
}

impl<'a> Batch<'a> {
    fn new(
        from: &'a WriteBehind,
        sessions: Vec<(Arc<str>, KeyChange)>,
        others: Vec<(Arc<str>, Lasting)>,
    ) -> Self {
        let mut writes = Vec::new();
        for (name, change) in sessions {
            for part in Part::all_of(change) {
                let name = Arc::clone(&name);
                writes.push(Write { name, part });
            }
        }
        for (name, value) in others {
            let part = Part::Other(value);
            writes.push(Write { name, part });
        }
        Self { from, writes }
    }

    fn commands(&self, calling: Calling) -> Vec<redis::Cmd> {
        let writes = self.writes.iter();
        writes
            .map(|write| write.part.command(&write.name, calling))
            .collect()
    }

    /// Lets go of what was written, puts back what was refused, and keeps what needs the script's text.
    fn settle(&mut self, outcomes: Vec<RedisResult<Value>>, line: &Line) -> RedisResult<()> {
        let now = Now::read();
        let mut broken = None;
        for (write, outcome) in mem::take(&mut self.writes).into_iter().zip(outcomes) {
            let Err(error) = outcome else { continue };
            if lacks_script(&error) {
                self.writes.push(write);
            } else if matches!(line, Line::One(_)) && ends_connection(&error) {
                self.writes.push(write);
                broken = Some(error);
            } else {
                // In a Cluster one node may be gone while the others serve.
                if self.from.refused.is_due(now) {
                    warn!(%error, "Redis refuses a key; it is written again later");
                }
                self.from
                    .keys()
                    .put_back(write, NotWritten::Refused(now.mono));
            }
        }
        broken.map_or(Ok(()), Err)
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        let why = NotWritten::Interrupted(Now::read().mono);
        let mut keys = self.from.keys();
        for write in self.writes.drain(..).rev() {
            keys.put_back(write, why);
        }
        keys.under_way -= 1;
        drop(keys);
        self.from.dealt_with.notify_waiters();
    }
}

/// How many sessions, and other keys, are written at once.
const BATCH_MAX: usize = 128;

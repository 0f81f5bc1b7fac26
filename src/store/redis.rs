//! Redis: the log that all nodes share, the keys of the contract, and what outlives this process.
//!
//! Nobody waits for Redis. Callers leave entries and keys here; one task carries them there whenever Redis can be
//! reached, and reports in [`LogEvent`]s what comes from there.

mod change;
mod entry_id;
mod examine;
mod keys;
mod line;
mod link;
mod news;
mod outbox;
mod part;
mod reader;
mod recent;
mod restore;
mod stats;
mod supervisor;
mod trouble;
mod url;
mod waiting;
mod write_behind;

use std::{
    fmt,
    future::pending,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use redis::{RedisResult, cmd};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tracing::debug;

use keys::SECRET;
use line::Line;
use link::Link;
use outbox::Outbox;
use stats::Stats;
use supervisor::Supervisor;
use trouble::Backoff;
use write_behind::WriteBehind;

pub use change::{KeyChange, Participants};
pub use entry_id::{EntryId, EntryIdError};
pub use examine::{Examined, Unavailable, examine};
pub use restore::Restored;
pub use stats::Snapshot;
pub use url::RedisUrl;

/// A handle: clones are the same Redis, and the last one ends its task.
#[derive(Clone, Debug)]
pub struct Redis {
    shared: Arc<Shared>,
    _task: Arc<Task>,
}

/// What the log's consumer is told.
///
/// First `Restored`, once; then entries, and `CaughtUp` at the log's end. Each loss is `Lost`, `Returned`, entries,
/// `CaughtUp`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogEvent {
    /// The first connection, and what was found. Nothing is written until [`Redis::follow`] answers it.
    Restored(Restored),
    /// What some node has appended, this one included; in the log's order, each id once. Ids start again from an
    /// earlier one only after data was lost.
    Entry {
        /// Where it stands in the log.
        id: EntryId,
        /// The entry, as it was given to [`Redis::append`].
        text: String,
    },
    /// The log's end, for the first time since the connection was made.
    CaughtUp,
    /// The connection is gone. Appending and writing go on; they wait here.
    Lost,
    /// The connection is back.
    Returned {
        /// Entries that were read or confirmed are not in the log any more, or not all in between can be: Redis started
        /// empty, a failover lost them, or the outage outlasted what the log retains.
        data_lost: bool,
    },
}

impl Redis {
    /// Starts the task that connects, and keeps trying. Needs a tokio runtime around it.
    ///
    /// # Errors
    /// When the URL refers to a file that can't be read; never because Redis is away.
    pub fn open(url: &RedisUrl) -> Result<(Self, mpsc::Receiver<LogEvent>), String> {
        let link = Link::new(url)?;
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        let shared = Arc::new(Shared::default());
        let task = Supervisor::new(link, Arc::clone(&shared), events).run();
        let task = Arc::new(Task(tokio::spawn(task)));
        Ok((
            Self {
                shared,
                _task: task,
            },
            receiver,
        ))
    }

    /// Reads the log from what comes after this entry ([`EntryId::START`]: all that it retains), and begins to write. To
    /// be called once [`LogEvent::Restored`] has been digested; only the first call counts.
    pub fn follow(&self, from: EntryId) {
        self.shared.start.send_if_modified(|start| {
            let is_first = start.is_none();
            start.get_or_insert(from);
            is_first
        });
    }

    /// Appends to the log, in the order of the calls, as soon as Redis is there. After a broken connection an entry may
    /// stand there twice, but none before an older one. False when too much waits already: the entry is dropped.
    #[must_use]
    pub fn append(&self, entry: String) -> bool {
        let has_room = self.shared.outbox.push(entry);
        let dropped = u64::from(!has_room);
        self.shared
            .stats
            .dropped
            .fetch_add(dropped, Ordering::Relaxed);
        has_room
    }

    /// Writes a session's keys a moment later, together with what changes until then.
    pub fn write(&self, session: &str, change: KeyChange) {
        self.shared.write_behind.write(session, change);
    }

    /// Writes a key of our own a moment later, for so long; `None` deletes it. The latest value counts.
    pub fn put(&self, key: &str, value: Option<(String, Duration)>) {
        self.shared.write_behind.put(key, value);
    }

    /// The secret that all nodes share: `own` if no other node was first. `None` if Redis does not answer in time.
    pub async fn share_secret(&self, own: &str, within: Duration) -> Option<String> {
        timeout(within, self.shared.agree_on_secret(own)).await.ok()
    }

    /// Tells of every connection that is made from now on.
    #[must_use]
    pub fn connections(&self) -> Connections {
        Connections(self.shared.line.subscribe())
    }

    /// Whether Redis is there and takes what it is given.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.shared.line.borrow().is_some() && !self.shared.outbox.is_refused()
    }

    /// Waits until everything is written, or the time is over.
    pub async fn flush(&self, within: Duration) {
        let Shared {
            outbox,
            write_behind,
            ..
        } = &*self.shared;
        write_behind.hurry();
        let everything = async { tokio::join!(outbox.emptied(), write_behind.emptied()) };
        if timeout(within, everything).await.is_err() {
            debug!("not everything was written to Redis in time");
        }
        write_behind.relax();
    }
}

/// Connections to Redis, as they come.
pub struct Connections(watch::Receiver<Option<Line>>);

impl Connections {
    /// Waits for the next one. What was in Redis before may be gone.
    pub async fn next(&mut self) {
        loop {
            if self.0.changed().await.is_err() {
                // Nobody connects any more.
                return pending().await;
            }
            if self.0.borrow_and_update().is_some() {
                return;
            }
        }
    }
}

/// What callers leave for the task, and the task for them.
#[derive(Default)]
struct Shared {
    outbox: Outbox,
    write_behind: WriteBehind,
    stats: Stats,
    /// Where the consumer wants to read from.
    start: watch::Sender<Option<EntryId>>,
    /// The connection, while there is one.
    line: watch::Sender<Option<Line>>,
}

impl Shared {
    async fn agree_on_secret(&self, own: &str) -> String {
        let (mut lines, mut backoff) = (self.line.subscribe(), Backoff::default());
        loop {
            // The sender lives as long as `self`.
            let line = lines.wait_for(Option::is_some).await;
            let line = line.ok().and_then(|line| line.clone());
            if let Some(mut line) = line {
                match secret(own, &mut line).await {
                    Ok(Some(secret)) if !secret.is_empty() => return secret,
                    Ok(_) => debug!("{SECRET} holds none"),
                    Err(error) => debug!(%error, "cannot ask for {SECRET}"),
                }
            }
            sleep(backoff.pause()).await;
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Beyond these the reading waits for its consumer.
const EVENTS_MAX: usize = 1024;

async fn secret(own: &str, line: &mut Line) -> RedisResult<Option<String>> {
    let () = cmd("SET")
        .arg(SECRET)
        .arg(own)
        .arg("NX")
        .query_async(line)
        .await?;
    cmd("GET").arg(SECRET).query_async(line).await
}

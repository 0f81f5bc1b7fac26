//! A node as Redis sees it: one handle and its events.

use std::{collections::HashSet, time::Duration};

use setu::store::redis::{EntryId, LogEvent, Redis, RedisUrl, Restored};
use tokio::{sync::mpsc, time::timeout};

use crate::servers::DEADLINE;

pub(crate) struct Node {
    pub(crate) redis: Redis,
    events: mpsc::Receiver<LogEvent>,
}

impl Node {
    /// A node that has not yet heard of Redis.
    pub(crate) fn open(url: &str) -> Self {
        let (redis, events) = Redis::open(&RedisUrl::parse(url).unwrap()).unwrap();
        Self { redis, events }
    }

    /// A node that reads the log from its start and has caught up.
    pub(crate) async fn join(url: &str) -> Self {
        let mut node = Self::open(url);
        node.restored().await;
        node.redis.follow(EntryId::START);
        node.caught_up().await;
        node
    }

    pub(crate) async fn restored(&mut self) -> Restored {
        let event = self.event().await;
        let LogEvent::Restored(restored) = event else {
            panic!("first of all comes what was restored, not {event:?}");
        };
        restored
    }

    pub(crate) async fn event(&mut self) -> LogEvent {
        let event = timeout(DEADLINE, self.events.recv()).await;
        event.expect("an event in time").expect("an event")
    }

    /// The next event that is no entry.
    pub(crate) async fn news(&mut self) -> LogEvent {
        loop {
            let event = self.event().await;
            if !matches!(event, LogEvent::Entry { .. }) {
                return event;
            }
        }
    }

    pub(crate) async fn caught_up(&mut self) {
        assert_eq!(self.news().await, LogEvent::CaughtUp);
    }

    /// Waits for the return after a loss; says whether data was lost.
    pub(crate) async fn returned(&mut self) -> bool {
        loop {
            match self.news().await {
                LogEvent::Returned { data_lost } => return data_lost,
                LogEvent::Lost | LogEvent::CaughtUp => {}
                other @ (LogEvent::Restored(_) | LogEvent::Entry { .. }) => panic!("{other:?}"),
            }
        }
    }

    /// The next entries, whatever else happens; those that come again are left out.
    pub(crate) async fn entries(&mut self, count: usize) -> Vec<(EntryId, String)> {
        let (mut entries, mut seen) = (Vec::new(), HashSet::new());
        while entries.len() < count {
            if let LogEvent::Entry { id, text } = self.event().await
                && seen.insert(text.clone())
            {
                entries.push((id, text));
            }
        }
        entries
    }

    pub(crate) async fn texts(&mut self, count: usize) -> Vec<String> {
        let entries = self.entries(count).await.into_iter();
        entries.map(|(_, text)| text).collect()
    }

    pub(crate) fn append(&self, numbers: std::ops::Range<usize>) {
        for number in numbers {
            assert!(self.redis.append(number.to_string()));
        }
    }

    /// Waits until everything is written; the caller looks whether it is.
    pub(crate) async fn flush(&self) {
        self.redis.flush(DEADLINE).await;
    }
}

pub(crate) fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

/// Waits for what this process itself is about to do.
pub(crate) async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let so = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, so)
        .await
        .unwrap_or_else(|_| panic!("not in time: {what}"));
}

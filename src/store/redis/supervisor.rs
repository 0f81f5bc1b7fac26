//! One task keeps the connections, and tells the consumer when they come and go.

use std::{
    convert::Infallible,
    sync::{Arc, atomic::Ordering},
};

use redis::{RedisError, RedisResult, cmd};
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};
use tracing::{info, warn};

use crate::clock::Now;

use super::{
    LogEvent, Shared,
    entry_id::EntryId,
    keys::LOG,
    line::Line,
    link::{Lines, Link},
    news::News,
    outbox::Carrier,
    reader::Reader,
    restore::Restored,
    trouble::{Backoff, Complaint},
};

/// What outlives the connections.
pub(super) struct Supervisor {
    link: Link,
    shared: Arc<Shared>,
    news: News,
    reader: Reader,
    carrier: Carrier,
    backoff: Backoff,
    complaint: Complaint,
}

impl Supervisor {
    pub(super) fn new(link: Link, shared: Arc<Shared>, events: mpsc::Sender<LogEvent>) -> Self {
        Self {
            link,
            shared,
            news: News::new(events),
            reader: Reader::default(),
            carrier: Carrier::default(),
            backoff: Backoff::default(),
            complaint: Complaint::default(),
        }
    }

    /// Connects again and again, for ever.
    pub(super) async fn run(mut self) {
        loop {
            let error = match self.link.connect().await {
                Ok(lines) => {
                    let Err(error) = self.serve(lines).await;
                    self.shared.line.send_replace(None);
                    error
                }
                Err(error) => error,
            };
            self.lost(&error);
            sleep(self.backoff.pause()).await;
        }
    }

    /// Does everything that is to be done on a connection, until it ends.
    async fn serve(&mut self, lines: Lines) -> RedisResult<Infallible> {
        let Lines { reader, writer } = lines;
        let connections = &self.shared.stats.connections;
        connections.fetch_add(1, Ordering::Relaxed);
        let [mut reader, mut writer, mut other] = [reader, writer.clone(), writer];
        self.shared.line.send_replace(Some(other.clone()));
        clear_foreign_log(&mut other).await?;
        if self.news.is_first() {
            let restored = Restored::find(&mut other).await?;
            info!("connected to Redis");
            self.news.restored(restored).await;
        } else {
            let (confirmed, read) = (self.carrier.confirmed, self.reader.position());
            let data_lost = self.reader.has_lost_entries(confirmed, &mut other).await?;
            if data_lost {
                self.carrier.send_again(read, &self.shared.outbox);
            }
            info!(data_lost, "connected to Redis again");
            self.news.returned(data_lost);
        }
        let from = followed(&self.shared.start).await;
        let reading = async {
            self.news.catch_up().await;
            self.reader.run(from, &mut reader, &self.news).await
        };
        let served = tokio::try_join!(
            reading,
            self.carrier
                .run(&self.shared.outbox, &self.shared.stats.append, &mut writer),
            self.shared.write_behind.run(&mut other),
        );
        if self.reader.has_caught_up() {
            self.backoff.reset();
            self.complaint.forget();
        }
        served.map(|(never, _, _)| never)
    }

    fn lost(&mut self, error: &RedisError) {
        if self.complaint.is_due(Now::read()) {
            warn!(%error, "Redis is away; trying again");
        }
        self.news.lost();
    }
}

/// Waits until the consumer has digested what was restored: its view must not be written over what it has not yet seen.
async fn followed(start: &watch::Sender<Option<EntryId>>) -> EntryId {
    let mut start = start.subscribe();
    match start.wait_for(Option::is_some).await.map(|from| *from) {
        Ok(Some(from)) => from,
        // The sender lives as long as this task.
        Ok(None) | Err(_) => std::future::pending().await,
    }
}

/// Something else may have taken the log's name, which is ours.
async fn clear_foreign_log(line: &mut Line) -> RedisResult<()> {
    let kind: String = cmd("TYPE").arg(LOG).query_async(line).await?;
    if kind != "none" && kind != "stream" {
        warn!(kind, "{LOG} is no stream; it is deleted");
        let () = cmd("DEL").arg(LOG).query_async(line).await?;
    }
    Ok(())
}

//! What the consumer is told of the connection. A consumer that is slow holds up the reading and nothing else.

use std::future::pending;

use tokio::sync::mpsc::{self, error::TrySendError};

use super::{LogEvent, restore::Restored};

/// The way to the consumer, and how much it knows.
pub(super) struct News {
    events: mpsc::Sender<LogEvent>,
    told: Told,
    /// Of all returns that it has not been told of.
    data_lost: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Connected,
    /// The connection went when there was no room to say so.
    NotOfTheLoss,
    Lost,
}

impl News {
    pub(super) fn new(events: mpsc::Sender<LogEvent>) -> Self {
        Self {
            events,
            told: Told::Nothing,
            data_lost: false,
        }
    }

    /// Whether this is still the first connection.
    pub(super) fn is_first(&self) -> bool {
        self.told == Told::Nothing
    }

    /// The first connection is there.
    pub(super) async fn restored(&mut self, restored: Restored) {
        self.deliver(LogEvent::Restored(restored)).await;
        self.told = Told::Connected;
    }

    /// The connection is gone.
    pub(super) fn lost(&mut self) {
        if self.told == Told::Connected {
            self.told = match self.events.try_send(LogEvent::Lost) {
                Err(TrySendError::Full(_)) => Told::NotOfTheLoss,
                Ok(()) | Err(TrySendError::Closed(_)) => Told::Lost,
            };
        }
    }

    /// The connection is back; the consumer hears of it by [`catch_up`](Self::catch_up).
    pub(super) fn returned(&mut self, data_lost: bool) {
        self.data_lost |= data_lost;
    }

    /// Tells of the last loss and return, unless it was done. Safe to drop at any moment.
    pub(super) async fn catch_up(&mut self) {
        if self.told == Told::NotOfTheLoss {
            self.deliver(LogEvent::Lost).await;
            self.told = Told::Lost;
        }
        if self.told == Told::Lost {
            let data_lost = self.data_lost;
            self.deliver(LogEvent::Returned { data_lost }).await;
            (self.told, self.data_lost) = (Told::Connected, false);
        }
    }

    /// Waits for room. A consumer that is gone needs nothing more: this never ends then, and the writing goes on.
    pub(super) async fn deliver(&self, event: LogEvent) {
        if self.events.send(event).await.is_err() {
            pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_consumer_without_room_hears_of_losses_later_and_of_all_that_was_lost() {
        let (events, mut consumer) = mpsc::channel(1);
        let mut news = News::new(events);
        news.restored(Restored::default()).await;
        for data_lost in [true, false] {
            news.lost();
            news.returned(data_lost);
        }
        let told = async {
            news.catch_up().await;
            news.lost();
        };
        let heard = async {
            let mut heard = Vec::new();
            while heard.len() < 3 {
                heard.extend(consumer.recv().await);
            }
            heard
        };
        let ((), heard) = tokio::join!(told, heard);
        let returned = LogEvent::Returned { data_lost: true };
        let first = LogEvent::Restored(Restored::default());
        assert_eq!(heard, [first, LogEvent::Lost, returned]);
        news.returned(false);
        tokio::join!(news.catch_up(), async {
            let returned = LogEvent::Returned { data_lost: false };
            let mut next = consumer.recv().await;
            if next == Some(LogEvent::Lost) {
                next = consumer.recv().await;
            }
            assert_eq!(next, Some(returned));
        });
    }
}

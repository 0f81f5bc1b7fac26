//! What the rest of the process asks of a worker.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, oneshot};

use crate::clock::UnixSeconds;
use crate::ident::UserId;
use crate::relay::worker::Snapshot;

/// Orders to one worker. Posting never blocks and nothing is lost: revocations of one user merge into one.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    orders: Mutex<Orders>,
    posted: Notify,
}

/// All that came in since the worker last looked.
#[derive(Debug, Default)]
pub(super) struct Orders {
    /// Whose allocations end, and until when their credentials are refused.
    pub(super) revocations: HashMap<UserId, UnixSeconds>,
    /// Who waits for the worker's numbers.
    pub(super) askers: Vec<oneshot::Sender<Snapshot>>,
    /// The worker is to end.
    pub(super) stop: bool,
}

impl Mailbox {
    /// Ends the user's allocations, and refuses credentials of theirs that expire at or before `until`.
    pub(crate) fn revoke(&self, user: UserId, until: UnixSeconds) {
        let mut orders = self.orders();
        if orders.stop {
            return;
        }
        let latest = orders.revocations.entry(user).or_insert(until);
        *latest = until.max(*latest);
        self.posted.notify_one();
    }

    /// Asks for the worker's numbers; the answer fails once the worker has ended.
    pub(crate) fn ask_snapshot(&self) -> oneshot::Receiver<Snapshot> {
        let (asker, answer) = oneshot::channel();
        let mut orders = self.orders();
        // Nobody collects for a worker that has been told to end.
        if !orders.stop {
            orders.askers.push(asker);
            self.posted.notify_one();
        }
        answer
    }

    /// Ends the worker.
    pub(crate) fn stop(&self) {
        self.orders().stop = true;
        self.posted.notify_one();
    }

    /// The worker has ended, told or not: nobody waits for its answer any more.
    pub(super) fn close(&self) {
        let mut orders = self.orders();
        orders.stop = true;
        orders.askers.clear();
    }

    /// Waits for orders and takes them all.
    pub(super) async fn collect(&self) -> Orders {
        self.posted.notified().await;
        let mut orders = self.orders();
        let stop = orders.stop;
        let collected = std::mem::take(&mut *orders);
        orders.stop = stop;
        collected
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn revocations_of_one_user_merge_into_the_latest() {
        let mailbox = Mailbox::default();
        for until in [5, 9, 7] {
            mailbox.revoke(UserId::Anyone, UnixSeconds(until));
        }
        let orders = mailbox.collect().await;
        assert_eq!(orders.revocations[&UserId::Anyone], UnixSeconds(9));
    }

    #[tokio::test]
    async fn nobody_waits_for_a_worker_that_has_ended() {
        let mailbox = Mailbox::default();
        let before = mailbox.ask_snapshot();
        mailbox.close();
        assert!(before.await.is_err());
        assert!(mailbox.ask_snapshot().await.is_err());
    }
}

//! What the rest of the process asks of a worker.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use crate::clock::UnixSeconds;
use crate::ident::UserId;
use crate::relay::engine::five_tuple::FiveTuple;
use crate::relay::engine::{AllocationId, AllocationView, Rules, SomeAllocations, Usage};
use crate::relay::worker::dtls::Moved;
use crate::relay::worker::guests::Visit;
use crate::relay::worker::neighbours::{Parcel, Parcels};
use crate::relay::worker::reactor::Bell;
use crate::relay::worker::{HandedOver, Snapshot};

/// Orders to one worker. Posting never blocks and nothing is lost: revocations of one user merge into one.
#[derive(Debug)]
pub(crate) struct Mailbox {
    orders: Mutex<Orders>,
    parcels: Mutex<Parcels>,
    bell: Arc<Bell>,
}

/// All that came in since the worker last looked.
#[derive(Debug, Default)]
pub(super) struct Orders {
    /// Whose allocations end, and until when their credentials are refused.
    pub(super) revocations: HashMap<UserId, UnixSeconds>,
    /// Whose ended allocations are no longer of interest.
    pub(super) forgotten: HashSet<UserId>,
    /// Connections that another worker accepted.
    pub(super) handed_over: Vec<HandedOver>,
    /// DTLS sessions that began at another worker; before the visits, which may be for them.
    pub(super) moved: Vec<Moved>,
    /// Datagrams that came to other workers.
    pub(super) visits: Vec<Visit>,
    visiting_bytes: usize,
    /// What holds from now on.
    pub(super) rules: Option<Arc<Rules>>,
    /// No allocation begins any more.
    pub(super) drain: bool,
    /// What the worker is asked, and who waits for the answer.
    pub(super) questions: Vec<Question>,
    /// The worker is to end.
    pub(super) stop: bool,
}

/// What a worker can be asked.
#[derive(Debug)]
pub(crate) enum Question {
    /// Whether it lives.
    Alive(oneshot::Sender<()>),
    /// Its numbers.
    Snapshot(oneshot::Sender<Snapshot>),
    /// What everybody relays, and has relayed.
    Usage(oneshot::Sender<HashMap<UserId, Usage>>),
    /// The same of these users alone.
    UsageOf(Arc<[UserId]>, oneshot::Sender<HashMap<UserId, Usage>>),
    /// Its allocations.
    Allocations(oneshot::Sender<Vec<AllocationView>>),
    /// Those of these users.
    AllocationsOf(Arc<[UserId]>, oneshot::Sender<Vec<AllocationView>>),
    /// At most so many of those whose user's name has this in it.
    SomeAllocations(Arc<str>, usize, oneshot::Sender<SomeAllocations>),
    /// To end one of them; whether it had it.
    CloseAllocation(AllocationId, oneshot::Sender<bool>),
}

impl Mailbox {
    /// The worker's, which hears this bell.
    pub(crate) fn new(bell: Arc<Bell>) -> Self {
        Self {
            orders: Mutex::default(),
            parcels: Mutex::default(),
            bell,
        }
    }

    /// Ends the user's allocations, and refuses credentials of theirs that expire at or before `until`.
    pub(crate) fn revoke(&self, user: UserId, until: UnixSeconds) {
        self.post(|orders| {
            let latest = orders.revocations.entry(user).or_insert(until);
            *latest = until.max(*latest);
        });
    }

    /// These rules hold from now on.
    pub(crate) fn apply(&self, rules: Arc<Rules>) {
        self.post(|orders| orders.rules = Some(rules));
    }

    /// No allocation begins any more.
    pub(crate) fn drain(&self) {
        self.post(|orders| orders.drain = true);
    }

    /// Forgets what the user's ended allocations relayed.
    pub(crate) fn forget_usage(&self, user: UserId) {
        self.post(|orders| {
            orders.forgotten.insert(user);
        });
    }

    /// Gives the worker a client's connection; closes it where too many wait, or the worker has ended.
    pub(super) fn hand_over(&self, connection: HandedOver) {
        self.offer(|orders| {
            let has_room = orders.handed_over.len() < HANDED_OVER_MAX;
            if has_room {
                orders.handed_over.push(connection);
            }
            has_room
        });
    }

    /// Gives the worker a DTLS session; `false`, and it is over, where too many wait, or the worker has ended.
    pub(super) fn take_over(&self, moved: Moved) -> bool {
        self.offer(|orders| {
            let has_room = orders.moved.len() < HANDED_OVER_MAX;
            if has_room {
                orders.moved.push(moved);
            }
            has_room
        })
    }

    /// Gives the worker a datagram that came to another one; drops it where too many wait.
    pub(super) fn visit(&self, client: FiveTuple, traffic_class: u8, datagram: &[u8]) {
        self.offer(|orders| {
            let bytes = orders.visiting_bytes + datagram.len();
            let has_room = bytes <= VISITING_BYTES_MAX && orders.visits.len() < VISITS_MAX;
            if has_room {
                orders.visiting_bytes = bytes;
                orders.visits.push(Visit {
                    client,
                    traffic_class,
                    datagram: datagram.to_vec(),
                });
            }
            has_room
        });
    }

    /// Gives the worker datagrams for its clients; says how many found no room.
    pub(super) fn deliver<'p>(&self, parcels: impl Iterator<Item = Parcel<'p>>) -> usize {
        let mut waiting = self.parcels();
        let was_empty = waiting.is_empty();
        let refused = parcels.filter(|parcel| !waiting.push(parcel)).count();
        drop(waiting);
        if was_empty {
            self.bell.mail();
        }
        refused
    }

    /// Takes all parcels, for empty ones.
    pub(super) fn take_parcels(&self, empty: &mut Parcels) {
        std::mem::swap(&mut *self.parcels(), empty);
    }

    /// Asks the worker; the answer fails once the worker has ended.
    pub(crate) fn ask<A>(
        &self,
        question: impl FnOnce(oneshot::Sender<A>) -> Question,
    ) -> oneshot::Receiver<A> {
        let (asker, answer) = oneshot::channel();
        self.post(|orders| orders.questions.push(question(asker)));
        answer
    }

    /// Ends the worker.
    pub(crate) fn stop(&self) {
        self.orders().stop = true;
        self.bell.mail();
    }

    /// The worker has ended, told or not: nobody waits for its answer any more.
    pub(super) fn close(&self) {
        let mut orders = self.orders();
        orders.stop = true;
        orders.questions.clear();
        orders.handed_over.clear();
        orders.moved.clear();
        orders.visits.clear();
    }

    /// Takes all orders.
    pub(super) fn collect(&self) -> Orders {
        let mut orders = self.orders();
        let stop = orders.stop;
        let collected = std::mem::take(&mut *orders);
        orders.stop = stop;
        collected
    }

    /// Adds an order.
    fn post(&self, add: impl FnOnce(&mut Orders)) {
        self.offer(|orders| {
            add(orders);
            true
        });
    }

    /// Adds an order if there is room for it, which `add` says; nobody collects for a worker that has been told to end.
    /// Rings only once the worker can have it: whoever is woken does not wait for who woke it.
    fn offer(&self, add: impl FnOnce(&mut Orders) -> bool) -> bool {
        let mut orders = self.orders();
        let is_taken = !orders.stop && add(&mut orders);
        drop(orders);
        if is_taken {
            self.bell.mail();
        }
        is_taken
    }

    fn parcels(&self) -> MutexGuard<'_, Parcels> {
        self.parcels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many connections may wait for a worker that is busy.
const HANDED_OVER_MAX: usize = 1024;
const VISITS_MAX: usize = 4096;
const VISITING_BYTES_MAX: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::worker::reactor::Watch;

    #[test]
    fn revocations_of_one_user_merge_into_the_latest() {
        let mailbox = mailbox();
        for until in [5, 9, 7] {
            mailbox.revoke(UserId::Anyone, UnixSeconds(until));
        }
        let orders = mailbox.collect();
        assert_eq!(orders.revocations[&UserId::Anyone], UnixSeconds(9));
    }

    #[tokio::test]
    async fn nobody_waits_for_a_worker_that_has_ended() {
        let mailbox = mailbox();
        let before = mailbox.ask(Question::Snapshot);
        mailbox.close();
        assert!(before.await.is_err());
        assert!(mailbox.ask(Question::Snapshot).await.is_err());
    }

    fn mailbox() -> Mailbox {
        let watch = Watch::new().unwrap();
        Mailbox::new(Arc::clone(watch.bell()))
    }
}

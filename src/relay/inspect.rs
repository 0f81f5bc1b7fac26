//! What the rest of the process may ask of the running relay. Workers that have ended add nothing to an answer.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::oneshot;

use crate::clock::Now;
use crate::ident::UserId;
use crate::relay::engine::{AllocationId, AllocationView, RelayTransport, SomeAllocations, Usage};
use crate::relay::worker::{self, Mailbox, Question};
use crate::relay::{Relay, Snapshot};

impl Relay {
    /// The state in numbers.
    pub async fn snapshot(&self) -> Snapshot {
        let mut sum = worker::Snapshot::default();
        for answer in self
            .ask_all(|mailbox| mailbox.ask(Question::Snapshot))
            .await
        {
            sum += answer;
        }
        let (now, ports) = (Now::read(), &self.0.ports);
        Snapshot {
            engine: sum.engine,
            connections: sum.connections,
            unsent: sum.unsent,
            refused: self.0.limits.refused(),
            ports_in_use: ports.in_use(now, RelayTransport::Udp),
            tcp_ports_in_use: ports.in_use(now, RelayTransport::Tcp),
            ports_total: ports.total(),
        }
    }

    /// Whether every worker answers; it takes as long as the busiest of them needs.
    pub async fn answers(&self) -> bool {
        let answers = self.ask_all(|mailbox| mailbox.ask(Question::Alive)).await;
        answers.len() == self.0.mailboxes.len()
    }

    /// What everybody relays, and has relayed as far as it is remembered: for each worker, the totals of
    /// [`FINISHED_USERS_MAX`](crate::relay::engine::usage::FINISHED_USERS_MAX) users outlive their allocations.
    pub async fn usage(&self) -> HashMap<UserId, Usage> {
        let answers = self.ask_all(|mailbox| mailbox.ask(Question::Usage)).await;
        added_up(answers)
    }

    /// The same of these users alone, without a look at anybody else; nothing of those who never relayed.
    pub async fn usage_of(&self, users: Vec<UserId>) -> HashMap<UserId, Usage> {
        let users: Arc<[_]> = users.into();
        let ask = |mailbox: &Mailbox| {
            let users = Arc::clone(&users);
            mailbox.ask(|asker| Question::UsageOf(users, asker))
        };
        added_up(self.ask_all(ask).await)
    }

    /// Forgets what the user's ended allocations relayed; those alive go on counting.
    ///
    /// Never blocks.
    pub fn forget_usage(&self, user: &UserId) {
        for mailbox in &*self.0.mailboxes {
            mailbox.forget_usage(user.clone());
        }
    }

    /// The allocations alive, in no order.
    pub async fn allocations(&self) -> Vec<AllocationView> {
        let answers = self.ask_all(|mailbox| mailbox.ask(Question::Allocations));
        answers.await.into_iter().flatten().collect()
    }

    /// Those of these users, in no order.
    pub async fn allocations_of(&self, users: Vec<UserId>) -> Vec<AllocationView> {
        let users: Arc<[_]> = users.into();
        let ask = |mailbox: &Mailbox| {
            let users = Arc::clone(&users);
            mailbox.ask(|asker| Question::AllocationsOf(users, asker))
        };
        self.ask_all(ask).await.into_iter().flatten().collect()
    }

    /// At most so many of those whose user's name has `text` in it, in small letters; the oldest first.
    pub async fn some_allocations(&self, text: &str, at_most: usize) -> SomeAllocations {
        let text: Arc<str> = text.into();
        let ask = |mailbox: &Mailbox| {
            let text = Arc::clone(&text);
            mailbox.ask(|asker| Question::SomeAllocations(text, at_most, asker))
        };
        let mut sum = SomeAllocations::default();
        for found in self.ask_all(ask).await {
            sum.matching += found.matching;
            sum.views.extend(found.views);
        }
        sum.views
            .sort_unstable_by(|one, other| (other.age, &one.id).cmp(&(one.age, &other.id)));
        sum.views.truncate(at_most);
        sum
    }

    /// Ends one allocation; its user may make another. Says whether there was one of this [id](AllocationView::id).
    pub async fn close_allocation(&self, id: &str) -> bool {
        let Some(id) = AllocationId::parse(id) else {
            return false;
        };
        let ask = |mailbox: &Mailbox| mailbox.ask(|asker| Question::CloseAllocation(id, asker));
        self.ask_all(ask).await.contains(&true)
    }

    /// Every worker works on its answer at once.
    async fn ask_all<A>(&self, ask: impl Fn(&Mailbox) -> oneshot::Receiver<A>) -> Vec<A> {
        let mailboxes = self.0.mailboxes.iter();
        let pending: Vec<_> = mailboxes.map(|mailbox| ask(mailbox)).collect();
        let mut answers = Vec::with_capacity(pending.len());
        for answer in pending {
            answers.extend(answer.await);
        }
        answers
    }
}

fn added_up(answers: Vec<HashMap<UserId, Usage>>) -> HashMap<UserId, Usage> {
    let mut sums: HashMap<UserId, Usage> = HashMap::new();
    for (user, usage) in answers.into_iter().flatten() {
        *sums.entry(user).or_default() += usage;
    }
    sums
}

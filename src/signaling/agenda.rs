//! What is to be done later: one heap and one task for all sockets and sessions.

use std::{
    cmp::Ordering,
    collections::BinaryHeap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::Notify;

use crate::clock::Now;

/// Things to do, each at its time.
#[derive(Debug)]
pub(super) struct Agenda<J> {
    state: Mutex<State<J>>,
    sooner: Notify,
}

#[derive(Debug)]
struct State<J> {
    heap: BinaryHeap<Item<J>>,
    added: u64,
}

#[derive(Debug)]
struct Item<J> {
    at: Instant,
    number: u64,
    job: J,
}

impl<J> Agenda<J> {
    /// `job` is to be done at `at`; what is no longer needed then finds out for itself.
    pub(super) fn add(&self, at: Instant, job: J) {
        let mut state = self.state();
        let number = state.added;
        state.added += 1;
        let is_first = state.heap.peek().is_none_or(|first| at < first.at);
        state.heap.push(Item { at, number, job });
        drop(state);
        if is_first {
            self.sooner.notify_one();
        }
    }

    /// Waits for what is due next, and takes all that is.
    pub(super) async fn due(&self) -> Vec<J> {
        loop {
            let mut due = Vec::new();
            let next = self.take_due(Now::read().mono, &mut due);
            if !due.is_empty() {
                return due;
            }
            tokio::select! {
                () = at(next) => {}
                () = self.sooner.notified() => {}
            }
        }
    }

    fn take_due(&self, now: Instant, due: &mut Vec<J>) -> Option<Instant> {
        let mut state = self.state();
        while let Some(first) = state.heap.peek() {
            if first.at > now {
                return Some(first.at);
            }
            due.extend(state.heap.pop().map(|item| item.job));
        }
        // After a wave of work, its room is given back.
        state.heap.shrink_to(HEAP_KEPT);
        None
    }

    fn state(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const HEAP_KEPT: usize = 1024;

impl<J> Default for Agenda<J> {
    fn default() -> Self {
        let state = State {
            heap: BinaryHeap::new(),
            added: 0,
        };
        Self {
            state: Mutex::new(state),
            sooner: Notify::new(),
        }
    }
}

/// Never, where there is nothing to wait for.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

impl<J> Ord for Item<J> {
    /// The earliest is the greatest; of two at once, the one added first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl<J> PartialOrd for Item<J> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<J> PartialEq for Item<J> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<J> Eq for Item<J> {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn what_is_due_comes_in_its_order() {
        let agenda = Agenda::default();
        let now = Now::read().mono;
        agenda.add(now + Duration::from_millis(30), 3);
        agenda.add(now, 1);
        agenda.add(now, 2);
        assert_eq!(agenda.due().await, [1, 2]);
        assert_eq!(agenda.due().await, [3]);
        assert!(Now::read().mono >= now + Duration::from_millis(30));
    }
}

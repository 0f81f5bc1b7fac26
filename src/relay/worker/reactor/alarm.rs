//! Moments that tasks wait for.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use tokio::select;

use crate::clock::Now;
use crate::relay::worker::reactor::Reactor;

/// All that are set, by when they are due.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    set: BTreeMap<(Instant, u64), Waker>,
    last: u64,
}

/// Resolves when a moment has come.
#[derive(Debug)]
struct Alarm<'r> {
    reactor: &'r Reactor,
    due: Instant,
    /// Once it is set.
    number: Option<u64>,
}

/// It took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::relay::worker) struct Elapsed;

impl Reactor {
    /// Resolves at this moment, or soon after it.
    pub(in crate::relay::worker) fn alarm(&self, due: Instant) -> impl Future<Output = ()> {
        Alarm {
            reactor: self,
            due,
            number: None,
        }
    }

    /// Resolves after so long.
    pub(in crate::relay::worker) fn sleep(&self, time: Duration) -> impl Future<Output = ()> {
        self.alarm(Now::read().mono + time)
    }

    /// What the future comes to, unless that takes longer than this.
    pub(in crate::relay::worker) async fn within<T>(
        &self,
        time: Duration,
        future: impl Future<Output = T>,
    ) -> Result<T, Elapsed> {
        self.until(Now::read().mono + time, future).await
    }

    /// What the future comes to, unless that takes until `due`.
    pub(in crate::relay::worker) async fn until<T>(
        &self,
        due: Instant,
        future: impl Future<Output = T>,
    ) -> Result<T, Elapsed> {
        select! {
            biased;
            output = future => Ok(output),
            () = self.alarm(due) => Err(Elapsed),
        }
    }
}

impl Alarms {
    /// When the first one is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.set.first_key_value().map(|((due, _), _)| *due)
    }

    /// Wakes those that are due.
    pub(super) fn ring(&mut self, now: Instant) {
        while let Some(first) = self.set.first_entry()
            && first.key().0 <= now
        {
            first.remove().wake();
        }
    }

    fn set(&mut self, due: Instant, waker: Waker) -> u64 {
        self.last += 1;
        self.set.insert((due, self.last), waker);
        self.last
    }
}

impl Future for Alarm<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut alarms = self.reactor.alarms();
        let Some(number) = self.number else {
            let number = alarms.set(self.due, cx.waker().clone());
            drop(alarms);
            self.number = Some(number);
            return Poll::Pending;
        };
        match alarms.set.get_mut(&(self.due, number)) {
            Some(waker) => {
                waker.clone_from(cx.waker());
                Poll::Pending
            }
            // It has rung.
            None => Poll::Ready(()),
        }
    }
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.reactor.alarms().set.remove(&(self.due, number));
        }
    }
}

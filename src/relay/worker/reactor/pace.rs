//! How much tasks do in one of their worker's turns: what one of them does at once, all sockets wait for.

use std::{
    collections::BTreeMap,
    future::{self, Future, poll_fn},
    pin::pin,
    sync::{MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use crate::relay::worker::reactor::Reactor;

/// What tasks do, each kind at a pace of its own: clients' data wait for no stranger's handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::relay::worker) enum Work {
    /// Counted in bytes that are read.
    Streams,
    /// Counted in steps, each time that one is polled: almost every one is a signature, or a key that is agreed on.
    Handshakes,
}

/// What one task does of it, in turns of the worker's: as long as the turn has room, or in the order of who waits.
///
/// Of those who wait at least one goes on in each turn, whatever others do that have just become ready.
#[derive(Debug)]
pub(in crate::relay::worker) struct Paced<'r> {
    reactor: &'r Reactor,
    work: Work,
    place: Option<u64>,
}

/// How far all work has come in this turn: looked at in every one, at once.
#[derive(Debug)]
pub(super) struct Paces {
    streams: Pace,
    handshakes: Pace,
}

/// The same of one kind.
#[derive(Debug)]
struct Pace {
    per_turn: usize,
    left: usize,
    /// Who goes on as soon as there is room, in this order; each is woken once when it is the first.
    waiting: BTreeMap<u64, Option<Waker>>,
    /// The next one's place.
    next: u64,
    /// Whoever has a place from this one on has had enough in this turn, or found no room in it.
    next_turns: u64,
    /// Whether one of those who wait has gone on in this turn.
    has_called: bool,
}

impl<'r> Paced<'r> {
    pub(in crate::relay::worker) fn new(reactor: &'r Reactor, work: Work) -> Self {
        Self {
            reactor,
            work,
            place: None,
        }
    }

    /// Polls the future, but only when there is room for it.
    pub(in crate::relay::worker) async fn go_on<T>(
        &mut self,
        future: impl Future<Output = T>,
    ) -> T {
        let mut future = pin!(future);
        poll_fn(|cx| {
            ready!(self.poll_room(cx));
            future.as_mut().poll(cx)
        })
        .await
    }

    /// So much was done.
    pub(in crate::relay::worker) fn spend(&self, amount: usize) {
        self.reactor.paces().of(self.work).spend(amount);
    }

    /// Lets all sockets come first, and then those who wait already.
    pub(in crate::relay::worker) fn pause(&mut self) {
        if self.place.is_none() {
            self.place = Some(self.reactor.paces().of(self.work).queue_up());
        }
    }

    fn poll_room(&mut self, cx: &Context<'_>) -> Poll<()> {
        let mut paces = self.reactor.paces();
        let pace = paces.of(self.work);
        let has_room = match self.place {
            Some(place) => pace.is_called(place),
            None => pace.left > 0,
        };
        if !has_room {
            let place = *self.place.get_or_insert_with(|| pace.queue_up());
            pace.waiting.insert(place, Some(cx.waker().clone()));
            return Poll::Pending;
        }
        if let Some(place) = self.place.take() {
            pace.waiting.remove(&place);
            pace.has_called = true;
        }
        match self.work {
            Work::Handshakes => pace.spend(1),
            Work::Streams => {}
        }
        // It is polled only after this one, and finds what that has left.
        if pace.left > 0 {
            pace.call_first();
        }
        Poll::Ready(())
    }
}

impl Drop for Paced<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.reactor.paces().of(self.work).waiting.remove(&place);
        }
    }
}

impl Reactor {
    /// Lets all sockets come first that are ready.
    pub(in crate::relay::worker) async fn yield_now(&self) {
        let mut paced = Paced::new(self, Work::Streams);
        paced.pause();
        paced.go_on(future::ready(())).await;
    }

    /// Whether somebody waits for the next turn.
    pub(super) fn has_work(&self) -> bool {
        let Paces {
            streams,
            handshakes,
        } = &*self.paces();
        [streams, handshakes]
            .iter()
            .any(|pace| !pace.waiting.is_empty())
    }

    /// A turn begins: those who wait go on.
    pub(super) fn begin_turn(&self) {
        let Paces {
            streams,
            handshakes,
        } = &mut *self.paces();
        streams.begin_turn();
        handshakes.begin_turn();
    }

    fn paces(&self) -> MutexGuard<'_, Paces> {
        self.paces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Paces {
    fn default() -> Self {
        Self {
            streams: Pace::new(STREAM_BYTES_PER_TURN),
            handshakes: Pace::new(1),
        }
    }
}

impl Paces {
    fn of(&mut self, work: Work) -> &mut Pace {
        match work {
            Work::Streams => &mut self.streams,
            Work::Handshakes => &mut self.handshakes,
        }
    }
}

impl Pace {
    fn new(per_turn: usize) -> Self {
        Self {
            per_turn,
            left: per_turn,
            waiting: BTreeMap::new(),
            next: 0,
            next_turns: 0,
            has_called: false,
        }
    }

    fn begin_turn(&mut self) {
        self.left = self.per_turn;
        self.next_turns = self.next;
        self.has_called = false;
        self.call_first();
    }

    fn spend(&mut self, amount: usize) {
        self.left = self.left.saturating_sub(amount);
    }

    fn queue_up(&mut self) -> u64 {
        let place = self.next;
        self.next += 1;
        self.waiting.insert(place, None);
        place
    }

    fn is_called(&self, place: u64) -> bool {
        let is_first = self.waiting.keys().next() == Some(&place);
        is_first && place < self.next_turns && (self.left > 0 || !self.has_called)
    }

    fn call_first(&mut self) {
        if let Some(mut first) = self.waiting.first_entry()
            && *first.key() < self.next_turns
            && let Some(waker) = first.get_mut().take()
        {
            waker.wake();
        }
    }
}

/// How much streams bring before datagrams are served again: two large reads, or many small ones.
const STREAM_BYTES_PER_TURN: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, future::ready};

    use futures_util::future::join_all;

    use super::*;
    use crate::relay::worker::reactor;

    const HALF: usize = STREAM_BYTES_PER_TURN / 2;

    #[test]
    fn who_reads_much_shares_a_turn_with_few_and_each_comes_again_in_its_order() {
        reactor::run(async |reactor| {
            let read = RefCell::new(Vec::new());
            let stream = async |name| {
                let mut paced = Paced::new(&reactor, Work::Streams);
                for _ in 0..3 {
                    paced.pause();
                    paced.go_on(ready(())).await;
                    paced.spend(HALF);
                    let left = reactor.paces().of(Work::Streams).left;
                    read.borrow_mut().push((name, left));
                }
            };
            join_all(["a", "b", "c", "d"].map(stream)).await;
            let in_order = "abcdabcdabcd".split("").filter(|name| !name.is_empty());
            let expected: Vec<_> = in_order.zip([HALF, 0].into_iter().cycle()).collect();
            assert_eq!(read.into_inner(), expected);
        });
    }

    #[test]
    fn who_waits_comes_even_where_others_always_come_first() {
        reactor::run(async |reactor| {
            let mut waiting = Paced::new(&reactor, Work::Streams);
            waiting.pause();
            let spent = poll_fn(|_| {
                Paced::new(&reactor, Work::Streams).spend(usize::MAX);
                Poll::<()>::Pending
            });
            tokio::select! {
                biased;
                () = spent => {}
                () = waiting.go_on(ready(())) => {}
            }
        });
    }

    #[test]
    fn who_reads_little_does_not_wait_behind_who_has_had_enough() {
        reactor::run(async |reactor| {
            let mut greedy = Paced::new(&reactor, Work::Streams);
            greedy.go_on(ready(())).await;
            greedy.spend(HALF);
            greedy.pause();
            let mut modest = Paced::new(&reactor, Work::Streams);
            let turn = reactor.paces().of(Work::Streams).next_turns;
            modest.go_on(ready(())).await;
            assert_eq!(reactor.paces().of(Work::Streams).next_turns, turn);
        });
    }

    #[test]
    fn one_handshake_goes_on_in_a_turn_and_streams_do_not_wait_for_it() {
        reactor::run(async |reactor| {
            let mut paced = Paced::new(&reactor, Work::Handshakes);
            paced.go_on(ready(())).await;
            let other = Paced::new(&reactor, Work::Handshakes);
            let is_possible = |mut paced: Paced<'_>| {
                paced
                    .poll_room(&Context::from_waker(Waker::noop()))
                    .is_ready()
            };
            assert!(!is_possible(other));
            assert!(is_possible(Paced::new(&reactor, Work::Streams)));
        });
    }

    #[test]
    fn who_has_gone_keeps_no_place() {
        reactor::run(async |reactor| {
            let mut gone = Paced::new(&reactor, Work::Streams);
            gone.pause();
            assert!(reactor.has_work());
            drop(gone);
            assert!(!reactor.has_work());
            reactor.yield_now().await;
        });
    }
}

//! What time it is for all nodes, pure: Redis's clock, which stamps every entry of the log. Nodes' own clocks may differ;
//! what is stored, and what members are told, is by the one they share.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use crate::clock::{Now, UnixMillis};

/// By how much this node's wall clock is wrong. Nothing, until it is found out.
#[derive(Debug, Default)]
pub struct Reckoning {
    /// In ms; positive where this node's clock is behind.
    offset_ms: AtomicI64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The number of this node's last greeting, and when it was sent.
    sent: Option<(u64, Now)>,
    /// The last stamp.
    stamped: UnixMillis,
    is_known: bool,
}

impl Reckoning {
    /// The time that all nodes agree on.
    #[must_use]
    pub fn correct(&self, own: Now) -> Now {
        Now {
            unix: moved(own.unix, self.offset_ms.load(Ordering::Relaxed)),
            ..own
        }
    }

    /// Whether this node's clock has been compared.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.state().is_known
    }

    /// This node's entry of this number goes into the log; by its own clock.
    pub fn sent(&self, own: Now, number: u64) {
        self.state().sent = Some((number, own));
    }

    /// It is read, and Redis has stamped it. True if that moves the time.
    pub fn read(&self, own: Now, number: u64, stamped: UnixMillis) -> bool {
        let mut state = self.state();
        let Some((_, sent)) = state.sent.take_if(|(sent, _)| *sent == number) else {
            return false;
        };
        // Stamps never go back: one that stands still is of a clock that has to catch up.
        if state.stamped >= stamped {
            return false;
        }
        state.stamped = stamped;
        let took = own.mono.saturating_duration_since(sent.mono);
        // Something is better than nothing: a node that knows nothing is not ready.
        if took > TRIP_MAX && state.is_known {
            return false;
        }
        state.is_known = true;
        let offset_ms = difference(stamped, own.unix) + millis(took / 2);
        let known_ms = self.offset_ms.load(Ordering::Relaxed);
        let is_news = (offset_ms - known_ms).abs() > millis(took / 2 + NOISE);
        if is_news {
            self.offset_ms.store(offset_ms, Ordering::Relaxed);
        }
        is_news
    }

    /// By how much this node's clock is wrong, in ms.
    #[must_use]
    pub fn offset_ms(&self) -> i64 {
        self.offset_ms.load(Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What took longer on its way tells too little.
const TRIP_MAX: Duration = Duration::from_secs(1);
/// Less than this is not worth a step of the clock.
const NOISE: Duration = Duration::from_millis(50);

fn moved(moment: UnixMillis, by_ms: i64) -> UnixMillis {
    UnixMillis(moment.0.saturating_add_signed(by_ms))
}

/// How much later `one` is than `two`, in ms.
fn difference(one: UnixMillis, two: UnixMillis) -> i64 {
    millis(one.since(two)) - millis(two.since(one))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_wrong_is_corrected_either_way() {
        for wrong_by_ms in [-90_000, -400, 400, 90_000] {
            let reckoning = Reckoning::default();
            let mut own = Now::read();
            let truth = |own: Now| moved(own.unix, -wrong_by_ms);
            assert!(!reckoning.is_known());
            reckoning.sent(own, 7);
            let stamped = truth(own.advanced(ms(5)));
            own = own.advanced(ms(10));
            assert!(!reckoning.read(own, 6, stamped), "another entry");
            assert!(reckoning.read(own, 7, stamped) && reckoning.is_known());
            let off_ms = difference(reckoning.correct(own).unix, truth(own)).abs();
            assert!(off_ms <= 1, "{off_ms} ms off after {wrong_by_ms}");
            assert!(!reckoning.read(own, 7, stamped), "it is read once");
        }
    }

    #[test]
    fn a_right_clock_stays_alone_however_long_an_entry_takes() {
        let reckoning = Reckoning::default();
        let mut own = Now::read();
        for (number, (there_ms, back_ms)) in
            [(1, 1), (0, 90), (700, 20), (20, 700), (4000, 10), (5, 4000)]
                .into_iter()
                .enumerate()
        {
            reckoning.sent(own, number as u64);
            let stamped = own.advanced(ms(there_ms)).unix;
            own = own.advanced(ms(there_ms + back_ms));
            assert!(!reckoning.read(own, number as u64, stamped));
        }
        assert_eq!(reckoning.correct(own), own);
    }

    #[test]
    fn a_slow_first_comparison_counts_and_a_quick_one_betters_it() {
        let reckoning = Reckoning::default();
        let mut own = Now::read();
        let truth = |own: Now| moved(own.unix, 90_000);
        let off_ms = |own| difference(reckoning.correct(own).unix, truth(own)).abs();
        for (number, (back_ms, is_news, off_ms_max)) in
            [(4000, true, 2000), (2000, false, 2000), (10, true, 5)]
                .into_iter()
                .enumerate()
        {
            reckoning.sent(own, number as u64);
            let stamped = truth(own);
            own = own.advanced(ms(back_ms));
            assert_eq!(reckoning.read(own, number as u64, stamped), is_news);
            assert!(reckoning.is_known() && off_ms(own) <= off_ms_max);
        }
    }

    #[test]
    fn a_clock_that_stands_still_moves_nobody() {
        let reckoning = Reckoning::default();
        let mut own = Now::read();
        let stamped = own.unix;
        for number in 1..9 {
            reckoning.sent(own, number);
            assert!(!reckoning.read(own, number, stamped));
            own = own.advanced(Duration::from_secs(1));
        }
        assert_eq!(reckoning.offset_ms(), 0);
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }
}

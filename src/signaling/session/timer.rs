//! The timer's arithmetic. It is kept on the wall clock, since it outlives processes: a start and a length say what is
//! left at any moment, so that no node has to count.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::UnixMillis;

/// A timer that was started and has not been replaced. One that has run out is as good as none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timer {
    duration: Duration,
    /// When it would have been started to be where it is, had it never been paused.
    started_at: UnixMillis,
    paused_at: Option<UnixMillis>,
}

/// A timer as members are told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerView {
    /// Whole seconds.
    pub remaining_seconds: u64,
    /// False once it has run out.
    pub is_active: bool,
    /// Whether time stands still.
    pub is_paused: bool,
}

/// What a timer may be set to.
pub const DURATION_MAX: Duration = Duration::from_secs(24 * 3600);
/// How often members are told what is left.
pub const TICK: Duration = Duration::from_secs(5);

impl Timer {
    /// Starts now.
    #[must_use]
    pub fn start(now: UnixMillis, duration: Duration) -> Self {
        Self {
            duration,
            started_at: now,
            paused_at: None,
        }
    }

    /// As it was stored: `started_at` moves on by every pause that has ended.
    #[must_use]
    pub fn restore(
        duration: Duration,
        started_at: UnixMillis,
        paused_at: Option<UnixMillis>,
    ) -> Self {
        Self {
            duration,
            started_at,
            paused_at,
        }
    }

    /// How long it was set to.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// When it would have been started to be where it is, had it never been paused.
    #[must_use]
    pub fn started_at(&self) -> UnixMillis {
        self.started_at
    }

    /// Since when it stands still.
    #[must_use]
    pub fn paused_at(&self) -> Option<UnixMillis> {
        self.paused_at
    }

    /// What is left: never more than was set, never more than before.
    #[must_use]
    pub fn remaining(&self, now: UnixMillis) -> Duration {
        let elapsed = self.paused_at.unwrap_or(now).since(self.started_at);
        self.duration.saturating_sub(elapsed)
    }

    /// Whether it has run out.
    #[must_use]
    pub fn is_over(&self, now: UnixMillis) -> bool {
        self.remaining(now).is_zero()
    }

    /// As members are told of it.
    #[must_use]
    pub fn view(&self, now: UnixMillis) -> TimerView {
        let remaining = self.remaining(now);
        let rounded = (remaining + Duration::from_millis(500)).as_secs();
        TimerView {
            // Zero means that it is over.
            remaining_seconds: rounded.max(u64::from(!remaining.is_zero())),
            is_active: !remaining.is_zero(),
            is_paused: !remaining.is_zero() && self.paused_at.is_some(),
        }
    }

    /// Whether this is what members see: a whole number of seconds, and the one that is left.
    #[must_use]
    pub fn shows(&self, now: UnixMillis, remaining: Duration) -> bool {
        remaining.subsec_nanos() == 0 && self.view(now).remaining_seconds == remaining.as_secs()
    }

    /// When members are to be told next: every five seconds of its own time, and at its end; `None` while it stands
    /// still or is over.
    #[must_use]
    pub fn next_tick(&self, now: UnixMillis) -> Option<UnixMillis> {
        if self.paused_at.is_some() || self.is_over(now) {
            return None;
        }
        let elapsed = now.since(self.started_at).as_millis();
        let ticks = u32::try_from(elapsed / TICK.as_millis()).unwrap_or(u32::MAX - 1);
        let next = TICK * (ticks + 1);
        Some(self.started_at.plus(next.min(self.duration)))
    }

    /// Stops time. False if it stood still already.
    pub(super) fn pause(&mut self, now: UnixMillis) -> bool {
        let running = self.paused_at.is_none();
        self.paused_at.get_or_insert(now);
        running
    }

    /// Lets time go on. False if it did already.
    pub(super) fn resume(&mut self, now: UnixMillis) -> bool {
        let Some(paused_at) = self.paused_at.take() else {
            return false;
        };
        self.started_at = self.started_at.plus(now.since(paused_at));
        true
    }

    /// Sets what is left.
    pub(super) fn set_remaining(&mut self, now: UnixMillis, remaining: Duration) {
        self.duration = self.duration.max(remaining);
        let moment = self.paused_at.unwrap_or(now);
        let elapsed = self.duration - remaining;
        let elapsed = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        self.started_at = UnixMillis(moment.0.saturating_sub(elapsed));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: UnixMillis = UnixMillis(1_700_000_000_000);

    #[test]
    fn it_ticks_every_five_seconds_and_once_at_the_end() {
        let timer = Timer::start(START, Duration::from_secs(12));
        let mut ticks = Vec::new();
        let mut now = START;
        while let Some(next) = timer.next_tick(now) {
            ticks.push((next.0 - START.0, timer.view(next).remaining_seconds));
            now = next;
        }
        assert_eq!(ticks, [(5000, 7), (10_000, 2), (12_000, 0)]);
        assert!(!timer.view(now).is_active);
    }

    #[test]
    fn a_pause_stops_time() {
        let mut timer = Timer::start(START, Duration::from_secs(60));
        assert!(timer.pause(after(7_300)) && !timer.pause(after(9_000)));
        assert_eq!(
            timer.remaining(after(30_000)),
            Duration::from_millis(52_700)
        );
        assert_eq!(timer.next_tick(after(30_000)), None);
        assert!(timer.resume(after(40_000)) && !timer.resume(after(41_000)));
        assert_eq!(
            timer.remaining(after(40_000)),
            Duration::from_millis(52_700)
        );
        assert_eq!(timer.next_tick(after(40_000)), Some(after(42_700)));
    }

    #[test]
    fn seconds_are_rounded_and_zero_means_over() {
        let timer = Timer::start(START, Duration::from_millis(1_600));
        let cases = [
            (0, 2),
            (200, 1),
            (1_000, 1),
            (1_599, 1),
            (1_600, 0),
            (9_999, 0),
        ];
        for (millis, seconds) in cases {
            let view = timer.view(after(millis));
            assert_eq!(view.remaining_seconds, seconds, "after {millis} ms");
            assert_eq!(view.is_active, seconds > 0);
        }
    }

    #[test]
    fn what_is_left_can_be_set() {
        let mut timer = Timer::start(START, Duration::from_secs(60));
        timer.set_remaining(after(10_000), Duration::from_secs(20));
        assert_eq!(timer.remaining(after(10_000)), Duration::from_secs(20));
        timer.set_remaining(after(11_000), Duration::from_secs(90));
        assert_eq!(timer.remaining(after(12_000)), Duration::from_secs(89));
        timer.pause(after(12_000));
        timer.set_remaining(after(13_000), Duration::from_secs(5));
        assert_eq!(timer.remaining(after(99_000)), Duration::from_secs(5));
    }

    proptest! {
        #[test]
        fn it_never_gains_time(
            duration_ms in 1_u64..100_000,
            steps in prop::collection::vec((0_u64..10_000, 0_u8..3), 0..40),
        ) {
            let mut timer = Timer::start(START, Duration::from_millis(duration_ms));
            let (mut now, mut left, mut ran) = (START, timer.remaining(START), Duration::ZERO);
            for (pass_ms, act) in steps {
                let was_running = timer.paused_at.is_none();
                let pass = Duration::from_millis(pass_ms);
                now = now.plus(pass);
                ran += if was_running { pass } else { Duration::ZERO };
                prop_assert!(timer.remaining(now) <= left);
                left = timer.remaining(now);
                match act {
                    0 => drop(timer.pause(now)),
                    1 => drop(timer.resume(now)),
                    _ => {}
                }
                prop_assert_eq!(timer.remaining(now), left);
                prop_assert_eq!(left, Duration::from_millis(duration_ms).saturating_sub(ran));
            }
        }
    }

    fn after(millis: u64) -> UnixMillis {
        UnixMillis(START.0 + millis)
    }
}

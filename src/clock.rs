//! The only reads of a clock. Everything else takes [`Now`] as an argument.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::time::ClockId;
use serde::{Deserialize, Serialize};

/// One reading of both clocks, taken once per batch of packets or at a handler's door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Never steps: lifetimes and deadlines are measured on it.
    pub mono: Instant,
    /// The wall clock: credentials, timestamps and everything stored.
    pub unix: UnixMillis,
}

impl Now {
    /// Reads both clocks.
    ///
    /// A wall clock before 1970 reads as 0: every time-limited credential is then valid, none is issued in the past.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn read() -> Self {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let millis = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
        Self {
            mono: Instant::now(),
            unix: UnixMillis(millis),
        }
    }

    /// Reads both clocks for those who do so with every packet: the wall clock as the kernel's last tick left it, up to
    /// 10 ms ago. It steps as the other one does, is the same for all threads, and costs next to nothing.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn read_coarsely() -> Self {
        let millis = ClockId::CLOCK_REALTIME_COARSE.now().map(|since_epoch| {
            let seconds = u64::try_from(since_epoch.tv_sec()).unwrap_or_default();
            let nanos = u64::try_from(since_epoch.tv_nsec()).unwrap_or_default();
            seconds.saturating_mul(1000) + nanos / 1_000_000
        });
        match millis {
            Ok(millis) => Self {
                mono: Instant::now(),
                unix: UnixMillis(millis),
            },
            // Linux has it since 2.6.32.
            Err(_) => Self::read(),
        }
    }

    /// When the wall clock will read `moment`, on the clock that deadlines are kept on; now if that is past.
    #[must_use]
    pub fn until(self, moment: UnixMillis) -> Instant {
        self.mono + moment.since(self.unix)
    }

    /// Both clocks moved on by `by`: how tests let time pass.
    #[must_use]
    pub fn advanced(self, by: Duration) -> Self {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        Self {
            mono: self.mono + by,
            unix: UnixMillis(self.unix.0.saturating_add(millis)),
        }
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// How long after `earlier` this is; zero if it is not.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The moment `by` later.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// The same moment in whole seconds, rounded down.
    #[must_use]
    pub fn seconds(self) -> UnixSeconds {
        UnixSeconds(self.0 / 1000)
    }

    /// ISO 8601 in UTC with milliseconds, as `Date.prototype.toISOString` writes it; no later than the year 9999.
    #[must_use]
    pub fn iso8601(self) -> String {
        let moment = UNIX_EPOCH + Duration::from_millis(self.0.min(YEAR_10000_MILLIS - 1));
        humantime::format_rfc3339_millis(moment).to_string()
    }
}

/// The first moment with a year of five digits.
const YEAR_10000_MILLIS: u64 = 253_402_300_800_000;

/// Seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixSeconds(pub u64);

impl UnixSeconds {
    /// The same moment in milliseconds.
    #[must_use]
    pub fn millis(self) -> UnixMillis {
        UnixMillis(self.0.saturating_mul(1000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coarse_reading_is_of_a_moment_ago() {
        let coarse = Now::read_coarsely();
        let precise = Now::read();
        assert!(coarse.mono <= precise.mono && coarse.unix <= precise.unix);
        assert!(precise.unix.since(coarse.unix) < Duration::from_secs(1));
    }

    #[test]
    fn iso8601_reads_like_javascripts() {
        assert_eq!(
            UnixMillis(1_700_000_000_123).iso8601(),
            "2023-11-14T22:13:20.123Z"
        );
        assert_eq!(UnixMillis(u64::MAX).iso8601(), "9999-12-31T23:59:59.999Z");
    }
}

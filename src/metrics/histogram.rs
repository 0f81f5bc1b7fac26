//! How long something took, counted by how long: what many tasks share.

use std::{
    array,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Durations, counted.
#[derive(Debug, Default)]
pub struct Histogram {
    /// One for each of [`BOUNDS`], and one for what is longer.
    counts: [AtomicU64; BOUNDS.len() + 1],
    sum_nanos: AtomicU64,
}

/// What a [`Histogram`] has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    counts: [u64; BOUNDS.len() + 1],
    /// All durations together.
    pub sum: Duration,
}

impl Histogram {
    /// Counts one more.
    pub fn observe(&self, took: Duration) {
        let place = BOUNDS.partition_point(|bound| *bound < took);
        self.counts[place].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// What there is by now.
    #[must_use]
    pub fn read(&self) -> Distribution {
        Distribution {
            counts: array::from_fn(|place| self.counts[place].load(Ordering::Relaxed)),
            sum: Duration::from_nanos(self.sum_nanos.load(Ordering::Relaxed)),
        }
    }
}

impl Distribution {
    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How many took no longer than each of [`BOUNDS`].
    pub fn up_to(&self) -> impl Iterator<Item = (Duration, u64)> {
        let mut sum = 0;
        BOUNDS
            .into_iter()
            .zip(self.counts)
            .map(move |(bound, more)| {
                sum += more;
                (bound, sum)
            })
    }
}

/// From what one lock costs to what somebody notices.
pub const BOUNDS: [Duration; 12] = [
    Duration::from_micros(10),
    Duration::from_micros(25),
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_millis(2_500),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_as_long_as_a_bound_counts_to_it() {
        let histogram = Histogram::default();
        let took = [0, 10, 11, 1_000, 9_000_000];
        for micros in took {
            histogram.observe(Duration::from_micros(micros));
        }
        let distribution = histogram.read();
        assert_eq!(distribution.count(), 5);
        assert_eq!(distribution.sum, Duration::from_micros(took.iter().sum()));
        let cumulated: Vec<_> = distribution.up_to().map(|(_, count)| count).collect();
        assert_eq!(cumulated, [2, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4]);
    }
}

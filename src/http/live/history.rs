//! How it was in the last minutes: a point a second while somebody watches, and one in five otherwise.

use std::{collections::VecDeque, time::Duration};

use serde::Serialize;

use crate::clock::UnixMillis;

use super::rates::Rate;

/// The points themselves.
#[derive(Default)]
pub(super) struct History(VecDeque<Point>);

/// What a chart shows of one moment; a list, since there are many.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) at: UnixMillis,
    pub(super) sessions: usize,
    pub(super) participants: usize,
    pub(super) allocations: u64,
    pub(super) ports: usize,
    pub(super) to_peers: Rate,
    pub(super) to_clients: Rate,
    pub(super) drops_per_second: u64,
    pub(super) failed_logins_per_second: u64,
}

impl Serialize for Point {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let numbers = [
            self.at.0,
            self.sessions as u64,
            self.participants as u64,
            self.allocations,
            self.ports as u64,
            self.to_peers.packets_per_second,
            self.to_peers.bits_per_second,
            self.to_clients.packets_per_second,
            self.to_clients.bits_per_second,
            self.drops_per_second,
            self.failed_logins_per_second,
        ];
        numbers.serialize(to)
    }
}

impl History {
    pub(super) fn add(&mut self, point: Point) {
        while self.0.len() >= POINTS_MAX
            || self
                .0
                .front()
                .is_some_and(|oldest| point.at.since(oldest.at) > KEPT)
        {
            self.0.pop_front();
        }
        self.0.push_back(point);
    }

    pub(super) fn points(&self) -> impl Iterator<Item = Point> {
        self.0.iter().copied()
    }
}

const KEPT: Duration = Duration::from_secs(300);
/// Newcomers bring points of their own.
const POINTS_MAX: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_minutes_are_kept() {
        let mut history = History::default();
        for second in 0..1000 {
            history.add(point(second * 1000));
        }
        let kept: Vec<_> = history.points().map(|point| point.at.0).collect();
        assert_eq!(
            (kept.first(), kept.last()),
            (Some(&699_000), Some(&999_000))
        );
        for _ in 0..1000 {
            history.add(point(999_001));
        }
        assert_eq!(history.points().count(), POINTS_MAX);
    }

    fn point(at: u64) -> Point {
        Point {
            at: UnixMillis(at),
            sessions: 0,
            participants: 0,
            allocations: 0,
            ports: 0,
            to_peers: Rate::default(),
            to_clients: Rate::default(),
            drops_per_second: 0,
            failed_logins_per_second: 0,
        }
    }
}

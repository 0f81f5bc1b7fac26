//! What signaling counts. Events are few beside relayed packets: all tasks share these.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Now;
use crate::metrics::histogram::{Distribution, Histogram};
use crate::store::Census;
use crate::store::redis;

use super::engine_io::Figures;
use super::protocol::{Code, HEARD, Limit, Refusal, Reply};

/// Everything since the start.
#[derive(Debug, Default)]
pub(super) struct Counters {
    heard: [AtomicU64; HEARD.len()],
    unheard: AtomicU64,
    refused: [AtomicU64; Code::ALL.len()],
    beyond: [AtomicU64; Limit::ALL.len()],
    connected: AtomicU64,
    recovered: AtomicU64,
    turned_away: [AtomicU64; TurnedAway::ALL.len()],
    floods: AtomicU64,
    handling: Histogram,
}

/// Why a client is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TurnedAway {
    /// `limits.connections` or `limits.connections_per_source`.
    Limit,
    /// Its token does not do.
    Token,
}

/// Signaling in numbers.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Sessions and participants.
    pub census: Census,
    /// Nodes, this one among them.
    pub nodes: usize,
    /// Socket.IO connections.
    pub sockets: usize,
    /// Those who watch the parser.
    pub monitors: usize,
    /// Engine.IO sessions.
    pub engines: Figures,
    /// Events by their names, of those that mean something; the others are the last.
    pub events: Vec<(&'static str, u64)>,
    /// Refused events by their codes.
    pub errors: Vec<(&'static str, u64)>,
    /// What limits have refused, by their keys.
    pub limits: Vec<(&'static str, u64)>,
    /// Connections that were let in.
    pub connected: u64,
    /// Those of them who came back as who they were.
    pub recovered: u64,
    /// Connections that were not let in, by why.
    pub turned_away: Vec<(&'static str, u64)>,
    /// Connections cut off, as they sent far more events than they may.
    pub floods: u64,
    /// Connections cut off, as their clients did not read what they were sent.
    pub overruns: u64,
    /// How long events took.
    pub handling: Distribution,
    /// Where there is a Redis.
    pub redis: Option<redis::Snapshot>,
}

impl Counters {
    /// An event came: its place in [`HEARD`], if it has one.
    pub(super) fn heard(&self, place: Option<usize>) {
        let counter = place.and_then(|place| self.heard.get(place));
        count(counter.unwrap_or(&self.unheard));
    }

    /// An event that came at `now` has been served.
    pub(super) fn answered(&self, now: Now, answer: &Result<Reply, Refusal>) {
        let took = Now::read().mono.saturating_duration_since(now.mono);
        self.handling.observe(took);
        let Err(refusal) = answer else {
            return;
        };
        count(&self.refused[refusal.code() as usize]);
        if let Some(limit) = refusal.beyond() {
            count(&self.beyond[limit as usize]);
        }
    }

    /// A client is let in; perhaps as who it was.
    pub(super) fn connected(&self, is_recovered: bool) {
        count(&self.connected);
        if is_recovered {
            count(&self.recovered);
        }
    }

    /// A client is not let in.
    pub(super) fn turned_away(&self, why: TurnedAway) {
        count(&self.turned_away[why as usize]);
    }

    /// A client that sends far more than it may is cut off.
    pub(super) fn flooded(&self) {
        count(&self.floods);
    }

    /// What was counted, in a snapshot of nothing else.
    pub(super) fn snapshot(&self) -> Snapshot {
        let named = HEARD.into_iter().zip(self.heard.iter().map(read));
        Snapshot {
            census: Census::default(),
            nodes: 0,
            sockets: 0,
            monitors: 0,
            engines: Figures::default(),
            events: named.chain([("other", read(&self.unheard))]).collect(),
            errors: all(Code::ALL.map(Code::name), &self.refused),
            limits: all(Limit::ALL.map(Limit::key), &self.beyond),
            connected: read(&self.connected),
            recovered: read(&self.recovered),
            turned_away: all(TurnedAway::ALL.map(TurnedAway::name), &self.turned_away),
            floods: read(&self.floods),
            overruns: 0,
            handling: self.handling.read(),
            redis: None,
        }
    }
}

impl TurnedAway {
    /// Every reason, in the order of their counters.
    const ALL: [Self; 2] = [Self::Limit, Self::Token];

    fn name(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Token => "token",
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn all<const N: usize>(
    names: [&'static str; N],
    counters: &[AtomicU64; N],
) -> Vec<(&'static str, u64)> {
    names.into_iter().zip(counters.iter().map(read)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_counter() {
        let counters = Counters::default();
        for place in (0..HEARD.len()).map(Some).chain([None]) {
            counters.heard(place);
        }
        for (index, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(code as usize, index);
        }
        for (index, limit) in Limit::ALL.into_iter().enumerate() {
            assert_eq!(limit as usize, index);
            counters.answered(Now::read(), &Err(Refusal::limit(limit)));
        }
        for (index, why) in TurnedAway::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, index);
            counters.turned_away(why);
        }
        let snapshot = counters.snapshot();
        let once = [&snapshot.events, &snapshot.limits, &snapshot.turned_away];
        for (name, counted) in once.into_iter().flatten() {
            assert_eq!(*counted, 1, "{name}");
        }
        assert!(snapshot.errors.contains(&("LIMIT_EXCEEDED", 4)));
        assert_eq!(snapshot.handling.count(), 4);
    }
}

//! Figures, their medians, and the table.

use std::{fmt::Write as _, time::Duration};

use crate::contestant::{Contestant, Spent};
use crate::process::median;

impl Spent {
    fn per_second(&self) -> f64 {
        self.count as f64 / self.wall.as_secs_f64()
    }

    fn cpu_micros_each(&self) -> f64 {
        micros(self.cpu) / self.count as f64
    }

    fn busy_percent(&self) -> f64 {
        100.0 * self.cpu.as_secs_f64() / self.wall.as_secs_f64()
    }
}

/// Percentiles of how long candidates were under way.
pub(crate) struct Latency {
    p50: Duration,
    p99: Duration,
    p999: Duration,
}

impl Latency {
    pub(crate) fn of(mut latencies: Vec<Duration>) -> Self {
        latencies.sort_unstable();
        let at = |per_mille: usize| {
            let rank = (latencies.len() * per_mille).div_ceil(1000);
            let found = latencies.get(rank.saturating_sub(1));
            found.copied().unwrap_or_default()
        };
        Self {
            p50: at(500),
            p99: at(990),
            p999: at(999),
        }
    }
}

/// One server in one round.
pub(crate) struct Measured {
    /// TCP, WebSocket, Engine.IO and Socket.IO, up to the namespace.
    pub(crate) connecting: Spent,
    /// join-session, until all members have been told.
    pub(crate) joining: Spent,
    pub(crate) resident_bytes_per_socket: f64,
    pub(crate) paced: Spent,
    pub(crate) latency: Latency,
    pub(crate) saturated: Spent,
}

/// One row a figure, one column a server, and what the first takes for each unit of the second.
pub(crate) fn table(measured: &[(Contestant, Vec<Measured>)]) -> String {
    let names: Vec<String> = measured.iter().map(|(who, _)| who.to_string()).collect();
    let ratio = (names.len() == 2).then(|| names.join("/"));
    let columns = names.len() + usize::from(ratio.is_some());
    let mut table = format!(
        "| | {} |\n| --- |",
        names
            .iter()
            .chain(&ratio)
            .cloned()
            .collect::<Vec<_>>()
            .join(" | ")
    );
    table.push_str(&" ---: |".repeat(columns));
    table.push('\n');
    for (name, decimals, figure) in ROWS {
        let medians: Vec<f64> = measured
            .iter()
            .map(|(_, rounds)| median(&rounds.iter().map(figure).collect::<Vec<_>>()))
            .collect();
        let _ = write!(table, "| {name} |");
        for median in &medians {
            let _ = write!(table, " {median:.decimals$} |");
        }
        if let [one, other] = medians.as_slice() {
            let _ = write!(table, " {:.2} |", one / other);
        }
        table.push('\n');
    }
    table
}

type Figure = fn(&Measured) -> f64;

/// Name, decimals, and how it is had.
const ROWS: [(&str, usize, Figure); 13] = [
    ("connections/s", 0, |m| m.connecting.per_second()),
    ("CPU µs per connection", 1, |m| {
        m.connecting.cpu_micros_each()
    }),
    ("joins/s", 0, |m| m.joining.per_second()),
    ("CPU µs per join", 1, |m| m.joining.cpu_micros_each()),
    ("KiB per idle joined socket", 1, |m| {
        m.resident_bytes_per_socket / 1024.0
    }),
    ("CPU µs per event, paced", 1, |m| m.paced.cpu_micros_each()),
    ("p50 µs, paced", 0, |m| micros(m.latency.p50)),
    ("p99 µs, paced", 0, |m| micros(m.latency.p99)),
    ("p99.9 µs, paced", 0, |m| micros(m.latency.p999)),
    ("core busy %, paced", 0, |m| m.paced.busy_percent()),
    ("CPU µs per event, saturated", 1, |m| {
        m.saturated.cpu_micros_each()
    }),
    ("events/s, saturated", 0, |m| m.saturated.per_second()),
    ("core busy %, saturated", 0, |m| m.saturated.busy_percent()),
];

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

//! Figures, their medians, and the tables.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use crate::contestant::Contestant;
use crate::flows::{Case, Tally};
use crate::process::median;

/// Everything that was measured, row by row in the order of its first appearance.
pub(crate) struct Report {
    contestants: Vec<Contestant>,
    rows: Vec<String>,
    /// By row and contestant: a value for each round.
    values: BTreeMap<(usize, usize), Vec<f64>>,
}

impl Report {
    pub(crate) fn new(contestants: &[Contestant]) -> Self {
        Self {
            contestants: contestants.to_vec(),
            rows: Vec::new(),
            values: BTreeMap::new(),
        }
    }

    pub(crate) fn add_case(
        &mut self,
        who: Contestant,
        case: &Case,
        cpu: Duration,
        wall: Duration,
        tally: Tally,
    ) {
        let Tally {
            sent,
            delivered,
            mut latencies,
        } = tally;
        let packets = delivered as f64;
        self.add(
            who,
            &format!("{case}: CPU µs per packet"),
            micros(cpu) / packets,
        );
        if case.packets_per_second.is_none() {
            self.add(
                who,
                &format!("{case}: packets/s"),
                packets / wall.as_secs_f64(),
            );
        }
        let lost = 100.0 * (1.0 - packets / sent.max(1) as f64);
        self.add(who, &format!("{case}: lost %"), lost.max(0.0));
        latencies.sort_unstable();
        for (name, per_mille) in [("p50", 500), ("p99", 990), ("p99.9", 999)] {
            let rank = (latencies.len() * per_mille).div_ceil(1000);
            if let Some(latency) = latencies.get(rank.saturating_sub(1)) {
                self.add(who, &format!("{case}: {name} µs"), micros(*latency));
            }
        }
    }

    pub(crate) fn add_figure(&mut self, who: Contestant, name: &str, value: f64) {
        self.add(who, name, value);
    }

    /// One row a figure, one column a server, and what the first takes for each unit of the others.
    pub(crate) fn tables(&self) -> String {
        let mut table = String::from("| |");
        for who in &self.contestants {
            let _ = write!(table, " {who} |");
        }
        for other in self.contestants.iter().skip(1) {
            let _ = write!(table, " {}/{other} |", self.contestants[0]);
        }
        table.push_str("\n| --- |");
        table.push_str(&" ---: |".repeat(2 * self.contestants.len() - 1));
        table.push('\n');
        for (row, name) in self.rows.iter().enumerate() {
            let _ = write!(table, "| {name} |");
            let medians: Vec<_> = (0..self.contestants.len())
                .map(|column| self.values.get(&(row, column)).map(|values| median(values)))
                .collect();
            for median in &medians {
                match median {
                    Some(value) => {
                        let _ = write!(table, " {value:.2} |");
                    }

                    None => table.push_str(" |"),
                }
            }
            for other in &medians[1..] {
                match (medians[0], other) {
                    (Some(first), Some(other)) if *other > 0.0 => {
                        let _ = write!(table, " {:.2} |", first / other);
                    }
                    _ => table.push_str(" |"),
                }
            }
            table.push('\n');
        }
        table
    }

    fn add(&mut self, who: Contestant, row: &str, value: f64) {
        let Some(column) = self.contestants.iter().position(|other| *other == who) else {
            return;
        };
        let known = self.rows.iter().position(|name| name == row);
        let row = known.unwrap_or_else(|| {
            self.rows.push(row.to_owned());
            self.rows.len() - 1
        });
        self.values.entry((row, column)).or_default().push(value);
    }
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

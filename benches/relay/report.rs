//! Figures, their medians, and the tables.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use crate::case::{Case, Pace};
use crate::contestant::Contestant;
use crate::load::Tally;
use crate::process::median;
use crate::search::Held;

/// Everything that was measured.
pub(crate) struct Report {
    contestants: Vec<Contestant>,
    tables: BTreeMap<Section, Table>,
}

/// What one table is about, in the order of their printing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Section {
    PacketCpu,
    HeldRate,
    Busy,
    WindowRate,
    Latency,
    Lost,
    RequestCpu,
    RequestRate,
    Memory,
}

impl Section {
    /// Whether less of it is better, or more; a share of something else is neither.
    fn is_compared(self) -> bool {
        !matches!(self, Self::Busy | Self::Lost)
    }

    fn title(self) -> &'static str {
        match self {
            Self::PacketCpu => "CPU µs per delivered packet",
            Self::HeldRate => "Delivered packets/s at under 1 % loss, the highest rate offered",
            Self::Busy => {
                "Of the server's core, %: well below a hundred, it was the load that could offer no more"
            }
            Self::WindowRate => "Delivered packets/s, 256 under way at a time",
            Self::Latency => {
                "Added latency, µs: what a direct hop over loopback takes is subtracted"
            }
            Self::Lost => "Lost, %",
            Self::RequestCpu => "CPU µs per request",
            Self::RequestRate => "Requests/s",
            Self::Memory => "KiB of resident memory",
        }
    }
}

/// Row by row in the order of first appearance; a value for each round.
#[derive(Default)]
struct Table {
    rows: Vec<Row>,
}

struct Row {
    name: String,
    values: Vec<(Contestant, f64)>,
    /// What there is without any server.
    direct: Vec<f64>,
}

impl Report {
    pub(crate) fn new(contestants: &[Contestant]) -> Self {
        Self {
            contestants: contestants.to_vec(),
            tables: BTreeMap::new(),
        }
    }

    pub(crate) fn add_case(
        &mut self,
        who: Contestant,
        case: &Case,
        (cpu, wall): (Duration, Duration),
        tally: Tally,
    ) {
        let (name, packets) = (case.to_string(), tally.delivered as f64);
        self.add(who, Section::PacketCpu, &name, micros(cpu) / packets);
        if case.pace == Pace::Saturated {
            let rate = packets / wall.as_secs_f64();
            self.add(who, Section::WindowRate, &name, rate);
            let busy = 100.0 * cpu.as_secs_f64() / wall.as_secs_f64();
            self.add(who, Section::Busy, &name, busy);
        }
        self.add(who, Section::Lost, &name, tally.lost_percent());
        for (percentile, latency) in percentiles(tally.latencies) {
            let name = format!("{name}: {percentile}");
            self.add(who, Section::Latency, &name, latency);
        }
    }

    pub(crate) fn add_held(&mut self, who: Contestant, case: &Case, held: Held) {
        let name = case.to_string();
        self.add(who, Section::HeldRate, &name, held.delivered_per_second);
        let name = format!("{name}: at the highest rate");
        self.add(who, Section::Busy, &name, held.busy_percent);
        self.add(who, Section::Lost, &name, held.lost_percent);
    }

    /// The same case without a server.
    pub(crate) fn add_direct(&mut self, case: &Case, tally: Tally) {
        for (percentile, latency) in percentiles(tally.latencies) {
            let row = self.row(Section::Latency, &format!("{case}: {percentile}"));
            row.direct.push(latency);
        }
    }

    pub(crate) fn add(&mut self, who: Contestant, section: Section, row: &str, value: f64) {
        self.row(section, row).values.push((who, value));
    }

    /// A table each: one row a figure, one column a server, and what the first has for each unit of the others.
    pub(crate) fn tables(&self) -> String {
        let mut text = String::new();
        for (section, table) in &self.tables {
            let has_direct = *section == Section::Latency;
            let others = if section.is_compared() {
                &self.contestants[1..]
            } else {
                &[]
            };
            let _ = write!(text, "\n### {}\n\n| |", section.title());
            for who in &self.contestants {
                let _ = write!(text, " {who} |");
            }
            for other in others {
                let _ = write!(text, " {}/{other} |", self.contestants[0]);
            }
            text.push_str(if has_direct { " direct hop |\n" } else { "\n" });
            let columns = self.contestants.len() + others.len() + usize::from(has_direct);
            let _ = writeln!(text, "| --- |{}", " ---: |".repeat(columns));
            for row in &table.rows {
                let _ = write!(text, "| {} |", row.name);
                self.write_values(&mut text, row, others.len());
                if has_direct {
                    write_cell(
                        &mut text,
                        (!row.direct.is_empty()).then(|| median(&row.direct)),
                    );
                }
                text.push('\n');
            }
        }
        text
    }

    fn write_values(&self, text: &mut String, row: &Row, compared: usize) {
        let medians: Vec<_> = self
            .contestants
            .iter()
            .map(|who| row.median_of(*who))
            .collect();
        for median in &medians {
            write_cell(text, *median);
        }
        for other in medians[1..].iter().take(compared) {
            let ratio = match (medians[0], other) {
                (Some(first), Some(other)) if first >= 0.0 && *other > 0.0 => Some(first / other),
                (Some(_) | None, Some(_) | None) => None,
            };
            write_cell(text, ratio);
        }
    }

    fn row(&mut self, section: Section, name: &str) -> &mut Row {
        let rows = &mut self.tables.entry(section).or_default().rows;
        let at = rows.iter().position(|row| row.name == name);
        let at = at.unwrap_or_else(|| {
            rows.push(Row {
                name: name.to_owned(),
                values: Vec::new(),
                direct: Vec::new(),
            });
            rows.len() - 1
        });
        &mut rows[at]
    }
}

impl Row {
    /// In the middle of the rounds, less what there is without any server.
    fn median_of(&self, who: Contestant) -> Option<f64> {
        let values: Vec<_> = self
            .values
            .iter()
            .filter(|(whose, _)| *whose == who)
            .map(|(_, value)| *value)
            .collect();
        let direct = if self.direct.is_empty() {
            0.0
        } else {
            median(&self.direct)
        };
        (!values.is_empty()).then(|| median(&values) - direct)
    }
}

fn write_cell(text: &mut String, value: Option<f64>) {
    let _ = match value {
        None => write!(text, " |"),
        Some(value) if value >= 10_000.0 => {
            // To three digits or more, which is finer than the noise.
            let thousands = (value / 1000.0).round() as u64;
            match (thousands / 1000, thousands % 1000) {
                (0, below) => write!(text, " {below},000 |"),
                (millions, below) => write!(text, " {millions},{below:03},000 |"),
            }
        }
        Some(value) if value.abs() >= 100.0 => write!(text, " {value:.0} |"),
        Some(value) => write!(text, " {value:.2} |"),
    };
}

fn percentiles(mut latencies: Vec<Duration>) -> Vec<(&'static str, f64)> {
    latencies.sort_unstable();
    [("p50", 500), ("p99", 990), ("p99.9", 999)]
        .into_iter()
        .filter_map(|(name, per_mille)| {
            let rank = (latencies.len() * per_mille).div_ceil(1000);
            let latency = latencies.get(rank.saturating_sub(1))?;
            Some((name, micros(*latency)))
        })
        .collect()
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

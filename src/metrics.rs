//! What is told to whoever watches: every metric's name and meaning, and the text that scrapers read.

pub mod histogram;
pub mod process;
pub mod table;
pub mod text;

/// One metric: what its numbers mean, and by what they are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name outside, with its unit.
    pub name: &'static str,
    /// How its numbers behave.
    pub kind: Kind,
    /// One sentence.
    pub help: &'static str,
    /// The names of its labels. Their values come from sets that the code knows: nobody outside can add one.
    pub labels: &'static [&'static str],
}

/// How numbers behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Grows until the process ends.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations in seconds, counted by how long.
    Histogram,
}

impl Kind {
    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

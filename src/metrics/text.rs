//! The text format of Prometheus, version 0.0.4
//! ([format](https://prometheus.io/docs/instrumenting/exposition_formats/)).
//!
//! Of our own: what is counted here are plain snapshots, and the libraries want numbers to live in theirs.

use std::{
    fmt::{self, Write as _},
    time::Duration,
};

use super::histogram::Distribution;
use super::{Kind, Metric};

/// What scrapers want to read in the answer's head.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page of metrics in the making.
#[derive(Debug, Default)]
pub struct Page(String);

/// A number as it is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// Whole.
    Count(u64),
    /// In seconds, or any other measure.
    Measure(f64),
}

impl Page {
    /// Adds a metric without labels.
    pub fn one(&mut self, metric: &Metric, number: impl Into<Number>) {
        self.all(metric, [([], number)]);
    }

    /// The same, if anybody knows the number.
    pub fn known(&mut self, metric: &Metric, number: Option<impl Into<Number>>) {
        if let Some(number) = number {
            self.one(metric, number);
        }
    }

    /// Adds a metric with one number for each set of label values, in the order of its labels.
    pub fn all<'v, const N: usize>(
        &mut self,
        metric: &Metric,
        numbers: impl IntoIterator<Item = ([&'v str; N], impl Into<Number>)>,
    ) {
        debug_assert_eq!(N, metric.labels.len(), "{}", metric.name);
        self.head(metric);
        for (values, number) in numbers {
            self.line(metric, "", &values, &[], number.into());
        }
    }

    /// Adds a histogram.
    pub fn distribution(&mut self, metric: &Metric, counted: &Distribution) {
        debug_assert_eq!(metric.kind, Kind::Histogram, "{}", metric.name);
        self.head(metric);
        for (bound, count) in counted.up_to() {
            let bound = bound.as_secs_f64().to_string();
            self.line(metric, "_bucket", &[], &[("le", &bound)], count.into());
        }
        let count = counted.count();
        self.line(metric, "_bucket", &[], &[("le", "+Inf")], count.into());
        self.line(metric, "_sum", &[], &[], counted.sum.into());
        self.line(metric, "_count", &[], &[], count.into());
    }

    /// The text.
    #[must_use]
    pub fn finish(self) -> String {
        self.0
    }

    fn head(&mut self, metric: &Metric) {
        let Metric { name, help, .. } = metric;
        let kind = metric.kind.name();
        // A String takes whatever is written.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(
        &mut self,
        metric: &Metric,
        suffix: &str,
        values: &[&str],
        more: &[(&str, &str)],
        number: Number,
    ) {
        let out = &mut self.0;
        let _ = write!(out, "{}{suffix}", metric.name);
        let own = metric.labels.iter().copied().zip(values.iter().copied());
        let labels = own.chain(more.iter().copied());
        for (place, (name, value)) in labels.enumerate() {
            let before = if place == 0 { '{' } else { ',' };
            let _ = write!(out, "{before}{name}=\"{}\"", Escaped(value));
        }
        if !values.is_empty() || !more.is_empty() {
            out.push('}');
        }
        let _ = writeln!(out, " {number}");
    }
}

impl From<u64> for Number {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<usize> for Number {
    fn from(count: usize) -> Self {
        Self::Count(count as u64)
    }
}

impl From<bool> for Number {
    fn from(is_so: bool) -> Self {
        Self::Count(u64::from(is_so))
    }
}

impl From<Duration> for Number {
    fn from(time: Duration) -> Self {
        Self::Measure(time.as_secs_f64())
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(f),
            Self::Measure(measure) => measure.fmt(f),
        }
    }
}

struct Escaped<'t>(&'t str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::histogram::Histogram;
    use super::*;

    const fn metric(kind: Kind, labels: &'static [&'static str]) -> Metric {
        Metric {
            name: "things",
            kind,
            help: "What there is.",
            labels,
        }
    }

    #[test]
    fn each_number_has_a_line_of_its_own() {
        let mut page = Page::default();
        page.one(&metric(Kind::Gauge, &[]), Duration::from_millis(1500));
        let numbers = [(["a", "b\\\"\nc"], 7_u64), (["d", ""], u64::MAX)];
        page.all(&metric(Kind::Counter, &["one", "two"]), numbers);
        page.known(&metric(Kind::Gauge, &[]), None::<u64>);
        let expected = r#"# HELP things What there is.
# TYPE things gauge
things 1.5
# HELP things What there is.
# TYPE things counter
things{one="a",two="b\\\"\nc"} 7
things{one="d",two=""} 18446744073709551615
"#;
        assert_eq!(page.finish(), expected);
    }

    #[test]
    fn a_histogram_has_cumulative_buckets_a_sum_and_a_count() {
        let (histogram, mut page) = (Histogram::default(), Page::default());
        for micros in [20, 30, 5_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        page.distribution(&metric(Kind::Histogram, &[]), &histogram.read());
        let text = page.finish();
        for line in [
            "# TYPE things histogram",
            r#"things_bucket{le="0.00001"} 0"#,
            r#"things_bucket{le="0.000025"} 1"#,
            r#"things_bucket{le="0.0001"} 2"#,
            r#"things_bucket{le="+Inf"} 3"#,
            "things_sum 5.00005",
            "things_count 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}

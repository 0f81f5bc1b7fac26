//! What coturn was asked for.

use super::lines::Line;

/// The lines that ask for something: known keys, flags that are on, values that are there.
#[derive(Debug)]
pub(super) struct Coturn(Vec<Line>);

impl Coturn {
    pub(super) fn new(lines: Vec<Line>) -> Self {
        Self(lines)
    }

    /// All lines of a key.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &Line> {
        self.0.iter().filter(move |line| line.name == name)
    }

    /// The line that holds where a key is there several times.
    pub(super) fn last(&self, name: &str) -> Option<&Line> {
        self.all(name).last()
    }

    /// Whether a flag is on, or a key is there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.last(name).is_some()
    }

    /// A number that was read.
    pub(super) fn number(&self, name: &str) -> Option<u32> {
        self.last(name)?.value.parse().ok()
    }

    /// "listening-port (line 3), no-udp (line 4)": where these keys stand, for a comment.
    pub(super) fn origin(&self, names: &[&str]) -> String {
        let found: Vec<_> = names
            .iter()
            .filter_map(|name| {
                let line = self.last(name)?;
                Some(format!("{name} (line {})", line.number))
            })
            .collect();
        match found.is_empty() {
            true => "coturn's default".to_owned(),
            false => found.join(", "),
        }
    }
}

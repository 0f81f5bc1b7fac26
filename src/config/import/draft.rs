//! A `turn.toml` in the making: keys with where they come from, and remarks about what is no key.

use std::fmt::Write as _;

use toml::Value;

use super::lines::Line;

/// What has been carried over so far, and what has not.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft {
    keys: Vec<Entry>,
    /// What matters for safety or connectivity and could not be carried over.
    pub(super) lost: Vec<String>,
    /// Why it does not load here, although it might elsewhere.
    pub(super) missing: Option<String>,
    dropped: Vec<String>,
    itself: Vec<String>,
}

#[derive(Clone, Debug)]
struct Entry {
    section: &'static str,
    key: &'static str,
    value: Value,
    origin: String,
}

impl Draft {
    /// Sets a key of ours; `origin` says why it is set so.
    pub(super) fn set(
        &mut self,
        section: &'static str,
        key: &'static str,
        value: impl Into<Value>,
        origin: impl Into<String>,
    ) {
        self.keys.push(Entry {
            section,
            key,
            value: value.into(),
            origin: origin.into(),
        });
    }

    /// A line that matters and has no counterpart, or can't be read.
    pub(super) fn lose(&mut self, line: &Line, why: &str) {
        self.lost.push(told(line, why));
    }

    /// A line that has no counterpart, which hurts nobody.
    pub(super) fn drop(&mut self, line: &Line, why: &str) {
        self.dropped.push(told(line, why));
    }

    /// A line that asks for what is so anyway.
    pub(super) fn leave(&mut self, line: &Line, why: &str) {
        self.itself.push(told(line, why));
    }

    /// The same but for some keys.
    pub(super) fn without(&self, keys: &[&str]) -> Self {
        let mut draft = self.clone();
        draft.keys.retain(|entry| !keys.contains(&entry.key));
        draft
    }

    /// As a file.
    pub(super) fn to_toml(&self) -> String {
        let mut text = "# Made from coturn's configuration by setu config import.\n".to_owned();
        let groups = [
            ("Matters, and could not be carried over:", &self.lost),
            ("Has no counterpart:", &self.dropped),
            ("Setu does so by itself:", &self.itself),
        ];
        for (title, remarks) in groups {
            if !remarks.is_empty() {
                let _ = writeln!(text, "#\n# {title}");
            }
            for remark in remarks {
                let _ = writeln!(text, "# {remark}");
            }
        }
        if let Some(missing) = &self.missing {
            let _ = writeln!(text, "#\n# Does not load on this machine yet:\n# {missing}");
        }
        for section in SECTIONS {
            let mut keys = self.keys.iter().filter(|entry| entry.section == section);
            if let Some(first) = keys.next() {
                let _ = writeln!(text, "\n[{section}]");
                for Entry {
                    key, value, origin, ..
                } in std::iter::once(first).chain(keys)
                {
                    let _ = writeln!(text, "# {origin}\n{key} = {value}");
                }
            }
        }
        text
    }
}

/// In the order of turn.toml.
const SECTIONS: [&str; 7] = [
    "http",
    "turn",
    "credentials",
    "peers",
    "limits",
    "metrics",
    "log",
];

fn told(line: &Line, why: &str) -> String {
    format!("line {}: {}: {why}", line.number, printable(&line.name))
}

/// What stands in a comment must not end it.
pub(super) fn printable(text: &str) -> String {
    let plain = |c: char| if c.is_control() { '\u{FFFD}' } else { c };
    let mut shown: String = text.chars().take(SHOWN_MAX).map(plain).collect();
    if text.chars().nth(SHOWN_MAX).is_some() {
        shown.push('…');
    }
    shown
}

const SHOWN_MAX: usize = 60;

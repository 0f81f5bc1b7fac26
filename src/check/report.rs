//! What was found: one line a check, and how bad all of it is.

use std::fmt::Write as _;

use serde::Serialize;

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// Not to be told from here, or good to know; nothing that must be changed.
    Note,
    /// It works for some, or not for long.
    Warning,
    /// It does not work.
    Failure,
}

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// How it went.
    pub status: Status,
    /// What was found.
    pub found: String,
    /// What to do about it.
    pub fix: Option<String>,
}

/// All findings, in the order in which they were made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report(Vec<Finding>);

impl Status {
    /// The word in front of a line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }
}

impl Finding {
    pub(super) fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self::new(check, Status::Ok, found.into(), None)
    }

    pub(super) fn note(check: &'static str, found: impl Into<String>) -> Self {
        Self::new(check, Status::Note, found.into(), None)
    }

    pub(super) fn warning(
        check: &'static str,
        found: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self::new(check, Status::Warning, found.into(), Some(fix.into()))
    }

    pub(super) fn failure(
        check: &'static str,
        found: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self::new(check, Status::Failure, found.into(), Some(fix.into()))
    }

    /// With what to do about it.
    pub(super) fn with_fix(self, fix: impl Into<String>) -> Self {
        Self {
            fix: Some(fix.into()),
            ..self
        }
    }

    fn new(check: &'static str, status: Status, found: String, fix: Option<String>) -> Self {
        Self {
            check,
            status,
            found: one_line(&found),
            fix: fix.map(|fix| one_line(&fix)),
        }
    }
}

impl Report {
    pub(super) fn push(&mut self, finding: Finding) {
        self.0.push(finding);
    }

    pub(super) fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        self.0.extend(findings);
    }

    /// What was found.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.0
    }

    /// The worst of all.
    #[must_use]
    pub fn worst(&self) -> Status {
        let statuses = self.0.iter().map(|finding| finding.status);
        statuses.max().unwrap_or(Status::Ok)
    }

    /// A line for each, for people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for Finding {
            check,
            status,
            found,
            fix,
        } in &self.0
        {
            // A String takes whatever is written.
            let _ = write!(text, "{:<8} {check:<18} {found}", status.word());
            let _ = match fix {
                Some(fix) => writeln!(text, ". Fix: {fix}"),
                None => writeln!(text),
            };
        }
        let count = |status| {
            let same = self.0.iter().filter(|finding| finding.status == status);
            same.count()
        };
        let (failures, warnings) = (count(Status::Failure), count(Status::Warning));
        let _ = match (failures, warnings) {
            (0, 0) => writeln!(text, "\nNothing wrong was found."),
            _ => writeln!(text, "\nFailures: {failures}, warnings: {warnings}."),
        };
        text
    }

    /// An array of `{check, status, found, fix}`.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut json = serde_json::to_string_pretty(&self.0).unwrap_or_default();
        json.push('\n');
        json
    }
}

/// Names and certificates may hold anything.
fn one_line(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_with_its_fix() {
        let mut report = Report::default();
        report.push(Finding::ok("profile", "production"));
        report.push(Finding::failure("clock", "a day\n\x1b[2Jlate", "set it"));
        assert_eq!(report.worst(), Status::Failure);
        let text = report.to_text();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("ok       profile            production"));
        assert_eq!(
            lines.next(),
            Some("failure  clock              a day [2Jlate. Fix: set it")
        );
        let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
        assert_eq!(json[0]["fix"], serde_json::Value::Null);
        assert_eq!(json[1]["status"], "failure");
    }
}

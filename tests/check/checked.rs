//! What `setu check` said.

use std::process::Command;

use serde_json::Value;

/// One run with `--json`.
pub(crate) struct Checked {
    pub(crate) code: i32,
    findings: Vec<Value>,
}

impl Checked {
    pub(crate) fn run(command: &mut Command, arguments: &[&str]) -> Self {
        let output = command
            .args(["check", "--json"])
            .args(arguments)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let findings: Value = serde_json::from_str(&said)
            .unwrap_or_else(|_| panic!("{said}{}", String::from_utf8_lossy(&output.stderr)));
        Self {
            code: output.status.code().unwrap(),
            findings: findings.as_array().unwrap().clone(),
        }
    }

    /// This check went so, and says this; what is wrong has a fix that says that.
    #[track_caller]
    pub(crate) fn says(&self, check: &str, status: &str, found: &str, fix: &str) -> &Self {
        let fits = |finding: &&Value| {
            finding["check"] == check
                && finding["status"] == status
                && finding["found"].as_str().unwrap().contains(found)
                && finding["fix"].as_str().unwrap_or_default().contains(fix)
        };
        let found = self.findings.iter().find(fits);
        assert!(found.is_some(), "{check} {status}: {found:?} {fix}\n{self}");
        if status == "failure" {
            assert_eq!(self.code, 2, "{self}");
        }
        self
    }

    /// Nothing else is wrong but these.
    #[track_caller]
    pub(crate) fn and_nothing_else_than(&self, checks: &[&str]) {
        let wrong = |finding: &&Value| {
            let is_bad = finding["status"] == "warning" || finding["status"] == "failure";
            is_bad && !checks.contains(&finding["check"].as_str().unwrap())
        };
        assert!(self.findings.iter().find(wrong).is_none(), "{self}");
        if checks.is_empty() {
            assert_eq!(self.code, 0, "{self}");
        }
    }

    /// It is there, and nothing is wrong with it.
    #[track_caller]
    pub(crate) fn is_ok(&self, check: &str) -> &Self {
        self.says(check, "ok", "", "")
    }
}

impl std::fmt::Display for Checked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        write!(f, "exit code {}", self.code)
    }
}

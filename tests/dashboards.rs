//! The dashboard, the alerts and the scraping example name what there is, and read as PromQL.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{env, fs, path::Path, process::Command};

use serde_json::Value;
use setu::metrics::{Kind, Metric, table};
use setu::relay::engine::{DropReason, policy::Denial};

const ALERTS: &str = "deploy/prometheus/alerts.yml";
const DASHBOARD: &str = "deploy/grafana/setu.json";

#[test]
fn every_alert_is_one_for_prometheus_itself() {
    promtool(&["check", "rules", ALERTS]);
    let rules = fs::read_to_string(ALERTS).unwrap();
    let named = metrics_in(&rules);
    assert!(named.len() >= 10, "{named:?}");
    for metric in named {
        assert!(find(&metric).is_some(), "{ALERTS}: {metric} is no metric");
    }
}

#[test]
fn the_scraping_example_is_a_configuration() {
    promtool(&[
        "check",
        "config",
        "--syntax-only",
        "deploy/prometheus/scrape.yml",
    ]);
}

#[test]
fn every_panel_asks_for_what_there_is_in_words_that_prometheus_reads() {
    let text = fs::read_to_string(DASHBOARD).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let mut expressions = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let targets = panel["targets"].as_array().into_iter().flatten();
        let asked = targets.map(|target| target["expr"].as_str().unwrap());
        expressions.extend(asked);
    }
    assert!(expressions.len() > 40, "{}", expressions.len());
    for expression in &expressions {
        let named = metrics_in(expression);
        assert!(!named.is_empty(), "{expression}");
        for name in named {
            let metric = find(&name).unwrap_or_else(|| panic!("{name}: {expression}"));
            check_labels(expression, metric);
        }
    }
    let shown = metrics_in(&text);
    let left_out = table::ALL
        .iter()
        .filter(|metric| !shown.iter().any(|name| find(name) == Some(*metric)));
    let left_out: Vec<_> = left_out.map(|metric| metric.name).collect();
    assert!(left_out.len() <= LEFT_OUT_MAX, "{left_out:?}");
    read_by_prometheus(&expressions);
}

#[test]
fn our_own_dashboard_has_words_for_whatever_is_dropped_or_denied() {
    let words = fs::read_to_string("web/dashboard/words.js").unwrap();
    let drops = DropReason::ALL.map(DropReason::name);
    let denials = Denial::ALL.map(Denial::name);
    for name in drops.into_iter().chain(denials) {
        let has_words = words.contains(&format!("\n  {name}: "));
        assert!(has_words, "{name}");
    }
}

/// As rules, which promtool reads.
fn read_by_prometheus(expressions: &[&str]) {
    let mut rules = "groups:\n- name: dashboard\n  rules:\n".to_owned();
    for (number, expression) in expressions.iter().enumerate() {
        let expression = expression
            .replace("$__rate_interval", "5m")
            .replace("$instance", ".*");
        rules += &format!("  - record: panel:{number}\n    expr: |\n      {expression}\n");
    }
    let file = env::temp_dir().join(format!("setu-dashboard-{}.yml", std::process::id()));
    fs::write(&file, rules).unwrap();
    promtool(&["check", "rules", file.to_str().unwrap()]);
    fs::remove_file(Path::new(&file)).unwrap();
}

/// What a metric is told apart by, here or by Prometheus.
fn check_labels(expression: &str, metric: &Metric) {
    for (at, _) in expression.match_indices(metric.name) {
        let rest = &expression[at + metric.name.len()..];
        let Some((matchers, _)) = rest
            .find('{')
            .and_then(|open| rest[open + 1..].split_once('}'))
        else {
            continue;
        };
        for matcher in matchers.split(", ") {
            let label = matcher.split(['=', '!']).next().unwrap();
            let is_known = ["instance", "job"].contains(&label) || metric.labels.contains(&label);
            assert!(is_known, "{label}: {expression}");
        }
    }
}

/// The words that name a metric of ours.
fn metrics_in(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_ascii_lowercase() && c != '_');
    let ours = words.filter(|word| word.starts_with("setu_") || word.starts_with("process_"));
    let mut ours: Vec<_> = ours.map(str::to_owned).collect();
    ours.sort_unstable();
    ours.dedup();
    ours
}

/// A histogram is asked for by its parts.
fn find(name: &str) -> Option<&'static Metric> {
    let parts = ["_bucket", "_sum", "_count"];
    let base = parts.iter().find_map(|part| name.strip_suffix(part));
    table::ALL.iter().find(|metric| match metric.kind {
        Kind::Histogram => base == Some(metric.name),
        Kind::Counter | Kind::Gauge => metric.name == name,
    })
}

fn promtool(arguments: &[&str]) {
    let output = Command::new("promtool")
        .args(arguments)
        .output()
        .expect("promtool is needed: apt-get install prometheus");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{arguments:?}: {said}");
}

/// Few metrics are worth no panel.
const LEFT_OUT_MAX: usize = 8;

//! What is not a command: links, configuration, code, tables.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use clap::Parser as _;
use rcgen::generate_simple_self_signed;
use serde_json::Value;
use setu::cli::Cli;
use setu::config::{
    self,
    import::{Fate, KEYS},
};
use setu::metrics::table;
use setu::relay::engine::DropReason;

use super::common::{Folder, command};
use super::page::{self, Block, Page};

/// What a piece of code may be; each is looked at by a test.
const LANGUAGES: [&str; 5] = ["sh", "toml", "js", "yaml", "text"];

#[test]
fn every_piece_of_code_is_of_a_kind_that_is_looked_at() {
    for page in page::all() {
        for Block { line, language, .. } in &page.blocks {
            let file = &page.file;
            assert!(
                LANGUAGES.contains(&language.as_str()),
                "{file}:{line}: {language:?}"
            );
        }
    }
}

#[test]
fn every_link_leads_somewhere() {
    for page in page::all() {
        let folder = Path::new(&page.file).parent().unwrap();
        for link in page.links.iter().filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => PathBuf::from(&page.file),
                file => folder.join(file),
            };
            assert!(target.exists(), "{}: {link}", page.file);
            if !anchor.is_empty() {
                let anchors = Page::read(&target).anchors();
                assert!(
                    anchors.contains(&anchor.to_owned()),
                    "{}: {link}: {anchors:?}",
                    page.file
                );
            }
        }
    }
}

#[test]
fn every_page_is_in_the_index() {
    let index = Page::read(Path::new("docs/README.md"));
    for page in page::all() {
        let Some(name) = page.file.strip_prefix("docs/") else {
            continue;
        };
        let is_there = index
            .links
            .iter()
            .any(|link| link.split('#').next() == Some(name));
        assert!(is_there || name == "README.md", "{name}");
    }
}

#[test]
fn every_piece_of_configuration_loads() {
    let folder = Folder::new();
    let files = generate_simple_self_signed(["turn.example.org".to_owned()]).unwrap();
    fs::write(folder.0.join("fullchain.pem"), files.cert.pem()).unwrap();
    fs::write(
        folder.0.join("privkey.pem"),
        files.signing_key.serialize_pem(),
    )
    .unwrap();
    let here = folder.0.display().to_string();
    for (place, block) in blocks("toml") {
        let text = block
            .text
            .replace("/etc/letsencrypt/live/turn.example.org", &here);
        let file = folder.0.join("turn.toml");
        fs::write(&file, text).unwrap();
        let loaded = config::load(Some(&file), std::iter::empty());
        assert!(loaded.is_ok(), "{place}: {:?}", loaded.err());
    }
}

#[test]
fn every_piece_of_javascript_parses() {
    let folder = Folder::new();
    for (place, block) in blocks("js") {
        let file = folder.0.join("block.mjs");
        fs::write(&file, &block.text).unwrap();
        let output = Command::new("node").arg("--check").arg(&file).output();
        let output = output.expect("node is missing: apt-get install nodejs");
        assert!(
            output.status.success(),
            "{place}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// What Kubernetes would refuse or ignore of a manifest, as far as it can be told from here.
#[test]
fn the_manifest_fits_together_and_names_keys_that_there_are() {
    let keys = known_keys();
    for (place, block) in blocks("yaml") {
        let manifest = yaml(&block.text);
        let (spec, pod) = (&manifest["spec"], &manifest["spec"]["template"]["spec"]);
        assert_eq!(manifest["apiVersion"], "apps/v1", "{place}");
        assert_eq!(
            spec["selector"]["matchLabels"],
            spec["template"]["metadata"]["labels"]
        );
        assert_eq!(pod["hostNetwork"], true, "a relay needs its real addresses");
        let container = &pod["containers"][0];
        assert_eq!(container["securityContext"]["runAsUser"], 65534);
        for variable in container["env"].as_array().unwrap() {
            let name = variable["name"].as_str().unwrap();
            let key = name
                .trim_start_matches("SETU_")
                .replace("__", ".")
                .to_lowercase();
            assert!(keys.contains(&key), "{place}: {name}");
        }
        let drain = container["env"].as_array().unwrap().iter();
        let drain = drain
            .clone()
            .find(|variable| variable["name"] == "SETU_SHUTDOWN__DRAIN");
        let drain = humantime::parse_duration(drain.unwrap()["value"].as_str().unwrap()).unwrap();
        let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
        assert!(
            grace > drain.as_secs(),
            "{place}: the pod is killed while it drains"
        );
        for probe in ["readinessProbe", "livenessProbe"] {
            assert_eq!(
                container[probe]["httpGet"]["port"], 3001,
                "{place}: {probe}"
            );
        }
    }
}

/// In the text and in tables: `setu check --json`.
#[test]
fn every_command_of_ours_that_the_text_names_is_one() {
    let mut count = 0;
    for page in page::all() {
        for (_, code) in &page.code {
            let plain = code.replace(['[', ']'], "");
            let words: Vec<_> = plain.split(' ').collect();
            if words[0] != "setu" || code.contains('{') {
                continue;
            }
            let parsed = Cli::try_parse_from(&words);
            assert!(parsed.is_ok(), "{}: {code}: {:?}", page.file, parsed.err());
            count += 1;
        }
    }
    assert!(count > 15, "{count}");
}

/// `turn.relay_ports`, `limits.…`: whatever looks like a key of ours is one, and so is every variable.
#[test]
fn every_key_that_the_text_names_is_one() {
    let keys = known_keys();
    let sections: Vec<_> = keys
        .iter()
        .filter_map(|key| key.split_once('.'))
        .map(|(section, _)| section)
        .collect();
    for page in page::all() {
        for (_, code) in &page.code {
            let word = code.split([' ', '=']).next().unwrap();
            let key = match word.strip_prefix("SETU_") {
                Some(name) if name.contains("__") => name.replace("__", ".").to_lowercase(),
                Some(_) => continue,
                None => word.to_owned(),
            };
            let key = key.trim_end_matches(':');
            let Some((section, name)) = key.split_once('.') else {
                continue;
            };
            let is_name = !name.is_empty()
                && name
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit());
            if sections.contains(&section) && is_name && !matches!(name, "toml" | "service") {
                assert!(keys.contains(&key.to_owned()), "{}: {code}", page.file);
            }
        }
    }
}

/// The third column of troubleshooting's tables.
#[test]
fn every_check_that_the_text_names_is_one() {
    let output = command(&[]).args(["check", "--json"]).output().unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = found.as_array().unwrap().iter();
    let checks: Vec<_> = checks.map(|one| one["check"].as_str().unwrap()).collect();
    let page = Page::read(Path::new("docs/troubleshooting.md"));
    let with_checks = page
        .rows
        .iter()
        .filter(|(_, row)| row.ends_with("| `setu check` |"));
    let with_checks: Vec<_> = with_checks.map(|(section, _)| *section).collect();
    assert!(!with_checks.is_empty());
    for (section, row) in &page.rows {
        let last = row.rsplit('|').nth(1).unwrap();
        if !with_checks.contains(section) || last == " `setu check` " {
            continue;
        }
        for name in last.split('`').skip(1).step_by(2) {
            let is_one = |check: &&str| *check == name || check.starts_with(&format!("{name}."));
            assert!(checks.iter().any(is_one), "{name}: {checks:?}");
        }
    }
}

#[test]
fn every_metric_that_the_text_names_is_one_and_every_reason_of_drops_is_explained() {
    for page in page::all() {
        for (_, code) in page
            .code
            .iter()
            .filter(|(_, code)| code.starts_with("setu_"))
        {
            assert!(
                table::ALL.iter().any(|metric| metric.name == code),
                "{}: {code}",
                page.file
            );
        }
    }
    let page = Page::read(Path::new("docs/troubleshooting.md"));
    for reason in DropReason::ALL {
        let is_there = page.code.iter().any(|(_, code)| code == reason.name());
        assert!(is_there, "{}", reason.name());
    }
}

#[test]
fn the_table_of_coturns_keys_is_the_one_that_the_import_has() {
    let rows = KEYS.iter().map(|key| {
        let (ours, text) = match key.fate {
            Fate::Becomes(ours, how) => (format!("`{}`", ours.replace(", ", "`, `")), how),
            Fate::Itself(why) => ("by itself".to_owned(), why),
            Fate::Dropped(why) => ("none".to_owned(), why),
            Fate::Lost(why) => ("**lost**".to_owned(), why),
        };
        format!("| `{}` | {ours} | {text} |", key.name)
    });
    let expected: Vec<_> = rows.collect();
    let page = Page::read(Path::new("docs/coturn.md"));
    let found = page.rows.iter().map(|(_, row)| row.clone());
    let found: Vec<_> = found.filter(|row| row.starts_with("| `")).collect();
    let text = expected.join("\n");
    assert!(found == expected, "docs/coturn.md should end in:\n{text}");
}

fn blocks(language: &str) -> Vec<(String, Block)> {
    let mut found = Vec::new();
    for page in page::all() {
        let blocks = page.blocks.into_iter();
        for block in blocks.filter(|block| block.language == language) {
            found.push((format!("{}:{}", page.file, block.line), block));
        }
    }
    assert!(!found.is_empty(), "{language}");
    found
}

fn known_keys() -> Vec<String> {
    let shipped = fs::read_to_string("turn.toml").unwrap();
    let shipped: toml::Table = shipped.parse().unwrap();
    let mut keys = Vec::new();
    for (section, value) in &shipped {
        match value.as_table() {
            Some(table) => keys.extend(table.keys().map(|key| format!("{section}.{key}"))),
            None => keys.push(section.clone()),
        }
    }
    keys
}

/// As JSON.
fn yaml(text: &str) -> Value {
    let script = "import json, sys, yaml; json.dump(yaml.safe_load(sys.argv[1]), sys.stdout)";
    let output = Command::new("/usr/bin/python3")
        .args(["-c", script, text])
        .output();
    let output = output.expect("python3 is missing: apt-get install python3-yaml");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "apt-get install python3-yaml: {said}"
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

//! The house has floors: a module may import from its own wing or from a lower floor, never upwards.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path};

/// Longest matching prefix wins. A new module without a floor fails the test.
const FLOORS: &[(&str, u8)] = &[
    ("clock", 0),
    ("entropy", 0),
    ("ident", 0),
    ("logging", 0),
    ("metrics", 0),
    ("trusting", 0),
    ("access", 1),
    ("credentials", 1),
    ("source", 1),
    ("relay::wire", 1),
    ("relay::engine", 2),
    ("signaling::candidates", 2),
    ("signaling::session", 2),
    ("signaling::ice_servers", 2),
    ("signaling::leases", 2),
    ("signaling::node_info", 2),
    ("signaling::nodes", 2),
    ("signaling::reckoning", 2),
    ("signaling::revocations", 2),
    ("relay::worker", 3),
    ("store", 3),
    ("relay", 4),
    ("acme", 5),
    ("signaling", 5),
    ("http", 6),
    ("config", 7),
    ("check", 8),
    ("server", 8),
    ("cli", 9),
];

/// Floors 0 to 2 take the time as an argument, hold no socket and await nothing.
const QUIET: u8 = 2;
const NOISE: &[&str] = &[
    "tokio::",
    "std::net::UdpSocket",
    "std::net::Tcp",
    "Instant::now",
    "SystemTime::now",
    ".await",
    "rand::rng(",
];
const MAY_BE_LOUD: &[&str] = &["clock", "entropy", "logging"];

#[test]
fn imports_point_down() {
    for (module, source) in modules() {
        for line in code(&source) {
            assert!(
                !line.contains("super::super::"),
                "{module} climbs out of its wing: {line}"
            );
            assert!(
                !line.contains("crate::{"),
                "{module} must import one wing a line: {line}"
            );
            for target in line.match_indices("crate::").map(|(at, _)| &line[at + 7..]) {
                let same_wing = floor_of(target).0 == floor_of(&module).0;
                let lower = floor_of(target).1 < floor_of(&module).1;
                assert!(
                    same_wing || lower,
                    "{module} must not import upwards: {line}"
                );
            }
        }
    }
}

#[test]
fn quiet_floors_are_quiet() {
    for (module, source) in modules() {
        if floor_of(&module).1 > QUIET || MAY_BE_LOUD.contains(&module.as_str()) {
            continue;
        }
        for line in code(&source) {
            let noise = NOISE.iter().find(|noise| line.contains(**noise));
            assert!(noise.is_none(), "{module} must stay pure: {line}");
        }
    }
}

/// A file has a line of its own on the map, or stands in its folder's.
#[test]
fn every_room_is_on_the_map() {
    let map = fs::read_to_string("ARCHITECTURE.md").unwrap();
    for (module, _) in modules() {
        let file = format!("src/{}.rs", module.replace("::", "/"));
        let (folder, name) = file.rsplit_once('/').unwrap();
        let name = name.trim_end_matches(".rs");
        let in_folder = map
            .split_once(&format!("{folder}/ "))
            .map(|(_, row)| row.split("\nsrc/").next().unwrap_or(row))
            .is_some_and(|row| row.contains(name));
        let is_test = module.split("::").any(|part| part == "tests");
        assert!(map.contains(&file) || in_folder || is_test, "{file}");
    }
    for path in map
        .split_whitespace()
        .filter(|word| word.starts_with("src/"))
    {
        assert!(Path::new(path).exists(), "{path} is on the map only");
    }
}

fn floor_of(path: &str) -> (&'static str, u8) {
    let within = |wing: &str| {
        path == wing
            || path
                .strip_prefix(wing)
                .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    };
    let found = FLOORS
        .iter()
        .filter(|(wing, _)| within(wing))
        .max_by_key(|(wing, _)| wing.len());
    *found.unwrap_or_else(|| panic!("`{path}` has no floor"))
}

/// Everything above the test module, without comments.
fn code(source: &str) -> impl Iterator<Item = &str> {
    source
        .lines()
        .take_while(|line| !line.starts_with("#[cfg(test)]"))
        .filter(|line| !line.trim_start().starts_with("//"))
}

fn modules() -> Vec<(String, String)> {
    let (root, mut found, mut pending) = (
        Path::new("src"),
        Vec::new(),
        vec![Path::new("src").to_path_buf()],
    );
    while let Some(dir) = pending.pop() {
        for path in fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
        {
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                let name = path
                    .strip_prefix(root)
                    .unwrap()
                    .with_extension("")
                    .to_string_lossy()
                    .replace('/', "::");
                if name != "lib" && name != "main" {
                    found.push((name, fs::read_to_string(&path).unwrap()));
                }
            }
        }
    }
    found
}

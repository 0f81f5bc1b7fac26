//! No requirement without a test that bears its number.

use std::fs;
use std::path::PathBuf;

#[test]
fn every_requirement_has_a_test() {
    let text: String = rust_files()
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let numbers = (1..=100).map(|number| number.to_string());
    let letters = ('a'..='g').map(|letter| format!("0{letter}"));
    let is_tested = |number: &String| text.contains(&format!("fn r{number}_"));
    let missing: Vec<_> = letters
        .chain(numbers)
        .filter(|number| !is_tested(number))
        .collect();
    assert!(missing.is_empty(), "no test is named after {missing:?}");
}

fn rust_files() -> Vec<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src"), root.join("tests")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found
}

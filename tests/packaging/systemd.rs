//! The units, as systemd reads them.

use std::{fs, path::Path, process::Command};

use crate::common::Folder;

#[test]
fn the_units_are_without_a_flaw() {
    let folder = Folder::new();
    for unit in [SERVICE, SOCKET] {
        let text = fs::read_to_string(unit).unwrap();
        // Where the package puts it there may be none, or another one.
        let text = text.replace("/usr/bin/setu", env!("CARGO_BIN_EXE_setu"));
        let name = Path::new(unit).file_name().unwrap().to_str().unwrap();
        folder.write(name, &text);
    }
    for name in ["setu.service", "setu.socket"] {
        let said = analyze(&["verify"], &folder.0.join(name));
        assert_eq!(said, "", "{name}");
    }
}

#[test]
fn the_service_is_exposed_to_little() {
    // In tenths: under 2.0.
    let limits = ["security", "--offline=true", "--threshold=19", "--no-pager"];
    let said = analyze(&limits, Path::new(SERVICE));
    assert!(said.contains("Overall exposure level"), "{said}");
}

/// What `systemd-analyze` says where it is content.
fn analyze(what: &[&str], unit: &Path) -> String {
    let output = Command::new("systemd-analyze")
        .args(what)
        .arg(unit)
        .output();
    let output = output.expect("systemd-analyze is missing: apt-get install systemd");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    assert!(output.status.success(), "{unit:?}: {said}");
    said
}

const SERVICE: &str = "deploy/systemd/setu.service";
const SOCKET: &str = "deploy/systemd/examples/setu.socket";

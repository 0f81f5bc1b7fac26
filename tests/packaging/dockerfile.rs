//! The Dockerfile, as far as it can be followed without Docker.

use std::{fs, path::Path, process::Command};

use crate::common::Folder;

#[test]
fn the_dockerfile_has_a_file_for_each_target_of_the_manifest() {
    let dockerfile = fs::read_to_string("Dockerfile")
        .unwrap()
        .replace("\\\n", "");
    let mut steps = dockerfile.lines();
    let copied = steps.find_map(|step| step.strip_prefix("COPY ")).unwrap();
    let run = steps.find_map(|step| step.strip_prefix("RUN ")).unwrap();
    let folder = Folder::new();
    for file in copied.split_whitespace().filter(|file| *file != "./") {
        fs::copy(file, folder.0.join(file)).unwrap();
    }
    let stand_ins = run.split_once("&& cargo build").unwrap().0;
    let made = Command::new("sh")
        .args(["-c", stand_ins])
        .current_dir(&folder.0)
        .status();
    assert!(made.unwrap().success(), "{stand_ins}");
    assert_eq!(targets(&folder.0), targets(Path::new(".")));
}

/// What cargo would build of the manifest, but for the tests. It leaves out what has no file, and then refuses to build.
fn targets(folder: &Path) -> Vec<String> {
    let output = Command::new("cargo")
        .args([
            "metadata",
            "--offline",
            "--no-deps",
            "--format-version",
            "1",
        ])
        .current_dir(folder)
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let targets = metadata["packages"][0]["targets"].as_array().unwrap();
    let built = targets.iter().filter(|target| target["kind"][0] != "test");
    built
        .map(|target| format!("{} {}", target["kind"][0], target["name"]))
        .collect()
}

//! Puts the manual pages and the shells' completions beside the binary, in `manual`, from where packages take them.

use std::{env, error::Error, fs, path::Path};

use clap_complete::Shell;

#[path = "src/cli/arguments.rs"]
#[expect(unreachable_pub, reason = "the crate shows it")]
mod arguments;
#[path = "src/cli/manual.rs"]
#[expect(dead_code, reason = "all pages are written at once")]
mod manual;

/// What the arguments name of the crate.
mod config {
    use std::time::Duration;

    pub(crate) fn credential_ttl(_: &str) -> Result<Duration, String> {
        Err(String::new())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/cli");
    let out = env::var("OUT_DIR")?;
    // It is PROFILE/build/setu-HASH/out.
    let profile = Path::new(&out).ancestors().nth(3);
    let folder = profile.ok_or("no folder to build in")?.join("manual");
    manual::write_pages(&folder.join("man"))?;
    for (shell, name) in [
        (Shell::Bash, "setu.bash"),
        (Shell::Zsh, "_setu"),
        (Shell::Fish, "setu.fish"),
    ] {
        fs::write(folder.join(name), manual::completions(shell))?;
    }
    Ok(())
}

//! What shells complete and `man` shows, made from the definition of the command line, so that it cannot tell another tale.

use std::{fs, path::Path};

use anyhow::Context as _;
use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;
use thiserror::Error;

use super::Cli;

/// Who asked for the page of a command that is none.
#[derive(Debug, Error)]
#[error("setu has no command {0:?}; setu help lists them")]
pub(super) struct NoSuchCommand(String);

/// A script that has this shell complete the arguments of `setu`.
pub(super) fn completions(shell: Shell) -> anyhow::Result<String> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), NAME, &mut script);
    text(script)
}

/// The manual page of the command with these words, in roff; that of `setu` where there are none.
///
/// # Errors
///
/// [`NoSuchCommand`].
pub(super) fn page(words: &[String]) -> anyhow::Result<String> {
    let mut command = &described();
    for word in words {
        let found = command.find_subcommand(word);
        command = found.ok_or_else(|| NoSuchCommand(words.join(" ")))?;
    }
    render(command)
}

/// Writes the page of `setu` and of each of its commands into the folder, as `setu.1`, `setu-serve.1`; makes the folder.
///
/// # Errors
///
/// What the file system refuses.
pub(super) fn write_pages(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let root = described();
    let mut pending = vec![&root];
    while let Some(command) = pending.pop() {
        pending.extend(command.get_subcommands());
        let file = folder.join(Man::new(command.clone()).get_filename());
        let written = fs::write(&file, render(command)?);
        written.with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

fn render(command: &Command) -> anyhow::Result<String> {
    let mut page = Vec::new();
    let man = Man::new(command.clone()).source(concat!("setu ", env!("CARGO_PKG_VERSION")));
    man.render(&mut page).context("cannot write the page")?;
    text(page)
}

fn text(made: Vec<u8>) -> anyhow::Result<String> {
    String::from_utf8(made).context("no text was made")
}

/// With every command's full name, and without `help`, which has no page.
fn described() -> Command {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    command
}

const NAME: &str = "setu";

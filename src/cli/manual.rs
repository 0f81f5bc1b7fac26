//! What shells complete and `man` shows, made from the definition of the command line, so that it cannot tell another tale.

use std::{fs, io, path::Path};

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

use super::arguments::Cli;

/// A script that has this shell complete the arguments of `setu`.
pub(super) fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "setu", &mut script);
    text(&script)
}

/// The manual page of the command with these words, in roff; that of `setu` where there are none. `None`: no such command.
pub(super) fn page(words: &[String]) -> Option<String> {
    let mut command = &described();
    for word in words {
        command = command.find_subcommand(word)?;
    }
    render(command).ok()
}

/// Writes the page of `setu` and of each of its commands into the folder, as `setu.1`, `setu-serve.1`; makes the folder.
///
/// # Errors
///
/// What the file system refuses.
pub(super) fn write_pages(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let root = described();
    let mut pending = vec![&root];
    while let Some(command) = pending.pop() {
        pending.extend(command.get_subcommands());
        let name = Man::new(command.clone()).get_filename();
        fs::write(folder.join(name), render(command)?)?;
    }
    Ok(())
}

fn render(command: &Command) -> io::Result<String> {
    let mut page = Vec::new();
    let version = concat!("setu ", env!("CARGO_PKG_VERSION"));
    Man::new(command.clone())
        .source(version)
        .render(&mut page)?;
    Ok(text(&page))
}

/// With every command's full name, and without `help`, which has no page.
fn described() -> Command {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    command
}

fn text(made: &[u8]) -> String {
    String::from_utf8_lossy(made).into_owned()
}

//! `setu`: parse arguments, run, say by the exit code how it went.

use std::process::ExitCode;

use clap::Parser;
use setu::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().run()
}

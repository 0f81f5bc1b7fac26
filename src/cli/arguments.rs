//! The commands and their options. Whoever builds reads this file too, for the manual pages (`build.rs`): it needs
//! nothing else of the crate.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use crate::config;

/// Socket.IO signaling, a STUN/TURN relay and its credentials in one process.
///
/// Without a command it serves. Everything has a default: no configuration, certificate or database is needed.
#[derive(Debug, Parser)]
#[command(version, about, long_about, after_help = AFTER_HELP)]
pub struct Cli {
    /// The configuration file; without it, turn.toml in the working directory if there is one
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve until Ctrl-C or SIGTERM (what `setu` alone does)
    Serve {
        /// Once everything is bound, write the addresses to this file as one JSON object
        #[arg(long, value_name = "FILE")]
        addresses_file: Option<PathBuf>,
    },
    /// Print a TURN user name and password that are good for a while
    ///
    /// Signed with the configured credentials.secret, so a server with the same secret accepts them.
    Credential {
        /// The participant they are for
        name: String,
        /// How long they are good for: 30m, 24h; without it, credentials.ttl
        #[arg(long, value_parser = config::credential_ttl)]
        ttl: Option<Duration>,
    },
    /// Print the effective configuration as a turn.toml, secrets left out; or make one
    Config {
        #[command(subcommand)]
        command: Option<ConfigCommand>,
    },
    /// Examine configuration and surroundings: ports, addresses, firewall, certificate, clock, Redis, a relayed packet
    ///
    /// One line for each: ok, note (can't be told from here), warning or failure, with the fix. Works beside a running
    /// server and before the first start. Run it as root to see other users' processes and the firewall. Exit codes:
    /// 0 nothing is wrong, 1 warnings, 2 failures.
    Check {
        /// Print an array of {check, status, found, fix}
        #[arg(long)]
        json: bool,
        /// A STUN server elsewhere, to see how the internet sees this machine
        #[arg(long, value_name = "HOST:PORT")]
        stun: Option<String>,
        /// An NTP server to compare the clock with
        #[arg(long, value_name = "HOST[:PORT]")]
        ntp: Option<String>,
        /// A web server to compare the clock with, by the Date of its answer
        #[arg(long, value_name = "http://HOST/")]
        date: Option<String>,
        /// How many people are relayed to each other at a time: whether turn.relay_ports carries them
        #[arg(long, value_name = "N")]
        people: Option<u32>,
    },
    /// Ask the running server whether it is ready; exit 0 if it is, 1 if not
    Health {
        /// What to ask; without it, /ready at the configured http.listen
        #[arg(long)]
        url: Option<String>,
    },
    /// Print a script that has a shell complete these commands and options
    ///
    /// For bash, into /usr/share/bash-completion/completions/setu; for zsh, into _setu in a folder of $fpath; for fish,
    /// into ~/.config/fish/completions/setu.fish. The Debian package brings these three.
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print a manual page: setu man check | man -l -
    Man {
        /// The command whose page it is; without it, the page of setu
        command: Vec<String>,
        /// Write all pages into this folder, as setu.1, setu-check.1 and so on
        #[arg(long, value_name = "FOLDER", conflicts_with = "command")]
        all: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Print a turn.toml that does what coturn's configuration does, secrets and all
    ///
    /// What has no counterpart is a comment there, with the reason. Exit code 1: something that matters for safety or
    /// connectivity could not be carried over, and is named on the standard error.
    Import {
        /// coturn's turnserver.conf
        file: PathBuf,
    },
}

const AFTER_HELP: &str = "\
Every key of turn.toml can be set in the environment: SETU_TURN__RELAY_PORTS=50000-50999.
Exit codes: 0 done, 1 failed, 2 wrong arguments or configuration. Of check: 0 fine, 1 warnings, 2 failures.";

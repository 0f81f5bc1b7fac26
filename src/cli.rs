//! The command line: what was asked for, and how it went.

use std::{
    env, fs,
    io::{self, Write as _},
    path::{self, Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use clap_complete::Shell;
use tokio::runtime::Runtime;

use crate::check::{self, Report, Status};
use crate::clock::Now;
use crate::config::{self, Config, ConfigError, import};
use crate::credentials::Credentials;
use crate::ident::ParticipantId;
use crate::logging;
use crate::server::{self, Server, Signals, health};

use manual::NoSuchCommand;

mod manual;

/// Socket.IO signaling, a STUN/TURN relay and its credentials in one process.
///
/// Without a command it serves. Everything has a default: no configuration, certificate or database is needed.
#[derive(Debug, Parser)]
#[command(version, about, long_about, after_help = AFTER_HELP)]
pub struct Cli {
    /// The configuration file; without it, turn.toml in the working directory if there is one
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
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
enum ConfigCommand {
    /// Print a turn.toml that does what coturn's configuration does, secrets and all
    ///
    /// What has no counterpart is a comment there, with the reason. Exit code 1: something that matters for safety or
    /// connectivity could not be carried over, and is named on the standard error.
    Import {
        /// coturn's turnserver.conf
        file: PathBuf,
    },
}

impl Cli {
    /// Does what was asked. Exit codes: 0 done, 1 failed, 2 the arguments or the configuration are wrong.
    #[must_use]
    pub fn run(self) -> ExitCode {
        match self.dispatch() {
            Ok(code) => code,
            Err(error) => {
                eprintln!("setu: {error:#}");
                let typed = error.is::<ConfigError>() || error.is::<NoSuchCommand>();
                ExitCode::from(if typed { 2 } else { 1 })
            }
        }
    }

    fn dispatch(self) -> anyhow::Result<ExitCode> {
        let path = self.config.as_deref();
        let config = || config::load(path, env::vars_os());
        let done = match self.command {
            None => serve(config()?, None),
            Some(Command::Serve { addresses_file }) => serve(config()?, addresses_file),
            Some(Command::Credential { name, ttl }) => credential(config()?, &name, ttl),
            Some(Command::Config { command: None }) => say(&config()?.to_toml()),
            Some(Command::Config {
                command: Some(ConfigCommand::Import { file }),
            }) => return import(&file),
            Some(Command::Health { url }) => {
                let (listen, tls) = config::http_listeners(path, env::vars_os())?;
                health::ask(url.as_deref(), &listen, tls)
            }
            Some(Command::Completions { shell }) => say(&manual::completions(shell)?),
            Some(Command::Man {
                all: Some(folder), ..
            }) => manual::write_pages(&folder),
            Some(Command::Man { command, all: None }) => say(&manual::page(&command)?),
            Some(Command::Check {
                json,
                stun,
                ntp,
                date,
                people,
            }) => {
                let options = check::Options {
                    stun,
                    ntp,
                    date,
                    people,
                };
                return examine(path, &options, json);
            }
        };
        done.map(|()| ExitCode::SUCCESS)
    }
}

const AFTER_HELP: &str = "\
Every key of turn.toml can be set in the environment: SETU_TURN__RELAY_PORTS=50000-50999.
Exit codes: 0 done, 1 failed, 2 wrong arguments or configuration. Of check: 0 fine, 1 warnings, 2 failures.";

fn serve(config: Config, addresses_file: Option<PathBuf>) -> anyhow::Result<()> {
    let inherited = server::inherited();
    let levels = logging::init(&config.log);
    let runtime = Runtime::new().context("cannot start the runtime")?;
    let served = runtime.block_on(async {
        let signals = Signals::listen()?;
        let server = Server::start(config, levels, inherited).await?;
        if let Some(file) = addresses_file {
            server.write_addresses(&file)?;
        }
        // Whoever closed the standard output does not want the summary.
        let _ = say(server.summary());
        server.run(signals).await
    });
    // Connections that did not end in time end with the process.
    runtime.shutdown_background();
    served
}

fn examine(path: Option<&Path>, options: &check::Options, json: bool) -> anyhow::Result<ExitCode> {
    let runtime = Runtime::new().context("cannot start the runtime")?;
    let report = runtime.block_on(check::run(path, env::vars_os(), options));
    say(&if json {
        report.to_json()
    } else {
        report.to_text()
    })?;
    Ok(severity(&report))
}

fn import(file: &Path) -> anyhow::Result<ExitCode> {
    let shown = file.display();
    let text = fs::read(file).with_context(|| format!("{shown}: cannot be read"))?;
    let folder = path::absolute(file).with_context(|| format!("{shown}: has no folder"))?;
    let folder = folder.parent().unwrap_or(Path::new("/"));
    let imported = import::import(&text, folder);
    say(&imported.toml)?;
    for lost in &imported.lost {
        eprintln!("setu: {shown}: {lost}");
    }
    Ok(ExitCode::from(u8::from(!imported.lost.is_empty())))
}

fn severity(report: &Report) -> ExitCode {
    ExitCode::from(match report.worst() {
        Status::Ok | Status::Note => 0,
        Status::Warning => 1,
        Status::Failure => 2,
    })
}

fn credential(config: Config, name: &str, ttl: Option<Duration>) -> anyhow::Result<()> {
    if config.random_secret {
        bail!(
            "credentials.secret is not set: a random secret would fit no running server; set it, or SETU_CREDENTIALS__SECRET"
        );
    }
    let participant = ParticipantId::parse(name).context("the name")?;
    let mut settings = config.credentials;
    settings.ttl = ttl.unwrap_or(settings.ttl);
    let issued = Credentials::new(settings).issue(Now::read().unix.seconds(), &participant);
    say(&format!(
        "username: {}\npassword: {}\nexpires:  {}\n",
        issued.username,
        issued.password.expose(),
        issued.expires_at.millis().iso8601()
    ))
}

/// Prints; a closed pipe is an error, not a panic.
fn say(text: &str) -> anyhow::Result<()> {
    io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write to the standard output")
}

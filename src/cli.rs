//! The command line: what was asked for, and how it went.

use std::{
    env, fs,
    io::{self, Write as _},
    path::{self, Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, bail};
use thiserror::Error;
use tokio::runtime::Runtime;

use crate::check::{self, Report, Status};
use crate::clock::Now;
use crate::config::{self, Config, ConfigError, import};
use crate::credentials::Credentials;
use crate::ident::ParticipantId;
use crate::logging;
use crate::server::{self, Server, Signals, health};

use arguments::{Command, ConfigCommand};

pub use arguments::Cli;

mod arguments;
mod manual;

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
            Some(Command::Completions { shell }) => say(&manual::completions(shell)),
            Some(Command::Man { command, all }) => manual(&command, all.as_deref()),
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
    if let Some(missing) = &imported.missing {
        eprintln!("setu: {shown}: what was made does not load on this machine yet: {missing}");
    }
    Ok(ExitCode::from(u8::from(!imported.lost.is_empty())))
}

fn manual(words: &[String], all: Option<&Path>) -> anyhow::Result<()> {
    if let Some(folder) = all {
        let written = manual::write_pages(folder);
        return written.with_context(|| format!("{}: cannot be written to", folder.display()));
    }
    let page = manual::page(words).ok_or_else(|| NoSuchCommand(words.join(" ")))?;
    say(&page)
}

/// Who asked for the page of a command that is none.
#[derive(Debug, Error)]
#[error("setu has no command {0:?}; setu help lists them")]
struct NoSuchCommand(String);

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

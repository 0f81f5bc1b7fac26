//! The servers: how each is started, and what it takes of the machine.

use std::{env, fmt, fs, net::SocketAddr, path::Path, process::Command, thread, time::Duration};

use anyhow::{Context as _, ensure};
use clap::ValueEnum;
use setu::clock::Now;

use crate::cores::Cores;
use crate::process::{Folder, Process, START_POLL, START_WITHIN, setu_binary};

/// Who is measured.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Contestant {
    /// The binary of this package, or the one that SETU_BIN names.
    Setu,
    /// benches/node/server.js.
    Node,
}

impl fmt::Display for Contestant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Setu => "Setu",
            Self::Node => "Node",
        })
    }
}

impl Contestant {
    /// The program and its arguments, but for the addresses file.
    fn command(self) -> anyhow::Result<Command> {
        match self {
            Self::Setu => {
                let program = setu_binary();
                let mut command = Command::new(&program);
                command.arg("serve").env_clear().envs(settings(&program)?);
                Ok(command)
            }
            Self::Node => {
                let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/node");
                ensure!(
                    folder.join("node_modules/socket.io").exists(),
                    "Node's socket.io is missing: (cd benches/node && npm ci)"
                );
                let mut command = Command::new("node");
                command.arg(folder.join("server.js"));
                Ok(command)
            }
        }
    }
}

/// A server under load.
pub(crate) struct Running {
    process: Process,
    pub(crate) address: SocketAddr,
}

/// What doing something so often took.
pub(crate) struct Spent {
    pub(crate) count: usize,
    pub(crate) wall: Duration,
    /// Of the server alone.
    pub(crate) cpu: Duration,
}

impl Running {
    /// Starts on free loopback ports and waits until they are open.
    pub(crate) fn start(contestant: Contestant, cores: Cores) -> anyhow::Result<Self> {
        let folder = Folder::new()?;
        let file = folder.path().join("addresses.json");
        let mut command = contestant.command()?;
        command.arg("--addresses-file").arg(&file);
        let mut process = Process::start(command, folder, cores)?;
        let address = announced(&mut process, &file)?;
        Ok(Self { process, address })
    }

    /// What `work` takes of this server. `work` says how many things it did.
    pub(crate) fn spent<T>(
        &self,
        work: impl FnOnce() -> anyhow::Result<(usize, T)>,
    ) -> anyhow::Result<(Spent, T)> {
        let (cpu, wall, (count, result)) = self.process.spent(work)?;
        Ok((Spent { count, wall, cpu }, result))
    }

    pub(crate) fn resident_bytes(&self) -> anyhow::Result<u64> {
        self.process.resident_bytes()
    }
}

fn announced(process: &mut Process, file: &Path) -> anyhow::Result<SocketAddr> {
    let deadline = Now::read().mono + START_WITHIN;
    while !file.exists() {
        process.ensure_alive()?;
        ensure!(
            Now::read().mono < deadline,
            "the server does not become ready"
        );
        thread::sleep(START_POLL);
    }
    let addresses: serde_json::Value = serde_json::from_slice(&fs::read(file)?)?;
    let first = addresses["http"][0].as_str();
    Ok(first.context("no HTTP address")?.parse()?)
}

/// Free loopback ports, and none of the limits that Node's server does not have: 0 switches each off.
const SETTINGS: [(&str, &str, &str); 11] = [
    ("http", "listen", "127.0.0.1:0"),
    ("turn", "listen_udp", "127.0.0.1:0"),
    ("turn", "listen_tcp", "127.0.0.1:0"),
    ("turn", "listen_tls", "127.0.0.1:0"),
    ("turn", "listen_dtls", "127.0.0.1:0"),
    ("turn", "external_ip", "127.0.0.1"),
    ("limits", "connections", "0"),
    ("limits", "connections_per_source", "0"),
    ("signaling", "events_per_second", "0"),
    ("signaling", "participants_per_session", "0"),
    ("signaling", "sessions", "0"),
];

/// [`SETTINGS`] as variables, without those that the measured version does not know: it would refuse them.
fn settings(program: &Path) -> anyhow::Result<impl Iterator<Item = (String, &'static str)>> {
    let output = Command::new(program)
        .arg("config")
        .env_clear()
        .current_dir(env::temp_dir())
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    ensure!(output.status.success(), "setu config: {}", output.status);
    let known: toml::Table = toml::from_str(&String::from_utf8(output.stdout)?)?;
    Ok(SETTINGS
        .into_iter()
        .filter(move |(section, key, _)| {
            let section = known.get(*section).and_then(toml::Value::as_table);
            section.is_some_and(|section| section.contains_key(*key))
        })
        .map(|(section, key, value)| (format!("SETU_{section}__{key}").to_uppercase(), value)))
}

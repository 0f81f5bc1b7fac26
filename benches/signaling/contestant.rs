//! The servers: how each is started, and what it takes of the machine.

use std::{
    env, fmt, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use clap::ValueEnum;
use nix::{
    time::{clock_getcpuclockid, clock_gettime},
    unistd::{Pid, SysconfVar, sysconf},
};
use setu::clock::Now;

use crate::cores::Cores;
use crate::report::Spent;

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

/// A server under load, killed at the end.
pub(crate) struct Running {
    child: Child,
    folder: PathBuf,
    pub(crate) address: SocketAddr,
}

impl Running {
    /// Starts on free loopback ports and waits until they are open.
    pub(crate) fn start(contestant: Contestant, cores: Cores) -> anyhow::Result<Self> {
        let mut command = contestant.command()?;
        let folder = env::temp_dir().join(format!("setu-bench-{:016x}", setu::entropy::number()));
        fs::create_dir_all(&folder)?;
        let file = folder.join("addresses.json");
        command
            .current_dir(&folder)
            .arg("--addresses-file")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("log"))?);
        let child = cores
            .on_the_servers(|| command.spawn())?
            .with_context(|| format!("cannot start {contestant}"))?;
        let mut running = Self {
            child,
            folder,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        running.address = running.announced(&file)?;
        Ok(running)
    }

    /// What `work` takes of this server. `work` says how many things it did.
    pub(crate) fn spent<T>(
        &self,
        work: impl FnOnce() -> anyhow::Result<(usize, T)>,
    ) -> anyhow::Result<(Spent, T)> {
        let (cpu_before, before) = (self.cpu()?, Now::read().mono);
        let (count, result) = work()?;
        let spent = Spent {
            count,
            wall: Now::read().mono - before,
            cpu: self.cpu()?.saturating_sub(cpu_before),
        };
        Ok((spent, result))
    }

    /// Memory of its own that is not swapped out or given back.
    pub(crate) fn resident_bytes(&self) -> anyhow::Result<u64> {
        let statm = fs::read_to_string(format!("/proc/{}/statm", self.child.id()))?;
        let pages = statm.split(' ').nth(1).context("statm is cut short")?;
        let page_bytes = sysconf(SysconfVar::PAGE_SIZE)?.context("no page size")?;
        Ok(pages.parse::<u64>()? * u64::try_from(page_bytes)?)
    }

    /// Time on the processor of all its threads, in user and kernel space.
    fn cpu(&self) -> anyhow::Result<Duration> {
        let clock = clock_getcpuclockid(Pid::from_raw(self.child.id().try_into()?))?;
        Ok(clock_gettime(clock)?.into())
    }

    fn announced(&mut self, file: &Path) -> anyhow::Result<SocketAddr> {
        let deadline = Now::read().mono + START_WITHIN;
        while !file.exists() {
            if let Some(status) = self.child.try_wait()? {
                let log = fs::read_to_string(self.folder.join("log"))?;
                bail!("the server ended at its start, {status}: {log}");
            }
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
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
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
const START_WITHIN: Duration = Duration::from_secs(10);
const START_POLL: Duration = Duration::from_millis(5);

fn setu_binary() -> PathBuf {
    env::var_os("SETU_BIN").map_or_else(|| env!("CARGO_BIN_EXE_setu").into(), PathBuf::from)
}

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

//! A server under load: what it takes of the machine.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail};
use nix::{
    time::{clock_getcpuclockid, clock_gettime},
    unistd::{Pid, SysconfVar, sysconf},
};
use setu::clock::Now;

use crate::cores::Cores;

/// A server in a folder of its own, killed at the end.
pub(crate) struct Process {
    child: Child,
    folder: Folder,
}

/// A new folder, removed at the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let folder = env::temp_dir().join(format!("setu-bench-{:016x}", setu::entropy::number()));
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Process {
    /// Starts it on the server's core; what it complains of is kept.
    pub(crate) fn start(
        mut command: Command,
        folder: Folder,
        cores: Cores,
    ) -> anyhow::Result<Self> {
        command
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join("log"))?);
        let child = cores
            .on_the_servers(|| command.spawn())?
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self { child, folder })
    }

    /// Fails with what it said last if it has ended.
    pub(crate) fn ensure_alive(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let log = fs::read_to_string(self.folder.path().join("log"))?;
            bail!("the server ended at its start, {status}: {log}");
        }
        Ok(())
    }

    /// What `work` takes of it, processor time and wall clock, and what `work` gives.
    pub(crate) fn spent<T>(
        &self,
        work: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<(Duration, Duration, T)> {
        let (cpu_before, before) = (self.cpu()?, Now::read().mono);
        let result = work()?;
        let wall = Now::read().mono - before;
        let cpu = self.cpu()?.saturating_sub(cpu_before);
        Ok((cpu, wall, result))
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
        // What runs just now is accounted for at the next tick, or once it sleeps.
        thread::sleep(ACCOUNTED_WITHIN);
        let clock = clock_getcpuclockid(Pid::from_raw(self.child.id().try_into()?))?;
        Ok(clock_gettime(clock)?.into())
    }
}

/// The binary of this package, or the one that SETU_BIN names.
pub(crate) fn setu_binary() -> PathBuf {
    env::var_os("SETU_BIN").map_or_else(|| env!("CARGO_BIN_EXE_setu").into(), PathBuf::from)
}

/// The middle one, or halfway between the two in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (
        values.get(middle),
        middle.checked_sub(1).and_then(|below| values.get(below)),
    ) {
        (Some(upper), Some(lower)) if values.len().is_multiple_of(2) => (lower + upper) / 2.0,
        (Some(upper), _) => *upper,
        (None, _) => f64::NAN,
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// How long a server may take to become ready, and how often that is asked.
pub(crate) const START_WITHIN: Duration = Duration::from_secs(10);
pub(crate) const START_POLL: Duration = Duration::from_millis(5);
const ACCOUNTED_WITHIN: Duration = Duration::from_millis(2);

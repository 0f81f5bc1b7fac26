//! A core for the server and another for the load, and descriptors enough for both.

use anyhow::Context as _;
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    sys::resource::{Resource, getrlimit, setrlimit},
    unistd::Pid,
};

/// Who runs where.
#[derive(Clone, Copy)]
pub(crate) struct Cores {
    server: usize,
    load: usize,
}

impl Cores {
    /// The first and the last core that this program may use, and itself moved to the last.
    pub(crate) fn split() -> anyhow::Result<Self> {
        let allowed = sched_getaffinity(this_thread()).context("cannot ask for the cores")?;
        let mut cores = (0..CpuSet::count()).filter(|core| allowed.is_set(*core) == Ok(true));
        let server = cores.next().context("no core may be used")?;
        let load = cores.next_back().unwrap_or(server);
        if load == server {
            eprintln!("one core only: the load takes its share of every figure");
        }
        move_to(load)?;
        Ok(Self { server, load })
    }

    /// Does `spawn` on the server's core, where what it spawns will stay.
    pub(crate) fn on_the_servers<T>(self, spawn: impl FnOnce() -> T) -> anyhow::Result<T> {
        move_to(self.server)?;
        let spawned = spawn();
        move_to(self.load)?;
        Ok(spawned)
    }
}

/// Lets this program and those that it starts have so many sockets each.
pub(crate) fn allow_sockets(sockets: usize) -> anyhow::Result<()> {
    let wanted = u64::try_from(sockets)? + DESCRIPTORS_BESIDE;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    // Raising the hard limit takes a privilege that may be there.
    setrlimit(Resource::RLIMIT_NOFILE, hard.max(wanted), hard.max(wanted)).with_context(|| {
        format!("{sockets} sockets need {wanted} descriptors: ulimit -Hn says {hard}")
    })
}

/// What else a server opens: listeners, its runtime's, its log's.
const DESCRIPTORS_BESIDE: u64 = 256;

fn this_thread() -> Pid {
    Pid::from_raw(0)
}

fn move_to(core: usize) -> anyhow::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core)?;
    sched_setaffinity(this_thread(), &cores).with_context(|| format!("cannot move to core {core}"))
}

//! What this process takes of the machine, as the system counts it.

use std::{fs, time::Duration};

use nix::sys::{
    resource::{Resource, UsageWho, getrlimit, getrusage},
    time::TimeVal,
};

/// Nothing is said where the system does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Processor time since the start, the system's on its behalf included.
    pub cpu: Option<Duration>,
    /// Memory in use.
    pub resident_bytes: Option<u64>,
    /// Memory promised.
    pub virtual_bytes: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Files and sockets open.
    pub descriptors: Option<u64>,
    /// How many there may be.
    pub descriptors_max: Option<u64>,
}

impl Process {
    /// Asks the system; some files of it are read, which takes the longer the more sockets are open.
    #[must_use]
    pub fn read() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let usage = getrusage(UsageWho::RUSAGE_SELF).ok();
        let limit = getrlimit(Resource::RLIMIT_NOFILE).ok();
        Self {
            cpu: usage.map(|usage| duration(usage.user_time()) + duration(usage.system_time())),
            resident_bytes: number(&status, "VmRSS:").map(kib),
            virtual_bytes: number(&status, "VmSize:").map(kib),
            threads: number(&status, "Threads:"),
            descriptors: descriptors(),
            descriptors_max: limit.map(|(soft, _)| soft),
        }
    }
}

/// The folder that is read is one of them.
fn descriptors() -> Option<u64> {
    let entries = fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    Some(entries.saturating_sub(1))
}

/// What stands behind a name: `VmRSS:     1234 kB`.
fn number(status: &str, name: &str) -> Option<u64> {
    let mut lines = status.lines();
    let value = lines.find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse().ok()
}

fn kib(number: u64) -> u64 {
    number * 1024
}

fn duration(time: TimeVal) -> Duration {
    let seconds = Duration::from_secs(time.tv_sec().unsigned_abs());
    seconds + Duration::from_micros(time.tv_usec().unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells_all_of_it() {
        let before = Process::read();
        assert!(before.resident_bytes > Some(100_000), "{before:?}");
        assert!(before.virtual_bytes >= before.resident_bytes);
        assert!(before.threads >= Some(1) && before.descriptors >= Some(3));
        assert!(before.descriptors_max >= before.descriptors);
        let text = std::hint::black_box("x".repeat(1 << 20));
        assert!(std::hint::black_box(text).contains('x'));
        assert!(Process::read().cpu >= before.cpu);
    }
}

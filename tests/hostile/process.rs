//! What the kernel knows of the server's process.

use std::{fs, thread, time::Duration};

use tokio::time::Instant;

use crate::common::{DEADLINE, Setu};

/// A process, looked at from outside.
pub(crate) struct Process(u32);

impl Process {
    pub(crate) fn of(setu: &Setu) -> Self {
        Self(setu.pid())
    }

    /// Resident memory.
    pub(crate) fn rss_kib(&self) -> i64 {
        self.status("VmRSS:")
    }

    /// How many descriptors the kernel's table has room for.
    pub(crate) fn descriptor_table(&self) -> i64 {
        self.status("FDSize:")
    }

    fn status(&self, name: &str) -> i64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap();
        let line = status.lines().find(|line| line.starts_with(name));
        let value = line.unwrap().split_whitespace().nth(1).unwrap();
        value.parse().unwrap()
    }

    /// Open file descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.0))
            .unwrap()
            .count()
    }

    /// Waits until no more descriptors are open than there were.
    pub(crate) fn until_descriptors(&self, at_most: usize) {
        let deadline = Instant::now() + DEADLINE;
        while self.descriptors() > at_most {
            let in_time = Instant::now() < deadline;
            assert!(in_time, "{} descriptors, not {at_most}", self.descriptors());
            thread::yield_now();
        }
    }

    /// Which part of one core is used while nobody asks for anything.
    pub(crate) fn idle_share(&self) -> f64 {
        let before = self.cpu_ticks();
        thread::sleep(Duration::from_secs(1));
        // A tick is a hundredth of a second.
        (self.cpu_ticks() - before) as f64 / 100.0
    }

    fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let fields: Vec<_> = fields.split(' ').collect();
        let ticks = |index: usize| fields[index].parse::<u64>().unwrap();
        // User and system time: fields 14 and 15 of proc(5).
        ticks(11) + ticks(12)
    }
}

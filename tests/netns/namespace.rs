//! Network namespaces, gone with the test that made them.

use std::{
    fs::{self, File},
    io::Write,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use nix::sched::{CloneFlags, setns};

pub(crate) struct Namespace {
    pub(crate) name: String,
}

impl Namespace {
    pub(crate) fn new(role: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("setu-{}-{number}-{role}", std::process::id());
        let made = Command::new("ip").args(["netns", "add", &name]).output();
        let made = made.unwrap_or_else(|_| panic!("ip is missing: apt-get install iproute2"));
        let said = String::from_utf8_lossy(&made.stderr);
        let hint = "network namespaces need root: sudo -E cargo test --test netns";
        assert!(made.status.success(), "{hint} ({})", said.trim());
        let namespace = Self { name };
        namespace.ip("link set lo up");
        // Addresses are usable at once.
        for which in ["all", "default"] {
            namespace.set(&format!("ipv6/conf/{which}/accept_dad"), "0");
            namespace.set(&format!("ipv6/conf/{which}/router_solicitations"), "0");
        }
        namespace
    }

    /// `ip`, inside.
    pub(crate) fn ip(&self, arguments: &str) {
        let mut command = Command::new("ip");
        command.args(["-n", &self.name]).args(arguments.split(' '));
        ends_well(&mut command, "");
    }

    pub(crate) fn tc(&self, arguments: &str) {
        let mut command = Command::new("tc");
        command.args(["-n", &self.name]).args(arguments.split(' '));
        ends_well(&mut command, "");
    }

    /// A ruleset, in addition to what is there.
    pub(crate) fn nft(&self, rules: &str) {
        ends_well(self.command("nft").args(["-f", "-"]), rules);
    }

    /// Below /proc/sys/net.
    pub(crate) fn set(&self, key: &str, value: &str) {
        self.enter(|| fs::write(format!("/proc/sys/net/{key}"), value))
            .unwrap();
    }

    pub(crate) fn forwards(&self) {
        self.set("ipv4/ip_forward", "1");
        self.set("ipv6/conf/all/forwarding", "1");
    }

    /// A cable from `device` here to `other_device` there, both up.
    pub(crate) fn cable(&self, device: &str, other: &Self, other_device: &str) {
        let there = &other.name;
        self.ip(&format!(
            "link add {device} type veth peer name {other_device} netns {there}"
        ));
        self.ip(&format!("link set {device} up"));
        other.ip(&format!("link set {other_device} up"));
    }

    pub(crate) fn address(&self, device: &str, address: &str) {
        self.ip(&format!("address add {address} dev {device}"));
    }

    /// A program inside.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// Runs `work` inside; the sockets it makes stay there.
    pub(crate) fn enter<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        let inside = || {
            let file = File::open(format!("/run/netns/{}", self.name)).unwrap();
            setns(file, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        };
        thread::scope(|scope| scope.spawn(inside).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .status();
    }
}

pub(crate) fn ends_well(command: &mut Command, input: &str) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

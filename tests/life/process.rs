//! A running `setu serve` with a configuration file that can be rewritten, and what it logs.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, mpsc},
    thread,
};

use serde_json::Value;

use crate::common::{self, DEADLINE, Folder};
use crate::world;

/// Killed with the test at the latest.
pub(crate) struct Setu {
    child: Child,
    lines: Mutex<mpsc::Receiver<String>>,
    pub(crate) folder: Folder,
    pub(crate) http: SocketAddr,
    pub(crate) udp: SocketAddr,
    pub(crate) tls: SocketAddr,
    pub(crate) dtls: SocketAddr,
    /// Where an authority looks for proof.
    pub(crate) acme: SocketAddr,
}

impl Setu {
    /// Starts with this as its configuration, on free ports of loopback, and waits until it is ready.
    pub(crate) fn start(toml: &str) -> Self {
        Self::start_in(Folder::new(), toml, |_| {})
    }

    /// The same in a folder that holds what the configuration names; `change` has the last word on the command.
    pub(crate) fn start_in(folder: Folder, toml: &str, change: impl FnOnce(&mut Command)) -> Self {
        Self::start_heard(folder, toml, change).0
    }

    /// The same, and what it logs until it is ready.
    pub(crate) fn start_heard(
        folder: Folder,
        toml: &str,
        change: impl FnOnce(&mut Command),
    ) -> (Self, Vec<String>) {
        let ports = world::free_range();
        let ports = format!("{}-{}", ports.start(), ports.end());
        let config = folder.write("turn.toml", toml);
        let mut command = common::command(&[("SETU_TURN__RELAY_PORTS", &ports)]);
        command
            .args(["serve", "--addresses-file"])
            .arg(folder.0.join("addresses.json"))
            .arg("--config")
            .arg(config);
        command.env_remove("SETU_SHUTDOWN__DRAIN");
        change(&mut command);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in stderr.lines() {
                if sender.send(line.unwrap_or_default()).is_err() {
                    return;
                }
            }
        });
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut setu = Self {
            child,
            lines: Mutex::new(lines),
            folder,
            http: nowhere,
            udp: nowhere,
            tls: nowhere,
            dtls: nowhere,
            acme: nowhere,
        };
        let said = setu.lines_until(" ready ");
        setu.find_addresses();
        (setu, said)
    }

    /// The file is written when everything is bound, right after the line that says so.
    fn find_addresses(&mut self) {
        let file = self.folder.0.join("addresses.json");
        let addresses: Value = loop {
            match fs::read(&file) {
                Ok(bytes) => break serde_json::from_slice(&bytes).unwrap(),
                Err(_) => thread::yield_now(),
            }
        };
        let first = |name: &str| addresses[name][0].as_str().unwrap().parse().unwrap();
        self.http = first("http");
        self.udp = first("udp");
        self.tls = first("tls");
        self.dtls = first("dtls");
        if let Some(acme) = addresses["acme"][0].as_str() {
            self.acme = acme.parse().unwrap();
        }
    }

    /// The next line of the log that holds this; those before it are passed over.
    pub(crate) fn line(&self, part: &str) -> String {
        self.lines_until(part).pop().unwrap()
    }

    fn lines_until(&self, part: &str) -> Vec<String> {
        let lines = self.lines.lock().unwrap();
        let mut passed = Vec::new();
        loop {
            match lines.recv_timeout(DEADLINE) {
                Ok(line) if line.contains(part) => {
                    passed.push(line);
                    return passed;
                }
                Ok(line) => passed.push(line),
                Err(error) => panic!("no line with {part:?} ({error}):\n{}", passed.join("\n")),
            }
        }
    }

    /// Puts another configuration in its place, and has it loaded: what the log says of it.
    pub(crate) fn reload(&self, toml: &str) -> String {
        self.folder.write("turn.toml", toml);
        self.signal("HUP");
        self.line("the configuration")
    }

    /// After its end: another one in the same folder.
    pub(crate) fn again(mut self, toml: &str) -> Self {
        let folder = std::mem::replace(&mut self.folder, Folder::new());
        fs::remove_file(folder.0.join("addresses.json")).unwrap();
        Self::start_in(folder, toml, |_| {})
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        kill(name, &self.child.id().to_string());
    }

    /// To the one process that the program in front of the server has started.
    pub(crate) fn signal_behind(&self, name: &str) {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        kill(name, children.unwrap().trim());
    }
}

fn kill(name: &str, pid: &str) {
    let sent = Command::new("kill").args(["-s", name, pid]).status();
    assert!(sent.unwrap().success());
}

impl Drop for Setu {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The same command, started by another program that takes it as its last arguments.
pub(crate) fn behind(mut wrapper: Command, command: &Command) -> Command {
    wrapper.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapper.env(name, value),
            None => wrapper.env_remove(name),
        };
    }
    wrapper.current_dir(command.get_current_dir().unwrap());
    wrapper
}

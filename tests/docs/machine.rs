//! A VPS behind 1:1 NAT: network namespaces for it, for what translates, and for the world; a shell with folders of its
//! own, and stand-ins for what only the outside world has.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use super::common::Folder;
use super::namespace::Namespace;
use super::page::{Block, Page};

/// What the internet reaches: the address that the pages write.
pub(crate) const PUBLIC: &str = "198.51.100.7";
const PRIVATE: &str = "10.0.0.5";

/// What is there when a page begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// Nothing but the system.
    Bare,
    /// What the README's section about VPSs leaves behind.
    Docker,
    /// A server without Docker, and its secrets in variables.
    Serving,
}

pub(crate) struct Machine {
    /// Where clients are.
    pub(crate) world: Namespace,
    vps: Namespace,
    _gateway: Namespace,
    stage: Folder,
    shell: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    blocks: usize,
}

impl Machine {
    pub(crate) fn new(start: Start) -> Self {
        let [world, gateway, vps] = ["world", "gateway", "vps"].map(Namespace::new);
        world.cable("eth0", &gateway, "outer");
        world.address("eth0", "198.51.100.200/24");
        gateway.address("outer", &format!("{PUBLIC}/24"));
        gateway.cable("inner", &vps, "eth0");
        gateway.address("inner", "10.0.0.1/24");
        vps.address("eth0", &format!("{PRIVATE}/24"));
        vps.ip("route add default via 10.0.0.1");
        gateway.forwards();
        gateway.nft(&format!(
            "table ip nat {{
                chain in {{ type nat hook prerouting priority -100; ip daddr {PUBLIC} dnat to {PRIVATE}; }}
                chain out {{ type nat hook postrouting priority 100; ip saddr {PRIVATE} snat to {PUBLIC}; }}
            }}"
        ));
        let stage = Folder::new();
        fs::set_permissions(&stage.0, fs::Permissions::from_mode(0o755)).unwrap();
        let mut shell = shell(&vps, &stage);
        let (input, output) = (shell.stdin.take(), shell.stdout.take());
        let mut machine = Self {
            world,
            vps,
            _gateway: gateway,
            stage,
            shell,
            input: input.unwrap(),
            output: BufReader::new(output.unwrap()),
            blocks: 0,
        };
        machine.run(
            "the stage",
            &fs::read_to_string("tests/docs/stage.sh").unwrap(),
        );
        let prepared = match start {
            Start::Bare => String::new(),
            Start::Docker => vps_section().text,
            Start::Serving => SERVER.to_owned(),
        };
        machine.run("what was there before", &prepared);
        machine
    }

    /// Runs commands in the one shell, and expects all of them to succeed.
    pub(crate) fn run(&mut self, place: &str, commands: &str) -> String {
        self.blocks += 1;
        let file = self.stage.0.join(format!("{}.sh", self.blocks));
        let said = file.with_extension("out");
        // What fails before `&&` would not end the shell.
        fs::write(&file, commands.replace(" && ", "\n")).unwrap();
        let line = format!(
            "source '{}' </dev/null >'{}' 2>&1\necho done\n",
            file.display(),
            said.display()
        );
        self.input.write_all(line.as_bytes()).unwrap();
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        let said = fs::read_to_string(said).unwrap_or_default();
        let log = fs::read_to_string(self.stage.0.join("log")).unwrap_or_default();
        assert_eq!(
            answer, "done\n",
            "{place}:\n{commands}\n{said}\nThe server said:\n{log}"
        );
        said
    }

    /// Puts a file into the shell's folder.
    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.stage.0.join("home").join(name), text).unwrap();
    }

    /// Each call of a stand-in, with its arguments.
    pub(crate) fn calls(&self) -> String {
        fs::read_to_string(self.stage.0.join("calls")).unwrap_or_default()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
        // Whatever it has started lives in this namespace alone.
        let pids = Command::new("ip")
            .args(["netns", "pids", &self.vps.name])
            .output();
        let pids = pids.map(|output| output.stdout).unwrap_or_default();
        for pid in String::from_utf8_lossy(&pids).split_whitespace() {
            let _ = Command::new("kill").args(["-9", pid]).status();
        }
    }
}

/// The README's commands for a VPS.
pub(crate) fn vps_section() -> Block {
    let readme = Page::read(Path::new("README.md"));
    let mut blocks = readme.blocks.into_iter();
    blocks
        .find(|block| block.text.contains("apt-get install"))
        .unwrap()
}

fn shell(vps: &Namespace, stage: &Folder) -> Child {
    let repository = env::current_dir().unwrap();
    let mut command = vps.command("unshare");
    command.args([
        "--mount",
        "bash",
        "--noprofile",
        "--norc",
        "-euo",
        "pipefail",
    ]);
    let inherited = env::vars_os().map(|(name, _)| name);
    for name in inherited.filter(|name| name.to_string_lossy().starts_with("SETU_")) {
        command.env_remove(name);
    }
    for name in ["SOCKET_PORT", "NEXT_PUBLIC_APP_URL", "REDIS_URL"] {
        command.env_remove(name);
    }
    command
        .env("STAGE", &stage.0)
        .env("REPOSITORY", &repository)
        .env("BINARY", env!("CARGO_BIN_EXE_setu"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// For a desk: well-known users, and old channel numbers for coturn's client.
const SERVER: &str = r#"
export TOKEN=7c9e6679f4bb4c1f SECRET=5f1c0d9be8a74c22ad3190cf5b6ee871
SETU_HTTP__ADMIN_TOKEN=$TOKEN SETU_CREDENTIALS__SECRET=$SECRET SETU_TURN__CHANNELS=rfc5766 setu serve
"#;

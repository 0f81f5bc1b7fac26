//! A Debian with nothing on it but systemd, booted as a container: each time as on its first day.

use std::{
    fs::{self, File},
    io,
    net::SocketAddr,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use crate::common::Folder;
use crate::namespace::Namespace;

/// Ended with the test.
pub(crate) struct Machine {
    nspawn: Child,
    /// The process that is its first one, as this machine counts.
    leader: String,
    /// Where its network is, and the other end of its cable.
    pub(crate) network: Namespace,
    _street: Namespace,
    folder: Folder,
}

impl Machine {
    /// Booted, on the network at this address; sees `shared` as /shared.
    pub(crate) fn boot(address: &str, shared: &Path) -> Self {
        let (network, street) = (Namespace::new("debian"), Namespace::new("street"));
        network.cable("wan", &street, "debian");
        network.address("wan", &format!("{address}/24"));
        network.ip("route add default dev wan");
        let folder = Folder::new();
        let notices = UnixDatagram::bind(folder.0.join("notify")).unwrap();
        notices.set_read_timeout(Some(BOOT_DEADLINE)).unwrap();
        let console = File::create(folder.0.join("console")).unwrap();
        let nspawn = Command::new("systemd-nspawn")
            .args(["--quiet", "--register=no", "--keep-unit", "--boot"])
            .args(["--volatile=overlay", "--console=pipe", "--notify-ready=yes"])
            .arg(format!("--machine={}", network.name))
            .arg(format!(
                "--network-namespace-path=/run/netns/{}",
                network.name
            ))
            .arg(format!("--bind-ro={}:/shared", shared.display()))
            .arg("--directory")
            .arg(system())
            .env("NOTIFY_SOCKET", folder.0.join("notify"))
            .stdin(Stdio::null())
            .stdout(console.try_clone().unwrap())
            .stderr(console)
            .spawn();
        let nspawn = nspawn.expect("systemd-nspawn is missing: apt-get install systemd-container");
        let mut machine = Self {
            nspawn,
            leader: String::new(),
            network,
            _street: street,
            folder,
        };
        while !machine.is_up(&notices) {}
        machine
    }

    /// Waits for what is said next; whether that is the end of booting.
    fn is_up(&mut self, notices: &UnixDatagram) -> bool {
        let mut room = [0; 4096];
        let length = notices.recv(&mut room).unwrap_or_else(|error| {
            let console = fs::read_to_string(self.folder.0.join("console"));
            panic!("{error}: {}", console.unwrap_or_default())
        });
        let said = String::from_utf8_lossy(&room[..length]);
        for line in said.lines() {
            if let Some(leader) = line.strip_prefix("X_NSPAWN_LEADER_PID=") {
                self.leader = leader.to_owned();
            }
        }
        said.lines().any(|line| line == "READY=1")
    }

    /// What a command prints that ends well inside.
    pub(crate) fn run(&self, command: &str) -> String {
        let output = self.output(command);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {said}{complaint}");
        said
    }

    pub(crate) fn fails(&self, command: &str) -> bool {
        !self.output(command).status.success()
    }

    fn output(&self, command: &str) -> Output {
        let output = Command::new("nsenter")
            .args(["--target", &self.leader, "--all", "--root", "--wd"])
            .args(["/bin/sh", "-c", command])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin")
            .output();
        output.unwrap()
    }

    /// Whether a STUN server answers there, seen from inside.
    pub(crate) fn answers_binding(&self, server: SocketAddr) -> io::Result<bool> {
        self.network.enter(|| {
            let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
            socket.set_read_timeout(Some(crate::common::DEADLINE))?;
            let mut request = [0; 20];
            request[1] = 1;
            request[4..8].copy_from_slice(&[0x21, 0x12, 0xa4, 0x42]);
            socket.send_to(&request, server)?;
            let mut answer = [0; 200];
            let (length, _) = socket.recv_from(&mut answer)?;
            Ok(length >= 20 && answer[..2] == [1, 1])
        })
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // With its first process, all of its processes end.
        let _ = Command::new("kill")
            .args(["-s", "KILL", &self.leader])
            .status();
        if self.leader.is_empty() {
            let _ = self.nspawn.kill();
        }
        let _ = self.nspawn.wait();
    }
}

/// Its files: made by the first test that asks, kept for later runs.
fn system() -> PathBuf {
    let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian");
    if made.exists() {
        return made;
    }
    let new = made.with_extension("new");
    let _ = fs::remove_dir_all(&new);
    let output = Command::new("mmdebstrap")
        .args(["--quiet", "--variant=minbase", "--include=systemd-sysv"])
        // It need not survive a power cut.
        .arg("--dpkgopt=force-unsafe-io")
        .arg(SUITE)
        .arg(&new)
        .output();
    let output = output.expect("mmdebstrap is missing: apt-get install mmdebstrap");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    fs::rename(&new, &made).unwrap();
    made
}

const SUITE: &str = "bookworm";
/// On a busy machine.
const BOOT_DEADLINE: Duration = Duration::from_secs(60);

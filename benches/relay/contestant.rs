//! The servers: how each is started, and what it takes of the machine.

use std::{
    env, fmt, fs,
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{anyhow, ensure};
use arrayvec::ArrayVec;
use clap::ValueEnum;
use setu::clock::Now;

use crate::case::{Case, Direction};
use crate::cores::Cores;
use crate::process::{Folder, Process, START_POLL, START_WITHIN, setu_binary};
use crate::turn_client::{REALM, TurnClient, USER};
use crate::wire::Transport;

/// Who is measured.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Contestant {
    /// The binary of this package, or the one that SETU_BIN names.
    Setu,
    /// Debian's `turnserver`.
    Coturn,
    /// This program, as it forwards datagrams without any TURN.
    Forwarder,
}

impl fmt::Display for Contestant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Setu => "Setu",
            Self::Coturn => "coturn",
            Self::Forwarder => "forwarder",
        })
    }
}

impl Contestant {
    pub(crate) fn is_installed(self) -> bool {
        match self {
            Self::Setu | Self::Forwarder => true,
            Self::Coturn => Command::new("turnserver")
                .arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok(),
        }
    }

    pub(crate) fn is_turn(self) -> bool {
        self != Self::Forwarder
    }

    /// Whether the case can be asked of this server at all.
    pub(crate) fn serves(self, case: &Case) -> bool {
        let is_plain =
            case.transport == Transport::Udp && case.direction != Direction::RelayToRelay;
        self.is_turn() || is_plain
    }

    fn command(self, ports: Ports, folder: &Path) -> anyhow::Result<Command> {
        Ok(match self {
            Self::Setu => {
                let mut command = Command::new(setu_binary());
                command.arg("serve").env_clear().envs(setu_settings(ports));
                command
            }
            Self::Coturn => {
                let mut command = Command::new("turnserver");
                command.args(coturn_arguments(ports, folder)?);
                command
            }
            Self::Forwarder => {
                let mut command = Command::new(env::current_exe()?);
                command
                    .arg("--forward")
                    .arg(loopback(ports.clear).to_string());
                command
            }
        })
    }
}

/// Where a server listens.
#[derive(Clone, Copy)]
struct Ports {
    /// UDP and TCP.
    clear: u16,
    tls: u16,
    http: u16,
}

/// A server under load.
pub(crate) struct Running {
    process: Process,
    ports: Ports,
    pub(crate) contestant: Contestant,
}

impl Running {
    /// Starts on free loopback ports and waits until they are open.
    pub(crate) fn start(contestant: Contestant, cores: Cores) -> anyhow::Result<Self> {
        let [clear, tls, http] = free_ports()?;
        let ports = Ports { clear, tls, http };
        let folder = Folder::new()?;
        let command = contestant.command(ports, folder.path())?;
        let mut running = Self {
            process: Process::start(command, folder, cores)?,
            ports,
            contestant,
        };
        running.wait_until_open()?;
        Ok(running)
    }

    pub(crate) fn address(&self, transport: Transport) -> SocketAddr {
        loopback(match transport {
            Transport::Udp | Transport::Tcp => self.ports.clear,
            Transport::Tls => self.ports.tls,
        })
    }

    /// What `work` takes of this server: time on the processor and on the wall.
    pub(crate) fn spent<T>(
        &self,
        work: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<(Duration, Duration, T)> {
        self.process.spent(work)
    }

    pub(crate) fn resident_bytes(&self) -> anyhow::Result<u64> {
        self.process.resident_bytes()
    }

    fn wait_until_open(&mut self) -> anyhow::Result<()> {
        let deadline = Now::read().mono + START_WITHIN;
        while !self.is_open() {
            self.process.ensure_alive()?;
            ensure!(
                Now::read().mono < deadline,
                "the server does not become ready"
            );
            thread::sleep(START_POLL);
        }
        Ok(())
    }

    fn is_open(&self) -> bool {
        match self.contestant {
            Contestant::Setu | Contestant::Coturn => {
                let clear = loopback(self.ports.clear);
                TcpStream::connect(loopback(self.ports.tls)).is_ok()
                    && TurnClient::connect(Transport::Tcp, clear).is_ok()
                    && TurnClient::connect(Transport::Udp, clear).is_ok()
            }
            // Its port is taken once it serves.
            Contestant::Forwarder => UdpSocket::bind(loopback(self.ports.clear)).is_err(),
        }
    }
}

/// One worker, as the others have one thread; no limit that would stop the load.
fn setu_settings(ports: Ports) -> Vec<(String, String)> {
    let clear = loopback(ports.clear).to_string();
    let settings = [
        ("http", "listen", loopback(ports.http).to_string()),
        ("turn", "listen_udp", clear.clone()),
        ("turn", "listen_tcp", clear),
        ("turn", "listen_tls", loopback(ports.tls).to_string()),
        ("turn", "listen_dtls", "127.0.0.1:0".to_owned()),
        ("turn", "external_ip", "127.0.0.1".to_owned()),
        ("turn", "realm", REALM.to_owned()),
        (
            "turn",
            "relay_ports",
            RELAY_PORTS.map(|port| port.to_string()).join("-"),
        ),
        ("turn", "workers", "1".to_owned()),
        ("limits", "connections", "0".to_owned()),
        ("limits", "connections_per_source", "0".to_owned()),
        ("limits", "allocations_per_user", "0".to_owned()),
        (
            "limits",
            "unauthenticated_replies_per_second",
            "0".to_owned(),
        ),
    ];
    let name = |(section, key, value): (&str, &str, String)| {
        (format!("SETU_{section}__{key}").to_uppercase(), value)
    };
    settings.map(name).into()
}

fn coturn_arguments(ports: Ports, folder: &Path) -> anyhow::Result<Vec<String>> {
    let names = vec!["localhost".to_owned()];
    let certified = rcgen::generate_simple_self_signed(names)?;
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    fs::write(&cert, certified.cert.pem())?;
    fs::write(&key, certified.signing_key.serialize_pem())?;
    let [first, last] = RELAY_PORTS;
    let (user, password) = USER;
    let mut arguments: Vec<String> = [
        "-n",
        "--lt-cred-mech",
        "--fingerprint",
        "--no-cli",
        "--allow-loopback-peers",
        "--relay-threads=1",
        "--no-stdout-log",
        "--listening-ip=127.0.0.1",
        "--relay-ip=127.0.0.1",
    ]
    .map(str::to_owned)
    .into();
    arguments.extend([
        format!("--listening-port={}", ports.clear),
        format!("--tls-listening-port={}", ports.tls),
        format!("--min-port={first}"),
        format!("--max-port={last}"),
        format!("--realm={REALM}"),
        format!("--user={user}:{password}"),
        format!("--cert={}", cert.display()),
        format!("--pkey={}", key.display()),
        format!("--log-file={}", folder.join("coturn.log").display()),
        format!("--pidfile={}", folder.join("pid").display()),
        format!("--userdb={}", folder.join("db").display()),
    ]);
    Ok(arguments)
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Free for TCP and UDP, a moment ago: all are held until the last one is found.
fn free_ports() -> anyhow::Result<[u16; 3]> {
    let (mut ports, mut held) = (ArrayVec::new(), Vec::new());
    for _ in 0..PORT_TRIES_MAX {
        let listener = TcpListener::bind(loopback(0))?;
        let port = listener.local_addr()?.port();
        if let Ok(socket) = UdpSocket::bind(loopback(port)) {
            ports.push(port);
            held.push((listener, socket));
        }
        if ports.is_full() {
            break;
        }
    }
    ports.into_inner().map_err(|_| anyhow!("no free ports"))
}

/// Below the ports that Linux gives to the load's own sockets.
const RELAY_PORTS: [u16; 2] = [10_000, 30_000];
const PORT_TRIES_MAX: usize = 50;

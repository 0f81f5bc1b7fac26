//! A service manager: what it hears, and the sockets that it passes.

use std::{
    net::{Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
    os::unix::net::UnixDatagram,
    process::Command,
};

use crate::client::{Client, Over};
use crate::common::{self, DEADLINE, Folder, get};
use crate::process::{Setu, behind};

#[test]
fn it_is_told_when_setu_is_ready_reloads_lives_and_stops() {
    let manager = Manager::new();
    let mut setu = manager.start("", |command| {
        command.env("WATCHDOG_USEC", "300000");
    });
    assert_eq!(manager.hears("READY=1")[0], "READY=1");
    // It goes on and on.
    for _ in 0..3 {
        let lives = manager.hears("WATCHDOG=1");
        assert!(
            lives
                .iter()
                .any(|line| line.starts_with("STATUS=0 participants")),
            "{lives:?}"
        );
    }
    setu.reload("[log]\nlevel = \"debug\"\n");
    let reloading = manager.hears("RELOADING=1");
    let since = reloading
        .iter()
        .find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(since.unwrap().parse::<u64>().unwrap() > 0);
    manager.hears("READY=1");
    setu.signal("TERM");
    let stopping = manager.hears("STOPPING=1");
    assert!(
        stopping.contains(&"EXTEND_TIMEOUT_USEC=9000000".to_owned()),
        "{stopping:?}"
    );
    assert!(setu.wait().success());
}

#[test]
fn a_process_that_stands_still_is_not_said_to_live() {
    let manager = Manager::new();
    let setu = manager.start("", |command| {
        command.env("WATCHDOG_USEC", "150000");
    });
    manager.hears("WATCHDOG=1");
    setu.signal("STOP");
    manager
        .socket
        .set_read_timeout(Some(DEADLINE / 10))
        .unwrap();
    let mut room = [0; 1000];
    // What was under way still comes.
    while manager.socket.recv(&mut room).is_ok() {}
    setu.signal("CONT");
    manager.socket.set_read_timeout(Some(DEADLINE)).unwrap();
    manager.hears("WATCHDOG=1");
}

#[tokio::test]
async fn sockets_that_are_passed_serve_in_place_of_our_own() {
    let [http, udp, tls, nowhere] = free_addresses();
    let keys = [
        "SETU_HTTP__LISTEN",
        "SETU_TURN__LISTEN_UDP",
        "SETU_TURN__LISTEN_TLS",
    ];
    let passed = [("tcp", http), ("udp", udp), ("tcp", tls), ("tcp", nowhere)];
    let users = "[turn]\nusers = [\"alice:north\"]\nworkers = 2\n";
    let (setu, said) = Setu::start_heard(Folder::new(), users, |command| {
        for (key, addr) in keys.iter().zip([http, udp, tls]) {
            command.env(key, addr.to_string());
        }
        *command = passing(command, &passed);
    });
    assert_eq!([setu.http, setu.udp, setu.tls], [http, udp, tls]);
    assert_eq!(get(setu.http, "/ready").status, 200);
    for (addr, over) in [(setu.udp, Over::Udp), (setu.tls, Over::Tls)] {
        for _ in 0..4 {
            let mut alice = Client::with(addr, over, "alice", "north").await;
            alice.allocate().await.unwrap();
        }
    }
    let unused = |line: &&String| line.contains("nothing listens on this socket");
    let unused: Vec<_> = said.iter().filter(unused).collect();
    assert!(
        matches!(unused[..], [line] if line.contains(&nowhere.to_string())),
        "{said:?}"
    );
}

#[test]
fn a_passed_socket_that_takes_ipv4_too_is_refused_with_the_fix() {
    let [free, ..] = free_addresses();
    let any = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), free.port());
    let command = common::command(&[("SETU_HTTP__LISTEN", &any.to_string())]);
    let output = passing(&command, &[("tcp", any)]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("BindIPv6Only=ipv6-only"), "{said}");
}

/// The same command, started as a service manager does it: with open sockets from the fourth descriptor on.
fn passing(command: &Command, sockets: &[(&str, SocketAddr)]) -> Command {
    let mut python = Command::new("python3");
    python.args(["-c", PASS]);
    let sockets = sockets
        .iter()
        .map(|(kind, addr)| format!("{kind} {} {}", addr.ip(), addr.port()));
    python.arg(sockets.collect::<Vec<_>>().join(","));
    behind(python, command)
}

const PASS: &str = r#"
import os, socket, sys
sockets = []
for spec in sys.argv[1].split(","):
    kind, host, port = spec.split()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    own = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    own.bind((host, int(port)))
    if kind == "tcp":
        own.listen()
    sockets.append(own)
# Out of the way first: a socket may have the number that another is to get.
high = [os.dup(own.fileno()) for own in sockets]
high = [__import__("fcntl").fcntl(fd, 0, 100) for fd in high]
for number, fd in enumerate(high):
    os.dup2(fd, 3 + number, inheritable=True)
os.environ.update(LISTEN_FDS=str(len(sockets)), LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
"#;

/// Nobody has them now, of TCP or of UDP.
fn free_addresses() -> [SocketAddr; 4] {
    let both = [(); 4].map(|()| {
        loop {
            let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
            let addr = tcp.local_addr().unwrap();
            if let Ok(udp) = UdpSocket::bind(addr) {
                break (tcp, udp, addr);
            }
        }
    });
    both.map(|(_, _, addr)| addr)
}

struct Manager {
    socket: UnixDatagram,
    folder: Folder,
}

impl Manager {
    fn new() -> Self {
        let folder = Folder::new();
        let socket = UnixDatagram::bind(folder.0.join("notify")).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { socket, folder }
    }

    fn start(&self, toml: &str, change: impl FnOnce(&mut Command)) -> Setu {
        Setu::start_in(Folder::new(), toml, |command| {
            command.env("NOTIFY_SOCKET", self.folder.0.join("notify"));
            change(command);
        })
    }

    /// The next message with this line; others are passed over.
    fn hears(&self, wanted: &str) -> Vec<String> {
        let mut room = [0; 1000];
        loop {
            let length = self.socket.recv(&mut room).unwrap();
            let text = String::from_utf8(room[..length].to_vec()).unwrap();
            let lines: Vec<_> = text.lines().map(str::to_owned).collect();
            if lines.iter().any(|line| line == wanted) {
                return lines;
            }
        }
    }
}

//! What a file of tests runs against: one node or two, on the embedded store or on a Redis of their own.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
};

use crate::common::{self, DEADLINE, Folder, Setu};

#[derive(Clone, Copy)]
pub(crate) enum Target {
    Embedded,
    Redis,
    TwoNodes,
}

pub(crate) struct Servers {
    pub(crate) nodes: Vec<Setu>,
    _redis: Option<Redis>,
}

impl Servers {
    /// Starts them with these variables on top.
    pub(crate) fn start(target: Target, variables: &[(&str, &str)]) -> Self {
        let redis = match target {
            Target::Embedded => None,
            Target::Redis | Target::TwoNodes => Some(Redis::start()),
        };
        let nodes = match target {
            Target::Embedded | Target::Redis => 1,
            Target::TwoNodes => 2,
        };
        let url = redis.as_ref().map(Redis::url);
        let nodes = (0..nodes).map(|_| {
            let ports = relay_ports();
            let mut all = vec![("SETU_TURN__RELAY_PORTS", &*ports)];
            all.extend(url.as_deref().map(|url| ("SETU_STORE__REDIS_URL", url)));
            all.extend_from_slice(variables);
            Setu::start(&all)
        });
        Self {
            nodes: nodes.collect(),
            _redis: redis,
        }
    }

    /// All nodes' HTTP addresses, as the node tests take them.
    pub(crate) fn urls(&self) -> String {
        joined(&self.nodes, |node| format!("http://{}", node.http))
    }

    pub(crate) fn relays(&self) -> String {
        joined(&self.nodes, |node| node.udp.to_string())
    }
}

fn joined(nodes: &[Setu], text: impl Fn(&Setu) -> String) -> String {
    nodes.iter().map(text).collect::<Vec<_>>().join(",")
}

/// A Redis that forgets everything with the test.
struct Redis {
    child: Child,
    address: SocketAddr,
    _folder: Folder,
}

impl Redis {
    fn start() -> Self {
        let folder = Folder::new();
        loop {
            // Somebody else may take the free port before Redis does; then it ends, and another one is tried.
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            drop(listener);
            let mut child = Command::new("redis-server")
                .args(["--bind", "127.0.0.1", "--save", "", "--port"])
                .arg(address.port().to_string())
                .current_dir(&folder.0)
                .stdout(Stdio::null())
                .spawn()
                .expect("redis-server is missing: apt-get install -y redis-server");
            while child.try_wait().unwrap().is_none() {
                if answers(address) {
                    return Self {
                        child,
                        address,
                        _folder: folder,
                    };
                }
            }
        }
    }

    fn url(&self) -> String {
        format!("redis://{}", self.address)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn answers(redis: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&redis, DEADLINE) else {
        return false;
    };
    let mut answer = [0; 5];
    stream.write_all(b"PING\r\n").is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && &answer == b"+PONG"
}

/// As many as by default, for each node its own, below those that the system hands out.
fn relay_ports() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(14_000);
    let first = NEXT.fetch_add(50, Ordering::Relaxed);
    format!("{first}-{}", first + 40)
}

/// How many participants the first node counts.
pub(crate) fn participants(servers: &Servers) -> serde_json::Value {
    let health = common::get(servers.nodes[0].http, "/health").json();
    health["activeParticipants"].clone()
}

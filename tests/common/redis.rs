//! Real Redis servers on free ports in folders of their own: one, a master with Sentinels, a Cluster.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use redis::{Connection, FromRedisValue};

use super::common::Folder;

/// A running redis-server or redis-sentinel, killed with the test at the latest.
pub(crate) struct Server {
    program: &'static str,
    args: Vec<String>,
    child: Option<Child>,
    pub(crate) folder: Folder,
    pub(crate) port: u16,
}

impl Server {
    /// Starts with these options on top, and waits until it serves. Keeps nothing on disk unless told to.
    pub(crate) fn start(options: &[&str]) -> Self {
        let port = free_port();
        let options = options.iter().map(|option| (*option).to_owned());
        let args = [
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
        ];
        let args = args.into_iter().map(str::to_owned).chain(options).collect();
        Self::run("redis-server", args, Folder::new(), port)
    }

    /// A Sentinel that watches the master `main`; two of them make a majority.
    fn sentinel(master: u16) -> Self {
        let (folder, port) = (Folder::new(), free_port());
        let text = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {master} 2\n\
             sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 4000\n"
        );
        let file = folder.write("sentinel.conf", &text);
        let args = vec![file.display().to_string()];
        Self::run("redis-sentinel", args, folder, port)
    }

    fn run(program: &'static str, args: Vec<String>, folder: Folder, port: u16) -> Self {
        let mut server = Self {
            program,
            args,
            child: None,
            folder,
            port,
        };
        server.restart();
        server
    }

    /// Starts it again as it was started first.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let mut child = Command::new(self.program)
            .args(&self.args)
            .current_dir(&self.folder.0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; apt-get install {0}", self.program));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        self.child = Some(child);
        let ready = |line: &str| {
            line.contains("Ready to accept connections") || line.contains("Sentinel ID is")
        };
        let mut said = String::new();
        loop {
            let line = lines.next().unwrap_or_else(|| panic!("ended:\n{said}"));
            let line = line.unwrap();
            if ready(&line) {
                break;
            }
            said.push_str(&line);
            said.push('\n');
        }
        // Whoever does not read stops it from writing.
        thread::spawn(move || lines.for_each(drop));
    }

    /// The hard way, as when the machine loses power.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// STOP holds it still, CONT lets it go on.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.unwrap().success());
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Asks it something on a connection of the test's own.
    pub(crate) fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        ask(&mut self.connection(), words)
    }

    pub(crate) fn connection(&self) -> Connection {
        let client = redis::Client::open(self.url()).unwrap();
        client.get_connection().unwrap()
    }

    /// How often a command was called since the last `CONFIG RESETSTAT`.
    pub(crate) fn calls(&self, command: &str) -> usize {
        let stats: String = self.ask(&["INFO", "commandstats"]);
        let line = stats
            .lines()
            .find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A master, a replica of it, and three Sentinels.
pub(crate) struct Watched {
    pub(crate) master: Server,
    pub(crate) replica: Server,
    pub(crate) sentinels: Vec<Server>,
}

impl Watched {
    pub(crate) fn start() -> Self {
        let master = Server::start(&[]);
        let of = master.port.to_string();
        let replica = Server::start(&["--replicaof", "127.0.0.1", &of]);
        let sentinels: Vec<_> = (0..3).map(|_| Server::sentinel(master.port)).collect();
        for sentinel in &sentinels {
            until("the Sentinels know each other and the replica", || {
                let info: String = sentinel.ask(&["INFO", "sentinel"]);
                info.contains("slaves=1,sentinels=3")
            });
        }
        Self {
            master,
            replica,
            sentinels,
        }
    }

    pub(crate) fn url(&self) -> String {
        let hosts = self.sentinels.iter();
        let hosts: Vec<_> = hosts
            .map(|server| format!("127.0.0.1:{}", server.port))
            .collect();
        format!("redis+sentinel://{}/main", hosts.join(","))
    }
}

/// Three masters, each with a replica.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Server>,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        let nodes: Vec<_> = (0..6).map(|_| Self::node()).collect();
        let addresses = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port));
        let created = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(addresses)
            .args(["--cluster-replicas", "1", "--cluster-yes"])
            .output()
            .unwrap_or_else(|error| panic!("redis-cli: {error}; apt-get install redis-tools"));
        assert!(created.status.success(), "{created:?}");
        for node in &nodes {
            until("all nodes agree that the Cluster is whole", || {
                let info: String = node.ask(&["CLUSTER", "INFO"]);
                let nodes: String = node.ask(&["CLUSTER", "NODES"]);
                let replicas = nodes.lines().filter(|line| line.contains("slave")).count();
                info.contains("cluster_state:ok") && replicas == 3
            });
        }
        until("every replica follows its master", || {
            let up = nodes.iter().filter(|node| {
                let info: String = node.ask(&["INFO", "replication"]);
                info.contains("master_link_status:up")
            });
            up.count() == 3
        });
        Self { nodes }
    }

    fn node() -> Server {
        let bus = free_port().to_string();
        Server::start(&[
            "--cluster-enabled",
            "yes",
            "--cluster-node-timeout",
            "1000",
            "--cluster-port",
            &bus,
        ])
    }

    pub(crate) fn url(&self) -> String {
        let hosts = self.nodes.iter();
        let hosts: Vec<_> = hosts
            .map(|node| format!("127.0.0.1:{}", node.port))
            .collect();
        format!("redis-cluster://{}", hosts.join(","))
    }

    /// The node that serves a key at present.
    pub(crate) fn master_of(&mut self, key: &str) -> &mut Server {
        let any = &self.nodes[0];
        let slot: i64 = any.ask(&["CLUSTER", "KEYSLOT", key]);
        let ranges: Vec<Vec<redis::Value>> = any.ask(&["CLUSTER", "SLOTS"]);
        let port = ranges.into_iter().find_map(|range| {
            let mut range = range.into_iter();
            let mut number = || redis::from_redis_value::<i64>(range.next().unwrap()).unwrap();
            if !(number()..=number()).contains(&slot) {
                return None;
            }
            let master: Vec<redis::Value> = redis::from_redis_value(range.next()?).unwrap();
            redis::from_redis_value::<u16>(master.into_iter().nth(1)?).ok()
        });
        let mut nodes = self.nodes.iter_mut();
        nodes.find(|node| Some(node.port) == port).unwrap()
    }
}

/// Long enough for a failover on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Waits for what comes about in another process.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    #[expect(clippy::disallowed_methods, reason = "a test's patience")]
    let now = Instant::now;
    let deadline = now() + DEADLINE;
    while !is_so() {
        assert!(now() < deadline, "not in time: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Free when asked, not given out twice by this process, and never the near end of a connection: a server that starts
/// again needs the same port.
pub(crate) fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        // Below what Linux gives to connections.
        let port = 20_000 + u16::try_from(setu::entropy::number() % 12_000).unwrap();
        let is_free = TcpListener::bind(("127.0.0.1", port)).is_ok();
        if is_free && GIVEN.lock().unwrap().insert(port) {
            return port;
        }
    }
}

fn ask<T: FromRedisValue>(connection: &mut impl redis::ConnectionLike, words: &[&str]) -> T {
    let mut command = redis::cmd(words[0]);
    for word in &words[1..] {
        command.arg(*word);
    }
    let answer = command.query(connection);
    answer.unwrap_or_else(|error| panic!("{words:?}: {error}"))
}

/// A certificate for 127.0.0.1 and its key, as files.
pub(crate) fn certificate(folder: &Folder) -> [String; 2] {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let files = [
        ("redis.pem", made.cert.pem()),
        ("redis.key", made.signing_key.serialize_pem()),
    ];
    files.map(|(name, text)| folder.write(name, &text).display().to_string())
}

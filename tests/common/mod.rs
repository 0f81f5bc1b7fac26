//! The real binary on free ports, and as much HTTP as the tests need.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Long enough for a busy machine; a test that waits so long has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// A running `setu serve`, killed with the test at the latest.
pub(crate) struct Setu {
    child: Child,
    pub(crate) summary: String,
    pub(crate) http: SocketAddr,
    pub(crate) udp: SocketAddr,
    pub(crate) tcp: SocketAddr,
    pub(crate) tls: SocketAddr,
    /// Where there is such a listener.
    pub(crate) dtls: Option<SocketAddr>,
    /// Where metrics have listeners of their own.
    pub(crate) metrics: Option<SocketAddr>,
}

impl Setu {
    /// Starts on free loopback ports, with these variables on top, and waits until it is ready.
    pub(crate) fn start(variables: &[(&str, &str)]) -> Self {
        Self::start_logging(variables, Stdio::null())
    }

    /// The same; its log goes there.
    pub(crate) fn start_logging(variables: &[(&str, &str)], log: impl Into<Stdio>) -> Self {
        let folder = Folder::new();
        let file = folder.0.join("addresses.json");
        let mut child = command(variables)
            .args(["serve", "--addresses-file"])
            .arg(&file)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let summary = summary(&mut child);
        let addresses: serde_json::Value =
            serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let first = |name: &str| addresses[name][0].as_str().unwrap().parse().unwrap();
        let perhaps = |name: &str| Some(addresses[name][0].as_str()?.parse().unwrap());
        Self {
            dtls: perhaps("dtls"),
            metrics: perhaps("metrics"),
            summary,
            http: first("http"),
            udp: first("udp"),
            tcp: first("tcp"),
            tls: first("tls"),
            child,
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.unwrap().success());
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Setu {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server started by a command of the test's own, ready, and killed with the test.
pub(crate) struct Serving(Child);

impl Serving {
    pub(crate) fn start(mut command: Command) -> Self {
        let child = command
            .arg("serve")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut serving = Self(child.unwrap());
        summary(&mut serving.0);
        serving
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a server says when it is ready.
fn summary(child: &mut Child) -> String {
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut summary = String::new();
    // Its last line closes the configuration.
    while !summary.ends_with("] }\n") {
        let read = stdout.read_line(&mut summary).unwrap();
        assert!(read > 0, "setu ended before it was ready:\n{summary}");
    }
    summary
}

/// `setu` with none of our variables but these, in a folder without a turn.toml.
pub(crate) fn command(variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_setu"));
    command.current_dir(env::temp_dir()).stdin(Stdio::null());
    let inherited = env::vars_os().map(|(name, _)| name);
    for name in inherited.filter(|name| name.to_string_lossy().starts_with("SETU_")) {
        command.env_remove(name);
    }
    for name in ["SOCKET_PORT", "NEXT_PUBLIC_APP_URL", "REDIS_URL"] {
        command.env_remove(name);
    }
    let listeners = [
        "SETU_HTTP__LISTEN",
        "SETU_TURN__LISTEN_UDP",
        "SETU_TURN__LISTEN_TCP",
        "SETU_TURN__LISTEN_TLS",
        "SETU_TURN__LISTEN_DTLS",
    ];
    for name in listeners {
        command.env(name, "127.0.0.1:0");
    }
    command.env("SETU_TURN__EXTERNAL_IP", "127.0.0.1");
    // Whom a test leaves behind is not waited for.
    command.env("SETU_SHUTDOWN__DRAIN", "0s");
    command.envs(variables.iter().copied());
    command
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let line = lines.find(|(found, _)| found.eq_ignore_ascii_case(name))?;
        Some(line.1)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}

/// One request on a connection of its own. `head` is what follows the request line, without the Host.
pub(crate) fn ask(server: SocketAddr, request_line: &str, head: &[&str], body: &str) -> Answer {
    let mut stream = connect(server);
    let mut request = format!("{request_line} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n");
    for line in head {
        request.push_str(line);
        request.push_str("\r\n");
    }
    request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    Answer {
        status: head.get(9..12).unwrap().parse().unwrap(),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

pub(crate) fn get(server: SocketAddr, path: &str) -> Answer {
    ask(server, &format!("GET {path}"), &[], "")
}

pub(crate) fn connect(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&server, DEADLINE).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// A token as the application signs it (HS256).
pub(crate) fn jwt(secret: &str, claims: &serde_json::Value) -> String {
    let header = serde_json::json!({ "alg": "HS256", "typ": "JWT" });
    let encode = |part: &serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
    let signed = format!("{}.{}", encode(&header), encode(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    let signature = BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    format!("{signed}.{signature}")
}

/// A folder of this test's own, gone with it.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        let name = format!(
            "setu-test-{:?}-{:016x}",
            thread::current().id(),
            setu::entropy::number()
        );
        let path = env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path: &Path = &self.0.join(name);
        fs::write(path, text).unwrap();
        path.to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

//! One HTTP request and what it is answered with: enough to ask our own server, or anybody for the time.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::link::{self, Stream};

/// In clear, or over TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// An answer, with a body that may be cut.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    head: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        let line = lines.find(|(found, _)| found.eq_ignore_ascii_case(name))?;
        Some(line.1.trim())
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let status = head.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
        Some(Self {
            status,
            head: head.to_owned(),
            body: body.to_owned(),
        })
    }
}

/// `GET path`; over TLS, whatever certificate is shown.
pub(super) async fn get(
    scheme: Scheme,
    server: SocketAddr,
    host: &str,
    path: &str,
    bearer: Option<&str>,
) -> io::Result<Answer> {
    let asked = timeout(PATIENCE, ask(scheme, server, host, path, bearer)).await;
    asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn ask(
    scheme: Scheme,
    server: SocketAddr,
    host: &str,
    path: &str,
    bearer: Option<&str>,
) -> io::Result<Answer> {
    let stream = TcpStream::connect(server).await?;
    let mut stream: Box<dyn Stream> = match scheme {
        Scheme::Http => Box::new(stream),
        Scheme::Https => Box::new(link::shake_hands(stream, server.ip()).await?),
    };
    let authorization = bearer.map(|token| format!("Authorization: Bearer {token}\r\n"));
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\n{}Connection: close\r\n\r\n",
        authorization.unwrap_or_default()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    stream
        .take(ANSWER_BYTES_MAX)
        .read_to_end(&mut bytes)
        .await?;
    Answer::parse(&bytes).ok_or_else(|| io::Error::other("that is no HTTP"))
}

const PATIENCE: Duration = Duration::from_secs(2);
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read() {
        let answer = Answer::parse(b"HTTP/1.1 200 OK\r\nDate: now\r\n\r\n{}").unwrap();
        assert_eq!((answer.status, answer.header("date")), (200, Some("now")));
        assert!(Answer::parse(b"SSH-2.0-OpenSSH\r\n\r\n").is_none());
    }
}

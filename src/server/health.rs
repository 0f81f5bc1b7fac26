//! `setu health`: asks a running server. Small enough for a container that holds nothing but this binary.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};

use crate::relay::{Listen, from_here};

mod stream;

use stream::Stream;

/// Asks `url`, or `/ready` of the server that listens there, over TLS if it does so.
///
/// # Errors
/// When nobody answers, or not with 200.
pub fn ask(url: Option<&str>, listen: &[Listen], tls: bool) -> anyhow::Result<()> {
    let scheme = if tls { "https" } else { "http" };
    let default = default_url(scheme, listen);
    let url = url.unwrap_or(&default);
    let (tls, rest) = match url.split_once("://") {
        Some(("http", rest)) => (false, rest),
        Some(("https", rest)) => (true, rest),
        Some(_) | None => bail!("{url}: only http:// and https:// can be asked"),
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, "ready"));
    let status = status(tls, authority, path).with_context(|| format!("no answer from {url}"))?;
    if status != "200" {
        bail!("{url} answers {status}");
    }
    Ok(())
}

const TIMEOUT: Duration = Duration::from_secs(3);
const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;
/// `HTTP/1.1 200`.
const STATUS_LINE_BYTES: usize = 12;

fn default_url(scheme: &str, listen: &[Listen]) -> String {
    let first = listen.first().map(|listen| listen.addr);
    let addr = first.unwrap_or(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), HTTP_PORT));
    let addr = SocketAddr::new(from_here(addr.ip()), addr.port());
    format!("{scheme}://{addr}/ready")
}

fn status(tls: bool, authority: &str, path: &str) -> anyhow::Result<String> {
    let address = if authority.to_socket_addrs().is_ok() {
        authority.to_owned()
    } else {
        let port = if tls { HTTPS_PORT } else { HTTP_PORT };
        format!("{authority}:{port}")
    };
    let stream = connect(&address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let host = address.rsplit_once(':').map_or(authority, |(host, _)| host);
    let mut stream: Box<dyn Stream> = match tls {
        true => stream::over_tls(stream, host)?,
        false => Box::new(stream),
    };
    write!(
        stream,
        "GET /{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n"
    )?;
    let mut line = [0; STATUS_LINE_BYTES];
    stream.read_exact(&mut line)?;
    let line = String::from_utf8_lossy(&line);
    let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..));
    Ok(status.context("that is no HTTP")?.to_owned())
}

/// A name may have addresses that nobody listens on.
fn connect(address: &str) -> anyhow::Result<TcpStream> {
    let mut refused = anyhow!("the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => refused = error.into(),
        }
    }
    Err(refused)
}

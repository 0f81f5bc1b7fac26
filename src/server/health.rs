//! `setu health`: asks a running server. Small enough for a container that holds nothing but this binary.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};

use crate::relay::Listen;

/// Asks `url`, or `/ready` of the server that listens there.
///
/// # Errors
/// When nobody answers, or not with 200.
pub fn ask(url: Option<&str>, listen: &[Listen]) -> anyhow::Result<()> {
    let default = default_url(listen);
    let url = url.unwrap_or(&default);
    let Some(rest) = url.strip_prefix("http://") else {
        bail!("{url}: only http:// can be asked");
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, "ready"));
    let status = status(authority, path).with_context(|| format!("no answer from {url}"))?;
    if status != "200" {
        bail!("{url} answers {status}");
    }
    Ok(())
}

const TIMEOUT: Duration = Duration::from_secs(3);
const HTTP_PORT: u16 = 80;
/// `HTTP/1.1 200`.
const STATUS_LINE_BYTES: usize = 12;

fn default_url(listen: &[Listen]) -> String {
    let first = listen.first().map(|listen| listen.addr);
    let addr = first.unwrap_or(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), HTTP_PORT));
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    format!("http://{}/ready", SocketAddr::new(ip, addr.port()))
}

fn status(authority: &str, path: &str) -> anyhow::Result<String> {
    let address = if authority.to_socket_addrs().is_ok() {
        authority.to_owned()
    } else {
        format!("{authority}:{HTTP_PORT}")
    };
    let mut stream = connect(&address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
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

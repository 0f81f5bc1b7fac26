//! A connection to the server that is asked, over TLS where it speaks that.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
};

use anyhow::Context as _;
use tokio_rustls::rustls::{ClientConnection, StreamOwned, pki_types::ServerName};

use crate::trusting;

pub(super) trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

/// The same over TLS, whatever certificate the server shows: it is asked how it is, at an address that no certificate
/// may name, and told nothing.
pub(super) fn over_tls(stream: TcpStream, host: &str) -> anyhow::Result<Box<dyn Stream>> {
    let host = host.trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(host).context("that is no host")?;
    let connection = ClientConnection::new(Arc::new(trusting::client_config()?), name)?;
    Ok(Box::new(StreamOwned::new(connection, stream)))
}

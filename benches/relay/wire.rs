//! How a client of the load reaches its server: datagrams or a byte stream, blocking while it is set up.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    os::fd::{AsRawFd, RawFd},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use tokio_rustls::rustls::{ClientConnection, StreamOwned, pki_types::ServerName};

use setu::trusting::client_config;

/// Between client and server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
    Tls,
}

/// One client's connection.
pub(crate) enum Wire {
    Udp(UdpSocket),
    Tcp(TcpStream, Vec<u8>),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>, Vec<u8>),
}

impl Wire {
    pub(crate) fn connect(transport: Transport, server: SocketAddr) -> anyhow::Result<Self> {
        if transport == Transport::Udp {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.connect(server)?;
            socket.set_read_timeout(Some(ANSWER_WITHIN))?;
            return Ok(Self::Udp(socket));
        }
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        if transport == Transport::Tcp {
            return Ok(Self::Tcp(stream, Vec::new()));
        }
        let name = ServerName::try_from("localhost").context("a name")?;
        let connection = ClientConnection::new(Arc::new(client_config()?), name)?;
        Ok(Self::Tls(
            Box::new(StreamOwned::new(connection, stream)),
            Vec::new(),
        ))
    }

    /// Sends one message, padded where the transport is a stream.
    pub(crate) fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let padding = &[0; 3][..message.len().next_multiple_of(4) - message.len()];
        match self {
            Self::Udp(socket) => socket.send(message).map(|_| ()),
            Self::Tcp(stream, _) => stream.write_all(&[message, padding].concat()),
            Self::Tls(stream, _) => stream.write_all(&[message, padding].concat()),
        }
    }

    /// The next whole message, without its padding.
    pub(crate) fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut room = vec![0; 2048];
        loop {
            let (read, rest) = match self {
                Self::Udp(socket) => {
                    let bytes = socket.recv(&mut room)?;
                    room.truncate(bytes);
                    return Ok(room);
                }
                Self::Tcp(stream, rest) => match cut(rest) {
                    Some(message) => return Ok(message),
                    None => (stream.read(&mut room)?, rest),
                },
                Self::Tls(stream, rest) => match cut(rest) {
                    Some(message) => return Ok(message),
                    None => (stream.read(&mut room)?, rest),
                },
            };
            if read == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            rest.extend_from_slice(&room[..read]);
        }
    }

    /// What a stream brings without waiting, handed on message by message; not for datagrams.
    pub(crate) fn drain(&mut self, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let mut room = [0; 16 * 1024];
        loop {
            let read = match self {
                Self::Udp(_) => return Ok(()),
                Self::Tcp(stream, _) => stream.read(&mut room),
                Self::Tls(stream, _) => stream.read(&mut room),
            };
            let read = match read {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let (Self::Tcp(_, rest) | Self::Tls(_, rest)) = self else {
                return Ok(());
            };
            rest.extend_from_slice(&room[..read]);
            let mut at = 0;
            while let Some((message, padded)) = extent(&rest[at..]) {
                take(&rest[at..][..message]);
                at += padded;
            }
            rest.drain(..at);
        }
    }

    /// Writes what a stream takes without waiting; nothing for datagrams.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Udp(_) => Ok(0),
            Self::Tcp(stream, _) => stream.write(bytes),
            Self::Tls(stream, _) => stream.write(bytes),
        }
    }

    pub(crate) fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.set_nonblocking(true),
            Self::Tcp(stream, _) => stream.set_nonblocking(true),
            Self::Tls(stream, _) => stream.sock.set_nonblocking(true),
        }
    }
}

impl AsRawFd for Wire {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Udp(socket) => socket.as_raw_fd(),
            Self::Tcp(stream, _) => stream.as_raw_fd(),
            Self::Tls(stream, _) => stream.sock.as_raw_fd(),
        }
    }
}

fn cut(rest: &mut Vec<u8>) -> Option<Vec<u8>> {
    let (message, padded) = extent(rest)?;
    let cut = rest[..message].to_vec();
    rest.drain(..padded);
    Some(cut)
}

/// How long the first message is, and how long with its padding; `None` until it is whole.
fn extent(bytes: &[u8]) -> Option<(usize, usize)> {
    let &[first, _, l0, l1, ..] = bytes else {
        return None;
    };
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    let message = if first < 0x40 {
        20 + length
    } else {
        4 + length
    };
    let padded = message.next_multiple_of(4);
    (bytes.len() >= padded).then_some((message, padded))
}

const ANSWER_WITHIN: Duration = Duration::from_secs(5);

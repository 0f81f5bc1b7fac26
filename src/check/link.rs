//! The way of one client to a server: datagrams, or a stream cut into messages.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
};
use tokio_rustls::{TlsConnector, client::TlsStream, rustls::pki_types::ServerName};

use super::dtls::Dtls;
use crate::relay::engine::five_tuple::Transport;
use crate::relay::wire::stream::Inbound;
use crate::trusting;

pub(super) enum Link {
    Udp(UdpSocket),
    Stream {
        stream: Box<dyn Stream>,
        inbound: Inbound,
        /// What the server showed over TLS.
        certificate: Option<Vec<u8>>,
    },
    Dtls(Box<Dtls>),
}

pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl Link {
    pub(super) async fn connect(over: Transport, server: SocketAddr) -> io::Result<Self> {
        Ok(match over {
            Transport::Udp => Self::Udp(datagrams(server).await?),
            Transport::Dtls => Self::Dtls(Box::new(Dtls::connect(datagrams(server).await?).await?)),
            Transport::Tcp => Self::of(TcpStream::connect(server).await?, None),
            Transport::Tls => {
                let stream = TcpStream::connect(server).await?;
                let stream = shake_hands(stream, server.ip()).await?;
                let shown = stream.get_ref().1.peer_certificates();
                let leaf = shown.and_then(<[_]>::first).map(|leaf| leaf.to_vec());
                Self::of(stream, leaf)
            }
        })
    }

    fn of(stream: impl Stream + 'static, certificate: Option<Vec<u8>>) -> Self {
        Self::Stream {
            stream: Box::new(stream),
            inbound: Inbound::default(),
            certificate,
        }
    }

    pub(super) fn certificate(&self) -> Option<&[u8]> {
        match self {
            Self::Stream { certificate, .. } => certificate.as_deref(),
            Self::Udp(_) | Self::Dtls(_) => None,
        }
    }

    /// Whether what was sent arrives, or the link breaks.
    pub(super) fn is_reliable(&self) -> bool {
        match self {
            Self::Stream { .. } => true,
            Self::Udp(_) | Self::Dtls(_) => false,
        }
    }

    pub(super) async fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(message).await.map(drop),
            Self::Dtls(dtls) => dtls.send(message).await,
            Self::Stream { stream, .. } => {
                stream.write_all(message).await?;
                stream.flush().await
            }
        }
    }

    pub(super) async fn receive(&mut self) -> io::Result<Vec<u8>> {
        match self {
            Self::Udp(socket) => {
                let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
                let bytes = socket.recv(&mut datagram).await?;
                datagram.truncate(bytes);
                Ok(datagram)
            }
            Self::Dtls(dtls) => dtls.receive().await,
            Self::Stream {
                stream, inbound, ..
            } => loop {
                let message = inbound.next_message().map_err(io::Error::other)?;
                if let Some(message) = message {
                    return Ok(message.to_vec());
                }
                let room = inbound.room(DATAGRAM_BYTES_MAX);
                if stream.read_buf(room).await? == 0 {
                    return Err(io::Error::other("the server closed the connection"));
                }
            },
        }
    }
}

const DATAGRAM_BYTES_MAX: usize = 2048;

async fn datagrams(server: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    Ok(socket)
}

/// TLS, whatever certificate is shown.
pub(super) async fn shake_hands(
    stream: TcpStream,
    server: IpAddr,
) -> io::Result<TlsStream<TcpStream>> {
    let config = trusting::client_config().map_err(io::Error::other)?;
    let name = ServerName::IpAddress(server.into());
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

//! A TURN client of few words, over UDP, TCP or TLS, and a peer.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    sync::Arc,
    time::Duration,
};

use tokio_rustls::rustls::{ClientConnection, StreamOwned, pki_types::ServerName};

use crate::bytes::*;
use crate::namespace::Namespace;
use crate::server::{PASSWORD, USER};
use setu::trusting::client_config;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Over {
    Udp,
    Tcp,
    Tls,
}

impl Over {
    pub(crate) const ALL: [Self; 3] = [Self::Udp, Self::Tcp, Self::Tls];

    fn port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 3478,
            Self::Tls => 5349,
        }
    }
}

pub(crate) struct Client {
    wire: Wire,
    user: String,
    nonce: String,
}

enum Wire {
    Udp(UdpSocket),
    Stream(Box<dyn Stream>, Vec<u8>),
}

trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

impl Client {
    /// From inside `namespace` to the server.
    pub(crate) fn new(namespace: &Namespace, server: &str, over: Over) -> Self {
        Self::as_user(namespace, server, over, USER)
    }

    /// All users have the same password.
    pub(crate) fn as_user(namespace: &Namespace, server: &str, over: Over, user: &str) -> Self {
        let server = SocketAddr::new(server.parse().unwrap(), over.port());
        let wire = namespace.enter(|| match over {
            Over::Udp => {
                let socket = udp(server.ip());
                socket.connect(server).unwrap();
                Wire::Udp(socket)
            }
            Over::Tcp => Wire::Stream(Box::new(tcp(server)), Vec::new()),
            Over::Tls => Wire::Stream(Box::new(tls(tcp(server))), Vec::new()),
        });
        let mut client = Self {
            wire,
            user: user.to_owned(),
            nonce: String::new(),
        };
        client.challenge();
        client
    }

    /// Binding: the address that the server sees.
    pub(crate) fn mapped(&mut self) -> SocketAddr {
        let answer = self.exchange(Builder::request(BINDING));
        answer.address(attr::XOR_MAPPED_ADDRESS)
    }

    /// A fresh nonce.
    pub(crate) fn challenge(&mut self) {
        let answer = self.exchange(Builder::request(ALLOCATE));
        assert_eq!(answer.code(), 401);
        self.nonce = answer.text(attr::NONCE);
    }

    /// Signed as it is known to be right: the answer, whatever it says.
    pub(crate) fn ask(&mut self, request: Builder) -> Parsed {
        let realm = "vrinda-sangha.local";
        let request = request.login(&self.user, realm, &self.nonce);
        self.exchange(request.integrity(&key(&self.user, realm, PASSWORD)))
    }

    #[track_caller]
    pub(crate) fn allocate(&mut self, request: Builder) -> SocketAddr {
        let answer = self.ask(request);
        assert_eq!(answer.code(), 0, "{answer:?}");
        answer.relayed()[0]
    }

    #[track_caller]
    pub(crate) fn permit(&mut self, peer: SocketAddr) {
        let request = Builder::request(CREATE_PERMISSION).peer(&peer.to_string());
        assert_eq!(self.ask(request).code(), 0);
    }

    #[track_caller]
    pub(crate) fn bind(&mut self, number: u16, peer: SocketAddr) {
        let request = Builder::request(CHANNEL_BIND).channel(number);
        assert_eq!(self.ask(request.peer(&peer.to_string())).code(), 0);
    }

    pub(crate) fn send_to(&mut self, peer: SocketAddr, payload: &[u8]) {
        let send = Builder::indication(SEND).peer(&peer.to_string());
        self.send(&send.data(payload).done());
    }

    pub(crate) fn on_channel(&mut self, number: u16, payload: &[u8]) {
        self.send(&channel_data(number, payload.len(), payload));
    }

    /// The next Data indication.
    pub(crate) fn data(&mut self) -> Parsed {
        let data = Parsed::read(&self.receive());
        assert_eq!((data.method, data.class), (DATA, Class::Indication));
        data
    }

    pub(crate) fn exchange(&mut self, request: Builder) -> Parsed {
        let id = request.id();
        self.send(&request.done());
        loop {
            let bytes = self.receive();
            if bytes[0] < 4 && bytes[8..HEADER] == id {
                return Parsed::read(&bytes);
            }
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        match &mut self.wire {
            Wire::Udp(socket) => {
                socket.send(bytes).unwrap();
            }
            Wire::Stream(stream, _) => {
                let mut padded = bytes.to_vec();
                padded.resize(bytes.len().next_multiple_of(4), 0);
                stream.write_all(&padded).unwrap();
                stream.flush().unwrap();
            }
        }
    }

    /// The next message, without padding.
    pub(crate) fn receive(&mut self) -> Vec<u8> {
        match &mut self.wire {
            Wire::Udp(socket) => receive(socket).0,
            Wire::Stream(stream, unread) => loop {
                if let Some(message) = first_of(unread) {
                    return message;
                }
                let mut buffer = [0; 4096];
                let bytes = stream.read(&mut buffer).unwrap();
                assert!(bytes > 0, "the server closed");
                unread.extend_from_slice(&buffer[..bytes]);
            },
        }
    }
}

/// Takes the first whole message out of a stream's bytes.
fn first_of(unread: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = usize::from(u16::from_be_bytes([*unread.get(2)?, *unread.get(3)?]));
    let whole = length + if unread[0] < 4 { HEADER } else { 4 };
    let padded = whole.next_multiple_of(4);
    if unread.len() < padded {
        return None;
    }
    let mut message: Vec<u8> = unread.drain(..padded).collect();
    message.truncate(whole);
    Some(message)
}

/// A peer at this address.
pub(crate) fn peer(namespace: &Namespace, ip: &str) -> (UdpSocket, SocketAddr) {
    let ip: IpAddr = ip.parse().unwrap();
    let socket = namespace.enter(|| udp(ip));
    let port = socket.local_addr().unwrap().port();
    (socket, SocketAddr::new(ip, port))
}

pub(crate) fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 65_536];
    let (bytes, from) = socket.recv_from(&mut buffer).unwrap();
    buffer.truncate(bytes);
    (buffer, from)
}

pub(crate) fn udp(family_of: IpAddr) -> UdpSocket {
    let any: IpAddr = match family_of {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn tcp(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&server, PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn tls(stream: TcpStream) -> impl Stream {
    let name = ServerName::try_from("localhost").unwrap();
    StreamOwned::new(
        ClientConnection::new(Arc::new(client_config().unwrap()), name).unwrap(),
        stream,
    )
}

/// How long anything that should happen may take.
const PATIENCE: Duration = Duration::from_secs(10);

//! A TURN client that can be told to misbehave.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use nix::sys::socket::{setsockopt, sockopt};
use setu::relay::wire::address::XorAddress;
use setu::relay::wire::attributes::ATTR_ICMP;
use setu::relay::wire::stream::Inbound;
use setu::trusting::client_config;
use stun::{
    agent::TransactionId,
    attributes::{
        ATTR_DATA, ATTR_DONT_FRAGMENT, ATTR_NONCE, ATTR_REALM, ATTR_REQUESTED_ADDRESS_FAMILY,
        ATTR_USERNAME, ATTR_XOR_RELAYED_ADDRESS, AttrType, RawAttribute,
    },
    error_code::ErrorCodeAttribute,
    integrity::MessageIntegrity,
    message::{
        BINDING_REQUEST, CLASS_ERROR_RESPONSE, CLASS_INDICATION, CLASS_REQUEST, Getter,
        METHOD_ALLOCATE, METHOD_CHANNEL_BIND, METHOD_CREATE_PERMISSION, METHOD_REFRESH,
        METHOD_SEND, Message, MessageType, Method, Setter,
    },
    textattrs::{Nonce, Realm, TextAttribute, Username},
    xoraddr::XorMappedAddress,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};
use turn::proto::{
    PROTO_UDP, channum::ChannelNumber, data::Data, lifetime::Lifetime, peeraddr::PeerAddress,
    relayaddr::RelayedAddress, reqtrans::RequestedTransport,
};

use self::dtls_client::DtlsClient;
use crate::world::{PASSWORD, PATIENCE, REALM, USER, World};

#[path = "dtls_client.rs"]
pub(crate) mod dtls_client;

pub(crate) type Attributes = Vec<Box<dyn Setter>>;

/// How a client reaches the relay, as the tables of the tests name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    Udp,
    Tcp,
    Tls,
    Dtls,
}

impl Over {
    pub(crate) const ALL: [Self; 4] = [Self::Udp, Self::Tcp, Self::Tls, Self::Dtls];
}

pub(crate) struct Client {
    wire: Wire,
    username: String,
    password: String,
    nonce: Option<Nonce>,
}

enum Wire {
    Udp(UdpSocket),
    Dtls(Box<DtlsClient>),
    Stream {
        stream: Box<dyn Stream>,
        inbound: Inbound,
    },
}

pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl Client {
    pub(crate) async fn new(world: &World, over: Over) -> Self {
        Self::as_user(world, over, USER, PASSWORD).await
    }

    pub(crate) async fn as_user(world: &World, over: Over, username: &str, password: &str) -> Self {
        let server = match over {
            Over::Udp => world.udp(),
            Over::Tcp => world.tcp(),
            Over::Tls => world.tls(),
            Over::Dtls => world.dtls(),
        };
        Self::with(server, over, username, password).await
    }

    /// At an address of the server other than its first.
    pub(crate) async fn at(server: SocketAddr, over: Over) -> Self {
        Self::with(server, over, USER, PASSWORD).await
    }

    /// Of a server that runs elsewhere.
    pub(crate) async fn with(
        server: SocketAddr,
        over: Over,
        username: &str,
        password: &str,
    ) -> Self {
        Self::on(Wire::to(over, server).await, username, password)
    }

    /// On a connection that is there already.
    pub(crate) fn over(connection: TcpStream) -> Self {
        Self::on(Wire::stream(connection), USER, PASSWORD)
    }

    fn on(wire: Wire, username: &str, password: &str) -> Self {
        Self {
            wire,
            username: username.to_owned(),
            password: password.to_owned(),
            nonce: None,
        }
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        match &self.wire {
            Wire::Udp(socket) => socket.local_addr().unwrap(),
            Wire::Dtls(client) => client.socket.local_addr().unwrap(),
            Wire::Stream { .. } => panic!("asked of UDP clients only"),
        }
    }

    fn socket(&self) -> &UdpSocket {
        match &self.wire {
            Wire::Udp(socket) => socket,
            Wire::Dtls(_) | Wire::Stream { .. } => panic!("asked of UDP clients only"),
        }
    }

    /// Gives what it sends this DSCP and ECN.
    pub(crate) fn mark(&self, traffic_class: u8) {
        let socket = self.socket();
        setsockopt(socket, sockopt::Ipv4Tos, &traffic_class.into()).unwrap();
    }

    /// Sends these messages of one length as one train.
    pub(crate) async fn send_train(&self, messages: &[Vec<u8>]) {
        let socket = self.socket();
        let bytes = i32::try_from(messages[0].len()).unwrap();
        setsockopt(socket, sockopt::UdpGsoSegment, &bytes).unwrap();
        socket.send(&messages.concat()).await.unwrap();
        setsockopt(socket, sockopt::UdpGsoSegment, &0).unwrap();
    }

    /// From now on a train is received as one.
    pub(crate) fn expect_trains(&self) {
        let socket = self.socket();
        setsockopt(socket, sockopt::UdpGroSegment, &true).unwrap();
    }

    /// Binding: the reflexive address.
    pub(crate) async fn bind(&mut self) -> SocketAddr {
        let request = message(BINDING_REQUEST, Vec::new());
        let answer = self.exchange(&request).await;
        let mut mapped = XorMappedAddress::default();
        mapped.get_from(&answer).unwrap();
        SocketAddr::new(mapped.ip, mapped.port)
    }

    /// Allocate, challenge and all: the relayed address, or the error code.
    pub(crate) async fn allocate(&mut self) -> Result<SocketAddr, u16> {
        self.allocate_with(Vec::new).await.map(|answer| {
            let mut relayed = RelayedAddress::default();
            relayed.get_from(&answer).unwrap();
            SocketAddr::new(relayed.ip, relayed.port)
        })
    }

    /// Allocate with an IPv6 relayed address.
    pub(crate) async fn allocate_v6(&mut self) -> SocketAddr {
        let v6 = || -> Attributes { vec![family_attribute(ATTR_REQUESTED_ADDRESS_FAMILY, 2)] };
        relayed(&self.allocate_with(v6).await.unwrap())[0]
    }

    pub(crate) async fn allocate_with(
        &mut self,
        more: impl Fn() -> Attributes,
    ) -> Result<Message, u16> {
        let attributes = || {
            let mut attributes = more();
            attributes.push(Box::new(RequestedTransport {
                protocol: PROTO_UDP,
            }));
            attributes
        };
        self.request(METHOD_ALLOCATE, attributes).await
    }

    pub(crate) async fn refresh(&mut self, lifetime_secs: u64) -> Result<Message, u16> {
        let lifetime = std::time::Duration::from_secs(lifetime_secs);
        let attributes = || vec![Box::new(Lifetime(lifetime)) as Box<dyn Setter>];
        self.request(METHOD_REFRESH, attributes).await
    }

    pub(crate) async fn permit(&mut self, peer: SocketAddr) -> Result<Message, u16> {
        let attributes = || vec![peer_attribute(peer)];
        self.request(METHOD_CREATE_PERMISSION, attributes).await
    }

    pub(crate) async fn bind_channel(
        &mut self,
        number: u16,
        peer: SocketAddr,
    ) -> Result<Message, u16> {
        let attributes = || {
            let number: Box<dyn Setter> = Box::new(ChannelNumber(number));
            vec![number, peer_attribute(peer)]
        };
        self.request(METHOD_CHANNEL_BIND, attributes).await
    }

    pub(crate) async fn send_indication(&mut self, peer: SocketAddr, payload: &[u8]) {
        let indication = message(
            MessageType::new(METHOD_SEND, CLASS_INDICATION),
            vec![peer_attribute(peer), Box::new(Data(payload.to_vec()))],
        );
        self.send(&indication.raw).await;
    }

    pub(crate) async fn send_channel_data(&mut self, number: u16, payload: &[u8]) {
        self.send(&channel_data(number, payload)).await;
    }

    /// The next ChannelData message's payload; ICMP is passed over.
    pub(crate) async fn receive_channel_data(&mut self, number: u16) -> Vec<u8> {
        let mut bytes = self.receive().await;
        while bytes[0] <= 3 && parsed(&bytes).contains(ATTR_ICMP) {
            bytes = self.receive().await;
        }
        assert_eq!(bytes[..2], number.to_be_bytes(), "not on this channel");
        let length = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
        bytes[4..4 + length].to_vec()
    }

    /// The next Data indication with data: from whom, and what.
    pub(crate) async fn receive_data_indication(&mut self) -> (SocketAddr, Vec<u8>) {
        loop {
            let indication = parsed(&self.receive().await);
            let mut data = Data::default();
            if data.get_from(&indication).is_ok() {
                return (peer_of(&indication), data.0);
            }
        }
    }

    /// The next Data indication about a datagram sent to a peer: to whom, and its ICMP attribute.
    pub(crate) async fn receive_icmp(&mut self) -> (SocketAddr, Vec<u8>) {
        loop {
            let indication = parsed(&self.receive().await);
            if let Ok(icmp) = indication.get(ATTR_ICMP) {
                assert!(!indication.contains(ATTR_DATA));
                return (peer_of(&indication), icmp);
            }
        }
    }

    /// A Send indication whose datagram must not be fragmented.
    pub(crate) async fn send_unfragmented(&mut self, peer: SocketAddr, payload: &[u8]) {
        let indication = message(
            MessageType::new(METHOD_SEND, CLASS_INDICATION),
            vec![
                peer_attribute(peer),
                raw_attribute(ATTR_DONT_FRAGMENT, &[]),
                Box::new(Data(payload.to_vec())),
            ],
        );
        self.send(&indication.raw).await;
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        match &mut self.wire {
            Wire::Udp(socket) => {
                socket.send(bytes).await.unwrap();
            }
            Wire::Dtls(client) => client.send(bytes).await,
            Wire::Stream { .. } => {
                let mut padded = bytes.to_vec();
                padded.resize(bytes.len().next_multiple_of(4), 0);
                self.send_unpadded(&padded).await;
            }
        }
    }

    /// Bytes of a stream as they are, cut anywhere.
    pub(crate) async fn send_unpadded(&mut self, bytes: &[u8]) {
        let stream = self.wire.as_stream();
        stream.write_all(bytes).await.unwrap();
        stream.flush().await.unwrap();
    }

    /// Goes away without a word, where going away is a word.
    pub(crate) fn vanish(self) {
        if let Wire::Dtls(client) = self.wire {
            client.vanish();
        }
    }

    pub(crate) async fn shut_writing(&mut self) {
        self.wire.as_stream().shutdown().await.unwrap();
    }

    /// What is left of the connection, once it is no TURN any more.
    pub(crate) fn into_stream(self) -> Box<dyn Stream> {
        match self.wire {
            Wire::Udp(_) | Wire::Dtls(_) => panic!("asked of stream clients only"),
            Wire::Stream { stream, inbound } => {
                let early = std::io::Cursor::new(inbound.into_rest());
                let (reader, writer) = tokio::io::split(stream);
                Box::new(tokio::io::join(early.chain(reader), writer))
            }
        }
    }

    /// The next message; panics when it doesn't come in time.
    pub(crate) async fn receive(&mut self) -> Vec<u8> {
        let received = timeout(PATIENCE, self.wire.receive()).await;
        let received = received.unwrap_or_else(|_| panic!("nothing came"));
        received.unwrap_or_else(|| panic!("the connection closed"))
    }

    /// Waits until the server ends the connection.
    pub(crate) async fn until_closed(&mut self, within: std::time::Duration) {
        let closed = async { while self.wire.receive().await.is_some() {} };
        timeout(within, closed).await.unwrap();
    }

    /// One request and its answer, without any authentication.
    pub(crate) async fn exchange(&mut self, request: &Message) -> Message {
        self.send(&request.raw).await;
        self.answer_to(request).await
    }

    /// The answer to a request sent before; whatever else comes is passed over.
    pub(crate) async fn answer_to(&mut self, request: &Message) -> Message {
        loop {
            let bytes = self.receive().await;
            if bytes[0] > 3 {
                continue;
            }
            let answer = parsed(&bytes);
            if answer.transaction_id == request.transaction_id {
                return answer;
            }
        }
    }

    /// A request, signed as soon as the server has given a nonce.
    pub(crate) async fn request(
        &mut self,
        method: Method,
        attributes: impl Fn() -> Attributes,
    ) -> Result<Message, u16> {
        for _ in 0..2 {
            let request = self.signed(method, attributes());
            let answer = self.exchange(&request).await;
            if answer.typ.class != CLASS_ERROR_RESPONSE {
                return Ok(answer);
            }
            let code = error_code(&answer);
            let fresh = Nonce::get_from_as(&answer, ATTR_NONCE).ok();
            let first = self.nonce.is_none();
            self.nonce = fresh.or(self.nonce.take());
            if !(first && code == 401 || code == 438) {
                return Err(code);
            }
        }
        Err(401)
    }

    pub(crate) fn signed(&self, method: Method, mut attributes: Attributes) -> Message {
        if let Some(nonce) = &self.nonce {
            attributes.push(Box::new(Username::new(
                ATTR_USERNAME,
                self.username.clone(),
            )));
            attributes.push(Box::new(Realm::new(ATTR_REALM, REALM.to_owned())));
            attributes.push(Box::new(TextAttribute::clone(nonce)));
            attributes.push(Box::new(MessageIntegrity::new_long_term_integrity(
                self.username.clone(),
                REALM.to_owned(),
                self.password.clone(),
            )));
        }
        message(MessageType::new(method, CLASS_REQUEST), attributes)
    }
}

impl Wire {
    async fn to(over: Over, server: SocketAddr) -> Self {
        match over {
            Over::Udp => {
                // Connected: an answer from any other address of the server would not arrive.
                let any_port = SocketAddr::new(loopback_of(server), 0);
                let socket = UdpSocket::bind(any_port).await.unwrap();
                socket.connect(server).await.unwrap();
                Self::Udp(socket)
            }
            Over::Tcp => Self::stream(TcpStream::connect(server).await.unwrap()),
            Over::Tls => Self::stream(tls_connect(server).await),
            Over::Dtls => {
                let any_port = SocketAddr::new(loopback_of(server), 0);
                let mut client = Box::new(DtlsClient::to(server, any_port).await);
                timeout(PATIENCE, client.connect()).await.unwrap();
                Self::Dtls(client)
            }
        }
    }

    fn stream(stream: impl Stream + 'static) -> Self {
        Self::Stream {
            stream: Box::new(stream),
            inbound: Inbound::default(),
        }
    }

    fn as_stream(&mut self) -> &mut dyn Stream {
        match self {
            Self::Udp(_) | Self::Dtls(_) => panic!("asked of stream clients only"),
            Self::Stream { stream, .. } => stream.as_mut(),
        }
    }

    /// `None` when the connection is over.
    async fn receive(&mut self) -> Option<Vec<u8>> {
        match self {
            Self::Udp(socket) => {
                let mut buffer = vec![0; 65_536];
                let bytes = socket.recv(&mut buffer).await.unwrap();
                buffer.truncate(bytes);
                Some(buffer)
            }
            Self::Dtls(client) => client.receive().await,
            Self::Stream { stream, inbound } => loop {
                if let Some(message) = inbound.next_message().unwrap() {
                    return Some(message.to_vec());
                }
                match stream.read_buf(inbound.room(4096)).await {
                    Ok(1..) => {}
                    Ok(0) | Err(_) => return None,
                }
            },
        }
    }
}

fn loopback_of(addr: SocketAddr) -> IpAddr {
    match addr {
        SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

pub(crate) fn message(typ: MessageType, attributes: Attributes) -> Message {
    let mut setters: Attributes = vec![Box::new(TransactionId::new()), Box::new(typ)];
    setters.extend(attributes);
    let mut message = Message::new();
    message.build(&setters).unwrap();
    message
}

pub(crate) fn channel_data(number: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap();
    [&number.to_be_bytes()[..], &length.to_be_bytes(), payload].concat()
}

pub(crate) fn error_code(answer: &Message) -> u16 {
    let mut error = ErrorCodeAttribute::default();
    error.get_from(answer).unwrap();
    error.code.0
}

pub(crate) fn parsed(bytes: &[u8]) -> Message {
    let mut message = Message::new();
    message.unmarshal_binary(bytes).unwrap();
    message
}

/// Every relayed address of an answer, in order.
pub(crate) fn relayed(answer: &Message) -> Vec<SocketAddr> {
    let all = answer.attributes.0.iter();
    let relayed = all.filter(|found| found.typ == ATTR_XOR_RELAYED_ADDRESS);
    relayed
        .map(|found| XorAddress::decode(&found.value, answer.transaction_id.0).unwrap())
        .collect()
}

pub(crate) fn family_attribute(typ: AttrType, family: u8) -> Box<dyn Setter> {
    raw_attribute(typ, &[family, 0, 0, 0])
}

pub(crate) fn raw_attribute(typ: AttrType, value: &[u8]) -> Box<dyn Setter> {
    Box::new(RawAttribute {
        typ,
        value: value.to_vec(),
        ..RawAttribute::default()
    })
}

fn peer_of(indication: &Message) -> SocketAddr {
    let mut peer = PeerAddress::default();
    peer.get_from(indication).unwrap();
    SocketAddr::new(peer.ip, peer.port)
}

pub(crate) fn peer_attribute(peer: SocketAddr) -> Box<dyn Setter> {
    Box::new(PeerAddress {
        ip: peer.ip(),
        port: peer.port(),
    })
}

pub(crate) async fn tls_connect(addr: SocketAddr) -> impl Stream + use<> {
    let config = client_config().unwrap();
    let socket = TcpStream::connect(addr).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, socket).await.unwrap()
}

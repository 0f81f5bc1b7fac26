//! What a TURN client asks before it can send: written with the `stun` crate.

use std::net::SocketAddr;

use anyhow::{bail, ensure};
use stun::attributes::{ATTR_NONCE, ATTR_REALM, ATTR_USERNAME};
use stun::integrity::MessageIntegrity;
use stun::message::{
    CLASS_REQUEST, CLASS_SUCCESS_RESPONSE, Getter, METHOD_ALLOCATE, METHOD_BINDING,
    METHOD_CHANNEL_BIND, METHOD_CREATE_PERMISSION, METHOD_REFRESH, Message, MessageType, Method,
    Setter,
};
use stun::textattrs::TextAttribute;
use turn::proto::{
    PROTO_UDP, channum::ChannelNumber, lifetime::Lifetime, peeraddr::PeerAddress,
    relayaddr::RelayedAddress, reqtrans::RequestedTransport,
};

use crate::wire::{Transport, Wire};

/// The credential that every server here knows.
pub(crate) const USER: (&str, &str) = ("turnuser", "turnpass");
pub(crate) const REALM: &str = "bench.example.org";

/// The channel that every client binds.
pub(crate) const CHANNEL: u16 = 0x4000;

/// One client of a TURN server.
pub(crate) struct TurnClient {
    pub(crate) wire: Wire,
    nonce: String,
    key: MessageIntegrity,
    transactions: u64,
}

impl TurnClient {
    /// Connects, and asks for the nonce; from another port where the server still has this one's last allocation in mind.
    pub(crate) fn connect(transport: Transport, server: SocketAddr) -> anyhow::Result<Self> {
        for _ in 0..PORTS_MAX {
            let mut client = Self::over(Wire::connect(transport, server)?);
            let transport = RequestedTransport {
                protocol: PROTO_UDP,
            };
            let challenge = client.exchange(METHOD_ALLOCATE, &[&transport])?;
            if let Ok(nonce) = TextAttribute::get_from_as(&challenge, ATTR_NONCE) {
                client.nonce = nonce.text;
                return Ok(client);
            }
        }
        bail!("no nonce from {PORTS_MAX} ports")
    }

    fn over(wire: Wire) -> Self {
        let (user, password) = USER;
        let key = MessageIntegrity::new_long_term_integrity(
            user.to_owned(),
            REALM.to_owned(),
            password.to_owned(),
        );
        Self {
            wire,
            nonce: String::new(),
            key,
            transactions: 0,
        }
    }

    /// The relayed transport address.
    pub(crate) fn allocate(&mut self) -> anyhow::Result<SocketAddr> {
        let request = self.signed_allocate()?;
        self.wire.send(&request.raw)?;
        let answer = self.success_of(&request)?;
        let mut relayed = RelayedAddress::default();
        relayed.get_from(&answer)?;
        Ok(SocketAddr::new(relayed.ip, relayed.port))
    }

    /// An Allocate request, to be sent at once or later.
    pub(crate) fn signed_allocate(&mut self) -> anyhow::Result<Message> {
        let transport = RequestedTransport {
            protocol: PROTO_UDP,
        };
        self.signed(METHOD_ALLOCATE, &[&transport])
    }

    /// The answer, which must not refuse.
    fn success_of(&mut self, request: &Message) -> anyhow::Result<Message> {
        let answer = self.answer_to(request)?;
        if answer.typ.class != CLASS_SUCCESS_RESPONSE {
            bail!("refused: {answer} {:?}", answer.attributes);
        }
        Ok(answer)
    }

    pub(crate) fn bind(&mut self, peer: SocketAddr) -> anyhow::Result<()> {
        self.ask(METHOD_CHANNEL_BIND, &[&ChannelNumber(CHANNEL), &at(peer)])?;
        Ok(())
    }

    pub(crate) fn permit(&mut self, peer: SocketAddr) -> anyhow::Result<()> {
        self.ask(METHOD_CREATE_PERMISSION, &[&at(peer)])?;
        Ok(())
    }

    pub(crate) fn release(&mut self) -> anyhow::Result<()> {
        self.ask(METHOD_REFRESH, &[&Lifetime::default()])?;
        Ok(())
    }

    /// One Binding request and its answer.
    pub(crate) fn binding(&mut self) -> anyhow::Result<()> {
        let answer = self.exchange(METHOD_BINDING, &[])?;
        ensure!(answer.typ.class == CLASS_SUCCESS_RESPONSE, "{answer}");
        Ok(())
    }

    fn ask(&mut self, method: Method, attributes: &[&dyn Setter]) -> anyhow::Result<Message> {
        let request = self.signed(method, attributes)?;
        self.wire.send(&request.raw)?;
        self.success_of(&request)
    }

    fn exchange(&mut self, method: Method, attributes: &[&dyn Setter]) -> anyhow::Result<Message> {
        let request = self.request(method, attributes)?;
        self.wire.send(&request.raw)?;
        self.answer_to(&request)
    }

    fn signed(&mut self, method: Method, attributes: &[&dyn Setter]) -> anyhow::Result<Message> {
        let text = |typ, text: &str| TextAttribute {
            attr: typ,
            text: text.to_owned(),
        };
        let (user, realm, nonce) = (
            text(ATTR_USERNAME, USER.0),
            text(ATTR_REALM, REALM),
            text(ATTR_NONCE, &self.nonce),
        );
        let key = MessageIntegrity(self.key.0.clone());
        self.request(
            method,
            &[attributes, &[&user, &realm, &nonce, &key]].concat(),
        )
    }

    fn request(&mut self, method: Method, attributes: &[&dyn Setter]) -> anyhow::Result<Message> {
        self.transactions += 1;
        let mut request = Message::new();
        request.typ = MessageType::new(method, CLASS_REQUEST);
        request.transaction_id.0[4..].copy_from_slice(&self.transactions.to_be_bytes());
        request.write_header();
        for attribute in attributes {
            attribute.add_to(&mut request)?;
        }
        Ok(request)
    }

    fn answer_to(&mut self, request: &Message) -> anyhow::Result<Message> {
        loop {
            let mut answer = Message::new();
            answer.unmarshal_binary(&self.wire.receive()?)?;
            if answer.transaction_id == request.transaction_id {
                return Ok(answer);
            }
        }
    }
}

/// Fails unless the message is the answer, and no refusal.
pub(crate) fn ensure_success(request: &Message, message: &[u8]) -> anyhow::Result<()> {
    let mut answer = Message::new();
    answer.unmarshal_binary(message)?;
    let is_answer = answer.transaction_id == request.transaction_id;
    ensure!(
        is_answer && answer.typ.class == CLASS_SUCCESS_RESPONSE,
        "{answer}"
    );
    Ok(())
}

fn at(peer: SocketAddr) -> PeerAddress {
    PeerAddress {
        ip: peer.ip(),
        port: peer.port(),
    }
}

/// How many ports are tried.
const PORTS_MAX: usize = 30;

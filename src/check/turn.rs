//! As much of a STUN and TURN client as it takes to see whether a server serves: over UDP, TCP, TLS and DTLS.

use std::{io, net::SocketAddr, time::Duration};

use stun::attributes::{
    ATTR_DATA, ATTR_ERROR_CODE, ATTR_LIFETIME, ATTR_NONCE, ATTR_REALM,
    ATTR_REQUESTED_ADDRESS_FAMILY, ATTR_REQUESTED_TRANSPORT, ATTR_USERNAME, ATTR_XOR_PEER_ADDRESS,
    ATTR_XOR_RELAYED_ADDRESS, ATTR_XORMAPPED_ADDRESS, AttrType,
};
use stun::message::{CLASS_INDICATION, CLASS_SUCCESS_RESPONSE, MAGIC_COOKIE, METHOD_DATA};
use tokio::time::{Instant, timeout_at};

use super::link::Link;
use crate::clock::Now;
use crate::credentials::{LongTermKey, PasswordAlgorithm};
use crate::entropy;
use crate::logging::Redacted;
use crate::relay::engine::five_tuple::Transport;
use crate::relay::wire::address::XorAddress;
use crate::relay::wire::integrity::Hash;
use crate::relay::wire::message::{HEADER_BYTES, Message, TransactionId};

/// A user name and what proves it.
#[derive(Clone, Debug)]
pub(super) struct Login {
    pub(super) username: String,
    pub(super) password: Redacted<String>,
}

/// Why something did not work.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// Nothing came in time.
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Silence,
    /// The system or the other side refuses.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// An error answer.
    #[error("the server answers {0}")]
    Code(u16),
    /// What came is no answer to what was asked.
    #[error("what answers there is no STUN server")]
    Nonsense,
}

/// A client, connected.
pub(super) struct Client {
    link: Link,
    proof: Option<Proof>,
}

struct Proof {
    username: String,
    realm: Vec<u8>,
    nonce: Vec<u8>,
    key: LongTermKey,
}

impl Client {
    /// Connects, with TLS and DTLS hand shaken; any certificate will do.
    pub(super) async fn connect(over: Transport, server: SocketAddr) -> Result<Self, Trouble> {
        let link = timeout_at(deadline(), Link::connect(over, server)).await;
        Ok(Self {
            link: link.map_err(|_| Trouble::Silence)??,
            proof: None,
        })
    }

    /// The certificate that the server showed, over TLS.
    pub(super) fn certificate(&self) -> Option<&[u8]> {
        self.link.certificate()
    }

    /// The address that the server sees ([RFC 8489 §2](https://www.rfc-editor.org/rfc/rfc8489#section-2)).
    pub(super) async fn binding(&mut self) -> Result<SocketAddr, Trouble> {
        let answer = self.exchange(Draft::new(BINDING)).await?;
        answer
            .address(ATTR_XORMAPPED_ADDRESS)
            .ok_or(Trouble::Nonsense)
    }

    /// The relayed address of a new allocation in the family of `like`
    /// ([RFC 8656 §7](https://www.rfc-editor.org/rfc/rfc8656#section-7)).
    pub(super) async fn allocate(
        &mut self,
        login: &Login,
        like: SocketAddr,
    ) -> Result<SocketAddr, Trouble> {
        let wanted = || {
            let draft = Draft::new(ALLOCATE).with(ATTR_REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
            match like {
                SocketAddr::V4(_) => draft,
                SocketAddr::V6(_) => draft.with(ATTR_REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]),
            }
        };
        let answer = match self.exchange(wanted()).await {
            Err(Trouble::Code(401)) => {
                self.prove(login).await?;
                self.exchange(wanted()).await?
            }
            answer => answer?,
        };
        answer
            .address(ATTR_XOR_RELAYED_ADDRESS)
            .ok_or(Trouble::Nonsense)
    }

    /// Lets a peer's datagrams in, and ours out to it.
    pub(super) async fn permit(&mut self, peer: SocketAddr) -> Result<(), Trouble> {
        let draft = Draft::new(CREATE_PERMISSION).peer(peer);
        self.exchange(draft).await.map(drop)
    }

    /// Sends a peer a datagram through the relay.
    pub(super) async fn send(&mut self, peer: SocketAddr, payload: &[u8]) -> Result<(), Trouble> {
        let draft = Draft::new(SEND).peer(peer).with(ATTR_DATA, payload);
        Ok(self.link.send(&draft.0).await?)
    }

    /// Waits until exactly this comes through the relay, whoever sent it.
    pub(super) async fn hears(&mut self, payload: &[u8], within: Duration) -> Result<(), Trouble> {
        let until = moment() + within;
        loop {
            let bytes = self.receive(until).await?;
            let data = Message::parse(&bytes).filter(|message| {
                message.typ.method == METHOD_DATA && message.typ.class == CLASS_INDICATION
            });
            let heard = data.and_then(|data| first(&data, ATTR_DATA));
            if heard == Some(payload) {
                return Ok(());
            }
        }
    }

    /// Gives the allocation back.
    pub(super) async fn release(mut self) {
        let draft = Draft::new(REFRESH).with(ATTR_LIFETIME, &[0; 4]);
        // Whoever does not answer forgets it by itself.
        let _ = self.exchange(draft).await;
    }

    /// Asks for realm and nonce, since there were none yet.
    async fn prove(&mut self, login: &Login) -> Result<(), Trouble> {
        let draft = Draft::new(ALLOCATE).with(ATTR_REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
        let answer = self.ask(&draft).await?;
        let text = |typ| answer.first(typ).ok_or(Trouble::Nonsense);
        let (realm, nonce) = (text(ATTR_REALM)?, text(ATTR_NONCE)?);
        let key = LongTermKey::derive(
            PasswordAlgorithm::Md5,
            &login.username,
            &String::from_utf8_lossy(&realm),
            login.password.expose(),
        );
        self.proof = Some(Proof {
            username: login.username.clone(),
            realm,
            nonce,
            key,
        });
        Ok(())
    }

    /// A success, or the code of the error; signed where there is something to sign with.
    async fn exchange(&mut self, draft: Draft) -> Result<Answer, Trouble> {
        let draft = match &self.proof {
            Some(proof) => draft.signed(proof),
            None => draft,
        };
        let answer = self.ask(&draft).await?;
        match answer.code {
            None => Ok(answer),
            Some(code) => Err(Trouble::Code(code)),
        }
    }

    /// Over datagrams it asks again, since any of them may be lost.
    async fn ask(&mut self, draft: &Draft) -> Result<Answer, Trouble> {
        let last = deadline();
        let mut wait = FIRST_WAIT;
        loop {
            self.link.send(&draft.0).await?;
            let until = match self.link.is_reliable() {
                true => last,
                false => (moment() + wait).min(last),
            };
            match self.answer_to(draft.id(), until).await {
                Err(Trouble::Silence) if until < last => wait *= 2,
                answer => return answer,
            }
        }
    }

    async fn answer_to(&mut self, id: TransactionId, until: Instant) -> Result<Answer, Trouble> {
        loop {
            let bytes = self.receive(until).await?;
            let Some(message) = Message::parse(&bytes) else {
                return Err(Trouble::Nonsense);
            };
            if message.transaction_id == id && message.typ.class != CLASS_INDICATION {
                return Ok(Answer::of(&message, bytes.clone()));
            }
        }
    }

    async fn receive(&mut self, until: Instant) -> Result<Vec<u8>, Trouble> {
        let received = timeout_at(until, self.link.receive()).await;
        received.map_err(|_| Trouble::Silence)?.map_err(Trouble::Io)
    }
}

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(2);
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// The end of patience for what begins now.
fn deadline() -> Instant {
    moment() + PATIENCE
}

fn moment() -> Instant {
    Instant::from_std(Now::read().mono)
}

/// Message types: methods of RFC 8489 and RFC 8656 as requests, Send as an indication.
const BINDING: u16 = 0x0001;
const ALLOCATE: u16 = 0x0003;
const REFRESH: u16 = 0x0004;
const CREATE_PERMISSION: u16 = 0x0008;
const SEND: u16 = 0x0016;

/// A message in the making.
struct Draft(Vec<u8>);

impl Draft {
    fn new(typ: u16) -> Self {
        let id: TransactionId = entropy::bytes();
        let head = [&typ.to_be_bytes()[..], &[0, 0], &MAGIC_COOKIE.to_be_bytes()];
        Self([&head.concat()[..], &id].concat())
    }

    fn id(&self) -> TransactionId {
        let mut id = [0; 12];
        id.copy_from_slice(&self.0[8..HEADER_BYTES]);
        id
    }

    fn with(mut self, typ: AttrType, value: &[u8]) -> Self {
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        self.0.extend_from_slice(&typ.0.to_be_bytes());
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        let body = u16::try_from(self.0.len() - HEADER_BYTES).unwrap_or(u16::MAX);
        self.0[2..4].copy_from_slice(&body.to_be_bytes());
        self
    }

    fn peer(self, peer: SocketAddr) -> Self {
        let peer = XorAddress::encode(peer, self.id());
        self.with(ATTR_XOR_PEER_ADDRESS, peer.as_bytes())
    }

    fn signed(self, proof: &Proof) -> Self {
        let draft = self
            .with(ATTR_USERNAME, proof.username.as_bytes())
            .with(ATTR_REALM, &proof.realm)
            .with(ATTR_NONCE, &proof.nonce);
        let code = Hash::Sha1.code(proof.key.as_bytes(), &draft.0);
        draft.with(Hash::Sha1.attribute(), &code[..Hash::Sha1.code_bytes()])
    }
}

/// What a request was answered with.
struct Answer {
    bytes: Vec<u8>,
    /// Of an error.
    code: Option<u16>,
}

impl Answer {
    fn of(message: &Message<'_>, bytes: Vec<u8>) -> Self {
        let code = first(message, ATTR_ERROR_CODE).and_then(|value| match value {
            [_, _, class, number, ..] => Some(u16::from(*class) * 100 + u16::from(*number)),
            _ => None,
        });
        let is_success = message.typ.class == CLASS_SUCCESS_RESPONSE;
        Self {
            code: (!is_success).then(|| code.unwrap_or_default()),
            bytes,
        }
    }

    fn first(&self, typ: AttrType) -> Option<Vec<u8>> {
        first(&Message::parse(&self.bytes)?, typ).map(<[u8]>::to_vec)
    }

    fn address(&self, typ: AttrType) -> Option<SocketAddr> {
        let message = Message::parse(&self.bytes)?;
        XorAddress::decode(first(&message, typ)?, message.transaction_id)
    }
}

fn first<'d>(message: &Message<'d>, typ: AttrType) -> Option<&'d [u8]> {
    let mut attributes = message.attributes();
    let found = attributes.find(|found| found.typ == typ)?;
    Some(found.value)
}

//! Requests, typed: what a client asks, before anything is decided about it.

use std::net::SocketAddr;
use std::time::Duration;

use stun::attributes::{
    ATTR_CHANNEL_NUMBER, ATTR_CONNECTION_ID, ATTR_DATA, ATTR_DONT_FRAGMENT, ATTR_ERROR_CODE,
    ATTR_EVEN_PORT, ATTR_LIFETIME, ATTR_MAPPED_ADDRESS, ATTR_MESSAGE_INTEGRITY,
    ATTR_MESSAGE_INTEGRITY_SHA256, ATTR_NONCE, ATTR_PASSWORD_ALGORITHM, ATTR_PASSWORD_ALGORITHMS,
    ATTR_REALM, ATTR_REQUESTED_ADDRESS_FAMILY, ATTR_REQUESTED_TRANSPORT, ATTR_RESERVATION_TOKEN,
    ATTR_UNKNOWN_ATTRIBUTES, ATTR_USER_HASH, ATTR_USERNAME, ATTR_XOR_PEER_ADDRESS,
    ATTR_XOR_RELAYED_ADDRESS, ATTR_XORMAPPED_ADDRESS, AttrType,
};
use stun::message::{
    CLASS_REQUEST, METHOD_ALLOCATE, METHOD_BINDING, METHOD_CHANNEL_BIND, METHOD_CONNECT,
    METHOD_CONNECTION_BIND, METHOD_CREATE_PERMISSION, METHOD_REFRESH,
};

use crate::relay::wire::address::XorAddress;
use crate::relay::wire::attributes::{
    ATTR_ACCESS_TOKEN, ATTR_ADDITIONAL_ADDRESS_FAMILY, ATTR_CHANGE_REQUEST, ATTR_MOBILITY_TICKET,
};
use crate::relay::wire::connection::ConnectionId;
use crate::relay::wire::integrity::Integrities;
use crate::relay::wire::message::{Attribute, Fingerprint, Message, TransactionId};
use crate::relay::wire::response::{ErrorCode, ReplyTo};

/// The requests that this server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// RFC 8489 §12: the only one that needs no credentials.
    Binding,
    /// RFC 8656 §7.
    Allocate,
    /// RFC 8656 §8.
    Refresh,
    /// RFC 8656 §10.
    CreatePermission,
    /// RFC 8656 §12.
    ChannelBind,
    /// RFC 6062 §4.3.
    Connect,
    /// RFC 6062 §4.3.
    ConnectionBind,
}

impl Method {
    /// Every method, in the order of their counters.
    pub const ALL: [Self; 7] = [
        Self::Binding,
        Self::Allocate,
        Self::Refresh,
        Self::CreatePermission,
        Self::ChannelBind,
        Self::Connect,
        Self::ConnectionBind,
    ];

    /// One word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Binding => "binding",
            Self::Allocate => "allocate",
            Self::Refresh => "refresh",
            Self::CreatePermission => "create_permission",
            Self::ChannelBind => "channel_bind",
            Self::Connect => "connect",
            Self::ConnectionBind => "connection_bind",
        }
    }
}

/// A request; its getters see the first attribute of a type, and none behind a message integrity.
#[derive(Clone, Copy, Debug)]
pub struct Request<'d> {
    message: Message<'d>,
    places: Places,
    /// What is asked.
    pub method: Method,
    /// What the answer takes over.
    pub reply_to: ReplyTo,
}

/// What CHANGE-REQUEST asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// An answer from the other address.
    pub ip: bool,
    /// An answer from the other port.
    pub port: bool,
}

impl Change {
    /// To what is other in both.
    pub const BOTH: Self = Self {
        ip: true,
        port: true,
    };
}

impl<'d> Request<'d> {
    /// `None` when the message is no request, or of a method that this server lacks. Its FINGERPRINT was checked.
    #[must_use]
    pub fn new(message: Message<'d>, fingerprint: Fingerprint) -> Option<Self> {
        if message.typ.class != CLASS_REQUEST {
            return None;
        }
        let method = match message.typ.method {
            METHOD_BINDING => Method::Binding,
            METHOD_ALLOCATE => Method::Allocate,
            METHOD_REFRESH => Method::Refresh,
            METHOD_CREATE_PERMISSION => Method::CreatePermission,
            METHOD_CHANNEL_BIND => Method::ChannelBind,
            METHOD_CONNECT => Method::Connect,
            METHOD_CONNECTION_BIND => Method::ConnectionBind,
            _ => return None,
        };
        Some(Self {
            message,
            places: Places::of(counting(&message)),
            method,
            reply_to: ReplyTo {
                method: message.typ.method,
                transaction_id: message.transaction_id,
                has_fingerprint: fingerprint == Fingerprint::Right,
            },
        })
    }

    /// Names the request and its answer.
    #[must_use]
    pub fn transaction_id(&self) -> TransactionId {
        self.message.transaction_id
    }

    /// MESSAGE-INTEGRITY and MESSAGE-INTEGRITY-SHA256.
    #[must_use]
    pub fn integrities(&self) -> Integrities<'d> {
        self.message.integrities()
    }

    /// USERNAME.
    #[must_use]
    pub fn username(&self) -> Option<&'d [u8]> {
        self.first(ATTR_USERNAME)
    }

    /// USERHASH.
    #[must_use]
    pub fn user_hash(&self) -> Option<&'d [u8]> {
        self.first(ATTR_USER_HASH)
    }

    /// ACCESS-TOKEN.
    #[must_use]
    pub fn access_token(&self) -> Option<&'d [u8]> {
        self.first(ATTR_ACCESS_TOKEN)
    }

    /// PASSWORD-ALGORITHM: the chosen one with its parameters.
    #[must_use]
    pub fn password_algorithm(&self) -> Option<&'d [u8]> {
        self.first(ATTR_PASSWORD_ALGORITHM)
    }

    /// PASSWORD-ALGORITHMS: those that the client was offered.
    #[must_use]
    pub fn password_algorithms(&self) -> Option<&'d [u8]> {
        self.first(ATTR_PASSWORD_ALGORITHMS)
    }

    /// REALM.
    #[must_use]
    pub fn realm(&self) -> Option<&'d [u8]> {
        self.first(ATTR_REALM)
    }

    /// NONCE.
    #[must_use]
    pub fn nonce(&self) -> Option<&'d [u8]> {
        self.first(ATTR_NONCE)
    }

    /// LIFETIME, in whole seconds ([RFC 8656 §18.2](https://www.rfc-editor.org/rfc/rfc8656#section-18.2)).
    ///
    /// # Errors
    /// 400 when it is malformed, as for all getters below.
    pub fn lifetime(&self) -> Result<Option<Duration>, ErrorCode> {
        let seconds = self.fixed(ATTR_LIFETIME)?.map(u32::from_be_bytes);
        Ok(seconds.map(|seconds| Duration::from_secs(seconds.into())))
    }

    /// The protocol number in REQUESTED-TRANSPORT.
    ///
    /// # Errors
    /// 400 when it is malformed.
    pub fn requested_transport(&self) -> Result<Option<u8>, ErrorCode> {
        let value = self.fixed(ATTR_REQUESTED_TRANSPORT)?;
        Ok(value.map(|[protocol, _, _, _]| protocol))
    }

    /// The number in REQUESTED-ADDRESS-FAMILY, known or not.
    ///
    /// # Errors
    /// 400 when it is malformed.
    pub fn requested_family(&self) -> Result<Option<u8>, ErrorCode> {
        let value = self.fixed(ATTR_REQUESTED_ADDRESS_FAMILY)?;
        Ok(value.map(|[family, _, _, _]| family))
    }

    /// The number in ADDITIONAL-ADDRESS-FAMILY, known or not
    /// ([RFC 8656 §18.11](https://www.rfc-editor.org/rfc/rfc8656#section-18.11)).
    ///
    /// # Errors
    /// 400 when it is malformed.
    pub fn additional_family(&self) -> Result<Option<u8>, ErrorCode> {
        let value = self.fixed(ATTR_ADDITIONAL_ADDRESS_FAMILY)?;
        Ok(value.map(|[family, _, _, _]| family))
    }

    /// MOBILITY-TICKET ([RFC 8016 §3](https://www.rfc-editor.org/rfc/rfc8016#section-3)); empty where one is asked for.
    #[must_use]
    pub fn mobility_ticket(&self) -> Option<&'d [u8]> {
        self.first(ATTR_MOBILITY_TICKET)
    }

    /// EVEN-PORT's R bit: whether the next-higher port shall be reserved.
    ///
    /// # Errors
    /// 400 when it is malformed.
    pub fn even_port(&self) -> Result<Option<bool>, ErrorCode> {
        let value = self.fixed(ATTR_EVEN_PORT)?;
        Ok(value.map(|[bits]| bits & 0x80 != 0))
    }

    /// Whether DONT-FRAGMENT is there.
    #[must_use]
    pub fn has_dont_fragment(&self) -> bool {
        self.first(ATTR_DONT_FRAGMENT).is_some()
    }

    /// RESERVATION-TOKEN.
    ///
    /// # Errors
    /// 400 when it is malformed.
    pub fn reservation_token(&self) -> Result<Option<[u8; 8]>, ErrorCode> {
        self.fixed(ATTR_RESERVATION_TOKEN)
    }

    /// CHANNEL-NUMBER, in range or not.
    ///
    /// # Errors
    /// 400 when it is malformed.
    pub fn channel_number(&self) -> Result<Option<u16>, ErrorCode> {
        let value = self.fixed(ATTR_CHANNEL_NUMBER)?;
        Ok(value.map(|[high, low, _, _]| u16::from_be_bytes([high, low])))
    }

    /// CONNECTION-ID.
    ///
    /// # Errors
    /// 400 when it is missing or malformed.
    pub fn connection_id(&self) -> Result<ConnectionId, ErrorCode> {
        let value = self.fixed(ATTR_CONNECTION_ID)?;
        value
            .map(ConnectionId::from_be_bytes)
            .ok_or(ErrorCode::BadRequest)
    }

    /// The first XOR-PEER-ADDRESS.
    ///
    /// # Errors
    /// 400 when it is missing or malformed.
    pub fn peer(&self) -> Result<SocketAddr, ErrorCode> {
        let value = self.first(ATTR_XOR_PEER_ADDRESS);
        value
            .and_then(|value| XorAddress::decode(value, self.transaction_id()))
            .ok_or(ErrorCode::BadRequest)
    }

    /// Every XOR-PEER-ADDRESS.
    ///
    /// # Errors
    /// 400 when there is none, or any is malformed.
    pub fn peers(&self) -> Result<Vec<SocketAddr>, ErrorCode> {
        let peers = counting(&self.message).filter(|found| found.typ == ATTR_XOR_PEER_ADDRESS);
        let peers = peers.map(|found| XorAddress::decode(found.value, self.transaction_id()));
        let peers = peers.collect::<Option<Vec<_>>>().unwrap_or_default();
        if peers.is_empty() {
            return Err(ErrorCode::BadRequest);
        }
        Ok(peers)
    }

    /// CHANGE-REQUEST; nothing is changed without it.
    ///
    /// # Errors
    /// 400 when it is malformed.
    pub fn change(&self) -> Result<Change, ErrorCode> {
        let [.., bits] = self.fixed(ATTR_CHANGE_REQUEST)?.unwrap_or([0; 4]);
        Ok(Change {
            ip: bits & 0x04 != 0,
            port: bits & 0x02 != 0,
        })
    }

    /// The comprehension-required attributes that this server does not know, each once.
    #[must_use]
    pub fn unknown_attributes(&self) -> Vec<AttrType> {
        let mut unknown: Vec<_> = counting(&self.message).filter_map(unknown_type).collect();
        unknown.sort_unstable_by_key(|typ| typ.0);
        unknown.dedup();
        unknown
    }

    fn fixed<const N: usize>(&self, typ: AttrType) -> Result<Option<[u8; N]>, ErrorCode> {
        let Some(value) = self.first(typ) else {
            return Ok(None);
        };
        value
            .try_into()
            .map(Some)
            .map_err(|_| ErrorCode::BadRequest)
    }

    fn first(&self, typ: AttrType) -> Option<&'d [u8]> {
        let at = self.places.of_first(typ)?;
        Some(self.message.attribute_at(at)?.value)
    }
}

/// The attributes that count: those before a message integrity.
fn counting<'d>(message: &Message<'d>) -> impl Iterator<Item = Attribute<'d>> + use<'d> {
    message.attributes().take_while(|found| {
        !matches!(
            found.typ,
            ATTR_MESSAGE_INTEGRITY | ATTR_MESSAGE_INTEGRITY_SHA256
        )
    })
}

/// Where the first attribute of each type begins that is asked for, in words; 0 where there is none. So a message is
/// walked once, and asked many times.
#[derive(Clone, Copy, Debug)]
struct Places([u16; PLACES]);

impl Places {
    fn of<'d>(attributes: impl Iterator<Item = Attribute<'d>>) -> Self {
        let mut places = [0; PLACES];
        for found in attributes {
            let place = number(found.typ).and_then(|number| places.get_mut(number));
            if let Some(place @ 0) = place {
                // Attributes begin at words, of which no message has 65,536.
                *place = (found.at / WORD_BYTES) as u16;
            }
        }
        Self(places)
    }

    fn of_first(&self, typ: AttrType) -> Option<usize> {
        let number = number(typ);
        debug_assert!(number.is_some(), "{typ} has no place");
        let words = *self.0.get(number?)?;
        (words > 0).then_some(usize::from(words) * WORD_BYTES)
    }
}

/// The number of a type's place.
fn number(typ: AttrType) -> Option<usize> {
    Some(match typ {
        ATTR_USERNAME => 0,
        ATTR_USER_HASH => 1,
        ATTR_ACCESS_TOKEN => 2,
        ATTR_PASSWORD_ALGORITHM => 3,
        ATTR_PASSWORD_ALGORITHMS => 4,
        ATTR_REALM => 5,
        ATTR_NONCE => 6,
        ATTR_LIFETIME => 7,
        ATTR_REQUESTED_TRANSPORT => 8,
        ATTR_REQUESTED_ADDRESS_FAMILY => 9,
        ATTR_ADDITIONAL_ADDRESS_FAMILY => 10,
        ATTR_MOBILITY_TICKET => 11,
        ATTR_EVEN_PORT => 12,
        ATTR_DONT_FRAGMENT => 13,
        ATTR_RESERVATION_TOKEN => 14,
        ATTR_CHANNEL_NUMBER => 15,
        ATTR_CONNECTION_ID => 16,
        ATTR_XOR_PEER_ADDRESS => 17,
        ATTR_CHANGE_REQUEST => 18,
        _ => return None,
    })
}

/// How many places there are.
const PLACES: usize = 19;

const WORD_BYTES: usize = 4;

/// The type of a comprehension-required attribute that this server does not know
/// ([RFC 8489 §6.3.1](https://www.rfc-editor.org/rfc/rfc8489#section-6.3.1)).
pub(super) fn unknown_type(found: Attribute<'_>) -> Option<AttrType> {
    let is_unknown = found.typ.0 < 0x8000 && !is_known(found.typ);
    is_unknown.then_some(found.typ)
}

/// All that mean something in some message, whether or not they do in this one.
fn is_known(typ: AttrType) -> bool {
    matches!(
        typ,
        ATTR_MAPPED_ADDRESS
            | ATTR_USERNAME
            | ATTR_MESSAGE_INTEGRITY
            | ATTR_ERROR_CODE
            | ATTR_UNKNOWN_ATTRIBUTES
            | ATTR_CHANNEL_NUMBER
            | ATTR_LIFETIME
            | ATTR_XOR_PEER_ADDRESS
            | ATTR_DATA
            | ATTR_REALM
            | ATTR_NONCE
            | ATTR_XOR_RELAYED_ADDRESS
            | ATTR_REQUESTED_ADDRESS_FAMILY
            | ATTR_EVEN_PORT
            | ATTR_REQUESTED_TRANSPORT
            | ATTR_DONT_FRAGMENT
            | ATTR_XORMAPPED_ADDRESS
            | ATTR_RESERVATION_TOKEN
            | ATTR_CONNECTION_ID
            | ATTR_MESSAGE_INTEGRITY_SHA256
            | ATTR_PASSWORD_ALGORITHM
            | ATTR_USER_HASH
    )
}

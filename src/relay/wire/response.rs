//! Answers: written with the `stun` crate, signed with the key that the request was signed with.

use std::net::SocketAddr;
use std::time::Duration;

use stun::addr::MappedAddress;
use stun::attributes::{
    ATTR_ALTERNATE_DOMAIN, ATTR_ALTERNATE_SERVER, ATTR_CONNECTION_ID, ATTR_LIFETIME, ATTR_NONCE,
    ATTR_PASSWORD_ALGORITHMS, ATTR_REALM, ATTR_RESERVATION_TOKEN, ATTR_SOFTWARE,
    ATTR_XOR_RELAYED_ADDRESS, ATTR_XORMAPPED_ADDRESS, AttrType,
};
use stun::error_code::ErrorCodeAttribute;
use stun::fingerprint::FINGERPRINT;
use stun::message::{
    CLASS_ERROR_RESPONSE, CLASS_SUCCESS_RESPONSE, MessageClass, MessageType, Method, Setter,
};
use stun::uattrs::UnknownAttributes;

use crate::relay::wire::address::{self, XorAddress};
use crate::relay::wire::attributes::{
    ATTR_ADDRESS_ERROR_CODE, ATTR_MOBILITY_TICKET, ATTR_OTHER_ADDRESS, ATTR_RESPONSE_ORIGIN,
    ATTR_THIRD_PARTY_AUTHORIZATION,
};
use crate::relay::wire::connection::ConnectionId;
use crate::relay::wire::integrity::SigningKey;
use crate::relay::wire::message::TransactionId;
use crate::relay::wire::mobility::Ticket;

/// The errors that a request may be answered with ([RFC 8656 §19](https://www.rfc-editor.org/rfc/rfc8656#section-19)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// 300.
    TryAlternate,
    /// 400.
    BadRequest,
    /// 401.
    Unauthenticated,
    /// 403.
    Forbidden,
    /// 405 ([RFC 8016 §3.4](https://www.rfc-editor.org/rfc/rfc8016#section-3.4)).
    MobilityForbidden,
    /// 420.
    UnknownAttribute,
    /// 437.
    AllocationMismatch,
    /// 438.
    StaleNonce,
    /// 440.
    AddressFamilyNotSupported,
    /// 441.
    WrongCredentials,
    /// 442.
    UnsupportedTransport,
    /// 443.
    PeerAddressFamilyMismatch,
    /// 446 ([RFC 6062 §6.3](https://www.rfc-editor.org/rfc/rfc6062#section-6.3)).
    ConnectionAlreadyExists,
    /// 447 ([RFC 6062 §6.3](https://www.rfc-editor.org/rfc/rfc6062#section-6.3)).
    ConnectionTimeoutOrFailure,
    /// 486.
    AllocationQuotaReached,
    /// 508.
    InsufficientCapacity,
}

impl ErrorCode {
    /// Every error, in the order of their counters.
    pub const ALL: [Self; 16] = [
        Self::TryAlternate,
        Self::BadRequest,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::MobilityForbidden,
        Self::UnknownAttribute,
        Self::AllocationMismatch,
        Self::StaleNonce,
        Self::AddressFamilyNotSupported,
        Self::WrongCredentials,
        Self::UnsupportedTransport,
        Self::PeerAddressFamilyMismatch,
        Self::ConnectionAlreadyExists,
        Self::ConnectionTimeoutOrFailure,
        Self::AllocationQuotaReached,
        Self::InsufficientCapacity,
    ];

    /// Number and reason phrase. 401 has none: whoever forges an address shall gain nothing by the answer.
    #[must_use]
    pub fn parts(self) -> (u16, &'static str) {
        match self {
            Self::TryAlternate => (300, "Try Alternate"),
            Self::BadRequest => (400, "Bad Request"),
            Self::Unauthenticated => (401, ""),
            Self::Forbidden => (403, "Forbidden"),
            Self::MobilityForbidden => (405, "Mobility Forbidden"),
            Self::UnknownAttribute => (420, "Unknown Attribute"),
            Self::AllocationMismatch => (437, "Allocation Mismatch"),
            Self::StaleNonce => (438, "Stale Nonce"),
            Self::AddressFamilyNotSupported => (440, "Address Family not Supported"),
            Self::WrongCredentials => (441, "Wrong Credentials"),
            Self::UnsupportedTransport => (442, "Unsupported Transport Protocol"),
            Self::PeerAddressFamilyMismatch => (443, "Peer Address Family Mismatch"),
            Self::ConnectionAlreadyExists => (446, "Connection Already Exists"),
            Self::ConnectionTimeoutOrFailure => (447, "Connection Timeout or Failure"),
            Self::AllocationQuotaReached => (486, "Allocation Quota Reached"),
            Self::InsufficientCapacity => (508, "Insufficient Capacity"),
        }
    }
}

/// The longest realm that leaves a 401 within 2.5 times the smallest Allocate, IP and UDP headers counted: whoever
/// forges addresses gains more from a longer one.
pub const SMALL_REALM_BYTES_MAX: usize = 20;

/// The password algorithms on offer, the better one first
/// ([RFC 8489 §14.11, §18.5](https://www.rfc-editor.org/rfc/rfc8489#section-14.11)): SHA-256 and MD5, no parameters.
pub const PASSWORD_ALGORITHMS: [u8; 8] = [0, 2, 0, 0, 0, 1, 0, 0];

/// What an answer takes over from its request.
#[derive(Clone, Copy, Debug)]
pub struct ReplyTo {
    /// Same in both.
    pub method: Method,
    /// Same in both.
    pub transaction_id: TransactionId,
    /// An answer has a FINGERPRINT where the request had one.
    pub has_fingerprint: bool,
}

/// An answer in the making.
#[derive(Debug)]
pub struct Response {
    message: stun::message::Message,
    has_fingerprint: bool,
}

impl Response {
    /// A success response without attributes.
    #[must_use]
    pub fn success(reply_to: ReplyTo) -> Self {
        Self::new(reply_to, CLASS_SUCCESS_RESPONSE)
    }

    /// An error response with its ERROR-CODE.
    #[must_use]
    pub fn error(reply_to: ReplyTo, code: ErrorCode) -> Self {
        let mut response = Self::new(reply_to, CLASS_ERROR_RESPONSE);
        let (number, reason) = code.parts();
        response.set(&ErrorCodeAttribute {
            code: stun::error_code::ErrorCode(number),
            reason: reason.into(),
        });
        response
    }

    /// Adds UNKNOWN-ATTRIBUTES: what a 420 is about.
    #[must_use]
    pub fn unknown_attributes(mut self, unknown: Vec<AttrType>) -> Self {
        self.set(&UnknownAttributes(unknown));
        self
    }

    /// Adds REALM, NONCE and PASSWORD-ALGORITHMS: how the next request must be signed.
    #[must_use]
    pub fn challenge(mut self, realm: &str, nonce: &str) -> Self {
        self.message.add(ATTR_REALM, realm.as_bytes());
        self.message.add(ATTR_NONCE, nonce.as_bytes());
        self.message
            .add(ATTR_PASSWORD_ALGORITHMS, &PASSWORD_ALGORITHMS);
        self
    }

    /// Adds THIRD-PARTY-AUTHORIZATION: the server that an access token must be for.
    #[must_use]
    pub fn third_party(mut self, server: &str) -> Self {
        self.message
            .add(ATTR_THIRD_PARTY_AUTHORIZATION, server.as_bytes());
        self
    }

    /// Adds XOR-MAPPED-ADDRESS: the client as the server sees it.
    #[must_use]
    pub fn mapped(self, addr: SocketAddr) -> Self {
        self.xor_address(ATTR_XORMAPPED_ADDRESS, addr)
    }

    /// Adds RESPONSE-ORIGIN: where the answer leaves from.
    #[must_use]
    pub fn response_origin(mut self, addr: SocketAddr) -> Self {
        self.message
            .add(ATTR_RESPONSE_ORIGIN, &address::in_clear(addr));
        self
    }

    /// Adds OTHER-ADDRESS: where the answer could leave from instead.
    #[must_use]
    pub fn other_address(mut self, addr: SocketAddr) -> Self {
        self.message
            .add(ATTR_OTHER_ADDRESS, &address::in_clear(addr));
        self
    }

    /// Adds XOR-RELAYED-ADDRESS.
    #[must_use]
    pub fn relayed(self, addr: SocketAddr) -> Self {
        self.xor_address(ATTR_XOR_RELAYED_ADDRESS, addr)
    }

    /// Adds ADDRESS-ERROR-CODE: why there is no relayed address of the family with this number
    /// ([RFC 8656 §18.12](https://www.rfc-editor.org/rfc/rfc8656#section-18.12)).
    #[must_use]
    pub fn address_error(mut self, family: u8, code: ErrorCode) -> Self {
        let (number, reason) = code.parts();
        let [class, number] = [number / 100, number % 100].map(|part| part.to_be_bytes()[1]);
        let value = [&[family, 0, class, number], reason.as_bytes()].concat();
        self.message.add(ATTR_ADDRESS_ERROR_CODE, &value);
        self
    }

    /// Adds ALTERNATE-SERVER: where to try next.
    #[must_use]
    pub fn alternate_server(mut self, addr: SocketAddr) -> Self {
        let at = MappedAddress {
            ip: addr.ip(),
            port: addr.port(),
        };
        let set = at.add_to_as(&mut self.message, ATTR_ALTERNATE_SERVER);
        debug_assert!(set.is_ok(), "{set:?}");
        self
    }

    /// Adds ALTERNATE-DOMAIN: the name in the certificate there.
    #[must_use]
    pub fn alternate_domain(mut self, name: &str) -> Self {
        self.message.add(ATTR_ALTERNATE_DOMAIN, name.as_bytes());
        self
    }

    /// Adds MOBILITY-TICKET.
    #[must_use]
    pub fn mobility_ticket(mut self, Ticket(ticket): Ticket) -> Self {
        self.message.add(ATTR_MOBILITY_TICKET, &ticket);
        self
    }

    /// Adds LIFETIME, in whole seconds.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        let seconds = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX);
        self.message.add(ATTR_LIFETIME, &seconds.to_be_bytes());
        self
    }

    /// Adds RESERVATION-TOKEN.
    #[must_use]
    pub fn reservation(mut self, token: [u8; 8]) -> Self {
        self.message.add(ATTR_RESERVATION_TOKEN, &token);
        self
    }

    /// Adds CONNECTION-ID: the connection that a Connect request asked for.
    #[must_use]
    pub fn connection(mut self, id: ConnectionId) -> Self {
        self.message.add(ATTR_CONNECTION_ID, &id.to_be_bytes());
        self
    }

    /// Adds SOFTWARE.
    #[must_use]
    pub fn software(mut self, name: &str) -> Self {
        self.message.add(ATTR_SOFTWARE, name.as_bytes());
        self
    }

    /// The whole message: signed where there is a key, with a FINGERPRINT where the request had one.
    #[must_use]
    pub fn finish(mut self, key: Option<SigningKey<'_>>) -> Vec<u8> {
        if let Some(SigningKey { key, codes }) = key {
            for hash in codes.hashes() {
                let code = hash.code(key, &self.message.raw);
                self.message.add(hash.attribute(), &code);
            }
        }
        if self.has_fingerprint {
            self.set(&FINGERPRINT);
        }
        self.message.raw
    }

    fn new(reply_to: ReplyTo, class: MessageClass) -> Self {
        let mut message = stun::message::Message::new();
        message.typ = MessageType::new(reply_to.method, class);
        message.transaction_id = stun::agent::TransactionId(reply_to.transaction_id);
        message.write_header();
        Self {
            message,
            has_fingerprint: reply_to.has_fingerprint,
        }
    }

    fn xor_address(mut self, typ: AttrType, addr: SocketAddr) -> Self {
        let value = XorAddress::encode(addr, self.message.transaction_id.0);
        self.message.add(typ, value.as_bytes());
        self
    }

    /// The setters used here refuse nothing that we give them: reasons are short.
    fn set(&mut self, attribute: &impl Setter) {
        let set = attribute.add_to(&mut self.message);
        debug_assert!(set.is_ok(), "{set:?}");
    }
}

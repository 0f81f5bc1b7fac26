//! Answers, signed with the key that the request was signed with.

use std::net::SocketAddr;
use std::time::Duration;

use stun::attributes::{
    ATTR_ALTERNATE_DOMAIN, ATTR_ALTERNATE_SERVER, ATTR_CONNECTION_ID, ATTR_ERROR_CODE,
    ATTR_LIFETIME, ATTR_NONCE, ATTR_PASSWORD_ALGORITHMS, ATTR_REALM, ATTR_RESERVATION_TOKEN,
    ATTR_SOFTWARE, ATTR_UNKNOWN_ATTRIBUTES, ATTR_XOR_RELAYED_ADDRESS, ATTR_XORMAPPED_ADDRESS,
    AttrType,
};
use stun::message::{
    CLASS_ERROR_RESPONSE, CLASS_SUCCESS_RESPONSE, MessageClass, MessageType, Method,
};

use crate::relay::wire::address::{self, XorAddress};
use crate::relay::wire::attributes::{
    ATTR_ADDRESS_ERROR_CODE, ATTR_MOBILITY_TICKET, ATTR_OTHER_ADDRESS, ATTR_RESPONSE_ORIGIN,
    ATTR_THIRD_PARTY_AUTHORIZATION,
};
use crate::relay::wire::connection::ConnectionId;
use crate::relay::wire::integrity::SigningKey;
use crate::relay::wire::message::TransactionId;
use crate::relay::wire::mobility::Ticket;
use crate::relay::wire::writer::Writer;

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
    message: Writer,
    transaction_id: TransactionId,
    has_fingerprint: bool,
}

impl Response {
    /// A success response without attributes, written into `buffer`.
    #[must_use]
    pub fn success(buffer: Vec<u8>, reply_to: ReplyTo) -> Self {
        Self::new(buffer, reply_to, CLASS_SUCCESS_RESPONSE)
    }

    /// An error response with its ERROR-CODE, written into `buffer`.
    #[must_use]
    pub fn error(buffer: Vec<u8>, reply_to: ReplyTo, code: ErrorCode) -> Self {
        let response = Self::new(buffer, reply_to, CLASS_ERROR_RESPONSE);
        response.code(ATTR_ERROR_CODE, 0, code)
    }

    /// Adds UNKNOWN-ATTRIBUTES: what a 420 is about.
    #[must_use]
    pub fn unknown_attributes(self, unknown: &[AttrType]) -> Self {
        let types: Vec<_> = unknown.iter().flat_map(|typ| typ.0.to_be_bytes()).collect();
        self.with(ATTR_UNKNOWN_ATTRIBUTES, &types)
    }

    /// Adds REALM, NONCE and PASSWORD-ALGORITHMS: how the next request must be signed.
    #[must_use]
    pub fn challenge(self, realm: &str, nonce: &str) -> Self {
        self.with(ATTR_REALM, realm.as_bytes())
            .with(ATTR_NONCE, nonce.as_bytes())
            .with(ATTR_PASSWORD_ALGORITHMS, &PASSWORD_ALGORITHMS)
    }

    /// Adds THIRD-PARTY-AUTHORIZATION: the server that an access token must be for.
    #[must_use]
    pub fn third_party(self, server: &str) -> Self {
        self.with(ATTR_THIRD_PARTY_AUTHORIZATION, server.as_bytes())
    }

    /// Adds XOR-MAPPED-ADDRESS: the client as the server sees it.
    #[must_use]
    pub fn mapped(self, addr: SocketAddr) -> Self {
        self.xor_address(ATTR_XORMAPPED_ADDRESS, addr)
    }

    /// Adds RESPONSE-ORIGIN: where the answer leaves from.
    #[must_use]
    pub fn response_origin(self, addr: SocketAddr) -> Self {
        self.with(ATTR_RESPONSE_ORIGIN, &address::in_clear(addr))
    }

    /// Adds OTHER-ADDRESS: where the answer could leave from instead.
    #[must_use]
    pub fn other_address(self, addr: SocketAddr) -> Self {
        self.with(ATTR_OTHER_ADDRESS, &address::in_clear(addr))
    }

    /// Adds XOR-RELAYED-ADDRESS.
    #[must_use]
    pub fn relayed(self, addr: SocketAddr) -> Self {
        self.xor_address(ATTR_XOR_RELAYED_ADDRESS, addr)
    }

    /// Adds ADDRESS-ERROR-CODE: why there is no relayed address of the family with this number
    /// ([RFC 8656 §18.12](https://www.rfc-editor.org/rfc/rfc8656#section-18.12)).
    #[must_use]
    pub fn address_error(self, family: u8, code: ErrorCode) -> Self {
        self.code(ATTR_ADDRESS_ERROR_CODE, family, code)
    }

    /// Adds ALTERNATE-SERVER: where to try next.
    #[must_use]
    pub fn alternate_server(self, addr: SocketAddr) -> Self {
        self.with(ATTR_ALTERNATE_SERVER, &address::in_clear(addr))
    }

    /// Adds ALTERNATE-DOMAIN: the name in the certificate there.
    #[must_use]
    pub fn alternate_domain(self, name: &str) -> Self {
        self.with(ATTR_ALTERNATE_DOMAIN, name.as_bytes())
    }

    /// Adds MOBILITY-TICKET.
    #[must_use]
    pub fn mobility_ticket(self, ticket: Ticket) -> Self {
        self.with(ATTR_MOBILITY_TICKET, &ticket.to_text())
    }

    /// Adds LIFETIME, in whole seconds.
    #[must_use]
    pub fn lifetime(self, lifetime: Duration) -> Self {
        let seconds = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX);
        self.with(ATTR_LIFETIME, &seconds.to_be_bytes())
    }

    /// Adds RESERVATION-TOKEN.
    #[must_use]
    pub fn reservation(self, token: [u8; 8]) -> Self {
        self.with(ATTR_RESERVATION_TOKEN, &token)
    }

    /// Adds CONNECTION-ID: the connection that a Connect request asked for.
    #[must_use]
    pub fn connection(self, id: ConnectionId) -> Self {
        self.with(ATTR_CONNECTION_ID, &id.to_be_bytes())
    }

    /// Adds SOFTWARE.
    #[must_use]
    pub fn software(self, name: &str) -> Self {
        self.with(ATTR_SOFTWARE, name.as_bytes())
    }

    /// The whole message: signed where there is a key, with a FINGERPRINT where the request had one.
    #[must_use]
    pub fn finish(mut self, key: Option<SigningKey<'_>>) -> Vec<u8> {
        if let Some(key) = key {
            self.message.sign(key);
        }
        if self.has_fingerprint {
            self.message.add_fingerprint();
        }
        self.message.finish()
    }

    fn new(buffer: Vec<u8>, reply_to: ReplyTo, class: MessageClass) -> Self {
        let typ = MessageType::new(reply_to.method, class);
        Self {
            message: Writer::new(buffer, typ, reply_to.transaction_id),
            transaction_id: reply_to.transaction_id,
            has_fingerprint: reply_to.has_fingerprint,
        }
    }

    fn xor_address(self, typ: AttrType, addr: SocketAddr) -> Self {
        let value = XorAddress::encode(addr, self.transaction_id);
        self.with(typ, value.as_bytes())
    }

    /// ERROR-CODE, or ADDRESS-ERROR-CODE, which begins with a family.
    fn code(self, typ: AttrType, family: u8, code: ErrorCode) -> Self {
        let (number, reason) = code.parts();
        let [class, number] = [number / 100, number % 100].map(|part| part.to_be_bytes()[1]);
        let mut value = [0; 4 + REASON_BYTES_MAX];
        let value = &mut value[..4 + reason.len()];
        value[..4].copy_from_slice(&[family, 0, class, number]);
        value[4..].copy_from_slice(reason.as_bytes());
        self.with(typ, value)
    }

    fn with(mut self, typ: AttrType, value: &[u8]) -> Self {
        self.message.add(typ, value);
        self
    }
}

/// The longest of ours.
const REASON_BYTES_MAX: usize = 32;

//! Where clients are sent when this server is full
//! ([RFC 8489 §10](https://www.rfc-editor.org/rfc/rfc8489#section-10)).

use std::net::{IpAddr, SocketAddr};

use crate::clock::Now;
use crate::relay::engine::Engine;
use crate::relay::engine::auth::Identity;
use crate::relay::engine::five_tuple::{FiveTuple, Transport};
use crate::relay::wire::response::{ErrorCode, ReplyTo, Response};

/// Another server with the same users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alternate {
    /// The name in its certificate.
    pub name: Option<String>,
    /// Its address: for clients that speak the same IP version.
    pub ip: IpAddr,
    /// `None`: the port that the client came to here.
    pub port: Option<u16>,
}

impl Engine {
    /// Refuses a proven Allocate for which another server would do.
    pub(super) fn refuse_as_full(
        &mut self,
        now: Now,
        client: FiveTuple,
        reply_to: ReplyTo,
        identity: &Identity,
        code: ErrorCode,
    ) {
        // Unsigned, it would let anybody send clients anywhere.
        let Some(key) = identity.key() else {
            return self.refuse(now, client, reply_to, identity, code);
        };
        let buffer = self.effects.buffer();
        let Some(alternate) = self.alternate_for(client, reply_to) else {
            return self.refuse(now, client, reply_to, identity, code);
        };
        let port = alternate.port.unwrap_or(client.server.port());
        let mut response = Response::error(buffer, reply_to, ErrorCode::TryAlternate)
            .alternate_server(SocketAddr::new(alternate.ip, port));
        if let (true, Some(name)) = (is_encrypted(client.transport), &alternate.name) {
            response = response.alternate_domain(name);
        }
        let message = response.finish(Some(key));
        self.fail(client, ErrorCode::TryAlternate, message);
    }

    /// One that the client can reach; which of several is left to the chance in its transaction id.
    fn alternate_for(&self, client: FiveTuple, reply_to: ReplyTo) -> Option<&Alternate> {
        let is_v4 = client.client.ip().to_canonical().is_ipv4();
        let reachable = || self.alternates.iter().filter(|to| to.ip.is_ipv4() == is_v4);
        let chance = usize::from(reply_to.transaction_id[11]);
        reachable().nth(chance % reachable().count().max(1))
    }
}

/// Whether the client will want to know whose certificate it is shown.
fn is_encrypted(transport: Transport) -> bool {
    match transport {
        Transport::Udp | Transport::Tcp => false,
        Transport::Tls | Transport::Dtls => true,
    }
}

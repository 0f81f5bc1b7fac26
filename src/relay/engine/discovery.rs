//! NAT behaviour discovery ([RFC 5780](https://www.rfc-editor.org/rfc/rfc5780)): answers from where they were asked for.
//!
//! Of its attributes, RESPONSE-PORT and PADDING stay unknown: they would send answers where nobody asked, and large ones.

use std::net::{IpAddr, SocketAddr};

use crate::relay::engine::Engine;
use crate::relay::engine::five_tuple::{FiveTuple, Transport};
use crate::relay::wire::request::{Change, Method, Request};
use crate::relay::wire::response::ErrorCode;

/// Two addresses and two ports, all four of which are listened on over UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Square {
    /// As they are listened on.
    pub ips: [IpAddr; 2],
    /// As clients know them, in the same order.
    pub told: [IpAddr; 2],
    /// The usual port first.
    pub ports: [u16; 2],
}

impl Square {
    /// The addresses with the second port: those that are listened on for this alone.
    #[must_use]
    pub fn alternates(&self) -> [SocketAddr; 2] {
        self.ips.map(|ip| SocketAddr::new(ip, self.ports[1]))
    }

    fn corner(&self, addr: SocketAddr) -> Option<Corner<'_>> {
        Some(Corner {
            square: self,
            ip: self.ips.iter().position(|ip| *ip == addr.ip())?,
            port: self.ports.iter().position(|port| *port == addr.port())?,
        })
    }
}

/// One of the four, by its indexes.
#[derive(Clone, Copy, Debug)]
struct Corner<'s> {
    square: &'s Square,
    ip: usize,
    port: usize,
}

impl Corner<'_> {
    fn changed(self, change: Change) -> Self {
        Self {
            ip: self.ip ^ usize::from(change.ip),
            port: self.port ^ usize::from(change.port),
            ..self
        }
    }

    /// As it is listened on.
    fn here(self) -> SocketAddr {
        SocketAddr::new(self.square.ips[self.ip], self.square.ports[self.port])
    }

    /// As clients know it.
    fn told(self) -> SocketAddr {
        SocketAddr::new(self.square.told[self.ip], self.square.ports[self.port])
    }
}

impl Engine {
    /// Whether CHANGE-REQUEST means something here.
    pub(super) fn can_change(&self, client: FiveTuple, request: &Request<'_>) -> bool {
        request.method == Method::Binding && corner(&self.discovery, client).is_some()
    }

    /// Binding; the message where it leaves from where it was asked, as everywhere else.
    pub(super) fn binding(
        &mut self,
        client: FiveTuple,
        request: &Request<'_>,
    ) -> Result<Option<Vec<u8>>, ErrorCode> {
        let response = self.success(request.reply_to).mapped(client.client);
        let Some(asked) = corner(&self.discovery, client) else {
            return Ok(Some(response.finish(None)));
        };
        let from = asked.changed(request.change()?);
        let other = asked.changed(Change::BOTH);
        let message = response
            .response_origin(from.told())
            .other_address(other.told())
            .finish(None);
        let server = from.here();
        self.succeed(FiveTuple { server, ..client }, request.method, message);
        Ok(None)
    }
}

/// Where the client asks; streams have no other address to be answered from.
fn corner(squares: &[Square], client: FiveTuple) -> Option<Corner<'_>> {
    match client.transport {
        Transport::Udp => squares
            .iter()
            .find_map(|square| square.corner(client.server)),
        Transport::Tcp | Transport::Tls | Transport::Dtls => None,
    }
}

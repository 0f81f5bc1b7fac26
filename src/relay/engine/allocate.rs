//! Allocate ([RFC 8656 §7.2](https://www.rfc-editor.org/rfc/rfc8656#section-7.2)), its checks in the RFC's order.

use std::{ops::RangeInclusive, time::Duration};

use crate::clock::Now;
use crate::logging::Redacted;
use crate::relay::engine::Engine;
use crate::relay::engine::allocations::Allocation;
use crate::relay::engine::auth::Identity;
use crate::relay::engine::counters::Traffic;
use crate::relay::engine::five_tuple::{Family, FiveTuple};
use crate::relay::engine::limits::Place;
use crate::relay::engine::outcome::{
    Effect, OpenedRelay, PortKind, PortRequest, RelayRefused, ReservationToken,
};
use crate::relay::engine::view::AllocationId;
use crate::relay::wire::request::Request;
use crate::relay::wire::response::{ErrorCode, ReplyTo, Response};

/// How long an allocation lives unless refreshed, and the longest that it may ask for
/// ([RFC 8656 §3.2, §7.2](https://www.rfc-editor.org/rfc/rfc8656#section-3.2)).
pub const LIFETIMES: RangeInclusive<Duration> =
    Duration::from_secs(600)..=Duration::from_secs(3600);

/// An Allocate that waits for its relay socket.
#[derive(Debug)]
pub(super) struct Pending {
    client: FiveTuple,
    owner: Identity,
    place: Place,
    lifetime: Duration,
    reply_to: ReplyTo,
}

impl Engine {
    /// `Ok(None)`: the answer waits for the relay socket.
    pub(super) fn allocate(
        &mut self,
        now: Now,
        client: FiveTuple,
        request: &Request<'_>,
        owner: Identity,
    ) -> Result<Option<Vec<u8>>, ErrorCode> {
        if let Some(allocation) = self.allocations.by_client(now, client) {
            let is_repeated = allocation.made_by == request.reply_to.transaction_id;
            if !is_repeated || allocation.owner.user != owner.user {
                return Err(ErrorCode::AllocationMismatch);
            }
            return Ok(Some(allocation.answer.clone()));
        }
        let wanted = wanted(request)?;
        let lifetime = self.granted_lifetime(request)?;
        let place = self.limits.allocate(now, &owner.user);
        let place = place.ok_or(ErrorCode::AllocationQuotaReached)?;
        self.effects.push_back(Effect::OpenRelay(wanted));
        self.pending = Some(Pending {
            client,
            owner,
            place,
            lifetime,
            reply_to: request.reply_to,
        });
        Ok(None)
    }

    pub(super) fn allocate_on(
        &mut self,
        now: Now,
        pending: Pending,
        opened: Result<OpenedRelay, RelayRefused>,
    ) {
        let Pending {
            client,
            owner,
            place,
            lifetime,
            reply_to,
        } = pending;
        let opened = match opened {
            Ok(opened) => opened,
            Err(RelayRefused::NoPort) => {
                return self.refuse(
                    now,
                    client,
                    reply_to,
                    &owner,
                    ErrorCode::InsufficientCapacity,
                );
            }
            Err(RelayRefused::UnsupportedFamily) => {
                return self.refuse(
                    now,
                    client,
                    reply_to,
                    &owner,
                    ErrorCode::AddressFamilyNotSupported,
                );
            }
        };
        let mut response = Response::success(reply_to)
            .relayed(opened.relayed.0)
            .lifetime(lifetime)
            .mapped(client.client);
        if let Some(ReservationToken(token)) = opened.reservation {
            response = response.reservation(token);
        }
        let answer = self.with_software(response).finish(owner.key());
        tracing::info!(
            user = %Redacted::new(&owner.user),
            transport = ?client.transport,
            relayed_port = opened.relayed.0.port(),
            lifetime_seconds = lifetime.as_secs(),
            "allocation made"
        );
        let id = AllocationId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        self.allocations.insert(Allocation {
            id,
            client,
            relay: opened.key,
            relayed: opened.relayed,
            owner,
            place,
            made_at: now.mono,
            expires_at: now.mono + lifetime,
            permissions: Default::default(),
            channels: Default::default(),
            to_peers: Traffic::default(),
            to_clients: Traffic::default(),
            made_by: reply_to.transaction_id,
            answer: answer.clone(),
        });
        self.succeed(client, answer);
    }

    /// What LIFETIME asks, within the server's bounds; 400 when it is malformed.
    pub(super) fn granted_lifetime(&self, request: &Request<'_>) -> Result<Duration, ErrorCode> {
        let (shortest, longest) = (*self.lifetimes.start(), *self.lifetimes.end());
        Ok(match request.lifetime()? {
            Some(asked) => asked.min(longest).max(shortest),
            None => shortest,
        })
    }
}

fn wanted(request: &Request<'_>) -> Result<PortRequest, ErrorCode> {
    match request.requested_transport()? {
        None => return Err(ErrorCode::BadRequest),
        Some(UDP) => {}
        Some(_) => return Err(ErrorCode::UnsupportedTransport),
    }
    let (token, even_port) = (request.reservation_token()?, request.even_port()?);
    let family = request.requested_family()?;
    if token.is_some() && (even_port.is_some() || family.is_some()) {
        return Err(ErrorCode::BadRequest);
    }
    let family = match family {
        None | Some(0x01) => Family::V4,
        Some(0x02) => Family::V6,
        Some(_) => return Err(ErrorCode::AddressFamilyNotSupported),
    };
    let kind = match (token, even_port) {
        (Some(token), _) => PortKind::Reserved(ReservationToken(token)),
        (None, Some(true)) => PortKind::EvenWithNext,
        (None, Some(false)) => PortKind::Even,
        (None, None) => PortKind::Any,
    };
    Ok(PortRequest { family, kind })
}

/// The protocol number of UDP, the only transport that is relayed.
const UDP: u8 = 17;

//! Allocate ([RFC 8656 §7.2](https://www.rfc-editor.org/rfc/rfc8656#section-7.2)), its checks in the RFC's order.

use std::{ops::RangeInclusive, time::Duration};

use crate::clock::Now;
use crate::logging::Redacted;
use crate::relay::engine::Engine;
use crate::relay::engine::allocation::Allocation;
use crate::relay::engine::auth::Identity;
use crate::relay::engine::counters::Traffic;
use crate::relay::engine::five_tuple::{Family, FiveTuple};
use crate::relay::engine::limits::{Limit, Place};
use crate::relay::engine::made::{Made, Opened};
use crate::relay::engine::mobility::Mobility;
use crate::relay::engine::outcome::{
    Effect, OpenedRelay, PortKind, PortRequest, RelayRefused, RelayTransport, ReservationToken,
};
use crate::relay::engine::traces::Traces;
use crate::relay::engine::view::AllocationId;
use crate::relay::wire::request::{Method, Request};
use crate::relay::wire::response::{ErrorCode, ReplyTo};

/// How long an allocation lives unless refreshed, and the longest that it may ask for
/// ([RFC 8656 §3.2, §7.2](https://www.rfc-editor.org/rfc/rfc8656#section-3.2)).
pub const LIFETIMES: RangeInclusive<Duration> =
    Duration::from_secs(600)..=Duration::from_secs(3600);

/// An Allocate that waits for its relay sockets.
#[derive(Debug)]
pub(super) struct Pending {
    client: FiveTuple,
    owner: Identity,
    place: Place,
    lifetime: Duration,
    reply_to: ReplyTo,
    first: PortRequest,
    /// Whether its client asked for a ticket.
    is_mobile: bool,
    opening: Opening,
}

/// Which relay socket is being opened.
#[derive(Debug)]
enum Opening {
    /// The only one.
    One,
    /// The first of two; the other one is asked for like this.
    First(PortRequest),
    /// The other one, and what became of the first.
    Second(PortRequest, Result<OpenedRelay, RelayRefused>),
}

/// What an Allocate asks for.
struct Wanted {
    first: PortRequest,
    additional: Option<PortRequest>,
}

impl Engine {
    /// `Ok(None)`: the answer waits for the relay sockets.
    pub(super) fn allocate(
        &mut self,
        now: Now,
        client: FiveTuple,
        request: &Request<'_>,
        owner: Identity,
    ) -> Result<Option<Vec<u8>>, ErrorCode> {
        if let Some(allocation) = self.allocations.by_client(now, client) {
            if !allocation.made.by(request) || allocation.owner.user() != owner.user() {
                return Err(ErrorCode::AllocationMismatch);
            }
            let buffer = self.effects.buffer();
            return Ok(Some(self.made(client, allocation, buffer)));
        }
        let wanted = self.wanted(client, request)?;
        // RFC 8656 §7.2 has this before the quota. A token says nothing of its family, and of two families one is enough.
        let is_decided = wanted.additional.is_none() && !wanted.is_reserved();
        if is_decided && !self.allocations.relays().serve(wanted.first.family) {
            return Err(ErrorCode::AddressFamilyNotSupported);
        }
        let lifetime = self.granted_lifetime(now, request, &owner)?;
        // A relayed connection does not outlive its control connection: nothing of it could move.
        let relays_datagrams = wanted.first.transport == RelayTransport::Udp;
        let is_mobile = self.asks_for_ticket(request)? && relays_datagrams;
        if self.is_draining {
            let code = ErrorCode::InsufficientCapacity;
            self.refuse_as_full(now, client, request.reply_to, &owner, code);
            return Ok(None);
        }
        let place = match self.limits.allocate(now, owner.user()) {
            Ok(place) => place,
            Err(Limit::Allocations) if !wanted.is_reserved() => {
                let code = ErrorCode::AllocationQuotaReached;
                self.refuse_as_full(now, client, request.reply_to, &owner, code);
                return Ok(None);
            }
            Err(_) => return Err(ErrorCode::AllocationQuotaReached),
        };
        let pending = Pending {
            client,
            owner,
            place,
            lifetime,
            reply_to: request.reply_to,
            is_mobile,
            first: wanted.first,
            opening: wanted.additional.map_or(Opening::One, Opening::First),
        };
        self.open(now, pending, wanted.first);
        Ok(None)
    }

    /// Asks for a relay socket, unless one is shared although a port may be free.
    fn open(&mut self, now: Now, pending: Pending, request: PortRequest) {
        if let Some(shared) = self.to_share(&pending, request, true) {
            self.allocate_on(now, pending, Ok(shared));
        } else {
            self.effects.push(Effect::OpenRelay(request));
            self.pending = Some(pending);
        }
    }

    /// Whoever asks for a certain port wants it for itself.
    fn to_share(
        &self,
        pending: &Pending,
        request: PortRequest,
        a_port_is_free: bool,
    ) -> Option<OpenedRelay> {
        if !may_share(request) {
            return None;
        }
        let user = pending.owner.user();
        self.allocations
            .to_share(request.family, a_port_is_free, user)
    }

    /// Goes on with the relay socket that was opened, or not.
    pub(super) fn allocate_on(
        &mut self,
        now: Now,
        mut pending: Pending,
        opened: Result<OpenedRelay, RelayRefused>,
    ) {
        let request = pending.asked_for();
        let opened = opened.or_else(|refused| {
            let shared = match refused {
                RelayRefused::NoPort => self.to_share(&pending, request, false),
                RelayRefused::UnsupportedFamily => None,
            };
            shared.ok_or(refused)
        });
        let opened = match pending.opening {
            Opening::One => alone(opened),
            Opening::First(additional) => {
                pending.opening = Opening::Second(additional, opened);
                self.open(now, pending, additional);
                return;
            }
            Opening::Second(_, first) => both(first, opened),
        };
        match opened {
            Ok(opened) => self.allocated(now, pending, &opened),
            Err(code) => self.not_allocated(now, &pending, code),
        }
    }

    fn not_allocated(&mut self, now: Now, pending: &Pending, code: ErrorCode) {
        let (client, reply_to, owner) = (pending.client, pending.reply_to, &pending.owner);
        // A token is good for nothing elsewhere.
        let is_reserved = matches!(pending.first.kind, PortKind::Reserved(_));
        if code == ErrorCode::InsufficientCapacity && !is_reserved {
            self.refuse_as_full(now, client, reply_to, owner, code);
        } else {
            self.refuse(now, client, reply_to, owner, code);
        }
    }

    fn allocated(&mut self, now: Now, pending: Pending, opened: &Opened) {
        let Pending {
            client,
            owner,
            place,
            lifetime,
            reply_to,
            is_mobile,
            first,
            opening: _,
        } = pending;
        let transport = first.transport;
        let id = AllocationId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        // Connections to peers don't move.
        let tickets = self.tickets.as_ref();
        let tickets = tickets.filter(|_| is_mobile && transport == RelayTransport::Udp);
        let ticket = tickets.map(|tickets| tickets.make(id, 0));
        tracing::debug!(
            user = %Redacted::new(owner.user()),
            transport = ?client.transport,
            relayed_port = opened.first.relayed.0.port(),
            lifetime_seconds = lifetime.as_secs(),
            "allocation made"
        );
        let allocation = Allocation {
            id,
            client,
            halves: opened.halves(now.mono + lifetime),
            owner,
            place,
            made_at: now.mono,
            permissions: Default::default(),
            channels: Default::default(),
            connections: match transport {
                RelayTransport::Udp => None,
                RelayTransport::Tcp => Some(Vec::new()),
            },
            to_peers: Traffic::default(),
            to_clients: Traffic::default(),
            icmp: None,
            mobility: ticket.map(|ticket| Box::new(Mobility::new(ticket))),
            made: Made::new(reply_to, lifetime, opened),
            at_user: 0,
            traces: Traces::default(),
        };
        let buffer = self.effects.buffer();
        let answer = self.made(client, &allocation, buffer);
        self.counters.shared += allocation
            .halves
            .iter()
            .filter(|half| self.allocations.relays().is_open(half.relay))
            .count() as u64;
        self.allocations.insert(now, allocation, may_share(first));
        self.counters.count_made(client.transport);
        self.succeed(client, Method::Allocate, answer);
    }

    /// REQUESTED-TRANSPORT comes first
    /// ([RFC 6062 §5.1](https://www.rfc-editor.org/rfc/rfc6062#section-5.1)).
    fn wanted(&self, client: FiveTuple, request: &Request<'_>) -> Result<Wanted, ErrorCode> {
        let transport = match request.requested_transport()? {
            None => return Err(ErrorCode::BadRequest),
            Some(UDP) => RelayTransport::Udp,
            Some(TCP) if self.tcp_relay && !client.transport.is_stream() => {
                return Err(ErrorCode::BadRequest);
            }
            Some(TCP) if self.tcp_relay => RelayTransport::Tcp,
            Some(_) => return Err(ErrorCode::UnsupportedTransport),
        };
        wanted(request, transport)
    }

    /// What LIFETIME asks, within the server's bounds; 400 when it is malformed.
    pub(super) fn granted_lifetime(
        &self,
        now: Now,
        request: &Request<'_>,
        identity: &Identity,
    ) -> Result<Duration, ErrorCode> {
        let (shortest, longest) = (*self.lifetimes.start(), *self.lifetimes.end());
        let granted = match request.lifetime()? {
            Some(asked) => asked.min(longest).max(shortest),
            None => shortest,
        };
        let left = identity.ends_at().map(|at| at.millis().since(now.unix));
        Ok(left.map_or(granted, |left| granted.min(left)))
    }
}

impl Pending {
    /// The relay socket that is being opened.
    fn asked_for(&self) -> PortRequest {
        match self.opening {
            Opening::One | Opening::First(_) => self.first,
            Opening::Second(second, _) => second,
        }
    }
}

/// Whether any port will do, and others may have it, too.
fn may_share(request: PortRequest) -> bool {
    match (request.transport, request.kind) {
        (RelayTransport::Udp, PortKind::Any) => true,
        (
            RelayTransport::Udp | RelayTransport::Tcp,
            PortKind::Any | PortKind::Even | PortKind::EvenWithNext | PortKind::Reserved(_),
        ) => false,
    }
}

impl Wanted {
    fn is_reserved(&self) -> bool {
        matches!(self.first.kind, PortKind::Reserved(_))
    }
}

fn wanted(request: &Request<'_>, transport: RelayTransport) -> Result<Wanted, ErrorCode> {
    let (token, even_port) = (request.reservation_token()?, request.even_port()?);
    let (requested, additional) = (request.requested_family()?, request.additional_family()?);
    let names_family = requested.is_some() || additional.is_some();
    // RFC 6062 §4.1, §5.1: pairs of ports and fragments are matters of datagrams.
    let is_for_datagrams = token.is_some() || even_port.is_some() || request.has_dont_fragment();
    if transport == RelayTransport::Tcp && is_for_datagrams {
        return Err(ErrorCode::BadRequest);
    }
    if token.is_some() && (even_port.is_some() || names_family) {
        return Err(ErrorCode::BadRequest);
    }
    if requested.is_some() && additional.is_some() {
        return Err(ErrorCode::BadRequest);
    }
    let family = requested.map_or(Some(Family::V4), Family::from_number);
    let family = family.ok_or(ErrorCode::AddressFamilyNotSupported)?;
    if even_port == Some(true) && additional.is_some() {
        return Err(ErrorCode::BadRequest);
    }
    let kind = match (token, even_port) {
        (Some(token), _) => PortKind::Reserved(ReservationToken(token)),
        (None, Some(true)) => PortKind::EvenWithNext,
        (None, Some(false)) => PortKind::Even,
        (None, None) => PortKind::Any,
    };
    let request_for = |family| PortRequest {
        transport,
        family,
        kind,
    };
    let additional = match additional.map(Family::from_number) {
        None => None,
        Some(Some(Family::V6)) => Some(request_for(Family::V6)),
        // IPv4 comes without asking.
        Some(Some(Family::V4)) => return Err(ErrorCode::BadRequest),
        Some(None) => return Err(ErrorCode::AddressFamilyNotSupported),
    };
    Ok(Wanted {
        first: request_for(family),
        additional,
    })
}

fn alone(opened: Result<OpenedRelay, RelayRefused>) -> Result<Opened, ErrorCode> {
    Ok(Opened {
        first: opened.map_err(RelayRefused::code)?,
        second: None,
        missing: None,
    })
}

/// One family is enough.
fn both(
    v4: Result<OpenedRelay, RelayRefused>,
    v6: Result<OpenedRelay, RelayRefused>,
) -> Result<Opened, ErrorCode> {
    let (first, second, missing) = match (v4, v6) {
        (Ok(v4), Ok(v6)) => (v4, Some(v6), None),
        (Ok(v4), Err(refused)) => (v4, None, Some((Family::V6, refused.code()))),
        (Err(refused), Ok(v6)) => (v6, None, Some((Family::V4, refused.code()))),
        (Err(_), Err(_)) => return Err(ErrorCode::InsufficientCapacity),
    };
    Ok(Opened {
        first,
        second,
        missing,
    })
}

/// Protocol numbers.
const UDP: u8 = 17;
const TCP: u8 = 6;

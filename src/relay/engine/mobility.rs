//! Allocations that move to another five-tuple with their client
//! ([RFC 8016](https://www.rfc-editor.org/rfc/rfc8016)): tickets, and the time between two five-tuples.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::clock::Now;
use crate::logging::Redacted;
use crate::relay::engine::Engine;
use crate::relay::engine::allocations::Allocations;
use crate::relay::engine::auth::Identity;
use crate::relay::engine::five_tuple::FiveTuple;
use crate::relay::engine::share::Share;
use crate::relay::engine::view::AllocationId;
use crate::relay::wire::message::TransactionId;
use crate::relay::wire::mobility::Ticket;
use crate::relay::wire::request::Request;
use crate::relay::wire::response::ErrorCode;

/// Makes tickets: whoever was not given one can't guess it, and each says which worker has the allocation.
pub(super) struct Tickets {
    key: Redacted<[u8; 32]>,
    share: Share,
}

/// What lets an allocation move.
#[derive(Debug)]
pub(super) struct Mobility {
    /// What names it until it moves, and then no more.
    pub(super) ticket: Ticket,
    /// How many tickets it has had before.
    pub(super) tickets: u64,
    /// Where it moves to: its client has not sent data from there yet.
    pub(super) next: Option<FiveTuple>,
    /// The Refresh that brought the last ticket, and its answer: a retransmission gets the same once more.
    pub(super) renewed_by: Option<(TransactionId, Vec<u8>)>,
}

/// Which allocation a Refresh is about.
pub(super) enum Named {
    /// The one on this five-tuple, which need not be that of the request.
    On(FiveTuple),
    /// It has been answered already.
    Answered(Vec<u8>),
}

impl Tickets {
    pub(super) fn new(key: Redacted<[u8; 32]>, share: Share) -> Self {
        Self { key, share }
    }

    /// The ticket of an allocation that has had so many before.
    pub(super) fn make(&self, id: AllocationId, before: u64) -> Ticket {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.expose())
            .expect("HMAC takes keys of any length");
        mac.update(b"MOBILITY-TICKET");
        mac.update(&id.0.to_be_bytes());
        mac.update(&before.to_be_bytes());
        let [m0, m1, m2, m3, rest @ ..] = <[u8; 32]>::from(mac.finalize().into_bytes());
        let mark = self.share.mark(u32::from_be_bytes([m0, m1, m2, m3]));
        let mut ticket = [0; Ticket::BYTES];
        let (head, tail) = ticket.split_at_mut(4);
        head.copy_from_slice(&mark.to_be_bytes());
        tail.copy_from_slice(&rest[..Ticket::BYTES - 4]);
        Ticket(ticket)
    }
}

impl Mobility {
    pub(super) fn new(ticket: Ticket) -> Self {
        Self {
            ticket,
            tickets: 1,
            next: None,
            renewed_by: None,
        }
    }
}

impl Engine {
    /// Whether an Allocate asks for a ticket, and may: 405 where the operator wants none.
    pub(super) fn asks_for_ticket(&self, request: &Request<'_>) -> Result<bool, ErrorCode> {
        let Some(ticket) = request.mobility_ticket() else {
            return Ok(false);
        };
        if self.tickets.is_none() {
            return Err(ErrorCode::MobilityForbidden);
        }
        if !ticket.is_empty() {
            return Err(ErrorCode::BadRequest);
        }
        Ok(true)
    }

    /// Which allocation a Refresh is about: that of its five-tuple, or that of its ticket.
    pub(super) fn named_by(
        &self,
        now: Now,
        client: FiveTuple,
        request: &Request<'_>,
    ) -> Result<Named, ErrorCode> {
        let Some(ticket) = request.mobility_ticket() else {
            return Ok(Named::On(client));
        };
        if self.tickets.is_none() {
            return Err(ErrorCode::MobilityForbidden);
        }
        if ticket.is_empty() {
            return Err(ErrorCode::BadRequest);
        }
        let ticket = Ticket::parse(ticket).ok_or(ErrorCode::AllocationMismatch)?;
        let Some(own) = self.allocations.by_client(now, client) else {
            let named = self.allocations.by_ticket(now, ticket);
            let named = named.ok_or(ErrorCode::AllocationMismatch)?;
            return Ok(Named::On(named.client));
        };
        let mobility = own.mobility.as_ref();
        let mobility = mobility.ok_or(ErrorCode::AllocationMismatch)?;
        match &mobility.renewed_by {
            Some((by, answer)) if *by == request.reply_to.transaction_id => {
                Ok(Named::Answered(answer.clone()))
            }
            Some(_) | None if mobility.ticket == ticket => Ok(Named::On(own.client)),
            Some(_) | None => Err(ErrorCode::AllocationMismatch),
        }
    }

    /// Moves a mobile allocation towards `client`, where it is not there already; its next ticket.
    pub(super) fn renew_ticket(&mut self, at: FiveTuple, client: FiveTuple) -> Option<Ticket> {
        let tickets = self.tickets.as_ref()?;
        let make = |id, before| tickets.make(id, before);
        self.allocations.renew(at, client, make)
    }
}

/// Who made the allocation that a request names by its ticket.
pub(super) fn owner<'a>(
    now: Now,
    allocations: &'a Allocations,
    request: &Request<'_>,
) -> Option<&'a Identity> {
    let ticket = Ticket::parse(request.mobility_ticket()?)?;
    let named = allocations.by_ticket(now, ticket)?;
    Some(&named.owner)
}

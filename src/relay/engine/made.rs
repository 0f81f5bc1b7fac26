//! What an Allocate is told: once, and again where it is repeated
//! ([RFC 8656 §7.2](https://www.rfc-editor.org/rfc/rfc8656#section-7.2)).

use std::time::{Duration, Instant};

use crate::relay::engine::Engine;
use crate::relay::engine::allocation::Allocation;
use crate::relay::engine::five_tuple::{Family, FiveTuple};
use crate::relay::engine::halves::{Half, Halves};
use crate::relay::engine::outcome::{OpenedRelay, ReservationToken};
use crate::relay::wire::request::Request;
use crate::relay::wire::response::{ErrorCode, ReplyTo, Response};

/// What an Allocate gets: one relay socket, or two, or one and the reason why there is no other.
pub(super) struct Opened {
    pub(super) first: OpenedRelay,
    pub(super) second: Option<OpenedRelay>,
    pub(super) missing: Option<(Family, ErrorCode)>,
}

impl Opened {
    pub(super) fn halves(&self, expires_at: Instant) -> Halves {
        let half = |opened: &OpenedRelay| Half {
            relay: opened.key,
            relayed: opened.relayed,
            expires_at,
        };
        Halves::new(half(&self.first), self.second.as_ref().map(half))
    }
}

/// What its answer says beyond the allocation itself. The answer is not kept: few are asked for again.
#[derive(Debug)]
pub(super) struct Made {
    reply_to: ReplyTo,
    lifetime_seconds: u32,
    missing: Option<(Family, ErrorCode)>,
    /// Only what was opened alone has one.
    reservation: Option<ReservationToken>,
}

impl Made {
    pub(super) fn new(reply_to: ReplyTo, lifetime: Duration, opened: &Opened) -> Self {
        Self {
            reply_to,
            lifetime_seconds: u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX),
            missing: opened.missing,
            reservation: opened.first.reservation,
        }
    }

    /// Whether it was made by this request, which is a retransmission then.
    pub(super) fn by(&self, request: &Request<'_>) -> bool {
        self.reply_to.transaction_id == request.reply_to.transaction_id
    }
}

impl Engine {
    /// The answer to the Allocate that made this allocation, in `buffer`.
    pub(super) fn made(
        &self,
        client: FiveTuple,
        allocation: &Allocation,
        buffer: Vec<u8>,
    ) -> Vec<u8> {
        let made = &allocation.made;
        let mut response = Response::success(buffer, made.reply_to);
        for half in allocation.halves.iter() {
            response = response.relayed(half.relayed.0);
        }
        if let Some((family, code)) = made.missing {
            response = response.address_error(family.number(), code);
        }
        if let Some(ReservationToken(token)) = made.reservation {
            response = response.reservation(token);
        }
        let lifetime = Duration::from_secs(made.lifetime_seconds.into());
        response = response.lifetime(lifetime).mapped(client.client);
        let tickets = self.tickets.as_ref();
        if let Some(tickets) = tickets.filter(|_| allocation.mobility.is_some()) {
            response = response.mobility_ticket(tickets.make(allocation.id, 0));
        }
        self.with_software(response).finish(allocation.owner.key())
    }
}

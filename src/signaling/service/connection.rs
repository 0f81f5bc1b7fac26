//! What is remembered of one socket between its requests.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Instant,
};

use crate::access::Identity;
use crate::clock::Now;
use crate::ident::{ParticipantId, SessionId};
use crate::signaling::ice_servers::IceServersAnswer;
use crate::signaling::session::socket::{Member, SocketId, Ticket};
use crate::signaling::socket::Outlet;
use crate::source::Source;

/// One connected client.
pub(in crate::signaling) struct Connection {
    pub(in crate::signaling) socket: SocketId,
    pub(in crate::signaling) outlet: Arc<Outlet>,
    pub(in crate::signaling) allowance: Allowance,
    /// Where it connects from.
    pub(in crate::signaling) source: Source,
    pub(super) ticket: Option<Ticket>,
    /// Who its token says it is, where tokens are asked for.
    pub(super) identity: Option<Identity>,
    pub(super) joined: Option<Membership>,
    /// When the credential it was given last wants to be replaced.
    refresh_at: Option<Instant>,
}

/// Where a socket joined, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::signaling) struct Membership {
    pub(super) session: SessionId,
    pub(super) participant: ParticipantId,
}

/// How many events a socket may still send: so many a second, and twice that at once.
#[derive(Debug)]
pub(in crate::signaling) struct Allowance {
    events: Option<f64>,
    since: Instant,
    /// Refused lately.
    refused: f64,
}

impl Connection {
    pub(in crate::signaling) fn new(
        now: Now,
        socket: SocketId,
        outlet: Arc<Outlet>,
        ticket: Option<Ticket>,
        identity: Option<Identity>,
    ) -> Self {
        Self {
            socket,
            outlet,
            allowance: Allowance {
                events: None,
                since: now.mono,
                refused: 0.0,
            },
            source: Source(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            ticket,
            identity,
            joined: None,
            refresh_at: None,
        }
    }

    /// How it is known to a session's members.
    pub(super) fn member(&self) -> Member {
        Member {
            socket: self.socket,
            ticket: self.ticket,
        }
    }

    /// As whom it joined.
    pub(in crate::signaling) fn participant(&self) -> Option<&ParticipantId> {
        self.joined.as_ref().map(|joined| &joined.participant)
    }

    /// It holds this credential from now on.
    pub(super) fn trust(&mut self, now: Now, answer: &IceServersAnswer) {
        self.refresh_at = Some(now.mono + answer.refresh_after);
    }

    pub(super) fn distrust(&mut self) {
        self.refresh_at = None;
    }

    /// The credential that it holds, if any, may not be good for long.
    pub(in crate::signaling) fn doubt(&mut self, now: Now) {
        self.refresh_at = self.refresh_at.map(|at| at.min(now.mono));
    }

    /// Whether its credential wants to be replaced now.
    pub(super) fn is_stale(&self, now: Now) -> bool {
        self.refresh_at.is_some_and(|at| at <= now.mono)
    }
}

impl Allowance {
    /// Whether another event may be heard.
    pub(in crate::signaling) fn take(&mut self, now: Now, per_second: u32) -> bool {
        let per_second = f64::from(per_second);
        let passed = now.mono.saturating_duration_since(self.since);
        self.since = now.mono;
        let saved = self.events.unwrap_or(2.0 * per_second);
        let events = (saved + passed.as_secs_f64() * per_second).min(2.0 * per_second);
        let granted = events >= 1.0;
        self.events = Some(if granted { events - 1.0 } else { events });
        self.refused = (self.refused - passed.as_secs_f64() * per_second).max(0.0);
        self.refused += if granted { 0.0 } else { 1.0 };
        granted
    }

    /// Whether so much was refused lately that nobody can be listening to the refusals.
    pub(in crate::signaling) fn is_flooded(&self, per_second: u32) -> bool {
        self.refused > REFUSED_SECONDS_MAX * f64::from(per_second) + REFUSED_MIN
    }
}

/// So many seconds' worth of events may be refused, and a few more where a second's worth is little.
const REFUSED_SECONDS_MAX: f64 = 10.0;
const REFUSED_MIN: f64 = 500.0;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn two_seconds_worth_at_once_and_then_so_many_a_second() {
        let mut now = Now::read();
        let mut allowance = Allowance {
            events: None,
            since: now.mono,
            refused: 0.0,
        };
        let mut granted = |now| (0..1000).filter(|_| allowance.take(now, 100)).count();
        assert_eq!(granted(now), 200);
        now = now.advanced(Duration::from_millis(500));
        assert_eq!(granted(now), 50);
        now = now.advanced(Duration::from_secs(60));
        assert_eq!(granted(now), 200);
    }
}

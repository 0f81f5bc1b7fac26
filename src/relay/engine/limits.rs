//! How much there may be of anything, for all workers of a process: what they share is touched when an allocation
//! begins or ends and when something is refused, by a packet only where its bytes are budgeted.

use std::{sync::Arc, time::Instant};

use crate::clock::Now;
use crate::ident::UserId;
use crate::relay::engine::policy::Denial;
use crate::source::{PerSource, Source};

mod bucket;
mod budget;
mod connections;
mod quota;
mod refusals;
mod sampler;
mod sources;

pub use connections::Connected;
pub use refusals::{Limit, Refused};

pub(crate) use sampler::Sampler;

pub(super) use quota::Place;

use connections::Connections;
use quota::{Maxima, Quota};
use refusals::Refusals;
use sources::Sources;

/// What the operator decides; by default nothing is limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Allocations at a time.
    pub allocations: Option<u32>,
    /// Allocations of one user at a time. Where nobody proves who they are, nobody is a user.
    pub allocations_per_user: Option<u32>,
    /// Payload bytes relayed, both directions together: so many a second, and as many at once.
    pub bytes_per_second: Option<u32>,
    /// The same of all allocations of one user.
    pub bytes_per_second_per_user: Option<u32>,
    /// The same of one allocation.
    pub bytes_per_second_per_allocation: Option<u32>,
    /// Error answers over UDP to requests that proved nothing: so many a second, and twice as many at once.
    pub unauthenticated_replies_per_second: PerSource,
    /// Wrong credentials that are answered: so many a minute, and as many at once.
    pub failed_logins_per_minute: PerSource,
    /// TCP and TLS connections, and DTLS sessions, at a time.
    pub connections: Option<u32>,
    /// Those of one source.
    pub connections_per_source: PerSource,
}

/// The limits of one process, and what they have refused.
#[derive(Debug)]
pub struct Limits {
    epoch: Instant,
    quota: Arc<Quota>,
    replies: Sources,
    failed_logins: Sources,
    connections: Connections,
    refusals: Refusals,
}

impl Limits {
    /// Nobody has anything yet.
    #[must_use]
    pub fn new(now: Now, settings: Settings) -> Arc<Self> {
        let epoch = now.mono;
        let quota = Quota::new(epoch, Maxima::of(&settings));
        Arc::new(Self {
            epoch,
            quota: Arc::new(quota),
            replies: Sources::per_second(settings.unauthenticated_replies_per_second),
            failed_logins: Sources::per_minute(settings.failed_logins_per_minute),
            connections: Connections::new(settings.connections, settings.connections_per_source),
            refusals: Refusals::default(),
        })
    }

    /// From now on there may be so much. Nobody loses what they have; budgets of bytes hold for allocations that there
    /// are once their engine [applies its rules](super::Engine::apply).
    pub fn apply(&self, settings: Settings) {
        self.quota.set_maxima(Maxima::of(&settings));
        self.replies
            .set_limit(settings.unauthenticated_replies_per_second);
        self.failed_logins
            .set_limit(settings.failed_logins_per_minute);
        let per_source = settings.connections_per_source;
        self.connections
            .set_limits(settings.connections, per_source);
    }

    /// Room for one more allocation of the user's, until it is dropped.
    pub(super) fn allocate(&self, now: Now, user: &UserId) -> Result<Place, Limit> {
        let place = self.quota.take(self.nanos(now), user);
        place.inspect_err(|limit| self.refuse(now, *limit))
    }

    /// Whether an unproven request from `source` that came in a datagram may be answered with an error.
    pub fn admit_reply(&self, now: Now, source: Source) -> bool {
        let admitted = self.replies.admit(self.nanos(now), source);
        if !admitted {
            self.refuse(now, Limit::UnauthenticatedReplies);
        }
        admitted
    }

    /// Whether wrong credentials from `source` may be answered.
    pub(super) fn admit_failed_login(&self, now: Now, source: Source) -> bool {
        let admitted = self.failed_logins.admit(self.nanos(now), source);
        if !admitted {
            self.refuse(now, Limit::FailedLogins);
        }
        admitted
    }

    /// Room for one more connection from `source`, until it is dropped.
    pub fn connect(&self, now: Now, source: Source) -> Option<Connected> {
        let connected = self.connections.take(source);
        connected.map_err(|limit| self.refuse(now, limit)).ok()
    }

    /// Counts what a limit refused.
    pub(super) fn refuse(&self, now: Now, limit: Limit) {
        self.refusals.count(self.nanos(now), limit);
    }

    /// Counts a peer that the policy denied.
    pub(super) fn deny(&self, now: Now, denial: Denial) {
        self.refusals.count_denial(self.nanos(now), denial);
    }

    /// What has been refused since the start.
    #[must_use]
    pub fn refused(&self) -> Refused {
        self.refusals.refused()
    }

    fn nanos(&self, now: Now) -> u64 {
        nanos_since(self.epoch, now)
    }
}

/// More than 500 years fit.
pub(crate) fn nanos_since(epoch: Instant, now: Now) -> u64 {
    let passed = now.mono.saturating_duration_since(epoch);
    u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX)
}

const SECOND_NANOS: u64 = 1_000_000_000;

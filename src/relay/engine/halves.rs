//! The relayed transport addresses of one allocation: one, or one of each family
//! ([RFC 8656 §7.2](https://www.rfc-editor.org/rfc/rfc8656#section-7.2)). Each has an expiry of its own.

use std::time::Instant;

use crate::clock::Now;
use crate::relay::engine::five_tuple::{Family, RelayKey, RelayedAddr};

/// One relayed transport address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Half {
    pub(super) relay: RelayKey,
    pub(super) relayed: RelayedAddr,
    pub(super) expires_at: Instant,
}

/// All those of an allocation, at least one.
#[derive(Debug)]
pub(super) struct Halves {
    first: Half,
    /// Of the other family. Few allocations have it.
    second: Option<Box<Half>>,
}

impl Half {
    /// Its own family, and that of all its peers.
    pub(super) fn family(&self) -> Family {
        Family::of(self.relayed.0.ip())
    }

    /// One that has expired is as good as gone, even before its deadline is handled.
    pub(super) fn lives(&self, now: Now) -> bool {
        now.mono < self.expires_at
    }
}

impl Halves {
    /// `second` is of the other family.
    pub(super) fn new(first: Half, second: Option<Half>) -> Self {
        debug_assert!(second.is_none_or(|second| second.family() != first.family()));
        Self {
            first,
            second: second.map(Box::new),
        }
    }

    /// The one that clients were told of first.
    pub(super) fn first(&self) -> &Half {
        &self.first
    }

    /// The other one.
    pub(super) fn second(&self) -> Option<&Half> {
        self.second.as_deref()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Half> {
        [&self.first].into_iter().chain(self.second())
    }

    /// The one that reaches peers of this family.
    pub(super) fn of(&self, now: Now, family: Family) -> Option<&Half> {
        if self.first.family() == family {
            return Some(&self.first).filter(|half| half.lives(now));
        }
        self.second().filter(|half| half.lives(now))
    }

    /// The one with this relay socket.
    pub(super) fn with(&self, now: Now, relay: RelayKey) -> Option<&Half> {
        if self.first.relay == relay {
            return Some(&self.first).filter(|half| half.lives(now));
        }
        self.second()
            .filter(|half| half.relay == relay && half.lives(now))
    }

    /// Whether any lives.
    pub(super) fn live(&self, now: Now) -> bool {
        self.first.lives(now) || self.second().is_some_and(|half| half.lives(now))
    }

    /// The first whose time is over.
    pub(super) fn expired(&self, now: Now) -> Option<&Half> {
        self.iter().find(|half| !half.lives(now))
    }

    /// When the next one expires.
    pub(super) fn next_expiry(&self) -> Instant {
        let second = self.second().map(|half| half.expires_at);
        second.map_or(self.first.expires_at, |at| at.min(self.first.expires_at))
    }

    /// When the last one expires.
    pub(super) fn last_expiry(&self) -> Instant {
        let second = self.second().map(|half| half.expires_at);
        second.map_or(self.first.expires_at, |at| at.max(self.first.expires_at))
    }

    /// Moves the expiry of one family, or of all.
    pub(super) fn set_expiry(&mut self, family: Option<Family>, expires_at: Instant) {
        let all = [&mut self.first]
            .into_iter()
            .chain(self.second.as_deref_mut());
        for half in all.filter(|half| family.is_none_or(|family| half.family() == family)) {
            half.expires_at = expires_at;
        }
    }

    /// Takes out the one of this family, where the other one stays.
    pub(super) fn remove(&mut self, family: Family) -> Option<Half> {
        let second = *self.second.take()?;
        if second.family() == family {
            return Some(second);
        }
        let first = std::mem::replace(&mut self.first, second);
        Some(first)
    }
}

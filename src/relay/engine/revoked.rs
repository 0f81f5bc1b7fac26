//! Users whose credentials ended before their expiry.

use std::collections::HashMap;

use crate::clock::UnixSeconds;
use crate::ident::UserId;

/// Until when the credentials of which user are refused.
#[derive(Default)]
pub(super) struct Revoked {
    until: HashMap<UserId, UnixSeconds>,
    swept_len: usize,
}

impl Revoked {
    pub(super) fn insert(&mut self, now: UnixSeconds, user: &UserId, until: UnixSeconds) {
        // Sweeping only after a doubling keeps the cost of one revocation constant.
        if self.until.len() > 2 * self.swept_len + SWEEP_SLACK {
            self.until.retain(|_, until| *until > now);
            self.swept_len = self.until.len();
        }
        let latest = self.until.entry(user.clone()).or_insert(until);
        *latest = until.max(*latest);
    }

    /// A credential without expiry is not one of those that were issued, and outlives every revocation.
    pub(super) fn includes(&self, user: &UserId, expires_at: Option<UnixSeconds>) -> bool {
        let until = self.until.get(user);
        until
            .zip(expires_at)
            .is_some_and(|(until, expires_at)| expires_at <= *until)
    }
}

const SWEEP_SLACK: usize = 64;

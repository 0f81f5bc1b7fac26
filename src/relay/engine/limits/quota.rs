//! How many allocations there are, and whose.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::bucket::Bucket;
use super::budget::{Budget, Rates, Share};
use super::refusals::Limit;
use super::{Settings, nanos_since};
use crate::clock::Now;
use crate::ident::UserId;

/// The allocations of a process, counted. Locked when one begins or ends.
#[derive(Debug)]
pub(super) struct Quota {
    epoch: Instant,
    of_all: Arc<Bucket>,
    counts: Mutex<Counts>,
}

/// How much there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Maxima {
    all: Option<u32>,
    per_user: Option<u32>,
    rates: Rates,
}

#[derive(Debug)]
struct Counts {
    maxima: Maxima,
    all: u32,
    users: HashMap<UserId, OfUser>,
    swept_len: usize,
}

/// What one user has.
#[derive(Debug, Default)]
struct OfUser {
    allocations: u32,
    /// `None` until bytes are budgeted by user.
    bytes: Option<Arc<Bucket>>,
}

/// One allocation's place in the quota and its share of the bytes, free again when it is dropped.
#[derive(Debug)]
pub(in crate::relay::engine) struct Place {
    quota: Arc<Quota>,
    user: UserId,
    budget: Budget,
}

impl Quota {
    pub(super) fn new(epoch: Instant, maxima: Maxima) -> Self {
        Self {
            epoch,
            of_all: Arc::default(),
            counts: Mutex::new(Counts {
                maxima,
                all: 0,
                users: HashMap::new(),
                swept_len: 0,
            }),
        }
    }

    /// From now on there may be so many. A [`Place`] that is taken learns of it by [`Place::renew`].
    pub(super) fn set_maxima(&self, maxima: Maxima) {
        self.counts().maxima = maxima;
    }

    pub(super) fn take(self: &Arc<Self>, now: u64, user: &UserId) -> Result<Place, Limit> {
        let mut counts = self.counts();
        counts.sweep(now);
        let maxima = counts.maxima;
        if maxima.all.is_some_and(|max| counts.all >= max) {
            return Err(Limit::Allocations);
        }
        let own = counts.users.get(user).map_or(0, |own| own.allocations);
        let max = maxima.per_user.filter(|_| is_somebody(user));
        if max.is_some_and(|max| own >= max) {
            return Err(Limit::AllocationsPerUser);
        }
        counts.all += 1;
        let own = counts.users.entry(user.clone()).or_default();
        own.allocations += 1;
        let budget = self.budget(maxima.rates, user, own);
        drop(counts);
        Ok(Place {
            quota: Arc::clone(self),
            user: user.clone(),
            budget,
        })
    }

    fn budget(&self, rates: Rates, user: &UserId, own: &mut OfUser) -> Budget {
        let share = |limit, bytes_per_second, bucket| Share {
            limit,
            bytes_per_second,
            bucket,
        };
        let per_user = rates.user.filter(|_| is_somebody(user));
        let shares = [
            rates
                .allocation
                .map(|rate| share(Limit::BytesPerAllocation, rate, Arc::default())),
            per_user.map(|rate| share(Limit::BytesPerUser, rate, own.bucket())),
            rates
                .all
                .map(|rate| share(Limit::Bytes, rate, Arc::clone(&self.of_all))),
        ];
        Budget::new(shares.into_iter().flatten())
    }

    fn give_back(&self, user: &UserId) {
        let mut counts = self.counts();
        counts.all = counts.all.saturating_sub(1);
        let is_budgeted = counts.maxima.rates.user.is_some();
        let Some(own) = counts.users.get_mut(user) else {
            return;
        };
        own.allocations = own.allocations.saturating_sub(1);
        // Whoever begins anew finds the budget as it was: it is forgotten when it would be full.
        if own.allocations == 0 && !is_budgeted {
            counts.users.remove(user);
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Maxima {
    pub(super) fn of(settings: &Settings) -> Self {
        Self {
            all: settings.allocations,
            per_user: settings.allocations_per_user,
            rates: Rates {
                all: settings.bytes_per_second,
                user: settings.bytes_per_second_per_user,
                allocation: settings.bytes_per_second_per_allocation,
            },
        }
    }
}

impl Counts {
    /// Forgets users without allocations; only after a doubling, so that the cost of one allocation stays constant.
    fn sweep(&mut self, now: u64) {
        if self.users.len() > 2 * self.swept_len + SWEEP_SLACK {
            self.users
                .retain(|_, own| own.allocations > 0 || own.has_spent(now));
            self.swept_len = self.users.len();
        }
    }
}

impl OfUser {
    fn bucket(&mut self) -> Arc<Bucket> {
        Arc::clone(self.bytes.get_or_insert_default())
    }

    /// Whether the budget is not yet what it was at first.
    fn has_spent(&self, now: u64) -> bool {
        let bytes = self.bytes.as_ref();
        bytes.is_some_and(|bytes| !bytes.is_full(now))
    }
}

impl Place {
    /// Takes these bytes from the budget, or says which limit they are beyond.
    pub(in crate::relay::engine) fn admit_bytes(
        &self,
        now: Now,
        bytes: usize,
    ) -> Result<(), Limit> {
        if self.budget.is_unlimited() {
            return Ok(());
        }
        self.budget.admit(nanos_since(self.quota.epoch, now), bytes)
    }

    /// Spends from the budgets that hold now.
    pub(in crate::relay::engine) fn renew(&mut self) {
        let mut counts = self.quota.counts();
        let rates = counts.maxima.rates;
        let own = counts.users.entry(self.user.clone()).or_default();
        self.budget = self.quota.budget(rates, &self.user, own);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.quota.give_back(&self.user);
    }
}

/// Where nobody proves who they are, everybody has one name, and what is meant for one user is for none of them.
fn is_somebody(user: &UserId) -> bool {
    match user {
        UserId::Static(_) | UserId::Participant(_) => true,
        UserId::Anyone => false,
    }
}

const SWEEP_SLACK: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_forgotten_with_the_last_allocation_and_a_budget_once_it_is_full() {
        let now = Now::read();
        for (user, kept) in [(None, 0), (Some(1000), 1)] {
            let maxima = Maxima::of(&Settings {
                allocations_per_user: Some(1),
                bytes_per_second_per_user: user,
                ..Settings::default()
            });
            let quota = Arc::new(Quota::new(now.mono, maxima));
            let place = quota.take(0, &named("alice")).unwrap();
            assert!(quota.take(0, &named("alice")).is_err());
            place.admit_bytes(now, 1000).unwrap();
            drop(place);
            assert_eq!(quota.counts().users.len(), kept);
            let again = quota.take(0, &named("alice")).unwrap();
            assert_eq!(again.admit_bytes(now, 1).is_ok(), user.is_none());
            drop(again);
            // Whoever comes a second later finds no trace of the thousands before.
            for number in 0..10_000_u32 {
                drop(quota.take(2_000_000_000, &named(&number.to_string())));
            }
            assert!(quota.counts().users.len() <= 2 * SWEEP_SLACK + 1);
            assert_eq!(quota.counts().all, 0);
        }
    }

    fn named(name: &str) -> UserId {
        UserId::Participant(name.into())
    }
}

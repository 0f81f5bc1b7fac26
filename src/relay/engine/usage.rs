//! Who relayed how much: what lives counts for itself, what has ended is added to its user's total.

use std::{
    collections::{BTreeMap, HashMap},
    ops::AddAssign,
};

use serde::{Deserialize, Serialize};

use crate::ident::UserId;
use crate::relay::engine::Engine;
use crate::relay::engine::allocation::Allocation;
use crate::relay::engine::counters::Traffic;

/// How many users' totals are kept after their allocations ended.
pub const FINISHED_USERS_MAX: usize = 10_000;

/// What one user relays, and has relayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Allocations alive.
    pub allocations: u64,
    /// Relayed from the user to peers, ended allocations included.
    pub to_peers: Traffic,
    /// Relayed from peers to the user, ended allocations included.
    pub to_clients: Traffic,
}

impl Engine {
    /// What everybody relays, and has relayed as far as it is remembered.
    #[must_use]
    pub fn usage(&self) -> HashMap<UserId, Usage> {
        let finished = self.finished.iter();
        let mut sums: HashMap<_, _> = finished
            .map(|(user, total)| (user.clone(), total))
            .collect();
        for allocation in self.allocations.iter() {
            let user = allocation.owner.user().clone();
            *sums.entry(user).or_default() += Usage::of(allocation);
        }
        sums
    }

    /// The same of these users alone; nothing of those who never relayed.
    #[must_use]
    pub fn usage_of(&self, users: &[UserId]) -> HashMap<UserId, Usage> {
        let sum = |user: &UserId| {
            let alive = self.allocations.of_user(user).map(Usage::of);
            let all = self.finished.of(user).into_iter().chain(alive);
            let sum = all.reduce(|mut sum, more| {
                sum += more;
                sum
            });
            sum.map(|sum| (user.clone(), sum))
        };
        users.iter().filter_map(sum).collect()
    }

    /// Forgets what the user's ended allocations relayed.
    pub fn forget_usage(&mut self, user: &UserId) {
        self.finished.forget(user);
    }
}

impl Usage {
    /// That of an allocation alive.
    pub(super) fn of(allocation: &Allocation) -> Self {
        Self {
            allocations: 1,
            to_peers: allocation.to_peers,
            to_clients: allocation.to_clients,
        }
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.allocations += other.allocations;
        self.to_peers += other.to_peers;
        self.to_clients += other.to_clients;
    }
}

/// What ended allocations relayed, by user; the users whose last one ended longest ago make room.
#[derive(Debug, Default)]
pub(super) struct Finished {
    totals: HashMap<UserId, (u64, Usage)>,
    by_age: BTreeMap<u64, UserId>,
    ended: u64,
}

impl Finished {
    pub(super) fn add(&mut self, user: &UserId, to_peers: Traffic, to_clients: Traffic) {
        let usage = Usage {
            allocations: 0,
            to_peers,
            to_clients,
        };
        // Those who only tried are not worth the place of those who relayed.
        if usage == Usage::default() {
            return;
        }
        self.ended += 1;
        let (age, total) = self.totals.entry(user.clone()).or_default();
        self.by_age.remove(age);
        *age = self.ended;
        *total += usage;
        self.by_age.insert(self.ended, user.clone());
        if self.by_age.len() > FINISHED_USERS_MAX
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.totals.remove(&oldest);
        }
        debug_assert_eq!(self.totals.len(), self.by_age.len());
    }

    pub(super) fn forget(&mut self, user: &UserId) {
        if let Some((age, _)) = self.totals.remove(user) {
            self.by_age.remove(&age);
        }
    }

    pub(super) fn of(&self, user: &UserId) -> Option<Usage> {
        self.totals.get(user).map(|(_, total)| *total)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&UserId, Usage)> {
        self.totals.iter().map(|(user, (_, total))| (user, *total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_totals_of_those_who_ended_longest_ago_make_room() {
        let mut finished = Finished::default();
        for number in 0..=FINISHED_USERS_MAX {
            add(&mut finished, number, 1);
            // A regular, who comes back in between.
            if number == FINISHED_USERS_MAX / 2 {
                add(&mut finished, 0, 1);
            }
        }
        assert_eq!(finished.iter().count(), FINISHED_USERS_MAX);
        assert_eq!(finished.of(&user(0)).unwrap().to_peers.packets, 2);
        assert_eq!(finished.of(&user(1)), None);
        assert!(finished.of(&user(2)).is_some());
    }

    #[test]
    fn those_who_relayed_nothing_take_no_place() {
        let mut finished = Finished::default();
        add(&mut finished, 0, 0);
        assert_eq!(finished.of(&user(0)), None);
    }

    fn add(finished: &mut Finished, number: usize, packets: u64) {
        let to_peers = Traffic { packets, bytes: 0 };
        finished.add(&user(number), to_peers, Traffic::default());
    }

    fn user(number: usize) -> UserId {
        UserId::Participant(number.to_string().into())
    }
}

//! Which allocation is on a five-tuple: an index that keeps no addresses, as the allocations have them.

use std::hash::BuildHasher;

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

use crate::relay::engine::five_tuple::FiveTuple;

/// Slots of the allocation table, by five-tuple.
#[derive(Debug, Default)]
pub(super) struct Clients {
    entries: HashTable<Entry>,
}

/// A cache line holds eight. The hash spares most looks at allocations that are others'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    hash: u32,
    slot: u32,
}

impl Clients {
    /// The slot of whom `is_theirs` says yes to.
    pub(super) fn find(
        &self,
        client: &FiveTuple,
        is_theirs: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let hash = hash(client);
        let is_it = |entry: &Entry| entry.hash == hash && is_theirs(entry.slot as usize);
        let found = self.entries.find(spread(hash), is_it)?;
        Some(found.slot as usize)
    }

    /// The caller has seen to it that the five-tuple is free.
    pub(super) fn insert(&mut self, client: &FiveTuple, slot: usize) {
        let entry = Entry::new(client, slot);
        let again = |entry: &Entry| spread(entry.hash);
        self.entries.insert_unique(spread(entry.hash), entry, again);
    }

    /// An allocation may be there twice, on two five-tuples; with the same hash, one entry is as good as the other.
    pub(super) fn remove(&mut self, client: &FiveTuple, slot: usize) {
        let entry = Entry::new(client, slot);
        let found = self
            .entries
            .find_entry(spread(entry.hash), |other| *other == entry);
        if let Ok(found) = found {
            found.remove();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

impl Entry {
    /// No machine has room for 2^32 allocations.
    fn new(client: &FiveTuple, slot: usize) -> Self {
        Self {
            hash: hash(client),
            slot: slot as u32,
        }
    }
}

/// The highest bits of a product depend on all of its factors.
fn hash(client: &FiveTuple) -> u32 {
    (FxBuildHasher.hash_one(client).wrapping_mul(SPREAD) >> 32) as u32
}

/// The table wants 64 bits: the low ones for the place, the highest to tell neighbours apart.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(SPREAD)
}

/// 2^64 divided by the golden ratio.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::engine::five_tuple::Transport;

    #[test]
    fn five_tuples_lead_to_their_slots_and_removed_ones_nowhere() {
        let mut clients = Clients::default();
        for slot in 0..SLOTS {
            clients.insert(&client(slot), slot);
        }
        for slot in (0..SLOTS).step_by(2) {
            clients.remove(&client(slot), slot);
        }
        assert_eq!(clients.len(), SLOTS / 2);
        for slot in 0..SLOTS {
            let found = clients.find(&client(slot), |found| found == slot);
            assert_eq!(found.is_some(), slot % 2 == 1, "{slot}");
        }
    }

    #[test]
    fn similar_five_tuples_are_spread() {
        let mut hashes: Vec<_> = (0..SLOTS).map(|slot| hash(&client(slot))).collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert!(hashes.len() > SLOTS - 5, "{}", hashes.len());
        let mut places: Vec<_> = hashes.iter().map(|hash| spread(*hash) % 16_384).collect();
        places.sort_unstable();
        places.dedup();
        // As many as chance leaves of 10,000: about 7,490.
        assert!(places.len() > 7_000, "{}", places.len());
    }

    const SLOTS: usize = 10_000;

    /// By turns another address, port, transport.
    fn client(slot: usize) -> FiveTuple {
        let (host, port) = (slot / 200, 5000 + slot % 100);
        let transport = match slot % 200 < 100 {
            true => Transport::Udp,
            false => Transport::Tcp,
        };
        FiveTuple {
            transport,
            client: format!("192.0.2.{host}:{port}").parse().unwrap(),
            server: "198.51.100.1:3478".parse().unwrap(),
        }
    }
}

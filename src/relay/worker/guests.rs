//! Clients over UDP and DTLS whose allocation is on another worker than their datagrams come to: they have moved
//! ([RFC 8016](https://www.rfc-editor.org/rfc/rfc8016)), and the kernel spreads datagrams by address.

use std::{
    collections::HashMap,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustc_hash::FxBuildHasher;

use crate::relay::engine::five_tuple::FiveTuple;

/// Which worker has the allocation of which moved client: for all workers of a process. As long as nobody has moved,
/// a datagram costs no more than a look at their number.
#[derive(Debug, Default)]
pub(crate) struct Guests {
    count: AtomicUsize,
    hosts: RwLock<HashMap<FiveTuple, u32, FxBuildHasher>>,
}

/// A datagram on its way to the worker that it is for.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(super) client: FiveTuple,
    pub(super) traffic_class: u8,
    pub(super) datagram: Vec<u8>,
}

impl Guests {
    /// The worker that this client's datagrams are for, if it has moved.
    pub(super) fn host_of(&self, client: &FiveTuple) -> Option<u32> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        hosts.get(client).copied()
    }

    /// This client's datagrams are for that worker from now on.
    pub(super) fn welcome(&self, client: FiveTuple, host: u32) {
        self.change(|hosts| {
            hosts.insert(client, host);
        });
    }

    /// The worker keeps those guests whom it still knows.
    pub(super) fn keep(&self, host: u32, knows: impl Fn(&FiveTuple) -> bool) {
        if self.count.load(Ordering::Acquire) > 0 {
            self.change(|hosts| hosts.retain(|client, at| *at != host || knows(client)));
        }
    }

    fn change(&self, change: impl FnOnce(&mut HashMap<FiveTuple, u32, FxBuildHasher>)) {
        let mut hosts = self.hosts.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut hosts);
        self.count.store(hosts.len(), Ordering::Release);
    }
}

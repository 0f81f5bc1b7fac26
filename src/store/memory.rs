//! Sessions in this process's memory.

use std::{
    collections::HashMap,
    hash::BuildHasher,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::ident::SessionId;
use crate::signaling::session::Session;

use super::Counts;

/// Sessions spread over shards, so that busy sessions seldom wait for each other.
#[derive(Debug)]
pub struct Memory {
    shards: Box<[Mutex<HashMap<SessionId, Session>>]>,
    hasher: std::hash::RandomState,
}

impl Memory {
    /// See [`Store::update`](super::Store::update). A session that nobody is in any more is forgotten.
    pub(super) fn update<C, R>(
        &self,
        id: &SessionId,
        mut change: impl FnMut(&mut Session) -> C,
        commit: impl FnOnce(C) -> R,
    ) -> R {
        let mut sessions = self.shard(id);
        let session = sessions.entry(id.clone()).or_default();
        let changed = change(session);
        if session.is_empty() {
            sessions.remove(id);
        }
        // The lock is still held: this is what keeps the news of a session in one order.
        commit(changed)
    }

    /// See [`Store::view`](super::Store::view).
    pub(super) fn view<R>(&self, id: &SessionId, look: impl FnOnce(&Session) -> R) -> R {
        match self.shard(id).get(id) {
            Some(session) => look(session),
            None => look(&Session::default()),
        }
    }

    /// See [`Store::counts`](super::Store::counts).
    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for shard in &self.shards {
            for session in lock(shard).values() {
                counts.sessions += usize::from(session.participants() > 0);
                counts.participants += session.participants();
            }
        }
        counts
    }

    fn shard(&self, id: &SessionId) -> MutexGuard<'_, HashMap<SessionId, Session>> {
        let hash = self.hasher.hash_one(id);
        let at = hash % self.shards.len() as u64;
        lock(&self.shards[usize::try_from(at).unwrap_or_default()])
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: std::hash::RandomState::new(),
        }
    }
}

const SHARDS: usize = 64;

fn lock(shard: &Mutex<HashMap<SessionId, Session>>) -> MutexGuard<'_, HashMap<SessionId, Session>> {
    // A session's functions leave it whole even if one of them panicked half-way through the news.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

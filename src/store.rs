//! Where sessions live. A session changes only inside [`Store::update`].

mod memory;
pub mod redis;

use crate::ident::SessionId;
use crate::logging::Redacted;
use crate::signaling::session::Session;

use memory::Memory;

/// What the operator decides about the store.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The Redis that keeps the sessions, as typed: it may hold a password. Without one, this process keeps them.
    pub redis_url: Option<Redacted<String>>,
}

/// Keeps the sessions.
#[derive(Debug)]
pub enum Store {
    /// In this process, for as long as it lives.
    Memory(Memory),
}

/// How much is going on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sessions with at least one participant.
    pub sessions: usize,
    /// Pairs of a session and a participant.
    pub participants: usize,
}

impl Store {
    /// An empty store in this process.
    #[must_use]
    pub fn memory() -> Self {
        Self::Memory(Memory::default())
    }

    /// Applies `change` to the session, which is empty if nobody knew it, and then calls `commit` with what it
    /// returned: once, and for the changes of one session in the order in which they took hold. `commit` must not
    /// wait. `change` may run more than once.
    pub async fn update<C, R>(
        &self,
        id: &SessionId,
        change: impl FnMut(&mut Session) -> C,
        commit: impl FnOnce(C) -> R,
    ) -> R {
        match self {
            Self::Memory(memory) => memory.update(id, change, commit),
        }
    }

    /// Looks at a session while it keeps still: what `look` sends cannot overtake, nor be overtaken by, the news of
    /// a change. `look` must not wait.
    pub async fn view<R>(&self, id: &SessionId, look: impl FnOnce(&Session) -> R) -> R {
        match self {
            Self::Memory(memory) => memory.view(id, look),
        }
    }

    /// Counts everything.
    pub async fn counts(&self) -> Counts {
        match self {
            Self::Memory(memory) => memory.counts(),
        }
    }
}

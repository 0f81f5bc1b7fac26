//! Whose USERHASH it is ([RFC 8489 §9.2](https://www.rfc-editor.org/rfc/rfc8489#section-9.2)): a hash can't be undone,
//! only recognised.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::credentials::key::UserHash;

/// The user names that a USERHASH may stand for, beside those of static users: what this process issued last.
///
/// Names that another node or program made are unknown here, though their passwords would be right: such a client must
/// send its USERNAME.
#[derive(Debug, Default)]
pub(super) struct Names {
    issued: Mutex<Issued>,
}

#[derive(Debug, Default)]
struct Issued {
    names: HashMap<UserHash, Arc<str>>,
    oldest_first: VecDeque<UserHash>,
}

impl Names {
    pub(super) fn remember(&self, hash: UserHash, username: &str) {
        let mut issued = self.issued();
        if issued.names.insert(hash, Arc::from(username)).is_some() {
            return;
        }
        issued.oldest_first.push_back(hash);
        if issued.oldest_first.len() > ISSUED_MAX
            && let Some(oldest) = issued.oldest_first.pop_front()
        {
            issued.names.remove(&oldest);
        }
    }

    pub(super) fn by_hash(&self, hash: &UserHash) -> Option<Arc<str>> {
        self.issued().names.get(hash).cloned()
    }

    fn issued(&self) -> MutexGuard<'_, Issued> {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many issued names are remembered: about two megabytes.
const ISSUED_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::user_hash;

    #[test]
    fn r37_the_names_issued_last_are_known_by_their_hash() {
        let of = |number: usize| {
            let name = format!("{number}:alice");
            (user_hash(&name, "example.org"), name)
        };
        let names = Names::default();
        for number in 0..=ISSUED_MAX {
            let (hash, name) = of(number);
            names.remember(hash, &name);
            names.remember(hash, &name);
        }
        assert_eq!(names.by_hash(&of(0).0), None);
        for number in [1, ISSUED_MAX] {
            let (hash, name) = of(number);
            assert_eq!(names.by_hash(&hash).as_deref(), Some(name.as_str()));
        }
    }
}

//! Which sockets of datagrams have something to read.

use std::collections::VecDeque;

use crate::relay::engine::five_tuple::RelayKey;

/// What is served next. A socket among them may have closed since, and its number have passed on.
#[derive(Debug, Default)]
pub(in crate::relay::worker) struct Ready {
    /// Clients' sockets, by their numbers: a handful.
    pub(in crate::relay::worker) clients: VecDeque<usize>,
    pub(in crate::relay::worker) relays: ReadyRelays,
}

/// Relay sockets, first come, first served, and each once however often it is told: thousands, where many speak at once.
#[derive(Debug, Default)]
pub(in crate::relay::worker) struct ReadyRelays {
    order: VecDeque<RelayKey>,
    /// By their numbers, whether they have errors; `None` for those that do not wait.
    have_errors: Vec<Option<bool>>,
}

/// A relay socket with something to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::relay::worker) struct Waiting {
    pub(in crate::relay::worker) key: RelayKey,
    /// In its error queue, too.
    pub(in crate::relay::worker) has_errors: bool,
}

impl Ready {
    pub(super) fn is_empty(&self) -> bool {
        self.clients.is_empty() && self.relays.is_empty()
    }

    pub(super) fn add_clients(&mut self, number: usize) {
        if !self.clients.contains(&number) {
            self.clients.push_back(number);
        }
    }
}

impl ReadyRelays {
    pub(in crate::relay::worker) fn len(&self) -> usize {
        self.order.len()
    }

    pub(in crate::relay::worker) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Lets one wait behind the others; where it waits already, for its errors too.
    pub(in crate::relay::worker) fn push(&mut self, waiting: Waiting) {
        let Waiting { key, has_errors } = waiting;
        let number = key.0 as usize;
        if self.have_errors.len() <= number {
            self.have_errors.resize(number + 1, None);
        }
        match &mut self.have_errors[number] {
            Some(known) => *known |= has_errors,
            none => {
                *none = Some(has_errors);
                self.order.push_back(key);
            }
        }
    }

    pub(in crate::relay::worker) fn pop(&mut self) -> Option<Waiting> {
        let key = self.order.pop_front()?;
        let has_errors = self.have_errors.get_mut(key.0 as usize)?.take()?;
        Some(Waiting { key, has_errors })
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn first_come_first_served_and_nobody_twice() {
        let mut ready = ReadyRelays::default();
        for number in [7, 2, 7, 9, 2] {
            ready.push(waiting(number, false));
        }
        assert_eq!(ready.len(), 3);
        assert_eq!(ready.pop(), Some(waiting(7, false)));
        ready.push(waiting(7, false));
        let rest: Vec<_> = iter::from_fn(|| ready.pop()).collect();
        assert_eq!(rest, [2, 9, 7].map(|number| waiting(number, false)));
        assert!(ready.is_empty());
    }

    #[test]
    fn errors_are_not_forgotten_nor_left_to_who_has_the_number_next() {
        let mut ready = ReadyRelays::default();
        for has_errors in [false, true, false] {
            ready.push(waiting(3, has_errors));
        }
        assert_eq!(ready.pop(), Some(waiting(3, true)));
        ready.push(waiting(3, false));
        assert_eq!(ready.pop(), Some(waiting(3, false)));
    }

    #[test]
    fn a_clients_socket_waits_once() {
        let mut ready = Ready::default();
        assert!(ready.is_empty());
        for number in [1, 0, 1] {
            ready.add_clients(number);
        }
        assert_eq!(ready.clients, [1, 0]);
        assert!(!ready.is_empty());
    }

    proptest! {
        /// As a list that is looked through each time.
        #[test]
        fn whatever_is_told_waits_as_in_a_plain_list(
            steps in prop::collection::vec(prop::option::of((0_u32..6, any::<bool>())), 0..64),
        ) {
            let mut ready = ReadyRelays::default();
            let mut list: Vec<Waiting> = Vec::new();
            for step in steps {
                let Some((number, has_errors)) = step else {
                    let first = (!list.is_empty()).then(|| list.remove(0));
                    prop_assert_eq!(ready.pop(), first);
                    continue;
                };
                let new = waiting(number, has_errors);
                ready.push(new);
                match list.iter_mut().find(|known| known.key == new.key) {
                    Some(known) => known.has_errors |= has_errors,
                    None => list.push(new),
                }
                prop_assert_eq!(ready.len(), list.len());
            }
        }
    }

    fn waiting(number: u32, has_errors: bool) -> Waiting {
        Waiting {
            key: RelayKey(number),
            has_errors,
        }
    }
}

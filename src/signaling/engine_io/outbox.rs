//! What waits to be sent to one client, and how much that may be.

use std::{collections::VecDeque, sync::Arc};

/// More would wait than may.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::signaling) struct Full;

/// Messages on their way to one client, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    messages: VecDeque<Arc<str>>,
    /// What they weigh.
    bytes: usize,
    /// Taken out by the transport, and not sent yet.
    under_way_bytes: usize,
}

impl Outbox {
    /// An empty outbox takes any message, one that is not only what leaves no more than `bytes_max` waiting.
    pub(super) fn put(&mut self, message: &Arc<str>, bytes_max: usize) -> Result<(), Full> {
        let waiting = self.bytes + self.under_way_bytes;
        let bytes = weight(message);
        if waiting > 0 && waiting.saturating_add(bytes) > bytes_max {
            return Err(Full);
        }
        self.bytes += bytes;
        self.messages.push_back(Arc::clone(message));
        Ok(())
    }

    pub(super) fn take(&mut self) -> Option<Arc<str>> {
        let message = self.messages.pop_front()?;
        self.bytes -= weight(&message);
        if self.messages.is_empty() {
            // Idle clients keep no room for messages.
            self.messages = VecDeque::new();
        }
        Some(message)
    }

    /// So much of what was taken has not been sent.
    pub(super) fn set_under_way(&mut self, bytes: usize) {
        self.under_way_bytes = bytes;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
}

/// With what it takes to keep it.
fn weight(message: &str) -> usize {
    message.len() + OVERHEAD_BYTES
}

const OVERHEAD_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_empty_outbox_takes_any_message() {
        let mut outbox = Outbox::default();
        let (large, small): (Arc<str>, Arc<str>) = ("x".repeat(1000).into(), "x".into());
        assert_eq!(outbox.put(&large, 10), Ok(()));
        assert_eq!(outbox.put(&small, 1000), Err(Full));
        assert_eq!(outbox.take(), Some(large.clone()));
        outbox.set_under_way(1000);
        assert_eq!(outbox.put(&small, 1000), Err(Full), "it has not been sent");
        outbox.set_under_way(0);
        assert_eq!(outbox.put(&large, 10), Ok(()));
    }

    proptest! {
        #[test]
        fn what_it_takes_comes_out_in_order_and_is_counted(
            steps in prop::collection::vec(prop::option::weighted(0.7, 0_usize..100), 0..200),
        ) {
            let mut outbox = Outbox::default();
            let mut waiting = VecDeque::new();
            for (number, step) in steps.into_iter().enumerate() {
                let Some(bytes) = step else {
                    prop_assert_eq!(outbox.take(), waiting.pop_front());
                    continue;
                };
                let message: Arc<str> = format!("{number}{}", "x".repeat(bytes)).into();
                if outbox.put(&message, 500).is_ok() {
                    waiting.push_back(message);
                }
                let weights = waiting.iter().map(|message: &Arc<str>| weight(message));
                prop_assert_eq!(outbox.bytes, weights.sum::<usize>());
                prop_assert!(outbox.bytes <= 500 || waiting.len() == 1);
            }
            prop_assert_eq!(outbox.is_empty(), waiting.is_empty());
        }
    }
}

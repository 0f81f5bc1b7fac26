//! What waits for the worker between two inputs, in order; answers lie in buffers that are used again.

use std::{collections::VecDeque, mem};

use crate::relay::engine::five_tuple::FiveTuple;
use crate::relay::engine::outcome::Effect;

/// A queue of effects.
#[derive(Debug, Default)]
pub(super) struct Effects {
    waiting: VecDeque<Effect<'static>>,
    /// The messages of those that wait to be sent.
    answers: VecDeque<Vec<u8>>,
    /// The last one that was handed out, and then the next one's buffer.
    last: Vec<u8>,
}

impl Effects {
    /// Anything but an answer.
    pub(super) fn push(&mut self, effect: Effect<'static>) {
        self.waiting.push_back(effect);
    }

    /// An answer, best written into a [`buffer`](Self::buffer) from here.
    pub(super) fn respond(&mut self, client: FiveTuple, message: Vec<u8>) {
        self.answers.push_back(message);
        let message = &[];
        self.waiting.push_back(Effect::Respond { client, message });
    }

    /// For an answer to be written into; whatever is in it is nobody's.
    pub(super) fn buffer(&mut self) -> Vec<u8> {
        mem::take(&mut self.last)
    }

    pub(super) fn poll(&mut self) -> Option<Effect<'_>> {
        let effect = self.waiting.pop_front()?;
        let Effect::Respond { client, .. } = effect else {
            return Some(effect);
        };
        self.last = self.answers.pop_front()?;
        let message = &self.last;
        Some(Effect::Respond { client, message })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

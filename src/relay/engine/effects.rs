//! What waits for the worker between two inputs, in order; answers lie in buffers that are used again.

use std::{collections::VecDeque, mem};

use crate::relay::engine::five_tuple::FiveTuple;
use crate::relay::engine::outcome::Effect;

/// A queue of effects.
#[derive(Debug, Default)]
pub(super) struct Effects {
    waiting: VecDeque<Waiting>,
    /// The answer that was handed out last, and then the next one's buffer.
    last: Vec<u8>,
}

#[derive(Debug)]
enum Waiting {
    Answer(FiveTuple, Vec<u8>),
    Other(Effect<'static>),
}

impl Effects {
    /// Anything but an answer.
    pub(super) fn push(&mut self, effect: Effect<'static>) {
        self.waiting.push_back(Waiting::Other(effect));
    }

    /// An answer, best written into a [`buffer`](Self::buffer) from here.
    pub(super) fn respond(&mut self, client: FiveTuple, message: Vec<u8>) {
        self.waiting.push_back(Waiting::Answer(client, message));
    }

    /// For an answer to be written into; whatever is in it is nobody's.
    pub(super) fn buffer(&mut self) -> Vec<u8> {
        mem::take(&mut self.last)
    }

    pub(super) fn poll(&mut self) -> Option<Effect<'_>> {
        Some(match self.waiting.pop_front()? {
            Waiting::Answer(client, message) => {
                self.last = message;
                let message = &self.last;
                Effect::Respond { client, message }
            }
            Waiting::Other(effect) => effect,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

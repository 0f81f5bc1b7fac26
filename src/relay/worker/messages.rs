//! Messages end to end in one buffer.

/// Whole messages, in their order.
#[derive(Debug, Default)]
pub(super) struct Messages {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Messages {
    /// `parts` are one message.
    pub(super) fn push(&mut self, parts: &[&[u8]]) {
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self.ends.push(self.bytes.len());
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> + Clone {
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        let bounds = starts.zip(&self.ends);
        bounds.map(|(start, end)| &self.bytes[start..*end])
    }

    /// The only one.
    pub(super) fn only(&self) -> Option<&[u8]> {
        (self.ends.len() == 1).then_some(&self.bytes)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(IDLE_BYTES_MAX);
        self.ends.clear();
        self.ends.shrink_to(IDLE_MESSAGES_MAX);
    }
}

/// A buffer grown beyond this is given back once it is empty.
const IDLE_BYTES_MAX: usize = 16 * 1024;
const IDLE_MESSAGES_MAX: usize = 256;

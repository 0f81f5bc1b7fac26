//! What waits to be written to a TCP or TLS client: ordered, bounded, written many messages at once.

use std::cell::{Cell, RefCell};

use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::Notify,
};

/// One connection's outbound bytes.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: RefCell<Vec<u8>>,
    changed: Notify,
    closed: Cell<bool>,
    overrun: Cell<bool>,
}

impl Outbox {
    /// Relayed data: dropped when the client reads too slowly, as a network would. Says whether it was taken.
    pub(super) fn push_data(&self, bytes: &[u8]) -> bool {
        self.push(bytes, DATA_BYTES_MAX)
    }

    /// An answer: a client that doesn't even read its answers is given up.
    pub(super) fn push_answer(&self, bytes: &[u8]) -> bool {
        let taken = self.push(bytes, DATA_BYTES_MAX + ANSWER_BYTES_MAX);
        self.overrun.set(self.overrun.get() || !taken);
        taken
    }

    /// Whether an answer found no room.
    pub(super) fn is_overrun(&self) -> bool {
        self.overrun.get()
    }

    /// Nothing more will be pushed: `write_to` ends once it has written what waits.
    pub(super) fn close(&self) {
        self.closed.set(true);
        self.changed.notify_one();
    }

    /// Writes until closed or the connection fails, and then shuts the connection's writing side.
    pub(super) async fn write_to(&self, mut writer: impl AsyncWrite + Unpin) {
        let mut writing = Vec::new();
        while self.swap_waiting(&mut writing).await {
            let written = writer.write_all(&writing).await;
            if written.is_err() || writer.flush().await.is_err() {
                return;
            }
            writing.clear();
            writing.shrink_to(IDLE_BYTES_MAX);
        }
        // Nobody is left to tell when this fails.
        let _ = writer.shutdown().await;
    }

    /// Waits for bytes and takes them all; `false` when there will be none.
    async fn swap_waiting(&self, empty: &mut Vec<u8>) -> bool {
        loop {
            std::mem::swap(empty, &mut *self.waiting.borrow_mut());
            if !empty.is_empty() {
                return true;
            }
            if self.closed.get() {
                return false;
            }
            self.changed.notified().await;
        }
    }

    fn push(&self, bytes: &[u8], bytes_max: usize) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() + bytes.len() > bytes_max {
            return false;
        }
        waiting.extend_from_slice(bytes);
        self.changed.notify_one();
        true
    }
}

/// About a second of video: what is older is worthless to the client.
const DATA_BYTES_MAX: usize = 256 * 1024;
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A buffer grown beyond this is given back once it is empty.
const IDLE_BYTES_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_pushed_is_written_in_order_before_the_end() {
        let (outbox, mut written) = (Outbox::default(), Vec::new());
        assert!(outbox.push_answer(b"one "));
        assert!(outbox.push_data(b"two"));
        outbox.close();
        outbox.write_to(&mut written).await;
        assert_eq!(written, b"one two");
    }

    #[test]
    fn a_slow_reader_loses_data_first_and_then_the_connection() {
        let outbox = Outbox::default();
        while outbox.push_data(&[0; 1200]) {}
        assert!(!outbox.is_overrun());
        assert!(outbox.push_answer(&[0; 100]));
        while outbox.push_answer(&[0; 100]) {}
        assert!(outbox.is_overrun());
        assert!(outbox.waiting.borrow().len() <= DATA_BYTES_MAX + ANSWER_BYTES_MAX);
    }
}

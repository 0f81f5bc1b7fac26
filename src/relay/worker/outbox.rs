//! What waits to be written to a TCP or TLS client: ordered, bounded, written many messages at once.

use std::{
    cell::{Cell, RefCell},
    mem,
};

use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::Notify,
};

use crate::relay::wire::frame::Frame;

/// One connection's outbound messages.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: RefCell<Messages>,
    changed: Notify,
    closed: Cell<bool>,
    overrun: Cell<bool>,
}

impl Outbox {
    /// Relayed data: dropped when the client reads too slowly, as a network would. Says whether it was taken.
    pub(super) fn push_data(&self, frame: &Frame<'_>) -> bool {
        self.push(&frame.parts(), DATA_BYTES_MAX)
    }

    /// An answer: a client that doesn't even read its answers is given up.
    pub(super) fn push_answer(&self, bytes: &[u8]) -> bool {
        let taken = self.push(&[bytes], DATA_BYTES_MAX + ANSWER_BYTES_MAX);
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

    /// Writes until closed or the connection fails; says whether all was written.
    ///
    /// Each message is a write of its own, hence over TLS a record of its own: coturn's client takes a record for a
    /// message. `writer` buffers, so that it is one system call all the same.
    pub(super) async fn write_to(&self, mut writer: impl AsyncWrite + Unpin) -> bool {
        let mut writing = Messages::default();
        while self.swap_waiting(&mut writing).await {
            for message in writing.iter() {
                if writer.write_all(message).await.is_err() {
                    return false;
                }
            }
            if writer.flush().await.is_err() {
                return false;
            }
            writing.clear();
        }
        true
    }

    /// Waits for messages and takes them all; `false` when there will be none.
    async fn swap_waiting(&self, empty: &mut Messages) -> bool {
        loop {
            mem::swap(empty, &mut *self.waiting.borrow_mut());
            if !empty.ends.is_empty() {
                return true;
            }
            if self.closed.get() {
                return false;
            }
            self.changed.notified().await;
        }
    }

    fn push(&self, parts: &[&[u8]], bytes_max: usize) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        if waiting.bytes.len() + bytes > bytes_max {
            return false;
        }
        waiting.push(parts);
        self.changed.notify_one();
        true
    }
}

/// Messages end to end in one buffer.
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

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(IDLE_BYTES_MAX);
        self.ends.clear();
        self.ends.shrink_to(IDLE_MESSAGES_MAX);
    }
}

/// About a second of video: what is older is worthless to the client.
const DATA_BYTES_MAX: usize = 256 * 1024;
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A buffer grown beyond this is given back once it is empty.
const IDLE_BYTES_MAX: usize = 16 * 1024;
const IDLE_MESSAGES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use std::{
        io,
        pin::Pin,
        task::{Context, Poll},
    };

    use super::*;
    use crate::relay::wire::channel_data::{ChannelNumber, ChannelRange};

    #[tokio::test]
    async fn what_was_pushed_is_written_in_order_before_the_end() {
        let (outbox, mut written) = (Outbox::default(), Vec::new());
        assert!(outbox.push_answer(b"one "));
        assert!(outbox.push_data(&frame(b"two")));
        outbox.close();
        assert!(outbox.write_to(&mut written).await);
        assert_eq!(written, b"one \x40\0\0\x03two\0");
    }

    #[tokio::test]
    async fn each_message_is_a_write_of_its_own() {
        let (outbox, mut writer) = (Outbox::default(), Writes::default());
        for message in [&b"one"[..], b"two", b"three"] {
            assert!(outbox.push_answer(message));
        }
        outbox.close();
        assert!(outbox.write_to(&mut writer).await);
        assert_eq!(writer.0, [&b"one"[..], b"two", b"three"]);
    }

    #[test]
    fn a_slow_reader_loses_data_first_and_then_the_connection() {
        let outbox = Outbox::default();
        while outbox.push_data(&frame(&[0; 1200])) {}
        assert!(!outbox.is_overrun());
        assert!(outbox.push_answer(&[0; 100]));
        while outbox.push_answer(&[0; 100]) {}
        assert!(outbox.is_overrun());
        assert!(outbox.waiting.borrow().bytes.len() <= DATA_BYTES_MAX + ANSWER_BYTES_MAX);
    }

    fn frame(payload: &[u8]) -> Frame<'_> {
        let number = ChannelNumber::new(0x4000, ChannelRange::Rfc8656).unwrap();
        Frame::channel_data(number, payload, true).unwrap()
    }

    #[derive(Default)]
    struct Writes(Vec<Vec<u8>>);

    impl AsyncWrite for Writes {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.0.push(bytes.to_vec());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }
}

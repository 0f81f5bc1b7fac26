//! A byte stream, cut as its first byte says: the messages must not depend on where.

#![no_main]

use libfuzzer_sys::fuzz_target;
use setu::relay::wire::stream::{Inbound, Unframed};

fuzz_target!(|bytes: &[u8]| {
    let Some((size, bytes)) = bytes.split_first() else {
        return;
    };
    let whole = cut(bytes, bytes.len().max(1));
    let pieces = cut(bytes, usize::from(*size).max(1));
    assert_eq!(whole, pieces);
    let (messages, _) = whole;
    let total: usize = messages.iter().map(Vec::len).sum();
    assert!(total <= bytes.len());
});

fn cut(bytes: &[u8], size: usize) -> (Vec<Vec<u8>>, Result<(), Unframed>) {
    let (mut inbound, mut messages) = (Inbound::default(), Vec::new());
    let mut buffer = Vec::new();
    for piece in bytes.chunks(size) {
        inbound.go_on_in(buffer);
        inbound.room(piece.len()).extend_from_slice(piece);
        loop {
            match inbound.next_message() {
                Ok(Some(message)) => messages.push(message.to_vec()),
                Ok(None) => break,
                Err(unframed) => return (messages, Err(unframed)),
            }
        }
        buffer = inbound.give_back();
    }
    (messages, Ok(()))
}

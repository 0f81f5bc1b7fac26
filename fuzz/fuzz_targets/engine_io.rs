//! What a signaling client writes: WebSocket frames, and the packets in a polled body.

#![no_main]
#![expect(dead_code, reason = "only what reads a client is called")]

#[path = "../../src/signaling/engine_io/frame.rs"]
mod frame;
#[path = "../../src/signaling/engine_io/payload.rs"]
mod payload;

use libfuzzer_sys::fuzz_target;

use frame::{Assembler, Message};

const MESSAGE_BYTES_MAX: usize = 1000;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(body) = str::from_utf8(bytes) {
        let packets = payload::packets(body).count();
        assert_eq!(packets, 1 + body.matches('\x1e').count());
    }
    let mut bytes = bytes.to_vec();
    let mut assembler = Assembler::new(MESSAGE_BYTES_MAX);
    let mut at = 0;
    while let Ok((taken @ 1.., message)) = assembler.take(&mut bytes[at..]) {
        let size = match message {
            Some(Message::Text(text)) => text.len(),
            Some(Message::Binary(bytes)) => bytes.len(),
            Some(Message::Ping(bytes)) => bytes.len(),
            Some(Message::Pong | Message::Close(_)) | None => 0,
        };
        assert!(size <= MESSAGE_BYTES_MAX);
        at += taken;
    }
});

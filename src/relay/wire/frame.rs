//! A payload with room around it, wrapped for the client where it lies.

/// Room a [`Frame`] keeps in front of its payload: STUN header 20, XOR-PEER-ADDRESS over IPv6 24, DATA header 4.
pub const HEADROOM_BYTES: usize = 48;

/// Room a [`Frame`] keeps behind its payload: padding to a multiple of 4.
pub const TAILROOM_BYTES: usize = 3;

/// A datagram from a peer, inside a buffer with at least [`HEADROOM_BYTES`] before and [`TAILROOM_BYTES`] after it.
#[derive(Debug)]
pub struct Frame<'b> {
    buffer: &'b mut [u8],
    payload_bytes: usize,
}

impl<'b> Frame<'b> {
    /// The payload lies at `buffer[HEADROOM_BYTES..][..payload_bytes]`; `None` when the buffer lacks room around it.
    pub fn new(buffer: &'b mut [u8], payload_bytes: usize) -> Option<Self> {
        let needed = HEADROOM_BYTES + payload_bytes + TAILROOM_BYTES;
        (buffer.len() >= needed).then_some(Self {
            buffer,
            payload_bytes,
        })
    }

    /// What the peer sent.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.buffer[HEADROOM_BYTES..][..self.payload_bytes]
    }
}

//! What a datagram is, by its first byte ([RFC 8656 §12](https://www.rfc-editor.org/rfc/rfc8656#section-12), table 3).

/// The protocols that share a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// 0 to 3.
    Stun,
    /// 64 to 79, and up to 127 for clients that follow RFC 5766: the channel range decides.
    ChannelData,
    /// Anything else, and the empty datagram.
    Unknown,
}

/// Looks at the first byte only.
#[must_use]
pub fn classify(datagram: &[u8]) -> Protocol {
    match datagram {
        [0..=3, ..] => Protocol::Stun,
        [0x40..=0x7F, ..] => Protocol::ChannelData,
        _ => Protocol::Unknown,
    }
}

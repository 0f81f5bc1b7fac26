//! RFC 8489 and RFC 8656 bytes: borrowed, stateless.

pub mod channel_data;
pub mod frame;
pub mod stream;

//! RFC 8489 and RFC 8656 bytes: borrowed, stateless.

pub mod address;
pub mod channel_data;
pub mod demux;
pub mod frame;
pub mod message;
pub mod request;
pub mod response;
pub mod send;
pub mod stream;

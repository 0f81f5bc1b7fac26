//! RFC 8489, RFC 8656 and RFC 6062 bytes: borrowed, stateless.

pub mod address;
pub mod attributes;
pub mod channel_data;
pub mod classic;
pub mod connection;
pub mod datagram;
pub mod demux;
pub mod dtls_hello;
pub mod dtls_record;
pub mod frame;
pub mod ice;
pub mod icmp;
pub mod integrity;
pub mod message;
pub mod mobility;
pub mod request;
pub mod response;
pub mod send;
pub mod stream;
pub mod writer;

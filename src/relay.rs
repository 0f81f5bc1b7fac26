//! The STUN/TURN relay ([RFC 8656](https://www.rfc-editor.org/rfc/rfc8656)): its front door.

pub mod engine;
pub mod wire;

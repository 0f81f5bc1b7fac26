//! Attribute types that the `stun` crate has no name for.

use stun::attributes::AttrType;

/// [RFC 8656 §18.11](https://www.rfc-editor.org/rfc/rfc8656#section-18.11).
pub const ATTR_ADDITIONAL_ADDRESS_FAMILY: AttrType = AttrType(0x8000);

/// [RFC 8656 §18.12](https://www.rfc-editor.org/rfc/rfc8656#section-18.12).
pub const ATTR_ADDRESS_ERROR_CODE: AttrType = AttrType(0x8001);

/// [RFC 8656 §18.13](https://www.rfc-editor.org/rfc/rfc8656#section-18.13).
pub const ATTR_ICMP: AttrType = AttrType(0x8004);

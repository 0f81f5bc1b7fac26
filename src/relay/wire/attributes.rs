//! Attribute types that the `stun` crate has no name for.

use stun::attributes::AttrType;

/// [RFC 7635 §6.2](https://www.rfc-editor.org/rfc/rfc7635#section-6.2).
pub const ATTR_ACCESS_TOKEN: AttrType = AttrType(0x001B);

/// [RFC 7635 §6.1](https://www.rfc-editor.org/rfc/rfc7635#section-6.1).
pub const ATTR_THIRD_PARTY_AUTHORIZATION: AttrType = AttrType(0x802E);

/// [RFC 8656 §18.11](https://www.rfc-editor.org/rfc/rfc8656#section-18.11).
pub const ATTR_ADDITIONAL_ADDRESS_FAMILY: AttrType = AttrType(0x8000);

/// [RFC 8656 §18.12](https://www.rfc-editor.org/rfc/rfc8656#section-18.12).
pub const ATTR_ADDRESS_ERROR_CODE: AttrType = AttrType(0x8001);

/// [RFC 8656 §18.13](https://www.rfc-editor.org/rfc/rfc8656#section-18.13).
pub const ATTR_ICMP: AttrType = AttrType(0x8004);

/// [RFC 8016 §4](https://www.rfc-editor.org/rfc/rfc8016#section-4).
pub const ATTR_MOBILITY_TICKET: AttrType = AttrType(0x8030);

/// [RFC 5780 §7.2](https://www.rfc-editor.org/rfc/rfc5780#section-7.2).
pub const ATTR_CHANGE_REQUEST: AttrType = AttrType(0x0003);

/// [RFC 5780 §7.3](https://www.rfc-editor.org/rfc/rfc5780#section-7.3).
pub const ATTR_RESPONSE_ORIGIN: AttrType = AttrType(0x802B);

/// [RFC 5780 §7.4](https://www.rfc-editor.org/rfc/rfc5780#section-7.4).
pub const ATTR_OTHER_ADDRESS: AttrType = AttrType(0x802C);

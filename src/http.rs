//! What browsers and operators reach over HTTP.

pub mod origin;

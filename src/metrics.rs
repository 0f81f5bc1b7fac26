//! What is told to whoever watches: in numbers, and in the names that they have outside.

pub mod histogram;
pub mod process;

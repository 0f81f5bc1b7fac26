//! The text of a signaling message, searched for addresses.

#![no_main]

use libfuzzer_sys::fuzz_target;
use setu::signaling::candidates::{ADDRESSES_MAX, addresses};

fuzz_target!(|text: &str| {
    let found = addresses(text);
    assert!(found.len() <= ADDRESSES_MAX);
    assert!(found.iter().all(|ip| !ip.is_unspecified()));
    assert_eq!(found, addresses(text));
});

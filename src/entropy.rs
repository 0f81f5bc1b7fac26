//! The only read of the operating system's randomness.

/// `N` unpredictable bytes.
///
/// # Panics
/// When the operating system has no randomness to give: keys and ports would be guessable, so nothing safe can follow.
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system must provide randomness");
    bytes
}

/// A random 64-bit number.
#[must_use]
pub fn number() -> u64 {
    u64::from_ne_bytes(bytes())
}

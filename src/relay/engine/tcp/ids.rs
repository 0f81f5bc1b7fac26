//! CONNECTION-IDs: whoever was not told one can't guess it, and each says which worker has the connection.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::logging::Redacted;
use crate::relay::engine::share::Share;
use crate::relay::wire::connection::ConnectionId;

/// Draws the names, from a key and how many it has drawn.
pub(super) struct ConnectionIds {
    key: Redacted<[u8; 32]>,
    share: Share,
    drawn: u64,
}

impl ConnectionIds {
    pub(super) fn new(key: Redacted<[u8; 32]>, share: Share) -> Self {
        Self {
            key,
            share,
            drawn: 0,
        }
    }

    /// One that is as good as random; it may be in use already.
    pub(super) fn next(&mut self) -> ConnectionId {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.expose())
            .expect("HMAC takes keys of any length");
        mac.update(b"CONNECTION-ID");
        mac.update(&self.share.number.to_be_bytes());
        mac.update(&self.drawn.to_be_bytes());
        self.drawn = self.drawn.wrapping_add(1);
        let [b0, b1, b2, b3, ..] = <[u8; 32]>::from(mac.finalize().into_bytes());
        ConnectionId(self.share.mark(u32::from_be_bytes([b0, b1, b2, b3])))
    }
}

impl fmt::Debug for ConnectionIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionIds")
            .field("drawn", &self.drawn)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_is_another_and_leads_to_its_worker() {
        let mut seen = HashSet::new();
        for number in 0..3 {
            let share = Share { number, of: 3 };
            let mut ids = ConnectionIds::new(Redacted::new([7; 32]), share);
            for _ in 0..100 {
                let id = ids.next();
                assert_eq!(share.owner_of(id.0), number);
                assert!(seen.insert(id));
            }
        }
        let mut others = ConnectionIds::new(Redacted::new([8; 32]), Share { number: 0, of: 3 });
        assert!(
            !seen.contains(&others.next()),
            "another key, the same names"
        );
    }
}

//! Sessions that go from worker to worker: over DTLS nobody sees which allocation a client has moved before its session
//! is there ([RFC 8016](https://www.rfc-editor.org/rfc/rfc8016)).

use crate::clock::Now;
use crate::relay::engine::five_tuple::FiveTuple;
use crate::relay::worker::dtls::session::Session;
use crate::relay::worker::dtls::{Heard, Sessions};

/// A session on its way, and what its client has said in it that nobody has heard yet.
#[derive(Debug)]
pub(in crate::relay::worker) struct Moved {
    pub(in crate::relay::worker) client: FiveTuple,
    pub(in crate::relay::worker) messages: Vec<Vec<u8>>,
    session: Session,
}

impl Sessions {
    /// Takes a session away from this worker, with `messages` for the other one.
    pub(in crate::relay::worker) fn send_off<'m>(
        &mut self,
        client: FiveTuple,
        messages: impl Iterator<Item = &'m [u8]>,
    ) -> Option<Moved> {
        let mut session = self.remove(&client)?;
        session.disarm();
        Some(Moved {
            client,
            messages: messages.map(<[u8]>::to_vec).collect(),
            session,
        })
    }

    /// Goes on with a session here; what its client has said.
    pub(in crate::relay::worker) fn take_in(&mut self, now: Now, moved: Moved) -> Vec<Vec<u8>> {
        let Moved {
            client,
            messages,
            session,
        } = moved;
        // An older one of the same client is over.
        self.remove(&client);
        self.table.insert(client, session);
        match self.go_on(now, client, Ok(())) {
            Heard::Handled | Heard::Stray => messages,
            Heard::Ended => Vec::new(),
        }
    }
}

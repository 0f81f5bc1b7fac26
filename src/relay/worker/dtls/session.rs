//! One DTLS session, around the library's state machine.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    time::Instant,
};

use dimpl::{Dtls, Output};

use crate::clock::Now;
use crate::relay::engine::limits::Connected;
use crate::relay::wire::dtls_hello::ClientHello;
use crate::relay::wire::dtls_record::{
    PLAINTEXT_BYTES_MAX, may_belong_to_session, shift_clear_sequence,
};
use crate::relay::worker::dtls::agenda::Entry;
use crate::relay::worker::dtls::identity::DtlsIdentity;
use crate::relay::worker::dtls::{HANDSHAKE_TIME_MAX, IDLE_TIME_MAX, cookie};
use crate::relay::worker::messages::Messages;

/// The session is of no further use.
#[derive(Debug)]
pub(super) struct Ended;

#[derive(Debug)]
pub(super) struct Session {
    dtls: Dtls,
    /// The client's; names the handshake.
    random: [u8; 32],
    /// What our first records' numbers are ahead of the library's, who believes to have sent one before.
    shift: u64,
    is_established: bool,
    /// When it has been quiet for too long.
    quiet_until: Instant,
    /// When the library has something to send again.
    resend_at: Instant,
    armed: Option<Entry>,
    /// Its place among all connections.
    _connected: Connected,
}

impl Session {
    /// A session for a client whose cookie was verified; `datagram` holds its `hello`.
    pub(super) fn open(
        identity: &DtlsIdentity,
        connected: Connected,
        now: Now,
        hello: &ClientHello<'_>,
        datagram: &[u8],
    ) -> Result<Self, Ended> {
        let (config, certificate) = (Arc::clone(&identity.config), identity.certificate());
        let mut session = Self {
            dtls: Dtls::new_12(config, certificate, now.mono),
            random: hello.random(),
            shift: hello.record_sequence().wrapping_sub(1),
            is_established: false,
            quiet_until: now.mono + HANDSHAKE_TIME_MAX,
            resend_at: now.mono + HANDSHAKE_TIME_MAX,
            armed: None,
            _connected: connected,
        };
        // The library must have seen the first ClientHello to take the second. Its own request for a cookie goes nowhere.
        session.feed(now, &hello.first_of_handshake())?;
        let mut request = [0; 256];
        let Output::Packet(_) = session.dtls.poll_output(&mut request) else {
            tracing::debug!("DTLS client offers nothing known");
            return Err(Ended);
        };
        cookie::vouching_for(hello, || session.feed(now, datagram))?;
        Ok(session)
    }

    pub(super) fn random(&self) -> [u8; 32] {
        self.random
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(super) fn due(&self) -> Instant {
        self.quiet_until.min(self.resend_at)
    }

    /// Its entry in the agenda.
    pub(super) fn armed(&self) -> Option<Entry> {
        self.armed
    }

    pub(super) fn arm(&mut self, entry: Entry) {
        self.armed = Some(entry);
    }

    /// The entry is gone.
    pub(super) fn disarm(&mut self) {
        self.armed = None;
    }

    /// Whether it may be given this datagram. Anybody may have sent it.
    pub(super) fn may_take(&self, datagram: &[u8]) -> bool {
        // A flight of a handshake is small; what waits to be put together must be so too.
        let is_oversized = !self.is_established && datagram.len() > FLIGHT_DATAGRAM_BYTES_MAX;
        !is_oversized && may_belong_to_session(datagram, self.is_established)
    }

    /// Takes a datagram.
    pub(super) fn feed(&mut self, now: Now, datagram: &[u8]) -> Result<(), Ended> {
        guarded(|| {
            self.dtls.handle_timeout(now.mono)?;
            self.dtls.handle_packet(datagram)
        })
    }

    /// Time has passed.
    pub(super) fn handle_timeout(&mut self, now: Now, has_allocation: bool) -> Result<(), Ended> {
        guarded(|| self.dtls.handle_timeout(now.mono))?;
        if now.mono < self.quiet_until {
            return Ok(());
        }
        if self.is_established && has_allocation {
            self.quiet_until = now.mono + IDLE_TIME_MAX;
            return Ok(());
        }
        guarded(|| self.dtls.close())?;
        Err(Ended)
    }

    /// Encrypts one message, and lets it out.
    pub(super) fn send(
        &mut self,
        message: &[u8],
        room: &mut [u8],
        mut out: impl FnMut(&[u8]),
    ) -> Result<(), Ended> {
        if !self.is_established || message.len() > PLAINTEXT_BYTES_MAX {
            return Err(Ended);
        }
        guarded(|| self.dtls.send_application_data(message).map(drop))?;
        // All that came in has been taken out before.
        while let Output::Packet(datagram) = self.dtls.poll_output(room) {
            out(datagram);
        }
        Ok(())
    }

    /// Lets out what is to be sent, takes in what was said.
    pub(super) fn pump(
        &mut self,
        now: Now,
        room: &mut [u8],
        received: &mut Messages,
        mut out: impl FnMut(&[u8]),
    ) -> Result<(), Ended> {
        loop {
            let packet_bytes = match self.dtls.poll_output(room) {
                Output::Packet(datagram) => datagram.len(),
                Output::ApplicationData(message) => {
                    received.push(&[message]);
                    self.quiet_until = now.mono + IDLE_TIME_MAX;
                    continue;
                }
                Output::Connected => {
                    self.is_established = true;
                    self.quiet_until = now.mono + IDLE_TIME_MAX;
                    continue;
                }
                Output::Timeout(at) => {
                    self.resend_at = at;
                    return Ok(());
                }
                Output::CloseNotify | Output::BufferTooSmall { .. } => return Err(Ended),
                // Clients show no certificate, and no keys are wanted.
                Output::PeerCert(_) | Output::KeyingMaterial(..) | _ => continue,
            };
            let datagram = &mut room[..packet_bytes];
            shift_clear_sequence(datagram, self.shift);
            out(datagram);
        }
    }
}

/// Ends the session where the library fails, even by a panic: one client's bytes must not end the worker.
fn guarded(call: impl FnOnce() -> Result<(), dimpl::Error>) -> Result<(), Ended> {
    match panic::catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            tracing::debug!(%error, "DTLS session failed");
            Err(Ended)
        }
        Err(_) => {
            tracing::error!("the DTLS library panicked");
            Err(Ended)
        }
    }
}

/// The largest that a client's handshake datagrams may be.
const FLIGHT_DATAGRAM_BYTES_MAX: usize = 4096;

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
use crate::relay::worker::dtls::steps::FLIGHT_DATAGRAM_BYTES_MAX;
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

    pub(super) fn is_established(&self) -> bool {
        self.is_established
    }

    /// Whether it is the handshake that this random names, and the client has not ended it yet.
    pub(super) fn is_half_finished(&self, random: [u8; 32]) -> bool {
        !self.is_established && self.random == random
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dimpl::{Config, DtlsCertificate, crypto::rust_crypto};

    use super::*;
    use crate::relay::engine::five_tuple::{FiveTuple, Transport};
    use crate::relay::engine::limits::{self, Limits};
    use crate::source::Source;

    #[test]
    fn r94_a_session_that_says_nothing_ends_unless_it_has_an_allocation() {
        let now = Now::read();
        let (_client, mut session) = established(now);
        let later = |seconds| now.advanced(Duration::from_secs(seconds));
        let idle = IDLE_TIME_MAX.as_secs();
        assert!(session.handle_timeout(later(idle - 1), false).is_ok());
        assert!(session.handle_timeout(later(idle), true).is_ok());
        // From then on it has as long again.
        assert!(session.handle_timeout(later(2 * idle - 1), false).is_ok());
        assert!(session.due() <= later(2 * idle).mono);
        assert!(session.handle_timeout(later(2 * idle), false).is_err());
        // The client is told: an alert.
        let (mut room, mut received) = (vec![0; 4096], Messages::default());
        let mut said = Vec::new();
        let tell = |datagram: &[u8]| said.push(datagram[0]);
        let _ = session.pump(now, &mut room, &mut received, tell);
        assert_eq!(said, [21]);
    }

    #[test]
    fn what_is_said_lets_a_session_go_on() {
        let now = Now::read();
        let (mut client, mut session) = established(now);
        let soon = now.advanced(IDLE_TIME_MAX - Duration::from_secs(1));
        client.handle_timeout(soon.mono).unwrap();
        client.send_application_data(b"still here").unwrap();
        let (mut room, mut received) = (vec![0; 4096], Messages::default());
        while let Output::Packet(datagram) = client.poll_output(&mut room) {
            session.feed(soon, datagram).unwrap();
        }
        let nothing = |_: &[u8]| {};
        session
            .pump(soon, &mut room, &mut received, nothing)
            .unwrap();
        assert!(received.iter().eq([b"still here"]));
        let late = now.advanced(IDLE_TIME_MAX);
        assert!(session.handle_timeout(late, false).is_ok());
    }

    /// A client and its session, hands shaken.
    fn established(now: Now) -> (Dtls, Session) {
        let shown = certificate();
        let identity = DtlsIdentity::new(&shown.certificate, &shown.private_key).unwrap();
        let limits = Limits::new(now, limits::Settings::default());
        let connected = limits.connect(now, Source([192, 0, 2, 1].into())).unwrap();
        let at = FiveTuple {
            transport: Transport::Dtls,
            client: "192.0.2.1:5000".parse().unwrap(),
            server: "198.51.100.1:5349".parse().unwrap(),
        };
        let config = Config::builder().with_crypto_provider(rust_crypto::default_provider());
        let config = Arc::new(config.build().unwrap());
        let mut client = Dtls::new_12(config, certificate(), now.mono);
        client.set_active(true);
        client.handle_timeout(now.mono).unwrap();
        let mut room = vec![0; 4096];
        let first = packet(&mut client, &mut room);
        let hello = ClientHello::parse(&first).unwrap();
        let cookie = identity.cookies.issue(now, at, &hello);
        client
            .handle_packet(&hello.verify_request(&cookie))
            .unwrap();
        let second = packet(&mut client, &mut room);
        let hello = ClientHello::parse(&second).unwrap();
        let mut session = Session::open(&identity, connected, now, &hello, &second).unwrap();
        let mut received = Messages::default();
        while !session.is_established {
            let tell = |datagram: &[u8]| client.handle_packet(datagram).unwrap();
            session.pump(now, &mut room, &mut received, tell).unwrap();
            loop {
                let said = client.poll_output(&mut room);
                if let Output::Packet(datagram) = said {
                    session.feed(now, datagram).unwrap();
                } else if let Output::Timeout(_) = said {
                    break;
                }
            }
        }
        let tell = |datagram: &[u8]| client.handle_packet(datagram).unwrap();
        session.pump(now, &mut room, &mut received, tell).unwrap();
        while !matches!(client.poll_output(&mut room), Output::Timeout(_)) {}
        (client, session)
    }

    fn packet(client: &mut Dtls, room: &mut [u8]) -> Vec<u8> {
        let Output::Packet(datagram) = client.poll_output(room) else {
            panic!("it has nothing to say");
        };
        datagram.to_vec()
    }

    fn certificate() -> DtlsCertificate {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        DtlsCertificate {
            certificate: made.cert.der().to_vec(),
            private_key: made.signing_key.serialize_der(),
        }
    }
}

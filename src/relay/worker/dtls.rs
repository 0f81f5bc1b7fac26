//! Clients over DTLS ([RFC 7350](https://www.rfc-editor.org/rfc/rfc7350)): a session lives on the worker that the
//! kernel brings its client's address to, or on that of an allocation which moves to it, without a task of its own.

mod agenda;
mod cookie;
mod identity;
mod moved;
mod session;
mod steps;

pub use identity::DtlsIdentity;
pub(super) use moved::Moved;

use std::{
    collections::{HashMap, VecDeque},
    mem,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use rustc_hash::FxBuildHasher;

use crate::clock::Now;
use crate::relay::engine::five_tuple::FiveTuple;
use crate::relay::engine::limits::Limits;
use crate::relay::wire::dtls_hello::ClientHello;
use crate::relay::wire::frame::Frame;
use crate::relay::worker::client_udp::ClientUdp;
use crate::relay::worker::dtls::agenda::Agenda;
use crate::relay::worker::dtls::session::{Ended, Session};
use crate::relay::worker::dtls::steps::{Step, Steps};
use crate::relay::worker::messages::Messages;
use crate::source::Source;

/// What became of a datagram, or of a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It is dealt with.
    Handled,
    /// A session of this five-tuple is over, after what it said last.
    Ended,
    /// It belongs to no session, and deserved no answer.
    Stray,
}

/// One worker's DTLS sessions and the sockets that they share.
pub(super) struct Sessions {
    /// Without one there are no sockets either.
    identity: Option<DtlsIdentity>,
    sockets: Vec<Rc<ClientUdp>>,
    limits: Arc<Limits>,
    table: HashMap<FiveTuple, Session, FxBuildHasher>,
    agenda: Agenda,
    /// Of handshakes, as clients have sent them.
    steps: Steps,
    /// The last handshakes that began, by the client's random; those that have not ended are half-finished.
    begun: VecDeque<(FiveTuple, [u8; 32])>,
    handshakes_max: usize,
    /// What the last datagram said, message by message.
    received: Messages,
    /// Where one record is put together or taken apart.
    room: Box<[u8]>,
    /// Where relayed data are put into one piece.
    message: Vec<u8>,
}

impl Sessions {
    pub(super) fn new(
        identity: Option<DtlsIdentity>,
        sockets: Vec<Rc<ClientUdp>>,
        limits: Arc<Limits>,
    ) -> Self {
        Self {
            identity,
            sockets,
            limits,
            table: HashMap::default(),
            agenda: Agenda::default(),
            steps: Steps::default(),
            begun: VecDeque::new(),
            handshakes_max: HANDSHAKES_MAX,
            received: Messages::default(),
            room: vec![0; ROOM_BYTES].into_boxed_slice(),
            message: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Takes a datagram; what it said waits in [`take_received`](Self::take_received). One that is a step of a handshake
    /// waits for [`take_step`](Self::take_step).
    ///
    /// Only a client that receives what is sent to its address changes anything here.
    pub(super) fn receive(&mut self, now: Now, client: FiveTuple, datagram: &[u8]) -> Heard {
        let Some(session) = self.table.get_mut(&client) else {
            return match ClientHello::parse(datagram) {
                Some(hello) => self.greet(now, client, &hello, datagram),
                None => Heard::Stray,
            };
        };
        match ClientHello::parse(datagram) {
            // A client that began anew; its old session goes on until it has proved its address.
            Some(hello) if hello.random() != session.random() => {
                self.greet(now, client, &hello, datagram)
            }
            // An early one, overtaken: it was answered.
            Some(hello) if !hello.is_second() => Heard::Handled,
            Some(_) | None if !session.may_take(datagram) => Heard::Stray,
            Some(_) | None if !session.is_established() => self.put_off(now, client, datagram),
            Some(_) | None => {
                let fed = session.feed(now, datagram);
                self.go_on(now, client, fed)
            }
        }
    }

    /// The next step of a handshake, whose it was and what became of it: signatures and keys take as long as hundreds of
    /// datagrams, which are not to wait for more than one.
    pub(super) fn take_step(&mut self, now: Now) -> Option<(FiveTuple, Heard)> {
        let Step {
            client, datagram, ..
        } = self.steps.pop()?;
        let hello = ClientHello::parse(&datagram);
        let heard = match (self.table.get_mut(&client), hello) {
            (Some(session), hello)
                if hello.is_none_or(|hello| hello.random() == session.random()) =>
            {
                let fed = session.feed(now, &datagram);
                self.go_on(now, client, fed)
            }
            (Some(_) | None, Some(hello)) => self.begin(now, client, &hello, &datagram),
            // It has ended meanwhile.
            (Some(_) | None, None) => Heard::Handled,
        };
        Some((client, heard))
    }

    /// What the last datagram said; to be given back.
    pub(super) fn take_received(&mut self) -> Messages {
        mem::take(&mut self.received)
    }

    /// Keeps the room for the next.
    pub(super) fn give_back(&mut self, mut received: Messages) {
        received.clear();
        self.received = received;
    }

    pub(super) fn knows(&self, client: &FiveTuple) -> bool {
        self.table.contains_key(client)
    }

    /// Takes a session away from here.
    fn remove(&mut self, client: &FiveTuple) -> Option<Session> {
        let session = self.table.remove(client)?;
        self.agenda.cancel(session.armed());
        Some(session)
    }

    /// Sends relayed data likewise.
    pub(super) fn send_frame(&mut self, client: FiveTuple, frame: &Frame<'_>) -> bool {
        let mut message = mem::take(&mut self.message);
        message.clear();
        for part in frame.parts() {
            message.extend_from_slice(part);
        }
        let sent = self.send(client, &message);
        self.message = message;
        sent
    }

    /// Sends one message, as a record of its own, at once or not at all.
    pub(super) fn send(&mut self, client: FiveTuple, message: &[u8]) -> bool {
        let (sockets, room) = (&self.sockets, &mut self.room);
        let Some(session) = self.table.get_mut(&client) else {
            return false;
        };
        let mut sent = true;
        let encrypted = session.send(message, room, |datagram| {
            sent &= send_from(sockets, client, datagram);
        });
        encrypted.is_ok() && sent
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due for somebody, or a [step](Self::take_step) waits: a peek; may
    /// be early, never late.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let all = [self.agenda.next(), self.steps.due()];
        all.into_iter().flatten().min()
    }

    /// Somebody whose time has come.
    pub(super) fn poll_due(&mut self, now: Now) -> Option<FiveTuple> {
        self.agenda.pop_due(now)
    }

    /// Sends again what may have been lost, or gives a session up.
    pub(super) fn handle_timeout(
        &mut self,
        now: Now,
        client: FiveTuple,
        has_allocation: bool,
    ) -> Heard {
        let Some(session) = self.table.get_mut(&client) else {
            return Heard::Handled;
        };
        session.disarm();
        let fed = session.handle_timeout(now, has_allocation);
        self.go_on(now, client, fed)
    }

    /// Answers a client that nothing is known of, and begins with it only if it has proved its address.
    fn greet(
        &mut self,
        now: Now,
        client: FiveTuple,
        hello: &ClientHello<'_>,
        datagram: &[u8],
    ) -> Heard {
        let Some(identity) = &self.identity else {
            return Heard::Stray;
        };
        if !hello.offers_dtls_1_2() {
            return self.answer(now, client, &hello.refusal());
        }
        if !identity.cookies.verify(now, client, hello) {
            let cookie = identity.cookies.issue(now, client, hello);
            return self.answer(now, client, &hello.verify_request(&cookie));
        }
        self.put_off(now, client, datagram)
    }

    /// Begins with a client that has proved its address.
    fn begin(
        &mut self,
        now: Now,
        client: FiveTuple,
        hello: &ClientHello<'_>,
        datagram: &[u8],
    ) -> Heard {
        let Some(identity) = &self.identity else {
            return Heard::Stray;
        };
        let before = self.table.remove(&client);
        if let Some(before) = &before {
            self.agenda.cancel(before.armed());
        }
        let ended = match &before {
            Some(_) => Heard::Ended,
            None => Heard::Handled,
        };
        // Its place is free before another is taken.
        drop(before);
        let Some(connected) = self.limits.connect(now, Source(client.client.ip())) else {
            return ended;
        };
        let Ok(session) = Session::open(identity, connected, now, hello, datagram) else {
            send_from(&self.sockets, client, &hello.refusal());
            return ended;
        };
        self.table.insert(client, session);
        self.begun.push_back((client, hello.random()));
        self.give_up_slow_handshakes();
        match self.go_on(now, client, Ok(())) {
            Heard::Handled => ended,
            heard @ (Heard::Ended | Heard::Stray) => heard,
        }
    }

    /// Handshakes must end before too many others have begun: each takes memory that nobody has shown a credential for.
    fn give_up_slow_handshakes(&mut self) {
        while self.begun.len() > self.handshakes_max
            && let Some((client, random)) = self.begun.pop_front()
        {
            let session = self.table.get(&client);
            if session.is_some_and(|session| session.is_half_finished(random)) {
                self.remove(&client);
            }
        }
    }

    /// Lets a step of a handshake wait. Where there is no room for it its client sends it again.
    fn put_off(&mut self, now: Now, client: FiveTuple, datagram: &[u8]) -> Heard {
        self.steps.push(now, client, datagram);
        Heard::Handled
    }

    /// Answers somebody who has proved nothing.
    fn answer(&self, now: Now, client: FiveTuple, datagram: &[u8]) -> Heard {
        if self.limits.admit_reply(now, Source(client.client.ip())) {
            send_from(&self.sockets, client, datagram);
        }
        Heard::Handled
    }

    /// Sends and hears what a session has come to, and ends it if that is the end.
    fn go_on(&mut self, now: Now, client: FiveTuple, fed: Result<(), Ended>) -> Heard {
        let Some(session) = self.table.get_mut(&client) else {
            return Heard::Handled;
        };
        let sockets = &self.sockets;
        // Also after the end: a farewell may be among it.
        let pumped = session.pump(now, &mut self.room, &mut self.received, |datagram| {
            send_from(sockets, client, datagram);
        });
        if fed.is_err() || pumped.is_err() {
            self.remove(&client);
            return Heard::Ended;
        }
        if session.armed().is_none_or(|armed| session.due() < armed.at) {
            self.agenda.cancel(session.armed());
            session.arm(self.agenda.add(session.due(), client));
        }
        Heard::Handled
    }
}

/// What cannot be sent now is lost, as on any network.
fn send_from(sockets: &[Rc<ClientUdp>], client: FiveTuple, datagram: &[u8]) -> bool {
    let socket = sockets.iter().find(|socket| socket.serves(client.server));
    socket.is_some_and(|socket| socket.send(client, datagram))
}

/// How long a session without an allocation may say nothing.
const IDLE_TIME_MAX: Duration = Duration::from_secs(60);
/// How long a handshake may take, from the cookie's return.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// How many may be half-finished at a time, on one worker; each takes about ten kilobytes.
const HANDSHAKES_MAX: usize = 256;
/// Holds the longest record.
const ROOM_BYTES: usize = 20 * 1024;

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use dimpl::{Config, Dtls, DtlsCertificate, Output, crypto::rust_crypto};

    use super::*;
    use crate::relay::engine::five_tuple::Transport;
    use crate::relay::engine::limits;

    #[test]
    fn r92_first_hellos_leave_nothing() {
        let (now, mut sessions) = sessions();
        let mut datagram = [0; 2048];
        let hello = next_hello(&mut client(now), &mut datagram).to_vec();
        for port in 1..=1000 {
            let heard = sessions.receive(now, at(port), &hello);
            assert_eq!(heard, Heard::Handled);
        }
        assert_eq!((sessions.len(), sessions.poll_timeout()), (0, None));
    }

    #[test]
    fn r94_half_finished_handshakes_are_bounded_in_number_and_in_time() {
        let (now, mut sessions) = sessions();
        for port in 1..=3 * CONNECTIONS {
            begin(now, &mut sessions, at(port));
        }
        assert_eq!(sessions.len(), usize::from(CONNECTIONS));
        // They say nothing more; what the server has said is sent again in between.
        for second in 1..=HANDSHAKE_TIME_MAX.as_secs() {
            let now = now.advanced(Duration::from_secs(second));
            while let Some(due) = sessions.poll_due(now) {
                sessions.handle_timeout(now, due, false);
            }
        }
        assert_eq!((sessions.len(), sessions.poll_timeout()), (0, None));
    }

    #[test]
    fn r94_a_handshake_is_given_up_when_too_many_others_have_begun() {
        let (now, mut sessions) = sessions();
        sessions.handshakes_max = 4;
        for port in 1..=6 {
            begin(now, &mut sessions, at(port));
        }
        let known: Vec<_> = (1..=6).filter(|port| sessions.knows(&at(*port))).collect();
        assert_eq!(known, [3, 4, 5, 6]);
    }

    #[test]
    fn whoever_proves_an_address_waits_for_whoever_did_before() {
        let (now, mut sessions) = sessions();
        for port in 1..=3 {
            prove(now, &mut sessions, at(port));
        }
        assert_eq!(
            (sessions.len(), sessions.poll_timeout()),
            (0, Some(now.mono))
        );
        for port in 1..=3 {
            let step = sessions.take_step(now);
            assert_eq!(step, Some((at(port), Heard::Handled)));
            assert_eq!(sessions.len(), usize::from(port));
        }
        assert_eq!(sessions.take_step(now), None);
        assert!(sessions.poll_timeout().is_some_and(|due| due > now.mono));
    }

    /// A client that says no more once it has proved its address.
    fn begin(now: Now, sessions: &mut Sessions, at: FiveTuple) {
        prove(now, sessions, at);
        sessions.take_step(now).unwrap();
    }

    fn prove(now: Now, sessions: &mut Sessions, at: FiveTuple) {
        let mut client = client(now);
        let mut datagram = [0; 2048];
        let first = next_hello(&mut client, &mut datagram);
        let first = ClientHello::parse(first).unwrap();
        let identity = sessions.identity.as_ref().unwrap();
        let cookie = identity.cookies.issue(now, at, &first);
        let request = first.verify_request(&cookie);
        client.handle_packet(&request).unwrap();
        let mut datagram = [0; 2048];
        let second = next_hello(&mut client, &mut datagram);
        sessions.receive(now, at, second);
    }

    fn sessions() -> (Now, Sessions) {
        let now = Now::read();
        let limits = Limits::new(
            now,
            limits::Settings {
                connections: Some(CONNECTIONS.into()),
                ..limits::Settings::default()
            },
        );
        let shown = certificate();
        let identity = DtlsIdentity::new(&shown.certificate, &shown.private_key).unwrap();
        (now, Sessions::new(Some(identity), Vec::new(), limits))
    }

    fn client(now: Now) -> Dtls {
        let config = Config::builder()
            .with_crypto_provider(rust_crypto::default_provider())
            .build()
            .unwrap();
        let mut client = Dtls::new_12(Arc::new(config), certificate(), now.mono);
        client.set_active(true);
        client.handle_timeout(now.mono).unwrap();
        client
    }

    /// The next that it sends.
    fn next_hello<'d>(client: &mut Dtls, room: &'d mut [u8]) -> &'d [u8] {
        let Output::Packet(datagram) = client.poll_output(room) else {
            panic!("it has nothing to say");
        };
        let bytes = datagram.len();
        &room[..bytes]
    }

    fn certificate() -> DtlsCertificate {
        static MADE: OnceLock<DtlsCertificate> = OnceLock::new();
        MADE.get_or_init(make_certificate).clone()
    }

    fn make_certificate() -> DtlsCertificate {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        DtlsCertificate {
            certificate: made.cert.der().to_vec(),
            private_key: made.signing_key.serialize_der(),
        }
    }

    fn at(port: u16) -> FiveTuple {
        FiveTuple {
            transport: Transport::Dtls,
            client: std::net::SocketAddr::from(([192, 0, 2, 1], port)),
            server: "198.51.100.1:5349".parse().unwrap(),
        }
    }

    const CONNECTIONS: u16 = 8;
}

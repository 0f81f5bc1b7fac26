//! Verses, turns and the queue; and what passes through a session without changing it.

use crate::clock::{Now, UnixMillis};
use crate::ident::{ParticipantId, SessionId};
use crate::signaling::protocol::{Event, Refusal, Reply, Signal};
use crate::signaling::session::Session;
use crate::signaling::session::change::{Audience, Trespass};
use crate::signaling::session::op::{Op, ReadingOp};
use crate::signaling::session::socket::SocketId;
use crate::store::log::Body;
use crate::store::{Clockface, Fingerprint};

use super::{Connection, Service};

impl Service {
    /// Where one's turn changes, it is one's own, or the one who changes it is a host.
    pub(super) fn read(
        &self,
        now: Now,
        connection: &Connection,
        session: &SessionId,
        of: Option<ParticipantId>,
        change: ReadingOp,
    ) -> Result<Reply, Refusal> {
        let by = connection.socket;
        let is_host = connection
            .identity
            .as_ref()
            .is_some_and(|identity| identity.host);
        self.store.update(
            now,
            session,
            |state| {
                let own = state.participant_of(by).ok_or(Trespass::NotInSession)?;
                if !is_host && of.as_ref().is_some_and(|of| of != own) {
                    return Err(Refusal::from(Trespass::Forbidden));
                }
                Ok(Op::Read { by, change })
            },
            |state, clock, change| {
                self.settle(now, now.unix, session, state, clock, change);
                Reply::Done
            },
        )
    }

    /// Verse and reader, or the queue, as a client says; unless it merely says what it was told.
    pub(super) fn set_reading(
        &self,
        now: Now,
        connection: &Connection,
        session: &SessionId,
        stamp: Option<UnixMillis>,
        change: ReadingOp,
    ) -> Result<Reply, Refusal> {
        if self.is_echo(session, stamp) {
            return Ok(Reply::Done);
        }
        self.read(now, connection, session, None, change)
    }

    /// The queue, for who asks.
    pub(super) fn queue(
        &self,
        now: Now,
        connection: &Connection,
        session: &SessionId,
    ) -> Result<Reply, Refusal> {
        self.store.view(session, |state| {
            state
                .participant_of(connection.socket)
                .ok_or(Trespass::NotInSession)?;
            self.tell(now, connection, &Event::queue(session, now.unix, state));
            Ok(Reply::Done)
        })
    }

    /// An offer, an answer, a candidate: to whom it names, or to the others.
    pub(super) fn signal(
        &self,
        now: Now,
        connection: &Connection,
        signal: Signal,
    ) -> Result<Reply, Refusal> {
        let Signal {
            session,
            from,
            to,
            came_as,
            event,
        } = signal;
        let passed = self.store.clockface(&session, |state, clock| {
            let to = state.route(connection.socket, &from, &to)?;
            if came_as.is_some_and(|message| clock.has_passed_on(message)) {
                return Ok(false);
            }
            self.see_message(&session, &from, &event);
            let is_for_all = came_as.is_some();
            match is_for_all {
                true => self.tell_all(now, state, clock, &to, &event),
                false => self.sockets.deliver(now, &to, &event),
            }
            self.pass_on(&session, state, to, is_for_all, &event);
            Ok(true)
        });
        if passed.unwrap_or(Err(Trespass::NotInSession))? {
            self.store.touch(&session, Some(event.payload));
        }
        Ok(Reply::Done)
    }

    /// An event in a participant's name, for everybody in the session as it came.
    pub(super) fn relay_to_room(
        &self,
        now: Now,
        connection: &Connection,
        session: &SessionId,
        participant: &ParticipantId,
        came_as: Fingerprint,
        event: Event,
    ) -> Result<Reply, Refusal> {
        let relayed = self.store.clockface(session, |state, clock| {
            // Whoever's client it is that echoes.
            if clock.has_passed_on(came_as) {
                return Ok(Reply::Done);
            }
            let own = state
                .participant_of(connection.socket)
                .ok_or(Trespass::NotInSession)?;
            let is_host = connection
                .identity
                .as_ref()
                .is_some_and(|identity| identity.host);
            if own != participant && !is_host {
                return Err(Trespass::Forbidden);
            }
            let room = state.audience(&Audience::Room);
            self.tell_all(now, state, clock, &room, &event);
            self.pass_on(session, state, room, true, &event);
            Ok(Reply::Done)
        });
        Ok(relayed.unwrap_or(Err(Trespass::NotInSession))?)
    }

    /// A message that a member sent to another node.
    pub(super) fn hear(
        &self,
        now: Now,
        session: &SessionId,
        to: &[SocketId],
        for_all: bool,
        event: &Event,
    ) {
        if !for_all {
            return self.sockets.deliver(now, to, event);
        }
        self.store.clockface(session, |state, clock| {
            self.tell_all(now, state, clock, to, event);
        });
    }

    /// A message for everybody, whichever node it was sent to: for those who are here, and those who may come back; and
    /// clients that echo it, to the node that they are connected to, are known by it.
    fn tell_all(
        &self,
        now: Now,
        state: &Session,
        clock: &mut Clockface,
        to: &[SocketId],
        event: &Event,
    ) {
        clock.pass_on(event.fingerprint());
        self.sockets.deliver(now, to, event);
        self.sockets.keep(now, state.lost_tickets(), event);
    }

    /// Begins, or ends, to watch the parser.
    pub(super) fn watch_parser(&self, now: Now, connection: &Connection, watches: bool) -> Reply {
        self.sockets.watch(&connection.outlet, watches);
        if let Some(log) = self.store.log() {
            log.append(Body::Monitors(self.sockets.watching()));
        }
        if watches {
            let room_size = self.sockets.watching() + self.nodes().monitors();
            self.tell(now, connection, &Event::subscribed(room_size));
        }
        Reply::Done
    }

    /// An event for all who watch the parser.
    pub(super) fn monitor(&self, now: Now, event: Event) -> Reply {
        self.sockets.deliver_to_watchers(now, &event);
        if let Some(log) = self.store.log() {
            let Event { name, payload } = event;
            log.append(Body::Monitor {
                event: name.to_owned(),
                payload,
            });
        }
        Reply::Done
    }
}

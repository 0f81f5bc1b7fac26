//! What signaling does: one use case, one function. None of them waits for anything.

mod cluster;
mod connection;
mod reading;
mod relaying;
mod timing;

use std::{
    cell::Cell,
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::{ArcSwap, Guard};

use crate::access::{AccessError, Identity};
use crate::clock::{Now, UnixMillis};
use crate::credentials::Credentials;
use crate::ident::{ParticipantId, SessionId};
use crate::relay::Relay;
use crate::store::log::Body;
use crate::store::redis::Redis;
use crate::store::{Clockface, Store};

use super::Settings;
use super::agenda::Agenda;
use super::counters::Counters;
use super::ice_servers::{IceServers, IceServersAnswer};
use super::leases::{Absence, Leases};
use super::nodes::Nodes;
use super::offered::Offered;
use super::protocol::{Event, Join, Limit, Refusal, Reply, Request, SessionJoined};
use super::reckoning::Reckoning;
use super::revocations::Revocations;
use super::session::Session;
use super::session::change::{Change, News, Trespass};
use super::session::json::Json;
use super::session::op::{Op, Parting};
use super::session::socket::{SocketId, Ticket};
use super::socket::{Chore, Sockets};
use super::traffic::Questions;

pub(super) use connection::{Connection, Membership};

/// Everything that the use cases share.
pub(super) struct Service {
    pub(super) settings: ArcSwap<Settings>,
    pub(super) store: Store,
    pub(super) sockets: Sockets,
    pub(super) agenda: Arc<Agenda<Job>>,
    pub(super) ice_servers: Arc<IceServers>,
    pub(super) credentials: Arc<Credentials>,
    pub(super) relay: Relay,
    pub(super) leases: Mutex<Leases>,
    pub(super) revocations: Mutex<Revocations>,
    pub(super) nodes: Mutex<Nodes>,
    /// What operators see of how media may travel.
    pub(super) offered: Offered,
    /// What other nodes are being asked.
    pub(super) questions: Questions,
    /// What time it is.
    pub(super) reckoning: Reckoning,
    /// For other keys than those of sessions.
    pub(super) redis: Option<Redis>,
    /// Whether this node is about to stop: nobody new may join.
    pub(super) draining: AtomicBool,
    pub(super) counters: Counters,
    /// Whether it stops now.
    pub(super) stopping: AtomicBool,
}

/// What is to be done at its time.
pub(super) enum Job {
    /// Something of the transport's.
    Chore(Chore),
    /// Members are to be told of the timer, if it was not changed since.
    Tick(SessionId, UnixMillis),
    /// The grace of an absence is over.
    Lapse(Absence),
    /// Members that other nodes took for dead join again, under the names by which their sockets were known.
    Rejoin(HashMap<SocketId, Arc<str>>),
}

/// Who comes back by a ticket.
pub(super) struct Returning {
    /// What it is a member of again; nothing, where the session has ended meanwhile.
    pub(super) join: Option<Join>,
    /// The connection that still holds the ticket, its end not having been noticed.
    pub(super) holder: Option<SocketId>,
}

impl Service {
    /// What time it is for all nodes.
    pub(super) fn now(&self) -> Now {
        self.reckoning.correct(Now::read())
    }

    /// What the operator has decided, last.
    pub(super) fn settings(&self) -> Guard<Arc<Settings>> {
        self.settings.load()
    }

    /// These settings hold from now on, but for the addresses of relays.
    pub(super) fn apply(&self, mut settings: Settings) {
        settings.relayed.clone_from(&self.settings().relayed);
        let recovery = settings.recovery.unwrap_or_default();
        self.sockets.set_recovery(recovery);
        self.settings.store(Arc::new(settings));
    }

    /// Who a client is by its token.
    ///
    /// # Errors
    /// When a token is needed and this one does not do.
    pub(super) fn admit(
        &self,
        now: Now,
        token: Option<&str>,
    ) -> Result<Option<Identity>, AccessError> {
        self.settings().access.admit(now.unix.seconds(), token)
    }

    pub(super) fn handle(
        &self,
        now: Now,
        connection: &mut Connection,
        request: Request,
    ) -> Result<Reply, Refusal> {
        let is_host = connection
            .identity
            .as_ref()
            .is_some_and(|identity| identity.host);
        let steers = request.steers();
        if steers.is_some_and(|what| !self.settings().host_only.admits(what, is_host)) {
            return Err(Refusal::host_only());
        }
        match request {
            Request::Join(join) => self.join(now, connection, join),
            Request::Leave(session, participant) => {
                self.leave(now, connection, session, participant)
            }
            Request::Signal(signal) => self.signal(now, connection, signal),
            Request::Relay(session, participant, came_as, event) => {
                self.relay_to_room(now, connection, &session, &participant, came_as, event)
            }
            Request::IceServers(session) => self.ice_servers(now, connection, &session),
            Request::Queue(session) => self.queue(now, connection, &session),
            Request::Read(session, own, change) => {
                self.read(now, connection, &session, own, change)
            }
            Request::Set(session, stamp, change) => {
                self.set_reading(now, connection, &session, stamp, change)
            }
            Request::Time(session, change) => self.time(now, connection, &session, change),
            Request::SetTimeLeft(session, stamp, left) => {
                self.set_time_left(now, connection, &session, left, stamp)
            }
            Request::End(session, reason) => self.end(now, Some(connection), &session, reason),
            Request::WatchParser(watches) => Ok(self.watch_parser(now, connection, watches)),
            Request::Monitor(event) => Ok(self.monitor(now, event)),
            Request::Nothing => Ok(Reply::Done),
        }
    }

    /// A socket is in one session at a time: joining another leaves the first.
    fn join(&self, now: Now, connection: &mut Connection, join: Join) -> Result<Reply, Refusal> {
        let Join {
            session,
            participant,
            name,
        } = self.identified(connection, join)?;
        // Held before the first session is left, so that the relay of who merely moves is not touched.
        let held_already = self.hold(&participant, &session);
        let is_newcomer = Cell::new(false);
        let earlier = connection
            .joined
            .take_if(|earlier| earlier.session != session);
        let member = connection.member();
        let socket = connection.socket;
        let joined: Result<_, Refusal> = self.store.update(
            now,
            &session,
            |state| {
                self.admit_to(state, &participant)?;
                is_newcomer.set(state.participant_of(socket) != Some(&participant));
                let (participant, name) = (participant.clone(), name.map(Into::into));
                Ok(Op::Join {
                    member,
                    participant,
                    name,
                })
            },
            |state, clock, change| {
                self.settle(now, now.unix, &session, state, clock, change);
                self.hold(&participant, &session);
                self.see_source(&session, connection);
                let welcome = self.welcome(now, connection, &session, &participant, state);
                if is_newcomer.get() {
                    clock.tell(now.unix);
                    self.tell_state(now, socket, &session, state);
                }
                welcome
            },
        );
        if joined.is_err() && !held_already {
            // Whoever is refused has left nothing.
            let _ = self.leases().release(&participant, &session);
        }
        if let Some(earlier) = earlier {
            match &joined {
                Ok(_) => self.part(now, connection, &earlier),
                Err(_) => connection.joined = Some(earlier),
            }
        }
        let welcome = joined?;
        connection.joined = Some(Membership {
            session,
            participant,
        });
        Ok(Reply::Joined(welcome))
    }

    /// What the token says goes before what the client says.
    fn identified(&self, connection: &Connection, mut join: Join) -> Result<Join, Refusal> {
        let Some(identity) = &connection.identity else {
            return Ok(join);
        };
        let other_session = identity
            .session
            .as_ref()
            .is_some_and(|only| *only != join.session);
        if identity.participant != join.participant || other_session {
            return Err(Refusal::token());
        }
        join.name = join.name.or_else(|| identity.name.clone());
        Ok(join)
    }

    /// Whether there is room.
    fn admit_to(&self, session: &Session, participant: &ParticipantId) -> Result<(), Refusal> {
        // Who only comes back belongs to a call that goes on.
        if self.draining.load(Ordering::Relaxed) && !session.awaits(participant) {
            return Err(Refusal::draining());
        }
        let limits = self.settings().limits;
        let is_full = |max| session.participants() >= max;
        if !session.is_present(participant) && limits.participants_per_session.is_some_and(is_full)
        {
            return Err(Refusal::limit(Limit::ParticipantsPerSession));
        }
        let is_full = |max| self.store.busy() >= max;
        if session.is_empty() && limits.sessions.is_some_and(is_full) {
            return Err(Refusal::limit(Limit::Sessions));
        }
        Ok(())
    }

    /// The joiner's own copy, the only one with credentials.
    fn welcome(
        &self,
        now: Now,
        connection: &mut Connection,
        session: &SessionId,
        participant: &ParticipantId,
        state: &Session,
    ) -> SessionJoined {
        let answer = self.ice_servers.for_participant(now, participant);
        connection.trust(now, &answer);
        let welcome = SessionJoined::new(session, &state.roster(), Some(answer));
        self.tell(now, connection, &Event::joined(&welcome));
        welcome
    }

    /// What a newcomer finds, told to them alone.
    fn tell_state(&self, now: Now, socket: SocketId, id: &SessionId, state: &Session) {
        let to = std::slice::from_ref(&socket);
        let reading = state.reading();
        if !reading.queue().is_empty() || reading.reader().is_some() {
            self.sockets
                .deliver(now, to, &Event::queue(id, now.unix, state));
        }
        if reading.verse().is_some() {
            self.sockets
                .deliver(now, to, &Event::verse(id, now.unix, state));
        }
        if let Some(timer) = state.timer(now.unix) {
            let event = Event::timer(id, now.unix, timer.view(now.unix));
            self.sockets.deliver(now, to, &event);
        }
    }

    /// Who is no member hears what they would have heard after a leave.
    fn leave(
        &self,
        now: Now,
        connection: &mut Connection,
        session: SessionId,
        participant: ParticipantId,
    ) -> Result<Reply, Refusal> {
        let by = connection.socket;
        let left = self.store.update(
            now,
            &session,
            |_| {
                let participant = participant.clone();
                Ok(Op::Leave { by, participant })
            },
            |state, clock, change| self.settle(now, now.unix, &session, state, clock, change),
        );
        match left {
            Ok(()) => {
                connection.joined = None;
                connection.distrust();
            }
            Err(Trespass::NotInSession) => {
                self.stay_away(now, &session, by);
                self.tell(now, connection, &Event::left(&session, &participant));
            }
            Err(Trespass::Forbidden) => return Err(Trespass::Forbidden.into()),
        }
        Ok(Reply::Done)
    }

    /// The session is over, by a member's wish or the operator's, who can end only what there is.
    pub(super) fn end(
        &self,
        now: Now,
        connection: Option<&Connection>,
        session: &SessionId,
        reason: Json,
    ) -> Result<Reply, Refusal> {
        let by = connection.map(|connection| connection.socket);
        let ended = self.store.update(
            now,
            session,
            |state| match by.is_some() || state.is_known(now.unix) {
                true => Ok(Op::End { by, reason }),
                false => Err(Trespass::NotInSession),
            },
            |state, clock, change| self.settle(now, now.unix, session, state, clock, change),
        );
        ended
            .map_err(|trespass: Trespass| trespass.into())
            .map(|()| Reply::Done)
    }

    /// The operator shows a participant out. False if nobody knew them.
    pub(super) fn remove(
        &self,
        now: Now,
        session: &SessionId,
        participant: &ParticipantId,
    ) -> bool {
        let removed: Result<bool, Trespass> = self.store.update(
            now,
            session,
            |_| {
                let participant = participant.clone();
                Ok(Op::Remove { participant })
            },
            |state, clock, change| {
                let known = !change.departed.is_empty();
                self.settle(now, now.unix, session, state, clock, change);
                known
            },
        );
        removed.unwrap_or_default()
    }

    /// The client behind a ticket, if it may come back as who it was.
    pub(super) fn recoverable(
        &self,
        now: Now,
        ticket: Ticket,
        identity: &Option<Identity>,
    ) -> Option<Returning> {
        let recovery = self.settings().recovery?;
        let is_other = |participant: &ParticipantId| {
            let identity = identity.as_ref();
            identity.is_some_and(|identity| identity.participant != *participant)
        };
        let Some(session) = self.store.session_of(ticket) else {
            let participant = self.sockets.lost_participant(ticket)?;
            let returning = Returning {
                join: None,
                holder: None,
            };
            return (!is_other(&participant)).then_some(returning);
        };
        let since = now.unix.since(UnixMillis(0)).saturating_sub(recovery);
        let since = UnixMillis(0).plus(since);
        let (participant, name, holder) = self.store.view(&session, |state| {
            if let Some(holder) = state.holder(ticket) {
                let participant = state.participant_of(holder)?.clone();
                let name = state.name_of(&participant);
                return Some((participant, name, Some(holder)));
            }
            let lost = state.lost(ticket, since)?;
            Some((lost.participant.clone(), Arc::clone(&lost.name), None))
        })?;
        if is_other(&participant) {
            return None;
        }
        let join = Join {
            session,
            participant,
            name: Some(name.as_ref().to_owned()),
        };
        Some(Returning {
            join: Some(join),
            holder,
        })
    }

    /// A client is back without having done anything.
    pub(super) fn come_back(&self, now: Now, connection: &mut Connection, join: Join) {
        if let Err(refusal) = self.join(now, connection, join) {
            self.sockets
                .refuse(now, &connection.outlet, &Event::error(&refusal));
        }
    }

    /// Replaces credentials that will expire.
    pub(super) fn refresh(&self, now: Now, connection: &mut Connection) {
        if !connection.is_stale(now) {
            return;
        }
        connection.distrust();
        let Some(Membership { session, .. }) = connection.joined.clone() else {
            return;
        };
        // Who is no member any more gets none.
        let _ = self.ice_servers(now, connection, &session);
    }

    /// A client is gone.
    pub(super) fn disconnected(&self, now: Now, connection: &Connection, parting: Parting) {
        // A node that stops goes as a whole.
        if self.stopping.load(Ordering::Relaxed) && self.redis.is_some() {
            return;
        }
        if let Some(Membership { session, .. }) = &connection.joined {
            self.disconnect(now, session, connection.socket, parting);
        }
    }

    /// A connection of another node is as good as gone: its client is here.
    pub(super) fn lose(&self, now: Now, session: &SessionId, socket: SocketId) {
        self.disconnect(now, session, socket, Parting::Lost);
    }

    fn disconnect(&self, now: Now, session: &SessionId, socket: SocketId, parting: Parting) {
        let gone: Result<(), Trespass> = self.store.update(
            now,
            session,
            |state| {
                let known = state.knows(socket);
                let op = Op::Disconnect { socket, parting };
                known.then_some(op).ok_or(Trespass::NotInSession)
            },
            |state, clock, change| self.settle(now, now.unix, session, state, clock, change),
        );
        // Who is not a member any more has nothing to leave.
        gone.ok();
    }

    /// The grace is over: the relay lets go of who did not return.
    pub(super) fn lapse(&self, now: Now, absence: &Absence) {
        let (who, session) = (absence.participant(), absence.session());
        let is_back = self.store.view(session, |state| {
            state.presence().any(|(present, _)| present == who)
        });
        if !is_back {
            self.offered.forget(session, who);
        }
        let mut leases = self.leases();
        if leases.lapse(absence) {
            self.revoke(now.unix, absence.participant());
        }
    }

    fn part(&self, now: Now, connection: &Connection, from: &Membership) {
        let by = connection.socket;
        let participant = from.participant.clone();
        let left: Result<(), Trespass> = self.store.update(
            now,
            &from.session,
            |_| Ok(Op::Leave { by, participant }),
            |state, clock, change| self.settle(now, now.unix, &from.session, state, clock, change),
        );
        if left == Err(Trespass::NotInSession) {
            self.stay_away(now, &from.session, by);
        }
    }

    /// Who leaves what has ended does not join again by itself: if they do, that is news.
    fn stay_away(&self, now: Now, session: &SessionId, by: SocketId) {
        self.disconnect(now, session, by, Parting::Goodbye);
    }

    /// Does what a change asks for that took hold at `at`, in the order in which the store committed it.
    pub(super) fn settle(
        &self,
        now: Now,
        at: UnixMillis,
        id: &SessionId,
        session: &Session,
        clock: &mut Clockface,
        change: Change,
    ) {
        for told in &change.told {
            let to = session.audience(&told.to);
            let event = Event::news(id, now.unix, &told.news, session);
            self.sockets.deliver(now, &to, &event);
            if told.to.is_room() {
                // Nobody hears of their own loss.
                let others = session
                    .lost_tickets()
                    .filter(|ticket| !change.lost.contains(ticket));
                self.sockets.keep(now, others, &event);
            }
            if told.news.is_state() {
                clock.tell(now.unix);
            }
            if told.news == News::Timer {
                self.set_clock(now, id, session, clock);
            }
        }
        self.let_tickets_go(now, id, &change);
        if session.is_empty() && session.lost_tickets().next().is_none() {
            self.forget_addresses(id);
        }
        for (participant, parting) in &change.departed {
            match parting {
                Parting::Goodbye => self.let_go(at, participant, id),
                Parting::Lost => {
                    let absence = self.leases().suspend(now, participant, id);
                    let at = now.mono + self.settings().revocation_grace;
                    self.agenda.add(at, Job::Lapse(absence));
                }
            }
        }
    }

    /// Who is awaited back when the session ends hears of that; other tickets that are void open nothing.
    fn let_tickets_go(&self, now: Now, id: &SessionId, change: &Change) {
        match change.ending() {
            Some(reason) => {
                let event = Event::ended(id, now.unix, reason);
                self.sockets.keep(now, change.void.iter().copied(), &event);
            }
            None => self.sockets.forget(&change.void),
        }
    }

    fn tell(&self, now: Now, connection: &Connection, event: &Event) {
        let to = std::slice::from_ref(&connection.socket);
        self.sockets.deliver(now, to, event);
    }

    /// Hands an event to the nodes of those of `to` that are not here; one that is for everybody, also to where somebody
    /// may come back.
    fn pass_on(
        &self,
        session: &SessionId,
        state: &Session,
        to: Vec<SocketId>,
        for_all: bool,
        event: &Event,
    ) {
        let Some(log) = self.store.log() else {
            return;
        };
        let is_awaited = for_all && state.lost_tickets().next().is_some();
        let node = self.store.node();
        let to: Vec<_> = to
            .into_iter()
            .filter(|socket| socket.node != node)
            .collect();
        if to.is_empty() && !is_awaited {
            return;
        }
        let appended = log.append(Body::Signal {
            session: session.clone(),
            to,
            for_all,
            event: event.name.to_owned(),
            payload: event.payload.clone(),
        });
        if !appended {
            tracing::debug!("an event for another node is lost: too much waits for Redis");
        }
    }

    pub(super) fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn revocations(&self) -> MutexGuard<'_, Revocations> {
        self.revocations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn nodes(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! What signaling does: one use case, one function.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::clock::Now;
use crate::credentials::Credentials;
use crate::ident::{ParticipantId, SessionId, UserId};
use crate::relay::Relay;
use crate::store::Store;

use super::ice_servers::{IceServers, IceServersAnswer};
use super::leases::{Absence, Leases};
use super::protocol::{Event, Join, Leave, Refusal, Reply, Request, SessionJoined, Signal};
use super::session::{Change, SocketId, Trespass};
use super::socket::Sockets;

/// Everything that the use cases share.
pub(super) struct Service {
    pub(super) store: Store,
    pub(super) sockets: Sockets,
    pub(super) revocation_grace: Duration,
    pub(super) ice_servers: Arc<IceServers>,
    pub(super) credentials: Arc<Credentials>,
    pub(super) relay: Relay,
    pub(super) leases: Mutex<Leases>,
}

/// What is remembered of one socket between its requests.
pub(super) struct Connection {
    pub(super) socket: SocketId,
    joined: Option<Membership>,
    /// When the credential it was given last wants to be replaced.
    pub(super) refresh_at: Option<Instant>,
}

struct Membership {
    session: SessionId,
    participant: ParticipantId,
}

/// How somebody's part in a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parting {
    /// They said so: the relay lets go at once.
    Goodbye,
    /// Their transport was lost: they may return.
    Lost,
}

impl Connection {
    pub(super) fn new(socket: SocketId) -> Self {
        Self {
            socket,
            joined: None,
            refresh_at: None,
        }
    }

    fn trust(&mut self, now: Now, answer: &IceServersAnswer) {
        self.refresh_at = Some(now.mono + answer.refresh_after);
    }
}

impl Service {
    pub(super) async fn handle(
        &self,
        now: Now,
        connection: &mut Connection,
        request: Request,
    ) -> Result<Reply, Refusal> {
        match request {
            Request::Join(join) => Ok(self.join(now, connection, join).await),
            Request::Leave(leave) => self.leave(now, connection, leave).await,
            Request::Signal(signal) => self.signal(connection, signal).await,
            Request::IceServers(session) => self.ice_servers(now, connection, session).await,
        }
    }

    /// A socket is in one session at a time: joining another leaves the first.
    async fn join(&self, now: Now, connection: &mut Connection, join: Join) -> Reply {
        let Join {
            session,
            participant,
            name,
        } = join;
        // Held before the first session is left, so that the relay of who merely moves is not touched.
        self.leases().hold(&participant, &session);
        if let Some(earlier) = connection
            .joined
            .take_if(|earlier| earlier.session != session)
        {
            self.part(now, connection, &earlier).await;
        }
        let socket = connection.socket.clone();
        let change = self.store.update(
            &session,
            |state| state.join(&socket, &participant, name.as_deref()),
            |joined| {
                self.settle(now, &session, joined.change, Parting::Goodbye);
                self.leases().hold(&participant, &session);
                let answer = self.ice_servers.for_participant(now, &participant);
                connection.trust(now, &answer);
                let welcome = SessionJoined::new(&session, &joined.roster, Some(answer));
                self.sockets
                    .deliver(std::slice::from_ref(&socket), &Event::joined(&welcome));
                welcome
            },
        );
        let welcome = change.await;
        connection.joined = Some(Membership {
            session,
            participant,
        });
        Reply::Joined(welcome)
    }

    /// Who is no member hears what they would have heard after a leave.
    async fn leave(
        &self,
        now: Now,
        connection: &mut Connection,
        leave: Leave,
    ) -> Result<Reply, Refusal> {
        let Leave {
            session,
            participant,
        } = leave;
        let change = self.store.update(
            &session,
            |state| state.leave(&connection.socket, &participant),
            |left| left.map(|change| self.settle(now, &session, change, Parting::Goodbye)),
        );
        match change.await {
            Ok(_) => {
                connection.joined = None;
                connection.refresh_at = None;
            }
            Err(Trespass::NotInSession) => {
                self.tell(connection, &Event::left(&session, &participant));
            }
            Err(Trespass::Forbidden) => return Err(Trespass::Forbidden.into()),
        }
        Ok(Reply::Done)
    }

    async fn signal(&self, connection: &Connection, signal: Signal) -> Result<Reply, Refusal> {
        let Signal {
            session,
            from,
            to,
            event,
        } = signal;
        let routed = self.store.view(&session, |state| {
            let to = state.route(&connection.socket, &from, &to)?;
            self.sockets.deliver(&to, &event);
            Ok::<_, Trespass>(Reply::Done)
        });
        Ok(routed.await?)
    }

    async fn ice_servers(
        &self,
        now: Now,
        connection: &mut Connection,
        session: SessionId,
    ) -> Result<Reply, Refusal> {
        let socket = &connection.socket;
        let member = self
            .store
            .view(&session, |state| state.participant_of(socket).cloned());
        let participant = member.await.ok_or(Trespass::NotInSession)?;
        Ok(Reply::IceServers(self.issue(now, connection, &participant)))
    }

    /// Replaces a credential before it expires.
    pub(super) fn refresh(&self, now: Now, connection: &mut Connection) {
        connection.refresh_at = None;
        if let Some(member) = &connection.joined {
            let participant = member.participant.clone();
            self.issue(now, connection, &participant);
        }
    }

    /// The socket is gone. An [`Absence`] is to be followed by [`lapse`](Self::lapse) after the grace.
    pub(super) async fn disconnected(
        &self,
        now: Now,
        connection: &Connection,
        parting: Parting,
    ) -> Option<Absence> {
        let Membership { session, .. } = connection.joined.as_ref()?;
        let change = self.store.update(
            session,
            |state| state.disconnected(&connection.socket),
            |change| self.settle(now, session, change, parting),
        );
        change.await
    }

    /// The grace is over: the relay lets go of who did not return.
    pub(super) fn lapse(&self, now: Now, absence: &Absence) {
        let mut leases = self.leases();
        if leases.lapse(absence) {
            self.revoke(now, absence.participant());
        }
    }

    async fn part(&self, now: Now, connection: &Connection, from: &Membership) {
        let Membership {
            session,
            participant,
        } = from;
        let change = self.store.update(
            session,
            |state| state.leave(&connection.socket, participant),
            |left| left.map(|change| self.settle(now, session, change, Parting::Goodbye)),
        );
        // Who is not a member any more has nothing to leave.
        change.await.ok();
    }

    /// Does what a change asks for, in the order in which the store committed it.
    fn settle(
        &self,
        now: Now,
        session: &SessionId,
        change: Change,
        parting: Parting,
    ) -> Option<Absence> {
        for told in &change.told {
            self.sockets
                .deliver(&told.to, &Event::news(session, &told.news));
        }
        let participant = change.departed?;
        let mut leases = self.leases();
        match parting {
            Parting::Lost => return Some(leases.suspend(now, &participant, session)),
            Parting::Goodbye if leases.release(&participant, session) => {
                // Still under the lock: a credential issued after this moment outlives the revocation.
                self.revoke(now, &participant);
            }
            Parting::Goodbye => {}
        }
        None
    }

    fn revoke(&self, now: Now, participant: &ParticipantId) {
        let until = self.credentials.revoke(now.unix.seconds(), participant);
        self.relay.revoke(UserId::of(participant), until);
    }

    fn issue(
        &self,
        now: Now,
        connection: &mut Connection,
        participant: &ParticipantId,
    ) -> IceServersAnswer {
        let answer = self.ice_servers.for_participant(now, participant);
        connection.trust(now, &answer);
        self.tell(connection, &Event::ice_servers(&answer));
        answer
    }

    fn tell(&self, connection: &Connection, event: &Event) {
        self.sockets
            .deliver(std::slice::from_ref(&connection.socket), event);
    }

    fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Sessions as operators see them, and what operators may do to them.

use std::{sync::Arc, time::Duration};

use crate::clock::{Now, UnixMillis};
use crate::ident::{NodeId, ParticipantId, SessionId};
use crate::relay;
use crate::store::redis::Redis;

use super::Signaling;
use super::candidates::Kinds;
use super::nodes::NodeView;
use super::protocol;
use super::session::Session;
use super::session::json::Json;
use super::session::timer::TimerView;

/// One session, on all nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionView {
    /// Its name.
    pub id: SessionId,
    /// Who is here, in the order in which they came.
    pub participants: Vec<ParticipantView>,
    /// Who waits to read.
    pub queue: Vec<ParticipantId>,
    /// Whose turn it is.
    pub reader: Option<ParticipantId>,
    /// What is read.
    pub verse: Option<Json>,
    /// The timer, until it has run out.
    pub timer: Option<TimerView>,
}

/// One of its participants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParticipantView {
    /// Who.
    pub id: ParticipantId,
    /// What they go by.
    pub name: Arc<str>,
    /// How many connections they have.
    pub sockets: usize,
    /// To which nodes.
    pub nodes: Vec<NodeId>,
    /// Which kinds of candidates they have offered, as far as they came through this node.
    pub candidates: Kinds,
}

impl Signaling {
    /// The sessions with members, in the order of their names.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionView> {
        let (now, mut views) = (self.service.now().unix, Vec::new());
        self.service.store.for_each(|id, session| {
            if !session.is_empty() {
                views.push(SessionView::of(now, id, session));
            }
        });
        for view in &mut views {
            self.add_candidates(view);
        }
        views.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        views
    }

    /// A session; nothing where nobody is in it and nothing is remembered.
    #[must_use]
    pub fn session_view(&self, id: &SessionId) -> Option<SessionView> {
        let now = self.service.now().unix;
        let view = self.service.store.view(id, |session| {
            let is_known = session.is_known(now);
            is_known.then(|| SessionView::of(now, id, session))
        });
        view.map(|mut view| {
            self.add_candidates(&mut view);
            view
        })
    }

    fn add_candidates(&self, view: &mut SessionView) {
        for participant in &mut view.participants {
            participant.candidates = self.service.offered.of(&view.id, &participant.id);
        }
    }

    /// The nodes of this deploy, this one first.
    #[must_use]
    pub fn nodes_seen(&self, now: Now, relay: &relay::Snapshot) -> Vec<NodeView> {
        let service = &self.service;
        let own = NodeView {
            id: service.store.node(),
            is_own: true,
            silent: Duration::ZERO,
            info: service.info(relay),
        };
        let mut others: Vec<_> = service.nodes().seen(now).collect();
        others.sort_unstable_by_key(|node| node.id);
        std::iter::once(own).chain(others).collect()
    }

    /// Where a Redis is configured: whether it is there.
    #[must_use]
    pub fn redis(&self) -> Option<bool> {
        self.redis.as_ref().map(Redis::is_live)
    }

    /// How many sockets are connected to this node.
    #[must_use]
    pub fn sockets(&self) -> usize {
        self.service.sockets.count()
    }

    /// The operator ends a session. False if nobody knew it.
    #[must_use]
    pub fn end(&self, session: &SessionId, reason: Option<&str>) -> bool {
        let reason = protocol::reason(reason);
        let ended = self.service.end(self.service.now(), None, session, reason);
        ended.is_ok()
    }

    /// The operator shows a participant out of a session; their relay ends. False if nobody knew them there.
    #[must_use]
    pub fn remove(&self, session: &SessionId, participant: &ParticipantId) -> bool {
        self.service
            .remove(self.service.now(), session, participant)
    }
}

impl SessionView {
    fn of(now: UnixMillis, id: &SessionId, session: &Session) -> Self {
        let participants = session.presence().map(|(who, nodes)| {
            let mut nodes: Vec<_> = nodes.collect();
            let sockets = nodes.len();
            nodes.sort_unstable();
            nodes.dedup();
            ParticipantView {
                id: who.clone(),
                name: session.name_of(who),
                sockets,
                nodes,
                candidates: Kinds::default(),
            }
        });
        let reading = session.reading();
        Self {
            id: id.clone(),
            participants: participants.collect(),
            queue: reading.queue().to_vec(),
            reader: reading.reader().cloned(),
            verse: reading.verse().cloned(),
            timer: session.timer(now).map(|timer| timer.view(now)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::signaling::session::op::{Op, Step};
    use crate::signaling::session::socket::{Member, SocketId};
    use crate::signaling::session::timer::Timer;

    use super::*;

    const AT: UnixMillis = UnixMillis(1_700_000_000_000);

    #[test]
    fn a_participant_with_several_connections_is_shown_once() {
        let id = SessionId::parse("reading").unwrap();
        let mut session = Session::with_timer(Timer::start(AT, Duration::from_secs(60)));
        for (who, node, number) in [("bob", 2, 1), ("alice", 2, 2), ("bob", 1, 1), ("bob", 2, 3)] {
            let socket = SocketId {
                node: NodeId(node),
                number,
            };
            let op = Op::Join {
                member: Member {
                    socket,
                    ticket: None,
                },
                participant: ParticipantId::parse(who).unwrap(),
                name: None,
            };
            session.apply(&Step { at: AT, op }).unwrap();
        }
        let view = SessionView::of(AT, &id, &session);
        let seen = view.participants.iter();
        let seen: Vec<_> = seen
            .map(|who| (who.name.as_ref(), who.sockets, who.nodes.as_slice()))
            .collect();
        let both = [NodeId(1), NodeId(2)];
        assert_eq!(seen, [("bob", 3, &both[..]), ("alice", 1, &both[1..])]);
        assert_eq!(view.timer.unwrap().remaining_seconds, 60);
        let later = AT.plus(Duration::from_secs(60));
        assert_eq!(SessionView::of(later, &id, &session).timer, None);
    }
}

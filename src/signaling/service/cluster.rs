//! What other nodes do, as this one reads it in the log; and what this one tells them of itself.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use crate::clock::{Now, UnixMillis, UnixSeconds};
use crate::ident::{NodeId, ParticipantId, SessionId, UserId};
use crate::relay;
use crate::signaling::node_info::NodeInfo;
use crate::signaling::nodes::GREETING;
use crate::signaling::protocol::{Event, Join};
use crate::signaling::session::Session;
use crate::signaling::session::op::{Op, Step};
use crate::signaling::session::socket::SocketId;
use crate::signaling::session::timer::Timer;
use crate::store::log::{Body, EntryId, Envelope};

use super::{Connection, Job, Service};

impl Service {
    /// An entry of the log.
    pub(in crate::signaling) fn read_entry(self: &Arc<Self>, now: Now, id: EntryId, text: &str) {
        let envelope: Envelope = match serde_json::from_str(text) {
            Ok(envelope) => envelope,
            // Of another version, perhaps: nothing to do with us.
            Err(error) => return tracing::warn!(%error, "an entry of the log cannot be read"),
        };
        let Envelope { node, number, body } = envelope;
        if !self.nodes().is_new(now, node, number) {
            return;
        }
        let is_own = node == self.store.node();
        match body {
            Body::Step { session, step } => self.follow(now, id, &session, &step, is_own),
            Body::Reset {
                session,
                as_of,
                state,
            } => {
                if self.store.is_renewed(&session, node, number, as_of) {
                    self.take_over(now, id, &session, *state);
                }
            }
            Body::Gone(dead) => self.bury(now, id, dead),
            Body::Hello(info) => {
                if is_own {
                    self.compare_clocks(number, UnixMillis(id.0));
                }
                self.greeted(now, node, info);
            }
            Body::Monitors(monitors) => self.nodes().set_monitors(now, node, monitors),
            Body::Signal { .. } | Body::Monitor { .. } | Body::AskTraffic { .. } if is_own => {}
            Body::Signal {
                session,
                to,
                for_all,
                event,
                payload,
            } => {
                if let Some(event) = Event::passed_on(&event, payload) {
                    self.hear(now, &session, &to, for_all, &event);
                }
            }
            Body::Monitor { event, payload } => {
                if let Some(event) = Event::passed_on(&event, payload) {
                    self.sockets.deliver_to_watchers(now, &event);
                }
            }
            Body::Seen { session, addresses } => drop(self.see(&session, addresses)),
            Body::AskTraffic { question, session } => {
                self.answer_traffic(now, UnixMillis(id.0), question, session);
            }
            Body::Traffic { question, figures } => self.questions.answer(question, &figures),
        }
        if is_own {
            self.store.make_anew(id, number);
        }
    }

    /// A session as an earlier process left it.
    pub(in crate::signaling) fn take_over(
        &self,
        now: Now,
        as_of: EntryId,
        id: &SessionId,
        state: Session,
    ) {
        for node in state.nodes() {
            self.nodes().expect(now, node);
        }
        self.store
            .restore(now, as_of, id, state, |session, clock, change| {
                for (participant, _) in session.presence() {
                    self.hold(participant, id);
                }
                self.settle(now, now.unix, id, session, clock, change);
                self.set_clock(now, id, session, clock);
            });
        self.store.touch(id, None);
    }

    /// A timer that only its key tells of.
    pub(in crate::signaling) fn take_over_timer(&self, now: Now, id: &SessionId, timer: Timer) {
        let is_known = self
            .store
            .view(id, |session| session.last_timer().is_some());
        if !is_known {
            self.take_over(now, EntryId::START, id, Session::with_timer(timer));
        }
    }

    /// A credential that was revoked, by an earlier process or another node.
    pub(in crate::signaling) fn revoked(
        &self,
        now: Now,
        participant: &ParticipantId,
        until: UnixSeconds,
    ) {
        self.revocations()
            .note(now.unix.seconds(), participant, until);
        self.credentials.remember_revoked(participant, until);
        self.relay.revoke(UserId::of(participant), until);
    }

    /// What this node is like.
    pub(in crate::signaling) fn info(&self, relay: &relay::Snapshot) -> NodeInfo {
        NodeInfo {
            urls: self.ice_servers.urls().clone(),
            relayed: self.settings().relayed.clone(),
            allocations: relay.engine.allocations,
            ports_in_use: relay.ports_in_use,
            sockets: self.sockets.count(),
            monitors: self.sockets.watching(),
            draining: self.draining.load(Ordering::Relaxed),
        }
    }

    /// Tells the others that this node lives, and of those that do not any more.
    pub(in crate::signaling) fn greet(&self, now: Now, info: NodeInfo) {
        let Some(log) = self.store.log() else {
            return;
        };
        let node = self.store.node();
        if let Ok(text) = serde_json::to_string(&info) {
            self.put(&format!("setu:node:{node}"), text, 5 * GREETING);
        }
        let dead = self.nodes().dead(now);
        for node in dead {
            tracing::warn!(%node, "a node has not been heard of: its connections are gone");
            log.append(Body::Gone(node));
        }
        let sent = Now::read();
        if log.append(Body::Hello(info)) {
            // Of another entry, where one came between: then nothing is found out this time.
            self.reckoning.sent(sent, log.appended());
        }
    }

    /// This node stops: its connections are gone for the others at once.
    pub(in crate::signaling) fn say_farewell(&self) {
        let node = self.store.node();
        if let Some(log) = self.store.log() {
            log.append(Body::Gone(node));
        }
        if let Some(redis) = &self.redis {
            redis.put(&format!("setu:node:{node}"), None);
        }
    }

    /// A key of ours, where there is Redis.
    pub(super) fn put(&self, key: &str, value: String, kept: Duration) {
        if let Some(redis) = &self.redis {
            redis.put(key, Some((value, kept)));
        }
    }

    /// Redis is back: what was lost is written again.
    pub(in crate::signaling) fn reunite(&self, now: Now, data_lost: bool) {
        if !data_lost {
            return;
        }
        for (participant, until) in self.revocations().lasting(now.unix.seconds()) {
            self.store_revoked(now.unix, participant, until);
        }
        let kept = self.kept();
        if let Some(log) = self.store.log() {
            log.interrupt_all();
            if !self.nodes().is_empty() {
                // What was read here before it was lost, others may never read.
                kept.iter().for_each(|id| log.diverged(id));
            }
        }
        kept.iter().for_each(|id| self.store.renew(id));
    }

    /// The keys of all sessions that this node keeps are written again, and live on.
    pub(in crate::signaling) fn touch_all(&self) {
        for id in self.kept() {
            self.store.touch(&id, None);
        }
    }

    /// The sessions whose keys this node writes.
    fn kept(&self) -> Vec<SessionId> {
        let node = self.store.node();
        self.store
            .find(|session| session.keeper().is_none_or(|keeper| keeper == node))
    }

    fn follow(&self, now: Now, id: EntryId, session: &SessionId, step: &Step, is_own: bool) {
        self.store
            .follow(now, id, session, step, is_own, |state, clock, change| {
                // Not before: a step of this node's own, or one known already, may be of somebody who has left since.
                if let Op::Join { participant, .. } = &step.op
                    && state.is_present(participant)
                {
                    self.hold(participant, session);
                }
                self.settle(now, step.at, session, state, clock, change);
            });
    }

    /// All connections of a node are gone, on every node at the same place in the log.
    fn bury(&self, now: Now, id: EntryId, dead: NodeId) {
        self.nodes().forget(dead);
        self.introduce();
        if let Some(log) = self.store.log() {
            log.interrupt_all();
        }
        let step = Step {
            at: UnixMillis(id.0),
            op: Op::NodeGone { node: dead },
        };
        let is_own = dead == self.store.node();
        let mut names = HashMap::new();
        let there = |session: &Session| session.nodes().any(|node| node == dead);
        for session in self.store.find(there) {
            if is_own {
                let note = |state: &Session| names.extend(state.names_on(dead));
                self.store.view(&session, note);
            }
            self.follow(now, id, &session, &step, false);
        }
        if is_own && !self.stopping.load(Ordering::Relaxed) {
            tracing::warn!("this node was taken for dead: its members join again");
            self.agenda.add(now.mono, Job::Rejoin(names));
        }
    }

    /// A member that others believe to be gone.
    pub(in crate::signaling) fn join_again(
        &self,
        now: Now,
        connection: &mut Connection,
        names: &HashMap<SocketId, Arc<str>>,
    ) {
        let Some(member) = connection.joined.clone() else {
            return;
        };
        let gone = self.store.view(&member.session, |state| {
            state.participant_of(connection.socket).is_none()
        });
        if gone {
            let join = Join {
                session: member.session,
                participant: member.participant,
                name: names.get(&connection.socket).map(ToString::to_string),
            };
            self.come_back(now, connection, join);
        }
    }

    /// This node's greeting is back, with the time at which Redis had it.
    fn compare_clocks(&self, number: u64, stamped: UnixMillis) {
        if !self.reckoning.read(Now::read(), number, stamped) {
            return;
        }
        let offset_ms = self.reckoning.offset_ms();
        tracing::warn!(
            offset_ms,
            "this node's clock is not that of Redis, which all nodes go by"
        );
        let now = self.now();
        for id in self.store.find(|session| session.last_timer().is_some()) {
            self.store.clockface(&id, |session, clock| {
                self.set_clock(now, &id, session, clock);
            });
        }
    }

    fn greeted(&self, now: Now, node: NodeId, info: NodeInfo) {
        if self.nodes().hear(now, node, info) {
            self.introduce();
        }
    }

    /// Others are told of, and may be, peers.
    fn introduce(&self) {
        let nodes = self.nodes();
        self.ice_servers.set_neighbour(nodes.neighbour());
        self.relay.signaled().set_cluster(nodes.relayed());
    }
}

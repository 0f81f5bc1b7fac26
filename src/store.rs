//! Where sessions live: in this process, and, where there is a Redis, in step with other nodes.
//!
//! A session changes only inside [`Store::update`] and [`Store::follow`], under a lock that is never held over a wait.

mod diverged;
pub mod keys;
pub mod log;
pub mod redis;
mod retained;
mod stale;
mod table;

use std::{
    collections::HashMap,
    mem,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::clock::Now;
use crate::ident::{NodeId, ParticipantId, SessionId};
use crate::signaling::session::Session;
use crate::signaling::session::change::{Change, Trespass};
use crate::signaling::session::json::Json;
use crate::signaling::session::op::{Op, Parting, Step};
use crate::signaling::session::socket::Ticket;

use log::{Body, EntryId, Log};
use redis::RedisUrl;
use retained::Retained;
use table::{Entry, Table};

pub use stale::Stale;
pub use table::{Clockface, Fingerprint};

/// What the operator decides about the store.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The Redis that keeps the sessions in step with other nodes. Without one, this process alone keeps them.
    pub redis_url: Option<RedisUrl>,
}

/// Keeps the sessions.
#[derive(Debug)]
pub struct Store {
    node: NodeId,
    table: Table,
    /// In which session a ticket opens something.
    tickets: Mutex<HashMap<Ticket, SessionId>>,
    retained: Mutex<Retained>,
    /// Sessions with members.
    busy: AtomicUsize,
    log: Option<Log>,
    /// Whose keys in Redis are not as they should be.
    stale: Mutex<HashMap<SessionId, Stale>>,
}

/// A session whose keys are to be written.
#[derive(Clone, Copy, Debug)]
pub struct Left<'s> {
    /// As its members know it.
    pub session: &'s Session,
    /// As far as all nodes agree on it: the only part that may be taken for the state as of an entry of the log.
    pub confirmed: &'s Session,
    /// The last entry that is part of that.
    pub as_of: EntryId,
}

/// How much is going on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sessions with at least one participant.
    pub sessions: usize,
    /// Pairs of a session and a participant.
    pub participants: usize,
}

/// How much is going on here, and on all nodes together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// What has a connection to this node.
    pub here: Counts,
    /// Everything.
    pub everywhere: Counts,
}

impl Store {
    /// An empty store in this process.
    #[must_use]
    pub fn memory(node: NodeId) -> Self {
        Self::new(node, None)
    }

    /// An empty store whose changes go to `log`.
    #[must_use]
    pub fn replicated(node: NodeId, log: Log) -> Self {
        Self::new(node, Some(log))
    }

    fn new(node: NodeId, log: Option<Log>) -> Self {
        Self {
            node,
            table: Table::default(),
            tickets: Mutex::default(),
            retained: Mutex::default(),
            busy: AtomicUsize::new(0),
            log,
            stale: Mutex::default(),
        }
    }

    /// Which node this is.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The log that other nodes read, if there is one.
    #[must_use]
    pub fn log(&self) -> Option<&Log> {
        self.log.as_ref()
    }

    /// Lets `decide` choose what happens to the session, which is empty if nobody knew it; lets it happen; and then
    /// calls `commit` with what it asks for: for the changes of one session in the order in which they took hold.
    /// Neither may wait.
    ///
    /// # Errors
    /// What `decide` refuses, or what the session does.
    pub fn update<E: From<Trespass>, R>(
        &self,
        now: Now,
        id: &SessionId,
        decide: impl FnOnce(&Session) -> Result<Op, E>,
        commit: impl FnOnce(&Session, &mut Clockface, Change) -> R,
    ) -> Result<R, E> {
        let mut sessions = self.table.shard(id);
        let known = sessions.get_mut(id);
        let blank = &mut Entry::default();
        let is_new = known.is_none();
        let entry = known.unwrap_or(blank);
        let step = Step {
            at: now.unix,
            op: decide(entry.session())?,
        };
        let was_busy = !entry.session().is_empty();
        let change = self.take(entry, id, step.clone())?;
        self.note(&step, id, &change);
        let departed = change.departed.clone();
        let answer = entry.commit(change, commit);
        self.recount(was_busy, entry.session());
        self.mark(now, id, entry.session(), &step, departed);
        let is_blank = entry.session().is_blank(now.unix) && !entry.replica.is_ahead();
        if entry.session().is_empty() && !is_blank {
            self.retain(now, id, entry);
        }
        match (is_new, is_blank) {
            (true, false) => drop(sessions.insert(id.clone(), mem::take(blank))),
            (false, true) => drop(sessions.remove(id)),
            (true, true) | (false, false) => {}
        }
        Ok(answer)
    }

    /// A step comes from the log: of this node, whose effects have been seen to, or of another, for which `commit` is
    /// called as in [`update`](Self::update).
    pub fn follow(
        &self,
        now: Now,
        entry_id: EntryId,
        id: &SessionId,
        step: &Step,
        is_own: bool,
        commit: impl FnOnce(&Session, &mut Clockface, Change),
    ) {
        if let Some(log) = &self.log {
            log.interrupt(id);
        }
        let mut sessions = self.table.shard(id);
        let entry = sessions.entry(id.clone()).or_default();
        if entry.as_of >= entry_id {
            return self.note_again(step, id, entry.session());
        }
        entry.as_of = entry_id;
        let was_busy = !entry.session().is_empty();
        let mut departed = Vec::new();
        if is_own {
            let is_whole = entry.replica.confirm(step);
            if let Some(log) = self.log.as_ref().filter(|_| !is_whole) {
                log.diverged(id);
            }
        } else {
            let change = entry.replica.follow(step);
            self.note(step, id, &change);
            departed.clone_from(&change.departed);
            entry.commit(change, commit);
        }
        self.mark(now, id, entry.session(), step, departed);
        self.recount(was_busy, entry.session());
        self.settle(now, sessions, id);
    }

    /// Takes over a session as another node, or an earlier process, left it; `commit` is called with what that changes
    /// for the members here. Those that are connected here are members as they were. Ignored if this node knows better.
    pub fn restore(
        &self,
        now: Now,
        as_of: EntryId,
        id: &SessionId,
        confirmed: Session,
        commit: impl FnOnce(&Session, &mut Clockface, Change),
    ) {
        let mut sessions = self.table.shard(id);
        let entry = sessions.entry(id.clone()).or_default();
        if entry.as_of > as_of {
            return;
        }
        entry.as_of = as_of;
        let was_busy = !entry.session().is_empty();
        let (change, amends) = entry.replica.restore(now.unix, self.node, confirmed);
        for step in amends {
            self.append(entry, id, step);
        }
        self.forget(id, &change.void);
        let tickets = entry.session().tickets().map(|ticket| (ticket, id.clone()));
        self.tickets().extend(tickets);
        entry.commit(change, commit);
        self.recount(was_busy, entry.session());
        self.settle(now, sessions, id);
    }

    /// This node has read one of its own entries, and so whatever was appended before it. Sessions that went their own way
    /// before that are made anew for all nodes.
    pub fn make_anew(&self, read: EntryId, number: u64) {
        let Some(log) = &self.log else {
            return;
        };
        for id in log.due(number) {
            // What the session does next comes after it: the shard is locked until it is appended.
            let sessions = self.table.shard(&id);
            let known = sessions.get(&id).map(|entry| entry.replica.confirmed());
            log.make_anew(&id, read, known.cloned().unwrap_or_default());
        }
    }

    /// Whether a session is from here on as a node has made it anew in its entry of this number: not if something has
    /// happened to it after `as_of`, which that node did not know of. All nodes come to the same, or the session is made
    /// anew again.
    #[must_use]
    pub fn is_renewed(&self, id: &SessionId, node: NodeId, number: u64, as_of: EntryId) -> bool {
        let Some(log) = &self.log else {
            return false;
        };
        if node == self.node {
            return log.is_renewed(id, number);
        }
        log.interrupt(id);
        let sessions = self.table.shard(id);
        sessions.get(id).is_none_or(|entry| entry.as_of <= as_of)
    }

    /// Looks at a session while it keeps still: what `look` sends cannot overtake, nor be overtaken by, the news of
    /// a change. `look` must not wait.
    pub fn view<R>(&self, id: &SessionId, look: impl FnOnce(&Session) -> R) -> R {
        match self.table.shard(id).get(id) {
            Some(entry) => look(entry.session()),
            None => look(&Session::default()),
        }
    }

    /// Looks at a session and at what its members were told lately. Nothing for a session that nobody knows.
    pub fn clockface<R>(
        &self,
        id: &SessionId,
        look: impl FnOnce(&Session, &mut Clockface) -> R,
    ) -> Option<R> {
        let mut sessions = self.table.shard(id);
        let entry = sessions.get_mut(id)?;
        Some(look(entry.replica.session(), &mut entry.clockface))
    }

    /// Looks at every session in turn.
    pub fn for_each(&self, mut look: impl FnMut(&SessionId, &Session)) {
        self.table.for_each(|id, entry| look(id, entry.session()));
    }

    /// The sessions that satisfy `wanted`.
    pub fn find(&self, mut wanted: impl FnMut(&Session) -> bool) -> Vec<SessionId> {
        let mut found = Vec::new();
        self.for_each(|id, session| {
            if wanted(session) {
                found.push(id.clone());
            }
        });
        found
    }

    /// The session in which a ticket opens something.
    #[must_use]
    pub fn session_of(&self, ticket: Ticket) -> Option<SessionId> {
        self.tickets().get(&ticket).cloned()
    }

    /// How many sessions have members.
    #[must_use]
    pub fn busy(&self) -> usize {
        self.busy.load(Ordering::Relaxed)
    }

    /// Counts everything.
    #[must_use]
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        self.for_each(|_, session| {
            let (mut all, mut here) = (0, 0);
            for (_, mut nodes) in session.presence() {
                all += 1;
                here += usize::from(nodes.any(|node| node == self.node));
            }
            census.everywhere.count(all);
            census.here.count(here);
        });
        census
    }

    /// Forgets sessions that have been without members for long; says which.
    pub fn sweep(&self, now: Now) -> Vec<SessionId> {
        let due = self.retained().due(now.mono);
        let mut forgotten = Vec::new();
        for (since, id) in due {
            let mut sessions = self.table.shard(&id);
            let Some(entry) = sessions.get(&id) else {
                continue;
            };
            let is_due = entry.session().is_empty() && entry.kept_since == Some(since);
            if is_due && !entry.replica.is_ahead() {
                let void: Vec<_> = entry.session().tickets().collect();
                sessions.remove(&id);
                self.forget(&id, &void);
                forgotten.push(id);
            }
        }
        forgotten
    }

    /// The session's keys are no longer as they should be; `signal` is its last signaling message.
    pub fn touch(&self, id: &SessionId, signal: Option<Json>) {
        if self.log.is_none() {
            return;
        }
        let mut stale = self.stale();
        let stale = stale.entry(id.clone()).or_default();
        stale.state |= signal.is_none();
        stale.signal = signal.or(stale.signal.take());
    }

    /// The session's keys are as they were some time ago, if they are there at all.
    pub fn renew(&self, id: &SessionId) {
        if self.log.is_none() {
            return;
        }
        let mut stale = self.stale();
        let stale = stale.entry(id.clone()).or_default();
        (stale.state, stale.anew) = (true, true);
    }

    /// Takes what is to be written, with each session as it is now. The first member's node writes; where there is none,
    /// every node does. `is_alone`: no other node does so at the moment.
    pub fn take_stale(
        &self,
        now: Now,
        is_alone: bool,
        mut write: impl FnMut(&SessionId, Stale, Option<Left<'_>>),
    ) {
        let stale = mem::take(&mut *self.stale());
        for (id, stale) in stale {
            let sessions = self.table.shard(&id);
            let entry = sessions.get(&id);
            let keeper = entry.and_then(|entry| entry.session().keeper());
            let is_keeper = keeper.is_none_or(|keeper| keeper == self.node);
            let is_ahead = entry.is_some_and(|entry| entry.replica.is_ahead());
            let (due, later) = stale.split(now.mono, is_keeper, is_alone, is_ahead);
            if let Some(due) = due {
                let left = entry.map(|entry| Left {
                    session: entry.replica.session(),
                    confirmed: entry.replica.confirmed(),
                    as_of: entry.as_of,
                });
                write(&id, due, left);
            }
            drop(sessions);
            if let Some(later) = later {
                self.stale().entry(id).or_default().after(later);
            }
        }
    }

    fn take(&self, entry: &mut Entry, id: &SessionId, step: Step) -> Result<Change, Trespass> {
        if self.log.is_none() {
            return entry.replica.apply(&step);
        }
        let change = entry.replica.propose(&step)?;
        self.append(entry, id, step);
        Ok(change)
    }

    fn append(&self, entry: &mut Entry, id: &SessionId, step: Step) {
        let session = id.clone();
        let Some(log) = &self.log else {
            return entry.replica.settle();
        };
        if !log.append(Body::Step { session, step }) {
            // Away for too long: what all nodes have in common is made anew when it is back.
            entry.replica.settle();
            log.diverged(id);
        }
    }

    /// Keeps the index of tickets.
    fn note(&self, step: &Step, id: &SessionId, change: &Change) {
        if let Op::Join { member, .. } = &step.op
            && let Some(ticket) = member.ticket
        {
            self.tickets().insert(ticket, id.clone());
        }
        self.forget(id, &change.void);
    }

    /// A step that is part of this session already. A start reads the log from its beginning: a session that was joined
    /// before this one may just have taken a ticket that goes along to this one.
    fn note_again(&self, step: &Step, id: &SessionId, session: &Session) {
        if let Op::Join { member, .. } = &step.op
            && let Some(ticket) = member.ticket
            && session.tickets().any(|own| own == ticket)
        {
            self.tickets().insert(ticket, id.clone());
        }
    }

    /// Tickets open nothing in this session any more; whoever went on to another took theirs along.
    fn forget(&self, id: &SessionId, void: &[Ticket]) {
        if void.is_empty() {
            return;
        }
        let mut tickets = self.tickets();
        for ticket in void {
            if tickets.get(ticket) == Some(id) {
                tickets.remove(ticket);
            }
        }
    }

    fn recount(&self, was_busy: bool, session: &Session) {
        match (was_busy, !session.is_empty()) {
            (false, true) => drop(self.busy.fetch_add(1, Ordering::Relaxed)),
            (true, false) => drop(self.busy.fetch_sub(1, Ordering::Relaxed)),
            (true, true) | (false, false) => {}
        }
    }

    fn mark(
        &self,
        now: Now,
        id: &SessionId,
        session: &Session,
        step: &Step,
        departed: Vec<(ParticipantId, Parting)>,
    ) {
        if self.log.is_none() {
            return;
        }
        let mut stale = self.stale();
        let stale = stale.entry(id.clone()).or_default();
        stale.state = true;
        stale.timed |= session.had_timer(now.unix);
        if matches!(step.op, Op::End { .. }) {
            stale.end(now.mono);
        }
        let departed = departed.into_iter().map(|(who, _)| who);
        stale.depart(now.mono, departed);
    }

    fn settle(&self, now: Now, mut sessions: table::Shard<'_>, id: &SessionId) {
        let Some(entry) = sessions.get_mut(id) else {
            return;
        };
        if !entry.session().is_empty() || entry.replica.is_ahead() {
            return;
        }
        if entry.session().is_blank(now.unix) {
            sessions.remove(id);
        } else {
            self.retain(now, id, entry);
        }
    }

    /// Nobody is in it, and yet it is kept for a while.
    fn retain(&self, now: Now, id: &SessionId, entry: &mut Entry) {
        entry.kept_since = Some(now.mono);
        let bytes = entry.session().weight();
        self.retained().keep(now.mono, id.clone(), bytes);
    }

    fn tickets(&self) -> MutexGuard<'_, HashMap<Ticket, SessionId>> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn retained(&self) -> MutexGuard<'_, Retained> {
        self.retained.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stale(&self) -> MutexGuard<'_, HashMap<SessionId, Stale>> {
        self.stale.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn count(&mut self, participants: usize) {
        self.sessions += usize::from(participants > 0);
        self.participants += participants;
    }
}

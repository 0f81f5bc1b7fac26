//! The ways out: every connected client of this process, and what is on its way there.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::value::RawValue;

use crate::clock::Now;
use crate::ident::{NodeId, ParticipantId};
use crate::signaling::engine_io::{Full, Socket};
use crate::signaling::protocol::Event;
use crate::signaling::session::socket::{SocketId, Ticket};

use super::Seat;
use super::packet;
use super::replay::Replay;

/// The connected sockets of this process.
pub(in crate::signaling) struct Sockets {
    node: NodeId,
    outlets: RwLock<HashMap<u64, Arc<Outlet>>>,
    /// What clients that were lost would have missed.
    lost: Mutex<HashMap<Ticket, Missed>>,
    added: AtomicU64,
    offsets: AtomicU64,
    watching: AtomicUsize,
    /// In milliseconds.
    recovery: AtomicU64,
    /// Clients that did not read what they were sent.
    overruns: AtomicU64,
}

/// What a lost client has not had, and who it is.
pub(in crate::signaling) struct Missed {
    since: Instant,
    pub(super) participant: ParticipantId,
    pub(super) replay: Replay,
}

/// The way out to one client.
pub(in crate::signaling) struct Outlet {
    socket: Weak<Socket<Seat>>,
    ticket: Option<Ticket>,
    replay: Mutex<Replay>,
    /// Whether it watches the parser.
    watches: AtomicBool,
}

impl Sockets {
    /// None yet.
    pub(in crate::signaling) fn new(node: NodeId, recovery: Duration) -> Self {
        Self {
            node,
            outlets: RwLock::default(),
            lost: Mutex::default(),
            added: AtomicU64::new(0),
            offsets: AtomicU64::new(0),
            watching: AtomicUsize::new(0),
            recovery: AtomicU64::new(millis(recovery)),
            overruns: AtomicU64::new(0),
        }
    }

    /// For how long a lost client may come back; zero if it may not.
    pub(in crate::signaling) fn recovery(&self) -> Duration {
        Duration::from_millis(self.recovery.load(Ordering::Relaxed))
    }

    /// So long from now on.
    pub(in crate::signaling) fn set_recovery(&self, recovery: Duration) {
        self.recovery.store(millis(recovery), Ordering::Relaxed);
    }

    /// Sends `event` to each of `to` that is here. A socket that cannot take it is cut off, the others get theirs.
    pub(in crate::signaling) fn deliver(&self, now: Now, to: &[SocketId], event: &Event) {
        let mut here = to
            .iter()
            .filter(|socket| socket.node == self.node)
            .peekable();
        if here.peek().is_none() {
            return;
        }
        let (offset, packet) = self.encode(event);
        let outlets = self.outlets.read().unwrap_or_else(PoisonError::into_inner);
        for outlet in here.filter_map(|socket| outlets.get(&socket.number)) {
            self.send(now, outlet, offset, &packet);
        }
    }

    /// Keeps `event` for clients that may come back and would have had it.
    pub(in crate::signaling) fn keep(
        &self,
        now: Now,
        tickets: impl Iterator<Item = Ticket>,
        event: &Event,
    ) {
        let mut tickets = tickets.peekable();
        if tickets.peek().is_none() {
            return;
        }
        let (offset, packet) = self.encode(event);
        let mut lost = self.lost();
        for ticket in tickets {
            if let (Some(missed), Some(offset)) = (lost.get_mut(&ticket), offset) {
                missed.replay.push(now.mono, offset, &packet);
            }
        }
    }

    /// Nobody comes back by these.
    pub(in crate::signaling) fn forget(&self, void: &[Ticket]) {
        if !void.is_empty() {
            let mut lost = self.lost();
            for ticket in void {
                lost.remove(ticket);
            }
        }
    }

    /// Whom a lost client was, in whatever session.
    pub(in crate::signaling) fn lost_participant(&self, ticket: Ticket) -> Option<ParticipantId> {
        self.lost()
            .get(&ticket)
            .map(|missed| missed.participant.clone())
    }

    /// Sends `event` to all who watch the parser.
    pub(in crate::signaling) fn deliver_to_watchers(&self, now: Now, event: &Event) {
        let (offset, packet) = self.encode(event);
        let outlets = self.outlets.read().unwrap_or_else(PoisonError::into_inner);
        let watches = |outlet: &&Arc<Outlet>| outlet.watches.load(Ordering::Relaxed);
        for outlet in outlets.values().filter(watches) {
            self.send(now, outlet, offset, &packet);
        }
    }

    /// Sends `event` to everybody.
    pub(in crate::signaling) fn deliver_to_all(&self, now: Now, event: &Event) {
        let (offset, packet) = self.encode(event);
        for outlet in self.all() {
            self.send(now, &outlet, offset, &packet);
        }
    }

    /// How many there are.
    pub(in crate::signaling) fn count(&self) -> usize {
        self.outlets
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// How many were cut off as they did not read what they were sent.
    pub(in crate::signaling) fn overruns(&self) -> u64 {
        self.overruns.load(Ordering::Relaxed)
    }

    /// How many watch the parser.
    pub(in crate::signaling) fn watching(&self) -> usize {
        self.watching.load(Ordering::Relaxed)
    }

    /// Begins, or ends, to watch the parser.
    pub(in crate::signaling) fn watch(&self, outlet: &Outlet, watches: bool) {
        let watched = outlet.watches.swap(watches, Ordering::Relaxed);
        match (watched, watches) {
            (false, true) => drop(self.watching.fetch_add(1, Ordering::Relaxed)),
            (true, false) => drop(self.watching.fetch_sub(1, Ordering::Relaxed)),
            (true, true) | (false, false) => {}
        }
    }

    /// Forgets what these were sent too long ago to be asked for again.
    pub(in crate::signaling) fn expire(&self, now: Now, outlets: &[Arc<Outlet>]) {
        let recovery = self.recovery();
        for outlet in outlets {
            outlet.replay().expire(now.mono, recovery);
        }
    }

    /// Forgets who was lost too long ago to come back.
    pub(in crate::signaling) fn expire_lost(&self, now: Now) {
        let recovery = self.recovery();
        self.lost()
            .retain(|_, missed| missed.since + recovery > now.mono);
    }

    /// A client connects, and may come back by `ticket`. An engine's id is its connection's: a client that
    /// disconnects and connects again on the same one has it twice, and the end of the first must not end the second.
    /// So sockets are numbered.
    pub(super) fn add(
        &self,
        socket: &Arc<Socket<Seat>>,
        ticket: Option<Ticket>,
    ) -> (SocketId, Arc<Outlet>) {
        let number = self.added.fetch_add(1, Ordering::Relaxed);
        let outlet = Arc::new(Outlet {
            socket: Arc::downgrade(socket),
            ticket,
            replay: Mutex::default(),
            watches: AtomicBool::new(false),
        });
        let mut outlets = self.outlets.write().unwrap_or_else(PoisonError::into_inner);
        outlets.insert(number, Arc::clone(&outlet));
        let node = self.node;
        (SocketId { node, number }, outlet)
    }

    /// A client is gone; one that was lost as `lost_as` may come back for what it missed.
    pub(super) fn remove(&self, now: Now, id: SocketId, lost_as: Option<ParticipantId>) {
        let mut outlets = self.outlets.write().unwrap_or_else(PoisonError::into_inner);
        let removed = outlets.remove(&id.number);
        drop(outlets);
        let Some(outlet) = removed else {
            return;
        };
        self.watch(&outlet, false);
        let replay = std::mem::take(&mut *outlet.replay());
        if let (Some(ticket), Some(participant)) = (outlet.ticket, lost_as) {
            let mut lost = self.lost();
            if lost.len() < LOST_MAX {
                let missed = Missed {
                    since: now.mono,
                    participant,
                    replay,
                };
                lost.insert(ticket, missed);
            }
        }
    }

    /// What was sent to a client that has gone, and then came back.
    pub(super) fn take_lost(&self, ticket: Ticket) -> Option<Replay> {
        self.lost().remove(&ticket).map(|missed| missed.replay)
    }

    /// Sends again what a client missed.
    pub(super) fn replay(&self, now: Now, outlet: &Outlet, replay: &Replay, after: Option<u64>) {
        for (offset, packet) in replay.after(after) {
            self.send(now, outlet, Some(offset), &packet);
        }
    }

    /// Sends to one client alone what is not worth sending twice.
    pub(in crate::signaling) fn refuse(&self, now: Now, outlet: &Outlet, error: &Event) {
        self.send(now, outlet, None, &packet::event(error, None));
    }

    /// Answers a client's event.
    pub(super) fn acknowledge(&self, now: Now, outlet: &Outlet, number: i64, payload: &RawValue) {
        self.send(now, outlet, None, &packet::ack(number, payload));
    }

    /// The way out to a socket of this node.
    pub(super) fn outlet(&self, id: SocketId) -> Option<Arc<Outlet>> {
        if id.node != self.node {
            return None;
        }
        let outlets = self.outlets.read().unwrap_or_else(PoisonError::into_inner);
        outlets.get(&id.number).cloned()
    }

    /// Every way out there is.
    pub(in crate::signaling) fn all(&self) -> Vec<Arc<Outlet>> {
        let outlets = self.outlets.read().unwrap_or_else(PoisonError::into_inner);
        outlets.values().cloned().collect()
    }

    fn encode(&self, event: &Event) -> (Option<u64>, Arc<str>) {
        let is_kept = !self.recovery().is_zero();
        let offset = is_kept.then(|| self.offsets.fetch_add(1, Ordering::Relaxed));
        (offset, packet::event(event, offset))
    }

    fn send(&self, now: Now, outlet: &Outlet, offset: Option<u64>, packet: &Arc<str>) {
        if let (Some(offset), Some(_)) = (offset, outlet.ticket) {
            outlet.replay().push(now.mono, offset, packet);
        }
        if let Some(socket) = outlet.socket.upgrade()
            && socket.send(packet) == Err(Full)
        {
            tracing::debug!("a client that does not read what it is sent is cut off");
            self.overruns.fetch_add(1, Ordering::Relaxed);
            socket.cut();
        }
    }

    fn lost(&self) -> MutexGuard<'_, HashMap<Ticket, Missed>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Beyond these, who comes back has missed what was under way.
const LOST_MAX: usize = 100_000;

impl Outlet {
    /// Ends the connection, without a word more.
    pub(in crate::signaling) fn cut(&self) {
        if let Some(socket) = self.socket.upgrade() {
            socket.cut();
        }
    }

    /// Its connection, while it lasts.
    pub(super) fn socket(&self) -> Option<Arc<Socket<Seat>>> {
        self.socket.upgrade()
    }

    fn replay(&self) -> MutexGuard<'_, Replay> {
        self.replay.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

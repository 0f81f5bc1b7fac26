//! In step with other nodes, and with earlier processes, over Redis. Nothing here is on the way of an event: what
//! happens is in memory first, in Redis a moment later.

use std::{mem, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use crate::clock::{Now, UnixMillis, UnixSeconds};
use crate::ident::{NodeId, ParticipantId, SessionId};
use crate::store::keys;
use crate::store::redis::{EntryId, KeyChange, LogEvent, Participants, Redis, Restored};
use crate::store::{Left, Stale};

use super::Signaling;
use super::nodes::GREETING;
use super::session::Session;

/// `setu:session:{sessionId}`: a session as far as the log had it.
#[derive(Deserialize)]
struct Snapshot {
    as_of: String,
    session: Session,
}

/// The same, to be written.
#[derive(Serialize)]
struct SnapshotOf<'a> {
    as_of: String,
    session: &'a Session,
}

impl Signaling {
    /// Reads what all nodes let happen, and writes what this one does, for as long as the process lives.
    pub(super) fn join_cluster(&self, redis: &Redis, events: mpsc::Receiver<LogEvent>) {
        tokio::spawn(self.clone().read_log(redis.clone(), events));
        tokio::spawn(self.clone().greet());
        tokio::spawn(self.clone().write_keys(redis.clone()));
    }

    async fn read_log(self, redis: Redis, mut events: mpsc::Receiver<LogEvent>) {
        let service = &self.service;
        let mut is_at_end = false;
        while let Some(event) = events.recv().await {
            let now = service.now();
            match event {
                LogEvent::Restored(restored) => {
                    let from = self.take_up(now, restored);
                    redis.follow(from);
                }
                LogEvent::Entry { id, text } => service.read_entry(now, id, &text),
                LogEvent::CaughtUp => {
                    tracing::info!("in step with Redis");
                    is_at_end = true;
                }
                LogEvent::Lost => {
                    tracing::warn!("Redis is away: this node goes on alone");
                }
                LogEvent::Returned { data_lost } => {
                    tracing::info!(data_lost, "Redis is back");
                    service.reunite(now, data_lost);
                }
            }
            // What is stored is told by the time that all nodes agree on.
            if is_at_end && service.reckoning.is_known() {
                self.caught_up
                    .send_if_modified(|caught_up| !mem::replace(caught_up, true));
            }
        }
    }

    /// Takes up what is in Redis; says from where on the log goes on.
    fn take_up(&self, now: Now, restored: Restored) -> EntryId {
        let Restored {
            snapshots,
            timers,
            revoked,
            nodes,
            ..
        } = restored;
        for (participant, until) in revoked {
            if let (Ok(participant), Ok(until)) =
                (ParticipantId::parse(&participant), until.parse())
            {
                self.service.revoked(now, &participant, UnixSeconds(until));
            }
        }
        let sessions = snapshots.len();
        for (id, text) in snapshots {
            let Some((id, as_of, session)) = read_snapshot(&id, &text) else {
                tracing::warn!("a session's snapshot cannot be read");
                continue;
            };
            self.service.take_over(now, as_of, &id, session);
        }
        for (id, text, _) in timers {
            let timer = keys::read_timer(now.unix, &text);
            if let (Ok(id), Some(timer)) = (SessionId::parse(&id), timer) {
                self.service.take_over_timer(now, &id, timer);
            }
        }
        for (node, _) in nodes {
            if let Ok(node) = u64::from_str_radix(&node, 16) {
                self.service.nodes().expect(now, NodeId(node));
            }
        }
        tracing::info!(sessions, "taken up from Redis");
        // Sessions without a snapshot may be in the log only: it is read from its beginning, and each session knows
        // what it has had.
        EntryId::START
    }

    async fn greet(self) {
        let mut ticks = interval(GREETING);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let relay = self.service.relay.snapshot().await;
            let info = self.service.info(&relay);
            self.service.greet(self.service.now(), info);
        }
    }

    async fn write_keys(self, redis: Redis) {
        let mut ticks = interval(WRITE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut renewed = Now::read().mono;
        loop {
            ticks.tick().await;
            let now = self.service.now();
            if now.mono > renewed + RENEW_EVERY {
                renewed = now.mono;
                self.service.touch_all();
            }
            self.write_stale(now, &redis);
        }
    }

    /// Hands over what is to be written.
    pub(super) fn write_stale(&self, now: Now, redis: &Redis) {
        let is_alone = self.service.nodes().is_empty();
        let store = &self.service.store;
        store.take_stale(now, is_alone, |id, stale, left| {
            redis.write(id.as_str(), change(now.unix, id, stale, left));
        });
    }
}

/// Keys live an hour; the application may drop them sooner.
const RENEW_EVERY: Duration = Duration::from_secs(300);
const KEY_LIVES: Duration = Duration::from_secs(3600);
/// Changes in between are written once.
const WRITE_EVERY: Duration = Duration::from_millis(100);

fn read_snapshot(id: &str, text: &str) -> Option<(SessionId, EntryId, Session)> {
    let snapshot: Snapshot = serde_json::from_str(text).ok()?;
    Some((
        SessionId::parse(id).ok()?,
        snapshot.as_of.parse().ok()?,
        snapshot.session,
    ))
}

/// What the keys of a session are to become.
fn change(now: UnixMillis, id: &SessionId, stale: Stale, left: Option<Left<'_>>) -> KeyChange {
    let signaling = match (&stale.signal, stale.ended) {
        (Some(message), _) => Some(Some(message.raw().get().to_owned())),
        (None, true) => Some(None),
        (None, false) => None,
    };
    if !stale.state {
        return KeyChange {
            signaling,
            ..KeyChange::default()
        };
    }
    let session = left.as_ref().map(|left| left.session);
    let present = session.into_iter().flat_map(|session| session.roster().0);
    let present = present.map(|(who, _)| who.as_str().to_owned()).collect();
    let timer = session.and_then(|session| session.timer(now));
    let timer = timer.map(|timer| (keys::timer(now, id, timer), KEY_LIVES));
    let is_timed = stale.timed || session.is_some_and(|session| session.had_timer(now));
    let snapshot = left.as_ref().and_then(|left| snapshot(now, left));
    let absent = stale.departed().map(|who| who.as_str().to_owned());
    let absent = absent.collect();
    KeyChange {
        participants: Some(match stale.ended || stale.anew {
            true => Participants::Replace { present },
            false => Participants::Update { present, absent },
        }),
        timer: (is_timed || stale.ended || stale.anew).then_some(timer),
        signaling,
        snapshot: Some(snapshot),
    }
}

fn snapshot(now: UnixMillis, left: &Left<'_>) -> Option<String> {
    if left.confirmed.is_blank(now) {
        return None;
    }
    let snapshot = SnapshotOf {
        as_of: left.as_of.to_string(),
        session: left.confirmed,
    };
    serde_json::to_string(&snapshot).ok()
}

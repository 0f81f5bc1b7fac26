//! Asks signaling and the relay what goes on.

use std::{collections::HashMap, sync::Arc};

use crate::clock::Now;
use crate::ident::{SessionId, UserId};
use crate::relay::engine::{AllocationView, DropReason, Usage};
use crate::relay::{Relay, Snapshot};
use crate::signaling::Signaling;
use crate::signaling::view::SessionView;

use super::frame::{Frame, Opened};
use super::history::{History, Point};
use super::rates::{Meters, Rate, SHORTEST, per_second};
use super::wanted::Wanted;

/// What it found a second ago, to compare with.
pub(super) struct Gatherer {
    signaling: Signaling,
    relay: Relay,
    history: History,
    earlier: (Now, Snapshot),
    latest: Option<Point>,
    users: Meters<UserId>,
    allocations: Meters<String>,
}

impl Gatherer {
    pub(super) fn new(signaling: Signaling, relay: Relay) -> Self {
        let now = Now::read();
        Self {
            signaling,
            relay,
            history: History::default(),
            earlier: (now, Snapshot::default()),
            latest: None,
            users: Meters::new(now.mono),
            allocations: Meters::new(now.mono),
        }
    }

    /// One more look, for all who want something, of whom `newest` came last.
    pub(super) async fn gather(&mut self, newest: u64, wanted: &[Arc<Wanted>]) -> Frame {
        let relay = self.relay.snapshot().await;
        let sessions = match wanted.is_empty() {
            true => Vec::new(),
            false => self.signaling.sessions(),
        };
        let opened = self.open(&sessions, wanted).await;
        let mut listed = HashMap::new();
        for wanted in wanted.iter().filter(|wanted| wanted.allocations) {
            if listed.contains_key(&wanted.search) {
                continue;
            }
            let found = self
                .relay
                .some_allocations(&wanted.search, ALLOCATIONS_MAX)
                .await;
            listed.insert(wanted.search.clone(), found);
        }
        let usage = self.relay.usage_of(on_pages(&sessions, wanted)).await;
        let now = Now::read();
        let shown = opened
            .values()
            .flat_map(|opened: &Opened| &opened.allocations);
        let shown = shown.chain(listed.values().flat_map(|found| &found.views));
        let shown = shown
            .map(|view| (view.id.clone(), usage_of(view)))
            .collect();
        let history = self.history.points().collect();
        let point = self.point(now, &relay);
        let timers = sessions.iter().filter(|session| session.timer.is_some());
        Frame {
            now,
            for_viewers: newest,
            sockets: self.signaling.sockets(),
            timers: timers.count(),
            point,
            history,
            nodes: self.signaling.nodes_seen(now, &relay),
            redis: self.signaling.redis(),
            relay,
            usage: self.users.read(now.mono, usage),
            opened,
            listed,
            allocation_rates: self.allocations.read(now.mono, shown),
            sessions,
        }
    }

    async fn open(
        &self,
        sessions: &[SessionView],
        wanted: &[Arc<Wanted>],
    ) -> HashMap<SessionId, Opened> {
        let mut opened = HashMap::new();
        for id in wanted.iter().filter_map(|wanted| wanted.session()) {
            if opened.contains_key(&id) {
                continue;
            }
            let Some(session) = sessions.iter().find(|session| session.id == id) else {
                continue;
            };
            let users = session.participants.iter().map(|who| UserId::of(&who.id));
            let allocations = self.relay.allocations_of(users.collect()).await;
            let figures = self.signaling.traffic(&id).await;
            opened.insert(
                id,
                Opened {
                    figures,
                    allocations,
                },
            );
        }
        opened
    }

    /// Kept, unless it comes too soon after the last one.
    fn point(&mut self, now: Now, relay: &Snapshot) -> Point {
        let census = self.signaling.census().here;
        let (earlier, before) = self.earlier;
        let passed = now.mono.saturating_duration_since(earlier.mono);
        let (old, new) = (&before.engine, &relay.engine);
        let (dropped, failed) = (dropped(relay), new.failed_logins);
        let mut point = Point {
            at: now.unix,
            sessions: census.sessions,
            participants: census.participants,
            allocations: new.allocations,
            ports: relay.ports_in_use,
            to_peers: Rate::between(old.to_peers, new.to_peers, passed),
            to_clients: Rate::between(old.to_clients, new.to_clients, passed),
            drops_per_second: per_second(self::dropped(&before), dropped, passed),
            failed_logins_per_second: per_second(old.failed_logins, failed, passed),
        };
        match self.latest {
            Some(latest) if passed < SHORTEST => {
                point.to_peers = latest.to_peers;
                point.to_clients = latest.to_clients;
                point.drops_per_second = latest.drops_per_second;
                point.failed_logins_per_second = latest.failed_logins_per_second;
            }
            Some(_) | None => {
                self.history.add(point);
                self.earlier = (now, *relay);
                self.latest = Some(point);
            }
        }
        point
    }
}

/// Everybody in the sessions on somebody's page, once.
fn on_pages(sessions: &[SessionView], wanted: &[Arc<Wanted>]) -> Vec<UserId> {
    let pages = wanted.iter().flat_map(|wanted| wanted.page(sessions).1);
    let everybody = pages.flat_map(|session| &session.participants);
    let mut users: Vec<_> = everybody.map(|who| &who.id).collect();
    users.sort_unstable();
    users.dedup();
    users.into_iter().map(UserId::of).collect()
}

fn usage_of(view: &AllocationView) -> Usage {
    Usage {
        allocations: 1,
        to_peers: view.to_peers,
        to_clients: view.to_clients,
    }
}

fn dropped(relay: &Snapshot) -> u64 {
    let reasons = DropReason::ALL.into_iter();
    let silent: u64 = reasons.map(|reason| relay.engine.dropped(reason)).sum();
    silent + relay.unsent.to_peers + relay.unsent.to_clients
}

/// Allocations in a list.
const ALLOCATIONS_MAX: usize = 100;

//! What one who watches is sent, as JSON.

use serde::Serialize;

use crate::http::admin::{Allocation, Timer};
use crate::ident::UserId;
use crate::relay::engine::limits::Limit;
use crate::relay::engine::policy::Denial;
use crate::relay::engine::{AllocationView, DropReason, Usage};
use crate::signaling::candidates::Kinds;
use crate::signaling::nodes::NodeView;
use crate::signaling::view::{ParticipantView, SessionView};

use super::frame::{Frame, Opened};
use super::history::Point;
use super::rates::{Rate, Relaying};
use super::wanted::Wanted;

/// One message.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer<'f> {
    /// Milliseconds since 1970.
    at: u64,
    point: Point,
    /// In the first message alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<&'f [Point]>,
    sockets: usize,
    timers: usize,
    relay: RelayAnswer,
    /// `null` where none is configured.
    redis: Option<&'static str>,
    nodes: Vec<Node>,
    list: List<'f>,
    /// `null` where none is wanted, or it has ended.
    session: Option<OpenSession<'f>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allocations: Option<Allocations<'f>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RelayAnswer {
    allocations: u64,
    permissions: u64,
    channels: u64,
    connections: u64,
    ports_in_use: usize,
    tcp_ports_in_use: usize,
    ports_total: usize,
    failed_logins: u64,
    /// Since the start, those that happened alone.
    drops: Vec<Counted>,
    refused: Vec<Counted>,
    denied: Vec<Counted>,
}

#[derive(Serialize)]
struct Counted {
    what: &'static str,
    total: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    /// In hexadecimal, as in Redis.
    id: String,
    own: bool,
    allocations: u64,
    ports_in_use: usize,
    sockets: usize,
    draining: bool,
    silent_seconds: u64,
}

#[derive(Serialize)]
struct List<'f> {
    matching: usize,
    sessions: Vec<Row<'f>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'f> {
    session_id: &'f str,
    participants: usize,
    /// A few of them, by name.
    names: Vec<&'f str>,
    queue: usize,
    timer: Option<Timer>,
    allocations: u64,
    rate: Option<Rate>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OpenSession<'f> {
    session_id: &'f str,
    participants: Vec<Participant<'f>>,
    reader: Option<&'f str>,
    queue: Vec<&'f str>,
    verse: bool,
    timer: Option<Timer>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Participant<'f> {
    participant_id: &'f str,
    name: &'f str,
    sockets: usize,
    nodes: Vec<String>,
    candidates: Kinds,
    relay: Usage,
    rate: Option<Rate>,
    allocations: Vec<Measured<'f>>,
}

#[derive(Serialize)]
struct Allocations<'f> {
    matching: usize,
    allocations: Vec<Measured<'f>>,
}

#[derive(Serialize)]
struct Measured<'f> {
    #[serde(flatten)]
    allocation: Allocation<'f>,
    relay: Usage,
    rate: Option<Rate>,
}

impl<'f> Answer<'f> {
    pub(super) fn of(frame: &'f Frame, wanted: &Wanted, with_history: bool) -> Self {
        let (matching, page) = wanted.page(&frame.sessions);
        let opened = wanted.session().and_then(|id| {
            let opened = frame.opened.get(&id)?;
            let session = frame.sessions.iter().find(|session| session.id == id)?;
            Some(OpenSession::of(frame, session, opened))
        });
        let listed = wanted.allocations.then(|| frame.listed.get(&wanted.search));
        Self {
            at: frame.now.unix.0,
            point: frame.point,
            history: with_history.then_some(&*frame.history),
            sockets: frame.sockets,
            timers: frame.timers,
            relay: RelayAnswer::of(frame),
            redis: frame
                .redis
                .map(|is_live| if is_live { "live" } else { "away" }),
            nodes: frame.nodes.iter().map(Node::of).collect(),
            list: List {
                matching,
                sessions: page
                    .into_iter()
                    .map(|session| Row::of(frame, session))
                    .collect(),
            },
            session: opened,
            allocations: listed.flatten().map(|found| Allocations {
                matching: found.matching,
                allocations: found
                    .views
                    .iter()
                    .map(|view| Measured::of(frame, view))
                    .collect(),
            }),
        }
    }
}

impl RelayAnswer {
    fn of(frame: &Frame) -> Self {
        let (relay, engine) = (&frame.relay, &frame.relay.engine);
        let drops = DropReason::ALL.map(|reason| (reason.name(), engine.dropped(reason)));
        let unsent = [
            ("unsent_to_peers", relay.unsent.to_peers),
            ("unsent_to_clients", relay.unsent.to_clients),
        ];
        let refused = Limit::ALL.map(|limit| (limit.key(), relay.refused.by(limit)));
        let denied = Denial::ALL.map(|denial| (denial.name(), relay.refused.peers(denial)));
        Self {
            allocations: engine.allocations,
            permissions: engine.permissions,
            channels: engine.channels,
            connections: relay.connections,
            ports_in_use: relay.ports_in_use,
            tcp_ports_in_use: relay.tcp_ports_in_use,
            ports_total: relay.ports_total,
            failed_logins: engine.failed_logins,
            drops: counted(drops.into_iter().chain(unsent)),
            refused: counted(refused),
            denied: counted(denied),
        }
    }
}

fn counted(all: impl IntoIterator<Item = (&'static str, u64)>) -> Vec<Counted> {
    let happened = all.into_iter().filter(|(_, total)| *total > 0);
    happened
        .map(|(what, total)| Counted { what, total })
        .collect()
}

impl Node {
    fn of(view: &NodeView) -> Self {
        Self {
            id: view.id.to_string(),
            own: view.is_own,
            allocations: view.info.allocations,
            ports_in_use: view.info.ports_in_use,
            sockets: view.info.sockets,
            draining: view.info.draining,
            silent_seconds: view.silent.as_secs(),
        }
    }
}

impl<'f> Row<'f> {
    fn of(frame: &Frame, session: &'f SessionView) -> Self {
        let mut relaying = Relaying::default();
        for who in &session.participants {
            if let Some(more) = frame.usage.get(&UserId::of(&who.id)) {
                relaying.add(more);
            }
        }
        let names = session.participants.iter().take(NAMES_MAX);
        Self {
            session_id: session.id.as_str(),
            participants: session.participants.len(),
            names: names.map(|who| who.name.as_ref()).collect(),
            queue: session.queue.len(),
            timer: session.timer.map(Timer::of),
            allocations: relaying.usage.allocations,
            rate: relaying.rate,
        }
    }
}

impl<'f> OpenSession<'f> {
    fn of(frame: &'f Frame, session: &'f SessionView, opened: &'f Opened) -> Self {
        let participants = session.participants.iter();
        Self {
            session_id: session.id.as_str(),
            participants: participants
                .map(|who| Participant::of(frame, who, opened))
                .collect(),
            reader: session.reader.as_ref().map(|who| who.as_str()),
            queue: session.queue.iter().map(|who| who.as_str()).collect(),
            verse: session.verse.is_some(),
            timer: session.timer.map(Timer::of),
        }
    }
}

impl<'f> Participant<'f> {
    fn of(frame: &'f Frame, who: &'f ParticipantView, opened: &'f Opened) -> Self {
        let user = UserId::of(&who.id);
        let own = opened.allocations.iter().filter(|view| view.user == user);
        let mut relaying = Relaying::default();
        let mut allocations = Vec::new();
        for view in own {
            let measured = Measured::of(frame, view);
            relaying.add(&Relaying {
                usage: measured.relay,
                rate: measured.rate,
            });
            allocations.push(measured);
        }
        Self {
            participant_id: who.id.as_str(),
            name: &who.name,
            sockets: who.sockets,
            nodes: who.nodes.iter().map(ToString::to_string).collect(),
            candidates: who.candidates,
            relay: opened.figures.get(&who.id).copied().unwrap_or_default(),
            rate: relaying.rate,
            allocations,
        }
    }
}

impl<'f> Measured<'f> {
    fn of(frame: &Frame, view: &'f AllocationView) -> Self {
        let relaying = frame.allocation_rates.get(&view.id);
        Self {
            allocation: Allocation::of(view),
            relay: relaying.map(|relaying| relaying.usage).unwrap_or_default(),
            rate: relaying.and_then(|relaying| relaying.rate),
        }
    }
}

/// Names in a row.
const NAMES_MAX: usize = 4;

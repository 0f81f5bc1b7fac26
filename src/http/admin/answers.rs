//! What the administration's routes answer, as JSON.

use std::{net::SocketAddr, sync::Arc};

use serde::Serialize;

use crate::ident::{NodeId, ParticipantId, SessionId};
use crate::relay::engine::{AllocationView, Traffic, Usage};
use crate::signaling::session::json::Json;
use crate::signaling::session::timer::TimerView;
use crate::signaling::traffic::Figures;
use crate::signaling::view::{ParticipantView, SessionView};

/// `GET /api/sessions`
#[derive(Serialize)]
pub(super) struct Sessions {
    sessions: Vec<Summary>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    session_id: SessionId,
    participants: usize,
    queue: usize,
    verse: bool,
    timer: Option<Timer>,
}

/// `GET /api/sessions/{id}`
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SessionAnswer {
    session_id: SessionId,
    participants: Vec<Participant>,
    queue: Vec<ParticipantId>,
    current_reader: Option<ParticipantId>,
    verse: Option<Json>,
    timer: Option<Timer>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Participant {
    participant_id: ParticipantId,
    name: Arc<str>,
    sockets: usize,
    /// In hexadecimal, as in Redis.
    nodes: Vec<String>,
    relay: Usage,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Timer {
    /// Whole seconds.
    time_remaining: u64,
    is_active: bool,
    is_paused: bool,
}

/// `GET /api/allocations`
#[derive(Serialize)]
pub(super) struct Allocations<'v> {
    allocations: Vec<Counted<'v>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Counted<'v> {
    #[serde(flatten)]
    allocation: Allocation<'v>,
    to_peers: Traffic,
    to_clients: Traffic,
}

/// What an allocation is; what it relays stands beside that.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct Allocation<'v> {
    id: &'v str,
    user: &'v str,
    transport: &'static str,
    client: SocketAddr,
    relayed: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    additional_relayed: Option<SocketAddr>,
    age_seconds: u64,
    remaining_seconds: u64,
    permissions: u64,
    channels: u64,
}

impl Sessions {
    pub(super) fn of(views: &[SessionView]) -> Self {
        let sessions = views.iter().map(|view| Summary {
            session_id: view.id.clone(),
            participants: view.participants.len(),
            queue: view.queue.len(),
            verse: view.verse.is_some(),
            timer: view.timer.map(Timer::of),
        });
        Self {
            sessions: sessions.collect(),
        }
    }
}

impl SessionAnswer {
    /// Who never relayed has figures too: zeros.
    pub(super) fn of(view: SessionView, mut traffic: Figures) -> Self {
        let participants = view.participants.into_iter().map(|participant| {
            let relay = traffic.remove(&participant.id).unwrap_or_default();
            Participant::of(participant, relay)
        });
        Self {
            session_id: view.id,
            participants: participants.collect(),
            queue: view.queue,
            current_reader: view.reader,
            verse: view.verse,
            timer: view.timer.map(Timer::of),
        }
    }
}

impl Participant {
    fn of(view: ParticipantView, relay: Usage) -> Self {
        Self {
            participant_id: view.id,
            name: view.name,
            sockets: view.sockets,
            nodes: view.nodes.iter().map(NodeId::to_string).collect(),
            relay,
        }
    }
}

impl Timer {
    pub(in crate::http) fn of(view: TimerView) -> Self {
        Self {
            time_remaining: view.remaining_seconds,
            is_active: view.is_active,
            is_paused: view.is_paused,
        }
    }
}

impl<'v> Allocations<'v> {
    /// The oldest first.
    pub(super) fn of(views: &'v mut [AllocationView]) -> Self {
        views.sort_unstable_by(|one, other| (other.age, &one.id).cmp(&(one.age, &other.id)));
        let counted = views.iter().map(|view| Counted {
            allocation: Allocation::of(view),
            to_peers: view.to_peers,
            to_clients: view.to_clients,
        });
        Self {
            allocations: counted.collect(),
        }
    }
}

impl<'v> Allocation<'v> {
    pub(in crate::http) fn of(view: &'v AllocationView) -> Self {
        Self {
            id: &view.id,
            user: view.user.name(),
            transport: view.client.transport.name(),
            client: view.client.client,
            relayed: view.relayed,
            additional_relayed: view.additional_relayed,
            age_seconds: view.age.as_secs(),
            remaining_seconds: view.remaining.as_secs(),
            permissions: view.permissions,
            channels: view.channels,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{json, to_value};

    use super::*;

    #[test]
    fn figures_stand_beside_those_who_relayed_and_zeros_beside_the_others() {
        let [alice, bob] = ["alice", "bob"].map(|id| ParticipantId::parse(id).unwrap());
        let usage = Usage {
            allocations: 1,
            to_peers: Traffic {
                packets: 2,
                bytes: 30,
            },
            to_clients: Traffic::default(),
        };
        let answer = SessionAnswer::of(
            SessionView {
                id: SessionId::parse("reading").unwrap(),
                participants: vec![view(&alice), view(&bob)],
                queue: vec![bob.clone()],
                reader: Some(bob),
                verse: None,
                timer: Some(TimerView {
                    remaining_seconds: 7,
                    is_active: true,
                    is_paused: false,
                }),
            },
            Figures::from([(alice, usage)]),
        );
        let none = json!({ "packets": 0, "bytes": 0 });
        let participant = |id, relay| {
            json!({
                "participantId": id, "name": id, "sockets": 1,
                "nodes": ["00000000000000ab"], "relay": relay,
            })
        };
        let [busy, idle] = [(1, json!({ "packets": 2, "bytes": 30 })), (0, none.clone())].map(
            |(allocations, to_peers)| json!({ "allocations": allocations, "toPeers": to_peers, "toClients": none }),
        );
        let expected = json!({
            "sessionId": "reading",
            "participants": [participant("alice", busy), participant("bob", idle)],
            "queue": ["bob"],
            "currentReader": "bob",
            "verse": null,
            "timer": { "timeRemaining": 7, "isActive": true, "isPaused": false },
        });
        assert_eq!(to_value(answer).unwrap(), expected);
    }

    fn view(id: &ParticipantId) -> ParticipantView {
        ParticipantView {
            id: id.clone(),
            name: id.as_str().into(),
            sockets: 1,
            nodes: vec![NodeId(0xAB)],
            candidates: crate::signaling::candidates::Kinds::default(),
        }
    }
}

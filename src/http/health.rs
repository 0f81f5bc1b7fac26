//! `GET /health`: alive, and how much is going on.

use axum::{Json, extract};
use serde::Serialize;

use super::State;
use crate::clock::Now;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Health {
    status: &'static str,
    /// ISO 8601 in UTC.
    timestamp: String,
    /// Sessions with at least one participant.
    active_sessions: usize,
    /// (session, participant) pairs.
    active_participants: usize,
    relay: RelayHealth,
    /// All nodes together.
    cluster: ClusterHealth,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ClusterHealth {
    nodes: usize,
    active_sessions: usize,
    active_participants: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RelayHealth {
    allocations: u64,
    ports_in_use: usize,
    /// Of TCP allocations; the others are UDP ports.
    tcp_ports_in_use: usize,
    ports_total: usize,
    /// TCP connections between peers and the relay.
    peer_connections: u64,
}

pub(super) async fn answer(extract::State(state): extract::State<State>) -> Json<Health> {
    let now = Now::read();
    let census = state.signaling.census();
    let relay = state.relay.snapshot().await;
    Json(Health {
        status: if state.signaling.is_degraded() {
            "degraded"
        } else {
            "ok"
        },
        timestamp: now.unix.iso8601(),
        active_sessions: census.here.sessions,
        active_participants: census.here.participants,
        relay: RelayHealth {
            allocations: relay.engine.allocations,
            ports_in_use: relay.ports_in_use,
            tcp_ports_in_use: relay.tcp_ports_in_use,
            ports_total: relay.ports_total,
            peer_connections: relay.engine.peer_connections,
        },
        cluster: ClusterHealth {
            nodes: state.signaling.nodes(),
            active_sessions: census.everywhere.sessions,
            active_participants: census.everywhere.participants,
        },
    })
}

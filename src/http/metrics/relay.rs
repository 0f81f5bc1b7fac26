//! The relay's part of the page.

use crate::metrics::table as metric;
use crate::metrics::text::{Number, Page};
use crate::relay::Snapshot;
use crate::relay::engine::five_tuple::Transport;
use crate::relay::engine::limits::Limit;
use crate::relay::engine::policy::Denial;
use crate::relay::engine::{self, DropReason, Ending, RelayTransport};
use crate::relay::wire::request::Method;
use crate::relay::wire::response::ErrorCode;

pub(super) fn tell(page: &mut Page, relay: &Snapshot) {
    traffic(page, relay);
    answers(page, &relay.engine);
    peers(page, relay);
    allocations(page, &relay.engine);
    let engine = &relay.engine;
    page.one(&metric::PERMISSIONS, engine.permissions);
    page.one(&metric::CHANNELS, engine.channels);
    page.one(&metric::CONNECTIONS, relay.connections);
    page.one(&metric::PEER_CONNECTIONS, engine.peer_connections);
    let in_use = [
        (["udp"], relay.ports_in_use),
        (["tcp"], relay.tcp_ports_in_use),
    ];
    page.all(&metric::PORTS_IN_USE, in_use);
    page.all(
        &metric::PORTS,
        ["udp", "tcp"].map(|name| ([name], relay.ports_total)),
    );
}

/// The keys of the relay's limits, and what each has refused.
pub(super) fn limits(relay: &Snapshot) -> impl Iterator<Item = (&'static str, u64)> {
    let refused = relay.refused;
    Limit::ALL
        .into_iter()
        .map(move |limit| (limit.key(), refused.by(limit)))
}

fn traffic(page: &mut Page, relay: &Snapshot) {
    let Snapshot { engine, unsent, .. } = relay;
    let each_way = |to_peers: u64, to_clients: u64| -> [([&'static str; 1], Number); 2] {
        [
            (["to_peers"], to_peers.into()),
            (["to_clients"], to_clients.into()),
        ]
    };
    let (to_peers, to_clients) = (engine.to_peers, engine.to_clients);
    page.all(
        &metric::PACKETS,
        each_way(to_peers.packets, to_clients.packets),
    );
    page.all(&metric::PAYLOAD, each_way(to_peers.bytes, to_clients.bytes));
    let drops = DropReason::ALL.map(|reason| ([reason.name()], engine.dropped(reason)));
    page.all(&metric::DROPS, drops);
    page.all(
        &metric::UNSENT,
        each_way(unsent.to_peers, unsent.to_clients),
    );
    page.one(&metric::ICMP, engine.icmp);
}

fn answers(page: &mut Page, engine: &engine::Snapshot) {
    let successes = Method::ALL.map(|method| ([method.name()], engine.successes_of(method)));
    page.all(&metric::SUCCESSES, successes);
    let refusals = ErrorCode::ALL.map(|code| (code.parts().0, engine.refusals_with(code)));
    let refusals = refusals.into_iter().chain([(500, engine.classic_refusals)]);
    let refusals: Vec<_> = refusals
        .map(|(number, refused)| (number.to_string(), refused))
        .collect();
    let refusals = refusals
        .iter()
        .map(|(code, refused)| ([code.as_str()], *refused));
    page.all(&metric::REFUSALS, refusals);
    page.one(&metric::FAILED_LOGINS, engine.failed_logins);
    page.one(&metric::TAKEN_PEERS, engine.peers_taken);
    page.one(&metric::SHARED, engine.shared);
}

fn peers(page: &mut Page, relay: &Snapshot) {
    let denied = Denial::ALL.map(|denial| ([denial.name()], relay.refused.peers(denial)));
    page.all(&metric::DENIED_PEERS, denied);
    let engine = &relay.engine;
    let unsignaled = [
        (["refused"], engine.unsignaled_refused),
        (["observed"], engine.unsignaled_observed),
    ];
    page.all(&metric::UNSIGNALED_PEERS, unsignaled);
}

fn allocations(page: &mut Page, engine: &engine::Snapshot) {
    let alive = Transport::ALL.into_iter().flat_map(|client| {
        RelayTransport::ALL.map(|relayed| {
            let alive = engine.allocations_over(client, relayed);
            ([client.name(), relayed.name()], alive)
        })
    });
    page.all(&metric::ALLOCATIONS, alive);
    let made = Transport::ALL.map(|client| ([client.name()], engine.made_over(client)));
    page.all(&metric::MADE, made);
    let ended = Ending::ALL.map(|ending| ([ending.name()], engine.ended(ending)));
    page.all(&metric::ENDED, ended);
}

//! The part of the page that is about signaling, and Redis behind it.

use crate::metrics::table as metric;
use crate::metrics::text::Page;
use crate::signaling::Snapshot;
use crate::store::redis;

pub(super) fn tell(page: &mut Page, signaling: &Snapshot) {
    let (here, everywhere) = (signaling.census.here, signaling.census.everywhere);
    page.one(&metric::SESSIONS, here.sessions);
    page.one(&metric::PARTICIPANTS, here.participants);
    page.one(&metric::SOCKETS, signaling.sockets);
    page.one(&metric::MONITORS, signaling.monitors);
    connections(page, signaling);
    page.all(&metric::EVENTS, labelled(&signaling.events));
    page.all(&metric::ERRORS, labelled(&signaling.errors));
    page.distribution(&metric::HANDLING, &signaling.handling);
    page.one(&metric::NODES, signaling.nodes);
    page.one(&metric::ALL_SESSIONS, everywhere.sessions);
    page.one(&metric::ALL_PARTICIPANTS, everywhere.participants);
}

pub(super) fn tell_redis(page: &mut Page, redis: &redis::Snapshot) {
    page.one(&metric::REDIS_UP, redis.is_live);
    page.one(&metric::REDIS_CONNECTIONS, redis.connections);
    page.one(&metric::REDIS_ENTRIES, redis.waiting_entries);
    page.one(&metric::REDIS_BYTES, redis.waiting_bytes);
    page.one(&metric::REDIS_KEYS, redis.waiting_keys);
    page.one(&metric::REDIS_DROPPED, redis.dropped);
    page.distribution(&metric::REDIS_APPEND, &redis.append);
}

fn connections(page: &mut Page, signaling: &Snapshot) {
    let engines = &signaling.engines;
    let now = [
        (["polling"], engines.polling),
        (["websocket"], engines.websocket),
    ];
    page.all(&metric::ENGINES, now);
    let opened = [
        (["polling"], engines.opened_polling),
        (["websocket"], engines.opened_websocket),
    ];
    page.all(&metric::ENGINES_OPENED, opened);
    page.one(&metric::UPGRADES, engines.upgraded);
    page.one(&metric::CONNECTED, signaling.connected);
    page.one(&metric::RECOVERED, signaling.recovered);
    page.all(&metric::TURNED_AWAY, labelled(&signaling.turned_away));
    let cut = [
        (["outbox_overrun"], signaling.overruns),
        (["flood"], signaling.floods),
    ];
    page.all(&metric::CUT, cut);
}

fn labelled(counted: &[(&'static str, u64)]) -> impl Iterator<Item = ([&'static str; 1], u64)> {
    counted.iter().map(|(name, number)| ([*name], *number))
}

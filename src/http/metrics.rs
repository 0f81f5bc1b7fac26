//! `GET /metrics`: everything that is counted, for Prometheus. On the HTTP port for whoever administers, and for this
//! machine; on listeners of its own for whoever reaches them.

use axum::{
    Router,
    extract::State as Ask,
    http::header,
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};

use super::administrator::Watcher;
use super::problem;
use super::stats::Stats;
use super::{State, in_time};
use crate::clock::UnixMillis;
use crate::metrics::table as metric;
use crate::metrics::text::{CONTENT_TYPE, Page};

mod relay;
mod signaling;

/// Nothing else, for listeners of its own.
pub fn router(state: State) -> Router {
    Router::new()
        .route("/metrics", get(for_everybody))
        .method_not_allowed_fallback(problem::method_not_allowed)
        .fallback(problem::not_found)
        .layer(middleware::from_fn(in_time))
        .with_state(state)
}

/// Among the other routes.
pub(super) fn routes() -> Router<State> {
    Router::new().route("/metrics", get(for_watchers))
}

async fn for_watchers(_: Watcher, Ask(state): Ask<State>) -> Response {
    answer(&state).await
}

async fn for_everybody(Ask(state): Ask<State>) -> Response {
    answer(&state).await
}

async fn answer(state: &State) -> Response {
    let text = page(&state.stats().await);
    let head = [
        (header::CONTENT_TYPE, CONTENT_TYPE),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (head, text).into_response()
}

fn page(stats: &Stats) -> String {
    let mut page = Page::default();
    let version = [([env!("CARGO_PKG_VERSION")], true)];
    page.all(&metric::BUILD, version);
    page.one(&metric::READY, stats.is_ready);
    relay::tell(&mut page, &stats.relay);
    limits(&mut page, stats);
    signaling::tell(&mut page, &stats.signaling);
    page.one(&metric::CREDENTIALS_FAILED, stats.http.failed_logins);
    if let Some(redis) = &stats.signaling.redis {
        signaling::tell_redis(&mut page, redis);
    }
    process(&mut page, stats);
    page.finish()
}

/// Those of all wings.
fn limits(page: &mut Page, stats: &Stats) {
    let of_relay = relay::limits(&stats.relay);
    let of_relay = of_relay.map(|(limit, refused)| (["relay", limit], refused));
    let signaling = &stats.signaling.limits;
    let of_signaling = signaling.iter().map(|(key, refused)| {
        let name = key.rsplit('.').next().unwrap_or(key);
        (["signaling", name], *refused)
    });
    let of_http = [
        ("connections_per_source", stats.http.connections_refused),
        ("credentials_per_minute", stats.http.credentials_refused),
    ];
    let of_http = of_http.map(|(name, refused)| (["http", name], refused));
    page.all(&metric::LIMITS, of_relay.chain(of_signaling).chain(of_http));
}

fn process(page: &mut Page, stats: &Stats) {
    let process = &stats.process;
    page.known(&metric::CPU, process.cpu);
    page.known(&metric::RESIDENT, process.resident_bytes);
    page.known(&metric::VIRTUAL, process.virtual_bytes);
    page.known(&metric::THREADS, process.threads);
    page.known(&metric::DESCRIPTORS, process.descriptors);
    page.known(&metric::DESCRIPTORS_MAX, process.descriptors_max);
    page.one(&metric::STARTED, stats.started.since(UnixMillis(0)));
}

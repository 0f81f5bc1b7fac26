//! What the relay must not reach on anybody's behalf: our own HTTP, and the Redis behind us.

use std::time::Duration;

use tokio::{
    net::lookup_host,
    time::{Instant, timeout_at},
};

use crate::clock::Now;
use crate::relay::engine::policy::PeerPolicy;
use crate::server::doors::Doors;
use crate::store::{self, redis::RedisUrl};

/// Adds them to what the policy denies. Names count for the addresses that they have now.
pub(super) async fn extend(policy: &mut PeerPolicy, doors: &Doors, store: &store::Settings) {
    policy.own_listeners.extend(doors.http());
    policy.own_listeners.extend(doors.metrics());
    let deadline = Instant::from_std(Now::read().mono + RESOLVE_TIMEOUT);
    let redis_url = store.redis_url.as_ref();
    for (host, port) in redis_url.into_iter().flat_map(RedisUrl::hosts) {
        match timeout_at(deadline, lookup_host((host, port))).await {
            Ok(Ok(addrs)) => addrs.for_each(|addr| policy.keep_from(addr)),
            Ok(Err(_)) | Err(_) => tracing::warn!(
                host,
                "this host of store.redis_url has no address yet: the relay cannot tell it from other peers"
            ),
        }
    }
}

/// For all names together.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);

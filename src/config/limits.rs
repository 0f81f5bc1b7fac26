//! `[limits]` and `[signaling]`: how much there may be. 0 stands for no limit.

use std::{ops::RangeInclusive, time::Duration};

use super::raw::Raw;
use super::source::{ConfigError, Source};
use super::values;
use crate::relay;
use crate::signaling;
use crate::source::PerSource;

/// What holds for each client of the signaling, and for all of them.
pub(super) fn signaling(source: &Source, raw: &Raw) -> Result<signaling::Limits, ConfigError> {
    let keys = &raw.signaling;
    check_bytes(source, raw)?;
    Ok(signaling::Limits {
        connections: size(raw.limits.connections),
        connections_per_source: connections_per_source(source, raw),
        events_per_second: number(keys.events_per_second),
        participants_per_session: size(keys.participants_per_session),
        sessions: size(keys.sessions),
        payload_bytes: size(keys.payload_bytes),
        outbox_bytes: size(keys.outbox_bytes),
    })
}

/// What holds for each client of the relay, and for all of them.
pub(super) fn relay(source: &Source, raw: &Raw) -> relay::engine::limits::Settings {
    let keys = &raw.limits;
    relay::engine::limits::Settings {
        allocations: number(keys.allocations),
        allocations_per_user: number(keys.allocations_per_user),
        bytes_per_second: number(keys.bytes_per_second),
        bytes_per_second_per_user: number(keys.bytes_per_second_per_user),
        bytes_per_second_per_allocation: number(keys.bytes_per_second_per_allocation),
        unauthenticated_replies_per_second: per_source(
            source,
            "limits.unauthenticated_replies_per_second",
            keys.unauthenticated_replies_per_second,
        ),
        failed_logins_per_minute: per_source(
            source,
            "limits.failed_logins_per_minute",
            keys.failed_logins_per_minute,
        ),
        connections: number(keys.connections),
        connections_per_source: connections_per_source(source, raw),
    }
}

/// For how long a lost connection can be taken up again; `None`: not at all.
pub(super) fn recovery(source: &Source, raw: &Raw) -> Result<Option<Duration>, ConfigError> {
    let recovery = values::duration(&raw.signaling.recovery, RECOVERY);
    let recovery = source.check("signaling.recovery", recovery)?;
    Ok((!recovery.is_zero()).then_some(recovery))
}

/// Connections at a time.
pub(super) fn connections_per_source(source: &Source, raw: &Raw) -> PerSource {
    let key = "limits.connections_per_source";
    per_source(source, key, raw.limits.connections_per_source)
}

/// Credentials a minute over HTTP.
pub(super) fn credentials_per_minute(source: &Source, raw: &Raw) -> PerSource {
    let key = "limits.credentials_per_minute";
    per_source(source, key, raw.limits.credentials_per_minute)
}

/// As a count of things that fit into memory.
pub(super) fn size(typed: u32) -> Option<usize> {
    number(typed).and_then(|number| usize::try_from(number).ok())
}

fn number(typed: u32) -> Option<u32> {
    (typed != 0).then_some(typed)
}

/// A default is for clients elsewhere; whoever types a bound means everybody.
fn per_source(source: &Source, key: &str, typed: u32) -> PerSource {
    PerSource {
        max: number(typed),
        counts_loopback: source.is_typed(key),
    }
}

/// Whoever sends a payload that does not fit into an outbox would have everybody dropped who receives it.
fn check_bytes(source: &Source, raw: &Raw) -> Result<(), ConfigError> {
    let (payload, outbox) = (raw.signaling.payload_bytes, raw.signaling.outbox_bytes);
    if number(payload).is_some_and(|bytes| bytes < PAYLOAD_BYTES_MIN) {
        let problem = format!("must be at least {PAYLOAD_BYTES_MIN}; 0 is no limit");
        return Err(source.complain("signaling.payload_bytes", &problem));
    }
    if outbox == 0 || payload <= outbox {
        return Ok(());
    }
    if source.is_typed("signaling.outbox_bytes") {
        let problem = format!(
            "holds less than one payload (signaling.payload_bytes); write at least {payload}"
        );
        return Err(source.complain("signaling.outbox_bytes", &problem));
    }
    let problem = format!("does not fit into signaling.outbox_bytes; write at most {outbox}");
    Err(source.complain("signaling.payload_bytes", &problem))
}

const PAYLOAD_BYTES_MIN: u32 = 1000;
const RECOVERY: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);

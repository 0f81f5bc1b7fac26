//! The values that the application's own server code reads and writes beside Setu.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::UnixMillis;
use crate::ident::SessionId;
use crate::signaling::session::timer::{DURATION_MAX, Timer};

/// `timer:{sessionId}`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TimerValue<'a> {
    session_id: &'a SessionId,
    /// Seconds.
    duration: f64,
    /// Whole seconds.
    time_remaining: u64,
    is_active: bool,
    is_paused: bool,
    start_time: UnixMillis,
    #[serde(skip_serializing_if = "Option::is_none")]
    pause_time: Option<UnixMillis>,
}

/// What the application may have written, in this form or in a shorter one of its own.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredTimer {
    duration: f64,
    start_time: f64,
    pause_time: Option<f64>,
    time_remaining: Option<f64>,
    #[serde(default)]
    is_paused: bool,
    #[serde(default = "yes")]
    is_active: bool,
}

/// The timer as the application reads it.
#[must_use]
pub fn timer(now: UnixMillis, session: &SessionId, timer: &Timer) -> String {
    let view = timer.view(now);
    let value = TimerValue {
        session_id: session,
        duration: timer.duration().as_secs_f64(),
        time_remaining: view.remaining_seconds,
        is_active: view.is_active,
        is_paused: view.is_paused,
        start_time: timer.started_at(),
        pause_time: timer.paused_at(),
    };
    serde_json::to_string(&value).unwrap_or_default()
}

/// The timer that a text tells of; `None` for what is no timer, or none that still runs.
#[must_use]
pub fn read_timer(now: UnixMillis, text: &str) -> Option<Timer> {
    let stored: StoredTimer = serde_json::from_str(text).ok()?;
    let duration = Duration::try_from_secs_f64(stored.duration).ok()?;
    let started_at = millis(stored.start_time)?;
    let paused_at = match (stored.is_paused, stored.pause_time, stored.time_remaining) {
        (false, _, _) => None,
        (true, Some(at), _) => Some(millis(at)?),
        (true, None, Some(left)) => {
            let left = Duration::try_from_secs_f64(left).ok()?;
            Some(started_at.plus(duration.saturating_sub(left)))
        }
        (true, None, None) => return None,
    };
    let timer = Timer::restore(duration, started_at, paused_at);
    let is_sound =
        stored.is_active && duration <= DURATION_MAX && started_at <= now.plus(DURATION_MAX);
    (is_sound && !timer.is_over(now)).then_some(timer)
}

fn millis(number: f64) -> Option<UnixMillis> {
    let seconds = Duration::try_from_secs_f64(number / 1000.0).ok()?;
    u64::try_from(seconds.as_millis()).ok().map(UnixMillis)
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    #[test]
    fn a_running_timer_is_written_as_the_application_reads_it() {
        let session = SessionId::parse("s").unwrap();
        let running = Timer::start(NOW, Duration::from_secs(300));
        let text = timer(NOW.plus(Duration::from_secs(10)), &session, &running);
        let expected = r#"{"sessionId":"s","duration":300.0,"timeRemaining":290,"isActive":true,"isPaused":false,"startTime":1700000000000}"#;
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&text), value(expected));
        assert_eq!(read_timer(NOW, &text), Some(running));
    }

    #[test]
    fn timers_of_others_are_read() {
        let left = |text| read_timer(NOW, text).map(|timer| timer.remaining(NOW).as_secs());
        let cases = [
            (r#"{"startTime":1699999990000,"duration":60}"#, Some(50)),
            (r#"{"startTime":1699999900000,"duration":60}"#, None),
            (
                r#"{"startTime":1699999900000,"duration":60,"isPaused":true,"pauseTime":1699999920000}"#,
                Some(40),
            ),
            (
                r#"{"startTime":1699999900000,"duration":60,"isPaused":true,"timeRemaining":7}"#,
                Some(7),
            ),
            (
                r#"{"startTime":1699999990000,"duration":60,"isActive":false}"#,
                None,
            ),
            (r#"{"startTime":1699999990000,"duration":-1}"#, None),
            (r#"{"startTime":1699999990000,"duration":1e300}"#, None),
            (r#"{"startTime":"x","duration":60}"#, None),
            ("null", None),
            ("not JSON", None),
        ];
        for (text, expected) in cases {
            assert_eq!(left(text), expected, "{text}");
        }
    }
}

//! What members do to the timer. Its arithmetic has tests of its own.

use super::*;

#[test]
fn the_timer_obeys_every_member() {
    let mut session = room(&[(A, "alice"), (B, "bob")]);
    let left = |millis| Duration::from_millis(millis);
    let cases = [
        ("there is none", 0, TimerOp::Pause, false, None),
        ("none to resume", 0, TimerOp::Resume, false, None),
        (
            "none, and none wanted",
            0,
            TimerOp::SetRemaining(left(0)),
            false,
            None,
        ),
        (
            "started",
            0,
            TimerOp::Start(left(60_000)),
            true,
            Some(60_000),
        ),
        ("paused", 7_300, TimerOp::Pause, true, Some(52_700)),
        ("twice", 9_000, TimerOp::Pause, false, Some(52_700)),
        ("resumed", 20_000, TimerOp::Resume, true, Some(52_700)),
        ("twice", 20_700, TimerOp::Resume, false, Some(52_000)),
        (
            "set",
            20_700,
            TimerOp::SetRemaining(left(90_000)),
            true,
            Some(90_000),
        ),
        (
            "as it is",
            21_700,
            TimerOp::SetRemaining(left(89_000)),
            false,
            Some(89_000),
        ),
        (
            "replaced",
            21_700,
            TimerOp::Start(left(5_000)),
            true,
            Some(5_000),
        ),
        ("run out", 26_700, TimerOp::Pause, false, None),
        (
            "set anew",
            27_000,
            TimerOp::SetRemaining(left(3_000)),
            true,
            Some(3_000),
        ),
        (
            "to nothing",
            27_000,
            TimerOp::SetRemaining(left(0)),
            true,
            None,
        ),
    ];
    for (name, at, op, is_told, expected) in cases {
        let change = time(&mut session, at, B, op).unwrap();
        let news = is_told.then(|| told(Audience::Room, News::Timer));
        assert_eq!(change.told, Vec::from_iter(news), "{name}");
        let now = UnixMillis(at);
        let remaining = session.timer(now).map(|timer| timer.remaining(now));
        assert_eq!(remaining, expected.map(left), "{name}");
    }
}

#[test]
fn a_session_with_nothing_but_a_timer_is_remembered_until_it_has_run_out() {
    let start = UnixMillis(5_000);
    let session = Session::with_timer(Timer::start(start, seconds(10)));
    assert!(session.is_empty());
    assert!(!session.is_blank(start.plus(seconds(9))));
    assert!(session.is_blank(start.plus(seconds(10))));
    assert!(session.last_timer().is_some());
}

//! 65-68: Refresh ([RFC 8656 §8.2](https://www.rfc-editor.org/rfc/rfc8656#section-8.2)).

use crate::bytes::*;
use crate::desk::*;

#[test]
fn r65_lifetime_0_deletes_at_once() {
    let mut desk = Desk::bound();
    let request = desk.sign(home(), ALICE, good(REFRESH).lifetime(0));
    let answer = desk.send(home(), &request).answer();
    assert_eq!((answer.code(), answer.lifetime()), (0, 0));
    assert_eq!((desk.allocations(), desk.world.open.len()), (0, 0));
    assert!(matches!(
        desk.send(home(), &request).answer().code(),
        0 | 437
    ));
    for method in [REFRESH, CREATE_PERMISSION, CHANNEL_BIND] {
        assert_eq!(desk.code(good(method)), 437, "{method:#x}");
    }
    assert_eq!(desk.refresh(0).code(), 437);
    assert!(desk.on_channel(0x4000, b"x").is_silence());
    // The five-tuple is usable again, and inherits nothing.
    assert_eq!(desk.code(good(ALLOCATE)), 0);
    assert!(desk.on_channel(0x4000, b"x").is_silence());
    assert!(desk.send_to(PEER, b"x").is_silence());
}

#[test]
fn r66_refresh_counts_from_now() {
    for (asked, granted) in [
        (1, 600),
        (600, 600),
        (1200, 1200),
        (3600, 3600),
        (u32::MAX, 3600),
    ] {
        let mut desk = Desk::allocated();
        desk.wait(500);
        assert_eq!(desk.refresh(asked).lifetime(), granted, "{asked}");
        desk.wait(u64::from(granted) - 1);
        assert_eq!(desk.allocations(), 1, "{asked}");
        desk.wait(1);
        assert_eq!(desk.allocations(), 0, "{asked}");
    }
    let mut desk = Desk::allocated();
    let answer = desk.ask(home(), ALICE, Builder::request(REFRESH));
    assert_eq!((answer.code(), answer.lifetime()), (0, 600));
}

#[test]
fn r67_a_family_that_the_allocation_has_not_is_443() {
    for (mine, other) in [(1, 2), (2, 1)] {
        let mut desk = Desk::new();
        assert_eq!(desk.code(good(ALLOCATE).family(mine)), 0);
        for lifetime in [600, 0] {
            let request = good(REFRESH).family(other).lifetime(lifetime);
            assert_eq!(desk.code(request), 443);
            assert_eq!(desk.allocations(), 1);
        }
        assert_eq!(desk.code(good(REFRESH).family(mine).lifetime(600)), 0);
        assert_eq!(desk.code(good(REFRESH).family(mine).lifetime(0)), 0);
        assert_eq!(desk.allocations(), 0);
    }
}

#[test]
fn r68_data_does_not_refresh_and_expiry_frees_all() {
    let mut desk = Desk::bound();
    for _ in 0..5 {
        desk.wait(119);
        assert_eq!(desk.permit(PEER), 0);
        desk.on_channel(0x4000, b"x").outward();
        desk.send_to(PEER, b"x").outward();
        desk.peer_sends(PEER, b"x").inward();
    }
    desk.wait(4);
    assert_eq!(desk.allocations(), 1);
    desk.wait(1);
    let snapshot = desk.world.snapshot();
    assert_eq!(
        (
            snapshot.allocations,
            snapshot.permissions,
            snapshot.channels
        ),
        (0, 0, 0)
    );
    assert!(desk.world.open.is_empty() && desk.world.engine.poll_timeout().is_none());
    assert!(desk.peer_sends(PEER, b"x").is_silence() && desk.on_channel(0x4000, b"x").is_silence());
}

#[test]
fn r68_nothing_is_left_that_wakes_the_server() {
    let mut desk = Desk::allocated();
    assert_eq!(desk.refresh(3600).code(), 0);
    assert_eq!(desk.refresh(0).code(), 0);
    desk.wait(3600);
    assert_eq!(desk.world.engine.poll_timeout(), None);
}

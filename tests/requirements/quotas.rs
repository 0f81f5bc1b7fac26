//! 44, 59 and the decision d: how much one user, and one stranger, may have.

use setu::relay::engine::limits::Settings;
use setu::source::PerSource;

use crate::bytes::*;
use crate::desk::*;

fn per_user(max: u32) -> Settings {
    Settings {
        allocations_per_user: Some(max),
        ..Settings::default()
    }
}

#[test]
fn r44_a_name_has_one_quota_under_all_its_expiries() {
    let mut desk = Desk::limited(per_user(2));
    desk.world.relays_max = 20;
    let codes = [10, 11, 12].map(|host| {
        let (user, password) = desk.world.issue("carol");
        desk.wait(1);
        desk.ask(from(host), (&user, &password), good(ALLOCATE))
            .code()
    });
    assert_eq!(codes, [0, 0, 486]);
    let (user, password) = desk.world.issue("carol2");
    assert_eq!(
        desk.ask(from(13), (&user, &password), good(ALLOCATE))
            .code(),
        0
    );
}

#[test]
fn r59_a_quota_is_one_users_and_a_release_makes_room() {
    let mut desk = Desk::limited(per_user(2));
    desk.world.relays_max = 20;
    for (host, code) in [(1, 0), (2, 0), (3, 486), (4, 486)] {
        let answer = desk.ask(from(host), ALICE, good(ALLOCATE));
        assert_eq!(answer.code(), code, "{host}");
        assert!(answer.is_signed(&key(ALICE.0, REALM, ALICE.1)));
    }
    assert_eq!(desk.ask(from(5), BOB, good(ALLOCATE)).code(), 0);
    assert_eq!(
        desk.ask(from(1), ALICE, good(REFRESH).lifetime(0)).code(),
        0
    );
    assert_eq!(desk.ask(from(3), ALICE, good(ALLOCATE)).code(), 0);
    assert_eq!(desk.ask(from(1), ALICE, good(ALLOCATE)).code(), 486);
    // The checks come in the RFC's order: the quota is the last of them.
    assert_eq!(
        desk.ask(from(1), ALICE, Builder::request(ALLOCATE)).code(),
        400
    );
    let other = Builder::request(ALLOCATE).attr(attr::REQUESTED_TRANSPORT, &[1, 0, 0, 0]);
    assert_eq!(desk.ask(from(1), ALICE, other).code(), 442);
    assert_eq!(
        desk.ask(from(1), ALICE, good(ALLOCATE).family(9)).code(),
        440
    );
}

#[test]
fn r0d_a_source_has_a_budget_of_answers_that_it_has_not_earned() {
    let mut desk = Desk::limited(Settings {
        unauthenticated_replies_per_second: PerSource {
            max: Some(10),
            counts_loopback: false,
        },
        ..Settings::default()
    });
    let answered = |desk: &mut Desk, host: u8| {
        let bare = good(ALLOCATE).done();
        (0..100)
            .filter(|_| !desk.send(from(host), &bare).is_silence())
            .count()
    };
    assert_eq!(answered(&mut desk, 1), 20);
    assert_eq!(answered(&mut desk, 1), 0);
    // Others have their own, and Binding needs none.
    assert_eq!(answered(&mut desk, 2), 20);
    assert_eq!(desk.bare(from(1), Builder::request(BINDING)).code(), 0);
    desk.wait(1);
    assert_eq!(answered(&mut desk, 1), 10);
}

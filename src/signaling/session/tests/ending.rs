//! How members are shown out: by the operator, by the end of the session, by the death of their node.

use super::*;

#[test]
fn nothing_is_kept_of_a_session_that_has_ended() {
    let mut session = room(&[(A, "alice"), (B, "bob"), (C, "carol"), (B2, "bob")]);
    read(&mut session, A, ReadingOp::ReplaceQueue(ids("bob"))).unwrap();
    time(&mut session, 0, A, TimerOp::Start(seconds(60))).unwrap();
    lose(&mut session, C);
    lose(&mut session, B2);
    let change = end(&mut session, Some(A)).unwrap();
    assert_eq!(
        change.told,
        [told(These(vec![A, B]), News::Ended(reason()))]
    );
    let departed = ["alice", "bob", "carol"].map(|id| (who(id), Parting::Goodbye));
    assert_eq!(change.departed, departed, "whoever is awaited back, too");
    assert_eq!(change.void, [A, B, C, B2].map(ticket));
    assert!(session.is_empty() && session.reading().is_empty());
    assert_eq!(session.last_timer(), None);
}

#[test]
fn its_members_join_again_without_noise() {
    let mut session = room(&[(A, "alice"), (B, "bob")]);
    end(&mut session, Some(A)).unwrap();
    join(&mut session, A, "alice");
    let change = join(&mut session, B, "bob");
    assert_eq!(change.told, [told(Audience::Others(B), News::Roster)]);
    // The second time they are as new as others.
    leave(&mut session, B, "bob").unwrap();
    let change = join(&mut session, B, "bob");
    let announced = told(These(vec![A]), joined("bob", "bob"));
    assert_eq!(change.told.last(), Some(&announced));
}

#[test]
fn whoever_takes_their_time_does_not_join_again_by_themselves() {
    let late = BY_THEMSELVES + Duration::from_millis(1);
    for (after, is_news) in [(BY_THEMSELVES, false), (late, true)] {
        let mut session = room(&[(A, "alice"), (B, "bob")]);
        end(&mut session, Some(A)).unwrap();
        join(&mut session, A, "alice");
        let at = UnixMillis(0).plus(after).0;
        let change = apply(&mut session, at, joins(B, "bob", None)).unwrap();
        let announced = told(These(vec![A]), joined("bob", "bob"));
        assert_eq!(change.told.contains(&announced), is_news, "{after:?}");
    }
}

#[test]
fn an_echo_of_the_end_is_no_error() {
    let mut session = room(&[(A, "alice"), (B, "bob")]);
    end(&mut session, Some(A)).unwrap();
    join(&mut session, A, "alice");
    assert_eq!(end(&mut session, Some(B)), Ok(Change::default()));
    assert_eq!(roster(&session), "alice", "who is back already stays");
    lose(&mut session, B);
    assert_eq!(end(&mut session, Some(B)), Err(Trespass::NotInSession));
}

#[test]
fn an_ended_session_is_remembered_while_its_members_are_connected() {
    let mut session = room(&[(A, "alice"), (C, "carol")]);
    end(&mut session, None).unwrap();
    assert!(session.knows(A) && !session.is_blank(UnixMillis(0)));
    say_goodbye(&mut session, A);
    assert!(!session.knows(A) && session.knows(C));
    apply(&mut session, 0, Op::NodeGone { node: C.node }).unwrap();
    assert!(session.is_blank(UnixMillis(0)));
}

#[test]
fn who_left_before_the_end_has_departed_with_it() {
    let mut session = room(&[(A, "alice"), (B, "bob"), (B2, "bob")]);
    leave(&mut session, B, "bob").unwrap();
    let change = end(&mut session, None).unwrap();
    assert_eq!(
        change.told,
        [told(These(vec![A, B2]), News::Ended(reason()))]
    );
    let departed = ["alice", "bob"].map(|id| (who(id), Parting::Goodbye));
    assert_eq!(change.departed, departed);
}

#[test]
fn who_is_removed_has_left_by_all_sockets() {
    let mut session = room(&[(A, "alice"), (B, "bob"), (B2, "bob")]);
    read(&mut session, A, ReadingOp::ReplaceQueue(ids("bob alice"))).unwrap();
    let change = remove(&mut session, "bob");
    assert_eq!(
        change.told,
        [
            told(Audience::Room, left("bob")),
            told(These(vec![B, B2]), News::Left(who("bob"))),
            told(Audience::Room, News::Queue),
        ]
    );
    assert_eq!(change.departed, [(who("bob"), Parting::Goodbye)]);
    assert_eq!(change.void, [ticket(B), ticket(B2)]);
    assert_eq!(
        (roster(&session), turns(&session)),
        ("alice".into(), "alice: alice".into())
    );
    assert_eq!(remove(&mut session, "bob"), Change::default());
}

#[test]
fn who_is_removed_while_awaited_back_loses_ticket_and_relay() {
    let mut session = room(&[(A, "alice"), (B, "bob")]);
    lose(&mut session, B);
    let change = remove(&mut session, "bob");
    assert_eq!(change.departed, [(who("bob"), Parting::Goodbye)]);
    assert_eq!((change.told, change.void), (vec![], vec![ticket(B)]));
}

#[test]
fn the_members_of_a_dead_node_are_lost() {
    let mut session = room(&[
        (A, "alice"),
        (B, "bob"),
        (B2, "bob"),
        (C, "carol"),
        (D, "dave"),
    ]);
    read(
        &mut session,
        A,
        ReadingOp::ReplaceQueue(ids("carol dave alice")),
    )
    .unwrap();
    let change = apply(&mut session, 7, Op::NodeGone { node: C.node }).unwrap();
    assert_eq!(roster(&session), "alice bob");
    assert_eq!(
        change.departed,
        ["carol", "dave"].map(|id| (who(id), Parting::Lost))
    );
    assert_eq!(
        change.told,
        [
            told(Audience::Room, left("carol")),
            told(Audience::Room, News::Queue),
            told(Audience::Room, left("dave")),
        ],
        "of the queue once"
    );
    assert_eq!(turns(&session), "alice: alice");
    let carol = session.lost(ticket(C), UnixMillis(7)).unwrap();
    assert_eq!(carol.participant, who("carol"));
}

/// A restart is no reason to wait in the queue anew.
#[test]
fn who_is_lost_with_everybody_keeps_their_place() {
    let mut session = room(&[(C, "carol"), (D, "dave")]);
    read(&mut session, C, ReadingOp::ReplaceQueue(ids("carol dave"))).unwrap();
    let change = apply(&mut session, 7, Op::NodeGone { node: C.node }).unwrap();
    assert_eq!(change.void, []);
    assert!(session.is_empty());
    assert_eq!(turns(&session), "carol: carol dave");
}

fn end(session: &mut Session, by: Option<SocketId>) -> Result<Change, Trespass> {
    let reason = reason();
    apply(session, 0, Op::End { by, reason })
}

fn remove(session: &mut Session, id: &str) -> Change {
    let participant = who(id);
    apply(session, 0, Op::Remove { participant }).unwrap()
}

fn reason() -> Json {
    json("\"done\"")
}

const D: SocketId = on(2, 3);

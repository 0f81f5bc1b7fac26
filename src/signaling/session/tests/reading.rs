//! What is read, and whose turn it is.

use super::*;

#[test]
fn the_verse_is_told_by_one_event_always_and_by_the_other_when_it_changes_something() {
    let mut session = room(&[(A, "alice")]);
    let set = |verse: Option<&str>, reader: Option<&str>| ReadingOp::SetVerse {
        verse: verse.map(json),
        reader: reader.map(who),
    };
    let change = |verse| ReadingOp::ChangeVerse(json(verse));
    let cases = [
        ("another", change(r#"{"n":1}"#), true),
        ("the same, changed", change(r#"{"n":1}"#), true),
        ("the same, set", set(Some(r#"{ "n": 1 }"#), None), false),
        ("a reader", set(None, Some("alice")), true),
        (
            "the same reader",
            set(Some(r#"{"n":1}"#), Some("alice")),
            false,
        ),
        ("both", set(Some("2"), None), true),
        ("no verse", set(Some("null"), None), true),
        ("none already", set(Some("null"), None), false),
    ];
    for (name, op, is_told) in cases {
        let change = read(&mut session, A, op).unwrap();
        let expected = is_told.then(|| told(Audience::Room, News::Verse));
        assert_eq!(change.told, Vec::from_iter(expected), "{name}");
    }
    assert!(session.reading().is_empty());
}

#[test]
fn a_turn_begins_and_ends() {
    let mut session = room(&[(A, "alice"), (B, "bob")]);
    read(&mut session, A, ReadingOp::ChangeVerse(json("1"))).unwrap();
    read(&mut session, A, ReadingOp::ReplaceQueue(ids("alice bob"))).unwrap();

    let start = ReadingOp::Start(who("alice"), Some(json("2")));
    let started = News::ReadingStarted(who("alice"), Some(json("2")));
    let change = read(&mut session, A, start).unwrap();
    assert_eq!(change.told, [told(Audience::Room, started)]);
    assert_eq!(session.reading().verse(), Some(&json("1")), "only told");

    // Without a verse of its own it is the present one that was read.
    let finished = News::ReadingFinished(who("alice"), Some(json("1")));
    let finish = ReadingOp::Finish(who("alice"), None);
    let change = read(&mut session, A, finish).unwrap();
    assert_eq!(
        change.told,
        [
            told(Audience::Room, finished),
            told(Audience::Room, News::Queue),
        ]
    );
    assert_eq!(turns(&session), "bob: bob");
}

#[test]
fn a_queue_is_told_by_the_event_that_replaced_it() {
    let mut session = room(&[(A, "alice"), (B, "bob")]);
    let replace = |queue| ReadingOp::ReplaceQueue(ids(queue));
    let update = |queue| ReadingOp::UpdateQueue(ids(queue));
    let cases: [(&str, ReadingOp, &[News], &str); 7] = [
        (
            "a first one",
            replace("bob alice bob"),
            &[News::Queue],
            "bob: bob alice",
        ),
        (
            "the same",
            replace("bob alice"),
            &[News::Queue],
            "bob: bob alice",
        ),
        (
            "the same, updated",
            update("bob alice bob"),
            &[],
            "bob: bob alice",
        ),
        (
            "another",
            update("alice bob"),
            &[News::QueueUpdate],
            "bob: alice bob",
        ),
        (
            "another reader",
            update("alice"),
            &[News::QueueUpdate],
            "alice: alice",
        ),
        ("the end of it", replace(""), &[News::Queue], "nobody:"),
        ("none already", update(""), &[], "nobody:"),
    ];
    for (name, op, news, expected) in cases {
        let change = read(&mut session, A, op).unwrap();
        let news = news.iter().map(|news| told(Audience::Room, news.clone()));
        assert_eq!(change.told, news.collect::<Vec<_>>(), "{name}");
        assert_eq!(turns(&session), expected, "{name}");
    }
}

#[test]
fn who_leaves_is_out_of_the_queue_and_the_turn_passes_on() {
    type Way = fn(&mut Session) -> Change;
    let ways: [(&str, Way); 4] = [
        ("leaves", |session| leave(session, A, "alice").unwrap()),
        ("is lost", |session| lose(session, A)),
        ("says goodbye", |session| say_goodbye(session, A)),
        ("becomes another", |session| join(session, A, "alan")),
    ];
    for (how, goes) in ways {
        let mut session = room(&[(A, "alice"), (B, "bob")]);
        let queue = ReadingOp::ReplaceQueue(ids("alice bob"));
        read(&mut session, A, queue).unwrap();
        let change = goes(&mut session);
        let news = told(Audience::Room, News::Queue);
        assert!(change.told.contains(&news), "{how}");
        assert_eq!(turns(&session), "bob: bob", "{how}");
    }
}

#[test]
fn who_leaves_without_a_part_in_it_changes_no_queue() {
    let mut session = room(&[(A, "alice"), (B, "bob"), (B2, "bob")]);
    read(&mut session, A, ReadingOp::ReplaceQueue(ids("bob"))).unwrap();
    let change = leave(&mut session, A, "alice").unwrap();
    assert!(!change.told.contains(&told(Audience::Room, News::Queue)));
    assert_eq!(lose(&mut session, B).told, [], "one of two");
    assert_eq!(turns(&session), "bob: bob");
}

#[test]
fn the_last_one_lost_finds_the_queue_as_it_was() {
    let mut session = room(&[(A, "alice")]);
    read(&mut session, A, ReadingOp::ReplaceQueue(ids("alice"))).unwrap();
    lose(&mut session, A);
    assert!(session.is_empty());
    assert_eq!(turns(&session), "alice: alice");
    join(&mut session, A, "alice");
    say_goodbye(&mut session, A);
    assert_eq!(turns(&session), "nobody:", "a goodbye is meant");
}

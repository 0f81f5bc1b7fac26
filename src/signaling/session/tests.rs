//! Stories about one session, and what holds whatever happens in it.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

#[test]
fn a_newcomer_is_announced_to_the_others_alone() {
    let mut session = Session::default();
    join(&mut session, "a", "alice");
    let joined = session.join(&socket("b"), &who("bob"), Some("Bob"));
    let roster = roster(&[("alice", "alice"), ("bob", "Bob")]);
    let news = News::ParticipantJoined {
        id: who("bob"),
        name: "Bob".into(),
    };
    assert_eq!(joined.roster, roster);
    assert_eq!(
        joined.change.told,
        [told(&["a"], News::Joined(roster)), told(&["a"], news)]
    );
}

#[test]
fn the_same_socket_again_announces_nobody() {
    let mut session = Session::default();
    join(&mut session, "a", "alice");
    join(&mut session, "b", "bob");
    let again = session.join(&socket("b"), &who("bob"), None);
    let roster = roster(&[("alice", "alice"), ("bob", "bob")]);
    assert_eq!(again.change.told, [told(&["a"], News::Joined(roster))]);
}

#[test]
fn a_second_socket_is_announced_and_its_loss_is_no_leave() {
    let mut session = Session::default();
    join(&mut session, "a", "alice");
    join(&mut session, "b1", "bob");
    let second = join(&mut session, "b2", "bob");
    let announced = |told: &Told| matches!(&told.news, News::ParticipantJoined { .. });
    assert!(second.change.told.iter().any(announced));
    assert_eq!(session.disconnected(&socket("b1")), Change::default());
    assert_eq!(session.participants(), 2);
    let change = session.disconnected(&socket("b2"));
    assert_eq!(
        change.told,
        [told(&["a"], News::ParticipantLeft(who("bob")))]
    );
    assert_eq!(change.departed, Some(who("bob")));
}

#[test]
fn an_explicit_leave_is_announced_once_though_another_socket_stays() {
    let mut session = Session::default();
    join(&mut session, "a", "alice");
    join(&mut session, "b1", "bob");
    join(&mut session, "b2", "bob");
    let change = session.leave(&socket("b1"), &who("bob")).unwrap();
    assert_eq!(
        change.told,
        [
            told(&["a", "b2"], News::ParticipantLeft(who("bob"))),
            told(&["b1"], News::Left(who("bob"))),
        ]
    );
    assert_eq!(session.participants(), 1);
    assert_eq!(route(&session, "a", "alice", "bob"), Ok(sockets(&["b2"])));
    let later = session.disconnected(&socket("b2"));
    assert_eq!((later.told, later.departed), (vec![], Some(who("bob"))));
}

#[test]
fn who_left_and_joins_again_is_here_again() {
    let mut session = Session::default();
    join(&mut session, "b1", "bob");
    join(&mut session, "b2", "bob");
    join(&mut session, "a", "alice");
    session.leave(&socket("b1"), &who("bob")).unwrap();
    let again = join(&mut session, "b2", "bob");
    assert_eq!(again.roster, roster(&[("alice", "alice"), ("bob", "bob")]));
    let change = session.disconnected(&socket("b2"));
    assert_eq!(
        change.told,
        [told(&["a"], News::ParticipantLeft(who("bob")))]
    );
}

#[test]
fn a_socket_that_joins_under_another_id_has_left_under_the_first() {
    let mut session = Session::default();
    join(&mut session, "a", "alice");
    join(&mut session, "b", "bob");
    let joined = join(&mut session, "b", "bert");
    assert_eq!(
        joined.roster,
        roster(&[("alice", "alice"), ("bert", "bert")])
    );
    assert_eq!(joined.change.departed, Some(who("bob")));
    let left = told(&["a"], News::ParticipantLeft(who("bob")));
    assert_eq!(joined.change.told.first(), Some(&left));
}

#[test]
fn a_name_lasts_until_another_is_given() {
    let mut session = Session::default();
    session.join(&socket("b1"), &who("bob"), Some("Bob"));
    let second = session.join(&socket("b2"), &who("bob"), None);
    assert_eq!(second.roster, roster(&[("bob", "Bob")]));
    let renamed = session.join(&socket("b2"), &who("bob"), Some("Robert"));
    assert_eq!(renamed.roster, roster(&[("bob", "Robert")]));
}

#[test]
fn whom_a_message_reaches() {
    let mut session = Session::default();
    for (socket, participant) in [("a", "alice"), ("b1", "bob"), ("b2", "bob"), ("c", "carol")] {
        join(&mut session, socket, participant);
    }
    let others = session.route(&socket("b1"), &who("bob"), &Recipient::Others);
    assert_eq!(others, Ok(sockets(&["a", "b2", "c"])));
    let cases = [
        (
            "one participant",
            "a",
            "alice",
            "bob",
            Ok(sockets(&["b1", "b2"])),
        ),
        ("nobody known", "a", "alice", "dave", Ok(vec![])),
        ("oneself", "b1", "bob", "bob", Ok(vec![])),
        (
            "in another's name",
            "a",
            "bob",
            "carol",
            Err(Trespass::Forbidden),
        ),
        (
            "from outside",
            "x",
            "alice",
            "bob",
            Err(Trespass::NotInSession),
        ),
    ];
    for (name, from, signed, to, expected) in cases {
        assert_eq!(route(&session, from, signed, to), expected, "{name}");
    }
}

#[test]
fn nobody_leaves_in_anothers_name() {
    let mut session = Session::default();
    join(&mut session, "a", "alice");
    join(&mut session, "b", "bob");
    let forged = session.leave(&socket("a"), &who("bob"));
    assert_eq!(forged, Err(Trespass::Forbidden));
    assert_eq!(
        session.leave(&socket("x"), &who("bob")),
        Err(Trespass::NotInSession)
    );
    assert_eq!(session.participants(), 2);
}

#[derive(Clone, Debug)]
enum Step {
    Join(usize, usize),
    Leave(usize),
    Disconnect(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..6usize, 0..4usize).prop_map(|(socket, id)| Step::Join(socket, id)),
        1 => (0..6usize).prop_map(Step::Leave),
        1 => (0..6usize).prop_map(Step::Disconnect),
    ]
}

proptest! {
    /// What each member has been told adds up to what is: nobody is listed twice, missed or forgotten, and no change
    /// is told to the same socket twice.
    #[test]
    fn every_member_knows_who_is_here(steps in prop::collection::vec(step(), 0..60)) {
        let mut session = Session::default();
        let mut views: BTreeMap<SocketId, BTreeSet<ParticipantId>> = BTreeMap::new();
        for step in steps {
            let change = take(&mut session, &mut views, step);
            for told in &change.told {
                let once: BTreeSet<_> = told.to.iter().collect();
                prop_assert_eq!(once.len(), told.to.len());
                hear(&mut views, told);
            }
            views.retain(|socket, _| session.participant_of(socket).is_some());
            check(&session, &views)?;
        }
    }
}

/// The joiner's own copy is heard at once; the rest of the change is returned.
fn take(
    session: &mut Session,
    views: &mut BTreeMap<SocketId, BTreeSet<ParticipantId>>,
    step: Step,
) -> Change {
    match step {
        Step::Join(at, id) => {
            let socket = socket(SOCKETS[at]);
            let joined = session.join(&socket, &who(PARTICIPANTS[id]), None);
            views.insert(
                socket,
                joined.roster.0.iter().map(|(id, _)| id.clone()).collect(),
            );
            joined.change
        }
        Step::Leave(at) => {
            let socket = socket(SOCKETS[at]);
            let own = session.participant_of(&socket).cloned();
            own.map_or_else(Change::default, |own| session.leave(&socket, &own).unwrap())
        }
        Step::Disconnect(at) => session.disconnected(&socket(SOCKETS[at])),
    }
}

fn hear(views: &mut BTreeMap<SocketId, BTreeSet<ParticipantId>>, told: &Told) {
    for socket in &told.to {
        let Some(view) = views.get_mut(socket) else {
            continue;
        };
        match &told.news {
            News::Joined(roster) => *view = roster.0.iter().map(|(id, _)| id.clone()).collect(),
            News::ParticipantJoined { id, .. } => assert!(view.contains(id), "joined unheard"),
            News::ParticipantLeft(id) => drop(view.remove(id)),
            News::Left(_) => {}
        }
    }
}

fn check(
    session: &Session,
    views: &BTreeMap<SocketId, BTreeSet<ParticipantId>>,
) -> Result<(), TestCaseError> {
    let roster = session.participants.roster();
    let here: BTreeSet<_> = roster.0.iter().map(|(id, _)| id.clone()).collect();
    prop_assert_eq!(here.len(), roster.0.len());
    prop_assert_eq!(session.participants(), roster.0.len());
    for (socket, view) in views {
        prop_assert_eq!(view, &here, "{} is wrong", socket);
    }
    let members = SOCKETS
        .iter()
        .filter(|id| session.participant_of(&socket(id)).is_some());
    prop_assert_eq!(members.count() == 0, session.is_empty());
    Ok(())
}

const SOCKETS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const PARTICIPANTS: [&str; 4] = ["alice", "bob", "carol", "dave"];

fn join(session: &mut Session, id: &str, participant: &str) -> Joined {
    session.join(&socket(id), &who(participant), None)
}

fn route(session: &Session, from: &str, signed: &str, to: &str) -> Result<Vec<SocketId>, Trespass> {
    session.route(&socket(from), &who(signed), &Recipient::One(who(to)))
}

fn told(to: &[&str], news: News) -> Told {
    Told {
        to: sockets(to),
        news,
    }
}

fn roster(names: &[(&str, &str)]) -> Roster {
    let names = names.iter().map(|(id, name)| (who(id), Arc::from(*name)));
    Roster(names.collect())
}

fn sockets(ids: &[&str]) -> Vec<SocketId> {
    ids.iter().map(|id| socket(id)).collect()
}

fn socket(id: &str) -> SocketId {
    SocketId::new(id)
}

fn who(id: &str) -> ParticipantId {
    ParticipantId::parse(id).unwrap()
}

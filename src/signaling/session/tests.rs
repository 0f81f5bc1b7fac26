//! Stories about who is in a session; the rest of it has stories of its own.

mod ending;
mod properties;
mod reading;
mod replicas;
mod timing;
mod view;

use super::change::{Audience::These, Told};
use super::*;

#[test]
fn a_newcomer_is_announced_to_the_others_alone() {
    let mut session = Session::default();
    join(&mut session, A, "alice");
    let change = join_as(&mut session, B, "bob", "Bob");
    assert_eq!(
        change.told,
        [
            told(Audience::Others(B), News::Roster),
            told(These(vec![A]), joined("bob", "Bob")),
        ]
    );
    assert_eq!(roster(&session), "alice bob(Bob)");
    assert_eq!(change.departed, []);
}

#[test]
fn the_same_socket_again_announces_nobody() {
    let mut session = room(&[(A, "alice"), (B, "bob")]);
    let change = join(&mut session, B, "bob");
    assert_eq!(change.told, [told(Audience::Others(B), News::Roster)]);
    assert_eq!(roster(&session), "alice bob");
}

#[test]
fn a_second_socket_is_announced_and_its_loss_is_no_leave() {
    let mut session = room(&[(A, "alice"), (B, "bob")]);
    let change = join(&mut session, B2, "bob");
    let announced = told(These(vec![A, B]), joined("bob", "bob"));
    assert_eq!(change.told.last(), Some(&announced));
    assert_eq!(lose(&mut session, B).told, []);
    assert_eq!(session.participants(), 2);
    let change = lose(&mut session, B2);
    assert_eq!(change.told, [told(Audience::Room, left("bob"))]);
    assert_eq!(change.departed, [(who("bob"), Parting::Lost)]);
}

#[test]
fn an_explicit_leave_is_announced_once_though_another_socket_stays() {
    let mut session = room(&[(A, "alice"), (B, "bob"), (B2, "bob")]);
    let change = leave(&mut session, B, "bob").unwrap();
    assert_eq!(
        change.told,
        [
            told(Audience::Others(B), left("bob")),
            told(These(vec![B]), News::Left(who("bob"))),
        ]
    );
    assert_eq!(change.departed, [(who("bob"), Parting::Goodbye)]);
    assert_eq!(roster(&session), "alice");
    assert_eq!(route(&session, A, "alice", "bob"), Ok(vec![B2]));
    let change = lose(&mut session, B2);
    assert_eq!(change.told, []);
    assert_eq!(change.departed, [(who("bob"), Parting::Lost)]);
}

#[test]
fn who_left_and_joins_again_is_announced_again() {
    let mut session = room(&[(B, "bob"), (B2, "bob"), (A, "alice")]);
    leave(&mut session, B, "bob").unwrap();
    // By the socket that stayed: the others believe that nobody is behind it.
    let change = join(&mut session, B2, "bob");
    let announced = told(These(vec![A]), joined("bob", "bob"));
    assert_eq!(change.told.last(), Some(&announced));
    assert_eq!(roster(&session), "alice bob");
    let change = lose(&mut session, B2);
    assert_eq!(change.told, [told(Audience::Room, left("bob"))]);
}

#[test]
fn a_socket_that_joins_under_another_id_has_left_under_the_first() {
    let mut session = room(&[(A, "alice"), (B, "bob")]);
    let change = join(&mut session, B, "bert");
    assert_eq!(
        change.told,
        [
            told(Audience::Others(B), left("bob")),
            told(These(vec![B]), News::Left(who("bob"))),
            told(Audience::Others(B), News::Roster),
            told(These(vec![A]), joined("bert", "bert")),
        ]
    );
    assert_eq!(change.departed, [(who("bob"), Parting::Goodbye)]);
    assert_eq!(change.void, [], "it holds its ticket still");
    assert_eq!(session.holder(ticket(B)), Some(B));
    assert_eq!(roster(&session), "alice bert");
}

#[test]
fn a_name_lasts_until_another_is_given() {
    let mut session = Session::default();
    join_as(&mut session, B, "bob", "Bob");
    join(&mut session, B2, "bob");
    assert_eq!(roster(&session), "bob(Bob)");
    join_as(&mut session, B2, "bob", "Robert");
    assert_eq!(roster(&session), "bob(Robert)");
    assert_eq!(&*session.name_of(&who("bob")), "Robert");
    assert_eq!(&*session.name_of(&who("nobody")), "nobody");
}

#[test]
fn by_whichever_socket_a_participant_has_one_name() {
    let mut session = room(&[(A, "alice"), (B, "bob")]);
    join_as(&mut session, B2, "bob", "Bob");
    let names = |node| -> Vec<_> { session.names_on(node).collect() };
    assert_eq!(names(A.node), [(A, "alice".into()), (B, "Bob".into())]);
    assert_eq!(names(B2.node), [(B2, "Bob".into())]);
}

#[test]
fn whom_a_message_reaches() {
    let session = room(&[(A, "alice"), (B, "bob"), (B2, "bob"), (C, "carol")]);
    let others = session.route(B, &who("bob"), &Recipient::Others);
    assert_eq!(others, Ok(vec![A, B2, C]));
    let cases = [
        ("one participant", A, "alice", "bob", Ok(vec![B, B2])),
        ("nobody known", A, "alice", "dave", Ok(vec![])),
        ("oneself", B, "bob", "bob", Ok(vec![])),
        (
            "another's name",
            A,
            "bob",
            "carol",
            Err(Trespass::Forbidden),
        ),
        (
            "from outside",
            X,
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
fn nobody_acts_in_anothers_name_or_from_outside() {
    let mut session = room(&[(A, "alice"), (B, "bob")]);
    let before = session.clone();
    let skip = ReadingOp::Skip(who("alice"));
    let end = |by| Op::End {
        by: Some(by),
        reason: json("\"\""),
    };
    assert_eq!(leave(&mut session, A, "bob"), Err(Trespass::Forbidden));
    let outside = [
        leave(&mut session, X, "bob"),
        read(&mut session, X, skip),
        time(&mut session, 0, X, TimerOp::Pause),
        apply(&mut session, 0, end(X)),
    ];
    for refused in outside {
        assert_eq!(refused, Err(Trespass::NotInSession));
    }
    assert_eq!(session, before);
}

#[test]
fn who_is_lost_comes_back_by_their_ticket() {
    let mut session = room(&[(A, "alice"), (B, "bob")]);
    join_as(&mut session, B, "bob", "Bob");
    let change = lose_at(&mut session, 1_000, B);
    assert_eq!(change.void, []);
    let lost = session.lost(ticket(B), UnixMillis(1_000)).unwrap();
    assert_eq!((&lost.participant, &*lost.name), (&who("bob"), "Bob"));
    assert_eq!(session.lost(ticket(B), UnixMillis(1_001)), None, "too late");

    let member = Member {
        socket: B2,
        ticket: Some(ticket(B)),
    };
    let back = Op::Join {
        member,
        participant: who("bob"),
        name: Some("Bob".into()),
    };
    apply(&mut session, 2_000, back).unwrap();
    assert_eq!(session.lost(ticket(B), UnixMillis(0)), None);
    assert_eq!(session.holder(ticket(B)), Some(B2));
}

#[test]
fn a_ticket_is_its_last_holders() {
    let mut session = room(&[(A, "alice"), (B, "bob")]);
    let member = Member {
        socket: B2,
        ticket: Some(ticket(B)),
    };
    let twice = Op::Join {
        member,
        participant: who("bob"),
        name: None,
    };
    let change = apply(&mut session, 0, twice).unwrap();
    assert_eq!(change.void, []);
    assert_eq!(session.holder(ticket(B)), Some(B2));
    assert_eq!(lose(&mut session, B).void, []);
    assert_eq!(session.lost(ticket(B), UnixMillis(0)), None);
    assert_eq!(session.holder(ticket(B)), Some(B2));
}

#[test]
fn whoever_says_goodbye_does_not_come_back_by_a_ticket() {
    // (what is said, by whom), and the tickets that are void then.
    let mut session = room(&[(A, "alice"), (B, "bob"), (B2, "bob")]);
    lose(&mut session, B2);
    let change = leave(&mut session, B, "bob").unwrap();
    assert_eq!(change.void, [ticket(B), ticket(B2)]);

    let mut session = room(&[(A, "alice"), (B, "bob")]);
    assert_eq!(say_goodbye(&mut session, B).void, [ticket(B)]);

    // Lost after the participant said goodbye elsewhere.
    let mut session = room(&[(A, "alice"), (B, "bob"), (B2, "bob")]);
    leave(&mut session, B, "bob").unwrap();
    assert_eq!(lose(&mut session, B2).void, [ticket(B2)]);
    assert_eq!(session.tickets().collect::<Vec<_>>(), [ticket(A)]);
}

#[test]
fn only_so_many_are_awaited_back() {
    let mut session = room(&[(A, "alice")]);
    for number in 1_000..1_000 + LOST_MAX as u64 {
        let socket = on(1, number);
        join(&mut session, socket, "bob");
        assert_eq!(lose(&mut session, socket).void, []);
    }
    join(&mut session, B, "bob");
    assert_eq!(lose(&mut session, B).void, [ticket(on(1, 1_000))]);
    assert_eq!(session.tickets().count(), 1 + LOST_MAX);
}

/// A session with these members and nothing else.
fn room(members: &[(SocketId, &str)]) -> Session {
    let mut session = Session::default();
    for (socket, participant) in members {
        join(&mut session, *socket, participant);
    }
    session
}

fn join(session: &mut Session, socket: SocketId, participant: &str) -> Change {
    apply(session, 0, joins(socket, participant, None)).unwrap()
}

fn join_as(session: &mut Session, socket: SocketId, participant: &str, name: &str) -> Change {
    apply(session, 0, joins(socket, participant, Some(name))).unwrap()
}

fn leave(session: &mut Session, by: SocketId, participant: &str) -> Result<Change, Trespass> {
    let participant = who(participant);
    apply(session, 0, Op::Leave { by, participant })
}

fn lose(session: &mut Session, socket: SocketId) -> Change {
    lose_at(session, 0, socket)
}

fn lose_at(session: &mut Session, millis: u64, socket: SocketId) -> Change {
    let parting = Parting::Lost;
    apply(session, millis, Op::Disconnect { socket, parting }).unwrap()
}

fn say_goodbye(session: &mut Session, socket: SocketId) -> Change {
    let parting = Parting::Goodbye;
    apply(session, 0, Op::Disconnect { socket, parting }).unwrap()
}

fn read(session: &mut Session, by: SocketId, change: ReadingOp) -> Result<Change, Trespass> {
    apply(session, 0, Op::Read { by, change })
}

fn time(
    session: &mut Session,
    millis: u64,
    by: SocketId,
    change: TimerOp,
) -> Result<Change, Trespass> {
    apply(session, millis, Op::Time { by, change })
}

fn apply(session: &mut Session, millis: u64, op: Op) -> Result<Change, Trespass> {
    let at = UnixMillis(millis);
    session.apply(&Step { at, op })
}

fn route(
    session: &Session,
    from: SocketId,
    signed: &str,
    to: &str,
) -> Result<Vec<SocketId>, Trespass> {
    session.route(from, &who(signed), &Recipient::One(who(to)))
}

fn joins(socket: SocketId, participant: &str, name: Option<&str>) -> Op {
    let ticket = Some(ticket(socket));
    Op::Join {
        member: Member { socket, ticket },
        participant: who(participant),
        name: name.map(Into::into),
    }
}

fn told(to: Audience, news: News) -> Told {
    Told { to, news }
}

fn joined(id: &str, name: &str) -> News {
    News::ParticipantJoined {
        id: who(id),
        name: name.into(),
    }
}

fn left(id: &str) -> News {
    News::ParticipantLeft(who(id))
}

/// Who is here, with the names that are not the ids.
fn roster(session: &Session) -> String {
    let roster = session.roster().0.into_iter();
    let shown = roster.map(|(id, name)| match id.as_str() == &*name {
        true => id.to_string(),
        false => format!("{id}({name})"),
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// "reader: queue"
fn turns(session: &Session) -> String {
    let reading = session.reading();
    let reader = reading.reader().map_or("nobody", ParticipantId::as_str);
    let queue: String = reading.queue().iter().map(|id| format!(" {id}")).collect();
    format!("{reader}:{queue}")
}

fn ids(list: &str) -> Vec<ParticipantId> {
    list.split_whitespace().map(who).collect()
}

fn who(id: &str) -> ParticipantId {
    ParticipantId::parse(id).unwrap()
}

fn json(text: &str) -> Json {
    serde_json::from_str(text).unwrap()
}

/// Every socket has a ticket of its own.
fn ticket(socket: SocketId) -> Ticket {
    let mut random = [0; 16];
    random[..8].copy_from_slice(&socket.node.0.to_be_bytes());
    random[8..].copy_from_slice(&socket.number.to_be_bytes());
    Ticket::new(random)
}

const fn on(node: u64, number: u64) -> SocketId {
    SocketId {
        node: NodeId(node),
        number,
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const A: SocketId = on(1, 1);
const B: SocketId = on(1, 2);
const B2: SocketId = on(2, 1);
const C: SocketId = on(2, 2);
/// Nobody's.
const X: SocketId = on(1, 99);

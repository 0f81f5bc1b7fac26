//! What holds whatever happens in a session.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::view::View;
use super::*;

proptest! {
    #[test]
    fn whatever_happens(ops in prop::collection::vec((0..20_000_u64, op()), 0..60)) {
        let mut world = World::default();
        for (pass_ms, op) in ops {
            world.now = world.now.plus(Duration::from_millis(pass_ms));
            world.take(&Step { at: world.now, op })?;
        }
        let stored = serde_json::to_string(&world.session).unwrap();
        prop_assert_eq!(serde_json::from_str::<Session>(&stored).unwrap(), world.session);
    }
}

/// A session, and what its members believe.
#[derive(Default)]
struct World {
    now: UnixMillis,
    session: Session,
    views: BTreeMap<SocketId, View>,
    /// Who has gone, and was not put into the queue since.
    out: BTreeSet<ParticipantId>,
}

impl World {
    fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let before = self.session.clone();
        let newcomer = newcomer(&before, &step.op);
        let Ok(change) = self.session.apply(step) else {
            prop_assert_eq!(
                &self.session,
                &before,
                "refused, and yet something happened"
            );
            return Ok(());
        };
        self.deliver(&change)?;
        match (&step.op, newcomer) {
            (_, Some(socket)) => {
                let view = View::of_newcomer(self.now, &self.session);
                self.views.insert(socket, view);
            }
            (Op::Join { member, .. }, None) => {
                let own = self.views.get_mut(&member.socket).unwrap();
                own.hear(&News::Roster, &self.session);
            }
            (_, None) => {}
        }
        self.views
            .retain(|socket, _| self.session.participant_of(*socket).is_some());
        self.check_views()?;
        self.check_turns(&step.op, &change)?;
        check_tickets(&before, &self.session, &change)?;
        check_partings(&before, &self.session, &change)?;
        check_timer(step, &before, &self.session)
    }

    /// Nobody hears the same twice.
    fn deliver(&mut self, change: &Change) -> Result<(), TestCaseError> {
        for (at, told) in change.told.iter().enumerate() {
            let to = self.session.audience(&told.to);
            let once: BTreeSet<_> = to.iter().collect();
            prop_assert_eq!(once.len(), to.len());
            for other in change.told[..at]
                .iter()
                .filter(|other| other.news == told.news)
            {
                let others = self.session.audience(&other.to);
                prop_assert!(
                    !to.iter().any(|socket| others.contains(socket)),
                    "twice: {:?}",
                    told
                );
            }
            for socket in to {
                if matches!(told.news, News::Left(_) | News::Ended(_)) {
                    self.views.remove(&socket);
                } else if let Some(view) = self.views.get_mut(&socket) {
                    view.hear(&told.news, &self.session);
                }
            }
        }
        Ok(())
    }

    fn check_views(&self) -> Result<(), TestCaseError> {
        let members: BTreeSet<_> = self.session.audience(&Audience::Room).into_iter().collect();
        prop_assert_eq!(self.views.keys().copied().collect::<BTreeSet<_>>(), members);
        prop_assert_eq!(self.views.is_empty(), self.session.is_empty());
        for view in self.views.values() {
            let truth = View::truth(self.now, &self.session);
            prop_assert_eq!(view.clone().at(self.now), truth);
        }
        Ok(())
    }

    fn check_turns(&mut self, op: &Op, change: &Change) -> Result<(), TestCaseError> {
        let reading = self.session.reading();
        prop_assert!(reading.reader().is_some() || reading.queue().is_empty());
        let once: BTreeSet<_> = reading.queue().iter().collect();
        prop_assert_eq!(once.len(), reading.queue().len());
        for back in named(op) {
            self.out.remove(&back);
        }
        let is_last = |parting| parting == Parting::Lost && self.session.is_empty();
        let gone = change
            .departed
            .iter()
            .filter(|(_, parting)| !is_last(*parting));
        self.out.extend(gone.map(|(who, _)| who.clone()));
        for who in reading.queue().iter().chain(reading.reader()) {
            prop_assert!(!self.out.contains(who), "{} is gone", who);
        }
        Ok(())
    }
}

/// The socket that is told everything.
pub(super) fn newcomer(before: &Session, op: &Op) -> Option<SocketId> {
    let Op::Join {
        member,
        participant,
        ..
    } = op
    else {
        return None;
    };
    let known = before.participant_of(member.socket) == Some(participant);
    (!known).then_some(member.socket)
}

/// Who may have a part in the reading because of this.
fn named(op: &Op) -> Vec<ParticipantId> {
    match op {
        Op::Join { participant, .. } => vec![participant.clone()],
        Op::Read { change, .. } => match change {
            ReadingOp::Start(who, _) => vec![who.clone()],
            ReadingOp::SetVerse { reader, .. } => reader.iter().cloned().collect(),
            ReadingOp::ReplaceQueue(queue) | ReadingOp::UpdateQueue(queue) => queue.clone(),
            ReadingOp::ChangeVerse(_) | ReadingOp::Finish(..) | ReadingOp::Skip(_) => Vec::new(),
        },
        Op::Leave { .. }
        | Op::Disconnect { .. }
        | Op::Remove { .. }
        | Op::NodeGone { .. }
        | Op::Time { .. }
        | Op::End { .. } => Vec::new(),
    }
}

pub(super) fn check_tickets(
    before: &Session,
    after: &Session,
    change: &Change,
) -> Result<(), TestCaseError> {
    let opened: BTreeSet<_> = before.tickets().collect();
    let open: BTreeSet<_> = after.tickets().collect();
    prop_assert_eq!(open.len(), after.tickets().count());
    let void: BTreeSet<_> = change.void.iter().copied().collect();
    prop_assert_eq!(void.len(), change.void.len());
    prop_assert_eq!(void, &opened - &open);
    for ticket in open {
        let lost = after.lost(ticket, UnixMillis(0)).is_some();
        prop_assert!(lost != after.holder(ticket).is_some());
    }
    Ok(())
}

/// Whoever is not here any more has departed, and nobody who is here has.
pub(super) fn check_partings(
    before: &Session,
    after: &Session,
    change: &Change,
) -> Result<(), TestCaseError> {
    let departed: BTreeSet<_> = change.departed.iter().map(|(who, _)| who).collect();
    prop_assert_eq!(departed.len(), change.departed.len());
    prop_assert!(!departed.iter().any(|who| after.is_present(who)));
    for (who, _) in before.roster().0 {
        prop_assert!(
            after.is_present(&who) || departed.contains(&who),
            "{} vanished",
            who
        );
    }
    Ok(())
}

fn check_timer(step: &Step, before: &Session, after: &Session) -> Result<(), TestCaseError> {
    let change = match step.op {
        Op::Time { change, .. } => Some(change),
        Op::Join { .. }
        | Op::Leave { .. }
        | Op::Disconnect { .. }
        | Op::Remove { .. }
        | Op::NodeGone { .. }
        | Op::Read { .. }
        | Op::End { .. } => None,
    };
    let is_set = matches!(change, Some(TimerOp::Start(_) | TimerOp::SetRemaining(_)));
    let later = step.at.plus(seconds(3));
    for now in [step.at, later] {
        let left = |session: &Session| session.timer(now).map(|timer| timer.remaining(now));
        let resumed = matches!(change, Some(TimerOp::Resume | TimerOp::Pause)) && now == later;
        prop_assert!(
            is_set || resumed || left(after) <= left(before),
            "time was gained"
        );
    }
    Ok(())
}

pub(super) fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (socket(), participant(), prop::option::of("[xy]")).prop_map(
            |(socket, participant, name)| {
                let name = name.map(Into::into);
                let member = member(socket);
                Op::Join { member, participant, name }
            }
        ),
        2 => (socket(), participant()).prop_map(|(by, participant)| Op::Leave { by, participant }),
        3 => (socket(), any::<bool>()).prop_map(|(socket, lost)| {
            let parting = if lost { Parting::Lost } else { Parting::Goodbye };
            Op::Disconnect { socket, parting }
        }),
        1 => participant().prop_map(|participant| Op::Remove { participant }),
        1 => (1..3_u64).prop_map(|node| Op::NodeGone { node: NodeId(node) }),
        8 => (socket(), reading_op()).prop_map(|(by, change)| Op::Read { by, change }),
        4 => (socket(), timer_op()).prop_map(|(by, change)| Op::Time { by, change }),
        1 => prop::option::of(socket()).prop_map(|by| Op::End { by, reason: json("1") }),
    ]
}

fn reading_op() -> impl Strategy<Value = ReadingOp> {
    prop_oneof![
        verse().prop_map(ReadingOp::ChangeVerse),
        (prop::option::of(verse()), prop::option::of(participant()))
            .prop_map(|(verse, reader)| ReadingOp::SetVerse { verse, reader }),
        (participant(), prop::option::of(verse()))
            .prop_map(|(who, verse)| ReadingOp::Start(who, verse)),
        (participant(), prop::option::of(verse()))
            .prop_map(|(who, verse)| ReadingOp::Finish(who, verse)),
        participant().prop_map(ReadingOp::Skip),
        prop::collection::vec(participant(), 0..5).prop_map(ReadingOp::ReplaceQueue),
        prop::collection::vec(participant(), 0..5).prop_map(ReadingOp::UpdateQueue),
    ]
}

fn timer_op() -> impl Strategy<Value = TimerOp> {
    let millis = || (0..60_000_u64).prop_map(Duration::from_millis);
    prop_oneof![
        millis().prop_map(TimerOp::Start),
        Just(TimerOp::Pause),
        Just(TimerOp::Resume),
        millis().prop_map(TimerOp::SetRemaining),
    ]
}

fn verse() -> impl Strategy<Value = Json> {
    prop::sample::select(&["null", "1", "[2]", "[ 2 ]"]).prop_map(json)
}

fn participant() -> impl Strategy<Value = ParticipantId> {
    prop::sample::select(&["alice", "bob", "carol", "dave"]).prop_map(who)
}

fn socket() -> impl Strategy<Value = SocketId> {
    (1..3_u64, 0..5_u64).prop_map(|(node, number)| on(node, number))
}

/// One socket of each node has no ticket, and one has another's of the other node, as whoever comes back there.
pub(super) fn member(socket: SocketId) -> Member {
    let ticket = match socket.number {
        0 => None,
        1 => Some(ticket(on(3 - socket.node.0, 2))),
        _ => Some(ticket(socket)),
    };
    Member { socket, ticket }
}

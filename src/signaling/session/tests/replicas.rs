//! Several nodes and their one log: whatever is delayed, all copies are the same in the end, and every member's view is
//! its node's copy all the while.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::properties::{check_partings, check_tickets, member, newcomer, op};
use super::replica::Replica;
use super::view::View;
use super::*;

proptest! {
    #[test]
    fn all_copies_are_the_same_in_the_end(moves in prop::collection::vec(a_move(op()), 0..80)) {
        let mut cluster = Cluster::default();
        for a_move in moves {
            cluster.play(a_move)?;
        }
        cluster.read_everything()?;
        cluster.check_agreement()?;
    }

    /// Each participant has one socket here, and joins by it once until they are gone: then of every two exactly one
    /// is told to make the connection.
    #[test]
    fn of_two_members_one_is_told_of_the_other(
        moves in prop::collection::vec(a_move(presence_op()), 0..80),
    ) {
        let mut cluster = Cluster::default();
        for a_move in moves {
            if !cluster.is_repeated(&a_move) {
                cluster.play(a_move)?;
            }
        }
        cluster.read_everything()?;
        let members: Vec<_> = cluster.nodes.iter().flat_map(|node| &node.members).collect();
        for (at, (one, _)) in members.iter().enumerate() {
            for (two, _) in &members[..at] {
                let told = cluster.is_told(**one, **two) ^ cluster.is_told(**two, **one);
                prop_assert!(told, "{:?} and {:?}", one, two);
            }
        }
    }

    #[test]
    fn a_node_that_starts_from_a_snapshot_catches_up(
        moves in prop::collection::vec(a_move(op()), 0..40),
        more in prop::collection::vec(a_move(op()), 0..40),
    ) {
        let mut cluster = Cluster::default();
        for a_move in moves {
            cluster.play(a_move)?;
        }
        let as_of = cluster.nodes[0].read;
        let snapshot = cluster.nodes[0].replica.confirmed().clone();
        let mut newest = Node::new(NodeId(NODES + 1));
        let (_, amends) = newest.replica.restore(cluster.now, newest.id, snapshot);
        prop_assert_eq!(amends, []);
        newest.read = as_of;
        cluster.nodes.push(newest);
        for a_move in more {
            cluster.play(a_move)?;
        }
        cluster.read_everything()?;
        cluster.check_agreement()?;
    }
}

/// A page has two sockets; behind a balancer they are on two nodes, and a closed page loses both at once.
#[test]
fn who_loses_both_sockets_at_once_has_left_everywhere() {
    let mut cluster = Cluster::default();
    for socket in [A, B, B2, C] {
        let id = if socket == A { "alice" } else { "bob" };
        let id = if socket == C { "carol" } else { id };
        cluster.act(joins(socket, id, None)).unwrap();
        cluster.read_everything().unwrap();
    }
    let parting = Parting::Lost;
    for socket in [B, B2] {
        cluster.act(Op::Disconnect { socket, parting }).unwrap();
    }
    cluster.read_everything().unwrap();
    for node in &cluster.nodes[..2] {
        let departed = [(who("bob"), Parting::Lost)];
        assert_eq!(node.departed, departed, "{}", node.id);
    }
    cluster.check_agreement().unwrap();
}

/// A page is left on one node and opened on another: whoever heard of the return first must hear of it again.
#[test]
fn who_leaves_there_and_joins_here_is_here() {
    let mut cluster = Cluster::default();
    cluster.act(joins(A, "alice", None)).unwrap();
    cluster.act(joins(B2, "bob", None)).unwrap();
    cluster.read_everything().unwrap();
    let participant = who("bob");
    let leaves = Op::Leave {
        by: B2,
        participant,
    };
    cluster.act(leaves).unwrap();
    cluster.flush(1);
    cluster.act(joins(B, "bob", None)).unwrap();
    cluster.read_everything().unwrap();
    assert!(cluster.is_told(A, B));
    assert_eq!(cluster.nodes[0].departed, []);
    cluster.check_agreement().unwrap();
}

/// The same, but the leave comes into the log after the return.
#[test]
fn a_late_leave_takes_nobody_who_has_come_back_by_another_node() {
    let mut cluster = Cluster::default();
    cluster.act(joins(A, "alice", None)).unwrap();
    cluster.act(joins(B, "bob", None)).unwrap();
    cluster.act(joins(C, "carol", None)).unwrap();
    cluster.read_everything().unwrap();
    let participant = who("bob");
    let leaves = |by| {
        let participant = participant.clone();
        Op::Leave { by, participant }
    };
    cluster.act(leaves(B)).unwrap();
    cluster.act(joins(B2, "bob", None)).unwrap();
    cluster.flush(1);
    cluster.read_everything().unwrap();
    cluster.check_agreement().unwrap();
    for node in &cluster.nodes {
        assert_eq!(roster(node.replica.session()), "alice bob carol");
        assert_eq!(node.replica.session().sockets_of(&participant), [B2]);
    }
    assert!(cluster.is_told(A, B2) && cluster.is_told(C, B2));
    // What they say there takes them.
    cluster.act(leaves(B2)).unwrap();
    cluster.read_everything().unwrap();
    assert_eq!(roster(cluster.nodes[0].replica.session()), "alice carol");
}

#[test]
fn what_the_log_lost_stays_here() {
    let mut replica = Replica::default();
    let at = UnixMillis(0);
    let steps = [A, B, C].map(|socket| Step {
        at,
        op: joins(socket, &format!("{socket:?}"), None),
    });
    for step in &steps {
        replica.propose(step).unwrap();
    }
    assert!(replica.confirm(&steps[0]));
    assert!(!replica.confirm(&steps[2]), "one is missing");
    assert!(!replica.is_ahead());
    assert_eq!(replica.confirmed().participants(), 3);
}

#[test]
fn what_was_settled_is_not_done_again() {
    let mut replica = Replica::default();
    let at = UnixMillis(0);
    let [joins, queues, skips] = [
        joins(A, "alice", None),
        read_op(ReadingOp::ReplaceQueue(ids("alice bob"))),
        read_op(ReadingOp::Skip(who("alice"))),
    ]
    .map(|op| Step { at, op });
    for step in [&joins, &queues, &skips] {
        replica.propose(step).unwrap();
    }
    replica.settle();
    let later = Step {
        at,
        op: read_op(ReadingOp::Skip(who("bob"))),
    };
    replica.propose(&later).unwrap();
    for step in [&joins, &queues, &skips] {
        assert!(replica.confirm(step));
        assert!(replica.is_ahead(), "that was not it");
    }
    assert!(replica.confirm(&later));
    assert_eq!(turns(replica.confirmed()), "alice: alice bob");
}

/// What happens next.
#[derive(Clone, Debug)]
enum Move {
    /// Something, on the node whose socket does it, or else on this one.
    Act(Op, usize),
    /// The node's next step comes into the log.
    Flush(usize),
    /// The node reads the next entry.
    Read(usize),
}

struct Cluster {
    now: UnixMillis,
    nodes: Vec<Node>,
    /// Who appended what; the death of a node is nobody's step.
    log: Vec<(Option<NodeId>, Step)>,
}

struct Node {
    id: NodeId,
    replica: Replica,
    outbox: VecDeque<Step>,
    read: usize,
    members: BTreeMap<SocketId, Listener>,
    /// Who heard the end of the session and is to join again by itself, even if that end comes to nothing.
    dismissed: BTreeSet<SocketId>,
    departed: Vec<(ParticipantId, Parting)>,
}

/// A member on this node.
#[derive(Default)]
struct Listener {
    view: View,
    /// Who came after it.
    announced: BTreeSet<ParticipantId>,
}

impl Cluster {
    fn play(&mut self, a_move: Move) -> Result<(), TestCaseError> {
        self.now = self.now.plus(Duration::from_millis(700));
        let count = self.nodes.len();
        match a_move {
            Move::Act(Op::NodeGone { node }, _) => {
                let (at, op) = (self.now, Op::NodeGone { node });
                self.log.push((None, Step { at, op }));
                Ok(())
            }
            Move::Act(op, elsewhere) => {
                let node = actor(&op).map(|socket| socket.node.0 as usize - 1);
                let at = self.now;
                let node = &mut self.nodes[node.unwrap_or(elsewhere % count)];
                node.propose(Step { at, op })
            }
            Move::Flush(node) => {
                self.flush(node % count);
                Ok(())
            }
            Move::Read(node) => self.read(node % count),
        }
    }

    fn is_repeated(&self, a_move: &Move) -> bool {
        let Move::Act(Op::Join { member, .. }, _) = a_move else {
            return false;
        };
        let node = &self.nodes[member.socket.node.0 as usize - 1];
        node.members.contains_key(&member.socket)
    }

    fn act(&mut self, op: Op) -> Result<(), TestCaseError> {
        self.play(Move::Act(op, 0))
    }

    fn flush(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        let step = node.outbox.pop_front();
        self.log.extend(step.map(|step| (Some(node.id), step)));
    }

    fn read(&mut self, node: usize) -> Result<(), TestCaseError> {
        let node = &mut self.nodes[node];
        let Some((by, step)) = self.log.get(node.read) else {
            return Ok(());
        };
        node.read += 1;
        if *by == Some(node.id) {
            let before = node.replica.session().clone();
            prop_assert!(node.replica.confirm(step));
            prop_assert_eq!(node.replica.session(), &before, "a confirmation is no news");
            return Ok(());
        }
        node.follow(self.now, step)
    }

    fn read_everything(&mut self) -> Result<(), TestCaseError> {
        for node in 0..self.nodes.len() {
            while !self.nodes[node].outbox.is_empty() {
                self.flush(node);
            }
        }
        for node in 0..self.nodes.len() {
            while self.nodes[node].read < self.log.len() {
                self.read(node)?;
            }
        }
        Ok(())
    }

    fn check_agreement(&self) -> Result<(), TestCaseError> {
        let first = self.nodes[0].replica.confirmed();
        for node in &self.nodes {
            prop_assert!(!node.replica.is_ahead());
            prop_assert_eq!(node.replica.confirmed(), first);
            prop_assert_eq!(node.replica.session(), first);
        }
        Ok(())
    }

    /// Whether `one` was told that the participant of `two` joined.
    fn is_told(&self, one: SocketId, two: SocketId) -> bool {
        let node = self.nodes.iter().find(|node| node.id == one.node).unwrap();
        let id = node.replica.session().participant_of(two).unwrap();
        node.members[&one].announced.contains(id)
    }
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            now: UnixMillis(0),
            nodes: (1..=NODES).map(|id| Node::new(NodeId(id))).collect(),
            log: Vec::new(),
        }
    }
}

impl Node {
    fn new(id: NodeId) -> Self {
        Self {
            id,
            replica: Replica::default(),
            outbox: VecDeque::new(),
            read: 0,
            members: BTreeMap::new(),
            dismissed: BTreeSet::new(),
            departed: Vec::new(),
        }
    }

    fn propose(&mut self, step: Step) -> Result<(), TestCaseError> {
        let before = self.replica.session().clone();
        let Ok(change) = self.replica.propose(&step) else {
            prop_assert_eq!(self.replica.session(), &before);
            return Ok(());
        };
        self.settle(&before, &change)?;
        let session = self.replica.session();
        if let Op::Join { member, .. } = &step.op {
            let is_back = self.dismissed.remove(&member.socket);
            if is_back || newcomer(&before, &step.op).is_some() {
                let newcomer = Listener {
                    view: View::of_newcomer(step.at, session),
                    ..Listener::default()
                };
                self.members.insert(member.socket, newcomer);
            } else {
                let own = self.members.get_mut(&member.socket).unwrap();
                own.view.hear(&News::Roster, session);
            }
        }
        self.check(step.at, &before, &change)?;
        self.outbox.push_back(step);
        Ok(())
    }

    fn follow(&mut self, now: UnixMillis, step: &Step) -> Result<(), TestCaseError> {
        let before = self.replica.session().clone();
        let change = self.replica.follow(step);
        self.settle(&before, &change)?;
        if let Op::Join { member, .. } = &step.op {
            let session = self.replica.session();
            let came = session.participant_of(member.socket).is_some();
            let is_told = change.told.iter().any(|told| told.news == News::Roster);
            let is_news = came || session.roster() != before.roster();
            // Who heard that somebody left who is here has to hear of them again.
            let left = |told: &Told| matches!(told.news, News::ParticipantLeft(_));
            let is_amended = change.told.iter().any(left);
            let is_right = is_news || is_amended || !is_told;
            prop_assert!(is_right, "a join that came to nothing is told");
        }
        self.check(now, &before, &change)
    }

    /// Tells the members of this node what the service would tell them.
    fn settle(&mut self, before: &Session, change: &Change) -> Result<(), TestCaseError> {
        let session = self.replica.session();
        for told in &change.told {
            let mut to = session.audience(&told.to);
            to.retain(|socket| socket.node == self.id);
            for socket in to {
                let is_member = session.participant_of(socket).is_some();
                let was_member = before.participant_of(socket).is_some();
                prop_assert!(is_member || was_member, "a stranger hears {:?}", told);
                let Some(member) = self.members.get_mut(&socket) else {
                    continue;
                };
                let ended = matches!(told.news, News::Ended(_));
                if ended && is_member {
                    *member = Listener::default();
                } else if ended {
                    self.members.remove(&socket);
                    self.dismissed.insert(socket);
                } else if matches!(told.news, News::Left(_)) {
                    self.members.remove(&socket);
                } else {
                    member.hear(&told.news, session);
                }
            }
        }
        self.departed.extend(change.departed.iter().cloned());
        self.members
            .retain(|socket, _| session.participant_of(*socket).is_some());
        Ok(())
    }

    fn check(
        &self,
        now: UnixMillis,
        before: &Session,
        change: &Change,
    ) -> Result<(), TestCaseError> {
        let session = self.replica.session();
        let mut here = session.audience(&Audience::Room);
        here.retain(|socket| socket.node == self.id && !self.dismissed.contains(socket));
        here.sort();
        prop_assert_eq!(self.members.keys().copied().collect::<Vec<_>>(), here);
        for member in self.members.values() {
            prop_assert_eq!(member.view.clone().at(now), View::truth(now, session));
        }
        check_tickets(before, session, change)?;
        check_partings(before, session, change)
    }
}

impl Listener {
    fn hear(&mut self, news: &News, session: &Session) {
        self.view.hear(news, session);
        if let News::ParticipantJoined { id, .. } = news {
            self.announced.insert(id.clone());
        } else if let News::ParticipantLeft(id) = news {
            self.announced.remove(id);
        }
    }
}

/// The socket that does it.
fn actor(op: &Op) -> Option<SocketId> {
    match op {
        Op::Join { member, .. } => Some(member.socket),
        Op::Leave { by, .. } | Op::Read { by, .. } | Op::Time { by, .. } => Some(*by),
        Op::End { by, .. } => *by,
        // A connection may be ended by another node, where its client has come back.
        Op::Disconnect { .. } | Op::Remove { .. } | Op::NodeGone { .. } => None,
    }
}

fn a_move(op: impl Strategy<Value = Op>) -> impl Strategy<Value = Move> {
    prop_oneof![
        2 => (op, 0..8_usize).prop_map(|(op, node)| Move::Act(op, node)),
        1 => (0..8_usize).prop_map(Move::Flush),
        2 => (0..8_usize).prop_map(Move::Read),
    ]
}

/// Who comes and goes, each participant by a socket of their own.
fn presence_op() -> impl Strategy<Value = Op> {
    let socket = || (1..=NODES, 0..3_u64).prop_map(|(node, number)| on(node, number));
    prop_oneof![
        4 => socket().prop_map(|socket| {
            let (member, participant) = (member(socket), owner(socket));
            Op::Join { member, participant, name: None }
        }),
        1 => socket().prop_map(|by| Op::Leave { by, participant: owner(by) }),
        1 => socket().prop_map(|socket| {
            let parting = Parting::Lost;
            Op::Disconnect { socket, parting }
        }),
        1 => socket().prop_map(|socket| Op::Remove { participant: owner(socket) }),
        1 => (1..=NODES).prop_map(|node| Op::NodeGone { node: NodeId(node) }),
    ]
}

fn read_op(change: ReadingOp) -> Op {
    Op::Read { by: A, change }
}

fn owner(socket: SocketId) -> ParticipantId {
    who(&format!("{}-{}", socket.node.0, socket.number))
}

const NODES: u64 = 3;

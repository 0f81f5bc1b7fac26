//! What the store holds to: alone, and in step with others over a log.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use setu::clock::Now;
use setu::ident::{NodeId, ParticipantId, SessionId};
use setu::signaling::session::Session;
use setu::signaling::session::change::{Change, News, Trespass};
use setu::signaling::session::json::Json;
use setu::signaling::session::op::{Op, Parting, ReadingOp};
use setu::signaling::session::socket::{Member, SocketId, Ticket};
use setu::store::log::{Body, EntryId, Envelope, Log};
use setu::store::{Counts, Store};

#[test]
fn a_session_that_nobody_is_in_any_more_is_forgotten() {
    let store = Store::memory(HERE);
    join(&store, "one", socket(1));
    join(&store, "one", socket(2));
    join(&store, "two", socket(3));
    assert_eq!(store.census().here, counts(2, 3));
    assert_eq!(store.busy(), 2);
    leave(&store, "two", socket(3)).unwrap();
    leave(&store, "one", socket(1)).unwrap();
    assert_eq!(store.census().everywhere, counts(1, 1));
    leave(&store, "one", socket(2)).unwrap();
    assert_eq!(
        leave(&store, "never", socket(1)),
        Err(Trespass::NotInSession)
    );
    assert_eq!(store.census().everywhere, counts(0, 0));
    assert_eq!(store.busy(), 0);
    assert_eq!(store.find(|_| true), []);
}

#[test]
fn what_was_read_in_a_lost_session_is_kept_for_a_while() {
    let store = Store::memory(HERE);
    let start = Now::read();
    let minutes = |minutes: u64| start.advanced(Duration::from_secs(60 * minutes));
    let known = || {
        store
            .find(|session| session.reading().verse().is_some())
            .len()
    };
    join(&store, "one", socket(1));
    update(&store, start, "one", verse(socket(1))).unwrap();
    update(&store, start, "one", lost(socket(1))).unwrap();
    assert!(store.view(&session("one"), Session::is_empty));
    assert_eq!(store.busy(), 0);

    // From when it was left last.
    update(&store, minutes(9), "one", joins(socket(2))).unwrap();
    update(&store, minutes(9), "one", lost(socket(2))).unwrap();
    store.sweep(minutes(11));
    assert_eq!(known(), 1);
    assert_eq!(store.session_of(ticket(1)), Some(session("one")));
    store.sweep(minutes(19));
    assert_eq!(known(), 0);
    assert_eq!(store.session_of(ticket(1)), None);
}

#[test]
fn a_session_that_was_left_is_not_forgotten_under_who_came_back() {
    let store = Store::memory(HERE);
    let start = Now::read();
    join(&store, "one", socket(1));
    update(&store, start, "one", verse(socket(1))).unwrap();
    update(&store, start, "one", lost(socket(1))).unwrap();
    join(&store, "one", socket(2));
    store.sweep(start.advanced(Duration::from_secs(3600)));
    assert_eq!(store.census().here, counts(1, 1));
}

#[test]
fn here_is_who_has_a_connection_here() {
    let store = Store::memory(HERE);
    join(&store, "one", socket(1));
    join(&store, "one", socket_on(THERE, 2));
    join(&store, "two", socket_on(THERE, 3));
    let census = store.census();
    assert_eq!(census.here, counts(1, 1));
    assert_eq!(census.everywhere, counts(2, 3));
}

#[test]
fn changes_are_committed_in_the_order_in_which_they_took_hold() {
    let store = Store::memory(HERE);
    let committed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for start in [0, 100, 200, 300] {
            let (store, committed) = (&store, &committed);
            scope.spawn(move || {
                for number in start..start + 100 {
                    let joined: Result<(), Trespass> = store.update(
                        Now::read(),
                        &session("one"),
                        |_| Ok(joins(socket(number))),
                        |state, _, _| committed.lock().unwrap().push(state.participants()),
                    );
                    joined.unwrap();
                }
            });
        }
    });
    let expected: Vec<_> = (1..=400).collect();
    assert_eq!(*committed.lock().unwrap(), expected);
}

#[test]
fn a_ticket_is_found_while_it_opens_something() {
    let store = Store::memory(HERE);
    join(&store, "one", socket(1));
    assert_eq!(store.session_of(ticket(1)), Some(session("one")));
    update(&store, Now::read(), "one", lost(socket(1))).unwrap();
    assert_eq!(store.session_of(ticket(1)), Some(session("one")));
    // It goes along to another session, which is joined before the first is left.
    join(&store, "one", socket(1));
    join(&store, "two", socket(1));
    leave(&store, "one", socket(1)).unwrap();
    assert_eq!(store.session_of(ticket(1)), Some(session("two")));
    leave(&store, "two", socket(1)).unwrap();
    assert_eq!(store.session_of(ticket(1)), None);
}

#[test]
fn what_is_refused_changes_nothing_and_leaves_nothing_behind() {
    let store = Store::memory(HERE);
    let refused: Result<(), Trespass> = store.update(
        Now::read(),
        &session("one"),
        |_| Err(Trespass::Forbidden),
        |_, _, _| panic!("nothing happened"),
    );
    assert_eq!(refused, Err(Trespass::Forbidden));
    assert_eq!(leave(&store, "one", socket(1)), Err(Trespass::NotInSession));
    assert_eq!(store.find(|_| true), []);
}

#[test]
fn two_nodes_are_in_step() {
    let mut cluster = Cluster::new();
    join(&cluster.stores[0], "one", socket_on(HERE, 1));
    join(&cluster.stores[1], "one", socket_on(THERE, 1));
    assert_eq!(cluster.stores[0].census().everywhere, counts(1, 1));
    cluster.read_everything();
    for store in &cluster.stores {
        assert_eq!(store.census().here, counts(1, 1));
        assert_eq!(store.census().everywhere, counts(1, 2));
        assert_eq!(store.busy(), 1);
        // Whoever is lost on one node comes back on any.
        assert_eq!(store.session_of(ticket_of(HERE, 1)), Some(session("one")));
    }
    let told = |node: usize| {
        cluster.told[node]
            .iter()
            .filter(|told| announces(told))
            .count()
    };
    assert_eq!(
        (told(0), told(1)),
        (1, 0),
        "the first one hears of the second"
    );

    leave(&cluster.stores[0], "one", socket_on(HERE, 1)).unwrap();
    leave(&cluster.stores[1], "one", socket_on(THERE, 1)).unwrap();
    cluster.read_everything();
    for store in &cluster.stores {
        assert_eq!(store.find(|_| true), []);
        assert_eq!(store.busy(), 0);
        assert_eq!(store.session_of(ticket_of(HERE, 1)), None);
    }
}

#[test]
fn an_entry_that_is_part_of_a_session_already_is_not_done_again() {
    let mut cluster = Cluster::new();
    join(&cluster.stores[0], "one", socket_on(HERE, 1));
    cluster.read_everything();
    let told = cluster.told[1].len();
    cluster.read(1, 0);
    assert_eq!(cluster.told[1].len(), told);
}

#[test]
fn a_ticket_goes_along_when_the_log_is_read_again_from_its_beginning() {
    let mut cluster = Cluster::new();
    let earlier = &cluster.stores[0];
    // One moves, and one leaves before joining the next.
    join(earlier, "one", socket(1));
    join(earlier, "two", socket(1));
    leave(earlier, "one", socket(1)).unwrap();
    join(earlier, "one", socket(2));
    leave(earlier, "one", socket(2)).unwrap();
    join(earlier, "two", socket(2));
    // And one is not there any more.
    join(earlier, "two", socket(3));
    leave(earlier, "two", socket(3)).unwrap();
    cluster.append_everything();
    let entries = 0..cluster.log.len();
    entries.clone().for_each(|at| cluster.read(0, at));

    let (two, as_of) = (session("two"), EntryId(entries.end as u64, 0));
    let state = cluster.stores[0].view(&two, Clone::clone);
    cluster.stores[1].restore(Now::read(), as_of, &two, state, |_, _, _| ());
    entries.for_each(|at| cluster.read(1, at));
    let found = [1, 2, 3].map(|number| cluster.stores[1].session_of(ticket(number)));
    assert_eq!(found, [Some(two.clone()), Some(two), None]);
}

#[test]
fn one_node_writes_the_keys_of_a_session() {
    let mut cluster = Cluster::new();
    let start = Now::read();
    let stale = |cluster: &Cluster, node: usize, now: Now| {
        let mut found = Vec::new();
        cluster.stores[node].take_stale(now, false, |id, stale, left| {
            let present = left.map_or(0, |left| left.confirmed.participants());
            let departed = stale.departed().cloned().collect();
            found.push((id.clone(), stale.ended, present, departed));
        });
        found
    };
    join(&cluster.stores[0], "one", socket_on(HERE, 1));
    join(&cluster.stores[1], "one", socket_on(THERE, 1));
    cluster.read_everything();
    // Where its first member is; the other one believed to be the first, and then heard better.
    assert_eq!(
        stale(&cluster, 0, start),
        [(session("one"), false, 2, vec![])]
    );
    assert_eq!(stale(&cluster, 1, start), []);
    leave(&cluster.stores[1], "one", socket_on(THERE, 1)).unwrap();
    cluster.read_everything();
    let written = [(session("one"), false, 1, vec![participant(THERE, 1)])];
    assert_eq!(stale(&cluster, 0, start), written);
    assert_eq!(stale(&cluster, 1, start), []);
    // Once more when what another node may have written, that knew less, is there.
    let later = start.advanced(Duration::from_secs(10));
    assert_eq!(stale(&cluster, 0, later), written);
    for node in [0, 1] {
        assert_eq!(stale(&cluster, node, later), []);
    }
    // Nobody is there to keep them: whoever ended it sees to it.
    let reason = json("\"done\"");
    let now = Now::read();
    update(&cluster.stores[0], now, "one", Op::End { by: None, reason }).unwrap();
    cluster.read_everything();
    assert!(stale(&cluster, 0, later)[0].1);
}

/// Redis is away for longer than can wait: each node goes on alone. When it is back, each says how it is, and all of
/// them come out with every connection and nobody else.
#[test]
fn nodes_that_went_their_own_ways_are_reunited() {
    let mut cluster = Cluster::new();
    for number in [1, 2] {
        join(&cluster.stores[0], "one", socket_on(HERE, number));
        join(&cluster.stores[1], "one", socket_on(THERE, number));
    }
    cluster.read_everything();
    cluster.away.store(true, Ordering::Relaxed);
    let now = Now::read();
    for (store, node) in cluster.stores.iter().zip([HERE, THERE]) {
        join(store, "one", socket_on(node, 3));
        update(store, now, "one", lost(socket_on(node, 1))).unwrap();
        update(store, now, "one", verse(socket_on(node, 2))).unwrap();
        assert_eq!(store.census().here, counts(1, 2));
    }
    cluster.read_everything();
    cluster.away.store(false, Ordering::Relaxed);
    cluster.reunite();
    let state = cluster.agreed();
    let mut here: Vec<_> = state.roster().0.into_iter().map(|(id, _)| id).collect();
    here.sort();
    let connected = [(HERE, 2), (HERE, 3), (THERE, 2), (THERE, 3)];
    assert_eq!(
        here,
        connected.map(|(node, number)| participant(node, number))
    );
    for store in &cluster.stores {
        assert_eq!(store.census().here, counts(1, 2));
    }
}

/// Whatever the node that makes a session anew has read by then, nobody is overwritten, and nobody is thought gone.
#[test]
fn who_joins_while_a_session_is_made_anew_stays() {
    for has_joined_before in [true, false] {
        let mut cluster = Cluster::new();
        join(&cluster.stores[0], "one", socket_on(HERE, 1));
        cluster.read_everything();
        cluster.away.store(true, Ordering::Relaxed);
        let now = Now::read();
        update(&cluster.stores[0], now, "one", verse(socket_on(HERE, 1))).unwrap();
        cluster.away.store(false, Ordering::Relaxed);

        if has_joined_before {
            join(&cluster.stores[1], "one", socket_on(THERE, 2));
        }
        cluster.greet(0);
        cluster.append_everything();
        if !has_joined_before {
            // Into the log before the session, and unread when that is taken.
            join(&cluster.stores[1], "one", socket_on(THERE, 2));
        }
        cluster.reunite();
        let state = cluster.agreed();
        let both = [(HERE, 1), (THERE, 2)].map(|(node, number)| participant(node, number));
        assert!(state.presence().map(|(who, _)| who).eq(&both));
        assert_eq!(state.reading().verse(), Some(&json("108")));
        let told = cluster
            .told
            .iter()
            .flatten()
            .flat_map(|change| &change.told);
        let mut left = told.filter(|told| matches!(told.news, News::ParticipantLeft(_)));
        assert_eq!(left.next(), None, "joined before: {has_joined_before}");
        let joined = cluster.told[0].iter().filter(|change| announces(change));
        assert_eq!(joined.count(), 1);
    }
}

/// What is appended after the session is made anew goes on top of it.
#[test]
fn what_follows_a_session_that_is_made_anew_is_kept() {
    let mut cluster = Cluster::new();
    join(&cluster.stores[0], "one", socket_on(HERE, 1));
    cluster.read_everything();
    cluster.away.store(true, Ordering::Relaxed);
    let now = Now::read();
    update(&cluster.stores[0], now, "one", verse(socket_on(HERE, 1))).unwrap();
    cluster.away.store(false, Ordering::Relaxed);
    cluster.greet(0);
    cluster.append_everything();
    let hello = cluster.log.len() - 1;
    cluster.read[0] = hello + 1;
    cluster.read(0, hello);
    join(&cluster.stores[0], "one", socket_on(HERE, 2));
    join(&cluster.stores[1], "one", socket_on(THERE, 3));
    cluster.reunite();
    let state = cluster.agreed();
    let all = [(HERE, 1), (HERE, 2), (THERE, 3)];
    let all = all.map(|(node, number)| participant(node, number));
    assert!(state.presence().map(|(who, _)| who).eq(&all));
    let anew = cluster.log.iter().filter(|text| text.contains("Reset"));
    assert_eq!(anew.count(), 1);
}

/// Two stores and what they both read.
struct Cluster {
    stores: [Store; 2],
    /// What waits to be appended.
    outbox: Arc<Mutex<VecDeque<String>>>,
    /// Whether nothing more can wait.
    away: Arc<AtomicBool>,
    log: Vec<String>,
    read: [usize; 2],
    /// What each node was to tell because of the other.
    told: [Vec<Change>; 2],
}

impl Cluster {
    fn new() -> Self {
        let (outbox, away) = (Arc::<Mutex<VecDeque<_>>>::default(), Arc::default());
        let stores = [HERE, THERE].map(|node| {
            let (outbox, away) = (Arc::clone(&outbox), Arc::<AtomicBool>::clone(&away));
            let append = move |text| {
                let has_room = !away.load(Ordering::Relaxed);
                if has_room {
                    outbox.lock().unwrap().push_back(text);
                }
                has_room
            };
            Store::replicated(node, Log::new(node, append))
        });
        Self {
            stores,
            outbox,
            away,
            log: Vec::new(),
            read: [0, 0],
            told: [Vec::new(), Vec::new()],
        }
    }

    /// Until there is nothing left to read.
    fn read_everything(&mut self) {
        loop {
            self.append_everything();
            let Some(node) = [0, 1]
                .into_iter()
                .find(|node| self.read[*node] < self.log.len())
            else {
                return;
            };
            let at = self.read[node];
            self.read[node] += 1;
            self.read(node, at);
        }
    }

    fn append_everything(&mut self) {
        self.log.extend(self.outbox.lock().unwrap().drain(..));
    }

    fn read(&mut self, node: usize, at: usize) {
        let envelope: Envelope = serde_json::from_str(&self.log[at]).unwrap();
        let (store, told) = (&self.stores[node], &mut self.told[node]);
        let (now, id) = (Now::read(), EntryId(1 + at as u64, 0));
        let (from, number) = (envelope.node, envelope.number);
        let is_own = from == store.node();
        match envelope.body {
            Body::Step { session, step } => {
                store.follow(now, id, &session, &step, is_own, |_, _, change| {
                    told.push(change)
                });
            }
            Body::Reset {
                session,
                as_of,
                state,
            } => {
                if store.is_renewed(&session, from, number, as_of) {
                    store.restore(now, id, &session, *state, |_, _, change| told.push(change));
                }
            }
            Body::Monitors(_) => {}
            Body::Signal { .. }
            | Body::Monitor { .. }
            | Body::Seen { .. }
            | Body::AskTraffic { .. }
            | Body::Traffic { .. }
            | Body::Hello(_)
            | Body::Gone(_) => panic!("the store appends no such entry"),
        }
        if is_own {
            store.make_anew(id, number);
        }
    }

    /// Nodes say something now and then, whatever happens.
    fn greet(&self, node: usize) {
        let log = self.stores[node].log().unwrap();
        assert!(log.append(Body::Monitors(0)));
    }

    /// Until no session is to be made anew any more.
    fn reunite(&mut self) {
        self.read_everything();
        let is_apart = |store: &Store| !store.log().unwrap().due(u64::MAX).is_empty();
        for _ in 0..3 {
            let apart = [0, 1].map(|node| is_apart(&self.stores[node]));
            for node in [0, 1].into_iter().filter(|node| apart[*node]) {
                self.greet(node);
            }
            self.read_everything();
        }
        assert!(!self.stores.iter().any(is_apart));
    }

    /// A session on which all nodes agree.
    fn agreed(&self) -> Session {
        let states = [0, 1].map(|node| self.stores[node].view(&session("one"), Clone::clone));
        assert_eq!(states[0], states[1]);
        let [state, _] = states;
        state
    }
}

fn announces(change: &Change) -> bool {
    let announced = |news: &News| matches!(news, News::ParticipantJoined { .. });
    let told = change.told.iter().filter(|told| announced(&told.news));
    let mut audiences = told.map(|told| Session::default().audience(&told.to));
    audiences.any(|to| !to.is_empty())
}

fn join(store: &Store, to: &str, socket: SocketId) {
    update(store, Now::read(), to, joins(socket)).unwrap();
}

fn leave(store: &Store, from: &str, by: SocketId) -> Result<(), Trespass> {
    let participant = participant(by.node, by.number);
    update(store, Now::read(), from, Op::Leave { by, participant })
}

fn update(store: &Store, now: Now, id: &str, op: Op) -> Result<(), Trespass> {
    store.update(now, &session(id), |_| Ok(op), |_, _, _| ())
}

/// Every socket is a participant of its own.
fn joins(socket: SocketId) -> Op {
    let ticket = Some(ticket_of(socket.node, socket.number));
    Op::Join {
        member: Member { socket, ticket },
        participant: participant(socket.node, socket.number),
        name: None,
    }
}

fn lost(socket: SocketId) -> Op {
    let parting = Parting::Lost;
    Op::Disconnect { socket, parting }
}

fn verse(by: SocketId) -> Op {
    let change = ReadingOp::ChangeVerse(json("108"));
    Op::Read { by, change }
}

fn json(text: &str) -> Json {
    serde_json::from_str(text).unwrap()
}

fn counts(sessions: usize, participants: usize) -> Counts {
    Counts {
        sessions,
        participants,
    }
}

fn session(id: &str) -> SessionId {
    SessionId::parse(id).unwrap()
}

fn participant(node: NodeId, number: u64) -> ParticipantId {
    ParticipantId::parse(&format!("{}-{number}", node.0)).unwrap()
}

fn socket(number: u64) -> SocketId {
    socket_on(HERE, number)
}

fn socket_on(node: NodeId, number: u64) -> SocketId {
    SocketId { node, number }
}

fn ticket(number: u64) -> Ticket {
    ticket_of(HERE, number)
}

fn ticket_of(node: NodeId, number: u64) -> Ticket {
    let mut random = [0; 16];
    random[..8].copy_from_slice(&node.0.to_be_bytes());
    random[8..].copy_from_slice(&number.to_be_bytes());
    Ticket::new(random)
}

const HERE: NodeId = NodeId(1);
const THERE: NodeId = NodeId(2);

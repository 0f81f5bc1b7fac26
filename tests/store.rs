//! What every store holds to: one suite, run on each of them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};

use setu::ident::{ParticipantId, SessionId};
use setu::signaling::session::{Session, SocketId};
use setu::store::{Counts, Store};

#[tokio::test]
async fn a_session_that_nobody_is_in_any_more_is_forgotten() {
    let store = Store::memory();
    assert_eq!(join(&store, "one", "a").await, 1);
    assert_eq!(join(&store, "one", "b").await, 2);
    assert_eq!(join(&store, "two", "a").await, 1);
    let counts = |sessions, participants| Counts {
        sessions,
        participants,
    };
    assert_eq!(store.counts().await, counts(2, 3));
    lose(&store, "two", "a").await;
    lose(&store, "one", "a").await;
    assert_eq!(store.counts().await, counts(1, 1));
    lose(&store, "one", "b").await;
    lose(&store, "never", "a").await;
    assert_eq!(store.counts().await, counts(0, 0));
    assert_eq!(store.view(&session("one"), Session::participants).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_are_committed_in_the_order_in_which_they_took_hold() {
    let store = Arc::new(Store::memory());
    let committed = Arc::new(Mutex::new(Vec::new()));
    let joins = (0..200).map(|number| {
        let (store, committed) = (Arc::clone(&store), Arc::clone(&committed));
        tokio::spawn(async move {
            let id = format!("p{number}");
            let session = session("one");
            let joined = store.update(
                &session,
                |state| state.join(&SocketId::new(&id), &participant(&id), None),
                |joined| committed.lock().unwrap().push(joined.roster.0.len()),
            );
            joined.await;
        })
    });
    for join in joins.collect::<Vec<_>>() {
        join.await.unwrap();
    }
    let expected: Vec<_> = (1..=200).collect();
    assert_eq!(*committed.lock().unwrap(), expected);
}

async fn join(store: &Store, to: &str, id: &str) -> usize {
    let session = session(to);
    let joined = store.update(
        &session,
        |state| state.join(&SocketId::new(id), &participant(id), None),
        |joined| joined.roster.0.len(),
    );
    joined.await
}

async fn lose(store: &Store, from: &str, id: &str) {
    let session = session(from);
    let lost = store.update(
        &session,
        |state| state.disconnected(&SocketId::new(id)),
        drop,
    );
    lost.await;
}

fn session(id: &str) -> SessionId {
    SessionId::parse(id).unwrap()
}

fn participant(id: &str) -> ParticipantId {
    ParticipantId::parse(id).unwrap()
}

//! The log that the nodes of a deploy share: what each of them lets happen, in one order for all.

use std::{
    fmt,
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};

use crate::ident::{NodeId, SessionId};
use crate::signaling::node_info::NodeInfo;
use crate::signaling::session::Session;
use crate::signaling::session::json::Json;
use crate::signaling::session::op::Step;
use crate::signaling::session::socket::SocketId;

use super::diverged::Diverged;

pub use super::redis::EntryId;

/// One entry, as all nodes read it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Envelope {
    /// Who appended it.
    #[serde(rename = "n")]
    pub node: NodeId,
    /// Counted from 1 by its node. An entry may come twice where a connection broke.
    #[serde(rename = "q")]
    pub number: u64,
    /// What it says.
    #[serde(rename = "b")]
    pub body: Body,
}

/// What nodes tell each other.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Body {
    /// Something happens to a session.
    Step {
        /// To which.
        session: SessionId,
        /// What.
        step: Step,
    },
    /// A session as it is from here on, whatever was before: its node could not append for too long. Void if anything
    /// happened to the session after the entry `as_of`; then its node makes it anew again.
    Reset {
        /// Which.
        session: SessionId,
        /// The last entry that its node had read.
        as_of: EntryId,
        /// All of it.
        state: Box<Session>,
    },
    /// An event for sockets, some of them on other nodes.
    Signal {
        /// In which session.
        session: SessionId,
        /// For whom.
        to: Vec<SocketId>,
        /// Whether it is for everybody, and so for those too who are to come back.
        for_all: bool,
        /// Its name.
        event: String,
        /// What it carries.
        payload: Json,
    },
    /// An event for all who watch the parser.
    Monitor {
        /// Its name.
        event: String,
        /// What it carries.
        payload: Json,
    },
    /// So many sockets of the node watch the parser.
    Monitors(usize),
    /// Addresses that were signaled in a session.
    Seen {
        /// In which.
        session: SessionId,
        /// Which.
        addresses: Vec<IpAddr>,
    },
    /// How much do the participants of a session relay on each other node?
    AskTraffic {
        /// By which the answers are known.
        question: u64,
        /// Whose participants.
        session: SessionId,
    },
    /// What they relay on this one.
    Traffic {
        /// Which was asked.
        question: u64,
        /// By participant.
        figures: Json,
    },
    /// The node lives, and what it is like.
    Hello(NodeInfo),
    /// A node has not been heard of for too long.
    Gone(NodeId),
}

/// The way into the log.
pub struct Log {
    node: NodeId,
    /// Never waits; false when no more can wait.
    append: Box<dyn Fn(String) -> bool + Send + Sync>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    appended: u64,
    /// Sessions with steps that could not be appended.
    diverged: Diverged,
}

impl Log {
    /// Hands every entry of `node` to `append`, in order.
    #[must_use]
    pub fn new(node: NodeId, append: impl Fn(String) -> bool + Send + Sync + 'static) -> Self {
        Self {
            node,
            append: Box::new(append),
            state: Mutex::default(),
        }
    }

    /// Appends; false where that is impossible, since too much waits already.
    pub fn append(&self, body: Body) -> bool {
        // Under the lock, so that numbers rise in the order of the log.
        self.append_to(&mut self.state(), body)
    }

    fn append_to(&self, state: &mut State, body: Body) -> bool {
        let envelope = Envelope {
            node: self.node,
            number: state.appended + 1,
            body,
        };
        let Ok(text) = serde_json::to_string(&envelope) else {
            return false;
        };
        let appended = (self.append)(text);
        state.appended += u64::from(appended);
        appended
    }

    /// The number of the last entry.
    #[must_use]
    pub fn appended(&self) -> u64 {
        self.state().appended
    }

    /// A session goes its own way until it is made anew.
    pub fn diverged(&self, id: &SessionId) {
        let mut state = self.state();
        let appended = state.appended;
        state.diverged.add(id, appended);
    }

    /// The sessions that can be made anew now that this node has read its own entry of this number, and so whatever others
    /// had appended before it.
    #[must_use]
    pub fn due(&self, read: u64) -> Vec<SessionId> {
        self.state().diverged.due(read)
    }

    /// Appends a session as it was as of the last entry that was read.
    pub fn make_anew(&self, session: &SessionId, as_of: EntryId, anew: Session) {
        let mut state = self.state();
        let body = Body::Reset {
            session: session.clone(),
            as_of,
            state: Box::new(anew),
        };
        let has_room = self.append_to(&mut state, body);
        let appended = state.appended;
        match has_room {
            true => state.diverged.renew(session, appended),
            false => state.diverged.add(session, appended),
        }
    }

    /// Something happens to a session: one that was appended before, and not yet read, is void.
    pub fn interrupt(&self, id: &SessionId) {
        let mut state = self.state();
        let appended = state.appended;
        state.diverged.interrupt(id, appended);
    }

    /// Something may have happened to every session, or entries were lost.
    pub fn interrupt_all(&self) {
        let mut state = self.state();
        let appended = state.appended;
        state.diverged.interrupt_all(appended);
    }

    /// This node's own entry of this number is read, which made a session anew. False if it is void.
    #[must_use]
    pub fn is_renewed(&self, id: &SessionId, number: u64) -> bool {
        self.state().diverged.is_renewed(id, number)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn entries_are_counted_as_far_as_they_were_appended() {
        let (node, appended) = (NodeId(7), Arc::new(Mutex::new(Vec::new())));
        let log = Arc::clone(&appended);
        let log = Log::new(node, move |text| {
            let mut appended = log.lock().unwrap();
            let has_room = appended.len() < 2;
            if has_room {
                appended.push(text);
            }
            has_room
        });
        let done = [1, 2, 3].map(|node| log.append(Body::Gone(NodeId(node))));
        assert_eq!(done, [true, true, false]);
        appended.lock().unwrap().remove(0);
        assert!(log.append(Body::Gone(NodeId(4))));
        let appended = appended.lock().unwrap();
        let entries = appended
            .iter()
            .map(|text| serde_json::from_str::<Envelope>(text).unwrap());
        let numbers: Vec<_> = entries.map(|entry| (entry.node, entry.number)).collect();
        assert_eq!(
            numbers,
            [(node, 2), (node, 3)],
            "none is missing to who reads"
        );
    }
}

//! What can happen to a session: small, complete and the same on every node, so that all nodes that apply the same
//! steps in the same order have the same session.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::clock::UnixMillis;
use crate::ident::{NodeId, ParticipantId};

use super::json::Json;
use super::socket::{Member, SocketId};

/// Something that happens, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// By the clock of the node where it happened.
    pub at: UnixMillis,
    /// What.
    pub op: Op,
}

/// What happens. Where it is the deed of a socket, `by` must be a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// A socket joins. A repeated join is told to the room but announces nobody; a join under another id is a leave
    /// first. Without a name of their own, participants go by their id.
    Join {
        /// Who comes in.
        member: Member,
        /// As whom.
        participant: ParticipantId,
        /// What they want to be called from now on.
        name: Option<Arc<str>>,
    },
    /// A socket leaves for good: the participant has left, even if another socket of theirs stays a member. Not if that
    /// one joined later, by another node.
    Leave {
        /// Who goes.
        by: SocketId,
        /// Who they say they are.
        participant: ParticipantId,
    },
    /// A connection ended. The participant has left with their last one.
    Disconnect {
        /// Which.
        socket: SocketId,
        /// Whether that was meant.
        parting: Parting,
    },
    /// All of a participant's sockets are shown out.
    Remove {
        /// Whose.
        participant: ParticipantId,
    },
    /// A node died, and all its connections with it.
    NodeGone {
        /// Which.
        node: NodeId,
    },
    /// A change of the reading.
    Read {
        /// Who wants it.
        by: SocketId,
        /// What they want.
        change: ReadingOp,
    },
    /// A change of the timer.
    Time {
        /// Who wants it.
        by: SocketId,
        /// What they want.
        change: TimerOp,
    },
    /// The session is over: nothing of it is kept.
    End {
        /// Who wants it; nobody is the operator.
        by: Option<SocketId>,
        /// Told to everybody.
        reason: Json,
    },
}

/// How somebody's part in a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Parting {
    /// They said so: the relay lets go at once.
    Goodbye,
    /// Their transport was lost: they may return.
    Lost,
}

/// A change of verse, reader or queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadingOp {
    /// Another verse; told even if it is the same.
    ChangeVerse(Json),
    /// Verse and reader at once; told if that changes anything.
    SetVerse {
        /// What is read; `None` leaves it.
        verse: Option<Json>,
        /// By whom.
        reader: Option<ParticipantId>,
    },
    /// A participant starts, in or out of turn; the verse is only told. Without one, the present one is.
    Start(ParticipantId, Option<Json>),
    /// A participant has read: out of the queue, and it is the next one's turn.
    Finish(ParticipantId, Option<Json>),
    /// A participant gives up the turn for a place at the end.
    Skip(ParticipantId),
    /// Another queue; told even if it is the same.
    ReplaceQueue(Vec<ParticipantId>),
    /// Another queue, told by another event, and only if that changes anything.
    UpdateQueue(Vec<ParticipantId>),
}

/// A change of the timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimerOp {
    /// In place of any other.
    Start(Duration),
    /// Stops time.
    Pause,
    /// Lets it go on.
    Resume,
    /// Sets what is left; starts one if there is none.
    SetRemaining(Duration),
}

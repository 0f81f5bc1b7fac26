//! What a step asks for: whom to tell of what, and whose part in the session ends with it.

use std::sync::Arc;

use crate::ident::ParticipantId;

use super::json::Json;
use super::op::Parting;
use super::socket::{SocketId, Ticket};

/// What a step asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// What to tell whom, in this order.
    pub told: Vec<Told>,
    /// Who has no part in this session any more, so that their hold on the relay ends here.
    pub departed: Vec<(ParticipantId, Parting)>,
    /// Tickets of those who are lost by this, and may come back.
    pub lost: Vec<Ticket>,
    /// Tickets that open nothing any more.
    pub void: Vec<Ticket>,
}

/// One piece of news and whom it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Whom.
    pub to: Audience,
    /// What they are told.
    pub news: News,
}

/// Whom a piece of news is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Every member, as of when it is told.
    Room,
    /// Every member but one socket, as of when it is told.
    Others(SocketId),
    /// These, each at most once.
    These(Vec<SocketId>),
}

impl Audience {
    /// Whether it is for whoever is in the session, and not for some by name.
    #[must_use]
    pub fn is_room(&self) -> bool {
        match self {
            Self::Room | Self::Others(_) => true,
            Self::These(_) => false,
        }
    }
}

/// What members hear of. What describes the session itself is filled in when it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Somebody joined, perhaps again: who is here now.
    Roster,
    /// A new socket of this participant is here.
    ParticipantJoined {
        /// Who.
        id: ParticipantId,
        /// Never empty.
        name: Arc<str>,
    },
    /// This participant has gone.
    ParticipantLeft(ParticipantId),
    /// Confirms a leave.
    Left(ParticipantId),
    /// The verse, and who reads it.
    Verse,
    /// The queue, and whose turn it is.
    Queue,
    /// The queue, replaced by another event.
    QueueUpdate,
    /// A participant begins to read.
    ReadingStarted(ParticipantId, Option<Json>),
    /// A participant has read.
    ReadingFinished(ParticipantId, Option<Json>),
    /// The timer.
    Timer,
    /// The session is over.
    Ended(Json),
}

impl News {
    /// Whether it describes the session, so that a client could send it back as a wish.
    #[must_use]
    pub fn is_state(&self) -> bool {
        match self {
            Self::Verse | Self::QueueUpdate | Self::Timer => true,
            Self::Roster
            | Self::ParticipantJoined { .. }
            | Self::ParticipantLeft(_)
            | Self::Left(_)
            | Self::Queue
            | Self::ReadingStarted(..)
            | Self::ReadingFinished(..)
            | Self::Ended(_) => false,
        }
    }
}

/// The participants in the order in which they came, with their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster(pub Vec<(ParticipantId, Arc<str>)>);

/// Whom a signaling message is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// Every member but the sending socket.
    Others,
    /// Every socket of one participant.
    One(ParticipantId),
}

/// Why a socket may not do what it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trespass {
    /// Not a member of this session.
    #[error("not a member of this session")]
    NotInSession,
    /// Speaks in another participant's name.
    #[error("not your own participant id")]
    Forbidden,
}

impl Change {
    pub(super) fn tell(&mut self, to: Audience, news: News) {
        self.told.push(Told { to, news });
    }

    /// Once, however many sockets they had.
    pub(super) fn depart(&mut self, who: &ParticipantId, parting: Parting) {
        let departed = (who.clone(), parting);
        if !self.departed.contains(&departed) {
            self.departed.push(departed);
        }
    }

    /// Why the session is over, if it is.
    #[must_use]
    pub fn ending(&self) -> Option<&Json> {
        self.told.iter().find_map(|told| match &told.news {
            News::Ended(reason) => Some(reason),
            News::Roster
            | News::ParticipantJoined { .. }
            | News::ParticipantLeft(_)
            | News::Left(_)
            | News::Verse
            | News::Queue
            | News::QueueUpdate
            | News::ReadingStarted(..)
            | News::ReadingFinished(..)
            | News::Timer => None,
        })
    }

    /// Whether the room is told this anyway.
    pub(super) fn tells(&self, news: &News) -> bool {
        let same = |told: &Told| told.news == *news && told.to == Audience::Room;
        self.told.iter().any(same)
    }
}

//! One session, pure: who is in it, and who must be told of what when that changes.
//!
//! Every function may run again after a conflict in the store, so none has side effects: what is to be done about
//! a change is in the returned [`Change`].

mod participant;

use std::{fmt, sync::Arc};

use crate::ident::ParticipantId;

use participant::{Gone, Participants};

/// Names one Socket.IO connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(Arc<str>);

impl SocketId {
    /// Takes the id that the transport chose; ids of two connections never meet.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self(id.into())
    }
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The state of one session. Its members are sockets; a participant may have several.
#[derive(Clone, Debug, Default)]
pub struct Session {
    participants: Participants,
}

/// What a change of a session asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// What to tell whom, in this order.
    pub told: Vec<Told>,
    /// Who has no part in this session any more, so that their hold on the relay ends here.
    pub departed: Option<ParticipantId>,
}

/// What a join asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// What to tell the others.
    pub change: Change,
    /// Who is here now: what to tell the joiner, after anything in `change` that is for them too.
    pub roster: Roster,
}

/// One piece of news and the sockets that it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Each at most once; may be empty.
    pub to: Vec<SocketId>,
    /// What they are told.
    pub news: News,
}

/// What members hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Somebody joined, perhaps again: this is who is here now.
    Joined(Roster),
    /// A new socket of this participant is here.
    ParticipantJoined {
        /// Who.
        id: ParticipantId,
        /// Never empty.
        name: Arc<str>,
    },
    /// This participant has gone.
    ParticipantLeft(ParticipantId),
    /// Confirms an explicit leave.
    Left(ParticipantId),
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

impl Session {
    /// `socket` joins as `participant`. A repeated join is told to the room but announces nobody; a join under
    /// another id is a leave first. Without a name of their own, participants go by their id.
    pub fn join(
        &mut self,
        socket: &SocketId,
        participant: &ParticipantId,
        name: Option<&str>,
    ) -> Joined {
        let own = self.participants.owner(socket).cloned();
        let mut change = match own.filter(|own| own != participant) {
            Some(earlier) => self.leave_as(socket, &earlier),
            None => Change::default(),
        };
        let new_socket = self.participants.add(socket, participant, name);
        let roster = self.participants.roster();
        let others = self.participants.others(socket);
        change.tell(others.clone(), News::Joined(roster.clone()));
        if new_socket {
            let (id, name) = (participant.clone(), self.participants.name(participant));
            change.tell(others, News::ParticipantJoined { id, name });
        }
        Joined { change, roster }
    }

    /// `socket` leaves for good: the participant has left, even if another socket of theirs stays a member.
    ///
    /// # Errors
    /// When the socket is no member, or is one under another id.
    pub fn leave(
        &mut self,
        socket: &SocketId,
        participant: &ParticipantId,
    ) -> Result<Change, Trespass> {
        self.check(socket, participant)?;
        Ok(self.leave_as(socket, participant))
    }

    /// The connection behind `socket` is gone. The participant has left with their last one.
    pub fn disconnected(&mut self, socket: &SocketId) -> Change {
        let Some(participant) = self.participants.owner(socket).cloned() else {
            return Change::default();
        };
        let gone = self.participants.remove(socket, &participant);
        let mut change = Change::default();
        match gone {
            Gone::OneOfSeveral => return change,
            Gone::LastPresent => {
                let others = self.participants.others(socket);
                change.tell(others, News::ParticipantLeft(participant.clone()));
            }
            Gone::LastAfterLeaving => {}
        }
        change.departed = Some(participant);
        change
    }

    /// The sockets that a message from `socket`, signed `from`, goes to. Nobody's id is nobody's socket; nobody
    /// reaches themselves.
    ///
    /// # Errors
    /// When the sender is no member, or signs with another's id.
    pub fn route(
        &self,
        socket: &SocketId,
        from: &ParticipantId,
        to: &Recipient,
    ) -> Result<Vec<SocketId>, Trespass> {
        self.check(socket, from)?;
        Ok(match to {
            Recipient::Others => self.participants.others(socket),
            Recipient::One(participant) if participant == from => Vec::new(),
            Recipient::One(participant) => self.participants.sockets(participant).to_vec(),
        })
    }

    /// As whom `socket` is a member.
    #[must_use]
    pub fn participant_of(&self, socket: &SocketId) -> Option<&ParticipantId> {
        self.participants.owner(socket)
    }

    /// How many participants are here.
    #[must_use]
    pub fn participants(&self) -> usize {
        self.participants.present()
    }

    /// True when no socket is a member: nothing is left to remember.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.participants.is_empty()
    }

    fn leave_as(&mut self, socket: &SocketId, participant: &ParticipantId) -> Change {
        let was_present = self.participants.leave(socket, participant);
        let mut change = Change::default();
        if was_present {
            let others = self.participants.others(socket);
            change.tell(others, News::ParticipantLeft(participant.clone()));
        }
        change.tell(vec![socket.clone()], News::Left(participant.clone()));
        change.departed = Some(participant.clone());
        change
    }

    fn check(&self, socket: &SocketId, claimed: &ParticipantId) -> Result<(), Trespass> {
        match self.participants.owner(socket) {
            None => Err(Trespass::NotInSession),
            Some(own) if own != claimed => Err(Trespass::Forbidden),
            Some(_) => Ok(()),
        }
    }
}

impl Change {
    fn tell(&mut self, to: Vec<SocketId>, news: News) {
        if !to.is_empty() {
            self.told.push(Told { to, news });
        }
    }
}

#[cfg(test)]
mod tests;

//! Presence: which participants are in a session, and by which sockets.

use std::sync::Arc;

use crate::ident::ParticipantId;

use super::{Roster, SocketId};

/// The participants of one session, in the order in which they came.
#[derive(Clone, Debug, Default)]
pub(super) struct Participants(Vec<Participant>);

/// One participant: never without a socket.
#[derive(Clone, Debug)]
struct Participant {
    id: ParticipantId,
    name: Arc<str>,
    sockets: Vec<SocketId>,
    /// False once they said goodbye while another socket of theirs stayed: that one is still a member and can be
    /// addressed, but the others have been told that the participant left.
    present: bool,
}

/// What the loss of a socket means.
pub(super) enum Gone {
    /// Another socket of the participant is still here.
    OneOfSeveral,
    /// It was the last one of a participant whom the others believe to be here.
    LastPresent,
    /// It was the last one of a participant who had already said goodbye.
    LastAfterLeaving,
}

impl Participants {
    /// True if the socket is new here. Whoever had left and comes back goes to the end.
    pub(super) fn add(
        &mut self,
        socket: &SocketId,
        id: &ParticipantId,
        name: Option<&str>,
    ) -> bool {
        let mut participant = match self.position(id) {
            Some(at) if self.0[at].present => return self.0[at].join(socket, name),
            Some(at) => self.0.remove(at),
            None => Participant {
                id: id.clone(),
                name: id.as_str().into(),
                sockets: Vec::with_capacity(1),
                present: true,
            },
        };
        participant.present = true;
        let new_socket = participant.join(socket, name);
        self.0.push(participant);
        new_socket
    }

    /// The participant says goodbye on `socket`. True if they were present until now.
    pub(super) fn leave(&mut self, socket: &SocketId, id: &ParticipantId) -> bool {
        let Some(at) = self.position(id) else {
            return false;
        };
        let was_present = std::mem::replace(&mut self.0[at].present, false);
        self.drop_socket(at, socket);
        was_present
    }

    /// The connection behind `socket` is gone.
    pub(super) fn remove(&mut self, socket: &SocketId, id: &ParticipantId) -> Gone {
        let Some(at) = self.position(id) else {
            return Gone::LastAfterLeaving;
        };
        let present = self.0[at].present;
        match (self.drop_socket(at, socket), present) {
            (false, _) => Gone::OneOfSeveral,
            (true, true) => Gone::LastPresent,
            (true, false) => Gone::LastAfterLeaving,
        }
    }

    /// As whom `socket` is a member.
    pub(super) fn owner(&self, socket: &SocketId) -> Option<&ParticipantId> {
        let owner = self.0.iter().find(|one| one.sockets.contains(socket));
        owner.map(|participant| &participant.id)
    }

    /// Every member but `socket`.
    pub(super) fn others(&self, socket: &SocketId) -> Vec<SocketId> {
        let everyone = self.0.iter().flat_map(|participant| &participant.sockets);
        everyone.filter(|other| *other != socket).cloned().collect()
    }

    /// All sockets of one participant; none for whom nobody knows.
    pub(super) fn sockets(&self, id: &ParticipantId) -> &[SocketId] {
        self.position(id).map_or(&[], |at| &self.0[at].sockets)
    }

    /// The name that `id` goes by.
    pub(super) fn name(&self, id: &ParticipantId) -> Arc<str> {
        let known = self.position(id).map(|at| Arc::clone(&self.0[at].name));
        known.unwrap_or_else(|| id.as_str().into())
    }

    /// Those whom the others believe to be here.
    pub(super) fn roster(&self) -> Roster {
        let present = self.0.iter().filter(|participant| participant.present);
        Roster(
            present
                .map(|one| (one.id.clone(), Arc::clone(&one.name)))
                .collect(),
        )
    }

    /// How many the roster names.
    pub(super) fn present(&self) -> usize {
        self.0
            .iter()
            .filter(|participant| participant.present)
            .count()
    }

    /// True when nobody has a socket here.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn position(&self, id: &ParticipantId) -> Option<usize> {
        self.0.iter().position(|participant| participant.id == *id)
    }

    /// True if it was the participant's last: then the participant goes with it.
    fn drop_socket(&mut self, at: usize, socket: &SocketId) -> bool {
        let sockets = &mut self.0[at].sockets;
        sockets.retain(|own| own != socket);
        let last = sockets.is_empty();
        if last {
            self.0.remove(at);
        }
        last
    }
}

impl Participant {
    /// A new name replaces the old one, no name leaves it.
    fn join(&mut self, socket: &SocketId, name: Option<&str>) -> bool {
        if let Some(name) = name {
            self.name = name.into();
        }
        let new_socket = !self.sockets.contains(socket);
        if new_socket {
            self.sockets.push(socket.clone());
        }
        new_socket
    }
}

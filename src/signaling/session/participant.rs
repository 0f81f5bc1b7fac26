//! Presence: which participants are in a session, and by which sockets.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::UnixMillis;
use crate::ident::{NodeId, ParticipantId};

use super::Roster;
use super::socket::{Lost, Member, SocketId, Ticket};

/// The participants of one session, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Participants(Vec<Participant>);

/// One participant: never without a socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Participant {
    id: ParticipantId,
    name: Arc<str>,
    sockets: Vec<Joined>,
    /// False once they said goodbye while another socket of theirs stayed: that one is still a member and can be
    /// addressed, but the others have been told that the participant left.
    present: bool,
}

/// A socket of a participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Joined {
    #[serde(flatten)]
    member: Member,
    /// When it joined last.
    #[serde(default)]
    since: UnixMillis,
}

/// What the loss of a socket means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    /// Another socket of the participant is still here.
    OneOfSeveral,
    /// It was the last one of a participant whom the others believe to be here.
    LastPresent,
    /// It was the last one of a participant who had already said goodbye.
    LastAfterLeaving,
}

impl Participants {
    /// True if the others have not heard of it. Whoever had left and comes back goes to the end, and is new to them by
    /// whichever socket.
    pub(super) fn add(
        &mut self,
        since: UnixMillis,
        member: Member,
        id: &ParticipantId,
        name: Option<&str>,
    ) -> bool {
        let joined = Joined { member, since };
        let mut participant = match self.position(id) {
            Some(at) if self.0[at].present => return self.0[at].join(joined, name),
            Some(at) => self.0.remove(at),
            None => Participant {
                id: id.clone(),
                name: id.as_str().into(),
                sockets: Vec::with_capacity(1),
                present: true,
            },
        };
        participant.present = true;
        participant.join(joined, name);
        self.0.push(participant);
        true
    }

    /// The participant says goodbye on `socket`. True if they were present until now.
    pub(super) fn leave(&mut self, socket: SocketId, id: &ParticipantId) -> bool {
        let Some(at) = self.position(id) else {
            return false;
        };
        let was_present = std::mem::replace(&mut self.0[at].present, false);
        self.drop_socket(at, socket);
        was_present
    }

    /// The connection behind `socket` is gone.
    pub(super) fn remove(&mut self, socket: SocketId, id: &ParticipantId) -> Gone {
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

    /// Whether somebody who says goodbye on `socket` has come back by another node since. On one node what comes
    /// later is later, whatever its clock says.
    pub(super) fn is_back(&self, at: UnixMillis, socket: SocketId, id: &ParticipantId) -> bool {
        let is_later = |own: &Joined| own.member.socket.node != socket.node && own.since > at;
        let returned = |one: &Participant| one.present && one.sockets.iter().any(is_later);
        self.position(id).is_some_and(|at| returned(&self.0[at]))
    }

    /// As whom `socket` is a member.
    pub(super) fn owner(&self, socket: SocketId) -> Option<&ParticipantId> {
        let owner = self.0.iter().find(|one| one.has(socket));
        owner.map(|participant| &participant.id)
    }

    /// A ticket is its last holder's: no socket but `holder` has it from now on.
    pub(super) fn take_ticket(&mut self, ticket: Ticket, holder: SocketId) {
        let everyone = self.0.iter_mut().flat_map(|one| &mut one.sockets);
        for Joined { member, .. } in everyone.filter(|own| own.member.socket != holder) {
            member.ticket.take_if(|own| *own == ticket);
        }
    }

    /// What is lost with `socket`, if it could come back.
    pub(super) fn lost_with(&self, socket: SocketId) -> Option<Lost> {
        let owner = self.0.iter().find(|one| one.has(socket))?;
        let mut members = owner.members();
        let member = members.find(|own| own.socket == socket)?;
        Some(Lost {
            ticket: member.ticket?,
            participant: owner.id.clone(),
            name: Arc::clone(&owner.name),
        })
    }

    /// Every member.
    pub(super) fn members(&self) -> impl Iterator<Item = Member> {
        self.0.iter().flat_map(Participant::members)
    }

    /// The sockets that a node serves.
    pub(super) fn sockets_on(&self, node: NodeId) -> Vec<SocketId> {
        self.on(node).map(|(_, member)| member.socket).collect()
    }

    /// The connections to a node of those whom the others believe to be here.
    pub(super) fn present_on(
        &self,
        node: NodeId,
    ) -> impl Iterator<Item = (ParticipantId, Member, Arc<str>)> {
        let present = self.on(node).filter(|(one, _)| one.present);
        present.map(|(one, member)| (one.id.clone(), member, Arc::clone(&one.name)))
    }

    /// The connections to a node, and what the participants behind them go by.
    pub(super) fn names_on(&self, node: NodeId) -> impl Iterator<Item = (SocketId, Arc<str>)> {
        self.on(node)
            .map(|(one, member)| (member.socket, Arc::clone(&one.name)))
    }

    fn on(&self, node: NodeId) -> impl Iterator<Item = (&Participant, Member)> {
        let everyone = self.0.iter();
        let members = everyone.flat_map(|one| one.members().map(move |member| (one, member)));
        members.filter(move |(_, member)| member.socket.node == node)
    }

    /// All sockets of one participant; none for whom nobody knows.
    pub(super) fn sockets(&self, id: &ParticipantId) -> impl Iterator<Item = Member> {
        let one = self.position(id).map(|at| &self.0[at]);
        one.into_iter().flat_map(Participant::members)
    }

    /// The name that `id` goes by.
    pub(super) fn name(&self, id: &ParticipantId) -> Arc<str> {
        let known = self.position(id).map(|at| Arc::clone(&self.0[at].name));
        known.unwrap_or_else(|| id.as_str().into())
    }

    /// Those whom the others believe to be here.
    pub(super) fn roster(&self) -> Roster {
        let names = self
            .present()
            .map(|one| (one.id.clone(), Arc::clone(&one.name)));
        Roster(names.collect())
    }

    /// The ids of those whom the others believe to be here, and where they are connected.
    pub(super) fn presence(
        &self,
    ) -> impl Iterator<Item = (&ParticipantId, impl Iterator<Item = NodeId>)> {
        self.present().map(|one| {
            let nodes = one.members().map(|member| member.socket.node);
            (&one.id, nodes)
        })
    }

    /// Whether the others believe `id` to be here.
    pub(super) fn is_present(&self, id: &ParticipantId) -> bool {
        self.position(id).is_some_and(|at| self.0[at].present)
    }

    /// True when nobody has a socket here.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn present(&self) -> impl Iterator<Item = &Participant> {
        self.0.iter().filter(|participant| participant.present)
    }

    fn position(&self, id: &ParticipantId) -> Option<usize> {
        self.0.iter().position(|participant| participant.id == *id)
    }

    /// True if it was the participant's last one, who is then forgotten.
    fn drop_socket(&mut self, at: usize, socket: SocketId) -> bool {
        let sockets = &mut self.0[at].sockets;
        sockets.retain(|own| own.member.socket != socket);
        let last = sockets.is_empty();
        if last {
            self.0.remove(at);
        }
        last
    }
}

impl Participant {
    fn has(&self, socket: SocketId) -> bool {
        self.members().any(|own| own.socket == socket)
    }

    fn members(&self) -> impl Iterator<Item = Member> {
        self.sockets.iter().map(|own| own.member)
    }

    fn join(&mut self, joined: Joined, name: Option<&str>) -> bool {
        if let Some(name) = name.filter(|name| **name != *self.name) {
            self.name = name.into();
        }
        match self
            .sockets
            .iter_mut()
            .find(|own| own.member.socket == joined.member.socket)
        {
            Some(own) => {
                *own = joined;
                false
            }
            None => {
                self.sockets.push(joined);
                true
            }
        }
    }
}

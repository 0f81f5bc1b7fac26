//! One session, pure: who is in it, what they read, what time is left; and who must be told of what when that changes.
//!
//! Every [`Step`] may be applied more than once, here and on other nodes, so none has side effects: what is to be done
//! about it is in the returned [`Change`].

pub mod change;
pub mod json;
pub mod op;
mod participant;
pub mod reading;
pub mod replica;
pub mod socket;
pub mod timer;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::clock::UnixMillis;
use crate::ident::{NodeId, ParticipantId};

use change::{Audience, Change, News, Recipient, Roster, Trespass};
use json::Json;
use op::{Op, Parting, ReadingOp, Step, TimerOp};
use participant::{Gone, Participants};
use reading::Reading;
use socket::{Lost, Member, SocketId, Ticket};
use timer::Timer;

/// The state of one session. Its members are sockets; a participant may have several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Session {
    participants: Participants,
    reading: Reading,
    timer: Option<Timer>,
    /// Who may come back without knowing that they were gone, and since when they are.
    lost: VecDeque<(UnixMillis, Lost)>,
    /// Who was a member when the session was ended: they soon join again by themselves, which is no news.
    ended: Vec<SocketId>,
    ended_at: UnixMillis,
}

impl Session {
    /// Nobody is here, but a timer runs.
    #[must_use]
    pub fn with_timer(timer: Timer) -> Self {
        Self {
            timer: Some(timer),
            ..Self::default()
        }
    }

    /// Lets something happen.
    ///
    /// # Errors
    /// When the one who does it is no member, or one under another id; nothing has happened then.
    pub fn apply(&mut self, step: &Step) -> Result<Change, Trespass> {
        let at = step.at;
        match &step.op {
            Op::Join {
                member,
                participant,
                name,
            } => Ok(self.join(at, *member, participant, name.as_deref())),
            Op::Leave { by, participant } => self.leave(at, *by, participant),
            Op::Disconnect { socket, parting } => Ok(self.disconnect(at, *socket, *parting)),
            Op::Remove { participant } => Ok(self.remove(participant)),
            Op::NodeGone { node } => Ok(self.node_gone(at, *node)),
            Op::Read { by, change } => {
                self.check_member(*by)?;
                Ok(self.read(change))
            }
            Op::Time { by, change } => {
                self.check_member(*by)?;
                Ok(self.time(at, *change))
            }
            Op::End { by, reason } => match by {
                // A client that echoes what ended its session.
                Some(by) if self.ended.contains(by) => Ok(Change::default()),
                Some(by) => {
                    self.check_member(*by)?;
                    Ok(self.end(at, reason))
                }
                None => Ok(self.end(at, reason)),
            },
        }
    }

    /// The sockets that a message from `by`, signed `from`, goes to. Nobody's id is nobody's socket; nobody reaches
    /// themselves.
    ///
    /// # Errors
    /// When the sender is no member, or signs with another's id.
    pub fn route(
        &self,
        by: SocketId,
        from: &ParticipantId,
        to: &Recipient,
    ) -> Result<Vec<SocketId>, Trespass> {
        self.check(by, from)?;
        Ok(match to {
            Recipient::Others => self.audience(&Audience::Others(by)),
            Recipient::One(participant) if participant == from => Vec::new(),
            Recipient::One(participant) => sockets(self.participants.sockets(participant)),
        })
    }

    /// Who belongs to an audience now.
    #[must_use]
    pub fn audience(&self, audience: &Audience) -> Vec<SocketId> {
        match audience {
            Audience::Room => sockets(self.participants.members()),
            Audience::Others(one) => {
                sockets(self.participants.members().filter(|m| m.socket != *one))
            }
            Audience::These(these) => these.clone(),
        }
    }

    /// As whom `socket` is a member.
    #[must_use]
    pub fn participant_of(&self, socket: SocketId) -> Option<&ParticipantId> {
        self.participants.owner(socket)
    }

    /// Whether this socket is a member, or was one when the session was ended.
    #[must_use]
    pub fn knows(&self, socket: SocketId) -> bool {
        self.participants.owner(socket).is_some() || self.ended.contains(&socket)
    }

    /// What a participant goes by.
    #[must_use]
    pub fn name_of(&self, participant: &ParticipantId) -> Arc<str> {
        self.participants.name(participant)
    }

    /// The connections to a node, and what the participants behind them go by.
    pub fn names_on(&self, node: NodeId) -> impl Iterator<Item = (SocketId, Arc<str>)> {
        self.participants.names_on(node)
    }

    /// The connections of a participant.
    #[must_use]
    pub fn sockets_of(&self, participant: &ParticipantId) -> Vec<SocketId> {
        sockets(self.participants.sockets(participant))
    }

    /// How many are here.
    #[must_use]
    pub fn participants(&self) -> usize {
        self.participants.presence().count()
    }

    /// Who is here.
    #[must_use]
    pub fn roster(&self) -> Roster {
        self.participants.roster()
    }

    /// Who is here, and on which nodes each of them is connected.
    pub fn presence(&self) -> impl Iterator<Item = (&ParticipantId, impl Iterator<Item = NodeId>)> {
        self.participants.presence()
    }

    /// Whether the others believe this participant to be here.
    #[must_use]
    pub fn is_present(&self, participant: &ParticipantId) -> bool {
        self.participants.is_present(participant)
    }

    /// Whether they are here, or may come back after their connection was lost.
    #[must_use]
    pub fn awaits(&self, participant: &ParticipantId) -> bool {
        let is_lost = |(_, lost): &(_, Lost)| lost.participant == *participant;
        self.is_present(participant) || self.lost.iter().any(is_lost)
    }

    /// What is read.
    #[must_use]
    pub fn reading(&self) -> &Reading {
        &self.reading
    }

    /// The timer, until it has run out.
    #[must_use]
    pub fn timer(&self, now: UnixMillis) -> Option<&Timer> {
        self.timer.as_ref().filter(|timer| !timer.is_over(now))
    }

    /// The timer that was started last, even if it has run out.
    #[must_use]
    pub fn last_timer(&self) -> Option<&Timer> {
        self.timer.as_ref()
    }

    /// Whether there is a timer, or was one until a moment ago.
    #[must_use]
    pub fn had_timer(&self, now: UnixMillis) -> bool {
        let lately = UnixMillis(now.0.saturating_sub(TIMER_REMEMBERED_MS));
        let timer = self.timer.as_ref();
        timer.is_some_and(|timer| !timer.is_over(lately))
    }

    /// The connection that holds this ticket.
    #[must_use]
    pub fn holder(&self, ticket: Ticket) -> Option<SocketId> {
        let mut members = self.participants.members();
        let holder = members.find(|member| member.ticket == Some(ticket))?;
        Some(holder.socket)
    }

    /// Who was lost with this ticket, at or after `since`.
    #[must_use]
    pub fn lost(&self, ticket: Ticket, since: UnixMillis) -> Option<&Lost> {
        let recent = self.lost.iter().filter(|(at, _)| *at >= since);
        let mut lost = recent.map(|(_, lost)| lost);
        lost.find(|lost| lost.ticket == ticket)
    }

    /// The tickets of those who may come back.
    pub fn lost_tickets(&self) -> impl Iterator<Item = Ticket> {
        self.lost.iter().map(|(_, lost)| lost.ticket)
    }

    /// Every ticket that opens something here.
    pub fn tickets(&self) -> impl Iterator<Item = Ticket> {
        let held = self
            .participants
            .members()
            .filter_map(|member| member.ticket);
        held.chain(self.lost.iter().map(|(_, lost)| lost.ticket))
    }

    /// The node that keeps the session's keys in Redis: where its first member is.
    #[must_use]
    pub fn keeper(&self) -> Option<NodeId> {
        let mut members = self.participants.members();
        members.next().map(|member| member.socket.node)
    }

    /// The nodes of its members, each as often as it has some.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.participants.members().map(|member| member.socket.node)
    }

    /// What has to happen for the connections to `node` to be as they are in `known`.
    pub(super) fn amends(&self, known: &Self, node: NodeId) -> impl Iterator<Item = Op> {
        let here = self.participants.sockets_on(node).into_iter();
        let gone = here.filter(|socket| known.participants.owner(*socket).is_none());
        let gone = gone.map(|socket| Op::Disconnect {
            socket,
            parting: Parting::Lost,
        });
        let there = known.participants.present_on(node);
        let missing =
            there.filter(|(id, member, _)| self.participant_of(member.socket) != Some(id));
        gone.chain(missing.map(|(participant, member, name)| Op::Join {
            member,
            participant,
            name: Some(name),
        }))
    }

    /// True when no socket is a member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.participants.is_empty()
    }

    /// Whether there is, or may soon be again, somebody or something in it.
    #[must_use]
    pub fn is_known(&self, now: UnixMillis) -> bool {
        let is_awaited = !self.lost.is_empty();
        !self.is_empty() || is_awaited || !self.reading.is_empty() || self.timer(now).is_some()
    }

    /// True when nothing is left to remember.
    #[must_use]
    pub fn is_blank(&self, now: UnixMillis) -> bool {
        let forgotten = self.lost.is_empty() && self.ended.is_empty();
        self.is_empty() && forgotten && self.reading.is_empty() && self.timer(now).is_none()
    }

    /// Roughly what it takes to remember, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        let verse = self
            .reading
            .verse()
            .map_or(0, |verse| verse.raw().get().len());
        let queue: usize = self
            .reading
            .queue()
            .iter()
            .map(|id| id.as_str().len() + 16)
            .sum();
        verse + queue + 256
    }

    fn join(
        &mut self,
        at: UnixMillis,
        member: Member,
        participant: &ParticipantId,
        name: Option<&str>,
    ) -> Change {
        let socket = member.socket;
        let own = self.participants.owner(socket).cloned();
        let mut change = match own.filter(|own| own != participant) {
            Some(earlier) => self.leave_as(socket, &earlier),
            None => Change::default(),
        };
        change.void.retain(|void| Some(*void) != member.ticket);
        let ended = self.ended.iter().position(|other| *other == socket);
        let was_here = ended.map(|place| self.ended.swap_remove(place)).is_some();
        let returns = was_here && at <= self.ended_at.plus(BY_THEMSELVES);
        self.lost
            .retain(|(_, lost)| Some(lost.ticket) != member.ticket);
        if let Some(ticket) = member.ticket {
            self.participants.take_ticket(ticket, socket);
        }
        let is_news = self.participants.add(at, member, participant, name);
        change.tell(Audience::Others(socket), News::Roster);
        if is_news && !returns {
            let (id, name) = (participant.clone(), self.participants.name(participant));
            let others = self.audience(&Audience::Others(socket));
            change.tell(
                Audience::These(others),
                News::ParticipantJoined { id, name },
            );
        }
        change
    }

    fn leave(
        &mut self,
        at: UnixMillis,
        by: SocketId,
        participant: &ParticipantId,
    ) -> Result<Change, Trespass> {
        self.check(by, participant)?;
        // A node whose steps reach the log late may say this of somebody who is back by now.
        Ok(match self.participants.is_back(at, by, participant) {
            true => self.leave_by_one(by, participant),
            false => self.leave_as(by, participant),
        })
    }

    /// The participant stays, by sockets that joined later.
    fn leave_by_one(&mut self, socket: SocketId, participant: &ParticipantId) -> Change {
        let mut change = self.void_ticket(socket);
        self.participants.remove(socket, participant);
        let left = News::Left(participant.clone());
        change.tell(Audience::These(vec![socket]), left);
        change
    }

    fn leave_as(&mut self, socket: SocketId, participant: &ParticipantId) -> Change {
        let mut change = self.void_ticket(socket);
        if self.participants.leave(socket, participant) {
            let left = News::ParticipantLeft(participant.clone());
            change.tell(Audience::Others(socket), left);
        }
        let left = News::Left(participant.clone());
        change.tell(Audience::These(vec![socket]), left);
        change.depart(participant, Parting::Goodbye);
        self.forget_lost(participant, &mut change);
        self.give_up_turn(participant, &mut change);
        change
    }

    /// Nobody comes back in the place of who leaves.
    fn void_ticket(&self, socket: SocketId) -> Change {
        let ticket = self.participants.lost_with(socket).map(|lost| lost.ticket);
        Change {
            void: ticket.into_iter().collect(),
            ..Change::default()
        }
    }

    fn disconnect(&mut self, at: UnixMillis, socket: SocketId, parting: Parting) -> Change {
        self.ended.retain(|other| *other != socket);
        let mut change = Change::default();
        let Some(participant) = self.participants.owner(socket).cloned() else {
            return change;
        };
        let lost = self.participants.lost_with(socket);
        // Who said goodbye on one socket does not come back on another by itself.
        let is_awaited = parting == Parting::Lost && self.is_present(&participant);
        match lost {
            Some(lost) if is_awaited => self.keep_lost(at, lost, &mut change),
            Some(lost) => change.void.push(lost.ticket),
            None => {}
        }
        match self.participants.remove(socket, &participant) {
            Gone::OneOfSeveral => return change,
            Gone::LastPresent => {
                let left = News::ParticipantLeft(participant.clone());
                change.tell(Audience::Room, left);
            }
            Gone::LastAfterLeaving => {}
        }
        change.depart(&participant, parting);
        // Whoever is lost as the last one finds the queue as it was.
        if parting == Parting::Goodbye || !self.is_empty() {
            self.give_up_turn(&participant, &mut change);
        }
        change
    }

    fn remove(&mut self, participant: &ParticipantId) -> Change {
        let mut change = Change::default();
        self.forget_lost(participant, &mut change);
        let members: Vec<Member> = self.participants.sockets(participant).collect();
        if members.is_empty() {
            if !change.void.is_empty() {
                change.depart(participant, Parting::Goodbye);
            }
            self.give_up_turn(participant, &mut change);
            return change;
        }
        let was_present = self.participants.is_present(participant);
        for member in &members {
            change.void.extend(member.ticket);
            self.participants.remove(member.socket, participant);
        }
        if was_present {
            change.tell(Audience::Room, News::ParticipantLeft(participant.clone()));
        }
        let removed = Audience::These(sockets(members.into_iter()));
        change.tell(removed, News::Left(participant.clone()));
        change.depart(participant, Parting::Goodbye);
        self.give_up_turn(participant, &mut change);
        change
    }

    fn node_gone(&mut self, at: UnixMillis, node: NodeId) -> Change {
        self.ended.retain(|socket| socket.node != node);
        let reading = self.reading.clone();
        let mut change = Change::default();
        for socket in self.participants.sockets_on(node) {
            let Change {
                told,
                departed,
                lost,
                void,
            } = self.disconnect(at, socket, Parting::Lost);
            let news = told.into_iter().filter(|told| !change.tells(&told.news));
            change.told.extend(news.collect::<Vec<_>>());
            change.departed.extend(departed);
            change.lost.extend(lost);
            change.void.extend(void);
        }
        // Whoever is lost with everybody finds the queue as it was.
        if self.is_empty() {
            self.reading = reading;
        }
        change
    }

    fn read(&mut self, op: &ReadingOp) -> Change {
        let before = self.reading.clone();
        let mut change = Change::default();
        match op {
            ReadingOp::ChangeVerse(verse) => {
                self.reading.set_verse(verse.clone());
                change.tell(Audience::Room, News::Verse);
            }
            ReadingOp::SetVerse { verse, reader } => {
                if let Some(verse) = verse {
                    self.reading.set_verse(verse.clone());
                }
                self.reading.set_reader(reader.clone());
                if self.reading != before {
                    change.tell(Audience::Room, News::Verse);
                }
            }
            ReadingOp::Start(who, verse) => {
                self.reading.set_reader(Some(who.clone()));
                let verse = verse.as_ref().or(self.reading.verse()).cloned();
                change.tell(Audience::Room, News::ReadingStarted(who.clone(), verse));
            }
            ReadingOp::Finish(who, verse) => {
                self.reading.remove(who);
                let verse = verse.as_ref().or(self.reading.verse()).cloned();
                change.tell(Audience::Room, News::ReadingFinished(who.clone(), verse));
                change.tell(Audience::Room, News::Queue);
            }
            ReadingOp::Skip(who) => {
                self.reading.skip(who);
                change.tell(Audience::Room, News::Queue);
            }
            ReadingOp::ReplaceQueue(queue) => {
                self.reading.replace_queue(queue);
                change.tell(Audience::Room, News::Queue);
            }
            ReadingOp::UpdateQueue(queue) => {
                self.reading.replace_queue(queue);
                if self.reading != before {
                    change.tell(Audience::Room, News::QueueUpdate);
                }
            }
        }
        change
    }

    fn time(&mut self, at: UnixMillis, op: TimerOp) -> Change {
        self.timer.take_if(|timer| timer.is_over(at));
        let changed = match (op, &mut self.timer) {
            (TimerOp::Start(duration), timer) => {
                *timer = Some(Timer::start(at, duration));
                true
            }
            (TimerOp::Pause, Some(timer)) => timer.pause(at),
            (TimerOp::Resume, Some(timer)) => timer.resume(at),
            (TimerOp::Pause | TimerOp::Resume, None) => false,
            (TimerOp::SetRemaining(remaining), Some(timer)) => {
                // Whoever says what members see says nothing new.
                let is_news = !timer.shows(at, remaining);
                if is_news {
                    timer.set_remaining(at, remaining);
                }
                is_news
            }
            (TimerOp::SetRemaining(remaining), timer @ None) => {
                *timer = (!remaining.is_zero()).then(|| Timer::start(at, remaining));
                timer.is_some()
            }
        };
        let mut change = Change::default();
        if changed {
            change.tell(Audience::Room, News::Timer);
        }
        change
    }

    fn end(&mut self, at: UnixMillis, reason: &Json) -> Change {
        let members = self.audience(&Audience::Room);
        let mut change = Change::default();
        let here = members
            .iter()
            .filter_map(|socket| self.participants.owner(*socket));
        let awaited = self.lost.iter().map(|(_, lost)| &lost.participant);
        for participant in here.chain(awaited) {
            change.depart(participant, Parting::Goodbye);
        }
        change.void.extend(self.tickets());
        change.tell(
            Audience::These(members.clone()),
            News::Ended(reason.clone()),
        );
        *self = Self {
            ended: members,
            ended_at: at,
            ..Self::default()
        };
        change
    }

    /// A turn left behind is the next one's.
    fn give_up_turn(&mut self, participant: &ParticipantId, change: &mut Change) {
        if self.reading.remove(participant) {
            change.tell(Audience::Room, News::Queue);
        }
    }

    fn keep_lost(&mut self, at: UnixMillis, lost: Lost, change: &mut Change) {
        if self.lost.len() >= LOST_MAX
            && let Some((_, oldest)) = self.lost.pop_front()
        {
            change.void.push(oldest.ticket);
        }
        change.lost.push(lost.ticket);
        self.lost.push_back((at, lost));
    }

    /// Who said goodbye is not awaited back.
    fn forget_lost(&mut self, participant: &ParticipantId, change: &mut Change) {
        let of_theirs = |lost: &Lost| lost.participant == *participant;
        let gone = self.lost.iter().filter(|(_, lost)| of_theirs(lost));
        change.void.extend(gone.map(|(_, lost)| lost.ticket));
        self.lost.retain(|(_, lost)| !of_theirs(lost));
    }

    fn check(&self, socket: SocketId, claimed: &ParticipantId) -> Result<(), Trespass> {
        match self.participants.owner(socket) {
            None => Err(Trespass::NotInSession),
            Some(own) if own != claimed => Err(Trespass::Forbidden),
            Some(_) => Ok(()),
        }
    }

    fn check_member(&self, socket: SocketId) -> Result<(), Trespass> {
        let member = self.participants.owner(socket);
        member.map(drop).ok_or(Trespass::NotInSession)
    }
}

/// Longer than it takes to notice that a timer has run out.
const TIMER_REMEMBERED_MS: u64 = 60_000;
/// Clients that join again by themselves do so at once; people need longer, and are not expected by the others.
const BY_THEMSELVES: Duration = Duration::from_secs(10);
/// How many may be awaited back in one session.
const LOST_MAX: usize = 256;

fn sockets(members: impl Iterator<Item = Member>) -> Vec<SocketId> {
    members.map(|member| member.socket).collect()
}

#[cfg(test)]
mod tests;

//! A foreign step that comes below what is pending: what members here, who know the pending already, must hear of it.

use std::collections::HashSet;

use crate::ident::ParticipantId;
use crate::signaling::session::Session;
use crate::signaling::session::change::{Audience, Change, News, Told};
use crate::signaling::session::op::{Op, Parting, Step};
use crate::signaling::session::socket::SocketId;

/// What such a step does to a copy of a session.
pub(super) struct Rebased<'a> {
    /// What members here knew.
    pub(super) before: &'a Session,
    /// What is confirmed now.
    pub(super) confirmed: &'a Session,
    /// That, with all that is pending.
    pub(super) session: &'a Session,
    /// The pending steps that can still happen, and what they ask for now.
    pub(super) again: Vec<(&'a Step, Change)>,
}

impl Rebased<'_> {
    /// From what the step asked for where it took hold to what it comes to here.
    pub(super) fn amend(&self, mut change: Change) -> Change {
        change.told.retain(|told| !self.is_over(told));
        for told in &mut change.told {
            self.narrow(told);
        }
        let ended = change.ending().is_some();
        let misled = change.told.iter().any(|told| self.is_back(told));
        let announced = self.announced_again(&change);
        self.tell_who_is_here(&mut change, ended || misled);
        change.told.extend(announced);
        self.tell_difference(&mut change, ended);
        self.depart(&mut change);
        let open: HashSet<_> = self.session.tickets().collect();
        let void = self
            .before
            .tickets()
            .filter(|ticket| !open.contains(ticket));
        change.void = void.collect();
        change
    }

    /// Whether a pending step has told of it already: of their leaving, or of the end of what they were in.
    fn is_over(&self, told: &Told) -> bool {
        match (&told.news, &told.to) {
            (News::ParticipantLeft(who), _) => !self.before.is_present(who),
            (News::Roster, Audience::Others(joined)) => {
                self.owner(*joined).is_none() && self.before.roster() == self.session.roster()
            }
            (
                News::Roster
                | News::ParticipantJoined { .. }
                | News::Left(_)
                | News::Verse
                | News::Queue
                | News::QueueUpdate
                | News::ReadingStarted(..)
                | News::ReadingFinished(..)
                | News::Timer
                | News::Ended(_),
                _,
            ) => false,
        }
    }

    /// Whoever joins after the step hears nothing of what was over by then.
    fn narrow(&self, told: &mut Told) {
        let was_member = |socket: &SocketId| self.before.participant_of(*socket).is_some();
        let is_member = |socket: &SocketId| self.owner(*socket).is_some();
        let stays = |socket: &SocketId| is_member(socket) && !self.left_meanwhile(*socket);
        match (&told.news, &mut told.to) {
            (News::ParticipantLeft(who), to) if self.session.is_present(who) => {
                let mut heard = self.confirmed.audience(to);
                heard.retain(|socket| stays(socket) && self.owner(*socket) != Some(who));
                *to = Audience::These(heard);
            }
            (News::ParticipantJoined { id, .. }, Audience::These(these)) => {
                these.retain(|socket| stays(socket) && self.session.is_present(id));
            }
            (News::Left(_), Audience::These(these)) => {
                these.retain(|socket| was_member(socket) && !is_member(socket));
            }
            (News::Ended(_), Audience::These(these)) => these.retain(was_member),
            (
                News::Roster
                | News::ParticipantJoined { .. }
                | News::ParticipantLeft(_)
                | News::Left(_)
                | News::Verse
                | News::Queue
                | News::QueueUpdate
                | News::ReadingStarted(..)
                | News::ReadingFinished(..)
                | News::Timer
                | News::Ended(_),
                _,
            ) => {}
        }
    }

    /// As whom a socket is a member now.
    fn owner(&self, socket: SocketId) -> Option<&ParticipantId> {
        self.session.participant_of(socket)
    }

    /// Whether a member as of the step is none any more by a pending one, or a newcomer.
    fn left_meanwhile(&self, socket: SocketId) -> bool {
        let tells = |told: &Told| match (&told.news, &told.to) {
            (News::Left(_) | News::Ended(_), Audience::These(these)) => these.contains(&socket),
            _ => false,
        };
        self.again.iter().any(|(step, change)| match step.op {
            Op::Disconnect { socket: lost, .. } => lost == socket,
            Op::Join { .. }
            | Op::Leave { .. }
            | Op::Remove { .. }
            | Op::NodeGone { .. }
            | Op::Read { .. }
            | Op::Time { .. }
            | Op::End { .. } => change.told.iter().any(tells),
        })
    }

    /// Whether somebody hears that a participant left who is here.
    fn is_back(&self, told: &Told) -> bool {
        let News::ParticipantLeft(who) = &told.news else {
            return false;
        };
        self.session.is_present(who) && !self.session.audience(&told.to).is_empty()
    }

    /// Whoever hears that somebody left, or that all is over, has to hear again of those who joined after that.
    fn announced_again(&self, change: &Change) -> Vec<Told> {
        let mut announced = Vec::new();
        for Told { to, news } in self.again.iter().flat_map(|(_, change)| &change.told) {
            let News::ParticipantJoined { id, .. } = news else {
                continue;
            };
            let left = News::ParticipantLeft(id.clone());
            let parted = |told: &&Told| told.news == left || matches!(told.news, News::Ended(_));
            let heard = change.told.iter().filter(parted);
            let heard: HashSet<_> = heard
                .flat_map(|told| self.session.audience(&told.to))
                .collect();
            let mut to = self.session.audience(to);
            to.retain(|socket| heard.contains(socket) && self.owner(*socket).is_some());
            if !to.is_empty() && self.session.is_present(id) {
                let (to, news) = (Audience::These(to), news.clone());
                announced.push(Told { to, news });
            }
        }
        announced
    }

    /// Of those who are not here any more, or are again, because a pending step came to something else.
    fn tell_who_is_here(&self, change: &mut Change, anew: bool) {
        let mut known = self.before.roster();
        known.0.retain(|(who, _)| self.session.is_present(who));
        for (who, _) in self.before.roster().0 {
            let left = News::ParticipantLeft(who.clone());
            if !self.session.is_present(&who) && !change.told.iter().any(|told| told.news == left) {
                change.tell(self.those_who_stay(change), left);
            }
        }
        let is_told = change.told.iter().any(|told| told.news == News::Roster);
        let now = self.session.roster();
        if !anew && (is_told || known == now) {
            return;
        }
        change.tell(Audience::Room, News::Roster);
        let back = |who: &ParticipantId| !is_told && !self.before.is_present(who);
        for (id, name) in now.0.into_iter().filter(|(who, _)| back(who)) {
            let mut others = self.confirmed.audience(&Audience::Room);
            others.retain(|other| self.owner(*other).is_some_and(|owner| *owner != id));
            let news = News::ParticipantJoined { id, name };
            change.tell(Audience::These(others), news);
        }
    }

    /// Everybody but those to whom all is over, and who begin anew.
    fn those_who_stay(&self, change: &Change) -> Audience {
        let ended = |told: &&Told| matches!(told.news, News::Ended(_));
        let Some(ended) = change.told.iter().find(ended) else {
            return Audience::Room;
        };
        let dismissed = self.session.audience(&ended.to);
        let mut stay = self.session.audience(&Audience::Room);
        stay.retain(|socket| !dismissed.contains(socket));
        Audience::These(stay)
    }

    /// What else members believe and is not so any more. To whom the session has ended everything is `anew`.
    fn tell_difference(&self, change: &mut Change, anew: bool) {
        let (reading, known) = (self.session.reading(), self.before.reading());
        let (reader, verse) = (reading.reader(), reading.verse());
        let misled = |told: &Told| {
            let started = &told.news;
            matches!(started, News::ReadingStarted(who, _) if reader != Some(who))
        };
        let turns = (reading.queue(), reader) != (known.queue(), known.reader())
            || (anew && reader.is_some())
            || change.told.iter().any(misled);
        let timer = self.session.last_timer();
        let news = [
            (
                verse != known.verse() || (anew && verse.is_some()),
                News::Verse,
            ),
            (turns, News::Queue),
            (
                timer != self.before.last_timer() || (anew && timer.is_some()),
                News::Timer,
            ),
        ];
        for (_, news) in news.into_iter().filter(|(differs, _)| *differs) {
            if !change.tells(&news) {
                change.tell(Audience::Room, news);
            }
        }
    }

    /// Who has a part in the session has not departed, and whoever has none any more has.
    fn depart(&self, change: &mut Change) {
        change
            .departed
            .retain(|(who, _)| !self.session.is_present(who));
        for (who, _) in self.before.roster().0 {
            let departed = change.departed.iter().any(|(gone, _)| *gone == who);
            if self.session.is_present(&who) || departed {
                continue;
            }
            let mut again = self.again.iter().flat_map(|(_, change)| &change.departed);
            let parting = again
                .find(|(gone, _)| *gone == who)
                .map(|(_, parting)| *parting);
            change.depart(&who, parting.unwrap_or(Parting::Lost));
        }
    }
}

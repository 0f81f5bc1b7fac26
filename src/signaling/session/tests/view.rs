//! What a member makes of what it is told.

use super::*;

/// What one socket believes about its session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct View {
    roster: Roster,
    verse: Option<Json>,
    queue: Vec<ParticipantId>,
    reader: Option<ParticipantId>,
    timer: Option<Timer>,
}

impl View {
    /// What a newcomer is told.
    pub(super) fn of_newcomer(now: UnixMillis, session: &Session) -> Self {
        let reading = session.reading();
        let mut view = Self::default();
        view.hear(&News::Roster, session);
        if reading.verse().is_some() {
            view.hear(&News::Verse, session);
        }
        if !reading.queue().is_empty() || reading.reader().is_some() {
            view.hear(&News::Queue, session);
        }
        if session.timer(now).is_some() {
            view.hear(&News::Timer, session);
        }
        view
    }

    /// News, while the session is as given.
    pub(super) fn hear(&mut self, news: &News, session: &Session) {
        let reading = session.reading();
        match news {
            News::Roster => self.roster = session.roster(),
            News::ParticipantJoined { id, .. } => {
                let mut known = self.roster.0.iter();
                assert!(known.any(|(known, _)| known == id), "{id} is in no roster");
            }
            News::ParticipantLeft(id) => {
                let known = self.roster.0.len();
                self.roster.0.retain(|(known, _)| known != id);
                assert!(self.roster.0.len() < known, "{id} leaves, who was not here");
            }
            News::Verse => {
                self.verse = reading.verse().cloned();
                self.reader = reading.reader().cloned();
            }
            News::Queue => {
                self.queue = reading.queue().to_vec();
                self.reader = reading.reader().cloned();
            }
            // The contract has no reader in this one: who wants to know asks for the queue.
            News::QueueUpdate => {
                self.queue = reading.queue().to_vec();
                self.reader = reading.reader().cloned();
            }
            News::ReadingStarted(who, _) => self.reader = Some(who.clone()),
            News::ReadingFinished(..) => {}
            News::Timer => self.timer = session.last_timer().copied(),
            News::Left(_) | News::Ended(_) => unreachable!("who hears this is no member any more"),
        }
    }

    /// What a member should believe. A timer that has run out is none.
    pub(super) fn truth(now: UnixMillis, session: &Session) -> Self {
        let reading = session.reading();
        Self {
            roster: session.roster(),
            verse: reading.verse().cloned(),
            queue: reading.queue().to_vec(),
            reader: reading.reader().cloned(),
            timer: session.timer(now).copied(),
        }
    }

    pub(super) fn at(mut self, now: UnixMillis) -> Self {
        self.timer.take_if(|timer| timer.is_over(now));
        self
    }
}

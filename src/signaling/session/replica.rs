//! A node's copy of a session that other nodes change too.
//!
//! All nodes read one log and apply its steps in its order: that is what is *confirmed*. A node applies its own steps
//! at once and tells its members, before the log has them; until they come back they are *pending*, and a foreign step
//! that comes in between goes below them. So nobody waits for the log, and all copies are the same once it is read.

mod amends;

use std::collections::VecDeque;

use crate::clock::UnixMillis;
use crate::ident::NodeId;

use super::Session;
use super::change::{Change, Trespass};
use super::op::Step;

use amends::Rebased;

/// One session as this node knows it.
#[derive(Clone, Debug, Default)]
pub struct Replica {
    confirmed: Session,
    ahead: Option<Box<Ahead>>,
}

/// What this node knows beyond the log.
#[derive(Clone, Debug, Default)]
struct Ahead {
    /// The confirmed session with all that is pending.
    session: Session,
    pending: VecDeque<Step>,
}

impl Replica {
    /// Starts from what another node had confirmed; what is pending here stays. What members must be told is in the
    /// returned change. Who is connected to this `node`, it knows best: the returned steps, for the log, say so where
    /// the other had it otherwise.
    pub fn restore(
        &mut self,
        at: UnixMillis,
        node: NodeId,
        confirmed: Session,
    ) -> (Change, Vec<Step>) {
        let before = self.session().clone();
        self.confirmed = confirmed;
        let (session, _) = self.rebased();
        let amends: Vec<_> = session.amends(&before, node).collect();
        let amends: Vec<_> = amends.into_iter().map(|op| Step { at, op }).collect();
        if !amends.is_empty() {
            let ahead = self.ahead.get_or_insert_default();
            ahead.pending.extend(amends.iter().cloned());
        }
        (self.rebase(&before, Change::default()), amends)
    }

    /// The session, as its members here know it.
    #[must_use]
    pub fn session(&self) -> &Session {
        self.ahead
            .as_ref()
            .map_or(&self.confirmed, |ahead| &ahead.session)
    }

    /// The session as far as all nodes agree on it.
    #[must_use]
    pub fn confirmed(&self) -> &Session {
        &self.confirmed
    }

    /// Whether steps of this node are still to come back.
    #[must_use]
    pub fn is_ahead(&self) -> bool {
        self.ahead.is_some()
    }

    /// A step of this node, which no other node hears of.
    ///
    /// # Errors
    /// As [`Session::apply`].
    pub fn apply(&mut self, step: &Step) -> Result<Change, Trespass> {
        self.confirmed.apply(step)
    }

    /// A step of this node, to be appended to the log.
    ///
    /// # Errors
    /// As [`Session::apply`]; such a step is not for the log.
    pub fn propose(&mut self, step: &Step) -> Result<Change, Trespass> {
        let ahead = self.ahead.get_or_insert_with(|| {
            Box::new(Ahead {
                session: self.confirmed.clone(),
                pending: VecDeque::new(),
            })
        });
        let change = ahead.session.apply(step);
        if change.is_ok() {
            ahead.pending.push_back(step.clone());
        }
        self.ahead.take_if(|ahead| ahead.pending.is_empty());
        change
    }

    /// A step of this node comes back from the log: everything about it has been done. False if one before it did not
    /// come back: then this copy goes its own way, until it is made anew.
    #[must_use]
    pub fn confirm(&mut self, step: &Step) -> bool {
        let Some(ahead) = &mut self.ahead else {
            return true;
        };
        // One that nobody waits for is part of this copy since it was settled.
        let Some(at) = ahead.pending.iter().position(|own| own == step) else {
            return true;
        };
        for step in ahead.pending.drain(..=at) {
            let _ = self.confirmed.apply(&step);
        }
        self.ahead.take_if(|ahead| ahead.pending.is_empty());
        debug_assert!(self.is_consistent());
        at == 0
    }

    /// Another node's step comes from the log.
    pub fn follow(&mut self, step: &Step) -> Change {
        if self.ahead.is_none() {
            return self.confirmed.apply(step).unwrap_or_default();
        }
        let before = self.session().clone();
        let change = self.confirmed.apply(step).unwrap_or_default();
        self.rebase(&before, change)
    }

    /// The log will not have what is pending: from here on this copy goes its own way, until it is made anew.
    pub fn settle(&mut self) {
        if let Some(ahead) = self.ahead.take() {
            self.confirmed = ahead.session;
        }
    }

    /// Lets what is pending happen on top of what is confirmed now, and says what `change`, by which it came to that,
    /// means for members who knew it as it was before.
    fn rebase(&mut self, before: &Session, change: Change) -> Change {
        let (session, again) = self.rebased();
        let rebased = Rebased {
            before,
            confirmed: &self.confirmed,
            session: &session,
            again,
        };
        let change = rebased.amend(change);
        if let Some(ahead) = &mut self.ahead {
            ahead.session = session;
        }
        change
    }

    /// What is confirmed, with what is pending on top, and what that asks for.
    fn rebased(&self) -> (Session, Vec<(&Step, Change)>) {
        let mut session = self.confirmed.clone();
        let pending = self.ahead.iter().flat_map(|ahead| &ahead.pending);
        // What cannot happen any more is nothing here and, when it comes back, nothing everywhere.
        let again = pending.filter_map(|step| Some((step, session.apply(step).ok()?)));
        let again = again.collect();
        (session, again)
    }

    fn is_consistent(&self) -> bool {
        let ahead = self.ahead.as_ref();
        ahead.is_none_or(|ahead| ahead.session == self.rebased().0)
    }
}

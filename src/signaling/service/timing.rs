//! The timer: what members may do to it, and what they are told.

use std::time::Duration;

use crate::clock::{Now, UnixMillis};
use crate::ident::SessionId;
use crate::signaling::protocol::{Event, Refusal, Reply};
use crate::signaling::session::Session;
use crate::signaling::session::change::{Audience, Trespass};
use crate::signaling::session::op::{Op, TimerOp};
use crate::store::Clockface;

use super::{Connection, Job, Service};

impl Service {
    /// Starts, pauses, resumes or sets it.
    pub(super) fn time(
        &self,
        now: Now,
        connection: &Connection,
        session: &SessionId,
        change: TimerOp,
    ) -> Result<Reply, Refusal> {
        let by = connection.socket;
        let timed: Result<(), Trespass> = self.store.update(
            now,
            session,
            |_| Ok(Op::Time { by, change }),
            |state, clock, change| self.settle(now, now.unix, session, state, clock, change),
        );
        Ok(timed.map(|()| Reply::Done)?)
    }

    /// Whether a message carries the stamp of what members were told lately. Some clients send back whatever they
    /// receive; were that heard, two of them would change a session to and fro for ever.
    pub(super) fn is_echo(&self, session: &SessionId, stamp: Option<UnixMillis>) -> bool {
        let told = |stamp| {
            self.store
                .clockface(session, |_, clock| clock.echoes(stamp))
        };
        stamp.and_then(told).unwrap_or_default()
    }

    /// What is left is as a client says.
    pub(super) fn set_time_left(
        &self,
        now: Now,
        connection: &Connection,
        session: &SessionId,
        left: Duration,
        stamp: Option<UnixMillis>,
    ) -> Result<Reply, Refusal> {
        if self.is_echo(session, stamp) {
            return Ok(Reply::Done);
        }
        self.time(now, connection, session, TimerOp::SetRemaining(left))
    }

    /// Members were told of the timer as it is now: when will they be next?
    pub(in crate::signaling) fn set_clock(
        &self,
        now: Now,
        id: &SessionId,
        session: &Session,
        clock: &mut Clockface,
    ) {
        let timer = session.last_timer();
        clock.due = timer.and_then(|timer| timer.next_tick(now.unix));
        if let Some(due) = clock.due {
            self.agenda.add(now.until(due), Job::Tick(id.clone(), due));
        }
    }

    /// Members of this node are told what is left. Every node does that for its own, from the same start.
    pub(in crate::signaling) fn tick(&self, now: Now, id: &SessionId, due: UnixMillis) {
        // The two clocks may drift apart by a moment.
        let at = Now {
            unix: now.unix.max(due),
            ..now
        };
        self.store.clockface(id, |session, clock| {
            if clock.due != Some(due) {
                return;
            }
            self.set_clock(at, id, session, clock);
            clock.tell(at.unix);
            if let Some(timer) = session.last_timer() {
                let event = Event::timer(id, at.unix, timer.view(at.unix));
                self.sockets
                    .deliver(at, &session.audience(&Audience::Room), &event);
            }
            let keeper = session.keeper().unwrap_or(self.store.node());
            if keeper == self.store.node() {
                self.store.touch(id, None);
            }
        });
    }
}

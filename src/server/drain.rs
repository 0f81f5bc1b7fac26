//! The end that waits: nothing new begins, what there is may end by itself, and for how long.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::reload::Live;
use super::signals::{Asked, Signals};
use crate::clock::Now;

/// How the waiting came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drained {
    /// Nobody is there any more, or the time is over: whoever is left is told.
    Done,
    /// A second signal: at once.
    Hurried,
}

impl Drained {
    /// How long each of the two steps to the end may take.
    pub(super) fn patience(self) -> Duration {
        match self {
            Self::Done => STEP_TIMEOUT,
            Self::Hurried => HURRIED_STEP_TIMEOUT,
        }
    }
}

impl Live {
    /// Lets nothing new begin, and waits until there are neither members nor allocations, or for `shutdown.drain`.
    pub(super) async fn drain(&self, signals: &mut Signals) -> Drained {
        let within = self.config.drain;
        self.relay.drain();
        self.signaling.drain(within).await;
        let deadline = Instant::from_std(Now::read().mono) + within;
        let mut is_announced = false;
        loop {
            let (members, allocations) = self.left().await;
            if members == 0 && allocations == 0 {
                return Drained::Done;
            }
            let now = Instant::from_std(Now::read().mono);
            if now >= deadline {
                warn!(members, allocations, "the rest is closed");
                return Drained::Done;
            }
            if !is_announced {
                is_announced = true;
                info!(members, allocations, ?within, "waiting for calls to end");
            }
            tokio::select! {
                () = sleep_until(deadline.min(now + LOOK_EVERY)) => {}
                () = self.relay.ended() => return Drained::Done,
                asked = signals.next() => match asked {
                    Asked::Reload => warn!("about to end: the configuration is not loaded anew"),
                    Asked::End => {
                        warn!(members, allocations, "asked again: the rest is closed at once");
                        return Drained::Hurried;
                    }
                },
            }
        }
    }

    /// Members of sessions that are connected here, and allocations.
    async fn left(&self) -> (usize, u64) {
        let relay = self.relay.snapshot().await;
        (self.signaling.members(), relay.engine.allocations)
    }
}

/// Two of these, one after the other, stay under two seconds.
const STEP_TIMEOUT: Duration = Duration::from_millis(800);
const HURRIED_STEP_TIMEOUT: Duration = Duration::from_millis(150);
const LOOK_EVERY: Duration = Duration::from_millis(100);

//! How others, and a worker's own tasks, say that there is something to do.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::Wake,
};

/// Rings a worker: a system call only where it sleeps.
#[derive(Debug)]
pub(crate) struct Bell {
    /// Who has rung since the worker last looked, and whether it sleeps.
    state: AtomicU8,
    waker: mio::Waker,
}

/// Who has rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::relay::worker) struct Rung {
    /// There is something in the mailbox.
    pub(in crate::relay::worker) mail: bool,
    /// Some of the worker's tasks can go on.
    pub(in crate::relay::worker) tasks: bool,
}

impl Bell {
    pub(super) fn new(waker: mio::Waker) -> Self {
        Self {
            state: AtomicU8::new(0),
            waker,
        }
    }

    /// There is something in the mailbox.
    pub(crate) fn mail(&self) {
        self.ring(MAIL);
    }

    /// Who has rung since it was last asked.
    pub(in crate::relay::worker) fn take(&self) -> Rung {
        let state = self.state.swap(0, Ordering::AcqRel);
        Rung {
            mail: state & MAIL != 0,
            tasks: state & TASKS != 0,
        }
    }

    /// The worker is about to sleep: says whether it may, which it may not while somebody has rung.
    pub(super) fn may_sleep(&self) -> bool {
        self.state.fetch_or(ASLEEP, Ordering::AcqRel) == 0
    }

    /// The worker is awake again.
    pub(super) fn wake(&self) {
        self.state.fetch_and(!ASLEEP, Ordering::AcqRel);
    }

    fn ring(&self, who: u8) {
        let before = self.state.fetch_or(who, Ordering::AcqRel);
        if before == ASLEEP
            && let Err(error) = self.waker.wake()
        {
            tracing::error!(%error, "a relay worker can't be woken");
        }
    }
}

/// Its tasks can go on.
impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring(TASKS);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring(TASKS);
    }
}

const MAIL: u8 = 1;
const TASKS: u8 = 2;
const ASLEEP: u8 = 4;

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::clock::Now;
    use crate::relay::worker::reactor::{Ready, Watch};

    #[test]
    fn whoever_rings_wakes_a_sleeping_worker_and_is_told_apart() {
        let mut watch = Watch::new().unwrap();
        for (mail, tasks) in [(true, false), (false, true), (true, true)] {
            let bell = Arc::clone(watch.bell());
            let ringing = std::thread::spawn(move || {
                if mail {
                    bell.mail();
                }
                if tasks {
                    Wake::wake(bell);
                }
            });
            let mut rung = Rung {
                mail: false,
                tasks: false,
            };
            while (rung.mail, rung.tasks) != (mail, tasks) {
                watch
                    .wait(soon(), Some(never()), &mut Ready::default())
                    .unwrap();
                let now = watch.bell().take();
                rung.mail |= now.mail;
                rung.tasks |= now.tasks;
            }
            ringing.join().unwrap();
        }
    }

    #[test]
    fn who_has_rung_before_is_not_slept_over() {
        let mut watch = Watch::new().unwrap();
        watch.bell().mail();
        watch
            .wait(soon(), Some(never()), &mut Ready::default())
            .unwrap();
        assert!(watch.bell().take().mail);
        assert!(!watch.bell().take().mail);
    }

    fn soon() -> Instant {
        Now::read().mono
    }

    fn never() -> Instant {
        soon() + Duration::from_secs(3600)
    }
}

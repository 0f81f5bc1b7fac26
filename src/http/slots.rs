//! How many connections there may be at a time: a number that changes while they come and go.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Room for connections. Clones are the same room.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    free: Arc<Semaphore>,
    size: Arc<Mutex<Size>>,
}

#[derive(Debug)]
struct Size {
    max: usize,
    /// How many slots go when they are given back.
    owed: usize,
}

/// Room for one connection, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    permit: Option<OwnedSemaphorePermit>,
    size: Arc<Mutex<Size>>,
}

impl Slots {
    /// For so many; for as many as come where no number is given.
    pub(super) fn new(max: Option<usize>) -> Self {
        let max = bounded(max);
        Self {
            free: Arc::new(Semaphore::new(max)),
            size: Arc::new(Mutex::new(Size { max, owed: 0 })),
        }
    }

    /// Waits for room.
    pub(super) async fn take(&self) -> Slot {
        // Never closed: without a permit it would count for nothing.
        let permit = Arc::clone(&self.free).acquire_owned().await.ok();
        Slot {
            permit,
            size: Arc::clone(&self.size),
        }
    }

    /// From now on there is room for so many. Connections that are too many stay, and make room for none.
    pub(super) fn resize(&self, max: Option<usize>) {
        let max = bounded(max);
        let mut size = lock(&self.size);
        let (more, fewer) = (max.saturating_sub(size.max), size.max.saturating_sub(max));
        let kept = more.min(size.owed);
        size.owed -= kept;
        self.free.add_permits(more - kept);
        size.owed += fewer - self.free.forget_permits(fewer);
        size.max = max;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut size = lock(&self.size);
        if size.owed == 0 {
            return;
        }
        if let Some(permit) = self.permit.take() {
            size.owed -= 1;
            permit.forget();
        }
    }
}

fn bounded(max: Option<usize>) -> usize {
    max.unwrap_or(Semaphore::MAX_PERMITS)
        .min(Semaphore::MAX_PERMITS)
}

fn lock(size: &Mutex<Size>) -> MutexGuard<'_, Size> {
    size.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn room_grows_and_shrinks_around_those_who_are_there() {
        let slots = Slots::new(Some(2));
        let (one, other) = (slots.take().await, slots.take().await);
        assert_eq!(slots.free.available_permits(), 0);
        slots.resize(Some(1));
        drop(one);
        assert_eq!(
            slots.free.available_permits(),
            0,
            "one is there, and one may be"
        );
        drop(other);
        assert_eq!(slots.free.available_permits(), 1);
        let _one = slots.take().await;
        slots.resize(Some(0));
        slots.resize(Some(3));
        assert_eq!(slots.free.available_permits(), 2);
        for max in [None, Some(5), None, Some(1)] {
            slots.resize(max);
        }
        assert_eq!(slots.free.available_permits(), 0);
    }
}

//! Which relay sockets have something to read: one epoll for all those of a worker, so that an allocation costs no task
//! and no registration of the runtime's.

use std::{collections::VecDeque, io, net::UdpSocket, os::fd::OwnedFd};

use rustix::event::{
    Timespec,
    epoll::{self, CreateFlags, Event, EventData, EventFlags},
};
use tokio::io::{Interest, unix::AsyncFd};

use crate::relay::engine::five_tuple::RelayKey;
use crate::relay::worker::sockets;

/// Watches a worker's relay sockets.
#[derive(Debug)]
pub(super) struct Watch {
    epoll: AsyncFd<OwnedFd>,
}

/// What is to be read. A socket among it may have closed since, and its key have passed on.
pub(super) type Ready = VecDeque<Waiting>;

/// A socket with something to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) key: RelayKey,
    /// In its error queue, too.
    pub(super) has_errors: bool,
}

impl Watch {
    pub(super) fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        #[expect(
            deprecated,
            reason = "the other one is unsafe; an OwnedFd keeps its promise"
        )]
        let epoll = AsyncFd::with_interest(epoll, Interest::READABLE)?;
        Ok(Self { epoll })
    }

    /// Watches a socket until it closes.
    pub(super) fn add(&self, socket: &UdpSocket, key: RelayKey, errors: bool) -> io::Result<()> {
        if errors {
            sockets::keep_errors(socket)?;
        }
        let data = EventData::new_u64(key.0.into());
        // Once for each time that something comes: a socket is then read to its end.
        epoll::add(&self.epoll, socket, data, EventFlags::IN | EventFlags::ET)?;
        Ok(())
    }

    /// Adds what is to be read by now; waits for it where there is nothing to do yet. Says whether there may be more.
    ///
    /// # Errors
    /// When the runtime shuts down.
    pub(super) async fn wait(&self, ready: &mut Ready) -> io::Result<bool> {
        if !ready.is_empty() {
            return self.look(ready);
        }
        while ready.is_empty() {
            let mut readable = self.epoll.readable().await?;
            if self.look(ready)? {
                return Ok(true);
            }
            // What comes from now on is told anew.
            readable.clear_ready();
        }
        Ok(false)
    }

    fn look(&self, ready: &mut Ready) -> io::Result<bool> {
        let mut events = [NO_EVENT; EVENTS_PER_TURN];
        let count = epoll::wait(self.epoll.get_ref(), &mut events[..], Some(&AT_ONCE))?;
        for event in events[..count].iter().filter_map(waiting) {
            match ready.iter_mut().find(|known| known.key == event.key) {
                Some(known) => known.has_errors |= event.has_errors,
                None => ready.push_back(event),
            }
        }
        Ok(count == EVENTS_PER_TURN)
    }
}

fn waiting(event: &Event) -> Option<Waiting> {
    let key = u32::try_from(event.data.u64()).ok()?;
    let flags = event.flags;
    Some(Waiting {
        key: RelayKey(key),
        has_errors: flags.contains(EventFlags::ERR),
    })
}

const NO_EVENT: Event = Event {
    flags: EventFlags::empty(),
    data: EventData::new_u64(0),
};
const AT_ONCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};
const EVENTS_PER_TURN: usize = 64;

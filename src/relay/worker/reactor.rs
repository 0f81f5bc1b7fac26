//! What a worker waits for: sockets that are ready, moments that are due, others who ring. One poll for all of it, with
//! nothing of a runtime's between a datagram and the engine.
//!
//! Datagrams are served by whoever waits, the worker's thread. Streams have tasks, which wait for [`Watched`] sockets and
//! [`Alarm`]s; [`Watch::wait`] wakes them.

mod alarm;
mod bell;
mod pace;
mod ready;
mod tcp;
mod watched;

pub(super) use alarm::Elapsed;
pub(crate) use bell::Bell;
pub(super) use pace::{Paced, Work};
pub(super) use ready::{Ready, ReadyRelays, Waiting};
pub(super) use tcp::{Listener, Tcp};

use std::{
    io::{self, ErrorKind},
    net::UdpSocket,
    os::fd::{AsFd, AsRawFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use mio::{Events, Interest, Registry, Token, event::Event, unix::SourceFd};
use slab::Slab;

use crate::relay::engine::five_tuple::RelayKey;
use crate::relay::worker::reactor::alarm::Alarms;
use crate::relay::worker::reactor::pace::Paces;
use crate::relay::worker::reactor::watched::Readiness;

/// Where a worker waits. Its thread alone has it.
#[derive(Debug)]
pub(crate) struct Watch {
    poll: mio::Poll,
    events: Events,
    bell: Arc<Bell>,
    reactor: Arc<Reactor>,
}

/// What a worker's sockets and tasks are watched by.
///
/// Shared within one thread, and never contended; a connection on its way to another worker needs it to be [`Sync`].
#[derive(Debug)]
pub(super) struct Reactor {
    registry: Registry,
    sockets: Mutex<Slab<Arc<Readiness>>>,
    alarms: Mutex<Alarms>,
    paces: Mutex<Paces>,
}

impl Watch {
    /// # Errors
    /// When the kernel has no poll left.
    pub(crate) fn new() -> io::Result<Self> {
        let poll = mio::Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), Watching::Bell.into())?;
        let reactor = Reactor {
            registry: poll.registry().try_clone()?,
            sockets: Mutex::default(),
            alarms: Mutex::default(),
            paces: Mutex::default(),
        };
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS_PER_TURN),
            bell: Arc::new(Bell::new(waker)),
            reactor: Arc::new(reactor),
        })
    }

    /// Whoever rings it makes [`wait`](Self::wait) return.
    pub(crate) fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    pub(super) fn reactor(&self) -> &Arc<Reactor> {
        &self.reactor
    }

    /// Adds to `ready` what is to be read by now, and wakes the tasks that can go on. Where there is nothing to do
    /// already, waits for something, until `due` at most.
    ///
    /// # Errors
    /// When the kernel's poll fails.
    pub(super) fn wait(
        &mut self,
        now: Instant,
        due: Option<Instant>,
        ready: &mut Ready,
    ) -> io::Result<()> {
        let is_free = ready.is_empty() && !self.reactor.has_work();
        let patience = if is_free && self.bell.may_sleep() {
            let due = [due, self.reactor.alarms().next()];
            let due = due.into_iter().flatten().min();
            due.map(|due| due.saturating_duration_since(now))
        } else {
            Some(Duration::ZERO)
        };
        let polled = self.poll.poll(&mut self.events, patience);
        self.bell.wake();
        match polled {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            Ok(()) | Err(_) => {}
        }
        // Who waits from before comes before whoever becomes ready only now.
        self.reactor.begin_turn();
        for event in &self.events {
            self.reactor.take_note(event, ready);
        }
        Ok(())
    }

    /// Wakes the tasks whose alarms are due.
    pub(super) fn ring_alarms(&self, now: Instant) {
        self.reactor.alarms().ring(now);
    }
}

impl Reactor {
    /// Watches a clients' socket until it closes.
    pub(super) fn watch_clients(&self, socket: &UdpSocket, number: usize) -> io::Result<()> {
        self.register(socket, Watching::Clients(number), Interest::READABLE)
    }

    /// Watches a relay socket until it closes, or is [unwatched](Self::unwatch_relay).
    pub(super) fn watch_relay(&self, socket: &UdpSocket, key: RelayKey) -> io::Result<()> {
        self.register(socket, Watching::Relay(key), Interest::READABLE)
    }

    pub(super) fn unwatch_relay(&self, socket: &UdpSocket) -> io::Result<()> {
        let fd = socket.as_raw_fd();
        self.registry.deregister(&mut SourceFd(&fd))
    }

    /// Tells once for each time that something comes: a socket is then read to its end.
    fn register(
        &self,
        socket: &impl AsFd,
        watching: Watching,
        interest: Interest,
    ) -> io::Result<()> {
        let fd = socket.as_fd().as_raw_fd();
        self.registry
            .register(&mut SourceFd(&fd), watching.into(), interest)
    }

    fn take_note(&self, event: &Event, ready: &mut Ready) {
        match event.token().into() {
            // It says itself who has rung.
            Watching::Bell => {}
            Watching::Clients(number) => ready.add_clients(number),
            Watching::Relay(key) => ready.relays.push(Waiting {
                key,
                has_errors: event.is_error(),
            }),
            Watching::Socket(number) => {
                if let Some(readiness) = self.sockets().get(number) {
                    readiness.take_note(event);
                }
            }
        }
    }

    fn sockets(&self) -> MutexGuard<'_, Slab<Arc<Readiness>>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn alarms(&self) -> MutexGuard<'_, Alarms> {
        self.alarms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a token of the poll's stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watching {
    Bell,
    Clients(usize),
    Relay(RelayKey),
    /// One that a task waits for.
    Socket(usize),
}

impl From<Watching> for Token {
    fn from(watching: Watching) -> Self {
        Self(match watching {
            Watching::Bell => 0,
            Watching::Clients(number) => number << 2 | 1,
            Watching::Relay(key) => (key.0 as usize) << 2 | 2,
            Watching::Socket(number) => number << 2 | 3,
        })
    }
}

impl From<Token> for Watching {
    fn from(Token(token): Token) -> Self {
        let number = token >> 2;
        match token & 3 {
            1 => Self::Clients(number),
            2 => Self::Relay(RelayKey(number as u32)),
            3 => Self::Socket(number),
            _ => Self::Bell,
        }
    }
}

/// How much the kernel tells at once.
const EVENTS_PER_TURN: usize = 256;

/// Runs one future as a worker runs its tasks.
#[cfg(test)]
pub(super) fn run<T>(test: impl AsyncFnOnce(Arc<Reactor>) -> T) -> T {
    use std::{
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use crate::clock::Now;

    let mut watch = Watch::new().unwrap();
    let waker = Waker::from(Arc::clone(watch.bell()));
    let mut future = pin!(test(Arc::clone(watch.reactor())));
    loop {
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        if let Poll::Ready(output) = polled {
            return output;
        }
        let now = Now::read().mono;
        watch.wait(now, None, &mut Ready::default()).unwrap();
        watch.ring_alarms(Now::read().mono);
        watch.bell().take();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        future::poll_fn,
        io::Write,
        net::{Ipv4Addr, TcpListener, TcpStream},
    };

    use socket2::SockRef;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        join,
    };

    use super::*;
    use crate::relay::worker::sockets;

    #[test]
    fn a_token_stands_for_one_thing() {
        let all = [
            Watching::Bell,
            Watching::Clients(0),
            Watching::Clients(7),
            Watching::Relay(RelayKey(u32::MAX)),
            Watching::Socket(3),
        ];
        for watching in all {
            assert_eq!(Watching::from(Token::from(watching)), watching);
        }
    }

    #[test]
    fn alarms_ring_in_their_order_and_those_of_the_past_at_once() {
        run(async |reactor| {
            let order = Cell::new(Vec::new());
            let ring = async |millis, name| {
                reactor.sleep(Duration::from_millis(millis)).await;
                let mut names = order.take();
                names.push(name);
                order.set(names);
            };
            join!(ring(20, "third"), ring(0, "first"), ring(10, "second"));
            assert_eq!(order.take(), ["first", "second", "third"]);
        });
    }

    #[test]
    fn a_future_that_takes_too_long_is_given_up_and_leaves_no_alarm() {
        run(async |reactor| {
            let soon = Duration::from_millis(1);
            let never = std::future::pending::<()>();
            assert_eq!(reactor.within(soon, never).await, Err(Elapsed));
            let hour = Duration::from_secs(3600);
            assert_eq!(reactor.within(hour, reactor.yield_now()).await, Ok(()));
            assert_eq!(reactor.alarms().next(), None);
        });
    }

    #[test]
    fn bytes_go_both_ways_until_the_end() {
        run(async |reactor| {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let to = listener.local_addr().unwrap();
            listener.set_nonblocking(true).unwrap();
            let listener = Listener::new(&reactor, listener).unwrap();
            let unconnected = sockets::peer_tcp((Ipv4Addr::LOCALHOST, 0).into());
            let (accepted, connected) = join!(
                poll_fn(|cx| listener.poll_accept(cx)),
                Tcp::connect(&reactor, unconnected.unwrap(), to)
            );
            let (near, far) = (
                connected.unwrap(),
                Tcp::new(&reactor, accepted.unwrap().0).unwrap(),
            );
            let much = vec![7; 8 * 1024 * 1024];
            let mut heard = Vec::new();
            let say = async {
                (&near).write_all(&much).await.unwrap();
                (&near).shutdown().await.unwrap();
            };
            let hear = async {
                (&far).read_to_end(&mut heard).await.unwrap();
                (&far).write_all(b"all of it").await.unwrap();
            };
            join!(say, hear);
            assert!(heard == much);
            drop(far);
            let mut answer = String::new();
            (&near).read_to_string(&mut answer).await.unwrap();
            assert_eq!(answer, "all of it");
        });
    }

    #[test]
    fn a_buffer_is_filled_with_what_has_come() {
        run(async |reactor| {
            let (near, mut far) = pair(&reactor);
            let mut buffer = Vec::with_capacity(4);
            far.write_all(b"123456").unwrap();
            let fill = async |buffer: &mut Vec<u8>| poll_fn(|cx| near.poll_fill(cx, buffer)).await;
            assert_eq!(fill(&mut buffer).await.unwrap(), 4);
            assert!(near.is_readable());
            buffer.clear();
            assert_eq!(fill(&mut buffer).await.unwrap(), 2);
            assert_eq!(buffer, b"56");
            // There may be no more: nobody asks before the poll tells.
            assert!(!near.is_readable());
            drop(far);
            assert_eq!(fill(&mut buffer).await.unwrap(), 0);
        });
    }

    #[test]
    fn what_comes_behind_something_urgent_is_read_without_waiting_for_more() {
        for is_inline in [false, true] {
            run(async |reactor| {
                let (near, mut far) = pair(&reactor);
                if is_inline {
                    sockets::urgent_inline(near.socket()).unwrap();
                }
                far.write_all(b"abc").unwrap();
                SockRef::from(&far).send_out_of_band(b"!").unwrap();
                far.write_all(b"def").unwrap();
                let expected: &[u8] = if is_inline { b"abc!def" } else { b"abcdef" };
                let mut heard = Vec::with_capacity(100);
                let second = Duration::from_secs(1);
                while heard.len() < expected.len() {
                    let read = poll_fn(|cx| near.poll_fill(cx, &mut heard));
                    reactor.within(second, read).await.unwrap().unwrap();
                }
                assert_eq!(heard, expected);
            });
        }
    }

    #[test]
    fn nobody_answers_where_nobody_listens() {
        run(async |reactor| {
            let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let to = nobody.local_addr().unwrap();
            drop(nobody);
            let socket = sockets::peer_tcp((Ipv4Addr::LOCALHOST, 0).into());
            let refused = Tcp::connect(&reactor, socket.unwrap(), to).await;
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        });
    }

    #[test]
    fn a_socket_that_has_left_is_not_watched_and_can_come_back() {
        run(async |reactor| {
            let (near, mut far) = pair(&reactor);
            let near = near.into_inner().unwrap();
            assert!(reactor.sockets().is_empty());
            far.write_all(b"x").unwrap();
            let near = Tcp::new(&reactor, near).unwrap();
            near.readable().await;
            assert_eq!((&near).read_u8().await.unwrap(), b'x');
        });
    }

    #[test]
    fn sockets_come_before_whoever_yields() {
        run(async |reactor| {
            let (near, mut far) = pair(&reactor);
            far.write_all(b"x").unwrap();
            assert!(!near.is_readable());
            reactor.yield_now().await;
            assert!(near.is_readable());
        });
    }

    fn pair(reactor: &Arc<Reactor>) -> (Tcp, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (near, _) = listener.accept().unwrap();
        near.set_nonblocking(true).unwrap();
        (Tcp::new(reactor, near).unwrap(), far)
    }
}

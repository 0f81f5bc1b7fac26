//! The relay ports of the whole process: touched when an allocation begins or ends, never by a packet.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::clock::Now;
use crate::entropy;
use crate::relay::engine::{PortKind, ReservationToken};

/// The ports of one address family, shared by all workers.
#[derive(Debug)]
pub(crate) struct Ports {
    pool: Mutex<Pool>,
    total: usize,
}

/// A socket on a relay port. The socket closes before its port is free again.
#[derive(Debug)]
pub(crate) struct Leased<S> {
    pub(crate) socket: S,
    pub(crate) lease: Lease,
    /// The claim to the port above, when it was asked for.
    pub(crate) reservation: Option<ReservationToken>,
}

/// A port in use; dropping it makes the port free again.
#[derive(Debug)]
pub(crate) struct Lease {
    ports: Arc<Ports>,
    port: u16,
}

impl Ports {
    pub(crate) fn new(range: RangeInclusive<u16>) -> Self {
        Self {
            total: range.len(),
            pool: Mutex::new(Pool::new(range)),
        }
    }

    /// Opens a socket with `bind` on a random free port; `None` when there is none.
    pub(crate) fn open<S>(
        self: &Arc<Self>,
        now: Now,
        kind: PortKind,
        bind: impl Fn(u16) -> io::Result<S>,
    ) -> Option<Leased<S>> {
        // A foreign process may own this port; a few tries keep the wait bounded.
        for _ in 0..BIND_ATTEMPTS_MAX {
            let taken = self.pool().take(now.mono, kind, entropy::number())?;
            match bind(taken.port) {
                Ok(socket) => {
                    let reservation = taken.next.map(|next| self.reserve(now, next));
                    let lease = Lease {
                        ports: Arc::clone(self),
                        port: taken.port,
                    };
                    return Some(Leased {
                        socket,
                        lease,
                        reservation,
                    });
                }
                Err(error) if is_about_the_port(&error) => {
                    tracing::debug!(port = taken.port, %error, "relay port set aside");
                    self.pool().set_aside(now.mono, taken);
                }
                Err(error) => {
                    tracing::warn!(port = taken.port, %error, "cannot open a relay port");
                    self.pool().put_back(taken);
                    return None;
                }
            }
        }
        None
    }

    /// How many ports are leased or reserved.
    pub(crate) fn in_use(&self, now: Now) -> usize {
        let mut pool = self.pool();
        pool.recover(now.mono);
        self.total - pool.free.len() - pool.aside.len()
    }

    /// How many ports there are.
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    fn reserve(&self, now: Now, port: u16) -> ReservationToken {
        let token = ReservationToken(entropy::bytes());
        self.pool().reserve(now.mono, port, token);
        token
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether another port may do. Without descriptors, or without the address, none will.
fn is_about_the_port(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied
    )
}

impl Lease {
    /// The port in use.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.ports.pool().free.insert(self.port);
    }
}

/// Every port that is not leased, in one of three states.
#[derive(Debug)]
struct Pool {
    free: BTreeSet<u16>,
    reserved: HashMap<ReservationToken, Held>,
    /// Ports that could not be bound, each until it is worth another try.
    aside: BTreeMap<u16, Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    port: u16,
    until: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Taken {
    port: u16,
    /// The port above, taken for a reservation.
    next: Option<u16>,
}

impl Pool {
    fn new(range: RangeInclusive<u16>) -> Self {
        Self {
            free: range.collect(),
            reserved: HashMap::new(),
            aside: BTreeMap::new(),
        }
    }

    fn take(&mut self, now: Instant, kind: PortKind, random: u64) -> Option<Taken> {
        self.recover(now);
        let next_of = |port: u16| port.checked_add(1);
        let port = match kind {
            PortKind::Any => self.draw(random, |_| true)?,
            PortKind::Even => self.draw(random, |port| port % 2 == 0)?,
            PortKind::EvenWithNext => self.draw(random, |port| {
                let next = next_of(port);
                port % 2 == 0 && next.is_some_and(|next| self.free.contains(&next))
            })?,
            PortKind::Reserved(token) => self.reserved.remove(&token)?.port,
        };
        let next = match kind {
            PortKind::EvenWithNext => next_of(port),
            PortKind::Any | PortKind::Even | PortKind::Reserved(_) => None,
        };
        for port in next.into_iter().chain([port]) {
            self.free.remove(&port);
        }
        Some(Taken { port, next })
    }

    /// The first fitting free port from a random one on, around the range.
    fn draw(&self, random: u64, fits: impl Fn(u16) -> bool) -> Option<u16> {
        let (first, last) = (*self.free.first()?, *self.free.last()?);
        let span = u64::from(last - first) + 1;
        let start = first + u16::try_from(random % span).unwrap_or(0);
        let around = self.free.range(start..).chain(self.free.range(..start));
        around.copied().find(|port| fits(*port))
    }

    fn reserve(&mut self, now: Instant, port: u16, token: ReservationToken) {
        let until = now + RESERVATION_LIFETIME;
        self.reserved.insert(token, Held { port, until });
    }

    fn set_aside(&mut self, now: Instant, taken: Taken) {
        self.aside.insert(taken.port, now + BIND_RETRY_AFTER);
        self.free.extend(taken.next);
    }

    fn put_back(&mut self, taken: Taken) {
        self.free.insert(taken.port);
        self.free.extend(taken.next);
    }

    /// Makes free what nobody came for in time, and what may be bindable again.
    fn recover(&mut self, now: Instant) {
        let expired = self.reserved.extract_if(|_, held| held.until <= now);
        self.free.extend(expired.map(|(_, held)| held.port));
        let retried = self.aside.extract_if(.., |_, until| *until <= now);
        self.free.extend(retried.map(|(port, _)| port));
    }
}

/// How long the port above an even one waits for its client; at least 30 s
/// ([RFC 8656 §7.2](https://www.rfc-editor.org/rfc/rfc8656#section-7.2)).
const RESERVATION_LIFETIME: Duration = Duration::from_secs(30);
const BIND_RETRY_AFTER: Duration = Duration::from_secs(10);
const BIND_ATTEMPTS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_of_the_range_is_given_once() {
        let mut pool = Pool::new(49160..=49200);
        let mut ports: Vec<_> = (0..41_u64)
            .map(|n| {
                take(
                    &mut pool,
                    PortKind::Any,
                    n.wrapping_mul(0x9E37_79B9_7F4A_7C15),
                )
            })
            .map(|taken| taken.unwrap().port)
            .collect();
        ports.sort_unstable();
        assert_eq!(ports, (49160..=49200).collect::<Vec<_>>());
        assert_eq!(take(&mut pool, PortKind::Any, 7), None);
    }

    #[test]
    fn a_port_is_free_again_when_its_lease_ends() {
        let (ports, now) = (Arc::new(Ports::new(49160..=49160)), Now::read());
        let open = || ports.open(now, PortKind::Any, |_| Ok(()));
        let leased = open().unwrap();
        assert!(open().is_none());
        assert_eq!(ports.in_use(now), 1);
        drop(leased);
        assert_eq!(ports.in_use(now), 0);
        assert!(open().is_some());
    }

    #[test]
    fn a_port_that_cannot_be_bound_is_left_out_for_a_while() {
        let (ports, now) = (Arc::new(Ports::new(49160..=49169)), Now::read());
        let bind = |port| match port {
            49165.. => Ok(port),
            _ => Err(io::ErrorKind::AddrInUse.into()),
        };
        let leased: Vec<_> = (0..5)
            .map(|_| ports.open(now, PortKind::Any, bind).unwrap())
            .collect();
        assert!(ports.open(now, PortKind::Any, bind).is_none());
        assert_eq!(ports.in_use(now), leased.len());
        let later = now.advanced(BIND_RETRY_AFTER);
        assert!(ports.open(later, PortKind::Any, |_| Ok(())).is_some());
    }

    #[test]
    fn even_port_gives_even_ports_only() {
        let mut pool = Pool::new(49161..=49165);
        assert_eq!(take(&mut pool, PortKind::Even, 4).unwrap().port % 2, 0);
        assert_eq!(take(&mut pool, PortKind::Even, 4).unwrap().port % 2, 0);
        assert_eq!(take(&mut pool, PortKind::Even, 4), None);
    }

    #[test]
    fn a_reservation_keeps_the_next_port_for_its_token_once() {
        let (ports, now) = (Arc::new(Ports::new(49160..=49161)), Now::read());
        let open = |now, kind| ports.open(now, kind, Ok);
        let even = open(now, PortKind::EvenWithNext).unwrap();
        let token = even.reservation.unwrap();
        assert!(open(now, PortKind::Any).is_none());
        let forged = PortKind::Reserved(ReservationToken([0; 8]));
        assert!(open(now, forged).is_none());
        let next = open(now, PortKind::Reserved(token)).unwrap();
        assert_eq!((even.socket, next.socket), (49160, 49161));
        drop(next);
        assert!(open(now, PortKind::Reserved(token)).is_none());
    }

    #[test]
    fn a_reservation_nobody_comes_for_ends() {
        let (ports, now) = (Arc::new(Ports::new(49160..=49161)), Now::read());
        let even = ports.open(now, PortKind::EvenWithNext, Ok).unwrap();
        let later = now.advanced(RESERVATION_LIFETIME);
        let token = even.reservation.unwrap();
        let late = ports.open(later, PortKind::Reserved(token), Ok);
        assert!(late.is_none());
        assert!(ports.open(later, PortKind::Any, Ok).is_some());
    }

    #[test]
    fn a_pair_needs_both_its_ports_free() {
        let mut pool = Pool::new(49160..=49162);
        let pair = take(&mut pool, PortKind::EvenWithNext, 2).unwrap();
        assert_eq!((pair.port, pair.next), (49160, Some(49161)));
        assert_eq!(take(&mut pool, PortKind::EvenWithNext, 0), None);
    }

    fn take(pool: &mut Pool, kind: PortKind, random: u64) -> Option<Taken> {
        pool.take(Now::read().mono, kind, random)
    }
}

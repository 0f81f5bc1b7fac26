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
    worker: u32,
    port: u16,
}

impl Ports {
    /// Where workers share ports, none of these many is left without one.
    pub(crate) fn new(range: RangeInclusive<u16>, sharing_workers: usize) -> Self {
        Self {
            total: range.len(),
            pool: Mutex::new(Pool::new(range, sharing_workers)),
        }
    }

    /// Opens a socket with `bind` on a random free port, for this worker; `None` when there is none.
    pub(crate) fn open<S>(
        self: &Arc<Self>,
        now: Now,
        worker: u32,
        kind: PortKind,
        bind: impl Fn(u16) -> io::Result<S>,
    ) -> Option<Leased<S>> {
        // A foreign process may own this port; a few tries keep the wait bounded.
        for _ in 0..BIND_ATTEMPTS_MAX {
            let taken = self
                .pool()
                .take(now.mono, worker, kind, entropy::number())?;
            match bind(taken.port) {
                Ok(socket) => {
                    let reservation = taken.next.map(|next| self.reserve(now, next));
                    let lease = Lease {
                        ports: Arc::clone(self),
                        worker,
                        port: taken.port,
                    };
                    self.pool().count(worker, |leases| leases + 1);
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
        let mut pool = self.ports.pool();
        pool.free.insert(self.port);
        pool.count(self.worker, |leases| leases.saturating_sub(1));
    }
}

/// Every port that is not leased, in one of three states.
#[derive(Debug)]
struct Pool {
    free: BTreeSet<u16>,
    reserved: HashMap<ReservationToken, Held>,
    /// Ports that could not be bound, each until it is worth another try.
    aside: BTreeMap<u16, Instant>,
    /// How many ports each worker has, where they share.
    leases: Vec<usize>,
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
    fn new(range: RangeInclusive<u16>, sharing_workers: usize) -> Self {
        // With fewer ports than that, whoever comes first has one.
        let has_enough = range.len() >= sharing_workers;
        Self {
            leases: vec![0; if has_enough { sharing_workers } else { 0 }],
            free: range.collect(),
            reserved: HashMap::new(),
            aside: BTreeMap::new(),
        }
    }

    fn take(&mut self, now: Instant, worker: u32, kind: PortKind, random: u64) -> Option<Taken> {
        self.recover(now);
        let needed = match kind {
            PortKind::Any | PortKind::Even => 1,
            PortKind::EvenWithNext => 2,
            PortKind::Reserved(_) => 0,
        };
        if needed > 0 && self.free.len() < needed + self.kept_for_others(worker) {
            return None;
        }
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

    /// How many other workers have no port yet.
    fn kept_for_others(&self, worker: u32) -> usize {
        let others = (0..).zip(&self.leases);
        let without = others.filter(|(number, leases)| *number != worker && **leases == 0);
        without.count()
    }

    fn count(&mut self, worker: u32, count: impl FnOnce(usize) -> usize) {
        if let Some(leases) = self.leases.get_mut(worker as usize) {
            *leases = count(*leases);
        }
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
        let mut pool = Pool::new(49160..=49200, 0);
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
        let (ports, now) = (Arc::new(Ports::new(49160..=49160, 0)), Now::read());
        let open = || ports.open(now, 0, PortKind::Any, |_| Ok(()));
        let leased = open().unwrap();
        assert!(open().is_none());
        assert_eq!(ports.in_use(now), 1);
        drop(leased);
        assert_eq!(ports.in_use(now), 0);
        assert!(open().is_some());
    }

    #[test]
    fn a_port_that_cannot_be_bound_is_left_out_for_a_while() {
        let (ports, now) = (Arc::new(Ports::new(49160..=49169, 0)), Now::read());
        let bind = |port| match port {
            49165.. => Ok(port),
            _ => Err(io::ErrorKind::AddrInUse.into()),
        };
        let leased: Vec<_> = (0..5)
            .map(|_| ports.open(now, 0, PortKind::Any, bind).unwrap())
            .collect();
        assert!(ports.open(now, 0, PortKind::Any, bind).is_none());
        assert_eq!(ports.in_use(now), leased.len());
        let later = now.advanced(BIND_RETRY_AFTER);
        assert!(ports.open(later, 0, PortKind::Any, |_| Ok(())).is_some());
    }

    #[test]
    fn r57_even_port_gives_even_ports_only() {
        let mut pool = Pool::new(49161..=49165, 0);
        assert_eq!(take(&mut pool, PortKind::Even, 4).unwrap().port % 2, 0);
        assert_eq!(take(&mut pool, PortKind::Even, 4).unwrap().port % 2, 0);
        assert_eq!(take(&mut pool, PortKind::Even, 4), None);
    }

    #[test]
    fn r57_a_reservation_keeps_the_next_port_for_its_token_once() {
        let (ports, now) = (Arc::new(Ports::new(49160..=49161, 0)), Now::read());
        let open = |now, kind| ports.open(now, 0, kind, Ok);
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
    fn r57_a_reservation_nobody_comes_for_ends() {
        let (ports, now) = (Arc::new(Ports::new(49160..=49161, 0)), Now::read());
        let even = ports.open(now, 0, PortKind::EvenWithNext, Ok).unwrap();
        let later = now.advanced(RESERVATION_LIFETIME);
        let token = even.reservation.unwrap();
        let late = ports.open(later, 0, PortKind::Reserved(token), Ok);
        assert!(late.is_none());
        assert!(ports.open(later, 0, PortKind::Any, Ok).is_some());
    }

    #[test]
    fn a_pair_needs_both_its_ports_free() {
        let mut pool = Pool::new(49160..=49162, 0);
        let pair = take(&mut pool, PortKind::EvenWithNext, 2).unwrap();
        assert_eq!((pair.port, pair.next), (49160, Some(49161)));
        assert_eq!(take(&mut pool, PortKind::EvenWithNext, 0), None);
    }

    #[test]
    fn where_workers_share_each_has_a_port_left() {
        let (ports, now) = (Arc::new(Ports::new(49160..=49165, 3)), Now::read());
        let open = |worker| ports.open(now, worker, PortKind::Any, |_| Ok(()));
        let of_first: Vec<_> = std::iter::from_fn(|| open(0)).collect();
        assert_eq!(of_first.len(), 4);
        let second = open(1).unwrap();
        assert!(open(0).is_none() && open(1).is_none());
        let third = open(2).unwrap();
        assert!(open(2).is_none());
        // What one gives back is anybody's, but for whoever has none.
        drop(third);
        assert!(open(0).is_none() && open(1).is_none());
        drop(second);
        assert!(open(1).is_some());
    }

    #[test]
    fn with_fewer_ports_than_workers_the_first_one_has_it() {
        let (ports, now) = (Arc::new(Ports::new(49160..=49160, 2)), Now::read());
        assert!(ports.open(now, 1, PortKind::Any, |_| Ok(())).is_some());
    }

    fn take(pool: &mut Pool, kind: PortKind, random: u64) -> Option<Taken> {
        pool.take(Now::read().mono, 0, kind, random)
    }
}

//! The relay ports of the whole process: touched when an allocation begins or ends, never by a packet.
//!
//! In a narrow range sockets stay open for a moment when their ports are free again, for whichever worker has them next:
//! where allocations come and go, that spares the kernel much work. It makes no port likelier than another: what is still
//! on its way to the last one who had it would reach the next.
//!
//! On a reserved port a socket is open, too, for whichever worker the token comes to: no other process can have the port
//! meanwhile. When nobody comes for it, that is one more socket on a free port, and closes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    ops::RangeInclusive,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::clock::Now;
use crate::entropy;
use crate::relay::engine::limits::{Sampler, nanos_since};
use crate::relay::engine::{PortKind, ReservationToken};

/// The ports of one address family, shared by all workers.
#[derive(Debug)]
pub(crate) struct Ports {
    pool: Mutex<Pool>,
    total: usize,
    /// Whether sockets stay open on free ports. Of a wide range a draw would hardly ever find one.
    keeps_sockets: bool,
    begun: Instant,
    /// Ports that could not be opened though nobody has them: clients ask again and again.
    failures: Sampler,
}

/// A socket on a relay port. It closes before its port is free again, or is [kept](Lease::end_and_keep).
#[derive(Debug)]
pub(crate) struct Leased {
    pub(crate) socket: OwnedFd,
    pub(crate) lease: Lease,
    /// That of the port above, when it was asked for.
    pub(crate) reservation: Option<Reservation>,
}

/// The claim to a port: its socket is open until then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reservation {
    pub(crate) token: ReservationToken,
    pub(crate) until: Instant,
}

/// A port in use; dropping it makes the port free again.
#[derive(Debug)]
pub(crate) struct Lease {
    ports: Arc<Ports>,
    worker: u32,
    port: u16,
    /// What stays open with the port free.
    kept: Option<Kept>,
}

impl Ports {
    /// Where workers share ports, each of these many finds half of its part of them, however many the others want.
    pub(crate) fn new(range: RangeInclusive<u16>, sharing_workers: usize) -> Self {
        Self {
            total: range.len(),
            keeps_sockets: range.len() <= KEPT_RANGE_MAX,
            pool: Mutex::new(Pool::new(range, sharing_workers)),
            begun: Now::read().mono,
            failures: Sampler::default(),
        }
    }

    /// Opens a socket with `bind` on a random free port, for this worker, and one on the port above, where that is to be
    /// reserved; `None` when there is none. Where a socket is open on a port already, `bind` gets it.
    pub(crate) fn open(
        self: &Arc<Self>,
        now: Now,
        worker: u32,
        kind: PortKind,
        bind: impl Fn(u16, Option<OwnedFd>) -> io::Result<OwnedFd>,
    ) -> Option<Leased> {
        let bind = |port| {
            let kept = self.pool().kept.remove(&port);
            bind(port, kept.map(|kept| kept.socket)).map_err(|error| (port, error))
        };
        // A foreign process may own this port; a few tries keep the wait bounded.
        for _ in 0..BIND_ATTEMPTS_MAX {
            let random = entropy::number();
            let taken = self.pool().take(now.mono, worker, kind, random)?;
            match taken.bound(bind) {
                Ok((socket, next)) => {
                    let lease = Lease {
                        ports: Arc::clone(self),
                        worker,
                        port: taken.port,
                        kept: None,
                    };
                    let next = taken.next.zip(next);
                    return Some(Leased {
                        socket,
                        lease,
                        reservation: next.map(|(port, socket)| self.reserve(now, port, socket)),
                    });
                }
                Err((port, error)) if is_about_the_port(&error) => {
                    tracing::debug!(port, %error, "relay port set aside");
                    self.pool().set_aside(now.mono, worker, taken, port);
                }
                Err((port, error)) => {
                    if let Some(failures) = self.failures.count(nanos_since(self.begun, now)) {
                        tracing::warn!(port, failures, %error, "cannot open a relay port");
                    }
                    self.pool().put_back(worker, taken);
                    return None;
                }
            }
        }
        None
    }

    /// Closes the sockets that nobody came for in time; says when there may be more to close.
    pub(crate) fn close_kept(&self, now: Now) -> Option<Instant> {
        let mut pool = self.pool();
        let late = pool.kept.extract_if(.., |_, kept| kept.until <= now.mono);
        // Closed before anybody else can bind their ports; but not all at once.
        late.take(CLOSED_AT_ONCE_MAX).for_each(drop);
        pool.kept.values().map(|kept| kept.until).min()
    }

    /// Closes all sockets on ports that nobody has; what was reserved is free.
    pub(crate) fn close_all_kept(&self) {
        self.pool().kept.clear();
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

    fn reserve(&self, now: Now, port: u16, socket: OwnedFd) -> Reservation {
        let token = ReservationToken(entropy::bytes());
        let until = now.mono + RESERVATION_LIFETIME;
        let mut pool = self.pool();
        pool.kept.insert(port, Kept { socket, until });
        pool.reserved.insert(token, port);
        Reservation { token, until }
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

    /// Makes the port free again; its socket stays open until then, where there is to be one.
    pub(crate) fn end_and_keep(
        mut self,
        now: Now,
        socket: impl FnOnce() -> Option<OwnedFd>,
    ) -> Option<Instant> {
        let until = now.mono + KEPT_FOR;
        let socket = self.ports.keeps_sockets.then(socket).flatten();
        self.kept = socket.map(|socket| Kept { socket, until });
        self.kept.as_ref().map(|kept| kept.until)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut pool = self.ports.pool();
        pool.free.insert(self.port);
        pool.kept
            .extend(self.kept.take().map(|kept| (self.port, kept)));
        pool.give_up(self.worker);
    }
}

/// Every port that is not leased, in one of three states.
#[derive(Debug)]
struct Pool {
    free: BTreeSet<u16>,
    /// Each as long as a socket is kept on it.
    reserved: HashMap<ReservationToken, u16>,
    /// Ports that could not be bound, each until it is worth another try.
    aside: BTreeMap<u16, Instant>,
    /// Sockets that are open on free ones, and on reserved ones.
    kept: BTreeMap<u16, Kept>,
    /// How many ports each worker has, where they share.
    leases: Vec<usize>,
    /// How many are left for each: all of its clients share what it has.
    left_for_each: usize,
}

/// A relay socket that nobody has: what was somebody's, or will be.
#[derive(Debug)]
struct Kept {
    socket: OwnedFd,
    until: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Taken {
    port: u16,
    /// The port above, taken for a reservation.
    next: Option<u16>,
}

impl Taken {
    /// Binds both ports, or none.
    fn bound<S, E>(self, bind: impl Fn(u16) -> Result<S, E>) -> Result<(S, Option<S>), E> {
        let socket = bind(self.port)?;
        let next = self.next.map(bind).transpose()?;
        Ok((socket, next))
    }
}

impl Pool {
    fn new(range: RangeInclusive<u16>, sharing_workers: usize) -> Self {
        // With fewer ports than that, whoever comes first has one.
        let has_enough = range.len() >= sharing_workers;
        Self {
            leases: vec![0; if has_enough { sharing_workers } else { 0 }],
            left_for_each: (range.len() / (2 * sharing_workers).max(1)).max(1),
            free: range.collect(),
            reserved: HashMap::new(),
            aside: BTreeMap::new(),
            kept: BTreeMap::new(),
        }
    }

    fn take(&mut self, now: Instant, worker: u32, kind: PortKind, random: u64) -> Option<Taken> {
        self.recover(now);
        let needed = match kind {
            PortKind::Any | PortKind::Even => 1,
            PortKind::EvenWithNext => 2,
            PortKind::Reserved(_) => 0,
        };
        if needed > 0 && self.free.len() < needed + self.left_for_others(worker) {
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
            PortKind::Reserved(token) => self.reserved.remove(&token)?,
        };
        let next = match kind {
            PortKind::EvenWithNext => next_of(port),
            PortKind::Any | PortKind::Even | PortKind::Reserved(_) => None,
        };
        for port in next.into_iter().chain([port]) {
            self.free.remove(&port);
        }
        // At once: what is being opened is not left for this worker a second time.
        self.count(worker, |leases| leases + 1);
        Some(Taken { port, next })
    }

    /// How many the other workers may still come for.
    fn left_for_others(&self, worker: u32) -> usize {
        let others = (0..).zip(&self.leases);
        let others = others.filter(|(number, _)| *number != worker);
        let left = others.map(|(_, leases)| self.left_for_each.saturating_sub(*leases));
        left.sum()
    }

    fn give_up(&mut self, worker: u32) {
        self.count(worker, |leases| leases.saturating_sub(1));
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

    /// Leaves out one of these ports for a while; what else was taken is free.
    fn set_aside(&mut self, now: Instant, worker: u32, taken: Taken, port: u16) {
        self.put_back(worker, taken);
        self.free.remove(&port);
        self.aside.insert(port, now + BIND_RETRY_AFTER);
    }

    fn put_back(&mut self, worker: u32, taken: Taken) {
        self.give_up(worker);
        self.free.insert(taken.port);
        self.free.extend(taken.next);
    }

    /// Makes free what nobody came for in time, and what may be bindable again.
    fn recover(&mut self, now: Instant) {
        let is_kept = |port: u16| self.kept.get(&port).is_some_and(|kept| kept.until > now);
        let expired = self.reserved.extract_if(|_, port| !is_kept(*port));
        self.free.extend(expired.map(|(_, port)| port));
        let retried = self.aside.extract_if(.., |_, until| *until <= now);
        self.free.extend(retried.map(|(port, _)| port));
    }
}

/// How long the port above an even one waits for its client; at least 30 s
/// ([RFC 8656 §7.2](https://www.rfc-editor.org/rfc/rfc8656#section-7.2)).
const RESERVATION_LIFETIME: Duration = Duration::from_secs(30);
const BIND_RETRY_AFTER: Duration = Duration::from_secs(10);
/// More than a usual range has.
const BIND_ATTEMPTS_MAX: usize = 64;
/// In ranges of up to so many ports sockets stay open on free ones, and for how long: they are descriptors nobody needs.
const KEPT_RANGE_MAX: usize = 256;
const KEPT_FOR: Duration = Duration::from_secs(2);
const CLOSED_AT_ONCE_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use std::{
        cell::{Cell, RefCell},
        io::Read,
        os::{fd::AsRawFd, unix::net::UnixStream},
    };

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
        let open = || ports.open(now, 0, PortKind::Any, bound);
        let leased = open().unwrap();
        assert!(open().is_none());
        assert_eq!(ports.in_use(now), 1);
        drop(leased);
        assert_eq!(ports.in_use(now), 0);
        assert!(open().is_some());
    }

    #[test]
    fn whoever_has_a_port_soon_has_its_socket_as_long_as_these_are_few() {
        for (total, kept_max) in [(1, 1), (41, 41), (256, 256), (257, 0)] {
            let (ports, now) = (
                Arc::new(Ports::new(30_000..=29_999 + total, 0)),
                Now::read(),
            );
            let had = Cell::new(0);
            let bind = |port, kept: Option<OwnedFd>| {
                had.set(had.get() + usize::from(kept.is_some()));
                bound(port, kept)
            };
            let open = || ports.open(now, 0, PortKind::Any, bind);
            let all: Vec<_> = std::iter::from_fn(open).collect();
            assert_eq!((all.len(), had.get()), (total.into(), 0));
            let kept = all
                .into_iter()
                .filter_map(|leased| leased.lease.end_and_keep(now, || Some(leased.socket)));
            assert_eq!(kept.count(), kept_max);
            let all: Vec<_> = std::iter::from_fn(open).collect();
            assert_eq!((all.len(), had.get()), (total.into(), kept_max));
        }
    }

    #[test]
    fn sockets_that_nobody_comes_for_close_a_few_at_a_time() {
        let (ports, now) = (Arc::new(Ports::new(49160..=49359, 0)), Now::read());
        let open = |_| ports.open(now, 0, PortKind::Any, bound).unwrap().lease;
        let leases: Vec<_> = (0..=CLOSED_AT_ONCE_MAX).map(open).collect();
        let until = |lease: Lease| lease.end_and_keep(now, || Some(socket()));
        let first = leases.into_iter().filter_map(until).min();
        assert_eq!(first, Some(now.mono + KEPT_FOR));
        let later = now.advanced(KEPT_FOR / 2);
        assert_eq!(ports.close_kept(later), first);
        let due = now.advanced(KEPT_FOR);
        assert_eq!(ports.close_kept(due), first);
        assert_eq!(ports.pool().kept.len(), 1);
        assert_eq!(ports.close_kept(due), None);
        assert!(ports.pool().kept.is_empty());
    }

    #[test]
    fn a_port_with_a_socket_is_as_likely_as_another() {
        for count in [0, 10, 41] {
            let mut pool = Pool::new(49160..=49200, 0);
            let with_socket = (49160..).take(count);
            pool.kept = with_socket.map(|port| (port, kept())).collect();
            let mut draws = [0; 41];
            for random in 0..4100 {
                let port = take(&mut pool, PortKind::Any, random).unwrap().port;
                pool.free.insert(port);
                draws[usize::from(port - 49160)] += 1;
            }
            assert_eq!(draws, [100; 41]);
        }
    }

    #[test]
    fn a_port_that_fails_for_another_reason_is_free_and_counted() {
        let (ports, now) = (Arc::new(Ports::new(49160..=49160, 0)), Now::read());
        let fails = |_, _| Err(io::ErrorKind::OutOfMemory.into());
        for failures in 1..=3 {
            assert!(ports.open(now, 0, PortKind::Any, fails).is_none());
            assert_eq!(ports.failures.total(), failures);
        }
        assert!(ports.open(now, 0, PortKind::Any, bound).is_some());
    }

    #[test]
    fn the_last_free_port_is_found_among_those_of_others() {
        let (ports, now) = (Arc::new(Ports::new(49160..=49200, 0)), Now::read());
        for free in [49160, 49180, 49200] {
            let bind = |port, kept| match port == free {
                true => bound(port, kept),
                false => Err(io::ErrorKind::AddrInUse.into()),
            };
            let later = now.advanced(BIND_RETRY_AFTER * u32::from(free - 49159));
            let leased = ports.open(later, 0, PortKind::Any, bind).unwrap();
            assert_eq!(leased.lease.port(), free);
        }
    }

    #[test]
    fn a_port_that_cannot_be_bound_is_left_out_for_a_while() {
        let (ports, now) = (Arc::new(Ports::new(49160..=49169, 0)), Now::read());
        let bind = |port, kept| match port {
            49165.. => bound(port, kept),
            _ => Err(io::ErrorKind::AddrInUse.into()),
        };
        let leased: Vec<_> = (0..5)
            .map(|_| ports.open(now, 0, PortKind::Any, bind).unwrap())
            .collect();
        assert!(ports.open(now, 0, PortKind::Any, bind).is_none());
        assert_eq!(ports.in_use(now), leased.len());
        let later = now.advanced(BIND_RETRY_AFTER);
        assert!(ports.open(later, 0, PortKind::Any, bound).is_some());
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
        let open = |now, kind| ports.open(now, 0, kind, bound);
        let even = open(now, PortKind::EvenWithNext).unwrap();
        let token = even.reservation.unwrap().token;
        assert!(open(now, PortKind::Any).is_none());
        let forged = PortKind::Reserved(ReservationToken([0; 8]));
        assert!(open(now, forged).is_none());
        let next = open(now, PortKind::Reserved(token)).unwrap();
        assert_eq!((even.lease.port(), next.lease.port()), (49160, 49161));
        drop(next);
        assert!(open(now, PortKind::Reserved(token)).is_none());
    }

    #[test]
    fn r57_a_reserved_port_has_a_socket_which_its_token_brings() {
        let (ports, now) = (Arc::new(Ports::new(49160..=49161, 0)), Now::read());
        let opened = RefCell::new(Vec::new());
        let open = |kind| {
            let bind = |port, kept: Option<OwnedFd>| {
                let was_open = kept.is_some();
                let socket = bound(port, kept)?;
                opened
                    .borrow_mut()
                    .push((port, was_open, socket.as_raw_fd()));
                Ok(socket)
            };
            ports.open(now, 0, kind, bind).unwrap()
        };
        // Those that are open on the two when they are free are theirs.
        let of_others = [(); 2].map(|()| open(PortKind::Any));
        for leased in of_others {
            leased.lease.end_and_keep(now, || Some(leased.socket));
        }
        opened.take();
        let even = open(PortKind::EvenWithNext);
        let [(49160, true, _), (49161, true, held)] = opened.take()[..] else {
            panic!("two that were open: {even:?}");
        };
        let next = open(PortKind::Reserved(even.reservation.unwrap().token));
        assert_eq!(opened.take(), [(49161, true, held)]);
        assert_eq!(next.lease.port(), 49161);
    }

    #[test]
    fn r57_a_pair_with_a_port_that_cannot_be_bound_is_passed_over() {
        for foreign in 49160..=49161 {
            let (ports, now) = (Arc::new(Ports::new(49160..=49163, 0)), Now::read());
            let bind = |port, kept| match port == foreign {
                true => Err(io::ErrorKind::AddrInUse.into()),
                false => bound(port, kept),
            };
            let even = ports.open(now, 0, PortKind::EvenWithNext, bind).unwrap();
            assert_eq!(even.lease.port(), 49162);
            assert!(ports.open(now, 0, PortKind::EvenWithNext, bind).is_none());
            // The other one of the two is anybody's.
            let other = ports.open(now, 0, PortKind::Any, bind).unwrap();
            assert_eq!(other.lease.port(), foreign ^ 1);
        }
    }

    #[test]
    fn r57_where_no_pair_can_be_bound_none_is_in_use() {
        for error in [io::ErrorKind::AddrInUse, io::ErrorKind::OutOfMemory] {
            let (ports, now) = (Arc::new(Ports::new(49160..=49169, 2)), Now::read());
            let no_odd_one = |port, kept| match port % 2 == 0 {
                true => bound(port, kept),
                false => Err(error.into()),
            };
            let open = |kind| ports.open(now, 0, kind, no_odd_one);
            assert!(open(PortKind::EvenWithNext).is_none());
            assert_eq!(ports.in_use(now), 0);
            assert!(open(PortKind::Even).is_some());
        }
    }

    #[test]
    fn r57_the_socket_of_a_reservation_closes_with_it() {
        let (ports, now) = (Arc::new(Ports::new(49160..=49161, 0)), Now::read());
        let (mut held, ours) = UnixStream::pair().unwrap();
        let ours = Cell::new(Some(ours));
        let bind = |port, kept| match port {
            49161 => Ok(ours.take().unwrap().into()),
            _ => bound(port, kept),
        };
        let even = ports.open(now, 0, PortKind::EvenWithNext, bind).unwrap();
        even.lease.end_and_keep(now, || Some(even.socket));
        let until = now.mono + RESERVATION_LIFETIME;
        assert_eq!(even.reservation.as_ref().unwrap().until, until);
        // What is kept on a free port closes earlier.
        assert_eq!(ports.close_kept(now.advanced(KEPT_FOR)), Some(until));
        assert_eq!(ports.in_use(now.advanced(KEPT_FOR)), 1);
        held.set_nonblocking(true).unwrap();
        let mut room = [0];
        let open = held.read(&mut room).unwrap_err();
        assert_eq!(open.kind(), io::ErrorKind::WouldBlock);

        let over = now.advanced(RESERVATION_LIFETIME);
        assert_eq!(ports.close_kept(over), None);
        assert_eq!(held.read(&mut room).unwrap(), 0);
        assert_eq!(ports.in_use(over), 0);
    }

    #[test]
    fn r57_a_reservation_nobody_comes_for_ends() {
        let (ports, now) = (Arc::new(Ports::new(49160..=49161, 0)), Now::read());
        let even = ports.open(now, 0, PortKind::EvenWithNext, bound).unwrap();
        let later = now.advanced(RESERVATION_LIFETIME);
        let token = even.reservation.unwrap().token;
        let late = ports.open(later, 0, PortKind::Reserved(token), bound);
        assert!(late.is_none());
        assert!(ports.open(later, 0, PortKind::Any, bound).is_some());
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
        let open = |worker| ports.open(now, worker, PortKind::Any, bound);
        let of_first: Vec<_> = std::iter::from_fn(|| open(0)).collect();
        assert_eq!(of_first.len(), 4);
        let second = open(1).unwrap();
        assert!(open(0).is_none() && open(1).is_none());
        let third = open(2).unwrap();
        assert!(open(2).is_none());
        // What one gives back is anybody's, but for whoever has too few.
        drop(third);
        assert!(open(0).is_none() && open(1).is_none());
        drop(second);
        assert!(open(1).is_some());
    }

    #[test]
    fn where_workers_share_none_takes_what_all_clients_of_another_would_need() {
        for (workers, most) in [(1, 41), (2, 31), (4, 26), (41, 1)] {
            let (ports, now) = (Arc::new(Ports::new(49160..=49200, workers)), Now::read());
            let open = |worker| ports.open(now, worker, PortKind::Any, bound);
            let of_first: Vec<_> = std::iter::from_fn(|| open(0)).collect();
            assert_eq!(of_first.len(), most, "{workers} workers");
            // The others take from one another no more than from the first.
            let of_others = (1..workers as u32).map(|worker| {
                let its: Vec<_> = std::iter::from_fn(|| open(worker)).collect();
                assert!(!its.is_empty(), "{worker} of {workers}");
                its
            });
            assert_eq!(of_others.flatten().count(), 41 - most);
        }
    }

    #[test]
    fn where_workers_share_a_port_that_is_being_opened_is_its_workers_already() {
        let (ports, now) = (Arc::new(Ports::new(49160..=49161, 2)), Now::read());
        let open = |worker| ports.open(now, worker, PortKind::Any, bound);
        let meanwhile = Cell::new(None);
        let opened = ports.open(now, 0, PortKind::Any, |port, kept| {
            meanwhile.set(open(1));
            bound(port, kept)
        });
        assert!(opened.is_some() && meanwhile.take().is_some());
        drop(opened);
        // What could not be opened is left for it again.
        let fails = |_, _| Err(io::ErrorKind::NotFound.into());
        let failed = ports.open(now, 0, PortKind::Any, fails);
        assert!(failed.is_none());
        let of_one = open(1);
        assert!(of_one.is_some() && open(1).is_none());
        assert!(open(0).is_some());
    }

    #[test]
    fn with_fewer_ports_than_workers_the_first_one_has_it() {
        let (ports, now) = (Arc::new(Ports::new(49160..=49160, 2)), Now::read());
        assert!(ports.open(now, 1, PortKind::Any, bound).is_some());
    }

    #[expect(clippy::unnecessary_wraps, reason = "where binding may fail")]
    fn bound(_port: u16, kept: Option<OwnedFd>) -> io::Result<OwnedFd> {
        Ok(kept.unwrap_or_else(socket))
    }

    fn kept() -> Kept {
        Kept {
            socket: socket(),
            until: Now::read().mono,
        }
    }

    fn socket() -> OwnedFd {
        UnixStream::pair().unwrap().0.into()
    }

    fn take(pool: &mut Pool, kind: PortKind, random: u64) -> Option<Taken> {
        pool.take(Now::read().mono, 0, kind, random)
    }
}

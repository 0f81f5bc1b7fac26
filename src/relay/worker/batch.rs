//! Batched system calls: many datagrams received at once, and many sent at once; joined where the kernel could join them
//! (UDP GRO), and in trains that the kernel cuts up (UDP GSO).
//!
//! The only unsafe code of the house. What it relies on:
//!
//! - [`Rooms`] is one allocation that never moves, and is reached through one raw pointer; its pointers into itself are
//!   made once, and stay true as long as it lives.
//! - The kernel writes into rooms from `filled` on, and nowhere else; only rooms before `filled` are lent, each to one
//!   [`Arrival`] at a time, with the lengths that the kernel told.
//! - What is sent is borrowed for the whole call: no pointer to it outlives [`send`].
//!
//! `tests/run` has valgrind watch the tests of this file.

#![expect(unsafe_code, reason = "recvmmsg and sendmmsg take pointers")]

use std::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
    cell::Cell,
    fmt,
    io::{self, IoSlice},
    iter,
    mem::{self, MaybeUninit},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    ptr::{self, NonNull},
    slice,
    sync::Once,
};

use nix::libc;
use rustix::{
    io::Errno,
    net::{SendFlags, sendmsg_addr, sendto},
};

use crate::relay::wire::datagram::Datagram;

/// How many datagrams, or trains of them, may be received before any is served. Where so many wait, several are of one
/// client, and leave as one train.
pub(super) const ROOMS: usize = 256;

/// How many datagrams leave in one system call.
pub(super) const DEPARTURES_MAX: usize = 64;

/// Datagrams as they came, each in a room of its own, until [`clear`](Self::clear).
pub(super) struct Arrivals {
    rooms: NonNull<Rooms>,
    filled: usize,
}

/// One datagram, or several of the same sender and length but for the last, one after the other.
#[derive(Debug)]
pub(super) struct Arrival<'a> {
    /// Who sent it.
    pub(super) source: SocketAddr,
    /// Which address it was sent to, where the socket tells.
    pub(super) local: Option<IpAddr>,
    /// DSCP and ECN.
    pub(super) traffic_class: u8,
    /// The headroom, and behind it all datagrams.
    memory: &'a mut [u8],
    /// The length of each but the last.
    stride: usize,
}

impl<'a> Arrival<'a> {
    /// The datagrams; the only one may be empty. The first has the headroom.
    pub(super) fn datagrams(self) -> impl Iterator<Item = Datagram<'a>> {
        let Self { memory, stride, .. } = self;
        let (first, rest) = memory.split_at_mut(memory.len().min(HEADROOM_BYTES + stride));
        let first = Datagram::behind(HEADROOM_BYTES, first);
        let rest = rest.chunks_mut(stride);
        iter::once(first).chain(rest.map(|next| Datagram::behind(0, next)))
    }
}

impl Arrivals {
    pub(super) fn new() -> Self {
        let layout = Layout::new::<Rooms>();
        // SAFETY: the layout is not of size 0; all zeros are a value of every field of Rooms.
        let rooms = unsafe { alloc_zeroed(layout) }.cast::<Rooms>();
        let Some(rooms) = NonNull::new(rooms) else {
            handle_alloc_error(layout)
        };
        for room in 0..ROOMS {
            // SAFETY: `room` is in bounds, and nothing refers to the rooms but the pointers made here.
            unsafe { prepare(rooms.as_ptr(), room) };
        }
        Self { rooms, filled: 0 }
    }

    /// Makes all rooms free.
    pub(super) fn clear(&mut self) {
        for room in 0..self.filled {
            // SAFETY: as in `new`.
            unsafe { reset(self.rooms.as_ptr(), room) };
        }
        self.filled = 0;
    }

    /// How many rooms are filled.
    pub(super) fn len(&self) -> usize {
        self.filled
    }

    /// Receives what waits, up to `rooms_max` rooms of it; says how many were filled. Fewer than there were: the socket
    /// is empty.
    ///
    /// # Errors
    /// `WouldBlock` when nothing waits; others may concern something sent earlier.
    pub(super) fn receive(&mut self, socket: impl AsFd, rooms_max: usize) -> io::Result<usize> {
        let count = rooms_max.min(ROOMS - self.filled);
        let fd = socket.as_fd().as_raw_fd();
        // SAFETY: the headers from `filled` on are prepared, `count` of them are in bounds, and each leads to parts of
        // its own room.
        let received = unsafe {
            let headers = (&raw mut (*self.rooms.as_ptr()).headers).cast::<libc::mmsghdr>();
            let free = headers.add(self.filled);
            // Not by the function, at which threads can be cancelled: that costs more than it is worth.
            libc::syscall(
                libc::SYS_recvmmsg,
                fd,
                free,
                count as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut::<libc::timespec>(),
            )
        };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        self.filled += received;
        Ok(received)
    }

    /// What is in the filled rooms, in their order; `None` where its sender has no address that we know of.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = Option<Arrival<'_>>> {
        let rooms = self.rooms;
        // SAFETY: each of these rooms is filled, and its memory is given away once while `self` is borrowed.
        (0..self.filled).map(move |room| unsafe { Arrival::of(rooms.as_ptr(), room) })
    }
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout; no field of Rooms needs to be dropped.
        unsafe { dealloc(self.rooms.as_ptr().cast(), Layout::new::<Rooms>()) };
    }
}

impl fmt::Debug for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arrivals")
            .field("filled", &self.filled)
            .finish_non_exhaustive()
    }
}

impl Arrival<'_> {
    /// What is in a room; `None` where its sender has no address that we know of.
    ///
    /// # Safety
    /// The room is filled, and nothing else reads or writes its memory as long as the arrival lives.
    unsafe fn of(rooms: *mut Rooms, room: usize) -> Option<Self> {
        // SAFETY: the kernel wrote as many bytes behind the headroom as it tells; the whole room is in bounds, and was
        // zeroed before.
        unsafe {
            let header = &(*rooms).headers[room];
            let length = (header.msg_len as usize).min(ROOM_BYTES_USED);
            let memory = (&raw mut (*rooms).storage[room]).cast::<u8>();
            let source = (*rooms).sources[room].to_std(header.msg_hdr.msg_namelen)?;
            let mut arrival = Self {
                source,
                local: None,
                traffic_class: 0,
                memory: slice::from_raw_parts_mut(memory, HEADROOM_BYTES + length),
                stride: length.max(1),
            };
            let mut next = libc::CMSG_FIRSTHDR(&raw const header.msg_hdr);
            while !next.is_null() {
                arrival.take(&*next, libc::CMSG_DATA(next));
                next = libc::CMSG_NXTHDR(&raw const header.msg_hdr, next);
            }
            Some(arrival)
        }
    }

    /// Takes what one control message says.
    ///
    /// # Safety
    /// `data` leads to the content of a control message with this header, as the kernel wrote it.
    unsafe fn take(&mut self, header: &libc::cmsghdr, data: *const u8) {
        // SAFETY: each kind of message has the type that the kernel documents for it.
        unsafe {
            match (header.cmsg_level, header.cmsg_type) {
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let stride = data.cast::<libc::c_int>().read_unaligned();
                    self.stride = usize::try_from(stride).unwrap_or(0).max(1);
                }
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                    let ip = Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes());
                    self.local = Some(IpAddr::V4(ip));
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    self.local = Some(IpAddr::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr)));
                }
                (libc::IPPROTO_IP, libc::IP_TOS) => self.traffic_class = data.read(),
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                    let class = data.cast::<libc::c_int>().read_unaligned();
                    self.traffic_class = class as u8;
                }
                _ => {}
            }
        }
    }
}

/// Where datagrams land, and what the kernel is told of it.
#[repr(C)]
struct Rooms {
    headers: [libc::mmsghdr; ROOMS],
    buffers: [libc::iovec; ROOMS],
    sources: [Address; ROOMS],
    controls: [ReceivedControl; ROOMS],
    storage: [[u8; ROOM_BYTES]; ROOMS],
}

/// # Safety
/// `rooms` leads to zeroed or prepared rooms, `room` is in bounds.
unsafe fn prepare(rooms: *mut Rooms, room: usize) {
    // SAFETY: all places are within the rooms; none is read.
    unsafe {
        (*rooms).buffers[room] = libc::iovec {
            iov_base: (&raw mut (*rooms).storage[room][HEADROOM_BYTES]).cast(),
            iov_len: ROOM_BYTES_USED,
        };
        let header = &mut (*rooms).headers[room].msg_hdr;
        header.msg_name = (&raw mut (*rooms).sources[room]).cast();
        header.msg_iov = &raw mut (*rooms).buffers[room];
        header.msg_iovlen = 1;
        header.msg_control = (&raw mut (*rooms).controls[room]).cast();
        reset(rooms, room);
    }
}

/// Sets what the kernel changes.
///
/// # Safety
/// As in [`prepare`].
unsafe fn reset(rooms: *mut Rooms, room: usize) {
    // SAFETY: the place is within the rooms.
    let header = unsafe { &mut (*rooms).headers[room].msg_hdr };
    header.msg_namelen = size_of::<Address>() as libc::socklen_t;
    header.msg_controllen = size_of::<ReceivedControl>() as _;
    header.msg_flags = 0;
}

/// A socket address of either family.
#[derive(Clone, Copy)]
#[repr(C)]
union Address {
    family: libc::sa_family_t,
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl Address {
    /// The address, and how long it is.
    fn of(addr: SocketAddr) -> (Self, libc::socklen_t) {
        match addr {
            SocketAddr::V4(addr) => {
                let v4 = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: addr.port().to_be(),
                    sin_addr: in_addr(*addr.ip()),
                    sin_zero: [0; 8],
                };
                let length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
                (Self { v4 }, length)
            }
            SocketAddr::V6(addr) => {
                let v6 = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: addr.port().to_be(),
                    sin6_flowinfo: addr.flowinfo(),
                    sin6_addr: in6_addr(*addr.ip()),
                    sin6_scope_id: addr.scope_id(),
                };
                let length = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
                (Self { v6 }, length)
            }
        }
    }

    /// `None` where it is of neither family.
    fn to_std(self, length: libc::socklen_t) -> Option<SocketAddr> {
        let is_long_enough = |size: usize| length as usize >= size;
        // SAFETY: every bit pattern is a value of each variant, and the family tells which one was written.
        unsafe {
            match libc::c_int::from(self.family) {
                libc::AF_INET if is_long_enough(size_of::<libc::sockaddr_in>()) => {
                    let ip = Ipv4Addr::from(self.v4.sin_addr.s_addr.to_ne_bytes());
                    let port = u16::from_be(self.v4.sin_port);
                    Some(SocketAddr::V4(SocketAddrV4::new(ip, port)))
                }
                libc::AF_INET6 if is_long_enough(size_of::<libc::sockaddr_in6>()) => {
                    let ip = Ipv6Addr::from(self.v6.sin6_addr.s6_addr);
                    let port = u16::from_be(self.v6.sin6_port);
                    let (flow, scope) = (self.v6.sin6_flowinfo, self.v6.sin6_scope_id);
                    Some(SocketAddr::V6(SocketAddrV6::new(ip, port, flow, scope)))
                }
                _ => None,
            }
        }
    }
}

fn in_addr(ip: Ipv4Addr) -> libc::in_addr {
    libc::in_addr {
        s_addr: u32::from_ne_bytes(ip.octets()),
    }
}

fn in6_addr(ip: Ipv6Addr) -> libc::in6_addr {
    libc::in6_addr {
        s6_addr: ip.octets(),
    }
}

/// A datagram on its way out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Departure<'d> {
    /// Where to.
    pub(super) to: SocketAddr,
    /// Which of the socket's addresses it comes from, where there are several.
    pub(super) from: Option<IpAddr>,
    /// DSCP and ECN.
    pub(super) traffic_class: u8,
    /// What it consists of; any may be empty.
    pub(super) parts: [&'d [u8]; PARTS],
}

impl Departure<'_> {
    fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum()
    }
}

/// Whether the kernel cuts up trains for us.
#[derive(Debug)]
pub(super) struct Trains {
    are_cut: Cell<bool>,
}

impl Trains {
    pub(super) fn new(are_cut: bool) -> Self {
        Self {
            are_cut: Cell::new(are_cut),
        }
    }

    /// A device on the way refuses: from now on every datagram leaves by itself. Each worker finds out; one says so.
    fn give_up(&self) {
        static SAID: Once = Once::new();
        if self.are_cut.replace(false) {
            SAID.call_once(|| {
                tracing::warn!("a network device refuses UDP GSO: datagrams leave one by one");
            });
        }
    }
}

/// Sends them all, in their order, at once or not at all; says how many were not sent.
///
/// Neighbours of the same length, or shorter ones behind them, leave as one train where they have the same destination.
pub(super) fn send<'d>(
    socket: impl AsFd,
    trains: &Trains,
    mut departures: impl Iterator<Item = Departure<'d>>,
) -> usize {
    let socket = socket.as_fd();
    let Some(first) = departures.next() else {
        return 0;
    };
    match departures.next() {
        None => usize::from(!send_alone(socket, &first)),
        Some(second) => {
            let all = [first, second].into_iter().chain(departures);
            send_many(socket.as_raw_fd(), trains, all)
        }
    }
}

/// Apart from what sends a single datagram, which has no use for so much room on the stack.
#[inline(never)]
fn send_many<'d>(
    fd: libc::c_int,
    trains: &Trains,
    departures: impl Iterator<Item = Departure<'d>>,
) -> usize {
    let (mut loading, mut unsent) = (Loading::new(), 0);
    for departure in departures {
        if loading.is_full() {
            unsent += loading.send(fd, trains);
        }
        loading.add(&departure, trains.are_cut.get());
    }
    unsent + loading.send(fd, trains)
}

/// Sends a single datagram; says whether it was sent.
fn send_alone(socket: BorrowedFd<'_>, departure: &Departure<'_>) -> bool {
    let is_plain = departure.from.is_none() && departure.traffic_class == 0;
    let attempt = || {
        let sent = if is_plain {
            send_plain(socket, departure)
        } else {
            send_described(socket, departure)
        };
        sent.err().map(Errno::raw_os_error)
    };
    let mut attempts = iter::repeat_with(attempt).take(ATTEMPTS_MAX);
    let outcome = attempts.find(|failed| !failed.is_some_and(may_be_about_another));
    outcome == Some(None)
}

/// Sends a datagram of which the kernel needs to know nothing but the bytes and where to.
fn send_plain(socket: BorrowedFd<'_>, departure: &Departure<'_>) -> Result<usize, Errno> {
    let Departure { to, parts, .. } = departure;
    match parts {
        [only, [], []] | [[], only, []] => sendto(socket, only, SendFlags::DONTWAIT, to),
        parts => {
            let (parts, control) = (parts.map(IoSlice::new), &mut Default::default());
            sendmsg_addr(socket, to, &parts, control, SendFlags::DONTWAIT)
        }
    }
}

/// Sends a datagram with all that is to be said of it.
fn send_described(socket: BorrowedFd<'_>, departure: &Departure<'_>) -> Result<usize, Errno> {
    let mut parts = departure.parts.map(part);
    let (mut to, to_bytes) = Address::of(departure.to);
    let mut control = MaybeUninit::uninit();
    // SAFETY: all zeros are a header; all that it leads to lives, and what the parts lead to is borrowed for the call.
    let sent = unsafe {
        let mut header: libc::msghdr = mem::zeroed();
        header.msg_name = (&raw mut to).cast();
        header.msg_namelen = to_bytes;
        header.msg_iov = parts.as_mut_ptr();
        header.msg_iovlen = parts.len() as _;
        describe(departure, None, &mut header, control.as_mut_ptr());
        libc::sendmsg(socket.as_raw_fd(), &raw const header, libc::MSG_DONTWAIT)
    };
    usize::try_from(sent).map_err(|_| Errno::from_raw_os_error(errno()))
}

/// The kernel reads only.
fn part(bytes: &[u8]) -> libc::iovec {
    libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    }
}

/// Trains, each a message to the kernel. One datagram is a short one.
struct Loading<'d> {
    trains: [MaybeUninit<Train<'d>>; DEPARTURES_MAX],
    count: usize,
    parts: [MaybeUninit<libc::iovec>; DEPARTURES_MAX * PARTS],
    parts_count: usize,
    datagrams: usize,
}

/// Datagrams to one destination.
#[derive(Clone, Copy)]
struct Train<'d> {
    head: Departure<'d>,
    /// The length of each datagram but the last.
    stride: usize,
    bytes: usize,
    datagrams: usize,
    first_part: usize,
    parts: usize,
    /// Whether another one may follow.
    is_open: bool,
}

impl<'d> Loading<'d> {
    fn new() -> Self {
        Self {
            trains: [const { MaybeUninit::uninit() }; DEPARTURES_MAX],
            count: 0,
            parts: [const { MaybeUninit::uninit() }; DEPARTURES_MAX * PARTS],
            parts_count: 0,
            datagrams: 0,
        }
    }

    fn is_full(&self) -> bool {
        self.datagrams == DEPARTURES_MAX
    }

    /// The caller has seen to it that there is room.
    fn add(&mut self, departure: &Departure<'d>, in_trains: bool) {
        let (bytes, first_part) = (departure.bytes(), self.parts_count);
        for bytes in departure.parts.iter().filter(|bytes| !bytes.is_empty()) {
            self.parts[self.parts_count].write(part(bytes));
            self.parts_count += 1;
        }
        self.datagrams += 1;
        let parts = self.parts_count - first_part;
        if in_trains
            && let Some(train) = self.last()
            && train.takes(departure, bytes)
        {
            train.bytes += bytes;
            train.datagrams += 1;
            train.parts += parts;
            train.is_open = bytes == train.stride;
            return;
        }
        self.trains[self.count].write(Train {
            head: *departure,
            stride: bytes,
            bytes,
            datagrams: 1,
            first_part,
            parts,
            is_open: (1..=STRIDE_BYTES_MAX).contains(&bytes),
        });
        self.count += 1;
    }

    fn last(&mut self) -> Option<&mut Train<'d>> {
        let last = self.count.checked_sub(1)?;
        // SAFETY: the trains before `count` were written.
        Some(unsafe { self.trains[last].assume_init_mut() })
    }

    /// Sends what is loaded, and is empty again; says how many datagrams were not sent.
    fn send(&mut self, fd: libc::c_int, trains: &Trains) -> usize {
        // SAFETY: the trains and parts before their counts were written; what the parts lead to is borrowed for `'d`.
        let unsent = unsafe {
            let loaded = self.trains[..self.count].assume_init_ref();
            let parts = self.parts[..self.parts_count].assume_init_ref();
            send_trains(fd, trains, loaded, parts)
        };
        (self.count, self.parts_count, self.datagrams) = (0, 0, 0);
        unsent
    }
}

impl Train<'_> {
    fn takes(&self, departure: &Departure<'_>, bytes: usize) -> bool {
        self.is_open
            && (1..=self.stride).contains(&bytes)
            && self.bytes + bytes <= TRAIN_BYTES_MAX
            && self.head.to == departure.to
            && self.head.from == departure.from
            && self.head.traffic_class == departure.traffic_class
    }

    /// Where the kernel is to cut it up.
    fn cut_at(&self) -> Option<u16> {
        (self.datagrams > 1).then_some(self.stride as u16)
    }
}

/// Sends trains.
///
/// # Safety
/// The trains' parts are within `parts`, and lead to readable bytes.
unsafe fn send_trains(
    fd: libc::c_int,
    trains: &Trains,
    loaded: &[Train<'_>],
    parts: &[libc::iovec],
) -> usize {
    let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; DEPARTURES_MAX];
    let mut addresses = [const { MaybeUninit::<Address>::uninit() }; DEPARTURES_MAX];
    let mut controls = [const { MaybeUninit::<SentControl>::uninit() }; DEPARTURES_MAX];
    for (number, train) in loaded.iter().enumerate() {
        let (to, to_bytes) = Address::of(train.head.to);
        // SAFETY: all zeros are a header.
        let mut header: libc::mmsghdr = unsafe { mem::zeroed() };
        header.msg_hdr.msg_name = (&raw mut *addresses[number].write(to)).cast();
        header.msg_hdr.msg_namelen = to_bytes;
        header.msg_hdr.msg_iov = parts[train.first_part..].as_ptr().cast_mut();
        header.msg_hdr.msg_iovlen = train.parts as _;
        let control = controls[number].as_mut_ptr();
        // SAFETY: the control's room is of the size that `describe` needs, and is the header's as long as it lives.
        unsafe { describe(&train.head, train.cut_at(), &mut header.msg_hdr, control) };
        headers[number].write(header);
    }
    let (mut next, mut unsent, mut attempts) = (0, 0, 1);
    while let Some(train) = loaded.get(next) {
        // SAFETY: the headers from `next` up to the number of trains were written above, and lead to parts, addresses
        // and controls that live.
        let sent = unsafe {
            let first = headers[next].as_mut_ptr();
            let count = (loaded.len() - next) as libc::c_uint;
            // Not by the function: musl's has no batch, and sends one by one.
            libc::syscall(libc::SYS_sendmmsg, fd, first, count, libc::MSG_DONTWAIT)
        };
        if let Ok(sent @ 1..) = usize::try_from(sent) {
            next += sent;
            attempts = 1;
            continue;
        }
        let error = errno();
        match error {
            // The socket is full: what follows would meet the same. ENOBUFS is about the way to one destination.
            libc::EAGAIN => {
                unsent += loaded[next..]
                    .iter()
                    .map(|train| train.datagrams)
                    .sum::<usize>();
                break;
            }
            libc::EIO | libc::EINVAL | libc::EMSGSIZE if train.datagrams > 1 => {
                if error == libc::EIO {
                    trains.give_up();
                }
                // SAFETY: the caller's promise.
                unsent += unsafe { send_one_by_one(fd, train, parts) };
                next += 1;
                attempts = 1;
            }
            error if may_be_about_another(error) && attempts < ATTEMPTS_MAX => attempts += 1,
            _ => {
                unsent += train.datagrams;
                next += 1;
                attempts = 1;
            }
        }
    }
    unsent
}

/// Sends the datagrams of a train without the kernel's help.
///
/// # Safety
/// As in [`send_trains`].
unsafe fn send_one_by_one(fd: libc::c_int, train: &Train<'_>, parts: &[libc::iovec]) -> usize {
    let alone = Trains::new(false);
    let mut parts_left = &parts[train.first_part..][..train.parts];
    let mut unsent = 0;
    while !parts_left.is_empty() {
        let mut bytes = 0;
        let of_this = parts_left.iter().take_while(|part| {
            let fits = bytes < train.stride;
            bytes += part.iov_len;
            fits
        });
        let (these, rest) = parts_left.split_at(of_this.count());
        let one = Train {
            datagrams: 1,
            first_part: 0,
            parts: these.len(),
            ..*train
        };
        // SAFETY: the caller's promise; these parts are some of the train's.
        unsent += unsafe { send_trains(fd, &alone, &[one], these) };
        parts_left = rest;
    }
    unsent
}

/// Writes what the kernel is told beside the bytes, those of a train with where to cut it.
///
/// # Safety
/// `control` leads to room for a [`SentControl`].
unsafe fn describe(
    head: &Departure<'_>,
    cut_at: Option<u16>,
    header: &mut libc::msghdr,
    control: *mut SentControl,
) {
    header.msg_control = control.cast();
    let mut bytes = 0;
    let mut add = |level, kind, value: &[u8]| {
        // SAFETY: SentControl has room for one message of each kind; CMSG_SPACE keeps each aligned.
        unsafe {
            let message = control.cast::<u8>().add(bytes).cast::<libc::cmsghdr>();
            // Zeros where musl has padding: there the kernel's fields are wider.
            let mut told: libc::cmsghdr = mem::zeroed();
            told.cmsg_len = libc::CMSG_LEN(value.len() as _) as _;
            told.cmsg_level = level;
            told.cmsg_type = kind;
            message.write(told);
            let data = libc::CMSG_DATA(message);
            ptr::copy_nonoverlapping(value.as_ptr(), data, value.len());
            let space = libc::CMSG_SPACE(value.len() as _);
            let padding = space - libc::CMSG_LEN(value.len() as _);
            data.add(value.len()).write_bytes(0, padding as usize);
            bytes += space as usize;
        }
    };
    match head.from {
        None => {}
        Some(IpAddr::V4(ip)) => {
            // in_pktinfo: the interface, which is the kernel's to choose, the address, and one that is ignored.
            let mut info = [0; 12];
            info[4..8].copy_from_slice(&ip.octets());
            add(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
        }
        Some(IpAddr::V6(ip)) => {
            // in6_pktinfo: the address, and the interface.
            let mut info = [0; 20];
            info[..16].copy_from_slice(&ip.octets());
            add(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
        }
    }
    if head.traffic_class != 0 {
        let class = libc::c_int::from(head.traffic_class).to_ne_bytes();
        match head.to {
            SocketAddr::V4(_) => add(libc::IPPROTO_IP, libc::IP_TOS, &class),
            SocketAddr::V6(_) => add(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &class),
        }
    }
    if let Some(stride) = cut_at {
        add(libc::SOL_UDP, libc::UDP_SEGMENT, &stride.to_ne_bytes());
    }
    header.msg_controllen = bytes as _;
    if bytes == 0 {
        header.msg_control = ptr::null_mut();
    }
}

/// Whether the kernel may speak of a datagram sent earlier, whose answer from the network has kept this one from leaving;
/// "too big" may be meant for either.
fn may_be_about_another(error: libc::c_int) -> bool {
    !matches!(error, libc::EAGAIN | libc::ENOBUFS | libc::EPERM)
}

fn errno() -> libc::c_int {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// Room for each kind of message that the kernel is asked for: pktinfo (40), traffic class (24), GRO (24).
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct ReceivedControl([u8; 96]);

/// Room for each kind of message that is sent: pktinfo (40), traffic class (24), GSO (24).
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct SentControl([u8; 96]);

/// How often a datagram is sent where the answer was about another one, most likely: more of them may come in between.
const ATTEMPTS_MAX: usize = 4;

/// Of one datagram: what is before the payload, the payload, the padding.
const PARTS: usize = 3;

/// The headroom, the largest datagram or the longest train; and rooms do not all begin at the same place of the cache's.
const ROOM_BYTES: usize = HEADROOM_BYTES + ROOM_BYTES_USED + 6 * 64;
const ROOM_BYTES_USED: usize = 65_536;

/// Holds what comes before a payload on its way to a client.
const HEADROOM_BYTES: usize = 64;

/// UDP's length field, without the longest headers.
const TRAIN_BYTES_MAX: usize = 65_000;

/// Longer ones may not fit the way to their destination whole, and the kernel does not cut those up twice.
const STRIDE_BYTES_MAX: usize = 1_420;

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use proptest::prelude::*;
    use socket2::SockRef;

    use super::*;
    use crate::relay::worker::sockets;

    #[test]
    fn datagrams_arrive_as_they_were_sent_one_by_one_and_in_trains() {
        for are_cut in [true, false] {
            for bind in ["127.0.0.1:0", "[::1]:0"] {
                let (from, to) = (socket(bind), socket(bind));
                let lengths = [160, 160, 160, 100, 0, 160, 1, 3000, 3000, 1200, 1200, 1200];
                let datagrams =
                    lengths.map(|length: usize| (0..length).map(|n| n as u8).collect::<Vec<_>>());
                let all = datagrams.iter().map(|datagram| {
                    let (head, rest) = datagram.split_at(datagram.len().min(4));
                    departure(to.local_addr().unwrap(), [head, rest, &[]])
                });
                assert_eq!(send(&from, &Trains::new(are_cut), all), 0);
                let mut arrivals = Arrivals::new();
                let received = receive_all(&to, &mut arrivals, datagrams.len());
                assert_eq!(received, datagrams, "{bind}, trains cut: {are_cut}");
                let first = arrivals.iter_mut().next().unwrap().unwrap();
                assert_eq!(first.source, from.local_addr().unwrap());
            }
        }
    }

    #[test]
    fn a_single_datagram_arrives_in_one_piece() {
        for bind in ["127.0.0.1:0", "[::1]:0"] {
            let (from, to) = (socket(bind), socket(bind));
            let to_addr = to.local_addr().unwrap();
            let empty: &[u8] = b"";
            for parts in [
                [empty, empty, empty],
                [b"whole", empty, empty],
                [b"head", b"payload", empty],
                [b"head", empty, b"padding"],
                [b"head", b"payload", b"padding"],
            ] {
                let alone = [departure(to_addr, parts)].into_iter();
                assert_eq!(send(&from, &Trains::new(true), alone), 0);
                let received = receive_all(&to, &mut Arrivals::new(), 1);
                assert_eq!(received, [parts.concat()]);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn whatever_leaves_arrives_whole_and_in_its_order(
            are_cut: bool,
            lengths in proptest::collection::vec((0..3_usize, length(), 0..=200_usize, any::<bool>()), 1..150),
        ) {
            let from = socket("127.0.0.1:0");
            let peers = [(); 3].map(|()| socket("127.0.0.1:0"));
            let sent: Vec<_> = (0_u8..)
                .zip(&lengths)
                .map(|(number, (peer, length, cut, _))| (*peer, vec![number; *length], *cut))
                .collect();
            let all = sent.iter().zip(&lengths).map(|((peer, bytes, cut), (.., is_marked))| {
                let (head, rest) = bytes.split_at(bytes.len().min(*cut));
                Departure {
                    traffic_class: u8::from(*is_marked) << 5,
                    ..departure(peers[*peer].local_addr().unwrap(), [head, rest, &[]])
                }
            });
            prop_assert_eq!(send(&from, &Trains::new(are_cut), all), 0);
            for (number, peer) in peers.iter().enumerate() {
                let its = sent.iter().filter(|(peer, ..)| *peer == number);
                let its: Vec<_> = its.map(|(_, bytes, _)| bytes.clone()).collect();
                prop_assert_eq!(receive_all(peer, &mut Arrivals::new(), its.len()), its);
            }
        }
    }

    /// Many of the same, as media are.
    fn length() -> impl Strategy<Value = usize> {
        prop_oneof![Just(160_usize), Just(1200), 0..3000_usize]
    }

    #[test]
    fn each_datagram_is_written_to_where_it_lies() {
        let (from, to) = (socket("127.0.0.1:0"), socket("127.0.0.1:0"));
        let to_addr = to.local_addr().unwrap();
        let mut arrivals = Arrivals::new();
        for round in 0..3 {
            let all = [b"head1111", b"head2222", b"head3333"]
                .map(|datagram| departure(to_addr, [datagram, &[], &[]]));
            assert_eq!(send(&from, &Trains::new(true), all.into_iter()), 0);
            while arrivals.len() < all.len() && arrivals.receive(&to, ROOMS).is_ok() {}
            let together = arrivals.iter_mut().flatten().flat_map(Arrival::datagrams);
            let written = together.map(|datagram| datagram.part(4..8).unwrap().headed(b"HEAD"));
            let written: Vec<_> = written.map(Result::unwrap).collect();
            assert_eq!(written, [b"HEAD1111", b"HEAD2222", b"HEAD3333"], "{round}");
            arrivals.clear();
            from.send_to(b"alone", to_addr).unwrap();
            assert_eq!(arrivals.receive(&to, ROOMS).unwrap(), 1);
            let alone = arrivals.iter_mut().flatten().flat_map(Arrival::datagrams);
            let alone: Vec<_> = alone
                .map(|datagram| datagram.headed(&[7; HEADROOM_BYTES]))
                .collect();
            assert_eq!(
                alone,
                [Ok(&[&[7; HEADROOM_BYTES][..], b"alone"].concat()[..])]
            );
            arrivals.clear();
        }
    }

    #[test]
    fn more_than_one_system_call_takes_leave_all_the_same() {
        let (from, to) = (socket("127.0.0.1:0"), socket("127.0.0.1:0"));
        let payloads: Vec<_> = (0..200_u8).map(|number| [number; 50]).collect();
        let to_addr = to.local_addr().unwrap();
        let all = payloads
            .iter()
            .map(|payload| departure(to_addr, [payload, &[], &[]]));
        assert_eq!(send(&from, &Trains::new(true), all), 0);
        let received = receive_all(&to, &mut Arrivals::new(), 200);
        assert!(
            received
                .iter()
                .zip(&payloads)
                .all(|(got, sent)| got == sent)
        );
    }

    #[test]
    fn the_address_asked_for_and_the_traffic_class_go_along() {
        let families = [("0.0.0.0:0", "127.0.0.3"), ("[::]:0", "::1")];
        for ((bind, loopback), count) in families
            .into_iter()
            .flat_map(|family| [(family, 1), (family, 3)])
        {
            let (from, to) = (socket(bind), socket(bind));
            let loopback: IpAddr = loopback.parse().unwrap();
            let port = to.local_addr().unwrap().port();
            let one = Departure {
                from: Some(loopback),
                traffic_class: 0b1011_1001,
                ..departure(SocketAddr::new(loopback, port), [b"x", b"y", b""])
            };
            let all = iter::repeat_n(one, count);
            assert_eq!(send(&from, &Trains::new(true), all), 0);
            let mut arrivals = Arrivals::new();
            let received = receive_all(&to, &mut arrivals, count);
            assert_eq!(received, vec![b"xy"; count]);
            let arrival = arrivals.iter_mut().next().unwrap().unwrap();
            assert_eq!(
                (arrival.source.ip(), arrival.local),
                (loopback, Some(loopback))
            );
            assert_eq!(arrival.traffic_class, 0b1011_1001);
        }
    }

    #[test]
    fn what_cannot_leave_is_counted_and_keeps_nothing_else() {
        let (from, to) = (socket("127.0.0.1:0"), socket("127.0.0.1:0"));
        let nowhere = "[::1]:9".parse().unwrap();
        let to = (to.local_addr().unwrap(), to);
        let all = [to.0, nowhere, to.0].map(|to| departure(to, [b"a", b"b", b""]));
        assert_eq!(send(&from, &Trains::new(true), all.into_iter()), 1);
        assert_eq!(receive_all(&to.1, &mut Arrivals::new(), 2).len(), 2);
    }

    #[test]
    fn an_empty_socket_would_block_and_full_rooms_are_cleared() {
        let (from, to) = (socket("127.0.0.1:0"), socket("127.0.0.1:0"));
        let mut arrivals = Arrivals::new();
        let nothing = arrivals.receive(&to, 8).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        for round in 0..3_u8 {
            for number in 0..=ROOMS {
                from.send_to(&[round, number as u8], to.local_addr().unwrap())
                    .unwrap();
            }
            assert_eq!(arrivals.receive(&to, 10).unwrap(), 10);
            assert_eq!(arrivals.receive(&to, ROOMS).unwrap(), ROOMS - 10);
            assert_eq!(arrivals.len(), ROOMS);
            for (room, arrival) in arrivals.iter_mut().enumerate() {
                let datagrams: Vec<_> = bytes_of(arrival.unwrap()).collect();
                assert_eq!(datagrams, [&[round, room as u8]]);
            }
            arrivals.clear();
            assert_eq!(arrivals.receive(&to, ROOMS).unwrap(), 1);
            arrivals.clear();
        }
    }

    #[test]
    fn a_train_that_the_kernel_does_not_cut_up_is_taken_apart() {
        let (from, to) = (socket("127.0.0.1:0"), socket("127.0.0.1:0"));
        let payload = [7; 400];
        let to_addr = to.local_addr().unwrap();
        let parts: Vec<_> = [
            &payload[..4],
            &payload[4..160],
            &payload[..4],
            &payload[4..160],
            &payload[..90],
        ]
        .map(part)
        .into();
        let train = Train {
            head: departure(to_addr, [&[]; 3]),
            stride: 160,
            bytes: 410,
            datagrams: 3,
            first_part: 0,
            parts: 5,
            is_open: false,
        };
        // SAFETY: the parts lead into `payload`.
        let unsent = unsafe { send_one_by_one(from.as_raw_fd(), &train, &parts) };
        assert_eq!(unsent, 0);
        let received = receive_all(&to, &mut Arrivals::new(), 3);
        assert_eq!(
            received.iter().map(Vec::len).collect::<Vec<_>>(),
            [160, 160, 90]
        );
    }

    fn socket(bind: &str) -> UdpSocket {
        let socket = UdpSocket::bind(bind).unwrap();
        sockets::tell_destination(&socket).unwrap();
        sockets::tell_traffic_class(&socket).unwrap();
        sockets::join_datagrams(&socket).unwrap();
        SockRef::from(&socket)
            .set_recv_buffer_size(1 << 20)
            .unwrap();
        socket
    }

    fn departure<'d>(to: SocketAddr, parts: [&'d [u8]; 3]) -> Departure<'d> {
        Departure {
            to,
            from: None,
            traffic_class: 0,
            parts,
        }
    }

    fn bytes_of(arrival: Arrival<'_>) -> impl Iterator<Item = &[u8]> {
        arrival.datagrams().map(Datagram::into_bytes)
    }

    /// Loopback delivers before a send returns.
    fn receive_all(socket: &UdpSocket, arrivals: &mut Arrivals, count: usize) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while all.len() < count {
            let first = arrivals.len();
            let received = arrivals.receive(socket, ROOMS).unwrap();
            for arrival in arrivals.iter_mut().skip(first).take(received) {
                all.extend(bytes_of(arrival.unwrap()).map(<[u8]>::to_vec));
            }
            if arrivals.len() == ROOMS {
                arrivals.clear();
            }
        }
        all
    }
}

//! The relayed transport addresses of a whole process, and which worker has each: what one of its clients sends to
//! another's need not leave the process.

use std::{
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::relay::engine::five_tuple::{Family, RelayKey, RelayedAddr};

/// For all workers of a process: written when a relay socket opens or closes, looked at for a datagram only where its
/// peer has one of our addresses.
#[derive(Debug, Default)]
pub struct RelayedAddrs {
    spans: Vec<Span>,
}

/// The ports of one address.
#[derive(Debug)]
struct Span {
    ip: IpAddr,
    first_port: u16,
    /// For each port the number of its worker, plus 1, and that of the socket; 0 is nobody.
    owners: Box<[AtomicU64]>,
}

impl RelayedAddrs {
    /// Nobody has any of them yet.
    #[must_use]
    pub fn new(ips: impl IntoIterator<Item = IpAddr>, ports: &RangeInclusive<u16>) -> Self {
        let span = |ip| Span {
            ip,
            first_port: *ports.start(),
            owners: ports.clone().map(|_| AtomicU64::new(0)).collect(),
        };
        Self {
            spans: ips.into_iter().map(span).collect(),
        }
    }

    /// Whether there are any of this family.
    pub(super) fn serve(&self, family: Family) -> bool {
        self.spans.iter().any(|span| Family::of(span.ip) == family)
    }

    /// Whether this may be one of them, be it somebody's now or not.
    pub(super) fn covers(&self, addr: SocketAddr) -> bool {
        self.place(addr).is_some()
    }

    /// Which worker has a relay socket with this address, and how it calls it.
    pub(super) fn owner(&self, addr: SocketAddr) -> Option<(u32, RelayKey)> {
        let owner = self.place(addr)?.load(Ordering::Relaxed);
        let worker = u32::try_from(owner >> 32).ok()?.checked_sub(1)?;
        Some((worker, RelayKey(owner as u32)))
    }

    /// The worker's relay socket has this address from now on.
    pub(super) fn enter(&self, addr: RelayedAddr, worker: u32, key: RelayKey) {
        if let Some(place) = self.place(addr.0) {
            let worker = u64::from(worker) + 1;
            place.store(worker << 32 | u64::from(key.0), Ordering::Relaxed);
        }
    }

    /// Nobody's has it any more.
    pub(super) fn leave(&self, addr: RelayedAddr) {
        if let Some(place) = self.place(addr.0) {
            place.store(0, Ordering::Relaxed);
        }
    }

    fn place(&self, addr: SocketAddr) -> Option<&AtomicU64> {
        let span = self.spans.iter().find(|span| span.ip == addr.ip())?;
        let at = addr.port().checked_sub(span.first_port)?;
        span.owners.get(usize::from(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_leads_to_its_worker_until_it_is_left() {
        let ips = ["198.51.100.1", "2001:db8::1"].map(|ip| ip.parse().unwrap());
        let addrs = RelayedAddrs::new(ips, &(49160..=49200));
        for ip in ips {
            let relayed = RelayedAddr(SocketAddr::new(ip, 49200));
            assert_eq!(addrs.owner(relayed.0), None);
            for (worker, key) in [(0, RelayKey(0)), (7, RelayKey(u32::MAX))] {
                addrs.enter(relayed, worker, key);
                assert_eq!(addrs.owner(relayed.0), Some((worker, key)));
            }
            addrs.leave(relayed);
            assert_eq!(addrs.owner(relayed.0), None);
        }
    }

    #[test]
    fn other_addresses_and_ports_are_nobodys() {
        let own = "198.51.100.1".parse().unwrap();
        let addrs = RelayedAddrs::new([own], &(49160..=49200));
        for foreign in [
            "198.51.100.1:49159",
            "198.51.100.1:49201",
            "198.51.100.2:49160",
        ] {
            let foreign: SocketAddr = foreign.parse().unwrap();
            addrs.enter(RelayedAddr(foreign), 0, RelayKey(0));
            assert_eq!(addrs.owner(foreign), None, "{foreign}");
        }
    }
}

//! What the RFCs say there is, and nothing else: seconds since the beginning, and when each thing ends.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use crate::desk::{FORBIDDEN, PEER, PEER_V6};

/// Whoever asks, by their numbers: two with passwords, and a participant with a credential for an hour.
pub(super) const ALICE: usize = 0;
pub(super) const CAROL: usize = 2;

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) now: u64,
    /// By the station that its client is at.
    pub(super) allocations: BTreeMap<usize, Allocation>,
    /// By their ids.
    pub(super) connections: BTreeMap<u32, Connection>,
    /// Stations that carry a peer's bytes: nobody speaks TURN there.
    pub(super) spliced: BTreeMap<usize, u32>,
    /// When Carol's credential ends, and those of hers that were refused before their end.
    pub(super) carols_end: u64,
    pub(super) revoked_until: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Allocation {
    pub(super) user: usize,
    /// When the credential ends that it was made with; Carol's do.
    pub(super) credential: u64,
    /// By family: the relay, and its end.
    pub(super) halves: BTreeMap<u8, (u32, u64)>,
    pub(super) permissions: BTreeMap<IpAddr, u64>,
    pub(super) channels: BTreeMap<u16, (SocketAddr, u64)>,
    /// Whether it relays connections.
    pub(super) is_tcp: bool,
    /// What it can be moved with.
    pub(super) ticket: Option<Vec<u8>>,
    /// The station that it moves to, until data or a proven request comes from there.
    pub(super) next: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Connection {
    /// Where the control connection is.
    pub(super) station: usize,
    pub(super) peer: SocketAddr,
    pub(super) is_asked_for: bool,
    pub(super) state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Connecting(u64),
    Unbound(u64),
    Bound,
}

impl Model {
    /// Time passes; the stations that hear of connections that did not come.
    pub(super) fn wait(&mut self, secs: u64) -> BTreeSet<(usize, SocketAddr)> {
        self.now += secs;
        let now = self.now;
        let is_due = |connection: &Connection| match connection.state {
            State::Connecting(until) | State::Unbound(until) => until <= now,
            State::Bound => false,
        };
        let mut failed = self.end_connections(is_due);
        for allocation in self.allocations.values_mut() {
            allocation.halves.retain(|_, (_, end)| now < *end);
            allocation.permissions.retain(|_, end| now < *end);
            allocation.channels.retain(|_, (_, end)| now < *end);
            let halves = &allocation.halves;
            let channels = &mut allocation.channels;
            channels.retain(|_, (peer, _)| halves.contains_key(&family_of(*peer)));
        }
        self.allocations
            .retain(|_, allocation| !allocation.halves.is_empty());
        failed.extend(self.end_orphans());
        failed
    }

    /// Where the client is whose allocation answers at this station, too.
    pub(super) fn key_at(&self, station: usize) -> Option<usize> {
        let mut all = self.allocations.iter();
        let (key, _) = all.find(|(key, found)| **key == station || found.next == Some(station))?;
        Some(*key)
    }

    pub(super) fn at(&self, station: usize) -> Option<&Allocation> {
        self.allocations.get(&self.key_at(station)?)
    }

    fn key_of_ticket(&self, ticket: &[u8]) -> Option<usize> {
        let mut all = self.allocations.iter();
        let (key, _) = all.find(|(_, found)| found.ticket.as_deref() == Some(ticket))?;
        Some(*key)
    }

    /// Whether the user proves who they are in a request about this allocation.
    pub(super) fn proven(&self, user: usize, about: Option<&Allocation>) -> Result<(), u16> {
        let end = self.carols_end;
        let is_kept = about.is_some_and(|found| (found.user, found.credential) == (user, end));
        let is_revoked = self.revoked_until.is_some_and(|until| end <= until);
        match user {
            CAROL if is_revoked || end <= self.now && !is_kept => Err(401),
            _ => Ok(()),
        }
    }

    /// The allocation, or the code of the refusal. One that was moving here has arrived.
    pub(super) fn owned(&mut self, station: usize, user: usize) -> Result<&mut Allocation, u16> {
        self.proven(user, self.at(station))?;
        let allocation = self.at(station).ok_or(437_u16)?;
        if allocation.user != user {
            return Err(441);
        }
        self.arrive(station);
        self.allocations.get_mut(&station).ok_or(437)
    }

    pub(super) fn refresh(
        &mut self,
        station: usize,
        user: usize,
        family: Option<u8>,
        lifetime: u32,
    ) -> Result<(), u16> {
        let now = self.now;
        let allocation = self.owned(station, user)?;
        if family.is_some_and(|family| !allocation.halves.contains_key(&family)) {
            return Err(443);
        }
        let is_meant = |found: &u8| family.is_none_or(|family| family == *found);
        allocation.halves.retain(|found, (_, end)| {
            if is_meant(found) {
                *end = now + u64::from(lifetime.clamp(600, 3600));
            }
            lifetime > 0 || !is_meant(found)
        });
        self.wait(0);
        Ok(())
    }

    /// Refresh with a ticket.
    pub(super) fn move_to(
        &mut self,
        station: usize,
        user: usize,
        ticket: &[u8],
        lifetime: u32,
    ) -> Result<&mut Allocation, u16> {
        let here = self.key_at(station);
        let named = here.or_else(|| self.key_of_ticket(ticket));
        self.proven(user, named.and_then(|key| self.allocations.get(&key)))?;
        let key = named.ok_or(437_u16)?;
        let now = self.now;
        let allocation = self.allocations.get_mut(&key).ok_or(437_u16)?;
        if allocation.ticket.as_deref() != Some(ticket) {
            return Err(437);
        }
        if allocation.user != user {
            return Err(441);
        }
        if station != key {
            allocation.next = Some(station);
        }
        for (_, end) in allocation.halves.values_mut() {
            *end = now + u64::from(lifetime.clamp(600, 3600));
        }
        Ok(allocation)
    }

    /// Data comes from this station: what was moving here has arrived.
    pub(super) fn sender(&mut self, station: usize) -> Option<&Allocation> {
        self.arrive(station);
        self.at(station)
    }

    fn arrive(&mut self, station: usize) {
        if let Some(key) = self.key_at(station).filter(|key| *key != station)
            && let Some(mut allocation) = self.allocations.remove(&key)
        {
            allocation.next = None;
            self.allocations.insert(station, allocation);
        }
    }

    pub(super) fn close(&mut self, station: usize) {
        let Some(key) = self.key_at(station) else {
            return;
        };
        match self.allocations.remove(&key) {
            Some(mut moving) if moving.next.is_some() => {
                let goes_on_at = match moving.next.take() {
                    Some(next) if key == station => next,
                    Some(_) | None => key,
                };
                self.allocations.insert(goes_on_at, moving);
            }
            Some(_) | None => drop(self.end_orphans()),
        }
    }

    pub(super) fn revoke(&mut self) {
        let until = self.carols_end;
        self.revoked_until = self.revoked_until.max(Some(until));
        self.allocations
            .retain(|_, found| found.user != CAROL || found.credential > until);
        self.end_orphans();
    }

    pub(super) fn permit(
        &mut self,
        station: usize,
        user: usize,
        peers: &[SocketAddr],
    ) -> Result<(), u16> {
        let end = self.now + 300;
        let allocation = self.owned(station, user)?;
        if peers.iter().any(|peer| !allocation.reaches(*peer)) {
            return Err(443);
        }
        if peers.iter().any(|peer| is_forbidden(*peer)) {
            return Err(403);
        }
        allocation
            .permissions
            .extend(peers.iter().map(|peer| (peer.ip(), end)));
        Ok(())
    }

    pub(super) fn bind(
        &mut self,
        station: usize,
        user: usize,
        number: u16,
        peer: SocketAddr,
    ) -> Result<(), u16> {
        let now = self.now;
        let allocation = self.owned(station, user)?;
        if allocation.is_tcp {
            return Err(403);
        }
        let taken = |(other, (bound, _)): (&u16, &(SocketAddr, u64))| {
            (*other == number) != (*bound == peer)
        };
        if number > 0x4FFF || allocation.channels.iter().any(taken) {
            return Err(400);
        }
        if !allocation.reaches(peer) {
            return Err(443);
        }
        if is_forbidden(peer) {
            return Err(403);
        }
        allocation.channels.insert(number, (peer, now + 600));
        allocation.permissions.insert(peer.ip(), now + 300);
        Ok(())
    }

    /// Whether a connection to this peer is to be made.
    pub(super) fn connect(
        &mut self,
        station: usize,
        user: usize,
        peer: SocketAddr,
    ) -> Result<(), u16> {
        let allocation = self.owned(station, user)?;
        if !allocation.is_tcp {
            return Err(403);
        }
        if !allocation.reaches(peer) {
            return Err(443);
        }
        if is_forbidden(peer) {
            return Err(403);
        }
        let is_same = |found: &Connection| {
            (found.station, found.peer, found.is_asked_for) == (station, peer, true)
        };
        if self.connections.values().any(is_same) {
            return Err(446);
        }
        Ok(())
    }

    pub(super) fn bind_connection(
        &mut self,
        station: usize,
        user: usize,
        id: u32,
        is_stream: bool,
    ) -> Result<(), u16> {
        let connection = self.connections.get(&id);
        let control = connection.and_then(|found| self.allocations.get(&found.station));
        self.proven(user, control)?;
        if !is_stream || self.key_at(station).is_some() {
            return Err(400);
        }
        let is_ours = control.is_some_and(|found| found.user == user);
        let connection = self.connections.get_mut(&id).ok_or(400_u16)?;
        let State::Unbound(_) = connection.state else {
            return Err(400);
        };
        if !is_ours {
            return Err(441);
        }
        connection.state = State::Bound;
        self.spliced.insert(station, id);
        Ok(())
    }

    pub(super) fn end_connection(&mut self, id: u32) -> Option<Connection> {
        self.spliced.retain(|_, other| *other != id);
        self.connections.remove(&id)
    }

    /// Ends such connections; the stations that waited for them.
    fn end_connections(
        &mut self,
        is_over: impl Fn(&Connection) -> bool,
    ) -> BTreeSet<(usize, SocketAddr)> {
        let all = self.connections.iter();
        let over: Vec<_> = all.filter(|(_, found)| is_over(found)).collect();
        let ids: Vec<_> = over.iter().map(|(id, _)| **id).collect();
        let waiting = over
            .iter()
            .filter(|(_, found)| matches!(found.state, State::Connecting(_)));
        let waiting = waiting
            .map(|(_, found)| (found.station, found.peer))
            .collect();
        for id in ids {
            self.end_connection(id);
        }
        waiting
    }

    /// A connection ends with its allocation, or with the family that its peer is of.
    fn end_orphans(&mut self) -> BTreeSet<(usize, SocketAddr)> {
        let reaches: BTreeSet<(usize, u8)> = self
            .allocations
            .iter()
            .flat_map(|(key, found)| found.halves.keys().map(|family| (*key, *family)))
            .collect();
        self.end_connections(|found| !reaches.contains(&(found.station, family_of(found.peer))))
    }
}

impl Allocation {
    pub(super) fn reaches(&self, peer: SocketAddr) -> bool {
        self.halves.contains_key(&family_of(peer))
    }

    pub(super) fn sends_to(&self, peer: SocketAddr) -> bool {
        !self.is_tcp
            && self.reaches(peer)
            && !is_forbidden(peer)
            && self.permissions.contains_key(&peer.ip())
    }
}

pub(super) fn family_of(addr: SocketAddr) -> u8 {
    if addr.is_ipv4() { 1 } else { 2 }
}

pub(super) fn is_forbidden(peer: SocketAddr) -> bool {
    peer == FORBIDDEN.parse().unwrap()
}

pub(super) const PEERS: [&str; 6] = [
    PEER,
    "203.0.113.9:7001",
    "203.0.113.10:7000",
    PEER_V6,
    "[2001:db8::a]:7000",
    FORBIDDEN,
];

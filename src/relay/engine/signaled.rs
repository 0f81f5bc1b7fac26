//! Which peers were named in a user's sessions: what signaling tells the relay, so that it relays to nobody else.
//!
//! Signaling writes before it delivers a candidate; engines read when a permission is asked for, never for a packet.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use crate::ident::{SessionId, UserId};
use crate::relay::engine::policy::canonical;

/// How many addresses of one session are kept; the oldest make room.
pub const ADDRESSES_PER_SESSION_MAX: usize = 4096;

/// Which peers a participant may name, among those that the policy permits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PeerMode {
    /// Any.
    #[default]
    Any,
    /// Any; those that were not signaled are counted.
    Observe,
    /// Only those that were signaled in a session of theirs, and relayed addresses of the cluster.
    Signaled,
}

/// The addresses signaled in each session, and who is in it. Every address counts as what it really names: an IPv4 one
/// inside an IPv6 one is the IPv4 one.
#[derive(Debug, Default)]
pub struct SignaledPeers {
    known: RwLock<Known>,
    own: HashSet<IpAddr>,
}

#[derive(Debug, Default)]
struct Known {
    sessions: HashMap<SessionId, Session>,
    /// Few for each user.
    sessions_of: HashMap<UserId, Vec<SessionId>>,
    cluster: HashSet<IpAddr>,
}

/// What one session knows.
#[derive(Debug, Default)]
struct Session {
    members: HashSet<UserId>,
    addresses: Addresses,
}

impl SignaledPeers {
    /// Nobody is in a session yet; `own` are the relayed addresses of this server, always admitted.
    #[must_use]
    pub fn new(own: impl IntoIterator<Item = IpAddr>) -> Self {
        Self {
            known: RwLock::default(),
            own: own.into_iter().map(canonical).collect(),
        }
    }

    /// The user has joined the session: its addresses are admitted for them.
    pub fn enter(&self, user: &UserId, session: &SessionId) {
        let mut known = self.write();
        let entered = known.sessions.entry(session.clone()).or_default();
        if entered.members.insert(user.clone()) {
            let sessions = known.sessions_of.entry(user.clone()).or_default();
            sessions.push(session.clone());
        }
    }

    /// The user has left the session. The session keeps its addresses until it [ends](Self::end).
    pub fn leave(&self, user: &UserId, session: &SessionId) {
        let mut known = self.write();
        if let Some(left) = known.sessions.get_mut(session) {
            left.members.remove(user);
        }
        known.forget_membership(user, session);
    }

    /// These addresses were signaled in the session; says whether any of them was new to it.
    pub fn saw(&self, session: &SessionId, ips: impl IntoIterator<Item = IpAddr>) -> bool {
        let mut ips = ips.into_iter().map(canonical).peekable();
        if ips.peek().is_none() {
            return false;
        }
        let mut known = self.write();
        let addresses = match known.sessions.get_mut(session) {
            Some(session) => &mut session.addresses,
            None => &mut known.sessions.entry(session.clone()).or_default().addresses,
        };
        let fresh = ips.filter(|ip| addresses.insert(*ip));
        fresh.count() > 0
    }

    /// The session is over, for all who are in it.
    pub fn end(&self, session: &SessionId) {
        let mut known = self.write();
        if let Some(ended) = known.sessions.remove(session) {
            for user in &ended.members {
                known.forget_membership(user, session);
            }
        }
    }

    /// The relayed addresses of all nodes: admitted for everybody, as this server's own are.
    pub fn set_cluster(&self, relayed: Vec<IpAddr>) {
        self.write().cluster = relayed.into_iter().map(canonical).collect();
    }

    /// Whether the user may name this peer. Only participants are in sessions: everybody else may name any.
    #[must_use]
    pub fn admits(&self, user: &UserId, peer: IpAddr) -> bool {
        match user {
            UserId::Static(_) | UserId::Anyone => return true,
            UserId::Participant(_) => {}
        }
        let peer = canonical(peer);
        self.own.contains(&peer) || self.read().admits(user, peer)
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn admits(&self, user: &UserId, peer: IpAddr) -> bool {
        let sessions = self.sessions_of.get(user).into_iter().flatten();
        let mut sessions = sessions.filter_map(|session| self.sessions.get(session));
        self.cluster.contains(&peer) || sessions.any(|session| session.addresses.contains(peer))
    }

    fn forget_membership(&mut self, user: &UserId, session: &SessionId) {
        if let Some(sessions) = self.sessions_of.get_mut(user) {
            sessions.retain(|other| other != session);
            if sessions.is_empty() {
                self.sessions_of.remove(user);
            }
        }
    }
}

/// Addresses in two generations: when the younger one is full it becomes the older one, and the older one goes. An
/// address seen again is young again.
#[derive(Debug, Default)]
struct Addresses {
    younger: HashSet<IpAddr>,
    older: HashSet<IpAddr>,
}

impl Addresses {
    /// Says whether it is new.
    fn insert(&mut self, ip: IpAddr) -> bool {
        if self.younger.contains(&ip) {
            return false;
        }
        let is_new = !self.older.contains(&ip);
        if self.younger.len() >= ADDRESSES_PER_SESSION_MAX / 2 {
            self.older = std::mem::take(&mut self.younger);
        }
        self.younger.insert(ip);
        is_new
    }

    fn contains(&self, ip: IpAddr) -> bool {
        self.younger.contains(&ip) || self.older.contains(&ip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_admitted_for_the_members_of_its_session_until_they_leave_or_it_ends() {
        let peers = SignaledPeers::default();
        let (reading, singing) = (session("reading"), session("singing"));
        peers.enter(&participant("alice"), &reading);
        peers.enter(&participant("alice"), &singing);
        peers.enter(&participant("bob"), &reading);
        assert!(peers.saw(&reading, [ip("203.0.113.9")]));
        assert!(peers.saw(&singing, [ip("203.0.113.8")]));
        let admitted = |name: &str| {
            ["203.0.113.9", "203.0.113.8"].map(|peer| peers.admits(&participant(name), ip(peer)))
        };
        assert_eq!(admitted("alice"), [true, true]);
        assert_eq!(admitted("bob"), [true, false]);
        assert_eq!(admitted("mallory"), [false, false]);
        peers.leave(&participant("alice"), &reading);
        assert_eq!(admitted("alice"), [false, true]);
        peers.enter(&participant("alice"), &reading);
        peers.end(&reading);
        assert_eq!(admitted("alice"), [false, true]);
        assert_eq!(admitted("bob"), [false, false]);
        peers.enter(&participant("bob"), &reading);
        assert_eq!(admitted("bob"), [false, false], "a session starts anew");
    }

    #[test]
    fn relayed_addresses_are_admitted_for_everybody() {
        let peers = SignaledPeers::new([ip("198.51.100.1")]);
        peers.set_cluster(vec![ip("198.51.100.2"), ip("::ffff:198.51.100.3")]);
        for admitted in ["198.51.100.1", "198.51.100.2", "198.51.100.3"] {
            assert!(peers.admits(&participant("alice"), ip(admitted)));
        }
        peers.set_cluster(Vec::new());
        assert!(peers.admits(&participant("alice"), ip("198.51.100.1")));
        assert!(!peers.admits(&participant("alice"), ip("198.51.100.2")));
    }

    #[test]
    fn who_is_in_no_session_by_nature_may_name_anyone() {
        let peers = SignaledPeers::default();
        for user in [UserId::Static("turnuser".into()), UserId::Anyone] {
            assert!(peers.admits(&user, ip("203.0.113.9")));
        }
        let nobody = UserId::Participant("".into());
        assert!(!peers.admits(&nobody, ip("203.0.113.9")));
    }

    #[test]
    fn an_address_counts_as_what_it_names() {
        let peers = SignaledPeers::default();
        peers.enter(&participant("alice"), &session("reading"));
        let cases = [
            ("203.0.113.9", "::ffff:203.0.113.9"),
            ("64:ff9b::203.0.113.10", "203.0.113.10"),
            ("2001:db8::9", "2001:db8::9"),
        ];
        for (seen, named) in cases {
            assert!(peers.saw(&session("reading"), [ip(seen)]));
            assert!(!peers.saw(&session("reading"), [ip(named)]), "{named}");
            assert!(peers.admits(&participant("alice"), ip(named)), "{named}");
        }
    }

    #[test]
    fn it_says_whether_any_was_new() {
        let peers = SignaledPeers::default();
        let reading = session("reading");
        assert!(!peers.saw(&reading, []));
        assert!(peers.saw(&reading, [ip("203.0.113.1"), ip("203.0.113.2")]));
        assert!(!peers.saw(&reading, [ip("203.0.113.2"), ip("203.0.113.1")]));
        assert!(peers.saw(&reading, [ip("203.0.113.3"), ip("203.0.113.1")]));
    }

    #[test]
    fn a_sessions_addresses_are_bounded_and_the_oldest_go() {
        let peers = SignaledPeers::default();
        let (alice, reading) = (participant("alice"), session("reading"));
        peers.enter(&alice, &reading);
        let numbered = |n: usize| IpAddr::from([10, 0, (n / 256) as u8, (n % 256) as u8]);
        let admitted = |n: usize| peers.admits(&alice, numbered(n));
        peers.saw(&reading, (0..ADDRESSES_PER_SESSION_MAX).map(numbered));
        assert!((0..ADDRESSES_PER_SESSION_MAX).all(admitted));
        // Seen again, and so young again.
        peers.saw(&reading, [numbered(0)]);
        peers.saw(&reading, (5000..6000).map(numbered));
        assert!(admitted(0) && !admitted(1) && admitted(5999));
        let all = (0..6000).filter(|n| admitted(*n)).count();
        assert!(all <= ADDRESSES_PER_SESSION_MAX);
    }

    #[test]
    fn nothing_is_kept_of_those_who_have_gone() {
        let peers = SignaledPeers::default();
        for number in 0..10 {
            let (user, session) = (participant("alice"), session(&number.to_string()));
            peers.enter(&user, &session);
            peers.enter(&user, &session);
            peers.saw(&session, [ip("203.0.113.9")]);
            if number % 2 == 0 {
                peers.leave(&user, &session);
            }
            peers.end(&session);
        }
        let known = peers.read();
        assert!(known.sessions.is_empty() && known.sessions_of.is_empty());
    }

    fn participant(name: &str) -> UserId {
        UserId::Participant(name.into())
    }

    fn session(name: &str) -> SessionId {
        SessionId::parse(name).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }
}

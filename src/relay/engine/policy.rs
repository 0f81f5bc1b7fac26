//! Which peers a relay may reach, decided on what an address really names.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use ipnet::IpNet;

mod reach;

pub(super) use reach::canonical;

use reach::Reach;

/// The peers that clients may name. `deny` and what is this server's own win over all, then its own relayed addresses,
/// then `allow`, then the built-in list.
#[derive(Clone, Debug, Default)]
pub struct PeerPolicy {
    /// Development: private, shared and unique local addresses and loopback are allowed.
    pub allow_private_and_loopback: bool,
    /// Allowed by name.
    pub allow: Vec<IpNet>,
    /// Denied by name.
    pub deny: Vec<IpNet>,
    /// This server's own relayed addresses, as clients see them: two clients of one server are each other's peers.
    pub relayed: Vec<(IpAddr, RangeInclusive<u16>)>,
    /// Which public address, as clients see it, leads to which one of this machine's, where they differ. An unspecified
    /// one means every one of this machine, loopback included.
    pub translated: Vec<(IpAddr, IpAddr)>,
    /// All addresses of this machine.
    pub own_addresses: Vec<IpAddr>,
    /// This server's own listeners, and the store behind it: a relay that talks to them could loop
    /// ([RFC 8656 §21.1.7](https://www.rfc-editor.org/rfc/rfc8656#section-21.1.7)), or read what is nobody's. An
    /// unspecified address means the port on every address of this machine, loopback and relayed ones included.
    pub own_listeners: Vec<SocketAddr>,
}

/// Why a peer is not to be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denial {
    /// A private, shared or unique local address. Every browser names those of its own network: ordinary ICE.
    Private,
    /// Loopback.
    Loopback,
    /// A link-local address; metadata services of clouds have one.
    LinkLocal,
    /// An unspecified, multicast, broadcast or reserved address, or port 0.
    Reserved,
    /// A listener of this server, or its store.
    Own,
    /// Denied by name.
    Named,
}

impl Denial {
    /// Every reason, in the order of their counters.
    pub const ALL: [Self; 6] = [
        Self::Private,
        Self::Loopback,
        Self::LinkLocal,
        Self::Reserved,
        Self::Own,
        Self::Named,
    ];

    /// One word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Loopback => "loopback",
            Self::LinkLocal => "link_local",
            Self::Reserved => "reserved",
            Self::Own => "own",
            Self::Named => "named",
        }
    }

    /// Whether a browser that means no harm would ask for such a peer.
    pub(super) fn is_ordinary(self) -> bool {
        match self {
            Self::Private => true,
            Self::Loopback | Self::LinkLocal | Self::Reserved | Self::Own | Self::Named => false,
        }
    }
}

impl PeerPolicy {
    /// Whether a permission may be installed for this address, whatever the port.
    ///
    /// # Errors
    /// Why not.
    pub fn check_ip(&self, ip: IpAddr) -> Result<(), Denial> {
        let peer = canonical(ip);
        self.check_names(ip, peer)?;
        let own_relays = |(own, _): &(IpAddr, RangeInclusive<u16>)| is_same(*own, ip);
        match self.relayed.iter().any(own_relays) {
            true => Ok(()),
            false => self.check_range(ip, peer),
        }
    }

    /// Whether a datagram may be sent to this address and port, or a connection opened.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, addr: SocketAddr) -> Result<(), Denial> {
        let (peer, port) = (canonical(addr.ip()), addr.port());
        self.check_names(addr.ip(), peer)?;
        if port == 0 {
            return Err(Denial::Reserved);
        }
        if self.listens_on(peer, port) {
            return Err(Denial::Own);
        }
        let own_relay = |(own, ports): &(IpAddr, RangeInclusive<u16>)| {
            is_same(*own, addr.ip()) && ports.contains(&port)
        };
        if self.relayed.iter().any(own_relay) {
            return Ok(());
        }
        // By this address nobody could tell whose they are.
        match self.relays_behind(peer, port) {
            true => Err(Denial::Own),
            false => self.check_range(addr.ip(), peer),
        }
    }

    /// Whether a permission may be installed for this address, whatever the port.
    #[must_use]
    pub fn permits_ip(&self, ip: IpAddr) -> bool {
        self.check_ip(ip).is_ok()
    }

    /// Whether a datagram may be sent to this address and port, or a connection opened.
    #[must_use]
    pub fn permits(&self, addr: SocketAddr) -> bool {
        self.check(addr).is_ok()
    }

    /// Nothing may be relayed to this address and port, nor, if it is one of this machine's, to that port of another.
    pub fn keep_from(&mut self, addr: SocketAddr) {
        let ip = canonical(addr.ip());
        let kept = match ip.is_loopback() || self.is_own(ip) {
            true => SocketAddr::from(([0, 0, 0, 0], addr.port())),
            false => SocketAddr::new(ip, addr.port()),
        };
        self.own_listeners.push(kept);
    }

    /// The address as it came counts too: `deny = 2002::/16` must hold for all of 6to4.
    fn check_names(&self, ip: IpAddr, peer: IpAddr) -> Result<(), Denial> {
        let names = |net: &IpNet| net.contains(&ip) || net.contains(&peer);
        match self.deny.iter().any(names) {
            true => Err(Denial::Named),
            false => Ok(()),
        }
    }

    fn relays_on(&self, peer: IpAddr) -> bool {
        self.relayed.iter().any(|(own, _)| canonical(*own) == peer)
    }

    /// Whether one of its relay sockets is really there, where clients are told another address.
    fn relays_behind(&self, peer: IpAddr, port: u16) -> bool {
        let relays_at = |public: &IpAddr| {
            let mut relayed = self.relayed.iter();
            relayed.any(|(own, ports)| own == public && ports.contains(&port))
        };
        let mut translated = self.translated.iter();
        translated.any(|(public, local)| self.is_at(*local, peer) && relays_at(public))
    }

    fn is_own(&self, peer: IpAddr) -> bool {
        self.own_addresses.contains(&peer) || self.relays_on(peer)
    }

    fn listens_on(&self, peer: IpAddr, port: u16) -> bool {
        let mut same_port = self.own_listeners.iter().filter(|own| own.port() == port);
        same_port.any(|own| self.is_at(own.ip(), peer))
    }

    /// Whether what is bound to `own` is reached by this address.
    fn is_at(&self, own: IpAddr, peer: IpAddr) -> bool {
        let own = canonical(own);
        if own.is_unspecified() {
            return peer.is_loopback() || self.is_own(peer);
        }
        let leads_there = |(public, local): &(IpAddr, IpAddr)| {
            canonical(*public) == peer && (local.is_unspecified() || canonical(*local) == own)
        };
        own == peer || self.translated.iter().any(leads_there)
    }

    /// An embedding is as good as the worse of what carries and what is carried: an ISATAP interface id fits behind
    /// any prefix, `ff02::` too.
    fn check_range(&self, ip: IpAddr, peer: IpAddr) -> Result<(), Denial> {
        if self.allow.iter().any(|net| net.contains(&peer)) {
            return Ok(());
        }
        let denied = [peer, ip].into_iter().find_map(|ip| match Reach::of(ip) {
            Reach::Global => None,
            Reach::Private => (!self.allow_private_and_loopback).then_some(Denial::Private),
            Reach::Loopback => (!self.allow_private_and_loopback).then_some(Denial::Loopback),
            Reach::LinkLocal => Some(Denial::LinkLocal),
            Reach::Reserved => Some(Denial::Reserved),
        });
        denied.map_or(Ok(()), Err)
    }
}

/// Whether they are one address, an IPv4-mapped one too. What merely carries it, behind whatever prefix, is another.
fn is_same(own: IpAddr, ip: IpAddr) -> bool {
    own.to_canonical() == ip.to_canonical()
}

#[cfg(test)]
mod tests;

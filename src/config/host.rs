//! The machine under us, read once: its cores and its addresses.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    thread,
};

use nix::{ifaddrs::getifaddrs, net::if_::InterfaceFlags};

/// What `auto` and the defaults are made of.
#[derive(Clone, Debug, Default)]
pub struct Host {
    /// Cores that this process may use.
    pub cores: usize,
    /// The addresses that packets to the internet would leave from: one for each family with a default route.
    pub default_route: Vec<IpAddr>,
    /// All addresses of the interfaces that are up.
    pub interfaces: Vec<Interface>,
}

/// One address on one interface.
#[derive(Clone, Debug)]
pub struct Interface {
    /// As the kernel calls it.
    pub name: String,
    /// The address.
    pub ip: IpAddr,
}

impl Host {
    /// Reads it.
    #[must_use]
    pub fn read() -> Self {
        let probes: [(IpAddr, IpAddr); 2] = [
            (Ipv4Addr::UNSPECIFIED.into(), ELSEWHERE_V4.into()),
            (Ipv6Addr::UNSPECIFIED.into(), ELSEWHERE_V6.into()),
        ];
        let sources = probes
            .into_iter()
            .filter_map(|(from, to)| source_towards(from, to).ok());
        Self {
            cores: thread::available_parallelism().map_or(1, usize::from),
            default_route: sources.collect(),
            interfaces: interfaces(),
        }
    }

    /// Whether an interface has this address, or any address of loopback is meant.
    #[must_use]
    pub fn has(&self, ip: IpAddr) -> bool {
        self.interface(ip).is_some() || ip.is_loopback()
    }

    /// The interface through which strangers reach this address, or the router before it.
    #[must_use]
    pub fn towards_the_internet(&self, ip: IpAddr) -> Option<&str> {
        let same_family = |route: &&IpAddr| route.is_ipv4() == ip.is_ipv4();
        let route = self.default_route.iter().find(same_family);
        route
            .and_then(|route| self.interface(*route))
            .or_else(|| self.interface(ip))
    }

    /// The interface that has this address.
    #[must_use]
    pub fn interface(&self, ip: IpAddr) -> Option<&str> {
        let mut interfaces = self.interfaces.iter();
        let interface = interfaces.find(|interface| interface.ip == ip)?;
        Some(&interface.name)
    }
}

/// Addresses retired by RFC 7526 and reserved by RFC 7343: nobody's neighbours, not even in a laboratory that plays the
/// internet with documentation addresses, so the way there is the default route.
const ELSEWHERE_V4: Ipv4Addr = Ipv4Addr::new(192, 88, 99, 1);
const ELSEWHERE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0x20, 0, 0, 0, 0, 0, 1);
/// Discard (RFC 863).
const ANY_PORT: u16 = 9;

/// The source address that the kernel's routes choose. Connecting a UDP socket sends nothing.
fn source_towards(from: IpAddr, to: IpAddr) -> io::Result<IpAddr> {
    let socket = UdpSocket::bind(SocketAddr::new(from, 0))?;
    socket.connect(SocketAddr::new(to, ANY_PORT))?;
    Ok(socket.local_addr()?.ip())
}

fn interfaces() -> Vec<Interface> {
    // Without a list, an external address must be written out; nothing else needs it.
    let Ok(addresses) = getifaddrs() else {
        return Vec::new();
    };
    let up = addresses.filter(|address| address.flags.contains(InterfaceFlags::IFF_UP));
    up.filter_map(|address| {
        let socket_address = address.address?;
        let v4 = socket_address
            .as_sockaddr_in()
            .map(|v4| IpAddr::V4(v4.ip()));
        let v6 = socket_address
            .as_sockaddr_in6()
            .map(|v6| IpAddr::V6(v6.ip()));
        Some(Interface {
            name: address.interface_name,
            ip: v4.or(v6)?,
        })
    })
    .collect()
}

//! Which process has which local port, as the kernel tells it in /proc.

use std::{
    fmt, fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use crate::relay::engine::five_tuple::Transport;

/// What a port is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Udp,
    Tcp,
}

/// A process that has a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) name: String,
}

/// All sockets that are bound for UDP, and all that listen for TCP.
#[derive(Clone, Debug, Default)]
pub(super) struct Sockets(Vec<Entry>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    protocol: Protocol,
    local: SocketAddr,
    inode: u64,
}

impl Protocol {
    /// What carries a transport.
    pub(super) fn of(transport: Transport) -> Self {
        match transport {
            Transport::Udp | Transport::Dtls => Self::Udp,
            Transport::Tcp | Transport::Tls => Self::Tcp,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        }
    }
}

impl Process {
    /// Whether it is a server of our kind.
    pub(super) fn is_setu(&self) -> bool {
        self.name == "setu"
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid)
    }
}

impl Sockets {
    /// Those of this network namespace.
    pub(super) fn read() -> Self {
        let tables = [
            ("udp", Protocol::Udp),
            ("udp6", Protocol::Udp),
            ("tcp", Protocol::Tcp),
            ("tcp6", Protocol::Tcp),
        ];
        let read = |(table, protocol)| {
            let text = fs::read_to_string(format!("/proc/self/net/{table}"));
            parse(&text.unwrap_or_default(), protocol)
        };
        Self(tables.into_iter().flat_map(read).collect())
    }

    /// Who stands in the way of this address; `None` where that is another user's secret.
    pub(super) fn owner(&self, protocol: Protocol, addr: SocketAddr) -> Option<Process> {
        let same_port =
            |entry: &&Entry| entry.protocol == protocol && entry.local.port() == addr.port();
        let mut entries: Vec<_> = self.0.iter().filter(same_port).collect();
        // A wildcard of IPv6 may hold the IPv4 port too.
        entries.sort_by_key(|entry| !overlaps(entry.local, addr));
        process_of(entries.first()?.inode)
    }

    /// The ports of `range` that somebody has on one of these addresses, each with the inode of its socket.
    pub(super) fn taken_udp(
        &self,
        ips: &[IpAddr],
        range: &std::ops::RangeInclusive<u16>,
    ) -> impl Iterator<Item = (u16, u64)> {
        let stands_in_the_way = |entry: &&Entry| {
            let Entry {
                protocol, local, ..
            } = entry;
            // A wildcard of IPv6 may hold the IPv4 port too.
            let is_any = local.ip() == Ipv6Addr::UNSPECIFIED;
            let is_on = |ip: &IpAddr| is_any || overlaps(*local, SocketAddr::new(*ip, 0));
            *protocol == Protocol::Udp && range.contains(&local.port()) && ips.iter().any(is_on)
        };
        let entries = self.0.iter().filter(stands_in_the_way);
        entries.map(|entry| (entry.local.port(), entry.inode))
    }
}

fn overlaps(one: SocketAddr, other: SocketAddr) -> bool {
    let same_family = one.is_ipv4() == other.is_ipv4();
    let is_any = one.ip().is_unspecified() || other.ip().is_unspecified();
    same_family && (is_any || one.ip() == other.ip())
}

/// Listening, as `include/net/tcp_states.h` numbers it.
const TCP_LISTEN: &str = "0A";

fn parse(table: &str, protocol: Protocol) -> Vec<Entry> {
    let entry = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        if protocol == Protocol::Tcp && *state != TCP_LISTEN {
            return None;
        }
        Some(Entry {
            protocol,
            local: address(local)?,
            inode: inode.parse().ok()?,
        })
    };
    table.lines().skip(1).filter_map(entry).collect()
}

/// `0100007F:0D96`: words of 32 bits in the machine's order, then the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::with_capacity(16);
    for at in (0..ip.len()).step_by(8) {
        let word = u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?;
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    let ip = match *bytes {
        [a, b, c, d] => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        _ => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
    };
    Some(SocketAddr::new(ip, port))
}

/// The process that has the socket open; of several, the first.
pub(super) fn process_of(inode: u64) -> Option<Process> {
    let wanted = format!("socket:[{inode}]");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let pid = pids.find(|pid| has(*pid, &wanted))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(Process {
        pid,
        name: name.trim().to_owned(),
    })
}

fn has(pid: u32, wanted: &str) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    let mut links = descriptors
        .flatten()
        .map(|entry| fs::read_link(entry.path()));
    links.any(|link| link.is_ok_and(|link| link == Path::new(wanted)))
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn the_kernels_table_is_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:0D96 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0\n\
            1: 0100007F:0D97 00000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0\n";
        let entries = parse(table, Protocol::Tcp);
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].local, "127.0.0.1:3478".parse().unwrap());
        assert_eq!(entries[0].inode, 4711);
        let any = address("00000000000000000000000001000000:14E5");
        assert_eq!(any, Some("[::1]:5349".parse().unwrap()));
        assert_eq!(address("0100:1"), None);
    }

    #[test]
    fn a_port_is_taken_where_it_could_not_be_bound() {
        let cases = [
            ("192.0.2.1:49160", true),
            ("0.0.0.0:49160", true),
            ("[::]:49160", true),
            ("192.0.2.2:49160", false),
            ("[2001:db8::1]:49160", false),
            ("192.0.2.1:49201", false),
        ];
        for (local, is_taken) in cases {
            let entry = Entry {
                protocol: Protocol::Udp,
                local: local.parse().unwrap(),
                inode: 7,
            };
            let ips = ["192.0.2.1".parse().unwrap()];
            let sockets = Sockets(vec![entry]);
            let taken: Vec<_> = sockets.taken_udp(&ips, &(49160..=49200)).collect();
            let expected = if is_taken { vec![(49160, 7)] } else { vec![] };
            assert_eq!(taken, expected, "{local}");
        }
    }

    #[test]
    fn a_socket_of_this_very_process_is_found() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let addr = socket.local_addr().unwrap();
        let owner = Sockets::read().owner(Protocol::Udp, addr).unwrap();
        assert_eq!(owner.pid, std::process::id());
    }
}

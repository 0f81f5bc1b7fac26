//! The relay's ports: how many people they carry, who else has some, and whether packets come in.

use std::{
    collections::HashSet,
    fs, io,
    net::{IpAddr, SocketAddr, UdpSocket},
    ops::RangeInclusive,
    time::Duration,
};

use super::firewall::{Firewall, Packet};
use super::report::Finding;
use super::sockets::{Process, Protocol, Sockets, process_of};
use crate::config::{Config, host::Host};
use crate::entropy;
use crate::relay::engine::PortSharing;

/// How big the range is for `people` who are all relayed, if anybody said how many are expected.
pub(super) fn size(
    range: &RangeInclusive<u16>,
    sharing: PortSharing,
    people: Option<u32>,
) -> Finding {
    let ports = range.len();
    let is_shared = match sharing {
        PortSharing::WhenFull | PortSharing::Always => true,
        PortSharing::Never => false,
    };
    let mut carried = format!(
        "{}-{}, {ports} ports: sure to carry {} people who are all relayed to each other, {} at best",
        range.start(),
        range.end(),
        people_on(ports, URLS),
        people_on(ports, 1),
    );
    if is_shared {
        let sharing = people_on(ports.saturating_mul(SHARED_BY), URLS);
        carried.push_str(&format!(
            ", each on ports of their own; and {sharing} where some share a port (turn.port_sharing)"
        ));
    }
    let expected = people.map_or(2, |people| usize::try_from(people).unwrap_or(usize::MAX));
    let wanted = match is_shared {
        true => allocations(expected, URLS)
            .div_ceil(SHARED_BY)
            .max(allocations(2, URLS)),
        false => allocations(expected, URLS),
    };
    if wanted <= ports {
        return Finding::ok("relay_range", carried);
    }
    let first = u32::from(u16::MAX).saturating_sub(u32::try_from(wanted).unwrap_or(u32::MAX)) + 1;
    let fix = match first {
        0..1024 => {
            "more than one machine has ports for: use several nodes (store.redis_url)".to_owned()
        }
        _ => {
            let first = first.min(u32::from(*range.start()));
            let last =
                (first + u32::try_from(wanted).unwrap_or(0) - 1).max(u32::from(*range.end()));
            format!("set turn.relay_ports = \"{first}-{last}\", and open it in the firewall")
        }
    };
    let found = format!("{carried}; {expected} may need {wanted} ports");
    Finding::warning("relay_range", found, fix)
}

/// So many are sure to find room for all their allocations.
fn people_on(room: usize, urls: usize) -> usize {
    (1..)
        .take_while(|n| allocations(*n, urls) <= room)
        .last()
        .unwrap_or(1)
}

/// Each of `people` has a connection to every other, and an allocation of it for each URL.
fn allocations(people: usize, urls: usize) -> usize {
    let others = people.saturating_sub(1);
    people.saturating_mul(others).saturating_mul(urls)
}

/// UDP, TCP and TLS: a browser may allocate over each.
const URLS: usize = 3;
/// How many allocations on one port are known to be told apart well: a thousand on the forty-one of the default range.
const SHARED_BY: usize = 24;

/// Whether others have ports of the range, and whether what is sent to it arrives.
pub(super) fn examine(
    config: &Config,
    host: &Host,
    sockets: &Sockets,
    running: Option<&Process>,
    firewall: &Firewall,
) -> Finding {
    let range = &config.relay.relay_ports;
    let own = running
        .map(|process| inodes(process.pid))
        .unwrap_or_default();
    let ips: Vec<_> = config.relay.external.iter().map(|own| own.local).collect();
    let taken: Vec<_> = sockets.taken_udp(&ips, range).collect();
    let foreign: Vec<_> = taken
        .iter()
        .filter(|(_, inode)| !own.contains(inode))
        .collect();
    let ports: HashSet<u16> = foreign.iter().map(|(port, _)| *port).collect();
    if ports.len() * 4 > range.len() {
        let whose = foreign.iter().find_map(|(_, inode)| process_of(*inode));
        let whose = whose.map_or("other processes".to_owned(), |process| process.to_string());
        let found = format!(
            "{} of the {} ports {}-{} are taken by {whose}",
            ports.len(),
            range.len(),
            range.start(),
            range.end()
        );
        let fix = "stop it, or set turn.relay_ports to a range that nobody else uses";
        return match ports.len() == range.len() {
            true => Finding::failure(CHECK, found, fix),
            false => Finding::warning(CHECK, found, fix),
        };
    }
    let taken: HashSet<u16> = taken.iter().map(|(port, _)| *port).collect();
    if let Some(finding) = receives(config, host, &taken, firewall) {
        return finding;
    }
    let ephemeral =
        fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let reserved =
        fs::read_to_string("/proc/sys/net/ipv4/ip_local_reserved_ports").unwrap_or_default();
    Finding::ok(
        CHECK,
        format!(
            "free, and what is sent to them arrives{}",
            shared(range, &ephemeral, &reserved)
        ),
    )
}

const CHECK: &str = "relay_ports";

/// What to say where the kernel gives ports of the range to outgoing connections.
fn shared(range: &RangeInclusive<u16>, ephemeral: &str, reserved: &str) -> String {
    let bounds: Vec<u16> = ephemeral
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    let [first, last] = bounds[..] else {
        return String::new();
    };
    let is_reserved = reserved.trim().split(',').any(|part| {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        let bounds = low.parse::<u16>().ok().zip(high.parse::<u16>().ok());
        bounds.is_some_and(|(low, high)| low <= *range.start() && *range.end() <= high)
    });
    if is_reserved || last < *range.start() || *range.end() < first {
        return String::new();
    }
    format!(
        "; this machine's own outgoing sockets may take some now and then (net.ipv4.ip_local_port_range is {first}-{last}): \
         sysctl -w net.ipv4.ip_local_reserved_ports={}-{} keeps them off",
        range.start(),
        range.end()
    )
}

/// `None`: what was sent to the ports that were tried came in, or could not be tried.
fn receives(
    config: &Config,
    host: &Host,
    taken: &HashSet<u16>,
    firewall: &Firewall,
) -> Option<Finding> {
    let range = &config.relay.relay_ports;
    let middle = range.start() + (range.end() - range.start()) / 2;
    for external in &config.relay.external {
        let is_here = host.has(external.public);
        let target = match (is_here, external.local.is_unspecified()) {
            (true, _) => external.public,
            (false, false) => external.local,
            (false, true) => continue,
        };
        let free = [*range.start(), middle, *range.end()];
        for port in free.into_iter().filter(|port| !taken.contains(port)) {
            match arrives(external.local, SocketAddr::new(target, port)) {
                Ok(true) => {}
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Ok(false) => return Some(closed(range, SocketAddr::new(target, port), firewall)),
                Err(error) => {
                    return Some(Finding::failure(
                        CHECK,
                        format!("port {port} of {target} can't be used: {error}"),
                        "see turn.external_ip and turn.relay_ports",
                    ));
                }
            }
        }
    }
    None
}

fn closed(range: &RangeInclusive<u16>, addr: SocketAddr, firewall: &Firewall) -> Finding {
    let ports = format!("{}-{}", range.start(), range.end());
    let (by, fix) = match firewall.closes(&Packet::to(Protocol::Udp, addr)) {
        Some(closed) => (closed.by.clone(), closed.fix(&format!("udp dport {ports}"))),
        None => (
            "something on this machine blocks it".to_owned(),
            format!(
                "open {ports}/udp in the firewall (ufw allow {}/udp)",
                ports.replace('-', ":")
            ),
        ),
    };
    Finding::failure(
        CHECK,
        format!("UDP to relay port {addr} does not arrive: {by}"),
        fix,
    )
}

/// Whether a datagram from this machine gets there.
fn arrives(bind: IpAddr, to: SocketAddr) -> io::Result<bool> {
    let receiver = UdpSocket::bind(SocketAddr::new(bind, to.port()))?;
    receiver.set_read_timeout(Some(WAIT))?;
    let sender = UdpSocket::bind(SocketAddr::new(to.ip(), 0))?;
    let payload: [u8; 16] = entropy::bytes();
    for _ in 0..TRIES {
        if sender.send_to(&payload, to).is_err() {
            // An output rule that rejects.
            return Ok(false);
        }
        let mut heard = [0; 16];
        if receiver.recv(&mut heard).is_ok() && heard == payload {
            return Ok(true);
        }
    }
    Ok(false)
}

const WAIT: Duration = Duration::from_millis(250);
const TRIES: usize = 2;

/// All sockets of a process.
fn inodes(pid: u32) -> HashSet<u64> {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return HashSet::new();
    };
    let links = descriptors
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok());
    let inode = |link: std::path::PathBuf| {
        let text = link
            .to_str()?
            .strip_prefix("socket:[")?
            .strip_suffix(']')?
            .parse();
        text.ok()
    };
    links.filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    use super::super::report::Status;
    use super::*;

    #[test]
    fn a_range_carries_so_many_people() {
        assert_eq!((people_on(41, 3), people_on(41, 1)), (4, 6));
        let (full, small) = (49160..=49200, 49160..=49163);
        let wider = "turn.relay_ports = \"49160-49219\"";
        use PortSharing::{Always, Never, WhenFull};
        let cases = [
            (&full, Never, None, Status::Ok, ""),
            (&full, Never, Some(4), Status::Ok, ""),
            (&full, Never, Some(5), Status::Warning, wider),
            (&small, Never, None, Status::Warning, "turn.relay_ports"),
            (&full, Never, Some(1000), Status::Warning, "several nodes"),
            (&full, WhenFull, Some(18), Status::Ok, ""),
            (&full, Always, Some(18), Status::Ok, ""),
            (
                &full,
                WhenFull,
                Some(19),
                Status::Warning,
                "turn.relay_ports",
            ),
            (&small, WhenFull, None, Status::Warning, "turn.relay_ports"),
            (
                &full,
                WhenFull,
                Some(2000),
                Status::Warning,
                "several nodes",
            ),
        ];
        for (range, sharing, people, status, fix) in cases {
            let finding = size(range, sharing, people);
            assert_eq!(finding.status, status, "{finding:?}");
            assert!(
                finding.fix.as_deref().unwrap_or_default().contains(fix),
                "{finding:?}"
            );
        }
    }

    #[test]
    fn what_the_kernel_gives_away_is_said() {
        let range = 49160..=49200;
        assert!(shared(&range, "32768\t60999\n", "\n").contains("49160-49200"));
        assert!(shared(&range, "32768\t60999\n", "1,49000-49300\n").is_empty());
        assert!(shared(&range, "20000\t40000\n", "\n").is_empty());
    }
}

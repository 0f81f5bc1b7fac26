//! What clients are told: the external addresses, the ports for relaying, other servers.

use std::net::{IpAddr, SocketAddr};

use super::addresses::{ips, unread};
use super::coturn::Coturn;
use super::draft::Draft;
use crate::config::values;

/// What coturn relays on unless told otherwise.
const RELAY_PORTS: (u32, u32) = (49152, 65535);

/// The public addresses, each with the one of this machine that it stands for: one for each IP version.
pub(super) fn convert(coturn: &Coturn, listening: &[IpAddr], draft: &mut Draft) {
    relay_ports(coturn, draft);
    let relays = ips(coturn, "relay-ip", draft);
    let mut entries: Vec<(IpAddr, String)> = Vec::new();
    let mut taken = Vec::new();
    for line in coturn.all("external-ip") {
        let (public, private) = match line.value.split_once('/') {
            Some((public, private)) => (public, Some(private)),
            None => (line.value.as_str(), None),
        };
        let private = private.map(str::parse::<IpAddr>).transpose();
        let (Ok(public), Ok(private)) = (public.parse::<IpAddr>(), private) else {
            draft.lose(line, &unread(&line.value, "an address, or public/private"));
            continue;
        };
        let relay = relays.iter().find(|ip| ip.is_ipv4() == public.is_ipv4());
        let own = private.or(relay.copied()).filter(|own| *own != public);
        let is_usable = own.is_none_or(|own| own.is_ipv4() == public.is_ipv4());
        if !is_usable || is_nowhere(public) {
            draft.lose(line, &unread(&line.value, "an address, or public/private"));
        } else if entries
            .iter()
            .any(|(ip, _)| ip.is_ipv4() == public.is_ipv4())
        {
            draft.lose(line, "Setu has one external address for each IP version: a second server is for the second");
        } else {
            let own = own.map(|own| format!("/{own}")).unwrap_or_default();
            entries.push((public, format!("{public}{own}")));
            taken.push("external-ip");
        }
    }
    for (ips, name) in [(relays.as_slice(), "relay-ip"), (listening, "listening-ip")] {
        for ip in ips.iter().filter(|ip| !is_nowhere(**ip)) {
            if !entries
                .iter()
                .any(|(other, _)| other.is_ipv4() == ip.is_ipv4())
            {
                entries.push((*ip, ip.to_string()));
                taken.push(name);
            }
        }
    }
    second_relays(coturn, draft);
    if !entries.is_empty() {
        let entries: Vec<_> = entries.into_iter().map(|(_, entry)| entry).collect();
        taken.dedup();
        draft.set("turn", "external_ip", entries, coturn.origin(&taken));
    }
}

fn second_relays(coturn: &Coturn, draft: &mut Draft) {
    let mut seen = Vec::new();
    for line in coturn.all("relay-ip") {
        let Ok(ip) = line.value.trim_matches(['[', ']']).parse::<IpAddr>() else {
            continue;
        };
        if seen.contains(&ip.is_ipv4()) {
            draft.lose(line, "Setu relays from one address for each IP version");
        }
        seen.push(ip.is_ipv4());
    }
}

fn relay_ports(coturn: &Coturn, draft: &mut Draft) {
    let first = coturn.number("min-port").unwrap_or(RELAY_PORTS.0);
    let last = coturn.number("max-port").unwrap_or(RELAY_PORTS.1);
    let range = format!("{first}-{last}");
    match values::port_range(&range) {
        Ok(_) => {
            let origin = coturn.origin(&["min-port", "max-port"]);
            draft.set("turn", "relay_ports", range, origin);
        }
        Err(problem) => {
            let line = coturn.last("max-port").or_else(|| coturn.last("min-port"));
            if let Some(line) = line {
                draft.lose(line, &format!("{range}: {problem}"));
            }
        }
    }
}

/// Other servers. Without a port, one is for UDP, TCP and TLS alike. `ports`: coturn's default and what is listened on
/// here, in clear and over TLS.
pub(super) fn alternates(coturn: &Coturn, ports: [(u16, u16); 2], draft: &mut Draft) {
    let mut entries: Vec<String> = Vec::new();
    let kinds = [
        ("alternate-server", ports[0], true),
        ("tls-alternate-server", ports[1], false),
    ];
    for (name, (usual, here), may_name_port) in kinds {
        for line in coturn.all(name) {
            let Some(addr) = with_port(&line.value, usual).filter(|addr| !is_nowhere(addr.ip()))
            else {
                draft.lose(line, &unread(&line.value, "an address, or address:port"));
                continue;
            };
            let entry = match (addr.port() == here, may_name_port) {
                (true, _) => addr.ip().to_string(),
                (false, true) => addr.to_string(),
                (false, false) => {
                    draft.lose(
                        line,
                        "Setu would send clients of UDP and TCP to this port too",
                    );
                    continue;
                }
            };
            if !entries.contains(&entry) {
                entries.push(entry);
            }
        }
    }
    if !entries.is_empty() {
        let origin = coturn.origin(&["alternate-server", "tls-alternate-server"]);
        let origin =
            format!("{origin}: for when this server is full; coturn sent all clients there");
        draft.set("turn", "alternate_servers", entries, origin);
    }
}

fn with_port(text: &str, usual: u16) -> Option<SocketAddr> {
    let addr = text.parse::<SocketAddr>().ok();
    let bare = || text.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    addr.filter(|addr| addr.port() != 0)
        .or_else(|| Some(SocketAddr::new(bare()?, usual)))
}

/// Whether nobody can be told this address.
fn is_nowhere(ip: IpAddr) -> bool {
    ip.is_unspecified() || ip.is_multicast()
}

//! Where this server is reached: its listeners.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::coturn::Coturn;
use super::draft::{Draft, printable};
use super::external;

/// Where coturn listens unless told otherwise.
const PORT: u16 = 3478;
const TLS_PORT: u16 = 5349;
const METRICS_PORT: u16 = 9641;

/// Writes where this server is reached.
pub(super) fn convert(coturn: &Coturn, has_v6: bool, draft: &mut Draft) {
    // HTTP hands out credentials, and coturn had nothing of the kind.
    draft.set(
        "http",
        "listen",
        vec!["127.0.0.1:3001"],
        "Signaling and /ice-servers: for this machine only, until you say who may be given credentials ([access])",
    );
    let ips = ips(coturn, "listening-ip", draft);
    let port = port(coturn, "listening-port", PORT, draft);
    let tls_port = self::port(coturn, "tls-listening-port", TLS_PORT, draft);
    let clear = Listeners {
        ips: &ips,
        has_v6,
        port,
        usual: PORT,
        port_key: "listening-port",
        more: auxiliary(coturn, draft),
    };
    clear.write(coturn, ("listen_udp", "no-udp"), draft);
    clear.write(coturn, ("listen_tcp", "no-tcp"), draft);
    let tls = Listeners {
        port: tls_port,
        usual: TLS_PORT,
        port_key: "tls-listening-port",
        more: Vec::new(),
        ..clear
    };
    tls.write(coturn, ("listen_tls", "no-tls"), draft);
    tls.write(coturn, ("listen_dtls", "no-dtls"), draft);
    alternate_port(coturn, port, draft);
    external::convert(coturn, &ips, draft);
    external::alternates(coturn, [(PORT, port), (TLS_PORT, tls_port)], draft);
    metrics(coturn, has_v6, draft);
}

/// The lists of one port.
struct Listeners<'c> {
    ips: &'c [IpAddr],
    has_v6: bool,
    port: u16,
    usual: u16,
    port_key: &'static str,
    more: Vec<SocketAddr>,
}

impl Listeners<'_> {
    fn write(&self, coturn: &Coturn, (key, off): (&'static str, &str), draft: &mut Draft) {
        if coturn.has(off) {
            return draft.set("turn", key, Vec::<String>::new(), coturn.origin(&[off]));
        }
        if self.ips.is_empty() && self.port == self.usual && self.more.is_empty() {
            return;
        }
        let anywhere = anywhere(self.has_v6);
        let ips = if self.ips.is_empty() {
            &anywhere
        } else {
            self.ips
        };
        let mut addrs: Vec<_> = ips
            .iter()
            .map(|ip| SocketAddr::new(*ip, self.port))
            .collect();
        addrs.extend(&self.more);
        let mut origins = vec!["listening-ip", self.port_key];
        origins.extend((!self.more.is_empty()).then_some("aux-server"));
        draft.set("turn", key, listed(&addrs), coturn.origin(&origins));
    }
}

fn auxiliary(coturn: &Coturn, draft: &mut Draft) -> Vec<SocketAddr> {
    let mut addrs = Vec::new();
    for line in coturn.all("aux-server") {
        match line.value.parse::<SocketAddr>() {
            Ok(addr) if addr.port() != 0 && !addrs.contains(&addr) => addrs.push(addr),
            Ok(_) => {}
            Err(_) => draft.lose(line, &unread(&line.value, "an address with a port")),
        }
    }
    addrs
}

fn alternate_port(coturn: &Coturn, port: u16, draft: &mut Draft) {
    if coturn.has("no-rfc5780") {
        draft.set("turn", "alternate_port", 0, coturn.origin(&["no-rfc5780"]));
        return;
    }
    let written = self::port(coturn, "alt-listening-port", 0, draft);
    let after = port.saturating_add(1);
    let alternate = if written == 0 { after } else { written };
    if alternate != PORT + 1 {
        let origin = coturn.origin(&["alt-listening-port", "listening-port"]);
        draft.set("turn", "alternate_port", i64::from(alternate), origin);
    }
}

fn metrics(coturn: &Coturn, has_v6: bool, draft: &mut Draft) {
    if !coturn.has("prometheus") {
        return;
    }
    let ips = ips(coturn, "prometheus-address", draft);
    let port = port(coturn, "prometheus-port", METRICS_PORT, draft);
    let anywhere = anywhere(has_v6);
    let ips = if ips.is_empty() { &anywhere } else { &ips };
    let addrs: Vec<_> = ips.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
    let origin = coturn.origin(&["prometheus", "prometheus-address", "prometheus-port"]);
    let origin = format!("{origin}: whoever reaches it may read it, as with coturn");
    draft.set("metrics", "listen", listed(&addrs), origin);
}

/// The addresses of a key that may stand there several times, each once.
pub(super) fn ips(coturn: &Coturn, name: &str, draft: &mut Draft) -> Vec<IpAddr> {
    let mut ips = Vec::new();
    for line in coturn.all(name) {
        match line.value.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(ip) if !ips.contains(&ip) => ips.push(ip),
            Ok(_) => {}
            Err(_) => draft.lose(line, &unread(&line.value, "an address")),
        }
    }
    ips
}

fn port(coturn: &Coturn, name: &str, usual: u16, draft: &mut Draft) -> u16 {
    let Some(line) = coturn.last(name) else {
        return usual;
    };
    match line.value.parse::<u16>() {
        Ok(0) => usual,
        Ok(port) => port,
        Err(_) => {
            draft.lose(line, &unread(&line.value, "a port"));
            usual
        }
    }
}

fn anywhere(has_v6: bool) -> Vec<IpAddr> {
    let mut ips = vec![Ipv4Addr::UNSPECIFIED.into()];
    ips.extend(has_v6.then_some(IpAddr::from(Ipv6Addr::UNSPECIFIED)));
    ips
}

fn listed(addrs: &[SocketAddr]) -> Vec<String> {
    let mut listed: Vec<String> = Vec::new();
    for addr in addrs.iter().map(SocketAddr::to_string) {
        if !listed.contains(&addr) {
            listed.push(addr);
        }
    }
    listed
}

/// What to say of a value.
pub(super) fn unread(value: &str, wanted: &str) -> String {
    format!("{:?} is not {wanted}", printable(value))
}

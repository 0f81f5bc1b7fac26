//! The ports that are listened on: free, or whose.

use std::{io, net::SocketAddr};

use nix::libc;
use socket2::{Domain, Socket, Type};

use super::report::Finding;
use super::sockets::{Process, Protocol, Sockets};
use crate::config::Config;
use crate::relay::Listen;

/// What one key lets listen.
#[derive(Clone, Debug)]
pub(super) struct Door {
    check: &'static str,
    key: &'static str,
    protocol: Protocol,
    pub(super) ports: Vec<Port>,
}

/// One address of it.
#[derive(Clone, Debug)]
pub(super) struct Port {
    pub(super) listen: Listen,
    pub(super) state: State,
}

/// Whether a server could listen there now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Free,
    /// By a running server of our kind.
    Ours(Option<Process>),
    /// By whom, if that can be seen.
    Taken(Option<Process>),
    /// No interface has the address, or the machine lacks the family.
    Elsewhere,
    /// Below 1024, without the right to.
    Privileged,
    Refused(String),
}

/// Every door there is.
#[derive(Clone, Debug)]
pub(super) struct Doors {
    pub(super) http: Door,
    pub(super) udp: Door,
    pub(super) tcp: Door,
    pub(super) tls: Door,
    pub(super) dtls: Door,
    /// What only some have: listeners of metrics' own, and where an authority looks for proof.
    others: Vec<Door>,
}

impl Doors {
    pub(super) fn try_all(config: &Config, sockets: &Sockets) -> Self {
        let relay = &config.relay;
        let door = |check, key, protocol, listens: &[Listen]| Door {
            check,
            key,
            protocol,
            ports: listens
                .iter()
                .map(|listen| Port {
                    listen: *listen,
                    state: state(protocol, listen.addr, sockets),
                })
                .collect(),
        };
        let udp = [&relay.listen_udp[..], &relay.alternates()].concat();
        let dtls: &[Listen] = match relay.dtls {
            Some(_) => &relay.listen_dtls,
            None => &[],
        };
        use Protocol::{Tcp, Udp};
        let metrics = &config.http.metrics_listen[..];
        let acme = config.acme.as_ref().map_or(&[][..], |acme| &acme.listen);
        let others = [
            door("port.metrics", "metrics.listen", Tcp, metrics),
            door("port.acme", "acme.listen", Tcp, acme),
        ];
        Self {
            others: others
                .into_iter()
                .filter(|door| !door.ports.is_empty())
                .collect(),
            http: door("port.http", "http.listen", Tcp, &config.http.listen),
            udp: door("port.udp", "turn.listen_udp", Udp, &udp),
            tcp: door("port.tcp", "turn.listen_tcp", Tcp, &relay.listen_tcp),
            tls: door("port.tls", "turn.listen_tls", Tcp, &relay.listen_tls),
            dtls: door("port.dtls", "turn.listen_dtls", Udp, dtls),
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Door> {
        let usual = [&self.http, &self.udp, &self.tcp, &self.tls, &self.dtls];
        usual.into_iter().chain(&self.others)
    }

    fn ports(&self) -> impl Iterator<Item = &Port> {
        self.all().flat_map(|door| &door.ports)
    }

    /// The running server, where its process can be seen.
    pub(super) fn process(&self) -> Option<&Process> {
        self.ports().find_map(|port| match &port.state {
            State::Ours(process) => process.as_ref(),
            State::Free
            | State::Taken(_)
            | State::Elsewhere
            | State::Privileged
            | State::Refused(_) => None,
        })
    }

    /// Whether a server of our kind has any of the ports.
    pub(super) fn is_running(&self) -> bool {
        self.ports()
            .any(|port| matches!(port.state, State::Ours(_)))
    }

    /// What nobody can be seen behind is our server's, which has been heard over HTTP.
    pub(super) fn hidden_are_ours(&mut self) {
        let Self {
            http,
            udp,
            tcp,
            tls,
            dtls,
            others,
        } = self;
        let usual = [http, udp, tcp, tls, dtls];
        let doors = usual.into_iter().chain(others);
        for port in doors.flat_map(|door| &mut door.ports) {
            if port.state == State::Taken(None) {
                port.state = State::Ours(None);
            }
        }
    }
}

impl Door {
    /// The addresses at which somebody could be served: by the running server, or by one that we start.
    pub(super) fn usable(&self, is_running: bool) -> impl Iterator<Item = Listen> {
        let usable = move |port: &&Port| match port.state {
            State::Free => !is_running,
            State::Ours(_) => true,
            State::Taken(_) | State::Elsewhere | State::Privileged | State::Refused(_) => false,
        };
        self.ports.iter().filter(usable).map(|port| port.listen)
    }

    /// The worst of its ports.
    pub(super) fn judge(&self, is_running: bool) -> Finding {
        let Self {
            check,
            key,
            protocol,
            ports,
        } = self;
        if ports.is_empty() {
            return Finding::ok(check, format!("off: {key} is empty"));
        }
        let mut fine = Vec::new();
        for port in ports {
            let addr = format!("{}/{}", port.listen.addr, protocol.name());
            match &port.state {
                State::Taken(process) => return taken(check, key, &addr, process.as_ref()),
                State::Elsewhere if port.listen.required => {
                    return Finding::failure(
                        check,
                        format!("{addr}: no interface of this machine has this address"),
                        format!("set {key} to an address of this machine, or to 0.0.0.0 for all"),
                    );
                }
                State::Elsewhere => {}
                State::Privileged => {
                    return Finding::failure(
                        check,
                        format!("{addr}: this user may not listen below port 1024"),
                        format!(
                            "give the service CAP_NET_BIND_SERVICE, or set {key} to a higher port"
                        ),
                    );
                }
                State::Refused(reason) => {
                    return Finding::failure(
                        check,
                        format!("{addr} can't be listened on: {reason}"),
                        format!("set {key} to another address"),
                    );
                }
                State::Free if is_running => {
                    return Finding::warning(
                        check,
                        format!("setu runs, but does not listen on {addr}"),
                        format!("restart it: it was started with another {key}"),
                    );
                }
                State::Free => fine.push(format!("{addr} is free")),
                State::Ours(Some(process)) => fine.push(format!("{addr} is taken by {process}")),
                State::Ours(None) => fine.push(format!("{addr} is taken by the running setu")),
            }
        }
        Finding::ok(check, fine.join(", "))
    }
}

fn taken(check: &'static str, key: &str, addr: &str, process: Option<&Process>) -> Finding {
    let otherwise = format!("or set {key} to another port");
    let Some(process) = process else {
        return Finding::failure(
            check,
            format!("{addr} is taken by a process that this user can't see"),
            format!("run `setu check` as root to see which, and stop it; {otherwise}"),
        );
    };
    let stop = match process.name.as_str() {
        "turnserver" => "stop it (systemctl disable --now coturn)".to_owned(),
        _ => format!("stop it (kill {})", process.pid),
    };
    Finding::failure(
        check,
        format!("{addr} is taken by {process}"),
        format!("{stop}, {otherwise}"),
    )
}

fn state(protocol: Protocol, addr: SocketAddr, sockets: &Sockets) -> State {
    let Err(error) = bind(protocol, addr) else {
        return State::Free;
    };
    let missing = [libc::EAFNOSUPPORT, libc::EADDRNOTAVAIL];
    if error.kind() == io::ErrorKind::AddrInUse {
        return match sockets.owner(protocol, addr) {
            Some(process) if process.is_setu() => State::Ours(Some(process)),
            process => State::Taken(process),
        };
    }
    if error.kind() == io::ErrorKind::PermissionDenied {
        return State::Privileged;
    }
    match error.raw_os_error() {
        Some(code) if missing.contains(&code) => State::Elsewhere,
        Some(_) | None => State::Refused(error.to_string()),
    }
}

/// As the servers would, for a moment.
fn bind(protocol: Protocol, addr: SocketAddr) -> io::Result<()> {
    let kind = match protocol {
        Protocol::Udp => Type::DGRAM,
        Protocol::Tcp => Type::STREAM,
    };
    let socket = Socket::new(Domain::for_address(addr), kind, None)?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    match protocol {
        Protocol::Udp => socket.bind(&addr.into()),
        Protocol::Tcp => {
            // Connections of the past don't count.
            socket.set_reuse_address(true)?;
            socket.bind(&addr.into())?;
            socket.listen(1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Status;
    use super::*;

    #[test]
    fn a_door_is_judged_by_its_worst_port() {
        let coturn = Process {
            pid: 77,
            name: "turnserver".to_owned(),
        };
        let setu = State::Ours(Some(Process {
            pid: 78,
            name: "setu".to_owned(),
        }));
        let cases = [
            (State::Free, false, Status::Ok, "is free"),
            (State::Free, true, Status::Warning, "does not listen"),
            (setu, true, Status::Ok, "setu (pid 78)"),
            (
                State::Taken(Some(coturn)),
                false,
                Status::Failure,
                "turnserver (pid 77)",
            ),
            (State::Taken(None), false, Status::Failure, "can't see"),
            (State::Elsewhere, false, Status::Failure, "no interface"),
            (State::Privileged, false, Status::Failure, "below port 1024"),
        ];
        for (state, is_running, status, said) in cases {
            let port = |state| Port {
                listen: Listen {
                    addr: "192.0.2.1:3478".parse().unwrap(),
                    required: true,
                },
                state,
            };
            let door = Door {
                check: "port.udp",
                key: "turn.listen_udp",
                protocol: Protocol::Udp,
                ports: vec![
                    port(if is_running {
                        State::Ours(None)
                    } else {
                        State::Free
                    }),
                    port(state.clone()),
                ],
            };
            let finding = door.judge(is_running);
            assert_eq!(finding.status, status, "{state:?}");
            assert!(finding.found.contains(said), "{finding:?}");
            assert_eq!(finding.fix.is_some(), status > Status::Note, "{state:?}");
        }
    }
}

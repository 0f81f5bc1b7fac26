//! coturn's own client tools against our relay: not one message may be lost.

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use setu::relay::Listen;
use setu::relay::engine::ChannelRange;

use crate::world::{PASSWORD, SECRET, USER, World, both_loopbacks};

#[test]
fn stunclient_learns_its_reflexive_address() {
    let world = World::start();
    let port = world.udp().port().to_string();
    let (done, said) = output_of(tool("turnutils_stunclient").args(["-p", &port, "127.0.0.1"]));
    assert!(done, "{said}");
    assert!(said.contains("UDP reflexive addr: 127.0.0.1:"), "{said}");
}

#[test]
fn natdiscovery_finds_no_nat_on_loopback() {
    let [port, alternate] = two_free_ports();
    let world = World::with(|settings| {
        let on = |ip: &str| Listen {
            addr: SocketAddr::new(ip.parse().unwrap(), port),
            required: true,
        };
        settings.listen_udp = vec![on("127.0.0.1"), on("127.0.0.2")];
        settings.alternate_port = Some(alternate);
    });
    assert_eq!(world.relay.bound().udp.len(), 4);
    let ports = ["-p", &port.to_string()].map(str::to_owned);
    let discover = |what| {
        output_of(
            tool("turnutils_natdiscovery")
                .arg(what)
                .args(&ports)
                .arg("127.0.0.1"),
        )
    };
    let (done, said) = discover("-m");
    assert!(
        done && said.contains("NAT with Endpoint Independent Mapping!"),
        "{said}"
    );
    let (done, said) = discover("-f");
    assert!(
        done && said.contains("NAT with Endpoint Independent Filtering!"),
        "{said}"
    );
}

/// Free on both addresses that the test listens on.
fn two_free_ports() -> [u16; 2] {
    let bind = |ip, port| std::net::UdpSocket::bind((ip, port)).ok();
    let free = || {
        let first = bind("127.0.0.1", 0)?;
        let port = first.local_addr().ok()?.port();
        Some((port, first, bind("127.0.0.2", port)?))
    };
    let held: Vec<_> = std::iter::from_fn(|| Some(free()))
        .flatten()
        .take(2)
        .collect();
    [held[0].0, held[1].0]
}

#[test]
fn uclient_over_udp_loses_nothing() {
    Load::new().is_relayed();
}

#[test]
fn uclient_over_tcp_loses_nothing() {
    Load::new().over_tcp().is_relayed();
}

#[test]
fn uclient_over_tls_loses_nothing() {
    Load::new().over_tls().is_relayed();
}

#[test]
fn uclient_over_dtls_loses_nothing() {
    Load::new().over_dtls().is_relayed();
    Load::new().and(&["-s"]).over_dtls().is_relayed();
    Load::new().and(&["-y"]).over_dtls().is_relayed();
}

#[test]
fn uclient_with_indications_loses_nothing() {
    Load::new().and(&["-s"]).is_relayed();
    Load::new().and(&["-s"]).over_tcp().is_relayed();
    Load::new().and(&["-s"]).over_tls().is_relayed();
}

#[test]
fn uclient_without_a_second_component_loses_nothing() {
    Load::new().and(&["-c"]).is_relayed();
    Load::new().and(&["-c"]).over_tls().is_relayed();
}

#[test]
fn uclient_with_a_shared_secret_loses_nothing() {
    Load::new().with_secret().is_relayed();
    Load::new().with_secret().over_tcp().is_relayed();
    Load::new().with_secret().over_tls().is_relayed();
}

#[test]
fn uclient_from_client_to_client_loses_nothing() {
    Load::new().and(&["-y"]).is_relayed();
    Load::new().and(&["-y"]).over_tcp().is_relayed();
    Load::new().and(&["-y", "-s"]).is_relayed();
}

#[test]
fn uclient_with_tcp_relays_loses_nothing() {
    // Its clients are each other's peers then: one connects, the other is connected to.
    Load::new().and(&["-T"]).over_tcp().is_relayed();
    Load::new().and(&["-T"]).over_tls().is_relayed();
}

#[test]
fn uclient_with_an_ipv6_relay_loses_nothing() {
    Load::new().with_ipv6_relay().is_relayed();
    Load::new().with_ipv6_relay().over_tcp().is_relayed();
    Load::new().with_ipv6_relay().over_dtls().is_relayed();
}

#[test]
fn uclient_that_forbids_fragments_loses_nothing() {
    Load::new().and(&["-g"]).is_relayed();
    Load::new().and(&["-g", "-s"]).is_relayed();
}

#[test]
fn uclient_that_moves_loses_nothing() {
    Load::new().and(&["-M"]).is_relayed();
    Load::new().and(&["-M", "-s"]).is_relayed();
}

#[test]
fn uclient_with_a_wrong_password_allocates_nothing() {
    let (done, said) = Load::new().with(&["-u", USER, "-w", "wrong"]).run();
    assert!(!done, "{said}");
    assert!(said.contains("Cannot complete Allocation"), "{said}");
}

/// One run of `turnutils_uclient`, echoed by a `turnutils_peer`.
struct Load {
    login: Vec<&'static str>,
    arguments: Vec<&'static str>,
    port_of: fn(&World) -> SocketAddr,
    peer: &'static str,
}

impl Load {
    fn new() -> Self {
        Self {
            login: vec!["-u", USER, "-w", PASSWORD],
            arguments: vec!["-n", "50", "-m", "4", "-l", "170", "-z", "5"],
            port_of: World::udp,
            peer: "127.0.0.1",
        }
    }

    fn with_ipv6_relay(self) -> Self {
        let load = self.and(&["-x"]);
        Self {
            peer: "::1",
            ..load
        }
    }

    fn over_tcp(self) -> Self {
        let load = self.and(&["-t"]);
        Self {
            port_of: World::tcp,
            ..load
        }
    }

    fn over_tls(self) -> Self {
        let load = self.and(&["-t", "-S"]);
        Self {
            port_of: World::tls,
            ..load
        }
    }

    fn over_dtls(self) -> Self {
        let load = self.and(&["-S"]);
        Self {
            port_of: World::dtls,
            ..load
        }
    }

    fn with_secret(self) -> Self {
        self.with(&["-u", "alice", "-W", SECRET])
    }

    fn with(self, login: &[&'static str]) -> Self {
        Self {
            login: login.to_vec(),
            ..self
        }
    }

    fn and(mut self, arguments: &[&'static str]) -> Self {
        self.arguments.extend(arguments);
        self
    }

    fn is_relayed(&self) {
        let (done, said) = self.run();
        let nothing_lost = done && said.contains("Total lost packets 0 (0.000000%)");
        assert!(nothing_lost, "{:?}: {said}", self.arguments);
    }

    fn run(&self) -> (bool, String) {
        // Debian's client draws channel numbers that RFC 8656 forbids.
        let world = World::with(|settings| {
            settings.engine.channels = ChannelRange::Rfc5766;
            settings.external = both_loopbacks();
        });
        let peer = Peer::start(self.peer);
        let (port, peer_port) = ((self.port_of)(&world).port(), peer.addr.port());
        output_of(
            tool("turnutils_uclient")
                .args(&self.login)
                .args(&self.arguments)
                .args(["-e", self.peer, "-r", &peer_port.to_string()])
                .args(["-p", &port.to_string(), "127.0.0.1"]),
        )
    }
}

/// A `turnutils_peer`, ended with the test.
struct Peer {
    addr: SocketAddr,
    process: Child,
}

impl Peer {
    fn start(ip: &str) -> Self {
        let free = std::net::UdpSocket::bind((ip, 0)).unwrap();
        let addr = free.local_addr().unwrap();
        drop(free);
        let port = addr.port().to_string();
        let mut command = tool("turnutils_peer");
        command.args(["-L", ip, "-p", &port]);
        let process = command.stdout(Stdio::null()).spawn().unwrap();
        let peer = Self { addr, process };
        peer.until_it_echoes();
        peer
    }

    fn until_it_echoes(&self) {
        let probe = std::net::UdpSocket::bind((self.addr.ip(), 0)).unwrap();
        let pause = std::time::Duration::from_millis(20);
        probe.set_read_timeout(Some(pause)).unwrap();
        for _ in 0..500 {
            // Refused until the peer has bound its port.
            let _ = probe.send_to(b"ready?", self.addr);
            if probe.recv(&mut [0; 16]).is_ok() {
                return;
            }
        }
        panic!("turnutils_peer does not answer");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn tool(name: &str) -> Command {
    let found = Command::new("which").arg(name).output().unwrap();
    let missing = format!("{name} is missing: apt-get install coturn");
    assert!(found.status.success(), "{missing}");
    Command::new(name)
}

/// Whether it ended well, and what it said.
fn output_of(command: &mut Command) -> (bool, String) {
    let output = command.stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let also = String::from_utf8_lossy(&output.stderr);
    (output.status.success(), format!("{said}{also}"))
}

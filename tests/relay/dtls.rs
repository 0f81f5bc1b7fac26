//! TURN over DTLS: who is let in, what becomes of a session, on a network that loses and reorders.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::{Command, Stdio},
    time::Duration,
};

use setu::relay::engine::DropReason;
use stun::message::BINDING_REQUEST;
use tokio::{net::UdpSocket, time::timeout};

use crate::client::{Client, Over, dtls_client::DtlsClient, message};
use crate::world::{PATIENCE, World};

#[tokio::test]
async fn r15_a_classic_binding_request_is_refused_with_500() {
    let world = World::start();
    let mut client = connected(&world).await;
    let classic = [&[0, 1, 0, 0][..], b"sixteen bytes id"].concat();
    client.send(&classic).await;
    let answer = timeout(PATIENCE, client.receive()).await.unwrap().unwrap();
    let expected = [
        &[1, 0x11, 0, 8][..],
        &classic[4..],
        &[0, 9, 0, 4, 0, 0, 5, 0],
    ];
    assert_eq!(answer, expected.concat());
}

#[tokio::test]
async fn r19_nothing_in_clear_is_answered_on_the_dtls_port() {
    let world = World::start();
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let clear = message(BINDING_REQUEST, Vec::new()).raw;
    // Application data and an alert outside of any session, too.
    let strays = [
        &clear[..],
        &clear_record(23, &clear),
        &clear_record(21, &[2, 40]),
    ];
    for stray in strays {
        stranger.send_to(stray, world.dtls()).await.unwrap();
    }
    world.until("three strays", is_dropped(3)).await;
    assert_eq!(waiting(&stranger).await, 0);
    // Nor in a session, from the address of its client.
    let mut client = connected(&world).await;
    client.socket.send(&clear).await.unwrap();
    client.socket.send(&clear_record(23, &clear)).await.unwrap();
    client
        .socket
        .send(&clear_record(21, &[2, 40]))
        .await
        .unwrap();
    world.until("six strays", is_dropped(6)).await;
    ask(&mut client).await;
}

#[tokio::test]
async fn r92_a_hello_without_the_cookie_is_answered_and_forgotten() {
    let world = World::start();
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for _ in 0..200 {
        let hello = first_hello().await;
        stranger.send_to(&hello, world.dtls()).await.unwrap();
        let mut answer = [0; 1500];
        let bytes = timeout(PATIENCE, stranger.recv(&mut answer)).await;
        let bytes = bytes.unwrap().unwrap();
        // HelloVerifyRequest, with the number of its ClientHello.
        assert_eq!((answer[0], answer[13]), (22, 3));
        assert_eq!(answer[5..11], hello[5..11]);
        assert!(bytes < hello.len(), "{bytes} for {}", hello.len());
    }
    assert_eq!(world.relay.snapshot().await.connections, 0);
}

#[tokio::test]
async fn r0f_close_notify_frees_the_port_at_once() {
    let world = World::start();
    let mut client = Client::new(&world, Over::Dtls).await;
    client.allocate().await.unwrap();
    world.until_ports_in_use(1).await;
    drop(client);
    world.until_ports_in_use(0).await;
    let snapshot = world.relay.snapshot().await;
    assert_eq!((snapshot.connections, snapshot.engine.allocations), (0, 0));
}

#[tokio::test]
async fn a_client_that_begins_anew_is_served_and_inherits_nothing() {
    let world = World::start();
    let mut client = Client::new(&world, Over::Dtls).await;
    let from = client.local_addr();
    client.allocate().await.unwrap();
    client.vanish();
    let mut again = DtlsClient::to(world.dtls(), from).await;
    again.connect().await;
    ask(&mut again).await;
    world.until_ports_in_use(0).await;
    assert_eq!(world.relay.snapshot().await.connections, 1);
}

#[tokio::test]
async fn a_hello_in_the_name_of_a_client_does_not_end_its_session() {
    let world = World::start();
    let mut client = connected(&world).await;
    for _ in 0..20 {
        // As if from the client's address; whoever forges it does not see the cookie.
        client.socket.send(&first_hello().await).await.unwrap();
    }
    ask(&mut client).await;
    assert_eq!(world.relay.snapshot().await.connections, 1);
}

#[tokio::test]
async fn handshakes_survive_loss_and_reordering() {
    let world = World::start();
    for (name, fate) in [
        ("every third is lost", &|n| {
            if n % 3 == 1 { Fate::Lost } else { Fate::Passed }
        }),
        ("every other comes late", &|n| {
            if n % 2 == 0 { Fate::Late } else { Fate::Passed }
        }),
        ("each comes twice", &|_| Fate::Twice),
    ] as [(&str, &'static (dyn Fn(usize) -> Fate + Sync)); 3]
    {
        let network = Network::before(world.dtls(), fate).await;
        let mut client = DtlsClient::to(network, loopback()).await;
        let connected = timeout(3 * PATIENCE, client.connect()).await;
        assert!(connected.is_ok(), "{name}");
    }
}

#[tokio::test]
async fn openssl_shakes_hands_and_sees_the_certificate() {
    let world = World::start();
    let server = world.dtls().to_string();
    let asked = tokio::task::spawn_blocking(move || {
        Command::new("openssl")
            .args(["s_client", "-dtls1_2", "-brief", "-connect", &server])
            .stdin(Stdio::null())
            .output()
            .expect("apt-get install openssl")
    });
    let output = timeout(PATIENCE, asked).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("Protocol version: DTLSv1.2"), "{said}");
    world.until("no session", |s| s.connections == 0).await;
}

#[tokio::test]
async fn r19_dtls_1_0_is_refused() {
    let world = World::start();
    let client = UdpSocket::bind(loopback()).await.unwrap();
    let mut hello = first_hello().await;
    // The version behind the headers of record and message.
    hello[13 + 12 + 1] = 255;
    client.send_to(&hello, world.dtls()).await.unwrap();
    let mut answer = [0; 64];
    let bytes = timeout(PATIENCE, client.recv(&mut answer)).await;
    let bytes = bytes.unwrap().unwrap();
    // A fatal protocol_version.
    assert_eq!((answer[0], &answer[13..bytes]), (21, &[2, 70][..]));
}

async fn connected(world: &World) -> DtlsClient {
    let mut client = DtlsClient::to(world.dtls(), loopback()).await;
    timeout(PATIENCE, client.connect()).await.unwrap();
    client
}

/// A Binding, and its answer.
async fn ask(client: &mut DtlsClient) {
    let request = message(BINDING_REQUEST, Vec::new());
    client.send(&request.raw).await;
    let answer = timeout(PATIENCE, client.receive()).await.unwrap().unwrap();
    assert_eq!(answer[8..20], request.transaction_id.0);
}

/// What a client says first.
async fn first_hello() -> Vec<u8> {
    let silent = UdpSocket::bind(loopback()).await.unwrap();
    let mut client = DtlsClient::to(silent.local_addr().unwrap(), loopback()).await;
    let mut hello = vec![0; 1500];
    tokio::select! {
        () = client.connect() => panic!("nobody answers"),
        bytes = silent.recv(&mut hello) => hello.truncate(bytes.unwrap()),
    }
    hello
}

/// A record in clear, of DTLS 1.2.
fn clear_record(content: u8, fragment: &[u8]) -> Vec<u8> {
    let length = u8::try_from(fragment.len()).unwrap();
    let header = [content, 254, 253, 0, 0, 0, 0, 0, 0, 0, 77, 0, length];
    [&header[..], fragment].concat()
}

fn is_dropped(strays: u64) -> impl Fn(&setu::relay::Snapshot) -> bool {
    move |snapshot| snapshot.engine.dropped(DropReason::UnknownProtocol) == strays
}

/// How many datagrams have come.
async fn waiting(socket: &UdpSocket) -> usize {
    let mut datagrams = 0;
    while socket.try_recv(&mut [0; 1500]).is_ok() {
        datagrams += 1;
    }
    datagrams
}

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// What becomes of a datagram on its way.
#[derive(Clone, Copy)]
enum Fate {
    Passed,
    Lost,
    Twice,
    /// It comes after the next one, or a little later.
    Late,
}

/// One client's way to a server and back; the first client is the only one.
struct Network;

impl Network {
    async fn before(
        server: SocketAddr,
        fate: &'static (dyn Fn(usize) -> Fate + Sync),
    ) -> SocketAddr {
        let outside = UdpSocket::bind(loopback()).await.unwrap();
        let inside = UdpSocket::bind(loopback()).await.unwrap();
        inside.connect(server).await.unwrap();
        let address = outside.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut client, mut late) = (None, None);
            for n in 0.. {
                let (mut up, mut down) = (vec![0; 2000], vec![0; 2000]);
                let (goes_up, datagram) = tokio::select! {
                    received = outside.recv_from(&mut up) => {
                        let (bytes, from) = received.unwrap();
                        client = Some(from);
                        up.truncate(bytes);
                        (true, up)
                    }
                    received = inside.recv(&mut down) => {
                        down.truncate(received.unwrap());
                        (false, down)
                    }
                    () = tokio::time::sleep(Duration::from_millis(20)), if late.is_some() => {
                        late.take().unwrap()
                    }
                };
                let mut passing = match fate(n) {
                    Fate::Lost => vec![],
                    Fate::Passed => vec![(goes_up, datagram)],
                    Fate::Twice => vec![(goes_up, datagram.clone()), (goes_up, datagram)],
                    Fate::Late if late.is_none() => {
                        late = Some((goes_up, datagram));
                        continue;
                    }
                    Fate::Late => vec![(goes_up, datagram)],
                };
                passing.extend(late.take());
                for (goes_up, datagram) in passing {
                    if goes_up {
                        inside.send(&datagram).await.unwrap();
                    } else {
                        outside.send_to(&datagram, client.unwrap()).await.unwrap();
                    }
                }
            }
        });
        address
    }
}

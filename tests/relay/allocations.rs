//! Relay ports: every one usable, none lost.

use std::{net::SocketAddr, time::Duration};

use setu::relay::ExternalAddr;
use setu::relay::engine::PortSharing;
use stun::attributes::{ATTR_EVEN_PORT, ATTR_RESERVATION_TOKEN, RawAttribute};
use stun::message::Setter;
use tokio::net::UdpSocket;
use tokio::time::Instant;

use crate::client::{Client, Over, relayed};
use crate::world::{PATIENCE, World, free_range};

#[tokio::test]
async fn forty_one_ports_carry_forty_one_allocations_on_whichever_worker() {
    let world = World::with(|settings| settings.engine.port_sharing = PortSharing::Never);
    let mut clients = Vec::new();
    let mut ports = Vec::new();
    for n in 0..41 {
        let mut client = Client::new(&world, Over::ALL[n % 3]).await;
        ports.push(client.allocate().await.unwrap().port());
        clients.push(client);
    }
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 41);
    let snapshot = world.relay.snapshot().await;
    assert_eq!((snapshot.ports_in_use, snapshot.ports_total), (41, 41));
    assert_eq!(snapshot.engine.allocations, 41);

    let mut late = Client::new(&world, Over::Udp).await;
    assert_eq!(late.allocate().await, Err(508));
    clients[0].refresh(0).await.unwrap();
    assert!(late.allocate().await.is_ok());
}

#[tokio::test]
async fn closing_its_connection_frees_a_port() {
    let world = World::start();
    for over in [Over::Tcp, Over::Tls] {
        let mut client = Client::new(&world, over).await;
        client.allocate().await.unwrap();
        assert_eq!(world.relay.snapshot().await.ports_in_use, 1);
        drop(client);
        world.until_ports_in_use(0).await;
        let snapshot = world.relay.snapshot().await;
        assert_eq!((snapshot.engine.allocations, snapshot.connections), (0, 0));
    }
}

#[tokio::test]
async fn ports_come_back_when_their_allocations_expire() {
    let second = Duration::from_secs(1);
    let world = World::with(|settings| settings.engine.lifetimes = second..=3 * second);
    let mut longer = Client::new(&world, Over::Udp).await;
    longer.allocate().await.unwrap();
    longer.refresh(3).await.unwrap();
    // The worker already waits for the later one.
    let mut shorter = Client::new(&world, Over::Udp).await;
    shorter.allocate().await.unwrap();
    world.until_ports_in_use(2).await;
    world.until_ports_in_use(1).await;
    world.until_ports_in_use(0).await;
}

#[tokio::test]
async fn one_socket_serves_one_client_after_the_other_and_its_port_is_anybodys_after_that() {
    let world = World::with(|settings| {
        let first = *settings.relay_ports.start();
        settings.relay_ports = first..=first;
        settings.engine.port_sharing = PortSharing::Never;
    });
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut last = None;
    // Its one port is everybody's.
    for number in 0..12 {
        let mut client = Client::new(&world, Over::ALL[number % 3]).await;
        let relayed = client.allocate().await.unwrap();
        assert_eq!(relayed, *last.get_or_insert(relayed));
        let channel = 0x4000;
        client
            .bind_channel(channel, peer.local_addr().unwrap())
            .await
            .unwrap();
        let [up, down] = ["up", "down"].map(|way| format!("{way} {number}").into_bytes());
        client.send_channel_data(channel, &up).await;
        let mut room = [0; 100];
        let (bytes, from) = peer.recv_from(&mut room).await.unwrap();
        assert_eq!((&room[..bytes], from), (&up[..], relayed));
        peer.send_to(&down, relayed).await.unwrap();
        assert_eq!(client.receive_channel_data(channel).await, down);
        client.refresh(0).await.unwrap();
    }
    let relayed = last.unwrap();
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = std::net::UdpSocket::bind(relayed) {
        assert!(Instant::now() < deadline, "{error}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_port_taken_by_another_program_is_passed_over() {
    let world = World::with(|settings| {
        let first = *settings.relay_ports.start();
        settings.relay_ports = first..=first + 3;
        settings.engine.port_sharing = PortSharing::Never;
    });
    // Learn the range from an allocation, then take two of its ports from outside.
    let mut client = Client::new(&world, Over::Udp).await;
    let own = client.allocate().await.unwrap().port();
    let first = own - own % 50;
    let foreign: Vec<_> = (first..first + 4)
        .filter(|port| *port != own)
        .take(2)
        .map(|port| std::net::UdpSocket::bind(("127.0.0.1", port)).unwrap())
        .collect();
    let mut second = Client::new(&world, Over::Udp).await;
    assert!(second.allocate().await.is_ok());
    let mut third = Client::new(&world, Over::Udp).await;
    assert_eq!(third.allocate().await, Err(508));
    drop(foreign);
}

#[tokio::test]
async fn a_reserved_port_is_nobody_elses_until_its_token_comes_over_any_connection() {
    let world = World::start();
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for over in Over::ALL {
        let mut first = Client::new(&world, Over::Udp).await;
        let ([even, next], token) = reserve(&mut first).await.unwrap();
        assert_eq!(even.port() % 2, 0);
        assert!(std::net::UdpSocket::bind(next).is_err());
        peer.send_to(b"too early", next).await.unwrap();

        let mut second = Client::new(&world, over).await;
        let with_token = || vec![raw(ATTR_RESERVATION_TOKEN, token.clone())];
        let answer = second.allocate_with(with_token).await.unwrap();
        assert_eq!(relayed(&answer), [next]);
        let channel = 0x4000;
        let at_peer = peer.local_addr().unwrap();
        second.bind_channel(channel, at_peer).await.unwrap();
        peer.send_to(b"in time", next).await.unwrap();
        assert_eq!(second.receive_channel_data(channel).await, b"in time");

        let mut third = Client::new(&world, Over::Udp).await;
        assert_eq!(third.allocate_with(with_token).await.err(), Some(508));
    }
}

#[tokio::test]
async fn a_pair_of_which_another_program_has_one_is_passed_over() {
    for foreign in 0..2 {
        let first = *free_range().start();
        let world = World::with(|settings| {
            settings.relay_ports = first..=first + 3;
            settings.workers = 1;
        });
        let _foreign = std::net::UdpSocket::bind(("127.0.0.1", first + foreign)).unwrap();
        let mut client = Client::new(&world, Over::Udp).await;
        let ([even, _], _) = reserve(&mut client).await.unwrap();
        assert_eq!(even.port(), first + 2);
        let mut late = Client::new(&world, Over::Udp).await;
        assert_eq!(reserve(&mut late).await, Err(508));
        // The other one of the two is anybody's.
        let other = late.allocate().await.unwrap();
        assert_eq!(other.port(), first + (foreign ^ 1));
    }
}

#[tokio::test]
async fn the_relayed_address_is_told_as_it_is_known_outside() {
    let world = World::with(|settings| {
        settings.external = vec![ExternalAddr {
            public: "127.0.0.9".parse().unwrap(),
            local: "127.0.0.1".parse().unwrap(),
        }];
    });
    let (mut alice, mut bob) = (
        Client::new(&world, Over::Udp).await,
        Client::new(&world, Over::Udp).await,
    );
    let (at_alice, at_bob) = (
        alice.allocate().await.unwrap(),
        bob.allocate().await.unwrap(),
    );
    assert_eq!(at_alice.ip().to_string(), "127.0.0.9");
    // No packet can reach 127.0.0.9 through a NAT that isn't there: the two meet inside.
    alice.permit(at_bob).await.unwrap();
    bob.permit(at_alice).await.unwrap();
    alice.send_indication(at_bob, b"namaste").await;
    assert_eq!(
        bob.receive_data_indication().await,
        (at_alice, b"namaste".to_vec())
    );
}

#[tokio::test]
async fn a_stopped_relay_has_closed_its_sockets() {
    let world = World::start();
    let mut client = Client::new(&world, Over::Tcp).await;
    let ([even, next], _) = reserve(&mut client).await.unwrap();
    world.relay.stop().await;
    for closed in [world.udp(), even, next] {
        assert!(std::net::UdpSocket::bind(closed).is_ok());
    }
    assert!(tokio::net::TcpStream::connect(world.tcp()).await.is_err());
    assert_eq!(world.relay.snapshot().await.engine.allocations, 0);
}

#[tokio::test]
async fn a_taken_address_fails_the_start_by_name() {
    let world = World::start();
    let (udp, tcp) = (world.udp(), world.tcp());
    let on_udp = World::try_with(|settings| settings.listen_udp[0].addr = udp).err();
    let on_tls = World::try_with(|settings| settings.listen_tls[0].addr = tcp).err();
    for (failed, name) in [
        (on_udp, format!("Udp {udp}: Address already in use")),
        (on_tls, format!("Tls {tcp}: Address already in use")),
    ] {
        let said = failed.unwrap().to_string();
        assert!(said.contains(&name), "{said}");
    }
}

/// An even port and the next one, which is the token's.
async fn reserve(client: &mut Client) -> Result<([SocketAddr; 2], Vec<u8>), u16> {
    let even_with_next = || vec![raw(ATTR_EVEN_PORT, vec![0x80])];
    let answer = client.allocate_with(even_with_next).await?;
    let even = relayed(&answer)[0];
    let next = SocketAddr::new(even.ip(), even.port() + 1);
    Ok(([even, next], answer.get(ATTR_RESERVATION_TOKEN).unwrap()))
}

fn raw(typ: stun::attributes::AttrType, value: Vec<u8>) -> Box<dyn Setter> {
    let length = u16::try_from(value.len()).unwrap();
    Box::new(RawAttribute { typ, length, value })
}

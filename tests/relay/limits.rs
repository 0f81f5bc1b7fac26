//! Limits that need real sources: connections, and answers over all workers.

use std::net::{IpAddr, SocketAddr};

use setu::relay::engine::limits::{Limit, Settings};
use setu::source::PerSource;
use stun::message::{BINDING_REQUEST, CLASS_REQUEST, METHOD_ALLOCATE, MessageType};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpSocket, TcpStream, UdpSocket},
    time::{Instant, timeout},
};

use crate::client::{Client, Over, message, tls_connect};
use crate::world::{PATIENCE, World};

#[tokio::test]
async fn a_source_has_so_many_connections_tcp_and_tls_together() {
    let world = limited(Settings {
        connections_per_source: per_source(3),
        ..Settings::default()
    });
    // All of them have said something: who never does is not waited for.
    let mut over_tls = tls_connect(world.tls()).await;
    let mut open = vec![
        connect("127.0.0.1", world.tcp()).await,
        connect("127.0.0.1", world.tcp()).await,
    ];
    for stream in &mut open {
        is_served(stream).await;
    }
    is_served(&mut over_tls).await;
    for server in [world.tcp(), world.tls()] {
        until_closed(connect("127.0.0.1", server).await).await;
    }
    is_served(&mut connect("127.0.0.3", world.tcp()).await).await;
    let refused = world.relay.snapshot().await.refused;
    assert_eq!(refused.by(Limit::ConnectionsPerSource), 2);
    drop(open.pop());
    served_in_the_end("127.0.0.1", world.tcp()).await;
}

#[tokio::test]
async fn there_are_so_many_connections_in_all() {
    let world = limited(Settings {
        connections: Some(2),
        ..Settings::default()
    });
    // Who never says anything is closed some time.
    let mut first = connect("127.0.0.2", world.tcp()).await;
    is_served(&mut first).await;
    is_served(&mut connect("127.0.0.3", world.tcp()).await).await;
    let mut second = connect("127.0.0.3", world.tcp()).await;
    // The one before may not have been noticed to be gone.
    if !is_answered(&mut second).await {
        second = served_in_the_end("127.0.0.3", world.tcp()).await;
    }
    until_closed(connect("127.0.0.4", world.tcp()).await).await;
    until_closed(connect("127.0.0.4", world.tls()).await).await;
    let refused = world.relay.snapshot().await.refused;
    assert!(refused.by(Limit::Connections) >= 2);
    drop((first, second));
    served_in_the_end("127.0.0.4", world.tcp()).await;
    Client::new(&world, Over::Udp).await.bind().await;
}

#[tokio::test]
async fn r93_the_reply_budget_of_a_source_holds_over_all_its_ports_and_all_workers() {
    let world = limited(Settings {
        unauthenticated_replies_per_second: per_source(5),
        ..Settings::default()
    });
    let mut ports = Vec::new();
    for _ in 0..20 {
        let port = UdpSocket::bind("127.0.0.2:0").await.unwrap();
        port.connect(world.udp()).await.unwrap();
        ports.push(port);
    }
    let began = Instant::now();
    let allocate = MessageType::new(METHOD_ALLOCATE, CLASS_REQUEST);
    for _ in 0..20 {
        for port in &ports {
            let request = message(allocate, Vec::new());
            port.send(&request.raw).await.unwrap();
        }
    }
    let wanted = "all handled";
    let is_handled = |s: &setu::relay::Snapshot| {
        s.engine.refusals() + s.refused.by(Limit::UnauthenticatedReplies) == 400
    };
    world.until(wanted, is_handled).await;
    let answered = world.relay.snapshot().await.engine.refusals();
    let may_be = 10 + began.elapsed().as_secs() * 5 + 5;
    assert!((10..=may_be).contains(&answered), "{answered}");
    // Another source finds its budget whole.
    let other = UdpSocket::bind("127.0.0.3:0").await.unwrap();
    other.connect(world.udp()).await.unwrap();
    let request = message(allocate, Vec::new());
    other.send(&request.raw).await.unwrap();
    let mut answer = [0; 1500];
    timeout(PATIENCE, other.recv(&mut answer))
        .await
        .unwrap()
        .unwrap();
}

fn limited(limits: Settings) -> World {
    World::with(|settings| settings.limits = limits)
}

fn per_source(max: u32) -> PerSource {
    PerSource {
        max: Some(max),
        counts_loopback: true,
    }
}

async fn connect(from: &str, server: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    let from: IpAddr = from.parse().unwrap();
    socket.bind(SocketAddr::new(from, 0)).unwrap();
    socket.connect(server).await.unwrap()
}

async fn is_served(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    assert!(is_answered(stream).await);
}

/// Connections close when the server hears of it, which takes a moment.
async fn served_in_the_end(from: &str, server: SocketAddr) -> TcpStream {
    let served = async {
        loop {
            let mut stream = connect(from, server).await;
            if is_answered(&mut stream).await {
                return stream;
            }
        }
    };
    timeout(PATIENCE, served).await.unwrap()
}

async fn is_answered(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> bool {
    let request = message(BINDING_REQUEST, Vec::new());
    let mut answer = [0; 20];
    if stream.write_all(&request.raw).await.is_err() || stream.flush().await.is_err() {
        return false;
    }
    let read = timeout(PATIENCE, stream.read_exact(&mut answer));
    read.await.unwrap().is_ok()
}

async fn until_closed(mut stream: TcpStream) {
    let mut bytes = Vec::new();
    let closed = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    assert!(closed.is_ok() && bytes.is_empty(), "{closed:?} {bytes:?}");
}

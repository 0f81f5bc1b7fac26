//! Floods: the server goes on serving, and afterwards is as it was before.
//!
//! `SETU_TEST_FLOOD=10` makes all of them ten times as big.

use std::{
    env,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

use crate::client::{Client, Over, tls_connect};
use crate::common::{DEADLINE, Setu};
use crate::hellos;
use crate::mutated::{ALLOCATE, BINDING, Login, Random, allocate, bare, mutated};
use crate::process::Process;
use crate::start;
use crate::world::{PASSWORD, USER};

#[tokio::test]
async fn r98_mutated_datagrams_leave_memory_and_service_as_they_were() {
    let setu = start(&[("SETU_LIMITS__ALLOCATIONS_PER_USER", "10")]);
    let quiet = Quiet::after_warming(&setu).await;
    let mut random = Random(98);
    let strangers: Vec<_> = (0..16).map(|_| Stranger::of(&setu, &mut random)).collect();
    for number in 0..20_000 * size() {
        let stranger = &strangers[number % strangers.len()];
        let datagram = mutated(&mut random, &stranger.login());
        // The kernel takes no empty train of datagrams, and cuts none.
        stranger.socket.send(&datagram).unwrap();
        if number % 256 < strangers.len() {
            stranger.catch_up(&mut random);
        }
    }
    drop(strangers);
    quiet.again(&setu, "mutated datagrams").await;
}

#[tokio::test]
async fn r92_floods_from_many_sources_leave_memory_and_service_as_they_were() {
    let setu = start(&[
        // Typed, they count loopback too.
        ("SETU_LIMITS__UNAUTHENTICATED_REPLIES_PER_SECOND", "50"),
        ("SETU_LIMITS__FAILED_LOGINS_PER_MINUTE", "60"),
    ]);
    let quiet = Quiet::after_warming(&setu).await;
    let mut random = Random(92);
    let nobody = Login {
        user: "nobody",
        password: "wrong",
        nonce: "obMatJos2AAAAAAAAAAAAAAA",
    };
    for number in 0..20_000 * size() {
        let source = Ipv4Addr::from_bits(0x7F01_0000 + u32::try_from(number % 20_000).unwrap());
        let socket = UdpSocket::bind((source, 0)).unwrap();
        socket.connect(setu.udp).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let junk = random.bytes(100);
        for datagram in [
            bare(&mut random, ALLOCATE),
            allocate(&mut random, &nobody),
            junk,
        ] {
            // An answer to the one before may have come: 1 in 100 sources reads its own.
            let _ = socket.send(&datagram);
        }
        if number % 100 == 0 {
            until_answered(&socket, &mut random);
        }
    }
    quiet.again(&setu, "sources").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r95_hostile_streams_leave_memory_descriptors_and_service_as_they_were() {
    let setu = start(&[("SETU_LIMITS__ALLOCATIONS_PER_USER", "10")]);
    let quiet = Quiet::after_warming(&setu).await;
    for wave in 0..10 * size() {
        let mut streams = JoinSet::new();
        for number in 0..200 {
            streams.spawn(hostile_tcp(setu.tcp, number));
        }
        for number in 0..30 {
            streams.spawn(hostile_tls(setu.tls, number));
        }
        // In the middle of it, somebody who means no harm.
        if wave % 5 == 0 {
            is_served(&setu).await;
        }
        streams.join_all().await;
    }
    quiet.again(&setu, "streams").await;
}

#[tokio::test]
async fn r92_floods_of_dtls_handshakes_leave_memory_and_service_as_they_were() {
    let setu = start(&[]);
    let server = setu.dtls.unwrap();
    is_served_over_dtls(server).await;
    let quiet = Quiet::after_warming(&setu).await;
    let mut random = Random(7350);
    let stranger = hellos::socket(server);
    for _ in 0..10_000 * size() {
        hellos::ask_for_cookie(&stranger, &mut random);
    }
    // Whoever brings its cookie back has proved an address, and no credential.
    for _ in 0..2000 * size() {
        hellos::shake_half_a_hand(server, &mut random);
    }
    is_served_over_dtls(server).await;
    quiet.again(&setu, "DTLS handshakes").await;
}

async fn is_served_over_dtls(server: SocketAddr) {
    let serving = async {
        let mut client = Client::with(server, Over::Dtls, USER, PASSWORD).await;
        client.bind().await;
        client.allocate().await.unwrap();
        client.refresh(0).await.unwrap();
    };
    timeout(DEADLINE, serving).await.unwrap();
}

/// Every deadline is ours to wait for: the connections stay open, and say nothing, or half of something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r94_thousands_of_half_open_connections_leave_others_served_and_are_closed() {
    let setu = start(&[]);
    let mut half_open = half_open_connections(&setu).await;
    is_served(&setu).await;
    until_all_closed(&mut half_open).await;
    // The allocator keeps some of what so many took: it is used again, and not once more.
    let quiet = Quiet::after_warming(&setu).await;
    let mut half_open = half_open_connections(&setu).await;
    is_served(&setu).await;
    until_all_closed(&mut half_open).await;
    quiet.again(&setu, "half-open connections").await;
}

/// What is said by halves costs little more than silence.
#[tokio::test]
async fn r94_a_stranger_who_says_half_of_something_costs_four_kilobytes() {
    let binding = bare(&mut Random(94), BINDING);
    let behind_one = [&binding[..], HALF_A_MESSAGE].concat();
    let tcp: fn(&Setu) -> SocketAddr = |setu| setu.tcp;
    let tls: fn(&Setu) -> SocketAddr = |setu| setu.tls;
    let cases: [(&str, _, &[u8]); 6] = [
        ("silent over TCP", tcp, &[]),
        ("silent over TLS", tls, &[]),
        ("half a message", tcp, HALF_A_MESSAGE),
        ("half a message behind one", tcp, &behind_one),
        ("half a header of TLS", tls, &[0x16, 0x03]),
        ("half a ClientHello", tls, HALF_A_HELLO),
    ];
    for (name, server, bytes) in cases {
        // Each in a process of its own: nothing is used again.
        let setu = start(&[]);
        is_served(&setu).await;
        let mut streams = Vec::new();
        let mut rss_kib = Vec::new();
        for _ in 0..2 {
            for _ in 0..STRANGERS {
                let mut stream = TcpStream::connect(server(&setu)).await.unwrap();
                stream.write_all(bytes).await.unwrap();
                streams.push(stream);
            }
            is_served(&setu).await;
            rss_kib.push(Process::of(&setu).rss_kib());
        }
        let kib = (rss_kib[1] - rss_kib[0]) as f64 / STRANGERS as f64;
        println!("{name}: {kib} KiB each");
        assert!(kib < 4.0, "{name}: {kib} KiB each");
    }
}

async fn half_open_connections(setu: &Setu) -> Vec<TcpStream> {
    let mut half_open = Vec::new();
    for number in 0..1000 {
        let mut tcp = TcpStream::connect(setu.tcp).await.unwrap();
        let mut tls = TcpStream::connect(setu.tls).await.unwrap();
        if number % 2 == 0 {
            tcp.write_all(HALF_A_MESSAGE).await.unwrap();
            tls.write_all(HALF_A_HELLO).await.unwrap();
        }
        half_open.extend([tcp, tls]);
    }
    half_open
}

async fn until_all_closed(half_open: &mut Vec<TcpStream>) {
    for mut stream in half_open.drain(..) {
        let mut rest = Vec::new();
        let closed = timeout(Duration::from_secs(15), stream.read_to_end(&mut rest));
        assert!(closed.await.is_ok(), "still open");
    }
}

/// What the process was like before.
struct Quiet {
    rss_kib: i64,
    descriptors: usize,
}

impl Quiet {
    /// Every buffer that is kept has been used before memory is measured.
    async fn after_warming(setu: &Setu) -> Self {
        let table = Process::of(setu).descriptor_table();
        let mut random = Random(1);
        for _ in 0..8 {
            let stranger = Stranger::of(setu, &mut random);
            for _ in 0..64 {
                let largest = vec![0xFF; 65_507];
                stranger.socket.send(&largest).unwrap();
            }
            stranger.catch_up(&mut random);
        }
        for wave in 0..2 {
            let mut streams = JoinSet::new();
            for number in 0..200 {
                streams.spawn(hostile_tcp(setu.tcp, number + wave));
                streams.spawn(hostile_tls(setu.tls, number + wave));
            }
            streams.join_all().await;
        }
        is_served(setu).await;
        let process = Process::of(setu);
        // While it grows, everybody's media wait.
        assert_eq!(process.descriptor_table(), table);
        // HTTP, listeners, workers: a few dozen at most.
        process.until_descriptors(64);
        let descriptors = process.descriptors();
        Self {
            rss_kib: process.rss_kib(),
            descriptors,
        }
    }

    async fn again(&self, setu: &Setu, flood: &str) {
        is_served(setu).await;
        let process = Process::of(setu);
        process.until_descriptors(self.descriptors + ALLOCATED_MAX);
        let grown = process.rss_kib() - self.rss_kib;
        let idle = process.idle_share();
        println!(
            "{flood}, {} times: {} KiB before, {grown} KiB more afterwards, {idle} of a core while idle",
            size(),
            self.rss_kib
        );
        assert!(grown < RSS_KIB_MORE_MAX, "{grown} KiB more");
        assert!(idle < 0.1, "{idle} of a core");
    }
}

/// Somebody over UDP with a right nonce, and a right password even.
struct Stranger {
    socket: UdpSocket,
    nonce: String,
}

impl Stranger {
    fn of(setu: &Setu, random: &mut Random) -> Self {
        let host = u8::try_from(2 + random.below(200)).unwrap();
        let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 1, host), 0)).unwrap();
        socket.connect(setu.udp).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let request = bare(random, ALLOCATE);
        socket.send(&request).unwrap();
        let challenge = answer_to(&socket, &request);
        Self {
            socket,
            nonce: nonce(&challenge),
        }
    }

    fn login(&self) -> Login<'_> {
        Login {
            user: ATTACKER,
            password: ATTACKERS_PASSWORD,
            nonce: &self.nonce,
        }
    }

    /// Waits until all that was sent has been handled, so that the kernel drops nothing.
    fn catch_up(&self, random: &mut Random) {
        until_answered(&self.socket, random);
    }
}

fn until_answered(socket: &UdpSocket, random: &mut Random) {
    let request = bare(random, BINDING);
    socket.send(&request).unwrap();
    answer_to(socket, &request);
}

/// Whatever else comes is passed over.
fn answer_to(socket: &UdpSocket, request: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0; 65_536];
    loop {
        let bytes = socket.recv(&mut buffer).unwrap();
        if buffer[..bytes].get(8..20) == request.get(8..20) {
            return buffer[..bytes].to_vec();
        }
    }
}

fn nonce(challenge: &[u8]) -> String {
    let mut rest = &challenge[20..];
    loop {
        let length = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        if rest[..2] == [0x00, 0x15] {
            return String::from_utf8(rest[4..4 + length].to_vec()).unwrap();
        }
        rest = &rest[4 + length.next_multiple_of(4)..];
    }
}

/// A binding and an allocation over every transport, and the allocation's end.
async fn is_served(setu: &Setu) {
    for (over, server) in [
        (Over::Udp, setu.udp),
        (Over::Tcp, setu.tcp),
        (Over::Tls, setu.tls),
    ] {
        let serving = async {
            let mut client = Client::with(server, over, USER, PASSWORD).await;
            client.bind().await;
            client.allocate().await.unwrap();
            client.refresh(0).await.unwrap();
        };
        timeout(DEADLINE, serving).await.unwrap();
    }
}

/// Ends by itself, or when the server has had enough.
async fn hostile_tcp(server: SocketAddr, number: u64) {
    let Ok(mut stream) = TcpStream::connect(server).await else {
        return;
    };
    misbehave(&mut stream, number).await;
}

async fn hostile_tls(server: SocketAddr, number: u64) {
    if number.is_multiple_of(3) {
        let mut stream = tls_connect(server).await;
        return misbehave(&mut stream, number / 3).await;
    }
    let Ok(mut stream) = TcpStream::connect(server).await else {
        return;
    };
    let mut random = Random(number);
    let hello = [
        &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00][..],
        &random.bytes(200),
    ]
    .concat();
    let _ = stream.write_all(&hello).await;
    misbehave(&mut stream, number).await;
}

async fn misbehave(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), number: u64) {
    let mut random = Random(number);
    let login = Login {
        user: ATTACKER,
        password: ATTACKERS_PASSWORD,
        nonce: "forged",
    };
    let bytes = match number % 8 {
        0 => Vec::new(),
        1 => random.bytes(3000),
        2 => b"GET / HTTP/1.1\r\nHost: turn\r\n\r\n".to_vec(),
        // Much is promised, little comes.
        3 => vec![0x00, 0x03, 0xFF, 0xFC, 0x21, 0x12, 0xA4, 0x42],
        4 => [&[0x40, 0x00, 0xFF, 0xFF][..], &random.bytes(500)].concat(),
        5 => (0..50).flat_map(|_| bare(&mut random, ALLOCATE)).collect(),
        6 => (0..50)
            .flat_map(|_| allocate(&mut random, &login))
            .collect(),
        _ => (0..50).flat_map(|_| mutated(&mut random, &login)).collect(),
    };
    if stream.write_all(&bytes).await.is_err() {
        return;
    }
    // Half of them stay to read something, the others are gone at once.
    if number % 16 < 8 {
        let mut some = [0; 100];
        let _ = timeout(Duration::from_millis(50), stream.read(&mut some)).await;
    }
}

fn size() -> usize {
    let size = env::var("SETU_TEST_FLOOD").ok();
    size.map_or(1, |size| size.parse().unwrap())
}

/// The other user of the development profile.
const ATTACKER: &str = "admin";
const ATTACKERS_PASSWORD: &str = "adminpass";
/// What the quota leaves the attacker.
const ALLOCATED_MAX: usize = 10;
/// An Allocate of the largest size, as far as its header.
const HALF_A_MESSAGE: &[u8] = &[0x00, 0x03, 0xFF, 0xFC, 0x21, 0x12, 0xA4, 0x42];
/// A record of the largest size, as far as the kind of its first message.
const HALF_A_HELLO: &[u8] = &[0x16, 0x03, 0x01, 0x40, 0x00, 0x01];
const STRANGERS: usize = 500;
const RSS_KIB_MORE_MAX: i64 = 10 * 1024;

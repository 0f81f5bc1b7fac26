//! Sessions from handshake to end, over real sockets and with little patience.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use tokio::{
    net::TcpListener,
    sync::mpsc,
    task::{block_in_place, spawn_blocking},
    time::timeout,
};
use tungstenite::{Message, WebSocket, protocol::Role};

use crate::source::Source;

use super::{Engine, Full, Handler, Settings, Socket, Times};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_answers_stays_and_one_that_does_not_is_gone() {
    let mut world = World::open(Times {
        ping_interval: BRIEF,
        ping_timeout: BRIEF,
        ..LONG
    })
    .await;
    let client = world.websocket().await;
    world.opened().await;
    let mut client = on_thread(client, |client| {
        for _ in 0..5 {
            assert_eq!(read(client), "2");
            say(client, "3");
        }
    })
    .await;
    assert!(world.calls.is_empty());
    assert_eq!(read(&mut client), "2");
    assert_eq!(world.call().await, Call::Closed);
    world.is_over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_polls_is_asked_too() {
    let mut world = World::open(Times {
        ping_interval: BRIEF,
        ping_timeout: BRIEF,
        ..LONG
    })
    .await;
    let sid = world.polling().await;
    world.opened().await;
    assert_eq!(world.get(&sid).await, "2");
    assert_eq!(world.post(&sid, "3\x1e4still here").await, "ok");
    assert_eq!(world.call().await, Call::Message("still here".to_owned()));
    assert_eq!(world.get(&sid).await, "2");
    assert_eq!(world.get(&sid).await, "1", "it is told of its end");
    assert_eq!(world.call().await, Call::Closed);
    world.is_over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_nothing_is_cut_off_however_much_may_wait() {
    let mut world = World::open(Times {
        stuck: BRIEF,
        ..LONG
    })
    .await;
    let _client = world.websocket().await;
    let socket = world.opened().await;
    let message: Arc<str> = "x".repeat(1_000_000).into();
    // More than the system takes by itself.
    for _ in 0..OUTBOX_BYTES / message.len() - 1 {
        assert_eq!(socket.send(&message), Ok(()));
    }
    assert_eq!(world.call().await, Call::Closed);
    world.is_over().await;
    assert_eq!(Arc::strong_count(&message), 1, "nothing is kept for it");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_more_than_may_wait_is_refused() {
    let mut world = World::open(LONG).await;
    let _client = world.websocket().await;
    let socket = world.opened().await;
    let message: Arc<str> = "x".repeat(1_000_000).into();
    let sent = (0..1000)
        .take_while(|_| socket.send(&message) != Err(Full))
        .count();
    assert!(
        (OUTBOX_BYTES / message.len() - 1..1000).contains(&sent),
        "{sent}"
    );
    socket.cut();
    assert_eq!(Arc::strong_count(&message), 1, "it is dropped at once");
    assert_eq!(world.call().await, Call::Closed);
    world.is_over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_sent_before_the_goodbye() {
    let mut world = World::open(LONG).await;
    let client = world.websocket().await;
    let socket = world.opened().await;
    for number in 0..100 {
        assert_eq!(socket.send(&number.to_string().into()), Ok(()));
    }
    socket.close();
    assert_eq!(
        socket.send(&"late".into()),
        Ok(()),
        "to whom is gone nothing is sent"
    );
    assert_eq!(
        world.call().await,
        Call::Closed,
        "before the client has heard of it"
    );
    on_thread(client, |client| {
        for number in 0..100 {
            assert_eq!(read(client), format!("4{number}"));
        }
        let Ok(Message::Close(Some(frame))) = client.read() else {
            panic!("no goodbye");
        };
        assert_eq!(u16::from(frame.code), 1000);
        while client.read().is_ok() {}
    })
    .await;
    world.is_over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_polls_hears_what_waits_and_then_the_goodbye() {
    let mut world = World::open(LONG).await;
    let sid = world.polling().await;
    let socket = world.opened().await;
    assert_eq!(socket.send(&"last words".into()), Ok(()));
    socket.close();
    assert_eq!(world.get(&sid).await, "4last words");
    assert_eq!(world.get(&sid).await, "1");
    world.is_over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_take_its_leave_is_given_up() {
    let mut world = World::open(Times {
        goodbye: BRIEF,
        ..LONG
    })
    .await;
    let (_client, sid) = (world.websocket().await, world.polling().await);
    for _ in 0..2 {
        world.opened().await.close();
    }
    assert_eq!(
        (world.call().await, world.call().await),
        (Call::Closed, Call::Closed)
    );
    world.is_over().await;
    assert!(world.get(&sid).await.contains("Session ID unknown"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_is_the_last_that_the_handler_hears_whoever_brings_it() {
    let mut world = World::open(LONG).await;
    let mut client = world.websocket().await;
    world.opened().await;
    let said = ["one", "close", "two"]
        .map(|text| frame(&format!("4{text}")))
        .concat();
    client.get_mut().write_all(&said).unwrap();
    let expected = [
        Call::Message("one".to_owned()),
        Call::Message("close".to_owned()),
        Call::Closed,
    ];
    for call in expected {
        assert_eq!(world.call().await, call);
    }
    let sid = world.polling().await;
    world.opened().await;
    assert_eq!(world.post(&sid, "4one\x1e1\x1e4two").await, "ok");
    for call in [Call::Message("one".to_owned()), Call::Closed] {
        assert_eq!(world.call().await, call);
    }
    world.engine.close();
    drop(client);
    assert_eq!(world.get(&sid).await, "1");
    world.is_over().await;
    assert!(world.calls.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_fails_ends_the_session_that_it_served() {
    let mut world = World::open(LONG).await;
    let mut client = world.websocket().await;
    world.opened().await;
    say(&mut client, "4panic");
    assert_eq!(world.call().await, Call::Closed);
    world.is_over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_come_over_goes_on_polling() {
    let mut world = World::open(Times {
        upgrade: BRIEF,
        ..LONG
    })
    .await;
    let sid = world.polling().await;
    let socket = world.opened().await;
    for said in [
        &[][..],
        &["2probe"],
        &["nonsense"],
        &["2probe", "4too early"],
    ] {
        let client = world.websocket_of(&sid).await;
        on_thread(client, |client| {
            said.iter().for_each(|text| say(client, text));
            while client.read().is_ok() {}
        })
        .await;
        assert_eq!(socket.send(&"hello".into()), Ok(()));
        assert_eq!(world.get(&sid).await, "4hello");
    }
    assert!(world.calls.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_while_its_client_comes_over_ends_the_trial_too() {
    let mut world = World::open(Times {
        upgrade: 2 * DEADLINE,
        ..LONG
    })
    .await;
    for said in [&[][..], &["2probe"]] {
        let sid = world.polling().await;
        let socket = world.opened().await;
        let client = world.websocket_of(&sid).await;
        let client = on_thread(client, |client| {
            said.iter().for_each(|text| say(client, text));
            said.iter().for_each(|_| assert_eq!(read(client), "3probe"));
        })
        .await;
        socket.close();
        on_thread(client, |client| {
            assert!(matches!(client.read(), Ok(Message::Close(Some(_)))));
        })
        .await;
        assert_eq!(world.get(&sid).await, "1");
        assert_eq!(world.call().await, Call::Closed);
    }
    world.is_over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_comes_over_loses_nothing_and_hears_nothing_twice() {
    let mut world = World::open(LONG).await;
    let sid = world.polling().await;
    let socket = world.opened().await;
    let mut client = world.websocket_of(&sid).await;
    let poll = tokio::spawn(world.request(&sid, "GET", ""));
    say(&mut client, "2probe");
    assert_eq!(read(&mut client), "3probe");
    assert_eq!(poll.await.unwrap(), "6", "the poll that waits is let go");
    assert_eq!(socket.send(&"0".into()), Ok(()));
    assert_eq!(world.get(&sid).await, "40");
    assert_eq!(socket.send(&"1".into()), Ok(()));
    assert_eq!(world.post(&sid, "4before").await, "ok");
    let said = ["5", "4after"].map(frame).concat();
    client.get_mut().write_all(&said).unwrap();
    for text in ["before", "after"] {
        assert_eq!(world.call().await, Call::Message(text.to_owned()));
    }
    assert_eq!(socket.send(&"2".into()), Ok(()));
    assert_eq!([read(&mut client), read(&mut client)], ["41", "42"]);
    assert!(
        world.get(&sid).await.contains("Bad request"),
        "it polls no more"
    );
    assert_eq!(socket.send(&"3".into()), Ok(()));
    assert_eq!(read(&mut client), "43");
}

const BRIEF: Duration = Duration::from_millis(300);
const DEADLINE: Duration = Duration::from_secs(20);
const OUTBOX_BYTES: usize = 32_000_000;
const LONG: Times = Times {
    ping_interval: DEADLINE,
    ping_timeout: DEADLINE,
    upgrade: DEADLINE,
    stuck: DEADLINE,
    goodbye: DEADLINE,
};

struct World {
    engine: Engine<Listener>,
    address: SocketAddr,
    calls: mpsc::UnboundedReceiver<Call>,
    sockets: mpsc::UnboundedReceiver<Arc<Socket<()>>>,
}

/// Notes what it hears, and does what it is told.
struct Listener {
    calls: mpsc::UnboundedSender<Call>,
    sockets: mpsc::UnboundedSender<Arc<Socket<()>>>,
}

#[derive(Debug, PartialEq, Eq)]
enum Call {
    Message(String),
    Binary(Vec<u8>),
    Closed,
}

type Client = WebSocket<TcpStream>;

impl Handler for Listener {
    type Data = ();

    fn admit(&self, _: Source) {}

    fn opened(&self, socket: &Arc<Socket<()>>) {
        let _ = self.sockets.send(Arc::clone(socket));
    }

    fn message(&self, socket: &Arc<Socket<()>>, text: &str) {
        match text {
            "panic" => panic!("as the test wants it"),
            "close" => socket.close(),
            _ => {}
        }
        let _ = self.calls.send(Call::Message(text.to_owned()));
    }

    fn binary(&self, _: &Arc<Socket<()>>, bytes: &[u8]) {
        let _ = self.calls.send(Call::Binary(bytes.to_owned()));
    }

    fn closed(&self, _: &Arc<Socket<()>>) {
        let _ = self.calls.send(Call::Closed);
    }
}

impl World {
    async fn open(times: Times) -> Self {
        let (calls, heard) = mpsc::unbounded_channel();
        let (sockets, opened) = mpsc::unbounded_channel();
        let settings = Settings {
            payload_bytes: 1000,
            message_bytes: 4000,
            outbox_bytes: OUTBOX_BYTES,
            times,
        };
        let engine = Engine::new(Listener { calls, sockets }, settings);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = engine.around(Router::new());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            engine,
            address,
            calls: heard,
            sockets: opened,
        }
    }

    async fn opened(&mut self) -> Arc<Socket<()>> {
        timeout(DEADLINE, self.sockets.recv())
            .await
            .unwrap()
            .unwrap()
    }

    async fn call(&mut self) -> Call {
        timeout(DEADLINE, self.calls.recv()).await.unwrap().unwrap()
    }

    /// Every session is gone.
    async fn is_over(&self) {
        timeout(DEADLINE, self.engine.emptied()).await.unwrap();
    }

    async fn websocket(&self) -> Client {
        let client = self
            .upgrade("/socket.io/?EIO=4&transport=websocket".to_owned())
            .await;
        on_thread(client, |client| assert!(read(client).starts_with("0{"))).await
    }

    async fn websocket_of(&self, sid: &str) -> Client {
        self.upgrade(format!("/socket.io/?EIO=4&transport=websocket&sid={sid}"))
            .await
    }

    async fn upgrade(&self, path: String) -> Client {
        let address = self.address;
        let open = move || {
            let mut stream = connect(address);
            let headers = "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                           Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
            write!(stream, "GET {path} HTTP/1.1\r\n{headers}\r\n\r\n").unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.extend(byte);
            }
            assert!(
                head.starts_with(b"HTTP/1.1 101"),
                "{}",
                String::from_utf8_lossy(&head)
            );
            WebSocket::from_raw_socket(stream, Role::Client, None)
        };
        spawn_blocking(open).await.unwrap()
    }

    async fn polling(&self) -> String {
        let open = self.request("", "GET", "").await;
        let (_, rest) = open.split_once(r#""sid":""#).unwrap();
        rest.split('"').next().unwrap().to_owned()
    }

    async fn get(&self, sid: &str) -> String {
        self.request(sid, "GET", "").await
    }

    async fn post(&self, sid: &str, body: &str) -> String {
        self.request(sid, "POST", body).await
    }

    fn request(&self, sid: &str, method: &str, body: &str) -> impl Future<Output = String> + use<> {
        let sid = if sid.is_empty() {
            String::new()
        } else {
            format!("&sid={sid}")
        };
        let head = format!(
            "{method} /socket.io/?EIO=4&transport=polling{sid} HTTP/1.1\r\nHost: x\r\nConnection: close"
        );
        let request = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let address = self.address;
        let ask = move || {
            let mut stream = connect(address);
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer.split_once("\r\n\r\n").unwrap().1.to_owned()
        };
        async move { spawn_blocking(ask).await.unwrap() }
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// The client's side blocks; the server's goes on meanwhile.
async fn on_thread<R>(mut client: Client, work: impl FnOnce(&mut Client) -> R) -> Client {
    block_in_place(|| work(&mut client));
    client
}

fn say(client: &mut Client, text: &str) {
    client.send(Message::text(text)).unwrap();
}

fn read(client: &mut Client) -> String {
    client.read().unwrap().into_text().unwrap().to_string()
}

fn frame(text: &str) -> Vec<u8> {
    let head = [0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0];
    [&head, text.as_bytes()].concat()
}

//! What whoever speaks Engine.IO badly, or not at all, can do to the server: nothing.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    thread,
};

use common::{Answer, Setu, ask, connect, get};

#[allow(dead_code, reason = "each test target uses its part")]
mod common;

const UNLIMITED: &[(&str, &str)] = &[
    ("SETU_SIGNALING__EVENTS_PER_SECOND", "0"),
    ("SETU_LIMITS__CONNECTIONS_PER_SOURCE", "0"),
];

#[test]
fn requests_that_mean_nothing_are_refused_in_the_words_of_nodes_server() {
    let setu = Setu::start(&[]);
    let sid = poller(&setu);
    let known = format!("GET /socket.io/?EIO=4&transport=websocket&sid={sid}");
    let cases = [
        ("GET /socket.io/?EIO=4", 0, "Transport unknown"),
        (
            "GET /socket.io/?EIO=4&transport=carrier-pigeon",
            0,
            "Transport unknown",
        ),
        (
            "GET /socket.io/?EIO=4&transport=polling&sid=x",
            1,
            "Session ID unknown",
        ),
        (
            "POST /socket.io/?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA",
            1,
            "Session ID unknown",
        ),
        (
            "POST /socket.io/?EIO=4&transport=polling",
            2,
            "Bad handshake method",
        ),
        (
            "GET /socket.io/?EIO=4&transport=websocket",
            3,
            "Bad request",
        ),
        (
            "GET /socket.io/?EIO=4&transport=polling&transport=polling",
            3,
            "Bad request",
        ),
        (&known, 3, "Bad request"),
        (
            "GET /socket.io/?EIO=3&transport=polling",
            5,
            "Unsupported protocol version",
        ),
        (
            "GET /socket.io/?transport=polling",
            5,
            "Unsupported protocol version",
        ),
        (
            "GET /socket.io?transport=polling",
            5,
            "Unsupported protocol version",
        ),
    ];
    for (request, code, message) in cases {
        let answer = ask(setu.http, request, &[], "");
        let body = answer.json();
        assert_eq!(
            (answer.status, &body["code"]),
            (400, &code.into()),
            "{request}"
        );
        assert_eq!(body["message"], message, "{request}");
    }
    assert_eq!(
        say(&setu, &sid, "40").body,
        "ok",
        "the session is none the worse"
    );
}

#[test]
fn a_client_may_send_its_bytes_one_by_one_and_its_messages_in_pieces() {
    let setu = Setu::start(&[]);
    let mut client = Client::open(&setu);
    client.say_open();
    let pieces = [
        (0x01, "42[\"join-"),
        (0x89, "ping"),
        (0x00, "session\",{\"sessionId\":\"s\""),
        (0x80, ",\"participantId\":\"p\"}]"),
    ];
    for (first, text) in pieces {
        for byte in frame(first, text.as_bytes()) {
            client.0.write_all(&[byte]).unwrap();
        }
    }
    assert_eq!(client.frame(), (0x8a, b"ping".to_vec()));
    assert!(client.text().starts_with(r#"42["session-joined","#));
}

#[test]
fn a_client_may_speak_before_it_has_been_answered() {
    let setu = Setu::start(&[]);
    let mut client = Client::ask(&setu, "", &frame(0x81, b"40"));
    client.head();
    assert!(client.text().starts_with("0{"));
    assert!(client.text().starts_with("40{"));
}

#[test]
fn what_is_no_websocket_frame_or_no_packet_is_closed_with_the_reason() {
    let setu = Setu::start(&[]);
    let much = [&[0x81, 0xff][..], &u64::MAX.to_be_bytes(), &[0; 4]].concat();
    let large = [&[0x81, 0xff][..], &4_000_001_u64.to_be_bytes(), &[0; 4]].concat();
    let pieces = [frame(0x01, &[b'4'; 3_999_999]), frame(0x80, b"44")].concat();
    let cases: [(&str, Vec<u8>, u16); 11] = [
        ("without a mask", b"\x81\x0240".to_vec(), 1002),
        ("compressed", frame(0xc1, b"40"), 1002),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), 1002),
        ("larger than there is", much, 1002),
        ("larger than is read", large, 1009),
        ("larger than is read, in pieces", pieces, 1009),
        ("no text", frame(0x81, b"4\xff"), 1007),
        ("no packet", frame(0x81, b"hello"), 1000),
        ("a ping, which is not the client's", frame(0x81, b"2"), 1000),
        ("no packet of Socket.IO", frame(0x81, b"4hello"), 1000),
        ("bytes that nobody announced", frame(0x82, b"hello"), 1000),
    ];
    for (name, bytes, code) in cases {
        let mut client = Client::open(&setu);
        // Before it has read everything, the server may have closed.
        let _ = client.0.write_all(&bytes);
        assert_eq!(client.goodbye(), code, "{name}");
        client.hangs_up();
    }
    let mut client = Client::open(&setu);
    client
        .0
        .write_all(&frame(0x88, &1001_u16.to_be_bytes()))
        .unwrap();
    assert_eq!(client.goodbye(), 1001, "a goodbye is returned");
    client.hangs_up();
}

#[test]
fn a_body_that_is_too_large_ends_the_session() {
    let setu = Setu::start(&[]);
    let sid = poller(&setu);
    let answer = say(&setu, &sid, &"4".repeat(1_000_001));
    assert_eq!(answer.status, 413);
    is_unknown(&setu, &sid);
    let sid = poller(&setu);
    let mut stream = connect(setu.http);
    write!(
        stream,
        "POST {} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        polling(&sid)
    )
    .unwrap();
    for _ in 0..16 {
        // The server may have had enough already.
        let _ = write!(stream, "10000\r\n{}\r\n", "4".repeat(0x10000));
    }
    is_unknown(&setu, &sid);
}

#[test]
fn a_body_of_nonsense_ends_the_session() {
    let setu = Setu::start(&[]);
    for body in ["", "nonsense", "40\x1e", "b?"] {
        let sid = poller(&setu);
        assert_eq!(say(&setu, &sid, body).status, 400, "{body:?}");
        is_unknown(&setu, &sid);
    }
}

#[test]
fn two_polls_at_once_end_the_session() {
    let setu = Setu::start(&[]);
    let sid = poller(&setu);
    let (setu, sid) = (&setu, &sid);
    thread::scope(|scope| {
        let polls = [0; 2].map(|_| scope.spawn(|| get(setu.http, &polling(sid))));
        let mut answers = polls.map(|poll| poll.join().unwrap());
        answers.sort_by_key(|answer| answer.status);
        let [one, other] = answers;
        assert_eq!((one.status, one.body.as_str()), (200, "1"));
        assert_eq!(
            (other.status, other.json()["code"].as_u64()),
            (400, Some(3))
        );
    });
    is_unknown(setu, sid);
}

#[test]
fn two_posts_at_once_end_the_session() {
    let setu = Setu::start(&[]);
    let sid = poller(&setu);
    let mut slow = connect(setu.http);
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
        polling(&sid)
    );
    slow.write_all(head.as_bytes()).unwrap();
    // The server asks for the body when it begins to read it.
    let mut go_on = [0; 12];
    slow.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100");
    assert_eq!(say(&setu, &sid, "40").status, 400);
    is_unknown(&setu, &sid);
}

#[test]
fn a_client_that_hangs_up_while_it_polls_is_gone() {
    let setu = Setu::start(&[]);
    let sid = poller(&setu);
    let mut stream = connect(setu.http);
    write!(stream, "GET {} HTTP/1.1\r\nHost: x\r\n\r\n", polling(&sid)).unwrap();
    drop(stream);
    is_unknown(&setu, &sid);
}

#[test]
fn of_many_upgrades_at_once_one_is_tried_and_the_client_goes_on_polling() {
    let setu = Setu::start(UNLIMITED);
    let sid = poller(&setu);
    let asked = format!("&sid={sid}");
    let mut tried: Vec<_> = (0..200).map(|_| Client::ask(&setu, &asked, b"")).collect();
    let statuses: Vec<_> = tried.iter_mut().map(Client::head).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 101).count(), 1);
    let sessions: Vec<_> = (0..200).map(|_| poller(&setu)).collect();
    let _half_open: Vec<_> = sessions
        .iter()
        .map(|sid| Client::ask(&setu, &format!("&sid={sid}"), b"").probed())
        .collect();
    for sid in sessions.iter().chain([&sid]) {
        assert_eq!(say(&setu, sid, "40").body, "ok");
        assert!(get(setu.http, &polling(sid)).body.starts_with("40{"));
    }
}

#[test]
fn clients_that_do_not_read_are_cut_off_and_what_they_were_to_read_is_forgotten() {
    let setu = Setu::start(UNLIMITED);
    let mut talker = Client::joined(&setu, "talker");
    let data = "x".repeat(200_000);
    let message = format!(
        r#"421["webrtc-offer",{{"type":"offer","sessionId":"s","from":"talker","to":"all","data":"{data}"}}]"#
    );
    let before = resident_bytes(&setu);
    for round in 0..CUT_OFF {
        let name = format!("deaf{round}");
        let deaf = Client::joined(&setu, &name);
        loop {
            talker.say(&message);
            let told = talker.text_but("session-joined");
            if told.contains("participant-left") && told.contains(&name) {
                break;
            }
        }
        drop(deaf);
    }
    let grown = resident_bytes(&setu).saturating_sub(before);
    assert!(grown < CUT_OFF * OUTBOX_BYTES / 2, "{grown} bytes more");
}

const CUT_OFF: usize = 20;
const OUTBOX_BYTES: usize = 4 * 1024 * 1024;

/// One WebSocket, byte by byte.
struct Client(TcpStream);

impl Client {
    /// Asks for a WebSocket, and sends `early` with that.
    fn ask(setu: &Setu, parameters: &str, early: &[u8]) -> Self {
        let mut stream = connect(setu.http);
        let headers = "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
        let head = format!(
            "GET /socket.io/?EIO=4&transport=websocket{parameters} HTTP/1.1\r\n{headers}\r\n\r\n"
        );
        stream
            .write_all(&[head.as_bytes(), early].concat())
            .unwrap();
        Self(stream)
    }

    /// Reads the answer's head, and says the status.
    fn head(&mut self) -> u16 {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.bytes::<1>()[0]);
        }
        String::from_utf8_lossy(&head[9..12]).parse().unwrap()
    }

    fn open(setu: &Setu) -> Self {
        let mut client = Self::ask(setu, "", b"");
        assert_eq!(client.head(), 101);
        assert!(client.text().starts_with("0{"));
        client
    }

    /// Connects to Socket.IO.
    fn say_open(&mut self) {
        self.say("40");
        assert!(self.text().starts_with("40{"));
    }

    fn joined(setu: &Setu, participant: &str) -> Self {
        let mut client = Self::open(setu);
        client.say_open();
        client.say(&format!(
            r#"42["join-session",{{"sessionId":"s","participantId":"{participant}"}}]"#
        ));
        assert!(client.text().starts_with(r#"42["session-joined","#));
        client
    }

    fn probed(mut self) -> Self {
        assert_eq!(self.head(), 101);
        self.say("2probe");
        assert_eq!(self.text(), "3probe");
        self
    }

    fn say(&mut self, text: &str) {
        self.0.write_all(&frame(0x81, text.as_bytes())).unwrap();
    }

    fn text(&mut self) -> String {
        let (first, payload) = self.frame();
        assert_eq!(first, 0x81, "{payload:?}");
        String::from_utf8(payload).unwrap()
    }

    /// The next text that is none of this event.
    fn text_but(&mut self, event: &str) -> String {
        loop {
            let text = self.text();
            if !text.starts_with(&format!(r#"42["{event}""#)) {
                return text;
            }
        }
    }

    /// The next frame's first byte, and its payload.
    fn frame(&mut self) -> (u8, Vec<u8>) {
        let [first, short] = self.bytes();
        let length = match short {
            126 => u16::from_be_bytes(self.bytes()).into(),
            127 => u64::from_be_bytes(self.bytes()),
            short => short.into(),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.0.read_exact(&mut payload).unwrap();
        (first, payload)
    }

    /// The code of the close frame that comes next.
    fn goodbye(&mut self) -> u16 {
        let (first, payload) = self.frame();
        assert_eq!(first, 0x88, "{payload:?}");
        u16::from_be_bytes(payload.try_into().unwrap())
    }

    /// The server has hung up; now the client does.
    fn hangs_up(mut self) {
        assert_eq!(self.0.read(&mut [0]).unwrap(), 0);
        // The other side may be gone.
        let _ = self.0.shutdown(Shutdown::Write);
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }
}

/// A client's frame, masked with zeros but for one byte.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | u8::try_from(short).unwrap()),
        long => {
            frame.push(0xff);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    frame
}

const MASK: [u8; 4] = [0, 0, 0x5a, 0];

/// A new session over long-polling.
fn poller(setu: &Setu) -> String {
    let open = get(setu.http, "/socket.io/?EIO=4&transport=polling").body;
    let open: serde_json::Value = serde_json::from_str(&open[1..]).unwrap();
    open["sid"].as_str().unwrap().to_owned()
}

fn polling(sid: &str) -> String {
    format!("/socket.io/?EIO=4&transport=polling&sid={sid}")
}

fn say(setu: &Setu, sid: &str, body: &str) -> Answer {
    ask(setu.http, &format!("POST {}", polling(sid)), &[], body)
}

/// The session has ended, or does any moment.
fn is_unknown(setu: &Setu, sid: &str) {
    loop {
        let answer = ask(setu.http, &format!("PUT {}", polling(sid)), &[], "");
        assert_eq!(answer.status, 400);
        if answer.json()["code"] == 1 {
            return;
        }
    }
}

fn resident_bytes(setu: &Setu) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", setu.pid())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim()
        .trim_end_matches(" kB")
        .parse::<usize>()
        .unwrap()
        * 1024
}

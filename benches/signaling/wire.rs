//! As much of WebSocket, Engine.IO 4 and Socket.IO 5 as a client of this benchmark speaks.

use std::net::SocketAddr;

use anyhow::{Context as _, bail, ensure};

/// The request that becomes a WebSocket.
pub(crate) fn upgrade(server: SocketAddr) -> String {
    format!(
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {server}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// How long the answer to [`upgrade`] is, once all of it is here.
pub(crate) fn upgraded(bytes: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    ensure!(
        bytes.starts_with(b"HTTP/1.1 101 "),
        "no WebSocket: {}",
        String::from_utf8_lossy(bytes)
    );
    Ok(Some(end + 4))
}

/// What the server says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packet {
    /// Engine.IO is open: connect to the namespace.
    Open,
    /// Wants a pong.
    Ping,
    /// Connected to the namespace.
    Connected,
    SessionJoined,
    ParticipantJoined,
    Candidate,
}

/// The first packet and its length, once all of it is here.
pub(crate) fn packet(bytes: &[u8]) -> anyhow::Result<Option<(Packet, usize)>> {
    let Some((head, payload)) = frame(bytes)? else {
        return Ok(None);
    };
    let known = PACKETS
        .iter()
        .find(|(prefix, _)| payload.starts_with(prefix.as_bytes()));
    let (_, packet) =
        known.with_context(|| format!("unexpected: {}", String::from_utf8_lossy(payload)))?;
    Ok(Some((*packet, head + payload.len())))
}

/// A client's text frame: masked, as every client's.
pub(crate) fn text(payload: &str) -> Vec<u8> {
    let mut frame = vec![FINAL | TEXT];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ ..LENGTH_16), _) => frame.push(MASKED | length),
        (_, Ok(length)) => {
            frame.push(MASKED | LENGTH_16);
            frame.extend(length.to_be_bytes());
        }
        (_, Err(_)) => {
            frame.push(MASKED | LENGTH_64);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend(
        payload
            .bytes()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    frame
}

/// What each packet begins with, the most frequent first.
const PACKETS: [(&str, Packet); 6] = [
    (r#"42["webrtc-ice-candidate",{"#, Packet::Candidate),
    (r#"42["session-joined",{"#, Packet::SessionJoined),
    (r#"42["participant-joined",{"#, Packet::ParticipantJoined),
    ("2", Packet::Ping),
    ("40{", Packet::Connected),
    ("0{", Packet::Open),
];
const FINAL: u8 = 0x80;
const TEXT: u8 = 0x1;
const MASKED: u8 = 0x80;
/// The length follows in 16 or 64 bits ([RFC 6455 §5.2](https://www.rfc-editor.org/rfc/rfc6455#section-5.2)).
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;
/// Hides nothing here; the server has to take it off all the same.
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// The length of the first frame's head, and its payload, once all of it is here.
fn frame(bytes: &[u8]) -> anyhow::Result<Option<(usize, &[u8])>> {
    let [first, second, rest @ ..] = bytes else {
        return Ok(None);
    };
    if *first != FINAL | TEXT {
        bail!("a frame that is no text or not whole: {first:#04x}");
    }
    let (head, length) = match *second {
        LENGTH_16 => match rest.first_chunk() {
            Some(length) => (4, u16::from_be_bytes(*length).into()),
            None => return Ok(None),
        },
        LENGTH_64 => match rest.first_chunk() {
            Some(length) => (10, usize::try_from(u64::from_be_bytes(*length))?),
            None => return Ok(None),
        },
        length => (2, length.into()),
    };
    let payload = bytes.get(head..).and_then(|rest| rest.get(..length));
    Ok(payload.map(|payload| (head, payload)))
}

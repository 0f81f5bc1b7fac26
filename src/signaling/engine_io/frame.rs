//! WebSocket frames ([RFC 6455 §5](https://www.rfc-editor.org/rfc/rfc6455#section-5)): a client's messages cut out of its
//! bytes, and what the server says. Without extensions, and without I/O.

use std::borrow::Cow;

/// A client's message, put together.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message<'b> {
    Text(Cow<'b, str>),
    Binary(Cow<'b, [u8]>),
    Ping(&'b [u8]),
    Pong,
    /// The code that it gave, if it gave one.
    Close(Option<u16>),
}

/// What a client may not send; the code says why its connection is closed
/// ([§7.4.1](https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Violation(pub(super) u16);

/// Puts a client's messages together.
#[derive(Debug)]
pub(super) struct Assembler {
    message_bytes_max: usize,
    /// The beginning of a message that is not complete.
    begun: Option<Box<Begun>>,
}

#[derive(Debug)]
struct Begun {
    is_text: bool,
    payload: Vec<u8>,
}

/// A frame's first bytes.
struct Head {
    is_final: bool,
    opcode: Opcode,
    mask: [u8; 4],
    /// Its own length.
    bytes: usize,
    payload_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Assembler {
    /// Nothing has begun yet.
    pub(super) fn new(message_bytes_max: usize) -> Self {
        Self {
            message_bytes_max,
            begun: None,
        }
    }

    /// Takes the frame at the beginning of `bytes`: how many bytes it had, none if it is not complete yet; and the
    /// message that it completes.
    pub(super) fn take<'b>(
        &mut self,
        bytes: &'b mut [u8],
    ) -> Result<(usize, Option<Message<'b>>), Violation> {
        let Some(head) = Head::read(bytes)? else {
            return Ok((0, None));
        };
        let begun_bytes = self.begun.as_ref().map_or(0, |begun| begun.payload.len());
        if head.payload_bytes > self.message_bytes_max.saturating_sub(begun_bytes) {
            return Err(Violation(TOO_BIG));
        }
        let end = head.bytes + head.payload_bytes;
        let Some(payload) = bytes.get_mut(head.bytes..end) else {
            return Ok((0, None));
        };
        unmask(payload, head.mask);
        let message = match head.opcode {
            Opcode::Continuation => self.go_on(head.is_final, payload)?,
            Opcode::Text => self.begin(true, head.is_final, payload)?,
            Opcode::Binary => self.begin(false, head.is_final, payload)?,
            Opcode::Close => Some(Message::Close(close_code(payload)?)),
            Opcode::Ping => Some(Message::Ping(payload)),
            Opcode::Pong => Some(Message::Pong),
        };
        Ok((end, message))
    }

    fn begin<'b>(
        &mut self,
        is_text: bool,
        is_final: bool,
        payload: &'b [u8],
    ) -> Result<Option<Message<'b>>, Violation> {
        if self.begun.is_some() {
            return Err(Violation(PROTOCOL));
        }
        if !is_final {
            let payload = payload.to_vec();
            self.begun = Some(Box::new(Begun { is_text, payload }));
            return Ok(None);
        }
        if !is_text {
            return Ok(Some(Message::Binary(payload.into())));
        }
        let text = str::from_utf8(payload).map_err(|_| Violation(NO_UTF8))?;
        Ok(Some(Message::Text(text.into())))
    }

    fn go_on<'b>(
        &mut self,
        is_final: bool,
        payload: &[u8],
    ) -> Result<Option<Message<'b>>, Violation> {
        let mut begun = self.begun.take().ok_or(Violation(PROTOCOL))?;
        begun.payload.extend_from_slice(payload);
        if !is_final {
            self.begun = Some(begun);
            return Ok(None);
        }
        if !begun.is_text {
            return Ok(Some(Message::Binary(begun.payload.into())));
        }
        let text = String::from_utf8(begun.payload).map_err(|_| Violation(NO_UTF8))?;
        Ok(Some(Message::Text(text.into())))
    }
}

impl Head {
    /// `None` until all of it is there.
    fn read(bytes: &[u8]) -> Result<Option<Self>, Violation> {
        let &[first, second, ref rest @ ..] = bytes else {
            return Ok(None);
        };
        let opcode = Opcode::read(first & 0x0f).ok_or(Violation(PROTOCOL))?;
        let (is_final, is_masked, short) =
            (first & FINAL != 0, second & MASKED != 0, second & 0x7f);
        let is_sound = !opcode.is_control() || is_final && short <= CONTROL_BYTES_MAX;
        // No extension gives the reserved bits a meaning, and what clients send is masked.
        if first & RESERVED != 0 || !is_masked || !is_sound {
            return Err(Violation(PROTOCOL));
        }
        let (length, rest) = match short {
            126 => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest),
                None => return Ok(None),
            },
            127 => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from_be_bytes(*length), rest),
                None => return Ok(None),
            },
            short => (u64::from(short), rest),
        };
        if length > i64::MAX as u64 {
            return Err(Violation(PROTOCOL));
        }
        let Some((mask, payload)) = rest.split_first_chunk() else {
            return Ok(None);
        };
        Ok(Some(Self {
            is_final,
            opcode,
            mask: *mask,
            bytes: bytes.len() - payload.len(),
            payload_bytes: usize::try_from(length).map_err(|_| Violation(TOO_BIG))?,
        }))
    }
}

impl Opcode {
    fn read(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    fn is_control(self) -> bool {
        match self {
            Self::Close | Self::Ping | Self::Pong => true,
            Self::Continuation | Self::Text | Self::Binary => false,
        }
    }
}

/// Adds a whole frame to `out`, its payload given in two pieces.
pub(super) fn put(out: &mut Vec<u8>, opcode: Opcode, payload: [&[u8]; 2]) {
    let bytes: usize = payload.iter().map(|piece| piece.len()).sum();
    out.push(FINAL | opcode as u8);
    match (u8::try_from(bytes), u16::try_from(bytes)) {
        (Ok(short @ 0..126), _) => out.push(short),
        (_, Ok(bytes)) => {
            out.push(126);
            out.extend_from_slice(&bytes.to_be_bytes());
        }
        (_, Err(_)) => {
            out.push(127);
            out.extend_from_slice(&(bytes as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload[0]);
    out.extend_from_slice(payload[1]);
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let (words, tail) = payload.as_chunks_mut();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(mask)).to_ne_bytes();
    }
    for (byte, mask) in tail.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

fn close_code(payload: &[u8]) -> Result<Option<u16>, Violation> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() {
            Ok(None)
        } else {
            Err(Violation(PROTOCOL))
        };
    };
    let code = u16::from_be_bytes(*code);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Violation(PROTOCOL));
    }
    match str::from_utf8(reason) {
        Ok(_) => Ok(Some(code)),
        Err(_) => Err(Violation(NO_UTF8)),
    }
}

const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;
const CONTROL_BYTES_MAX: u8 = 125;

/// All is well, and over.
pub(super) const NORMAL: u16 = 1000;
const PROTOCOL: u16 = 1002;
const NO_UTF8: u16 = 1007;
const TOO_BIG: u16 = 1009;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tungstenite::protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    };

    use super::*;

    const MAX: usize = 1000;

    #[test]
    #[expect(clippy::too_many_lines, reason = "a row for each fault")]
    fn what_a_client_may_not_send_closes_with_the_code_that_says_so() {
        let masked = |head: &[u8], payload: &[u8]| [head, &[0; 4], payload].concat();
        let cases: &[(&str, Vec<u8>, u16)] = &[
            ("a frame without a mask", vec![0x81, 0x00], PROTOCOL),
            ("a reserved bit", masked(&[0xc1, 0x80], b""), PROTOCOL),
            ("an opcode of nothing", masked(&[0x83, 0x80], b""), PROTOCOL),
            (
                "a control opcode of nothing",
                masked(&[0x8b, 0x80], b""),
                PROTOCOL,
            ),
            ("a ping in fragments", masked(&[0x09, 0x80], b""), PROTOCOL),
            (
                "a ping of 126 bytes",
                masked(&[0x89, 0xfe, 0, 126], &[0; 126]),
                PROTOCOL,
            ),
            (
                "a continuation of nothing",
                masked(&[0x80, 0x80], b""),
                PROTOCOL,
            ),
            (
                "a message within another",
                [masked(&[0x01, 0x80], b""), masked(&[0x81, 0x80], b"")].concat(),
                PROTOCOL,
            ),
            ("half a close code", masked(&[0x88, 0x81], &[3]), PROTOCOL),
            (
                "a close code of nobody's",
                masked(&[0x88, 0x82], &1005_u16.to_be_bytes()),
                PROTOCOL,
            ),
            (
                "a reason that is no text",
                masked(&[0x88, 0x83], &[3, 0xe8, 0xff]),
                NO_UTF8,
            ),
            (
                "a text that is none",
                masked(&[0x81, 0x81], &[0xff]),
                NO_UTF8,
            ),
            (
                "half a character at the end",
                [masked(&[0x01, 0x81], &[0xc3]), masked(&[0x80, 0x80], b"")].concat(),
                NO_UTF8,
            ),
            (
                "too large",
                vec![0x82, 0xfe, 0x03, 0xe9, 0, 0, 0, 0],
                TOO_BIG,
            ),
            (
                "much too large",
                vec![
                    0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0,
                ],
                TOO_BIG,
            ),
            (
                "larger than there is",
                vec![0x82, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                PROTOCOL,
            ),
            (
                "too large in two pieces",
                [
                    masked(&[0x02, 0xfe, 0x03, 0xe8], &[0; MAX]),
                    masked(&[0x80, 0x81], &[0]),
                ]
                .concat(),
                TOO_BIG,
            ),
        ];
        for (name, bytes, code) in cases {
            assert_eq!(read(bytes), (Vec::new(), Some(*code)), "{name}");
        }
    }

    #[test]
    fn a_character_may_be_cut_by_fragments_and_a_ping_may_come_between() {
        let bytes = [
            client(OpCode::Data(Data::Text), false, &[0xc3]),
            vec![0x89, 0x81, 0, 0, 0, 0, b'x'],
            client(OpCode::Data(Data::Continue), true, &[0xa9]),
        ];
        let expected = vec![Said::Ping(b"x".to_vec()), Said::Text("é".to_owned())];
        assert_eq!(read(&bytes.concat()), (expected, None));
    }

    #[test]
    fn a_client_says_goodbye_with_a_code_or_without() {
        for (payload, code) in [(vec![], None), (b"\x03\xe9away".to_vec(), Some(1001))] {
            let head = [
                0x88,
                0x80 | u8::try_from(payload.len()).unwrap(),
                0,
                0,
                0,
                0,
            ];
            assert_eq!(
                read(&[&head[..], &payload].concat()),
                (vec![Said::Close(code)], None)
            );
        }
    }

    proptest! {
        #[test]
        fn messages_come_as_they_were_sent_wherever_their_bytes_are_cut(
            messages in prop::collection::vec(sendable(), 0..6),
            cuts in prop::collection::vec(1_usize..700, 1..8),
        ) {
            let bytes: Vec<u8> = messages.iter().flat_map(|(said, cut)| said.frames(*cut)).collect();
            let said: Vec<_> = messages.into_iter().map(|(said, _)| said).collect();
            let (mut assembler, mut rest, mut heard) = (Assembler::new(MAX), Vec::new(), Vec::new());
            let (mut at, mut cuts) = (0, cuts.iter().cycle());
            while at < bytes.len() {
                let end = bytes.len().min(at + cuts.next().unwrap());
                rest.extend_from_slice(&bytes[at..end]);
                let taken = hear(&mut assembler, &mut rest, &mut heard).unwrap();
                rest.drain(..taken);
                at = end;
            }
            prop_assert!(rest.is_empty() && assembler.begun.is_none());
            prop_assert_eq!(heard, said);
        }

        #[test]
        fn anything_may_come(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes);
        }

        #[test]
        fn a_client_reads_what_is_put(
            head in prop::collection::vec(any::<u8>(), 0..3),
            bytes in prop_oneof![0_usize..300, 65_530_usize..65_540],
        ) {
            let payload = vec![7; bytes];
            let mut frame = Vec::new();
            put(&mut frame, Opcode::Binary, [&head, &payload]);
            let mut socket = tungstenite::protocol::frame::FrameSocket::new(std::io::Cursor::new(frame));
            let read = socket.read(None).unwrap().unwrap();
            prop_assert_eq!(read.payload(), [head, payload].concat());
            prop_assert!(read.header().is_final && read.header().mask.is_none());
            prop_assert_eq!(read.header().opcode, OpCode::Data(Data::Binary));
        }
    }

    #[derive(Clone, Debug, PartialEq, Eq)]
    enum Said {
        Text(String),
        Binary(Vec<u8>),
        Ping(Vec<u8>),
        Pong,
        Close(Option<u16>),
    }

    impl Said {
        /// As a client's library writes it, in two fragments if it is cut.
        fn frames(&self, cut: Option<usize>) -> Vec<u8> {
            let (kind, payload) = match self {
                Self::Text(text) => (Data::Text, text.as_bytes()),
                Self::Binary(bytes) => (Data::Binary, &**bytes),
                Self::Ping(_) | Self::Pong | Self::Close(_) => unreachable!("none is made"),
            };
            let Some(cut) = cut.filter(|cut| *cut <= payload.len()) else {
                return client(OpCode::Data(kind), true, payload);
            };
            let (one, other) = payload.split_at(cut);
            let one = client(OpCode::Data(kind), false, one);
            [one, client(OpCode::Data(Data::Continue), true, other)].concat()
        }
    }

    fn sendable() -> impl Strategy<Value = (Said, Option<usize>)> {
        let said = prop_oneof![
            ".{0,300}"
                .prop_filter("fits", |text| text.len() <= MAX)
                .prop_map(Said::Text),
            prop::collection::vec(any::<u8>(), 0..MAX).prop_map(Said::Binary),
        ];
        (said, prop::option::of(0_usize..300))
    }

    fn client(opcode: OpCode, is_final: bool, payload: &[u8]) -> Vec<u8> {
        let mut frame = Frame::message(payload.to_vec(), opcode, is_final);
        frame.header_mut().mask = Some([1, 2, 3, 250]);
        let mut bytes = Vec::new();
        frame.format(&mut bytes).unwrap();
        bytes
    }

    fn read(bytes: &[u8]) -> (Vec<Said>, Option<u16>) {
        let mut said = Vec::new();
        let read = hear(&mut Assembler::new(MAX), &mut bytes.to_vec(), &mut said);
        (said, read.err().map(|Violation(code)| code))
    }

    fn hear(
        assembler: &mut Assembler,
        bytes: &mut [u8],
        said: &mut Vec<Said>,
    ) -> Result<usize, Violation> {
        let mut at = 0;
        loop {
            let (taken, message) = assembler.take(&mut bytes[at..])?;
            said.extend(message.map(|message| match message {
                Message::Text(text) => Said::Text(text.into_owned()),
                Message::Binary(bytes) => Said::Binary(bytes.into_owned()),
                Message::Ping(payload) => Said::Ping(payload.to_vec()),
                Message::Pong => Said::Pong,
                Message::Close(code) => Said::Close(code),
            }));
            at += taken;
            if taken == 0 {
                return Ok(at);
            }
        }
    }
}

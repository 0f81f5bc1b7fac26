//! STUN messages and padded ChannelData cut out of a byte stream
//! ([RFC 8489 §6.2.2](https://www.rfc-editor.org/rfc/rfc8489#section-6.2.2),
//! [RFC 8656 §12.5](https://www.rfc-editor.org/rfc/rfc8656#section-12.5)).

use std::mem;

/// What a connection has sent and nobody has read yet.
///
/// Never holds more than one unfinished message and what came behind it in the same read.
#[derive(Debug, Default)]
pub struct Inbound {
    bytes: Vec<u8>,
    taken: usize,
    /// Where the last message taken began.
    began: usize,
}

/// The stream is no sequence of STUN messages and ChannelData, and there is no way to find the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the byte stream is neither STUN nor ChannelData")]
pub struct Unframed;

impl Inbound {
    /// Where the next read appends, with room for at least `bytes` more.
    pub fn room(&mut self, bytes: usize) -> &mut Vec<u8> {
        self.bytes.drain(..self.taken);
        (self.taken, self.began) = (0, 0);
        self.bytes.reserve(bytes);
        &mut self.bytes
    }

    /// Goes on in another buffer, with what nobody has read yet: many connections read into a large one in turn.
    pub fn go_on_in(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        buffer.extend_from_slice(&self.bytes[self.taken..]);
        self.bytes = buffer;
        (self.taken, self.began) = (0, 0);
    }

    /// Gives that buffer back, and holds no more than what nobody has read yet.
    #[must_use]
    pub fn give_back(&mut self) -> Vec<u8> {
        let unread = self.bytes[self.taken..].to_vec();
        (self.taken, self.began) = (0, 0);
        mem::replace(&mut self.bytes, unread)
    }

    /// The next whole message without its padding; `None` until more has come.
    ///
    /// # Errors
    /// When no message can begin here: the connection is of no further use.
    pub fn next_message(&mut self) -> Result<Option<&[u8]>, Unframed> {
        self.messages().next_message()
    }

    /// The whole messages, side by side.
    pub fn messages(&mut self) -> Messages<'_> {
        Messages {
            bytes: &self.bytes,
            taken: &mut self.taken,
            began: &mut self.began,
        }
    }

    /// What has come behind the message taken last: no messages any more.
    #[must_use]
    pub fn into_rest(mut self) -> Vec<u8> {
        self.bytes.split_off(self.taken)
    }

    /// Whether the stream stands within a message.
    #[must_use]
    pub fn is_mid_message(&self) -> bool {
        self.taken < self.bytes.len()
    }
}

/// Takes messages which lie in the same buffer until all are dropped.
#[derive(Debug)]
pub struct Messages<'i> {
    bytes: &'i [u8],
    taken: &'i mut usize,
    began: &'i mut usize,
}

impl<'i> Messages<'i> {
    /// The next whole message without its padding; `None` until more has come.
    ///
    /// # Errors
    /// When no message can begin here: the connection is of no further use.
    pub fn next_message(&mut self) -> Result<Option<&'i [u8]>, Unframed> {
        let rest = &self.bytes[*self.taken..];
        let Some(extent) = Extent::at(rest)? else {
            return Ok(None);
        };
        if rest.len() < extent.padded_bytes {
            return Ok(None);
        }
        *self.began = *self.taken;
        *self.taken += extent.padded_bytes;
        Ok(Some(&rest[..extent.message_bytes]))
    }

    /// Puts the message taken last back: it is the next one again.
    pub fn put_back(&mut self) {
        *self.taken = *self.began;
    }
}

struct Extent {
    message_bytes: usize,
    padded_bytes: usize,
}

impl Extent {
    /// The message that begins `bytes`; `None` while its header is incomplete.
    fn at(bytes: &[u8]) -> Result<Option<Self>, Unframed> {
        let Some(first) = bytes.first() else {
            return Ok(None);
        };
        match first {
            0x00..=0x03 => Self::of_stun(bytes),
            // Also the numbers that no channel may have: their length tells where the next message begins.
            0x40..=0x7F => Ok(Self::of_channel_data(bytes)),
            0x04..=0x3F | 0x80..=0xFF => Err(Unframed),
        }
    }

    fn of_stun(bytes: &[u8]) -> Result<Option<Self>, Unframed> {
        let cookie = bytes.get(4..).unwrap_or_default();
        if !cookie.iter().zip(MAGIC_COOKIE).all(|(a, b)| *a == b) {
            return Err(Unframed);
        }
        let Some(body_bytes) = length_field(bytes) else {
            return Ok(None);
        };
        if !body_bytes.is_multiple_of(4) {
            return Err(Unframed);
        }
        let message_bytes = STUN_HEADER_BYTES + body_bytes;
        Ok(Some(Self {
            message_bytes,
            padded_bytes: message_bytes,
        }))
    }

    fn of_channel_data(bytes: &[u8]) -> Option<Self> {
        let message_bytes = CHANNEL_HEADER_BYTES + length_field(bytes)?;
        Some(Self {
            message_bytes,
            padded_bytes: message_bytes.next_multiple_of(4),
        })
    }
}

/// STUN and ChannelData both have their length in bytes 2 and 3.
fn length_field(bytes: &[u8]) -> Option<usize> {
    let length = bytes.get(2..4)?.try_into().ok()?;
    Some(usize::from(u16::from_be_bytes(length)))
}

const STUN_HEADER_BYTES: usize = 20;
const CHANNEL_HEADER_BYTES: usize = 4;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    #[test]
    fn a_stream_of_single_bytes_gives_every_message() {
        let messages = [
            stun(8),
            channel(0x4001, b"media"),
            stun(0),
            channel(0x4001, b""),
        ];
        let bytes = padded(&messages);
        assert_eq!(cut(bytes.chunks(1)), Ok(messages.to_vec()));
    }

    #[test]
    fn a_channel_data_message_ends_with_its_padding() {
        let mut inbound = Inbound::default();
        let bytes = padded(&[channel(0x4001, b"x")]);
        inbound.room(0).extend_from_slice(&bytes[..7]);
        assert_eq!(inbound.next_message(), Ok(None));
        assert!(inbound.is_mid_message());
        inbound.room(0).extend_from_slice(&bytes[7..]);
        assert_eq!(inbound.next_message(), Ok(Some(&bytes[..5])));
        assert!(!inbound.is_mid_message());
    }

    #[test]
    fn one_buffer_serves_many_connections_in_turn() {
        let mut buffer = Vec::with_capacity(1000);
        let streams = [&b"one"[..], b"other"].map(|said| padded(&[channel(0x4001, said)]));
        let mut connections = [Inbound::default(), Inbound::default()];
        for half in 0..2 {
            for (inbound, bytes) in connections.iter_mut().zip(&streams) {
                inbound.go_on_in(buffer);
                let piece = [&bytes[..6], &bytes[6..]][half];
                inbound.room(0).extend_from_slice(piece);
                let message = inbound.next_message().unwrap();
                assert_eq!(message.is_some(), half == 1);
                buffer = inbound.give_back();
                assert_eq!(inbound.is_mid_message(), half == 0);
                assert!(inbound.bytes.capacity() < 20 && buffer.capacity() >= 1000);
            }
        }
    }

    #[test]
    fn a_message_put_back_is_the_next_again_and_the_rest_is_what_follows_it() {
        let messages = [stun(4), stun(8)];
        let mut inbound = Inbound::default();
        let bytes = [padded(&messages), b"raw bytes".to_vec()].concat();
        inbound.room(0).extend_from_slice(&bytes);
        for message in &messages {
            assert_eq!(inbound.next_message(), Ok(Some(&message[..])));
            inbound.messages().put_back();
            assert_eq!(inbound.next_message(), Ok(Some(&message[..])));
        }
        assert_eq!(inbound.into_rest(), b"raw bytes");
    }

    #[test]
    fn a_message_of_the_largest_size_passes() {
        let messages = [channel(0x4001, &[7; 0xFFFF]), stun(0xFFFC)];
        assert_eq!(cut(padded(&messages).chunks(1400)), Ok(messages.to_vec()));
    }

    #[test]
    fn what_begins_no_message_ends_the_stream() {
        let cases: &[(&str, &[u8], bool)] = &[
            ("nothing yet", &[], true),
            ("a STUN message may begin", &[0x01], true),
            (
                "ChannelData of a reserved number",
                &[0x5F, 0xFF, 0x00, 0x00],
                true,
            ),
            ("a TLS handshake", &[0x16, 0x03, 0x01], false),
            (
                "a STUN method beyond the first bytes of RFC 7983",
                &[0x04],
                false,
            ),
            ("RTP", &[0x80], false),
            ("all ones", &[0xFF], false),
            (
                "a STUN length that is no multiple of 4",
                &[0x00, 0x01, 0x00, 0x02],
                false,
            ),
            (
                "another cookie",
                &[0x00, 0x01, 0x00, 0x00, 0x21, 0x13],
                false,
            ),
        ];
        for (name, bytes, may_go_on) in cases {
            assert_eq!(cut([*bytes]).is_ok(), *may_go_on, "{name}");
        }
    }

    #[test]
    fn frames_with_reserved_numbers_are_stepped_over_whole() {
        let messages = [channel(0x7FFF, b"odd"), stun(0)];
        assert_eq!(cut([padded(&messages).as_slice()]), Ok(messages.to_vec()));
    }

    proptest! {
        #[test]
        fn any_segmentation_gives_the_same_messages(
            messages in proptest::collection::vec(message(), 0..20),
            cuts in proptest::collection::vec(1_usize..200, 1..100),
        ) {
            let bytes = padded(&messages);
            let mut rest = bytes.as_slice();
            let mut sizes = cuts.iter().cycle();
            let pieces = std::iter::from_fn(|| {
                let size = (*sizes.next()?).min(rest.len());
                let (piece, behind) = rest.split_at(size);
                rest = behind;
                (size > 0).then_some(piece)
            });
            prop_assert_eq!(cut(pieces), Ok(messages));
        }

        #[test]
        fn any_bytes_are_cut_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..4000)) {
            let whole = cut([bytes.as_slice()]);
            prop_assert_eq!(whole, cut(bytes.chunks(3)));
        }
    }

    fn cut<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> Result<Vec<Vec<u8>>, Unframed> {
        let (mut inbound, mut messages) = (Inbound::default(), Vec::new());
        for piece in pieces {
            inbound.room(piece.len()).extend_from_slice(piece);
            while let Some(message) = inbound.next_message()? {
                messages.push(message.to_vec());
            }
        }
        Ok(messages)
    }

    fn message() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            (0_usize..60).prop_map(|words| stun(words * 4)),
            (
                0x4000_u16..=0x7FFF,
                proptest::collection::vec(any::<u8>(), 0..300)
            )
                .prop_map(|(number, payload)| channel(number, &payload)),
        ]
    }

    fn stun(body_bytes: usize) -> Vec<u8> {
        let length = u16::try_from(body_bytes).unwrap().to_be_bytes();
        let mut message = vec![0x00, 0x01, length[0], length[1]];
        message.extend(MAGIC_COOKIE);
        message.resize(STUN_HEADER_BYTES + body_bytes, 0x80);
        message
    }

    fn channel(number: u16, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        [&number.to_be_bytes()[..], &length, payload].concat()
    }

    fn padded(messages: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for message in messages {
            bytes.extend_from_slice(message);
            bytes.resize(bytes.len().next_multiple_of(4), 0xEE);
        }
        bytes
    }
}

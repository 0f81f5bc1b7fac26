//! DTLS records, as far as one must look at them from outside
//! ([RFC 6347 §4.1](https://www.rfc-editor.org/rfc/rfc6347#section-4.1)).

/// Content type, version, epoch, sequence number and length.
pub const HEADER_BYTES: usize = 13;

/// The longest plaintext that a record carries ([RFC 5246 §6.2.1](https://www.rfc-editor.org/rfc/rfc5246#section-6.2.1)).
pub const PLAINTEXT_BYTES_MAX: usize = 1 << 14;

/// What a record holds; the numbers of
/// [RFC 5246 §6.2.1](https://www.rfc-editor.org/rfc/rfc5246#section-6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// 20.
    ChangeCipherSpec,
    /// 21.
    Alert,
    /// 22.
    Handshake,
    /// 23.
    ApplicationData,
}

/// One record of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'d> {
    /// What it holds.
    pub content: Content,
    /// Of the sender's choice, before one is agreed on.
    pub version: [u8; 2],
    /// 0 until both sides have keys.
    pub epoch: u16,
    /// Counts the sender's records in this epoch; 48 bits.
    pub sequence: u64,
    /// What it holds, as sent.
    pub fragment: &'d [u8],
}

/// The records of a datagram, up to what is none.
#[derive(Clone, Debug)]
pub struct Records<'d>(&'d [u8]);

impl<'d> Records<'d> {
    /// All of them, in order.
    #[must_use]
    pub fn of(datagram: &'d [u8]) -> Self {
        Self(datagram)
    }
}

impl<'d> Iterator for Records<'d> {
    type Item = Record<'d>;

    fn next(&mut self) -> Option<Record<'d>> {
        let record = first(self.0)?;
        self.0 = &self.0[HEADER_BYTES + record.fragment.len()..];
        Some(record)
    }
}

/// Whether a session may be given this datagram: it is made of whole records, and of those in clear, only what the
/// handshake needs, and its retransmissions, is among them.
#[must_use]
pub fn may_belong_to_session(datagram: &[u8], is_established: bool) -> bool {
    let mut records = Records::of(datagram);
    let all_may = records.all(|record| match record.content {
        Content::Handshake | Content::ChangeCipherSpec => true,
        Content::Alert => record.epoch > 0 || !is_established,
        Content::ApplicationData => record.epoch > 0,
    });
    all_may && records.0.is_empty()
}

/// Moves the sequence numbers of the datagram's records in clear on by `shift`.
///
/// A server that kept nothing goes on from the number of the ClientHello
/// ([RFC 6347 §4.2.1](https://www.rfc-editor.org/rfc/rfc6347#section-4.2.1)).
pub fn shift_clear_sequence(datagram: &mut [u8], shift: u64) {
    let mut at = 0;
    while let Some(record) = first(&datagram[at..]) {
        let bytes = record.fragment.len();
        if record.epoch == 0 {
            let [_, _, sequence @ ..] = (record.sequence.wrapping_add(shift)).to_be_bytes();
            datagram[at + SEQUENCE_AT..][..sequence.len()].copy_from_slice(&sequence);
        }
        at += HEADER_BYTES + bytes;
    }
}

/// A record in clear around `fragment`, which its 16 bits of length must hold.
pub(super) fn in_clear(content: u8, version: [u8; 2], sequence: u64, fragment: &[u8]) -> Vec<u8> {
    debug_assert!(fragment.len() <= PLAINTEXT_BYTES_MAX);
    let [_, _, sequence @ ..] = sequence.to_be_bytes();
    let [.., l0, l1] = fragment.len().to_be_bytes();
    let [v0, v1] = version;
    let mut record = vec![content, v0, v1, 0, 0];
    record.extend_from_slice(&sequence);
    record.extend_from_slice(&[l0, l1]);
    record.extend_from_slice(fragment);
    record
}

fn first(bytes: &[u8]) -> Option<Record<'_>> {
    let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let &[
        content,
        major,
        minor,
        e0,
        e1,
        s0,
        s1,
        s2,
        s3,
        s4,
        s5,
        l0,
        l1,
    ] = header;
    let content = match content {
        20 => Content::ChangeCipherSpec,
        21 => Content::Alert,
        22 => Content::Handshake,
        23 => Content::ApplicationData,
        _ => return None,
    };
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    if major != MAJOR_VERSION || length > CIPHERTEXT_BYTES_MAX {
        return None;
    }
    Some(Record {
        content,
        version: [major, minor],
        epoch: u16::from_be_bytes([e0, e1]),
        sequence: u64::from_be_bytes([0, 0, s0, s1, s2, s3, s4, s5]),
        fragment: rest.get(..length)?,
    })
}

/// DTLS 1.0 and 1.2 are 254.255 and 254.253.
const MAJOR_VERSION: u8 = 254;
const SEQUENCE_AT: usize = 5;
/// [RFC 5246 §6.2.3](https://www.rfc-editor.org/rfc/rfc5246#section-6.2.3).
const CIPHERTEXT_BYTES_MAX: usize = PLAINTEXT_BYTES_MAX + 2048;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_datagram_is_whole_records_or_nothing() {
        let (one, two) = (clear(22, 7, b"hello"), clear(20, 8, b""));
        let both = [one.as_slice(), &two].concat();
        let found: Vec<_> = Records::of(&both).collect();
        let summary: Vec<_> = found.iter().map(|r| (r.content, r.sequence)).collect();
        let expected = [(Content::Handshake, 7), (Content::ChangeCipherSpec, 8)];
        assert_eq!(summary, expected);
        assert_eq!(found[0].fragment, b"hello");
        assert!(may_belong_to_session(&both, false));
        for (name, bytes) in [
            ("cut", both[..both.len() - 1].to_vec()),
            ("trailing byte", [one.as_slice(), &[22]].concat()),
            ("unknown content", clear(24, 0, b"heartbeat")),
            ("TLS", [&[22, 3, 3][..], &one[3..]].concat()),
        ] {
            assert!(!may_belong_to_session(&bytes, false), "{name}");
        }
    }

    #[test]
    fn r19_a_session_takes_nothing_in_clear_but_its_handshake() {
        let cases = [
            // (content, epoch, while shaking hands, afterwards)
            (22, 0, true, true),
            (20, 0, true, true),
            (21, 0, true, false),
            (23, 0, false, false),
            (23, 1, true, true),
            (21, 1, true, true),
        ];
        for (content, epoch, before, after) in cases {
            let mut bytes = clear(content, 0, b"x");
            bytes[4] = epoch;
            let may = [false, true].map(|is| may_belong_to_session(&bytes, is));
            assert_eq!(may, [before, after], "{content} {epoch}");
        }
    }

    #[test]
    fn only_sequence_numbers_in_clear_move() {
        let mut protected = clear(22, 1, b"finished");
        protected[4] = 1;
        let mut both = [clear(22, 1, b"hello"), protected].concat();
        shift_clear_sequence(&mut both, 4);
        let found: Vec<_> = Records::of(&both).collect();
        assert_eq!((found[0].sequence, found[1].sequence), (5, 1));
        assert_eq!(found[1].fragment, b"finished");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..80), shift: u64,
        ) {
            let _ = may_belong_to_session(&bytes, true);
            shift_clear_sequence(&mut bytes, shift);
        }
    }

    fn clear(content: u8, sequence: u64, fragment: &[u8]) -> Vec<u8> {
        in_clear(content, [254, 253], sequence, fragment)
    }
}

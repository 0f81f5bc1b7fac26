//! ChannelData messages ([RFC 8656 §12.4](https://www.rfc-editor.org/rfc/rfc8656#section-12.4)).

use crate::relay::wire::datagram::Datagram;

/// The bytes in front of the application data: channel number and length.
pub const HEADER_BYTES: usize = 4;

/// Which channel numbers may be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelRange {
    /// 0x4000 to 0x4FFF ([RFC 8656 §12](https://www.rfc-editor.org/rfc/rfc8656#section-12)).
    Rfc8656,
    /// 0x4000 to 0x7FFF, for clients that follow RFC 5766.
    Rfc5766,
}

/// The number of a channel, within the range that the server admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChannelNumber(u16);

impl ChannelNumber {
    /// Admits the numbers of `range` only.
    #[must_use]
    pub fn new(number: u16, range: ChannelRange) -> Option<Self> {
        let last = match range {
            ChannelRange::Rfc8656 => 0x4FFF,
            ChannelRange::Rfc5766 => 0x7FFF,
        };
        (0x4000..=last).contains(&number).then_some(Self(number))
    }

    /// As it goes on the wire.
    #[must_use]
    pub fn to_be_bytes(self) -> [u8; 2] {
        self.0.to_be_bytes()
    }
}

/// A ChannelData message where it lies in the datagram it came in.
#[derive(Debug)]
pub struct ChannelData<'d> {
    /// The channel.
    pub number: ChannelNumber,
    /// The application data, without padding; may be empty.
    pub payload: Datagram<'d>,
}

impl<'d> ChannelData<'d> {
    /// `None` when the number is out of range or the length reaches beyond the datagram; what follows is padding.
    #[must_use]
    pub fn parse(datagram: Datagram<'d>, range: ChannelRange) -> Option<Self> {
        let &[n0, n1, l0, l1] = datagram.bytes().first_chunk::<HEADER_BYTES>()?;
        let number = ChannelNumber::new(u16::from_be_bytes([n0, n1]), range)?;
        let end = HEADER_BYTES + usize::from(u16::from_be_bytes([l0, l1]));
        let payload = datagram.part(HEADER_BYTES..end)?;
        Some(Self { number, payload })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Case = (&'static str, &'static [u8], Option<&'static [u8]>);

    #[test]
    fn channel_data_is_refused_or_cut_at_its_length() {
        const CASES: &[Case] = &[
            ("empty datagram", &[], None),
            ("header cut short", &[0x40, 0x00, 0x00], None),
            ("length beyond datagram", &[0x40, 0, 0, 2, 0xAA], None),
            ("no payload", &[0x40, 0, 0, 0], Some(&[])),
            ("exact", &[0x4F, 0xFF, 0, 1, 0xAA], Some(&[0xAA])),
            (
                "padding is ignored",
                &[0x40, 0, 0, 1, 0xAA, 0, 0, 0],
                Some(&[0xAA]),
            ),
            ("number too low", &[0x3F, 0xFF, 0, 0], None),
            ("number of RFC 5766", &[0x50, 0, 0, 0], None),
        ];
        for &(name, datagram, payload) in CASES {
            let parsed = ChannelData::parse(datagram.into(), ChannelRange::Rfc8656);
            let parsed = parsed.map(|data| data.payload.into_bytes());
            assert_eq!(parsed, payload, "{name}");
        }
    }

    #[test]
    fn old_clients_draw_numbers_up_to_0x7fff() {
        let admitted = |number| ChannelNumber::new(number, ChannelRange::Rfc5766).is_some();
        assert!(admitted(0x4000) && admitted(0x5000) && admitted(0x7FFF));
        assert!(!admitted(0x3FFF) && !admitted(0x8000));
    }
}

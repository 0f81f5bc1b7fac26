//! A datagram where it lies, and the room before it: a header is written there, and the payload stays in its place.

use std::ops::Range;

/// Bytes that came, or what is left of them without their header.
#[derive(Debug)]
pub struct Datagram<'d>(Lying<'d>);

#[derive(Debug)]
enum Lying<'d> {
    /// What is before them is not ours to write.
    Alone(&'d [u8]),
    /// They begin here in the memory, and what is before them nobody needs any more.
    Behind(usize, &'d mut [u8]),
}

impl<'d> Datagram<'d> {
    /// What is behind the headroom, of so many bytes. They may be overwritten.
    #[must_use]
    pub fn behind(headroom_bytes: usize, memory: &'d mut [u8]) -> Self {
        Self(Lying::Behind(headroom_bytes.min(memory.len()), memory))
    }

    /// The datagram without its headroom.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Lying::Alone(bytes) => bytes,
            Lying::Behind(start, memory) => &memory[*start..],
        }
    }

    /// The same, for as long as its memory is.
    #[must_use]
    pub fn into_bytes(self) -> &'d [u8] {
        match self.0 {
            Lying::Alone(bytes) => bytes,
            Lying::Behind(start, memory) => &memory[start..],
        }
    }

    /// A part of it: what is before that becomes headroom. `None` where it is not that long.
    #[must_use]
    pub fn part(self, part: Range<usize>) -> Option<Self> {
        let bytes = self.bytes().get(part.clone())?.len();
        Some(Self(match self.0 {
            Lying::Alone(all) => Lying::Alone(&all[part]),
            Lying::Behind(before, memory) => {
                let start = before + part.start;
                Lying::Behind(start, &mut memory[..start + bytes])
            }
        }))
    }

    /// The datagram with a header before it, in one piece.
    ///
    /// # Errors
    /// The datagram as it is, where there is too little headroom.
    pub fn headed(self, header: &[u8]) -> Result<&'d [u8], &'d [u8]> {
        match self.0 {
            Lying::Behind(start, memory) if header.len() <= start => {
                let first = start - header.len();
                memory[first..start].copy_from_slice(header);
                Ok(&memory[first..])
            }
            Lying::Alone(_) | Lying::Behind(..) => Err(self.into_bytes()),
        }
    }
}

impl<'d> From<&'d [u8]> for Datagram<'d> {
    /// A datagram without headroom.
    fn from(bytes: &'d [u8]) -> Self {
        Self(Lying::Alone(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_written_where_another_one_was_stripped() {
        let mut memory = *b"..abcdef";
        let payload = Datagram::behind(2, &mut memory).part(3..5).unwrap();
        assert_eq!(payload.bytes(), b"de");
        assert_eq!(payload.headed(b"1234"), Ok(&b"1234de"[..]));
        assert_eq!(&memory, b".1234def");
    }

    #[test]
    fn a_header_that_has_no_room_is_not_written() {
        let mut memory = *b"..abc";
        let datagram = Datagram::behind(2, &mut memory);
        assert_eq!(datagram.headed(b"123"), Err(&b"abc"[..]));
        assert_eq!(&memory, b"..abc");
        let alone = Datagram::from(&b"abc"[..]).part(1..3).unwrap();
        assert_eq!(alone.headed(b"1"), Err(&b"bc"[..]));
    }

    #[test]
    fn nothing_beyond_the_end_is_a_part() {
        for part in [0..4, 4..4, 4..5] {
            let mut memory = *b"..abc";
            let behind = Datagram::behind(2, &mut memory);
            assert!(behind.part(part.clone()).is_none(), "{part:?}");
            assert!(Datagram::from(&b"abc"[..]).part(part).is_none());
        }
        let mut memory = *b"..abc";
        let end = Datagram::behind(2, &mut memory).part(3..3).unwrap();
        assert_eq!(end.headed(b"..abc"), Ok(&b"..abc"[..]));
        let none = Datagram::behind(9, &mut memory).into_bytes();
        assert!(none.is_empty());
    }
}

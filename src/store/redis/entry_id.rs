//! The ids that Redis gives to entries of a stream.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Where an entry stands in the log: milliseconds, and a number within them. Later entries have greater ids.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct EntryId(pub u64, pub u64);

impl EntryId {
    /// Before every entry.
    pub const START: Self = Self(0, 0);
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0, self.1)
    }
}

impl FromStr for EntryId {
    type Err = EntryIdError;

    fn from_str(text: &str) -> Result<Self, EntryIdError> {
        let (ms, seq) = text.split_once('-').ok_or(EntryIdError)?;
        match (ms.parse(), seq.parse()) {
            (Ok(ms), Ok(seq)) => Ok(Self(ms, seq)),
            _ => Err(EntryIdError),
        }
    }
}

/// The text is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be two numbers with a - between them")]
pub struct EntryIdError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_ordered_as_numbers_and_read_back_as_written() {
        assert!(EntryId(9, 10) < EntryId(10, 9) && EntryId(10, 9) < EntryId(10, 10));
        assert_eq!("17-3".parse(), Ok(EntryId(17, 3)));
        assert_eq!(EntryId(17, 3).to_string(), "17-3");
        for text in ["", "17", "17-", "-3", "a-b", "1-2-3"] {
            assert_eq!(text.parse::<EntryId>(), Err(EntryIdError), "{text:?}");
        }
    }
}

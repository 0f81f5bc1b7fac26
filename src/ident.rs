//! Names that came from the network, parsed once and trusted afterwards.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

/// The longest id the signaling contract admits, in bytes.
pub const ID_BYTES_MAX: usize = 256;

/// Why a text is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The empty string names nobody.
    #[error("must not be empty")]
    Empty,
    /// Longer than [`ID_BYTES_MAX`].
    #[error("must not be longer than {ID_BYTES_MAX} bytes")]
    TooLong,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Admits 1 to [`ID_BYTES_MAX`] bytes of any UTF-8: no trimming, no case folding.
            ///
            /// # Errors
            /// When the text is empty or too long.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                match text.len() {
                    0 => Err(IdError::Empty),
                    1..=ID_BYTES_MAX => Ok(Self(text.into())),
                    _ => Err(IdError::TooLong),
                }
            }

            /// The id as it came.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(text: D) -> Result<Self, D::Error> {
                Self::parse(&String::deserialize(text)?).map_err(D::Error::custom)
            }
        }
    };
}

id! {
    /// Names a signaling session.
    SessionId
}

id! {
    /// Names a participant, within signaling and in the credentials issued to them.
    ParticipantId
}

/// Names one running process among those that share a Redis: drawn at its start, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Whose an allocation is: quotas, 441 and revocation go by it, never by the dated user name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UserId {
    /// A user from `turn.users`.
    Static(Arc<str>),
    /// The name in a time-limited `expiry:name` credential; empty when the credential names nobody.
    Participant(Arc<str>),
    /// Everybody, where `turn.auth = "none"`.
    Anyone,
}

impl UserId {
    /// The user that a participant's credentials authenticate as.
    #[must_use]
    pub fn of(participant: &ParticipantId) -> Self {
        Self::Participant(Arc::clone(&participant.0))
    }

    /// What operators know them by.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Static(name) | Self::Participant(name) => name,
            Self::Anyone => "anyone",
        }
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_1_to_256_bytes() {
        let cases = [
            (String::new(), Err(IdError::Empty)),
            ("a".to_owned(), Ok(())),
            ("ा".repeat(85), Ok(())),
            ("x".repeat(256), Ok(())),
            ("x".repeat(257), Err(IdError::TooLong)),
            ("ा".repeat(86), Err(IdError::TooLong)),
        ];
        for (text, expected) in cases {
            assert_eq!(SessionId::parse(&text).map(drop), expected, "{text}");
        }
    }
}

//! JSON that is kept and passed on without being understood.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, value::RawValue};

/// Any JSON, as it came. Clones share it.
#[derive(Clone, Debug)]
pub struct Json(Arc<RawValue>);

impl Json {
    /// Takes a copy.
    #[must_use]
    pub fn new(json: &RawValue) -> Self {
        Self(json.to_owned().into())
    }

    /// The text.
    #[must_use]
    pub fn raw(&self) -> &RawValue {
        &self.0
    }

    /// Whether it is `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.0.get() == "null"
    }
}

impl From<Box<RawValue>> for Json {
    fn from(json: Box<RawValue>) -> Self {
        Self(json.into())
    }
}

impl PartialEq for Json {
    /// Whether they say the same, however it is written.
    fn eq(&self, other: &Self) -> bool {
        let (one, two) = (self.0.get(), other.0.get());
        let value = serde_json::from_str::<Value>;
        one == two || matches!((value(one), value(two)), (Ok(one), Ok(two)) if one == two)
    }
}

impl Eq for Json {}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(from).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_same_however_it_is_written() {
        let json = |text: &str| serde_json::from_str::<Json>(text).unwrap();
        assert_eq!(json(r#"{"a":1,"b":[2]}"#), json(r#"{ "b": [2], "a": 1 }"#));
        assert_ne!(json(r#"{"a":1}"#), json(r#"{"a":2}"#));
    }
}

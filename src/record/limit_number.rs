//! The numbers of limits in JSON.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};

use super::UNLIMITED;

/// The number of one limit: a whole number, or `"unlimited"` for a key without this limit. It is no
/// `null`, which removes a member in a merge patch, and which TOML lacks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LimitNumber(pub(crate) Option<u64>);

impl LimitNumber {
    /// Returns the numbers by the names of their limits, to serialize them.
    pub(crate) fn by_name<'n>(numbers: impl IntoIterator<Item = (&'n str, Option<u64>)>) -> BTreeMap<String, Self> {
        numbers.into_iter().map(|(name, number)| (name.to_owned(), Self(number))).collect()
    }
}

impl Serialize for LimitNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(number) => serializer.serialize_u64(number),
            None => serializer.serialize_str(UNLIMITED),
        }
    }
}

impl<'de> Deserialize<'de> for LimitNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;

        impl Visitor<'_> for Number {
            type Value = LimitNumber;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a whole number or {UNLIMITED:?}")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<LimitNumber, E> {
                Ok(LimitNumber(Some(number)))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<LimitNumber, E> {
                number.try_into().map(|number| LimitNumber(Some(number))).map_err(E::custom)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<LimitNumber, E> {
                if text == UNLIMITED { Ok(LimitNumber(None)) } else { Err(E::custom("another text")) }
            }
        }

        deserializer.deserialize_any(Number)
    }
}

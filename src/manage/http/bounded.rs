//! Lists and objects of an import, of which no more than a maximum is read.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::manage::{import_many::MAX_IMPORT, validation::MAX_METADATA};

/// Deserializes the keys, without a copy, and one more than the maximum at most. The rest is
/// skipped, so that a short text such as `[],` is not worth many times its length.
pub(super) fn first<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<&'de RawValue>, D::Error> {
    struct First;

    impl<'de> Visitor<'de> for First {
        type Value = Vec<&'de RawValue>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of objects")
        }

        fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Self::Value, S::Error> {
            let mut first = Vec::new();
            while first.len() <= MAX_IMPORT {
                match list.next_element()? {
                    Some(key) => first.push(key),
                    None => return Ok(first),
                }
            }
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok(first)
        }
    }

    deserializer.deserialize_seq(First)
}

/// Deserializes no more texts than a key may have.
pub(super) fn few<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    struct Few;

    impl<'de> Visitor<'de> for Few {
        type Value = BTreeMap<String, String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of texts")
        }

        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
            let mut texts = BTreeMap::new();
            while let Some((name, text)) = map.next_entry()? {
                texts.insert(name, text);
                if texts.len() > MAX_METADATA {
                    return Err(M::Error::custom("too many texts"));
                }
            }
            Ok(texts)
        }
    }

    deserializer.deserialize_map(Few)
}

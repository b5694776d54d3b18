//! The body of `/verify`.
//!
//! Each item is parsed by itself, so that an error names its position. An error repeats nothing of
//! the body.

use std::fmt;

use http::{Method, StatusCode};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::{Refusal, check::Question};
use crate::gateway::original::parse_target;

const MAX_KEYS: usize = 100;

// What the members are.
const METHOD: &str = "an HTTP method";
const PATH: &str = "a request target";
const ADDRESS: &str = "an IP address";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'b> {
    #[serde(borrow)]
    keys: Vec<&'b RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    key: Option<Text>,
    method: Option<Text>,
    path: Option<Text>,
    client_address: Option<Text>,
}

/// A string, or `None` for a value of another type. It may be a key.
struct Text(Option<Zeroizing<String>>);

struct TextVisitor;

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, text: &str) -> Result<Text, E> {
        Ok(Text(Some(Zeroizing::new(text.to_owned()))))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Text, E> {
        Ok(Text(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Text, E> {
        Ok(Text(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Text, E> {
        Ok(Text(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Text, E> {
        Ok(Text(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Text, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Text(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Text, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Text(None))
    }
}

/// Parses the body.
pub(super) fn parse(body: &[u8], has_guard: bool) -> Result<Vec<Question>, Refusal> {
    let Body { keys } = serde_json::from_slice(body)
        .map_err(|_| wrong("the body must be a JSON object with one member: `keys`, an array".to_owned()))?;
    if keys.len() > MAX_KEYS {
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "there are more than 100 keys"));
    }
    keys.into_iter().enumerate().map(|(index, item)| question(index, item, has_guard)).collect()
}

fn question(index: usize, item: &RawValue, has_guard: bool) -> Result<Question, Refusal> {
    let entry: Entry = serde_json::from_str(item.get()).map_err(|_| {
        wrong(format!(
            "`keys[{index}]` must be an object with `key`, and no other member than `method`, `path` and \
             `client_address`, each once"
        ))
    })?;
    let not = |name: &str, what: &str| wrong(format!("`keys[{index}].{name}` is not {what}"));
    let text = |member: Option<Text>, name: &str, what: &str| match member {
        None => Ok(None),
        Some(Text(Some(text))) => Ok(Some(text)),
        Some(Text(None)) => Err(not(name, what)),
    };
    let key = text(entry.key, "key", "a string")?;
    let method = text(entry.method, "method", METHOD)?;
    let path = text(entry.path, "path", PATH)?;
    let client = text(entry.client_address, "client_address", ADDRESS)?;
    let target = match (method, path) {
        (None, None) => None,
        (Some(_), Some(_)) if !has_guard => {
            return Err(wrong(format!("`keys[{index}]`: no guard is set up, so leave out `method` and `path`")));
        }
        (Some(method), Some(path)) => {
            let method = Method::from_bytes(method.as_bytes()).map_err(|_| not("method", METHOD))?;
            Some((method, parse_target(path.as_bytes()).ok_or_else(|| not("path", PATH))?))
        }
        (Some(_), None) | (None, Some(_)) => {
            return Err(wrong(format!("`keys[{index}]`: set both `method` and `path`, or neither")));
        }
    };
    Ok(Question {
        key: key.ok_or_else(|| wrong(format!("`keys[{index}].key` is missing")))?,
        client: client.map(|text| text.parse().map_err(|_| not("client_address", ADDRESS))).transpose()?,
        target,
    })
}

fn wrong(description: String) -> Refusal {
    Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, description)
}

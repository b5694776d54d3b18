//! Reads JSON or TOML into a tree. The messages of the parsers do not leave this file, since they
//! may repeat a text of the file.

use std::{collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use zeroize::Zeroizing;

use super::{list_error::KeyListError, value::trimmed};

/// A format of a list of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Toml,
}

/// A part of the text. Fractions, times and the like are no part of a list of keys.
pub(super) enum Node {
    Text(Zeroizing<String>),
    List(Vec<Node>),
    Table(Vec<(String, Node)>),
    Number(u64),
    Other,
}

impl Format {
    /// Returns the format of this text. JSON begins with `{`, or with `[` before a `{` or `]`; no
    /// TOML does.
    pub(super) fn detect(text: &str) -> Self {
        let text = trimmed(text);
        let is_list = text.strip_prefix('[').is_some_and(|rest| rest.trim_start().starts_with(['{', ']']));
        if text.starts_with('{') || is_list { Self::Json } else { Self::Toml }
    }

    pub(super) fn parse(self, text: &str) -> Result<Node, KeyListError> {
        // A byte order mark is no part of either format. White space stays, for the line numbers.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.trim().is_empty() {
            return Err(KeyListError::Empty);
        }
        match self {
            Self::Json => serde_json::from_str(text).map_err(|error| {
                let (line, column) = (error.line(), error.column());
                KeyListError::Json { line, column }
            }),
            Self::Toml => toml::from_str(text).map_err(|error| {
                let (line, column) = position(text, error.span().map_or(0, |span| span.start));
                KeyListError::Toml { line, column }
            }),
        }
    }
}

/// Returns the line and the column of a byte, both from 1.
fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of keys")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Node, E> {
        self.visit_string(text.to_owned())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Node, E> {
        Ok(Node::Text(Zeroizing::new(text)))
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Node, S::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element()? {
            nodes.push(node);
        }
        Ok(Node::List(nodes))
    }

    /// TOML rejects a name that is used twice; JSON does not.
    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Node, M::Error> {
        let mut members: Vec<(String, Node)> = Vec::new();
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if !names.insert(name.clone()) {
                return Err(M::Error::custom("a name is used twice"));
            }
            members.push((name, map.next_value()?));
        }
        Ok(Node::Table(members))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_i64<E>(self, number: i64) -> Result<Node, E> {
        Ok(number.try_into().map_or(Node::Other, Node::Number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Node, E> {
        Ok(Node::Number(number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Other)
    }
}

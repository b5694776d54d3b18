//! Permissions as JSON: `{"stats": ["read"]}`. Wildcards are a setting of the service, so JSON
//! never turns them on.

use std::{collections::BTreeSet, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};

use super::{Action, Permissions};

impl Serialize for Action {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Action {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

impl Serialize for Permissions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Permissions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PermissionMap { most: usize::MAX })
    }
}

#[cfg(feature = "admin-api")]
impl Permissions {
    /// Reads permissions from an untrusted body. Their number is checked while they are read.
    pub(crate) fn deserialize_at_most<'de, D: Deserializer<'de>>(
        deserializer: D,
        most: usize,
    ) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PermissionMap { most })
    }
}

/// Reads resources with their actions, at most `most` pairs. A store reads without a limit: its
/// permissions were checked when they were written.
struct PermissionMap {
    most: usize,
}

/// Reads the actions on one resource, at most `left` of them.
struct ActionList {
    left: usize,
}

impl<'de> Visitor<'de> for PermissionMap {
    type Value = Permissions;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("resources with lists of actions, as in {\"stats\": [\"read\"]}")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Permissions, M::Error> {
        let mut grants = Vec::new();
        let mut listed = BTreeSet::new();
        while let Some(resource) = map.next_key::<String>()? {
            if listed.len() >= self.most {
                return Err(M::Error::custom("too many permissions"));
            }
            if !listed.insert(resource.clone()) {
                return Err(M::Error::custom("a resource is listed twice"));
            }
            let actions = map.next_value_seed(ActionList { left: self.most - grants.len() })?;
            grants.extend(actions.into_iter().map(|action| (resource.clone(), action)));
        }
        Ok(grants.into_iter().collect())
    }
}

impl<'de> DeserializeSeed<'de> for ActionList {
    type Value = Vec<Action>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Action>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ActionList {
    type Value = Vec<Action>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of actions")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Vec<Action>, S::Error> {
        let mut actions = Vec::new();
        while let Some(action) = list.next_element()? {
            if actions.len() >= self.left {
                return Err(S::Error::custom("too many permissions"));
            }
            actions.push(action);
        }
        Ok(actions)
    }
}

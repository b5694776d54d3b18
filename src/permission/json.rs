//! `{"stats": ["read"]}`. Wildcards are a setting of the service, and never come from outside.

use std::{collections::BTreeSet, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, Visitor},
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
        deserializer.deserialize_map(Grants)
    }
}

struct Grants;

impl<'de> Visitor<'de> for Grants {
    type Value = Permissions;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("resources with lists of actions, as in {\"stats\": [\"read\"]}")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Permissions, M::Error> {
        let mut grants = Vec::new();
        let mut listed = BTreeSet::new();
        while let Some((resource, actions)) = map.next_entry::<String, Vec<Action>>()? {
            if !listed.insert(resource.clone()) {
                return Err(M::Error::custom("a resource is listed twice"));
            }
            grants.extend(actions.into_iter().map(|action| (resource.clone(), action)));
        }
        Ok(grants.into_iter().collect())
    }
}

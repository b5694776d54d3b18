//! Reads the entries of a list of keys: the checks of `from_env` for each key, and its settings.

use std::{
    collections::{HashMap, HashSet},
    env,
};

use zeroize::Zeroizing;

use super::{
    StaticKeys,
    entry::{Entry, shown},
    list_error::{KeyEntryError, KeyListError},
    syntax::{Format, Node},
    value,
};
use crate::{key::KeyDigest, record::KeyRecord};

impl StaticKeys {
    /// Reads several keys from JSON, each with its id, permissions and environment.
    ///
    /// `keys` is an object from ids to entries, or a list of entries with an `id` each. An entry
    /// has:
    ///
    /// - `key`, the text of the key, with the checks of [`StaticKeys::from_env`]; or `sha256`, its
    ///   SHA-256 digest in 64 hexadecimal digits. Nothing can check how strong the key of a digest
    ///   is: generate it.
    /// - optional: `permissions`, `environment`, `organization`, `name`. A key without permissions
    ///   only passes guards that require none.
    /// - optional: `roles`, a list of at most 16 names, see [`KeyRecord::with_roles`].
    /// - optional: `allowed_addresses`, a list of networks from which the key is accepted, see
    ///   [`KeyRecord::with_allowed_addresses`].
    /// - optional: `plan`; `limits`, the numbers that replace those of the plan, by the names of
    ///   its limits, each a whole number or `"unlimited"`; and `meter`, see
    ///   [`KeyRecord::with_meter`].
    ///
    /// ```
    /// use tower_api_key::store::StaticKeys;
    ///
    /// let keys = StaticKeys::from_json(r#"{"keys": {
    ///     "deploy": {
    ///         "key": "d9c1XgQm3RrW0uTzEoPj8yBvLsKfHa",
    ///         "permissions": {"links": ["create", "read"]},
    ///         "environment": "live",
    ///         "allowed_addresses": ["192.0.2.0/24", "2001:db8::7"]
    ///     },
    ///     "reports": {
    ///         "sha256": "af270d01f34fb7956eca6cee1547160574df0df89a16c2584b9adc2485071e53",
    ///         "permissions": {"stats": ["read"]},
    ///         "plan": "pro",
    ///         "limits": {"daily": 50000, "burst": "unlimited"}
    ///     }
    /// }}"#)?;
    /// # Ok::<(), tower_api_key::store::KeyListError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns a [`KeyListError`], which names the entry. Members that are unknown, ids or keys
    /// that are repeated, and weak keys are errors.
    pub fn from_json(text: &str) -> Result<Self, KeyListError> {
        read(text, Format::Json).map(Self)
    }

    /// Reads several keys from TOML, each with its id, permissions and environment. The form is
    /// that of [`StaticKeys::from_json`].
    ///
    /// ```
    /// use tower_api_key::store::StaticKeys;
    ///
    /// let keys = StaticKeys::from_toml(r#"
    ///     [keys.deploy]
    ///     key = "d9c1XgQm3RrW0uTzEoPj8yBvLsKfHa"
    ///     permissions = { links = ["create", "read"] }
    ///     environment = "live"
    /// "#)?;
    /// # Ok::<(), tower_api_key::store::KeyListError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns a [`KeyListError`], as [`StaticKeys::from_json`] does.
    pub fn from_toml(text: &str) -> Result<Self, KeyListError> {
        read(text, Format::Toml).map(Self)
    }

    /// Reads several keys from one environment variable, which holds JSON or TOML.
    ///
    /// A text that begins with `{`, or with `[` before a `{`, is JSON; every other text is TOML.
    /// The form is that of [`StaticKeys::from_json`]. If the variable holds one plain key, use
    /// [`StaticKeys::from_env`].
    ///
    /// ```no_run
    /// use tower_api_key::store::StaticKeys;
    ///
    /// // API_KEYS='{"keys": {"deploy": {"key": "…", "permissions": {"links": ["create"]}}}}'
    /// let keys = StaticKeys::from_env_list("API_KEYS")?;
    /// # Ok::<(), tower_api_key::store::KeyListError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`KeyListError::NotSet`] if the variable is not set, and the errors of
    /// [`StaticKeys::from_json`].
    pub fn from_env_list(name: &str) -> Result<Self, KeyListError> {
        let text = env::var(name).map_err(|_| KeyListError::NotSet(name.to_owned()))?;
        let text = Zeroizing::new(text);
        read(&text, Format::detect(&text)).map(Self)
    }
}

/// Reads the records of all keys in this text. No two have the same id or key.
pub(super) fn read(text: &str, format: Format) -> Result<Vec<KeyRecord>, KeyListError> {
    let mut records = Vec::new();
    let mut ids = HashSet::new();
    let mut labels: HashMap<KeyDigest, String> = HashMap::new();
    for (index, (id, node)) in entries(format.parse(text)?)?.into_iter().enumerate() {
        let label = label(id.as_deref(), &node).unwrap_or_else(|| format!("key number {}", index + 1));
        let record = Entry::collect(id, node).and_then(Entry::into_record).and_then(|record| {
            if !ids.insert(record.id().clone()) {
                return Err(KeyEntryError::DuplicateId);
            }
            match labels.insert(*record.digest(), label.clone()) {
                Some(other) => Err(KeyEntryError::DuplicateKey(other)),
                None => Ok(record),
            }
        });
        records.push(record.map_err(|error| KeyListError::Entry(label, error))?);
    }
    Ok(records)
}

/// An id, if the list has them as names, and the members of an entry.
type RawEntry = (Option<String>, Node);

fn entries(root: Node) -> Result<Vec<RawEntry>, KeyListError> {
    let keys = match root {
        Node::Table(members) => match <[_; 1]>::try_from(members) {
            Ok([(name, keys)]) if name == "keys" => keys,
            _ => return Err(KeyListError::Form),
        },
        other => other,
    };
    match keys {
        Node::List(nodes) => Ok(nodes.into_iter().map(|node| (None, node)).collect()),
        Node::Table(members) => Ok(members.into_iter().map(|(id, node)| (Some(id), node)).collect()),
        Node::Text(_) | Node::Number(_) | Node::Other => Err(KeyListError::Form),
    }
}

/// Returns how errors call this entry, unless its id may be a key in the wrong place.
fn label(id: Option<&str>, node: &Node) -> Option<String> {
    let members = if let Node::Table(members) = node { members.as_slice() } else { &[] };
    let text_of = |member: &str| {
        members.iter().find_map(|(name, node)| match node {
            Node::Text(text) if name == member => Some(text.as_str()),
            _ => None,
        })
    };
    let id = id.or_else(|| text_of("id")).and_then(shown)?;
    let is_key = text_of("key").is_some_and(|key| value::trimmed(key) == id);
    (!is_key).then(|| format!("key {id:?}"))
}

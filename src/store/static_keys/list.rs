//! Reads the entries of a list of keys: the checks of `from_env` for each key, and its settings.

use std::{
    collections::{HashMap, HashSet},
    env,
};

use zeroize::Zeroizing;

use super::{
    StaticKeys,
    list_error::{KeyEntryError, KeyListError},
    syntax::{Format, Node},
    value::{self, Unusable},
};
use crate::{
    key::{KeyDigest, KeyHasher},
    permission::Permissions,
    record::KeyRecord,
};

/// The maximum number of characters of an id, an environment, an organization, a name.
const MAX_NAME: usize = 100;

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
    ///
    /// ```
    /// use tower_api_key::store::StaticKeys;
    ///
    /// let keys = StaticKeys::from_json(r#"{"keys": {
    ///     "deploy": {
    ///         "key": "d9c1XgQm3RrW0uTzEoPj8yBvLsKfHa",
    ///         "permissions": {"links": ["create", "read"]},
    ///         "environment": "live"
    ///     },
    ///     "reports": {
    ///         "sha256": "af270d01f34fb7956eca6cee1547160574df0df89a16c2584b9adc2485071e53",
    ///         "permissions": {"stats": ["read"]}
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
        Node::Text(_) | Node::Other => Err(KeyListError::Form),
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

/// The members of an entry, of which only the types are checked.
#[derive(Default)]
struct Entry {
    id: Option<String>,
    key: Option<Zeroizing<String>>,
    sha256: Option<Zeroizing<String>>,
    permissions: Permissions,
    environment: Option<String>,
    organization: Option<String>,
    name: Option<String>,
}

impl Entry {
    fn collect(id: Option<String>, node: Node) -> Result<Self, KeyEntryError> {
        let Node::Table(members) = node else {
            return Err(KeyEntryError::Type("entry", "an object or a table"));
        };
        let is_in_list = id.is_none();
        let mut entry = Self { id, ..Self::default() };
        for (member, node) in members {
            match member.as_str() {
                "id" if is_in_list => entry.id = Some(text("id", &node)?.to_string()),
                "key" => entry.key = Some(text("key", &node)?.clone()),
                "sha256" => entry.sha256 = Some(text("sha256", &node)?.clone()),
                "permissions" => entry.permissions = permissions(&node)?,
                "environment" => entry.environment = Some(name("environment", &node)?),
                "organization" => entry.organization = Some(name("organization", &node)?),
                "name" => entry.name = Some(name("name", &node)?),
                _ => return Err(KeyEntryError::UnknownMember(shown(&member).unwrap_or("..").to_owned())),
            }
        }
        Ok(entry)
    }

    fn into_record(self) -> Result<KeyRecord, KeyEntryError> {
        let id = self.id.filter(|id| is_name(id)).ok_or(KeyEntryError::Id)?;
        let record = match (self.key, self.sha256) {
            (Some(key), None) => {
                let key = value::checked(value::trimmed(&key)).map_err(KeyEntryError::from)?;
                if key.expose() == id {
                    return Err(KeyEntryError::SecretId);
                }
                KeyRecord::for_key(id, &key, &KeyHasher::sha256())
            }
            (None, Some(digest)) => KeyRecord::new(id, digest_from_hex(&digest).ok_or(KeyEntryError::Digest)?),
            _ => return Err(KeyEntryError::KeyOrDigest),
        };
        let mut record = record.with_permissions(self.permissions);
        if let Some(environment) = self.environment {
            record = record.with_environment(environment);
        }
        if let Some(organization) = self.organization {
            record = record.with_organization(organization);
        }
        if let Some(name) = self.name {
            record = record.with_name(name);
        }
        Ok(record)
    }
}

fn text<'n>(member: &'static str, node: &'n Node) -> Result<&'n Zeroizing<String>, KeyEntryError> {
    match node {
        Node::Text(text) => Ok(text),
        _ => Err(KeyEntryError::Type(member, "a text in quotes")),
    }
}

fn name(member: &'static str, node: &Node) -> Result<String, KeyEntryError> {
    let name = text(member, node)?;
    let is_good = is_name(name);
    is_good
        .then(|| name.to_string())
        .ok_or(KeyEntryError::Type(member, "1 to 100 characters without control characters"))
}

fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.chars().count()) && !name.contains(char::is_control)
}

/// Returns the text if an error may repeat it: it is short, and is not as strong as a key.
fn shown(text: &str) -> Option<&str> {
    (is_name(text) && !value::may_contain_key(text)).then_some(text)
}

fn permissions(node: &Node) -> Result<Permissions, KeyEntryError> {
    let wrong = KeyEntryError::Type("permissions", "resources with lists of actions, as in {\"links\": [\"read\"]}");
    let Node::Table(resources) = node else { return Err(wrong) };
    let mut permissions = Permissions::new();
    for (resource, actions) in resources {
        let Node::List(actions) = actions else { return Err(wrong) };
        for action in actions {
            let Node::Text(action) = action else { return Err(wrong) };
            if resource.is_empty() || action.is_empty() {
                return Err(KeyEntryError::EmptyPermission);
            }
            if resource == "*" || action.as_str() == "*" {
                return Err(KeyEntryError::Wildcard);
            }
            permissions = permissions.grant(resource, action.to_string());
        }
    }
    Ok(permissions)
}

fn digest_from_hex(hex: &str) -> Option<KeyDigest> {
    let digits = hex.trim().bytes().map(|digit| char::from(digit).to_digit(16));
    let digits: Vec<u8> = digits.map(|digit| digit.and_then(|digit| digit.try_into().ok())).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect();
    (digits.len() == 64).then(|| bytes.try_into().ok()).flatten()
}

impl From<Unusable> for KeyEntryError {
    fn from(reason: Unusable) -> Self {
        match reason {
            Unusable::Invalid => Self::Invalid,
            Unusable::Quoted => Self::Quoted,
            Unusable::Assignment => Self::Assignment,
            Unusable::Several => Self::Several,
            Unusable::TooShort => Self::TooShort,
            Unusable::Guessable => Self::Guessable,
        }
    }
}

//! A key as `import` reads it: written by `export`, or by hand for a key of another system.

use std::{collections::BTreeMap, time::SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, de::IgnoredAny};
use tower_api_key::{
    ApiKey, KeyDigest, Owner, Permissions, Status,
    address::Network,
    manage::{ImportKey, NewKey},
};

/// One key. Members that an export has and an import cannot set are ignored; others are errors.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    key: Option<ApiKey>,
    digest: Option<String>,
    #[serde(default)]
    r#type: Option<Kind>,
    name: Option<String>,
    #[serde(default)]
    permissions: Permissions,
    #[serde(default)]
    wildcards: bool,
    #[serde(default)]
    roles: Vec<String>,
    pub(crate) organization: Option<String>,
    environment: Option<String>,
    not_before: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    allowed_addresses: Option<Vec<Network>>,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    plan: Option<String>,
    #[serde(default)]
    limits: BTreeMap<String, LimitNumber>,
    meter: Option<String>,
    pub(crate) id: Option<String>,
    owner: Option<String>,
    created_at: Option<Timestamp>,
    status: Option<State>,
    last_used_at: Option<Timestamp>,
    #[serde(default)]
    use_count: u64,
    #[serde(default, rename = "mask")]
    _mask: IgnoredAny,
    #[serde(default, rename = "replaces")]
    _replaces: IgnoredAny,
    #[serde(default, rename = "replaced_by")]
    _replaced_by: IgnoredAny,
    #[serde(default, rename = "lineage")]
    _lineage: IgnoredAny,
    #[serde(default, rename = "created_by")]
    _created_by: IgnoredAny,
    #[serde(default, rename = "updated_at")]
    _updated_at: IgnoredAny,
    #[serde(default, rename = "revoked_at")]
    _revoked_at: IgnoredAny,
    #[serde(default, rename = "revoked_by")]
    _revoked_by: IgnoredAny,
    #[serde(default, rename = "reason")]
    _reason: IgnoredAny,
    #[serde(default, rename = "version")]
    _version: IgnoredAny,
}

/// The text of a key, or its digest.
#[derive(Clone, Debug)]
pub(crate) enum Secret {
    Text(ApiKey),
    Digest(KeyDigest),
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Kind {
    User,
    Bot,
}

/// The state of an exported key. Two of them follow from its times.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Active,
    Disabled,
    Revoked,
    Expired,
    NotYetValid,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
enum LimitNumber {
    Number(u64),
    Text(Unlimited),
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum Unlimited {
    #[serde(rename = "unlimited")]
    Unlimited,
}

/// The owner of a service account, as the management API writes it.
const BOT: &str = "Bot";

// === impl Entry ===

impl Entry {
    /// Returns the text or the digest.
    pub(crate) fn secret(&self) -> Result<Secret, &'static str> {
        match (&self.key, &self.digest) {
            (Some(key), None) => Ok(Secret::Text(key.clone())),
            (None, Some(digest)) => {
                digest_of(digest).map(Secret::Digest).ok_or("`digest` must be 64 hexadecimal digits")
            }
            (None, None) => Err("set `key` or `digest`: an export has digests with --with-digests"),
            (Some(_), Some(_)) => Err("set either `key` or `digest`"),
        }
    }

    /// Returns when the key stops working, if that is over.
    pub(crate) fn is_expired(&self, now: SystemTime) -> bool {
        self.expires_at.is_some_and(|end| SystemTime::from(end) <= now)
    }

    /// Returns the key to import, without its organization. An error repeats no value.
    pub(crate) fn to_import(&self) -> Result<ImportKey, &'static str> {
        let name = self.name.as_deref().ok_or("set `name`")?;
        let user = self.owner.as_deref().filter(|owner| self.r#type == Some(Kind::User) || *owner != BOT);
        let (new, owner) = match (self.r#type, user) {
            (Some(Kind::Bot) | None, None) => (NewKey::service_account(name), Owner::ServiceAccount),
            (Some(Kind::User) | None, Some(user)) => (NewKey::user(name), Owner::User(user.to_owned())),
            (Some(Kind::User), None) => return Err("set `owner` for a key of a user"),
            (Some(Kind::Bot), Some(_)) => return Err("a key of the type `bot` has no `owner`"),
        };
        let permissions = self.permissions.clone();
        let mut new = new.permissions(if self.wildcards { permissions.with_wildcards() } else { permissions });
        new = new.roles(self.roles.iter());
        new = self.environment.iter().fold(new, NewKey::environment);
        new = self.not_before.iter().fold(new, |new, time| new.not_before((*time).into()));
        new = self.expires_at.iter().fold(new, |new, time| new.expires_at((*time).into()));
        new = self.allowed_addresses.iter().fold(new, |new, networks| new.allowed_addresses(networks.clone()));
        new = self.metadata.iter().fold(new, |new, (name, text)| new.metadata(name, text));
        new = self.plan.iter().fold(new, NewKey::plan);
        new = self.limits.iter().fold(new, |new, (name, number)| match number {
            LimitNumber::Number(number) => new.limit(name, *number),
            LimitNumber::Text(Unlimited::Unlimited) => new.limit(name, None),
        });
        // A key has its own meter, unless it shares that of another one.
        new = self
            .meter
            .iter()
            .filter(|meter| Some(*meter) != self.id.as_ref())
            .fold(new, |new, meter| new.meter(meter.as_str()));
        let import = match self.secret()? {
            Secret::Text(key) => ImportKey::key(&key, new),
            Secret::Digest(digest) => ImportKey::digest(digest, new),
        };
        let import = self.id.iter().fold(import.owner(owner), |import, id| import.id(id.as_str()));
        let import = self.created_at.iter().fold(import, |import, time| import.created_at((*time).into()));
        let import = import.used(self.use_count, self.last_used_at.map(SystemTime::from));
        Ok(import.status(match self.status {
            None | Some(State::Active | State::Expired | State::NotYetValid) => Status::Active,
            Some(State::Disabled) => Status::Disabled,
            Some(State::Revoked) => Status::Revoked,
        }))
    }
}

fn digest_of(hex: &str) -> Option<KeyDigest> {
    if hex.len() != 64 || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let bytes = (0..64).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok());
    bytes.collect::<Option<Vec<u8>>>().and_then(|bytes| KeyDigest::try_from(bytes).ok())
}

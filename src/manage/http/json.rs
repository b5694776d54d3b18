//! The bodies of the API, and their schemas.

use std::{
    num::NonZeroU8,
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, de::Error};
use utoipa::{IntoParams, ToSchema};

use crate::{
    clock::Clock,
    manage::{Actor, Edit, Issued, NewKey, Page, Rotation},
    permission::Permissions,
    record::{KeyRecord, Owner},
    rejection::Reason,
};

/// Whose key it is.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum KeyType {
    /// Its user's: it goes when the user goes.
    User,
    /// Its organization's: it outlives every member.
    Bot,
}

/// Whether a key works now.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    Active,
    Disabled,
    Revoked,
    Expired,
    NotYetValid,
}

/// Off or on.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Switch {
    Active,
    Disabled,
}

/// A key, without its text.
#[derive(Serialize, ToSchema)]
pub(super) struct Key {
    id: String,
    r#type: Option<KeyType>,
    /// The user's id, or `Bot`.
    owner: Option<String>,
    name: Option<String>,
    organization: Option<String>,
    environment: Option<String>,
    /// Resources, each with the actions that are granted.
    #[schema(value_type = std::collections::BTreeMap<String, Vec<String>>)]
    permissions: Permissions,
    status: State,
    /// What may be shown of the key.
    mask: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    created_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    not_before: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
    use_count: u64,
    /// The key whose place this one has taken.
    replaces: Option<String>,
    /// The key that has taken this one's place. Until it expires, this one still works.
    replaced_by: Option<String>,
}

/// A key that was just made, with its text.
#[derive(Serialize, ToSchema)]
pub(super) struct IssuedKey {
    /// The key itself. It is kept nowhere, and never shown again.
    key: String,
    #[serde(flatten)]
    record: Key,
}

/// Some keys, newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct KeyList {
    keys: Vec<Key>,
    /// The `cursor` of the next page, if there is one.
    next: Option<String>,
}

/// Which keys are listed.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListKeys {
    /// The most keys of one page.
    #[serde(default = "hundred")]
    #[param(value_type = u8, minimum = 1, maximum = 255, default = 100)]
    pub(super) limit: NonZeroU8,
    /// `next` of the page before.
    pub(super) cursor: Option<String>,
    /// The keys of the user with this id only.
    pub(super) owner: Option<String>,
    /// The keys of this environment only.
    pub(super) environment: Option<String>,
    /// Revoked keys too.
    #[serde(default)]
    pub(super) revoked: bool,
}

/// A key that is to be made. Its owner and its organization are those of whoever asks.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateKey {
    r#type: KeyType,
    name: Name,
    /// Resources, each with the actions that are granted.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, Vec<String>>)]
    permissions: Named,
    environment: Option<Name>,
    #[schema(value_type = Option<String>, format = DateTime)]
    not_before: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

/// What is to be changed. What is not there stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EditKey {
    name: Option<Name>,
    #[schema(value_type = Option<std::collections::BTreeMap<String, Vec<String>>>)]
    permissions: Option<Named>,
    status: Option<Switch>,
}

/// 1 to 100 characters, none of them a control character, no white space at either end.
#[derive(Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(
    min_length = 1,
    max_length = 100,
    pattern = r"^[^\s\u0000-\u001f\u007f-\u009f]([^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f])?$"
)]
struct Name(String);

/// Permissions whose names a person can tell apart.
#[derive(Default, Deserialize)]
#[serde(transparent)]
struct Named(#[serde(deserialize_with = "named")] Permissions);

/// How the old key goes on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RotateKey {
    /// For how long both keys work, at most 90 days. The old key's own expiry may come first.
    #[schema(maximum = 7_776_000)]
    #[serde(deserialize_with = "grace")]
    grace_seconds: u32,
    /// The new key's expiry; the old key's, if there is none.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

/// `{}`, or no body.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

const LONGEST_GRACE: u32 = 90 * 24 * 60 * 60;

impl Key {
    pub(super) fn new(record: &KeyRecord, clock: &Clock) -> Self {
        let r#type = record.owner().map(|owner| if *owner == Owner::Bot { KeyType::Bot } else { KeyType::User });
        Self {
            id: record.id().to_string(),
            r#type,
            owner: record.owner().map(ToString::to_string),
            name: record.name().map(str::to_owned),
            organization: record.organization().map(str::to_owned),
            environment: record.environment().map(str::to_owned),
            permissions: record.permissions().clone(),
            status: state(record, clock),
            mask: record.mask().map(str::to_owned),
            created_at: record.created_at().map(timestamp),
            not_before: record.not_before().map(timestamp),
            expires_at: record.expires_at().map(timestamp),
            last_used_at: record.last_used_at().map(timestamp),
            use_count: record.use_count(),
            replaces: record.replaces().map(ToString::to_string),
            replaced_by: record.replaced_by().map(ToString::to_string),
        }
    }
}

impl IssuedKey {
    pub(super) fn new(issued: &Issued, clock: &Clock) -> Self {
        Self { key: issued.key().expose().to_owned(), record: Key::new(issued.record(), clock) }
    }
}

impl KeyList {
    pub(super) fn new(page: &Page, clock: &Clock) -> Self {
        let keys = page.records.iter().map(|record| Key::new(record, clock)).collect();
        Self { keys, next: page.next.as_ref().map(ToString::to_string) }
    }
}

impl CreateKey {
    pub(super) fn into_new(self, actor: &Actor) -> NewKey {
        let new = match self.r#type {
            KeyType::User => NewKey::user(self.name.0),
            KeyType::Bot => NewKey::bot(self.name.0),
        };
        let mut new = new.permissions(read_by(self.permissions.0, actor));
        if let Some(Name(environment)) = self.environment {
            new = new.environment(environment);
        }
        if let Some(instant) = self.not_before {
            new = new.not_before(instant.into());
        }
        if let Some(instant) = self.expires_at {
            new = new.expires_at(instant.into());
        }
        new
    }
}

impl EditKey {
    pub(super) fn into_edit(self, actor: &Actor) -> Edit {
        let mut edit = Edit::new();
        if let Some(Name(name)) = self.name {
            edit = edit.name(name);
        }
        if let Some(Named(permissions)) = self.permissions {
            edit = edit.permissions(read_by(permissions, actor));
        }
        if let Some(status) = self.status {
            edit = edit.enabled(matches!(status, Switch::Active));
        }
        edit
    }
}

impl RotateKey {
    pub(super) fn into_rotation(self) -> Rotation {
        let rotation = Rotation::with_grace(Duration::from_secs(self.grace_seconds.into()));
        match self.expires_at {
            Some(instant) => rotation.expires_at(instant.into()),
            None => rotation,
        }
    }
}

/// What `*` means to whoever asks, it means in what is asked.
fn read_by(permissions: Permissions, actor: &Actor) -> Permissions {
    if actor.permissions().has_wildcards() { permissions.with_wildcards() } else { permissions }
}

fn state(record: &KeyRecord, clock: &Clock) -> State {
    match record.obstacle_at(clock) {
        None => State::Active,
        Some(Reason::Disabled) => State::Disabled,
        Some(Reason::Expired) => State::Expired,
        Some(Reason::NotYetValid) => State::NotYetValid,
        Some(_) => State::Revoked,
    }
}

/// An instant, or the nearest one that has a year of four digits.
fn timestamp(instant: SystemTime) -> Timestamp {
    let nearest = if instant < SystemTime::UNIX_EPOCH { Timestamp::MIN } else { Timestamp::MAX };
    instant.try_into().unwrap_or(nearest)
}

fn hundred() -> NonZeroU8 {
    NonZeroU8::MIN.saturating_add(99)
}

/// Names of resources and actions that a person can tell apart: 1 to 64 characters, no control character.
fn named<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Permissions, D::Error> {
    let permissions = Permissions::deserialize(deserializer)?;
    let is_name = |name: &str| (1..=64).contains(&name.chars().count()) && !name.contains(char::is_control);
    let all_named = permissions
        .iter()
        .all(|(resource, actions)| is_name(resource) && actions.iter().all(|action| is_name(action.as_str())));
    let told = || D::Error::custom("resources and actions have 1 to 64 characters, none of them a control character");
    if all_named { Ok(permissions) } else { Err(told()) }
}

fn grace<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let seconds = u32::deserialize(deserializer)?;
    let too_long = || D::Error::custom(format!("the longest grace is {LONGEST_GRACE} seconds"));
    if seconds <= LONGEST_GRACE { Ok(seconds) } else { Err(too_long()) }
}

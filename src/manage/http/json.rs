//! The bodies of the API, and their schemas.

use std::{
    num::NonZeroU8,
    time::{Duration, SystemTime},
};

use jiff::Timestamp;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, IntoDeserializer},
};
use utoipa::{IntoParams, ToSchema};

use crate::{
    clock::Clock,
    manage::{Actor, Issued, NewKey, Page, Rotation, UpdateKey, validation::MOST_PERMISSIONS},
    permission::Permissions,
    record::{KeyRecord, Obstacle, Owner},
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
pub(super) enum KeyState {
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
    status: KeyState,
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
pub(super) struct IssuedKey<'i> {
    /// The key itself. It is kept nowhere, and never shown again.
    key: &'i str,
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
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListKeys {
    /// The most keys of one page.
    #[param(value_type = u8, minimum = 1, maximum = 255, default = 100, required = false)]
    pub(super) limit: NonZeroU8,
    /// `next` of the page before.
    #[param(value_type = String, min_length = 1, required = false)]
    pub(super) cursor: Option<String>,
    /// The keys of the user with this id only.
    #[param(value_type = String, required = false)]
    pub(super) owner: Option<String>,
    /// The keys of this environment only.
    #[param(value_type = String, required = false)]
    pub(super) environment: Option<String>,
    /// Revoked keys too.
    #[param(required = false)]
    pub(super) revoked: bool,
}

/// A key that is to be made. Its owner and its organization are those of whoever asks.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateKey {
    #[serde(deserialize_with = "word")]
    r#type: KeyType,
    name: KeyName,
    /// Resources, each with the actions that are granted.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, Vec<String>>)]
    permissions: Few,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = KeyName, required = false)]
    environment: Option<KeyName>,
    #[serde(default, deserialize_with = "present_time")]
    #[schema(value_type = String, format = DateTime, required = false)]
    not_before: Option<Timestamp>,
    #[serde(default, deserialize_with = "present_time")]
    #[schema(value_type = String, format = DateTime, required = false)]
    expires_at: Option<Timestamp>,
}

/// What is to be changed. What is not there stays as it is; `null` says nothing, and is refused.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EditKey {
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = KeyName, required = false)]
    name: Option<KeyName>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = std::collections::BTreeMap<String, Vec<String>>, required = false)]
    permissions: Option<Few>,
    #[serde(default, deserialize_with = "present_word")]
    #[schema(value_type = Switch, required = false)]
    status: Option<Switch>,
}

/// 1 to 100 characters that can be seen, the space among them, but at neither end.
#[derive(Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(min_length = 1, max_length = 100)]
struct KeyName(String);

/// No more permissions than a key may have: counted before anything is done with them.
#[derive(Default, Deserialize)]
#[serde(transparent)]
struct Few(#[serde(deserialize_with = "few")] Permissions);

/// How the old key goes on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RotateKey {
    /// For how long both keys work, at most 90 days. The old key's own expiry may come first.
    #[schema(maximum = 7_776_000)]
    grace_seconds: u32,
    /// The new key's expiry; the old key's, if there is none.
    #[serde(default, deserialize_with = "present_time")]
    #[schema(value_type = String, format = DateTime, required = false)]
    expires_at: Option<Timestamp>,
}

/// `{}`, or no body.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EmptyBody {}

const HUNDRED: NonZeroU8 = NonZeroU8::MIN.saturating_add(99);
const LONGEST_GRACE: u32 = 90 * 24 * 60 * 60;

impl Key {
    pub(super) fn new(record: &KeyRecord, clock: &Clock) -> Self {
        let r#type =
            record.owner().map(|owner| if *owner == Owner::ServiceAccount { KeyType::Bot } else { KeyType::User });
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

impl<'i> IssuedKey<'i> {
    pub(super) fn new(issued: &'i Issued, clock: &Clock) -> Self {
        Self { key: issued.key().expose(), record: Key::new(issued.record(), clock) }
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
            KeyType::Bot => NewKey::service_account(self.name.0),
        };
        let mut new = new.permissions(read_by(self.permissions.0, actor));
        if let Some(KeyName(environment)) = self.environment {
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
    pub(super) fn into_edit(self, actor: &Actor) -> UpdateKey {
        let mut edit = UpdateKey::new();
        if let Some(KeyName(name)) = self.name {
            edit = edit.name(name);
        }
        if let Some(Few(permissions)) = self.permissions {
            edit = edit.permissions(read_by(permissions, actor));
        }
        if let Some(status) = self.status {
            edit = edit.enabled(matches!(status, Switch::Active));
        }
        edit
    }
}

impl ListKeys {
    /// Reads a query string. The error names the parameter, never its value.
    pub(super) fn parse(query: &str) -> Result<Self, String> {
        let mut list = Self { limit: HUNDRED, cursor: None, owner: None, environment: None, revoked: false };
        let mut seen = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let known = ["limit", "cursor", "owner", "environment", "revoked"].into_iter().find(|known| *known == name);
            let Some(name) = known else {
                return Err("There is a parameter that is none of limit, cursor, owner, environment, revoked.".into());
            };
            if seen.contains(&name) {
                return Err(format!("{name}: it is given twice."));
            }
            seen.push(name);
            match name {
                "limit" => list.limit = value.parse().map_err(|_| "limit: it must be a number from 1 to 255.")?,
                "revoked" => list.revoked = value.parse().map_err(|_| "revoked: it must be true or false.")?,
                // Behind an empty one there is no key: a client that has none yet would take that for the end.
                "cursor" if value.is_empty() => {
                    return Err("cursor: it must be `next` of the page before; leave it out for the first page.".into());
                }
                "cursor" => list.cursor = Some(value.into_owned()),
                "owner" => list.owner = Some(value.into_owned()),
                _ => list.environment = Some(value.into_owned()),
            }
        }
        Ok(list)
    }
}

/// The members of a body, and what each must be: all that a refusal says of it.
pub(super) trait Members {
    const MEMBERS: &[(&str, &str)];
}

const NAME: &str = "it must be a string of 1 to 100 characters";
const PERMISSIONS: &str = "it must be an object of resources, each once with a list of actions, 256 in all at most";
const TIME: &str = "it must be a time as in RFC 3339, \"2027-01-15T08:00:00Z\"";

impl Members for CreateKey {
    const MEMBERS: &[(&str, &str)] = &[
        ("type", "it must be \"user\" or \"bot\""),
        ("name", NAME),
        ("permissions", PERMISSIONS),
        ("environment", NAME),
        ("not_before", TIME),
        ("expires_at", TIME),
    ];
}

impl Members for EditKey {
    const MEMBERS: &[(&str, &str)] =
        &[("name", NAME), ("permissions", PERMISSIONS), ("status", "it must be \"active\" or \"disabled\"")];
}

impl Members for RotateKey {
    const MEMBERS: &[(&str, &str)] =
        &[("grace_seconds", "it must be a whole number from 0 to 7776000 (90 days)"), ("expires_at", TIME)];
}

impl Members for EmptyBody {
    const MEMBERS: &[(&str, &str)] = &[];
}

impl RotateKey {
    /// Whether the grace is short enough.
    pub(super) fn is_short(&self) -> bool {
        self.grace_seconds <= LONGEST_GRACE
    }

    pub(super) fn into_rotation(self) -> Rotation {
        let rotation = Rotation::grace_period(Duration::from_secs(self.grace_seconds.into()));
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

fn state(record: &KeyRecord, clock: &Clock) -> KeyState {
    match record.obstacle_at(clock) {
        None => KeyState::Active,
        Some(Obstacle::Disabled) => KeyState::Disabled,
        Some(Obstacle::Revoked) => KeyState::Revoked,
        Some(Obstacle::Expired) => KeyState::Expired,
        Some(Obstacle::NotYetValid) => KeyState::NotYetValid,
    }
}

/// An instant, or the nearest one that has a year of four digits.
fn timestamp(instant: SystemTime) -> Timestamp {
    let nearest = if instant < SystemTime::UNIX_EPOCH { Timestamp::MIN } else { Timestamp::MAX };
    instant.try_into().unwrap_or(nearest)
}

/// A member that is there has a value: `null` is none, and says nothing yet.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// One of a few words. serde also takes an object of the word and `null` for it.
fn word<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    T::deserialize(String::deserialize(deserializer)?.into_deserializer())
}

fn present_word<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    word(deserializer).map(Some)
}

/// A time as RFC 3339 has it, and in no other form that a parser may know.
fn present_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let instant = if is_rfc3339(&text) { text.parse().ok().or_else(|| last_instant(&text)) } else { None };
    instant.map(Some).ok_or_else(|| D::Error::custom("no time"))
}

/// The last days of the year 9999, which many write for "never", are beyond what a [`Timestamp`] can say: the last one that it can.
fn last_instant(text: &str) -> Option<Timestamp> {
    let rest = text.strip_prefix("9999-12-3")?;
    format!("9998-12-3{rest}").parse::<Timestamp>().ok().map(|_| Timestamp::MAX)
}

/// Whether it has the form `2027-01-15T08:00:00Z`, with a fraction or an offset. What the digits say is not looked at.
fn is_rfc3339(text: &str) -> bool {
    let has_form = |text: &str, form: &str| {
        let fits = |(letter, wanted): (u8, u8)| match wanted {
            b'0' => letter.is_ascii_digit(),
            b'T' => matches!(letter, b'T' | b't' | b' '),
            b'+' => matches!(letter, b'+' | b'-'),
            _ => letter == wanted,
        };
        text.len() == form.len() && text.bytes().zip(form.bytes()).all(fits)
    };
    let Some((begin, mut rest)) = text.split_at_checked(19) else { return false };
    if let Some(fraction) = rest.strip_prefix('.') {
        rest = fraction.trim_start_matches(|letter: char| letter.is_ascii_digit());
        if rest.len() == fraction.len() {
            return false;
        }
    }
    has_form(begin, "0000-00-00T00:00:00") && (matches!(rest, "Z" | "z") || has_form(rest, "+00:00"))
}

fn few<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Permissions, D::Error> {
    Permissions::deserialize_at_most(deserializer, MOST_PERMISSIONS)
}

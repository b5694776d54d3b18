//! The bodies of requests, and their schemas.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de::IntoDeserializer};
use utoipa::ToSchema;

use super::time::present_time;
use crate::{
    manage::{Actor, NewKey, Rotation, UpdateKey, validation::MAX_PERMISSIONS, view::KeyType},
    permission::Permissions,
};

/// A new key. Its owner and its organization are those of the caller.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateKey {
    #[serde(deserialize_with = "variant")]
    r#type: KeyType,
    name: KeyName,
    /// The permitted actions for each resource.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, Vec<String>>)]
    permissions: BoundedPermissions,
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

/// A change of a key. Absent members stay as they are; `null` is rejected.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EditKey {
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = KeyName, required = false)]
    name: Option<KeyName>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = std::collections::BTreeMap<String, Vec<String>>, required = false)]
    permissions: Option<BoundedPermissions>,
    #[serde(default, deserialize_with = "present_variant")]
    #[schema(value_type = Switch, required = false)]
    status: Option<Switch>,
}

/// The status that an edit can set.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Switch {
    Active,
    Disabled,
}

/// 1 to 100 visible characters or spaces, with no space at either end.
#[derive(Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(min_length = 1, max_length = 100)]
struct KeyName(String);

/// Permissions. Their number is checked while they are deserialized.
#[derive(Default, Deserialize)]
#[serde(transparent)]
struct BoundedPermissions(#[serde(deserialize_with = "bounded")] Permissions);

/// A replacement with a grace period.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RotateKey {
    /// How long both keys work, at most 90 days. The old key may expire earlier, at its own expiry.
    #[schema(maximum = 7_776_000)]
    grace_seconds: u32,
    /// The expiry of the new key. The default is that of the old key.
    #[serde(default, deserialize_with = "present_time")]
    #[schema(value_type = String, format = DateTime, required = false)]
    expires_at: Option<Timestamp>,
}

/// `{}`, or no body.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EmptyBody {}

const MAX_GRACE: u32 = 90 * 24 * 60 * 60;

// === impl CreateKey, EditKey, RotateKey ===

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
        if let Some(BoundedPermissions(permissions)) = self.permissions {
            edit = edit.permissions(read_by(permissions, actor));
        }
        if let Some(status) = self.status {
            edit = edit.enabled(matches!(status, Switch::Active));
        }
        edit
    }
}

impl RotateKey {
    /// Returns whether the grace period is at most 90 days.
    pub(super) fn is_short(&self) -> bool {
        self.grace_seconds <= MAX_GRACE
    }

    pub(super) fn into_rotation(self) -> Rotation {
        let rotation = Rotation::grace_period(Duration::from_secs(self.grace_seconds.into()));
        match self.expires_at {
            Some(instant) => rotation.expires_at(instant.into()),
            None => rotation,
        }
    }
}

/// The members of a body, each with its requirement. An error names the member and the requirement,
/// never the value.
pub(super) trait Members {
    const MEMBERS: &[(&str, &str)];
}

const NAME: &str = "must be a string of 1 to 100 characters";
const PERMISSIONS: &str = "must be an object that maps each resource once to a list of actions, 256 actions at most";
const TIME: &str = "must be an RFC 3339 time such as \"2027-01-15T08:00:00Z\"";

impl Members for CreateKey {
    const MEMBERS: &[(&str, &str)] = &[
        ("type", "must be \"user\" or \"bot\""),
        ("name", NAME),
        ("permissions", PERMISSIONS),
        ("environment", NAME),
        ("not_before", TIME),
        ("expires_at", TIME),
    ];
}

impl Members for EditKey {
    const MEMBERS: &[(&str, &str)] =
        &[("name", NAME), ("permissions", PERMISSIONS), ("status", "must be \"active\" or \"disabled\"")];
}

impl Members for RotateKey {
    const MEMBERS: &[(&str, &str)] =
        &[("grace_seconds", "must be a whole number from 0 to 7776000 (90 days)"), ("expires_at", TIME)];
}

impl Members for EmptyBody {
    const MEMBERS: &[(&str, &str)] = &[];
}

/// Makes `*` in a request a wildcard if it is a wildcard in the permissions of the actor.
fn read_by(permissions: Permissions, actor: &Actor) -> Permissions {
    if actor.permissions().has_wildcards() { permissions.with_wildcards() } else { permissions }
}

/// Deserializes a member that is present; `null` is rejected.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Deserializes a variant from a string only. By itself, serde also accepts `{"variant": null}`.
fn variant<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    T::deserialize(String::deserialize(deserializer)?.into_deserializer())
}

fn present_variant<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    variant(deserializer).map(Some)
}

fn bounded<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Permissions, D::Error> {
    Permissions::deserialize_at_most(deserializer, MAX_PERMISSIONS)
}

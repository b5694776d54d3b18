//! The bodies of requests, and their schemas.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use super::{
    presence::{Nullable, nullable, present, present_variant, variant},
    role_name::RoleName,
    time::{nullable_time, present_time},
};
use crate::{
    address::Network,
    manage::{Actor, NewKey, Rotation, UpdateKey, validation::MAX_PERMISSIONS, view::KeyType},
    permission::Permissions,
    record::LimitNumber,
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
    /// The names of the roles, whose permissions the key has too.
    #[serde(default)]
    #[schema(max_items = 16, required = false)]
    roles: Vec<RoleName>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = KeyName, required = false)]
    environment: Option<KeyName>,
    #[serde(default, deserialize_with = "present_time")]
    #[schema(value_type = String, format = DateTime, required = false)]
    not_before: Option<Timestamp>,
    #[serde(default, deserialize_with = "present_time")]
    #[schema(value_type = String, format = DateTime, required = false)]
    expires_at: Option<Timestamp>,
    /// The networks from which the key is accepted. Without it, every address is allowed, or those
    /// of the caller's key.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Vec<String>, required = false)]
    allowed_addresses: Option<Vec<Network>>,
    /// Texts that are stored with the key.
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    /// The name of the plan. An unknown one is rejected. Only the service itself, or an operator,
    /// can set this, `limits` and `meter`.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = String, required = false)]
    plan: Option<String>,
    /// The numbers that replace those of the plan.
    #[serde(default)]
    #[schema(value_type = Object, required = false)]
    limits: BTreeMap<String, LimitNumber>,
    /// The meter of another key, which shares its limits with this one. The default is a new one.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = KeyName, required = false)]
    meter: Option<KeyName>,
}

/// A change of a key, as a JSON merge patch (RFC 7396). Absent members do not change; `null`
/// removes a time, all roles, the list of addresses, a text of the metadata, all metadata, the
/// plan, a number of the limits, or all numbers. The other members cannot be removed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EditKey {
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = KeyName, required = false)]
    name: Option<KeyName>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = std::collections::BTreeMap<String, Vec<String>>, required = false)]
    permissions: Option<BoundedPermissions>,
    /// The names of all roles; `null` or `[]` removes them.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<Vec<RoleName>>, max_items = 16, required = false)]
    roles: Option<Nullable<Vec<RoleName>>>,
    #[serde(default, deserialize_with = "present_variant")]
    #[schema(value_type = Switch, required = false)]
    status: Option<Switch>,
    #[serde(default, deserialize_with = "nullable_time")]
    #[schema(value_type = Option<String>, format = DateTime, required = false)]
    not_before: Option<Nullable<Timestamp>>,
    #[serde(default, deserialize_with = "nullable_time")]
    #[schema(value_type = Option<String>, format = DateTime, required = false)]
    expires_at: Option<Nullable<Timestamp>>,
    /// The networks from which the key is accepted; `null` allows every address, `[]` none.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<Vec<String>>, required = false)]
    allowed_addresses: Option<Nullable<Vec<Network>>>,
    /// The texts to set; `null` removes a text. `null` instead of the object removes all texts.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<BTreeMap<String, Option<String>>>, required = false)]
    metadata: Option<Nullable<BTreeMap<String, Option<String>>>>,
    /// The name of the plan; `null` removes it. An unknown one is rejected. Only the service
    /// itself, or an operator, can change this and `limits`.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>, required = false)]
    plan: Option<Nullable<String>>,
    /// The numbers that replace those of the plan; `null` gives a limit the number of the plan
    /// again, and `null` instead of the object all limits.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<Object>, required = false)]
    limits: Option<Nullable<BTreeMap<String, Option<LimitNumber>>>>,
    /// Why the key is changed.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = ChangeReason, required = false)]
    reason: Option<ChangeReason>,
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
pub(super) struct KeyName(pub(super) String);

/// 1 to 200 visible characters or spaces, with no space at either end.
#[derive(Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(min_length = 1, max_length = 200)]
pub(super) struct ChangeReason(pub(super) String);

/// Permissions. Their number is checked while they are deserialized.
#[derive(Default, Deserialize)]
#[serde(transparent)]
pub(super) struct BoundedPermissions(#[serde(deserialize_with = "bounded")] pub(super) Permissions);

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
    /// Why the key is replaced.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = ChangeReason, required = false)]
    reason: Option<ChangeReason>,
}

/// A replacement at once. The body may be omitted.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RegenerateKey {
    /// Why the key is replaced.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = ChangeReason, required = false)]
    reason: Option<ChangeReason>,
}

pub(super) const MAX_GRACE: u32 = 90 * 24 * 60 * 60;

// === impl CreateKey, EditKey, RotateKey, RegenerateKey ===

impl CreateKey {
    pub(super) fn into_new(self, actor: &Actor) -> NewKey {
        let new = match self.r#type {
            KeyType::User => NewKey::user(self.name.0),
            KeyType::Bot => NewKey::service_account(self.name.0),
        };
        let mut new = new.permissions(read_by(self.permissions.0, actor)).roles(self.roles);
        if let Some(KeyName(environment)) = self.environment {
            new = new.environment(environment);
        }
        if let Some(instant) = self.not_before {
            new = new.not_before(instant.into());
        }
        if let Some(instant) = self.expires_at {
            new = new.expires_at(instant.into());
        }
        if let Some(networks) = self.allowed_addresses {
            new = new.allowed_addresses(networks);
        }
        let new = self.metadata.into_iter().fold(new, |new, (name, text)| new.metadata(name, text));
        limited(new, self.plan, self.limits, self.meter)
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
        if let Some(Nullable(roles)) = self.roles {
            edit = edit.roles(roles.unwrap_or_default());
        }
        if let Some(status) = self.status {
            edit = edit.enabled(matches!(status, Switch::Active));
        }
        if let Some(Nullable(instant)) = self.not_before {
            edit = edit.not_before(instant.map(Into::into));
        }
        if let Some(Nullable(instant)) = self.expires_at {
            edit = edit.expires_at(instant.map(Into::into));
        }
        if let Some(Nullable(networks)) = self.allowed_addresses {
            edit = edit.allowed_addresses(networks);
        }
        edit = match self.metadata {
            None => edit,
            Some(Nullable(None)) => edit.clear_metadata(),
            Some(Nullable(Some(patch))) => patch.into_iter().fold(edit, |edit, (name, text)| match text {
                Some(text) => edit.metadata(name, text),
                None => edit.remove_metadata(name),
            }),
        };
        edit = match self.plan {
            None => edit,
            Some(Nullable(None)) => edit.remove_plan(),
            Some(Nullable(Some(plan))) => edit.plan(plan),
        };
        match self.limits {
            None => edit,
            Some(Nullable(None)) => edit.clear_limits(),
            Some(Nullable(Some(patch))) => patch.into_iter().fold(edit, |edit, (name, number)| match number {
                Some(LimitNumber(number)) => edit.limit(name, number),
                None => edit.remove_limit(name),
            }),
        }
    }

    pub(super) fn take_reason(&mut self) -> Option<ChangeReason> {
        self.reason.take()
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

    pub(super) fn take_reason(&mut self) -> Option<ChangeReason> {
        self.reason.take()
    }
}

impl RegenerateKey {
    pub(super) fn into_reason(self) -> Option<ChangeReason> {
        self.reason
    }
}

/// Sets the plan, the limits and the meter of a new key.
pub(super) fn limited(
    mut new: NewKey,
    plan: Option<String>,
    limits: BTreeMap<String, LimitNumber>,
    meter: Option<KeyName>,
) -> NewKey {
    if let Some(plan) = plan {
        new = new.plan(plan);
    }
    if let Some(KeyName(meter)) = meter {
        new = new.meter(meter);
    }
    limits.into_iter().fold(new, |new, (name, LimitNumber(number))| new.limit(name, number))
}

/// Makes `*` in a request a wildcard if it is a wildcard in the permissions of the actor.
pub(super) fn read_by(permissions: Permissions, actor: &Actor) -> Permissions {
    if actor.permissions().has_wildcards() { permissions.with_wildcards() } else { permissions }
}

fn bounded<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Permissions, D::Error> {
    Permissions::deserialize_at_most(deserializer, MAX_PERMISSIONS)
}

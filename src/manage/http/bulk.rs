//! Changes all keys that a filter matches.

use std::{borrow::Cow, collections::BTreeMap};

use axum::{Json, extract::State};
use serde::{Deserialize, Deserializer, Serialize, de::Error};
use serde_json::Value;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Object, ObjectBuilder, RefOr,
        schema::{AdditionalProperties, Schema, Type},
    },
};

use super::{
    bodies::ChangeReason,
    extract::{ApiError, CanRead, RequestActor},
    members::{Members, REASON},
    parse::Body,
    presence::{present, variant},
    search::Conditions,
};
use crate::{
    manage::{BulkChange, BulkResult, ChangeMany, KeyManager},
    store::KeyFilter,
};

/// A change of all keys that the filter matches.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeKeys {
    #[serde(deserialize_with = "variant")]
    change: Change,
    filter: Filter,
    /// Permits a filter without a condition, which matches every key that the caller sees.
    #[serde(default)]
    all: bool,
    /// Whether to change the caller's own key too.
    #[serde(default)]
    own_key: bool,
    /// Whether to only count the keys.
    #[serde(default)]
    dry_run: bool,
    /// Why the keys are changed.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = ChangeReason, required = false)]
    reason: Option<ChangeReason>,
}

/// The conditions of a search. The members are the parameters of a list, without `limit`, `cursor`
/// and `sort`.
pub(super) struct Filter(Conditions);

/// The change of each key.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Change {
    /// Revokes it permanently. Requires `apiKeys: delete`.
    Revoke,
    /// Disables it. Requires `apiKeys: update`.
    Disable,
    /// Deletes it with its record. Requires `apiKeys: delete`.
    Remove,
}

/// The result of a change of many keys.
#[derive(Serialize, ToSchema)]
pub(super) struct ChangedKeys {
    /// The number of keys that the filter matches and the change applies to.
    matched: u64,
    /// The number of changed keys; 0 in a dry run.
    changed: u64,
    /// The ids of the changed keys; in a dry run, of the matched ones. At most 1,000 are listed.
    ids: Vec<String>,
}

#[utoipa::path(post, path = "/bulk", tag = "many keys", request_body = ChangeKeys, responses(
    (status = 200, description = "The number of keys that were changed; in a dry run, that match", body = ChangedKeys),
))]
pub(super) async fn change_keys(
    State(manager): State<KeyManager>,
    caller: RequestActor<CanRead>,
    Body(mut body): Body<ChangeKeys>,
) -> Result<Json<ChangedKeys>, ApiError> {
    let caller = caller.because(body.reason.take());
    let done = caller.map_err(manager.change_many(caller.actor(), body.into_change()).await)?;
    Ok(Json(ChangedKeys::from(&done)))
}

// === impl ChangeKeys, ChangedKeys ===

impl ChangeKeys {
    fn into_change(self) -> ChangeMany {
        let change = match self.change {
            Change::Revoke => BulkChange::Revoke,
            Change::Disable => BulkChange::Disable,
            Change::Remove => BulkChange::Remove,
        };
        let mut many = ChangeMany::new(change, self.filter.into_filter());
        if self.all {
            many = many.all();
        }
        if self.own_key {
            many = many.with_own_key();
        }
        if self.dry_run { many.dry_run() } else { many }
    }
}

impl Filter {
    pub(super) fn into_filter(self) -> KeyFilter {
        self.0.into_filter()
    }
}

/// Deserializes an object of strings and booleans, each once.
impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut conditions = Conditions::default();
        for (name, value) in BTreeMap::<String, Value>::deserialize(deserializer)? {
            let text = match value {
                Value::String(text) if !SWITCHES.contains(&name.as_str()) => text,
                Value::Bool(switch) if SWITCHES.contains(&name.as_str()) => switch.to_string(),
                _ => return Err(D::Error::custom("the value is of another type")),
            };
            conditions.set(&name, &text).map_err(D::Error::custom)?;
        }
        Ok(Self(conditions))
    }
}

impl PartialSchema for Filter {
    fn schema() -> RefOr<Schema> {
        let object = |object, name: &'static str| {
            let kind = if SWITCHES.contains(&name) { Type::Boolean } else { Type::String };
            ObjectBuilder::property(object, name, Object::with_type(kind))
        };
        let about = "The conditions of a search, as the parameters of a list. A key must meet all of them.";
        let all = Conditions::names().fold(ObjectBuilder::new().description(Some(about)), object);
        all.additional_properties(Some(AdditionalProperties::FreeForm(false))).into()
    }
}

impl ToSchema for Filter {
    fn name() -> Cow<'static, str> {
        "KeyFilter".into()
    }
}

impl From<&BulkResult> for ChangedKeys {
    fn from(done: &BulkResult) -> Self {
        Self { matched: done.matched, changed: done.changed, ids: done.ids.iter().map(ToString::to_string).collect() }
    }
}

pub(super) const FILTER: &str = "must be an object of conditions, with the names and the values of the query of a list";
/// The conditions that are true or false.
const SWITCHES: [&str; 2] = ["revoked", "never_used"];
pub(super) const SWITCH: &str = "must be true or false";

impl Members for ChangeKeys {
    const MEMBERS: &[(&str, &str)] = &[
        ("change", "must be \"revoke\", \"disable\" or \"remove\""),
        ("filter", FILTER),
        ("all", SWITCH),
        ("own_key", SWITCH),
        ("dry_run", SWITCH),
        ("reason", REASON),
    ];
}

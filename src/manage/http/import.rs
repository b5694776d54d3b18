//! Imports many keys.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::{
    bodies::{BoundedPermissions, KeyName, limited, read_by},
    bounded::{few, first},
    extract::{ApiError, CanCreate, RequestActor},
    members::{ADDRESSES, LIMITS, METADATA, METER, Members, NAME, PERMISSIONS, PLAN, ROLES, TIME},
    parse::{BodyText, parse, requirement},
    presence::{present, present_variant, variant},
    role_name::RoleName,
    time::present_time,
};
use crate::{
    address::Network,
    manage::{Actor, ImportKey, KeyManager, ManageError, NewKey, import_many::MAX_IMPORT, view::KeyType},
    record::{LimitNumber, MAX_ROLES, Owner, Status},
};

/// Up to 1,000 keys of another system.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ImportKeys<'b> {
    /// Each is checked separately: an invalid key has its own result, and does not stop the others.
    #[serde(borrow, deserialize_with = "first::<_, _, MAX_IMPORT>")]
    #[schema(value_type = Vec<ImportedKey>, max_items = 1000)]
    keys: Vec<&'b RawValue>,
}

/// A key of another system: its plain text or its digest, and its history there.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ImportedKey {
    /// The plain text. Either this or the digest is required.
    #[serde(default, deserialize_with = "secret")]
    #[schema(value_type = String, required = false)]
    key: Option<Zeroizing<String>>,
    /// The digest of the manager's hasher, as 64 hexadecimal digits.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = String, pattern = "^[0-9a-fA-F]{64}$", required = false)]
    digest: Option<String>,
    #[serde(deserialize_with = "variant")]
    r#type: KeyType,
    name: KeyName,
    /// The permitted actions for each resource.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, Vec<String>>)]
    permissions: BoundedPermissions,
    /// The names of the roles, whose permissions the key has too.
    #[serde(default, deserialize_with = "first::<_, _, MAX_ROLES>")]
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
    #[serde(default, deserialize_with = "few")]
    metadata: BTreeMap<String, String>,
    /// The name of the plan. Only the service itself, or an operator, can set this, `limits` and
    /// `meter`.
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
    /// The id to keep. The default is a new one.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = KeyName, required = false)]
    id: Option<KeyName>,
    /// The id of the user, for a key of a user. Only the service itself can set another user.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = KeyName, required = false)]
    owner: Option<KeyName>,
    #[serde(default, deserialize_with = "present_time")]
    #[schema(value_type = String, format = DateTime, required = false)]
    created_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "present_variant")]
    #[schema(value_type = ImportedStatus, required = false)]
    status: Option<ImportedStatus>,
    #[serde(default, deserialize_with = "present_time")]
    #[schema(value_type = String, format = DateTime, required = false)]
    last_used_at: Option<Timestamp>,
    #[serde(default)]
    use_count: u64,
}

/// The status of an imported key.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ImportedStatus {
    Active,
    Disabled,
    Revoked,
}

/// The result of each key, in the order of the request.
#[derive(Serialize, ToSchema)]
pub(super) struct ImportResults {
    /// The number of imported keys.
    imported: usize,
    results: Vec<ImportOutcome>,
}

/// The result of one key.
#[derive(Serialize, ToSchema)]
struct ImportOutcome {
    /// 201, or the status of the error.
    status: u16,
    /// The id of an imported key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    id: Option<String>,
    /// A sentence that says why the key was rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    detail: Option<String>,
}

#[utoipa::path(post, path = "/import", tag = "many keys", request_body = ImportKeys, responses(
    (status = 200, description = "The result of each key. A rejected key does not stop the others", body = ImportResults),
))]
pub(super) async fn import_keys(
    State(manager): State<KeyManager>,
    caller: RequestActor<CanCreate>,
    body: BodyText,
) -> Result<Json<ImportResults>, ApiError> {
    let listed = body.parsed::<ImportKeys>()?.keys;
    if listed.len() > MAX_IMPORT {
        return Err(caller.error(ManageError::TooManyKeys { most: MAX_IMPORT }));
    }
    let (mut results, mut keys, mut indexes) = (Vec::new(), Vec::new(), Vec::new());
    for (index, key) in listed.into_iter().enumerate() {
        match read(key, caller.actor()) {
            Ok(key) => {
                results.push(ImportOutcome { status: 201, id: None, detail: None });
                keys.push(key);
                indexes.push(index);
            }
            Err((status, detail)) => results.push(ImportOutcome { status, id: None, detail: Some(detail) }),
        }
    }
    drop(body);
    let imported = caller.map_err(manager.import_many(caller.actor(), keys).await)?;
    for (index, imported) in indexes.into_iter().zip(imported) {
        match imported {
            Ok(record) => results[index].id = Some(record.id().to_string()),
            Err(error) => {
                (results[index].status, results[index].detail) = (error.status().as_u16(), Some(error.detail()));
            }
        }
    }
    let imported = results.iter().filter(|result| result.id.is_some()).count();
    Ok(Json(ImportResults { imported, results }))
}

/// Reads one key. The error has a status and a sentence, and repeats no value.
fn read(key: &RawValue, actor: &Actor) -> Result<ImportKey, (u16, String)> {
    let key: ImportedKey = parse(key.get().as_bytes()).map_err(|(status, detail)| (status.as_u16(), detail))?;
    key.into_import(actor).map_err(|member| (422, requirement::<ImportedKey>(member)))
}

impl ImportedKey {
    /// Returns the key, or the name of the member that is wrong.
    fn into_import(self, actor: &Actor) -> Result<ImportKey, &'static str> {
        let (new, owner) = match (self.r#type, self.owner) {
            (KeyType::User, owner) => (NewKey::user(self.name.0), owner.map(|KeyName(id)| Owner::User(id))),
            (KeyType::Bot, None) => (NewKey::service_account(self.name.0), None),
            (KeyType::Bot, Some(_)) => return Err("owner"),
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
        let new = limited(new, self.plan, self.limits, self.meter);
        let key = self.key.as_ref().map(|key| key.as_str());
        let mut import = ImportKey::read(key, self.digest.as_deref(), new)?;
        if let Some(KeyName(id)) = self.id {
            import = import.id(id);
        }
        if let Some(owner) = owner {
            import = import.owner(owner);
        }
        if let Some(instant) = self.created_at {
            import = import.created_at(instant.into());
        }
        let import = import.used(self.use_count, self.last_used_at.map(Into::into));
        Ok(import.status(match self.status {
            None | Some(ImportedStatus::Active) => Status::Active,
            Some(ImportedStatus::Disabled) => Status::Disabled,
            Some(ImportedStatus::Revoked) => Status::Revoked,
        }))
    }
}

/// Deserializes the plain text of a key, which is wiped when it is dropped.
fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Zeroizing<String>>, D::Error> {
    String::deserialize(deserializer).map(|text| Some(Zeroizing::new(text)))
}

impl Members for ImportKeys<'_> {
    const MEMBERS: &'static [(&'static str, &'static str)] = &[("keys", "must be a list of at most 1000 objects")];
}

impl Members for ImportedKey {
    const MEMBERS: &[(&str, &str)] = &[
        ("key", "must be the plain text of a key, unless there is a digest"),
        ("digest", "must be 64 hexadecimal digits"),
        ("type", "must be \"user\" or \"bot\""),
        ("name", NAME),
        ("permissions", PERMISSIONS),
        ("roles", ROLES),
        ("environment", NAME),
        ("not_before", TIME),
        ("expires_at", TIME),
        ("allowed_addresses", ADDRESSES),
        ("metadata", METADATA),
        ("plan", PLAN),
        ("limits", LIMITS),
        ("meter", METER),
        ("id", NAME),
        ("owner", "must be a string of 1 to 100 characters, for a key of a user only"),
        ("created_at", TIME),
        ("status", "must be \"active\", \"disabled\" or \"revoked\""),
        ("last_used_at", TIME),
        ("use_count", "must be a whole number"),
    ];
}

//! The store of a case: keys in memory, with the fault of the case. It counts lookups.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use serde_json::Value;
use tokio::sync::Notify;
use tower_api_key::{
    ApiKey, KeyDigest, KeyFormat, KeyHasher, KeyId, KeyRecord, KeyRegistry, KeyStore, Lookup, Owner, Permissions,
    Status,
    store::{BoxError, ChangeContext, KeyFilter, KeyLimit, MemoryStore, RegistryError, Replacement, UsageDelta},
};

use crate::{Failure, limits};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Speed {
    AtOnce,
    Waits,
}

pub(crate) enum Fault {
    None,
    /// Fails with this text, which no response may contain.
    Fails(String),
    FailsOnce,
    Slow(Duration),
    ReturnsOther,
}

pub(crate) struct CaseStore {
    pub(crate) keys: MemoryStore,
    /// Digests as stored in a row, even if they are not 32 bytes.
    pub(crate) rows: Vec<(String, Vec<u8>)>,
    pub(crate) fault: Fault,
    pub(crate) speed: Speed,
    pub(crate) calls: AtomicUsize,
    /// The organizations of the keys.
    pub(crate) organizations: Mutex<BTreeSet<Option<String>>>,
    /// Holds up a lookup while the store changes.
    pub(crate) gate: Option<Gate>,
}

#[derive(Clone, Default)]
pub(crate) struct Gate {
    pub(crate) armed: Arc<AtomicBool>,
    pub(crate) entered: Arc<Notify>,
    pub(crate) release: Arc<Notify>,
}

impl KeyStore for CaseStore {
    type Error = BoxError;

    async fn find(&self, digest: &KeyDigest) -> Result<Option<KeyRecord>, BoxError> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        if let Some(gate) = &self.gate
            && gate.armed.swap(false, Ordering::Relaxed)
        {
            let found = self.keys.find(digest).await?;
            gate.entered.notify_one();
            gate.release.notified().await;
            return Ok(found);
        }
        match &self.fault {
            Fault::Fails(why) => return Err(why.clone().into()),
            Fault::FailsOnce if call == 0 => return Err("the database was gone".into()),
            Fault::ReturnsOther => {
                return Ok(self.all().await.into_iter().find(|record| record.digest() != digest));
            }
            Fault::Slow(delay) => tokio::time::sleep(*delay).await,
            Fault::None | Fault::FailsOnce => {}
        }
        if let Some((id, row)) = self.rows.first() {
            let stored = KeyDigest::try_from(row.as_slice())?;
            return Ok(Some(KeyRecord::new(id.as_str(), stored)));
        }
        Ok(self.keys.find(digest).await?)
    }

    fn try_find(&self, digest: &KeyDigest) -> Lookup {
        let sound = matches!(self.fault, Fault::None) && self.rows.is_empty() && self.gate.is_none();
        if self.speed == Speed::AtOnce && sound {
            self.calls.fetch_add(1, Ordering::Relaxed);
            return self.keys.try_find(digest);
        }
        Lookup::Pending
    }
}

/// Changes bypass the faults, which affect lookups only.
impl KeyRegistry for CaseStore {
    async fn insert(
        &self,
        record: KeyRecord,
        cap: Option<KeyLimit>,
        context: Option<&ChangeContext>,
    ) -> Result<Result<(), RegistryError>, BoxError> {
        Ok(self.keys.insert(record, cap, context).await?)
    }

    async fn insert_first(
        &self,
        record: KeyRecord,
        context: Option<&ChangeContext>,
    ) -> Result<Result<(), RegistryError>, BoxError> {
        Ok(self.keys.insert_first(record, context).await?)
    }

    async fn get(&self, id: &KeyId) -> Result<Option<KeyRecord>, BoxError> {
        Ok(self.keys.get(id).await?)
    }

    async fn list(&self, filter: &KeyFilter) -> Result<Vec<KeyRecord>, BoxError> {
        Ok(self.keys.list(filter).await?)
    }

    async fn update(
        &self,
        changed: KeyRecord,
        context: Option<&ChangeContext>,
    ) -> Result<Result<KeyRecord, RegistryError>, BoxError> {
        Ok(self.keys.update(changed, context).await?)
    }

    async fn replace(
        &self,
        old: KeyRecord,
        new: KeyRecord,
        context: Option<&ChangeContext>,
    ) -> Result<Result<Replacement, RegistryError>, BoxError> {
        Ok(self.keys.replace(old, new, context).await?)
    }

    async fn revoke(
        &self,
        id: &KeyId,
        context: Option<&ChangeContext>,
    ) -> Result<Result<KeyRecord, RegistryError>, BoxError> {
        Ok(self.keys.revoke(id, context).await?)
    }

    async fn remove(
        &self,
        id: &KeyId,
        context: Option<&ChangeContext>,
    ) -> Result<Result<KeyRecord, RegistryError>, BoxError> {
        Ok(self.keys.remove(id, context).await?)
    }

    async fn remove_user(
        &self,
        organization: Option<&str>,
        user: &str,
        context: Option<&ChangeContext>,
    ) -> Result<Result<Vec<KeyRecord>, RegistryError>, BoxError> {
        Ok(self.keys.remove_user(organization, user, context).await?)
    }

    async fn rehash(
        &self,
        id: &KeyId,
        from: &KeyDigest,
        to: &KeyDigest,
        context: Option<&ChangeContext>,
    ) -> Result<Result<KeyRecord, RegistryError>, BoxError> {
        Ok(self.keys.rehash(id, from, to, context).await?)
    }

    async fn record_usage(&self, uses: &[UsageDelta]) -> Result<(), BoxError> {
        Ok(self.keys.record_usage(uses).await?)
    }
}

impl CaseStore {
    /// Records the organization of a key.
    pub(crate) fn note(&self, record: &KeyRecord) {
        self.organizations.lock().unwrap().insert(record.organization().map(str::to_owned));
    }

    /// Returns every record, of any organization.
    pub(crate) async fn all(&self) -> Vec<KeyRecord> {
        let organizations = self.organizations.lock().unwrap().clone();
        let mut records = Vec::new();
        for organization in organizations {
            let mut filter = KeyFilter::default().with_revoked().limit(usize::MAX);
            filter.organization = organization;
            let Ok(listed) = self.keys.list(&filter).await;
            records.extend(listed);
        }
        records
    }

    /// The text of the store's error, which no response may contain.
    pub(crate) fn fault_text(&self) -> Option<&str> {
        match &self.fault {
            Fault::Fails(why) => Some(why.as_str()).filter(|why| !why.is_empty()),
            _ => None,
        }
    }

    pub(crate) async fn remove_everywhere(&self, owner: &str) {
        let organizations = self.organizations.lock().unwrap().clone();
        for organization in organizations {
            let Ok(_) = self.keys.remove_user(organization.as_deref(), owner, None).await;
        }
    }
}

impl Fault {
    pub(crate) fn parse(text: Option<&str>) -> Result<Self, Failure> {
        Ok(match text {
            None => Self::None,
            // Permissions are part of the record, so they fail with it. So do limits: a store keeps the
            // plan and the numbers of a key in its record, and the counts are in memory.
            Some("fails" | "grants_fail" | "limits_fail") => Self::Fails("the database is gone".to_owned()),
            Some("fails_once") => Self::FailsOnce,
            Some("returns_other_record") => Self::ReturnsOther,
            Some(other) => {
                if let Some(why) = other.strip_prefix("fails:") {
                    return Ok(Self::Fails(why.to_owned()));
                }
                let delay = other.strip_prefix("slow:").and_then(|rest| rest.strip_suffix("ms"));
                let delay = delay.and_then(|ms| ms.parse().ok());
                Self::Slow(Duration::from_millis(delay.ok_or(format!("unknown store {other}"))?))
            }
        })
    }
}

/// Builds the record that `key` describes, with `secret`.
pub(crate) fn record(key: &Value, secret: &ApiKey, wildcards: bool, now: SystemTime) -> Result<KeyRecord, Failure> {
    let id = key["id"].as_str().ok_or("a key without an id")?;
    let mut record =
        KeyRecord::for_key(id, secret, &KeyHasher::sha256()).with_permissions(permissions(&key["grants"], wildcards)?);
    record = limits::with_remaining(record, key)?;
    let members = key.as_object().ok_or("a key that is no object")?;
    for (member, value) in members {
        let text = value.as_str();
        record = match (member.as_str(), text) {
            ("org", Some(org)) => record.with_organization(org),
            ("keyspace", Some(keyspace)) => record.with_environment(keyspace),
            ("owner", Some(owner)) => match key["kind"].as_str() {
                Some("bot") if key["org"].is_string() => record.with_owner(Owner::ServiceAccount),
                Some("bot") => record.with_owner(Owner::ServiceAccount).with_organization(owner),
                _ => record.with_owner(Owner::User(owner.to_owned())),
            },
            ("kind", Some("bot")) => record.with_owner(Owner::ServiceAccount),
            ("env", Some(env)) => record.with_environment(env),
            ("created_by", Some(creator)) => record.with_metadata("created_by", creator),
            ("owner_active", _) if value == false => record.with_status(Status::Disabled),
            ("expires_in", _) if value.is_null() => record,
            ("expires_in", _) => record.with_expires_at(offset(now, value)?),
            ("created_ago", _) => record.with_created_at(now - seconds(value)?),
            ("state", Some("revoked")) => record.with_status(Status::Revoked),
            ("state", Some("disabled")) => record.with_status(Status::Disabled),
            ("state", Some("not_yet_valid")) => record.with_not_before(now + Duration::from_mins(1)),
            ("state", Some("expired")) => record.with_expires_at(now - Duration::from_secs(1)),
            ("state", Some("valid"))
            | (
                "id" | "digest_alg" | "secret" | "secret_ref" | "kind" | "grants" | "owner_active" | "store"
                | "remaining",
                _,
            ) => record,
            _ => return Err(format!("a key with an unknown {member}: {value}")),
        };
    }
    Ok(record)
}

/// Returns the hasher of a case: with a pepper if the case has a `legacy` key.
pub(crate) fn hasher(keys: &[Value]) -> Result<KeyHasher, Failure> {
    if keys.iter().all(|key| key["digest_alg"].is_null()) {
        return Ok(KeyHasher::sha256());
    }
    let pepper = KeyHasher::hmac_sha256(&[0x5a; 32]).map_err(|error| error.to_string())?;
    Ok(pepper.with_previous(KeyHasher::sha256()))
}

pub(crate) fn permissions(grants: &Value, wildcards: bool) -> Result<Permissions, Failure> {
    let mut permissions = Permissions::new();
    for (resource, actions) in grants.as_object().into_iter().flatten() {
        for action in actions.as_array().ok_or("grants that are no lists")? {
            let action = action.as_str().ok_or("an action that is no text")?;
            permissions = permissions.grant(resource, action.to_owned());
        }
    }
    Ok(if wildcards { permissions.with_wildcards() } else { permissions })
}

/// Generates a key for a record without a secret.
pub(crate) fn generate(prefix: &str) -> Result<ApiKey, Failure> {
    let format = KeyFormat::new(prefix).map_err(|error| error.to_string())?;
    format.generate().map_err(|error| error.to_string())
}

fn seconds(value: &Value) -> Result<Duration, Failure> {
    let seconds = value.as_f64().ok_or("a time that is no number")?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn offset(now: SystemTime, value: &Value) -> Result<SystemTime, Failure> {
    let amount = value.as_f64().ok_or("a time that is no number")?;
    let distance = Duration::from_secs_f64(amount.abs());
    Ok(if amount < 0.0 { now - distance } else { now + distance })
}

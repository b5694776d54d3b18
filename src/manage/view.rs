//! A serializable view of a record. The HTTP API shows keys with it.

use std::{collections::BTreeMap, time::SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    address::Network,
    clock::Clock,
    permission::Permissions,
    record::{Author, ColdFields, ExpiryPolicies, Fields, History, KeyRecord, LimitNumber, Obstacle, Owner, Validity},
};

/// A [`KeyRecord`] as the management API shows it, with times in RFC 3339 and without the digest.
///
/// Use it for responses of your own handlers. `status` is the state at the time of the conversion:
/// `active`, `disabled`, `revoked`, `expired` or `not_yet_valid`. [`KeyView::at`] uses another time
/// that you pass, such as that of a test clock.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use serde_json::json;
/// use tower_api_key::{KeyRecord, Owner, manage::KeyView};
///
/// let record = KeyRecord::new("key_1", [7; 32])
///     .with_owner(Owner::User("alice".into()))
///     .with_name("laptop")
///     .with_created_at(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000))
///     .grant("links", "read");
/// assert_eq!(
///     serde_json::to_value(KeyView::from(&record))?,
///     json!({
///         "id": "key_1", "type": "user", "owner": "alice", "name": "laptop",
///         "organization": null, "environment": null,
///         "permissions": {"links": ["read"]}, "roles": [], "status": "active", "mask": null,
///         "created_at": "2027-01-15T08:00:00Z", "not_before": null, "expires_at": null,
///         "allowed_addresses": null,
///         "last_used_at": null, "use_count": 0, "replaces": null, "replaced_by": null,
///         "lineage": "key_1", "created_by": null, "updated_at": null, "revoked_at": null,
///         "revoked_by": null, "reason": null, "metadata": {}, "plan": null, "limits": {},
///         "meter": "key_1", "version": 0,
///     }),
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Key, description = "A key, without its plain text.")]
pub struct KeyView {
    id: String,
    r#type: Option<KeyType>,
    /// The id of the user, or `Bot`.
    owner: Option<String>,
    name: Option<String>,
    organization: Option<String>,
    environment: Option<String>,
    /// The permitted actions for each resource.
    #[schema(value_type = std::collections::BTreeMap<String, Vec<String>>)]
    permissions: Permissions,
    /// The names of the roles, whose permissions the key has too.
    roles: Vec<String>,
    status: KeyState,
    /// The part of the key that may be shown.
    mask: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    created_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    not_before: Option<Timestamp>,
    /// When the key stops working: at its own expiry, or sooner by the policy of the manager.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// The networks from which the key is accepted. `null` is every address.
    #[schema(value_type = Option<Vec<String>>)]
    allowed_addresses: Option<Vec<Network>>,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
    use_count: u64,
    /// The id of the key that this key replaced.
    replaces: Option<String>,
    /// The id of the key that replaced this key. This key works until it expires.
    replaced_by: Option<String>,
    /// The id of the first key of its chain of replacements.
    lineage: String,
    created_by: Option<AuthorView>,
    #[schema(value_type = Option<String>, format = DateTime)]
    updated_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<Timestamp>,
    revoked_by: Option<AuthorView>,
    /// The reason of the last change that had one, until the key is enabled.
    reason: Option<String>,
    metadata: BTreeMap<String, String>,
    /// The name of the plan.
    plan: Option<String>,
    /// The numbers that replace those of the plan, by the names of its limits.
    #[schema(value_type = Object)]
    limits: BTreeMap<String, LimitNumber>,
    /// The meter that counts the requests. The keys that replace this key inherit it.
    meter: String,
    /// How often the record was changed. Send it in `If-Match` to change this version only.
    version: u64,
}

/// The author of a change.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Author)]
pub(super) struct AuthorView {
    r#type: AuthorKind,
    /// The id of the key or of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    id: Option<String>,
}

/// The kind of author: a caller with a key, a user without one, or the service itself.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum AuthorKind {
    Key,
    User,
    System,
}

/// The kind of owner.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum KeyType {
    /// A key of a user. It is deleted when the user leaves.
    User,
    /// A key of an organization (a service account). It does not depend on any user.
    Bot,
}

/// The state of a key at one time.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum KeyState {
    Active,
    Disabled,
    Revoked,
    Expired,
    NotYetValid,
}

// === impl KeyView ===

impl KeyView {
    /// Returns the view of a record at the time `now`. The view shows whether the key is expired or
    /// not yet valid at this time.
    ///
    /// ```
    /// use std::time::SystemTime;
    /// use tower_api_key::{KeyRecord, manage::KeyView};
    ///
    /// let record = KeyRecord::new("key_1", [7; 32]).with_expires_at(SystemTime::UNIX_EPOCH);
    /// let view = serde_json::to_value(KeyView::at(&record, SystemTime::UNIX_EPOCH))?;
    /// assert_eq!(view["status"], "expired");
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn at(record: &KeyRecord, now: SystemTime) -> Self {
        Self::new(record, &Validity::new(Clock::new(move || now), ExpiryPolicies::default()))
    }

    pub(super) fn new(record: &KeyRecord, validity: &Validity) -> Self {
        // Without `..`: a new field of a record must be added here, or left out explicitly.
        let Fields { digest: _, status: _, is_timed: _, is_conditional: _, permissions, id, organization, cold } =
            record.fields();
        let (none, no_history) = (ColdFields::default(), History::default());
        let ColdFields {
            not_before,
            expires_at: _,
            environment,
            owner,
            name,
            mask,
            created_at,
            replaced_by,
            version,
            last_used_at,
            use_count,
            metadata,
            history,
            terms: _,
            values: _,
        } = cold.as_deref().unwrap_or(&none);
        let History { created_by, updated_at, revoked_at, revoked_by, reason, lineage: _, replaces } =
            history.as_deref().unwrap_or(&no_history);
        Self {
            id: id.to_string(),
            r#type: owner.as_ref().map(KeyType::from),
            owner: owner.as_ref().map(ToString::to_string),
            name: name.as_deref().map(str::to_owned),
            organization: organization.as_deref().map(str::to_owned),
            environment: environment.as_deref().map(str::to_owned),
            permissions: permissions.clone(),
            roles: record.roles().map(str::to_owned).collect(),
            status: validity.obstacle(record).into(),
            mask: mask.as_deref().map(str::to_owned),
            created_at: created_at.map(timestamp),
            not_before: not_before.map(timestamp),
            expires_at: validity.end(record).map(timestamp),
            allowed_addresses: record.allowed_addresses().map(<[_]>::to_vec),
            last_used_at: last_used_at.map(timestamp),
            use_count: *use_count,
            replaces: replaces.as_ref().map(ToString::to_string),
            replaced_by: replaced_by.as_ref().map(ToString::to_string),
            lineage: record.lineage().to_string(),
            created_by: created_by.as_ref().map(AuthorView::from),
            updated_at: updated_at.map(timestamp),
            revoked_at: revoked_at.map(timestamp),
            revoked_by: revoked_by.as_ref().map(AuthorView::from),
            reason: reason.as_deref().map(str::to_owned),
            metadata: metadata.clone(),
            plan: record.plan().map(str::to_owned),
            limits: LimitNumber::by_name(record.limits()),
            meter: record.meter().to_string(),
            version: *version,
        }
    }
}

impl From<&KeyRecord> for KeyView {
    fn from(record: &KeyRecord) -> Self {
        Self::new(record, &Validity::new(Clock::system(), ExpiryPolicies::default()))
    }
}

impl From<&Author> for AuthorView {
    fn from(author: &Author) -> Self {
        let kind = match author {
            Author::Key(_) => AuthorKind::Key,
            Author::User(_) => AuthorKind::User,
            Author::System => AuthorKind::System,
        };
        Self { r#type: kind, id: author.id().map(str::to_owned) }
    }
}

impl From<&Owner> for KeyType {
    fn from(owner: &Owner) -> Self {
        match owner {
            Owner::User(_) => Self::User,
            Owner::ServiceAccount => Self::Bot,
        }
    }
}

impl From<Option<Obstacle>> for KeyState {
    fn from(obstacle: Option<Obstacle>) -> Self {
        match obstacle {
            None => Self::Active,
            Some(Obstacle::Disabled) => Self::Disabled,
            Some(Obstacle::Revoked) => Self::Revoked,
            Some(Obstacle::Expired) => Self::Expired,
            Some(Obstacle::NotYetValid) => Self::NotYetValid,
        }
    }
}

/// Returns the instant, or the nearest one with a year of four digits.
pub(super) fn timestamp(instant: SystemTime) -> Timestamp {
    let nearest = if instant < SystemTime::UNIX_EPOCH { Timestamp::MIN } else { Timestamp::MAX };
    instant.try_into().unwrap_or(nearest)
}

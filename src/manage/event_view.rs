//! A serializable view of an event. The HTTP API shows events with it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ObjectBuilder, RefOr,
        schema::{Schema, Type},
    },
};

use super::view::{AuthorView, timestamp};
use crate::{
    event::{FieldChange, FieldValue, KeyEvent, KeyEventKind},
    record::LimitNumber,
};

/// A [`KeyEvent`] as the management API shows it, with times in RFC 3339.
///
/// `before` and `after` have the changed fields only, under the names that they have in a key. A
/// field that is not set is left out.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use serde_json::json;
/// use tower_api_key::{Author, manage::{EventView, FieldChange, FieldValue, KeyEvent, KeyEventKind, KeyField}};
///
/// let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
/// let change = FieldChange::new(KeyField::ExpiresAt, FieldValue::Absent, FieldValue::Time(at));
/// let event = KeyEvent::new(KeyEventKind::Edited, "key_1", 3, Author::User("alice".into()), at)
///     .with_changes(vec![change]);
/// assert_eq!(
///     serde_json::to_value(EventView::from(&event))?,
///     json!({
///         "id": null, "kind": "edited", "at": "2027-01-15T08:00:00Z",
///         "key_id": "key_1", "version": 3, "organization": null, "environment": null,
///         "author": {"type": "user", "id": "alice"}, "replacement": null,
///         "reason": null, "request_id": null, "address": null,
///         "leak": null,
///         "before": {}, "after": {"expires_at": "2027-01-15T08:00:00Z"},
///     }),
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Event, description = "A change of a key.")]
pub struct EventView {
    /// The unique, random id of the event.
    id: Option<String>,
    /// The kind of the change: `issued`, `imported`, `regenerated`, `rotated`, `edited`,
    /// `disabled`, `enabled`, `revoked`, `removed`, `rehashed`, `leaked` or `expired`.
    #[schema(value_type = EventKind)]
    kind: &'static str,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    key_id: String,
    /// The version of the key after the change.
    version: u64,
    organization: Option<String>,
    environment: Option<String>,
    author: AuthorView,
    /// The id of the key that replaced this one.
    replacement: Option<String>,
    reason: Option<String>,
    /// The id of the request that made the change.
    request_id: Option<String>,
    /// The IP address of the caller.
    address: Option<String>,
    /// Where the key was found, for the kind `leaked`.
    leak: Option<LeakView>,
    /// The changed fields before the change.
    #[schema(value_type = BTreeMap<String, Value>)]
    before: BTreeMap<&'static str, Value>,
    /// The changed fields after the change.
    #[schema(value_type = BTreeMap<String, Value>)]
    after: BTreeMap<&'static str, Value>,
}

/// Where a key was found.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Leak)]
struct LeakView {
    /// The kind of the source, such as `content` or `commit`.
    source: String,
    url: Option<String>,
}

/// The schema of a [`KeyEventKind`].
pub(super) struct EventKind;

// === impl EventKind ===

impl PartialSchema for EventKind {
    fn schema() -> RefOr<Schema> {
        let kinds = KeyEventKind::ALL.map(KeyEventKind::as_str);
        ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(kinds))
            .description(Some("The kind of an event."))
            .into()
    }
}

impl ToSchema for EventKind {}

// === impl EventView ===

impl From<&KeyEvent> for EventView {
    fn from(event: &KeyEvent) -> Self {
        Self {
            id: event.id().map(str::to_owned),
            kind: event.kind().as_str(),
            at: timestamp(event.at()),
            key_id: event.key_id().to_string(),
            version: event.version(),
            organization: event.organization().map(str::to_owned),
            environment: event.environment().map(str::to_owned),
            author: AuthorView::from(event.author()),
            replacement: event.replacement().map(ToString::to_string),
            reason: event.reason().map(str::to_owned),
            request_id: event.request_id().map(str::to_owned),
            address: event.address().map(|address| address.to_string()),
            leak: event
                .leak()
                .map(|leak| LeakView { source: leak.source().to_owned(), url: leak.url().map(str::to_owned) }),
            before: fields(event, |change| &change.before),
            after: fields(event, |change| &change.after),
        }
    }
}

fn fields(event: &KeyEvent, side: fn(&FieldChange) -> &FieldValue) -> BTreeMap<&'static str, Value> {
    event.changes().iter().filter_map(|change| Some((change.field.as_str(), shown(side(change))?))).collect()
}

fn shown(value: &FieldValue) -> Option<Value> {
    match value {
        FieldValue::Absent => None,
        FieldValue::Text(text) => Some(text.as_str().into()),
        FieldValue::Time(instant) => serde_json::to_value(timestamp(*instant)).ok(),
        FieldValue::Permissions(permissions) => serde_json::to_value(permissions).ok(),
        FieldValue::Metadata(metadata) => serde_json::to_value(metadata).ok(),
        FieldValue::Addresses(networks) => serde_json::to_value(networks).ok(),
        FieldValue::Roles(roles) => serde_json::to_value(roles).ok(),
        FieldValue::Limits(limits) => {
            let limits = limits.iter().map(|(name, number)| (&**name, *number));
            serde_json::to_value(LimitNumber::by_name(limits)).ok()
        }
    }
}

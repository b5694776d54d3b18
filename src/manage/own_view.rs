//! A serializable view of a record for the holder of the key.

use std::time::SystemTime;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{KeyManagerBuilder, view::timestamp};
use crate::{address::Network, permission::Permissions, record::KeyRecord};

/// A [`KeyRecord`] as its holder may see it: without the owner, the metadata and the history, which
/// are for administrators.
///
/// `GET /self` of the management API returns it. Use it for responses of your own handlers.
///
/// ```
/// use serde_json::json;
/// use tower_api_key::{KeyRecord, manage::OwnKeyView};
///
/// let record = KeyRecord::new("key_1", [7; 32])
///     .with_name("laptop")
///     .with_metadata("note", "lost once")
///     .grant("links", "read");
/// assert_eq!(
///     serde_json::to_value(OwnKeyView::from(&record))?,
///     json!({
///         "id": "key_1", "name": "laptop", "mask": null, "organization": null,
///         "environment": null, "permissions": {"links": ["read"]}, "roles": [], "expires_at": null,
///         "allowed_addresses": null,
///     }),
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = OwnKey, description = "The key of the caller, without its plain text.")]
pub struct OwnKeyView {
    id: String,
    name: Option<String>,
    /// The part of the key that may be shown.
    mask: Option<String>,
    organization: Option<String>,
    environment: Option<String>,
    /// The permitted actions for each resource.
    #[schema(value_type = std::collections::BTreeMap<String, Vec<String>>)]
    permissions: Permissions,
    /// The names of the roles, whose permissions the key has too.
    roles: Vec<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// The networks from which the key is accepted. `null` is every address.
    #[schema(value_type = Option<Vec<String>>)]
    allowed_addresses: Option<Vec<Network>>,
}

impl OwnKeyView {
    /// Returns the view of a key that stops working at `end`: at its own expiry, or sooner by the
    /// policy of its manager.
    pub(crate) fn until(record: &KeyRecord, end: Option<SystemTime>) -> Self {
        Self {
            id: record.id().to_string(),
            name: record.name().map(str::to_owned),
            mask: record.mask().map(str::to_owned),
            organization: record.organization().map(str::to_owned),
            environment: record.environment().map(str::to_owned),
            permissions: record.permissions().clone(),
            roles: record.roles().map(str::to_owned).collect(),
            expires_at: end.map(timestamp),
            allowed_addresses: record.allowed_addresses().map(<[_]>::to_vec),
        }
    }
}

impl From<&KeyRecord> for OwnKeyView {
    fn from(record: &KeyRecord) -> Self {
        Self::until(record, record.expires_at())
    }
}

impl KeyManagerBuilder {
    /// Sets whether the routers of the management API serve `/self`, where the holder of a key can
    /// see and revoke it without a permission. By default they do.
    ///
    /// Without `/self`, the path is that of a key with the id `self`.
    ///
    /// ```
    /// use tower_api_key::{ConfigError, KeyFormat, KeyManager, store::MemoryStore};
    ///
    /// # let format = KeyFormat::new("acme").unwrap();
    /// let manager = KeyManager::builder(MemoryStore::new()).format(format).serve_self(false).build()?;
    /// # Ok::<(), ConfigError>(())
    /// ```
    pub fn serve_self(mut self, serves: bool) -> Self {
        self.http.serves_self = serves;
        self
    }
}

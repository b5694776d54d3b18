//! Sets the fields of a record, one by one.
//!
//! Each method takes and returns the record, so that a store builds one in a single expression; the
//! example at [`KeyRecord`] shows it.

use std::{collections::BTreeMap, time::SystemTime};

use super::{Author, KeyId, KeyRecord, Owner, Status};
use crate::{
    address::{AddressList, Network},
    permission::{Action, Permissions},
};

impl KeyRecord {
    /// Adds a grant of `action` on `resource`.
    #[must_use]
    pub fn grant(self, resource: impl Into<String>, action: impl Into<Action>) -> Self {
        self.edit(|fields| {
            fields.permissions = std::mem::take(&mut fields.permissions).grant(resource, action);
        })
    }

    /// Replaces the permissions.
    #[must_use]
    pub fn with_permissions(self, permissions: Permissions) -> Self {
        self.edit(|fields| fields.permissions = permissions)
    }

    /// Sets the owner.
    #[must_use]
    pub fn with_owner(self, owner: Owner) -> Self {
        self.edit(|fields| fields.cold_mut().owner = Some(owner))
    }

    /// Sets the organization that the key belongs to.
    #[must_use]
    pub fn with_organization(self, organization: impl Into<String>) -> Self {
        self.edit(|fields| fields.organization = Some(organization.into().into()))
    }

    /// Sets the environment that the key is for: `live`, `test`.
    #[must_use]
    pub fn with_environment(self, environment: impl Into<String>) -> Self {
        self.edit(|fields| fields.cold_mut().environment = Some(environment.into().into()))
    }

    /// Sets the name of the key, a label for people.
    #[must_use]
    pub fn with_name(self, name: impl Into<String>) -> Self {
        self.edit(|fields| fields.cold_mut().name = Some(name.into().into()))
    }

    /// Sets the part of the key that may be shown, see [`Mask`](crate::Mask).
    #[must_use]
    pub fn with_mask(self, mask: impl Into<String>) -> Self {
        self.edit(|fields| fields.cold_mut().mask = Some(mask.into().into()))
    }

    /// Sets the status.
    #[must_use]
    pub fn with_status(self, status: Status) -> Self {
        self.edit(|fields| fields.status = status)
    }

    /// Sets when the key was issued.
    #[must_use]
    pub fn with_created_at(self, instant: SystemTime) -> Self {
        self.edit(|fields| fields.cold_mut().created_at = Some(instant))
    }

    /// Rejects the key before this instant. `None` removes the bound.
    #[must_use]
    pub fn with_not_before(self, instant: impl Into<Option<SystemTime>>) -> Self {
        self.edit(|fields| fields.change_times(|times| times.not_before = instant.into()))
    }

    /// Rejects the key from this instant on. With `None` it never expires.
    #[must_use]
    pub fn with_expires_at(self, instant: impl Into<Option<SystemTime>>) -> Self {
        self.edit(|fields| fields.change_times(|times| times.expires_at = instant.into()))
    }

    /// Accepts the key only from addresses in these networks. With an empty list no address is
    /// allowed; `None` removes the list, so that every address is.
    ///
    /// A layer finds the address as
    /// [`client_address`](crate::layer::ApiKeyLayerBuilder::client_address) says. If it is not in
    /// the list, or is unknown, the layer rejects the request with 403.
    ///
    /// ```
    /// use tower_api_key::{KeyRecord, address::{InvalidNetwork, Network}};
    ///
    /// let record = KeyRecord::new("k1", [7; 32]);
    /// assert_eq!(record.allowed_addresses(), None);
    /// let record = record.with_allowed_addresses(Network::list(["192.0.2.0/24", "2001:db8::/32"])?);
    /// assert_eq!(record.allowed_addresses().map(<[Network]>::len), Some(2));
    /// # Ok::<(), InvalidNetwork>(())
    /// ```
    #[must_use]
    pub fn with_allowed_addresses(self, networks: impl Into<Option<Vec<Network>>>) -> Self {
        let networks = networks.into().map(AddressList::from);
        self.edit(|fields| fields.change_terms(|terms| terms.allowed_addresses = networks))
    }

    /// Sets the id of the key that this key has replaced.
    #[must_use]
    pub fn with_replaces(self, old: impl Into<KeyId>) -> Self {
        self.edit(|fields| fields.change_history(|history| history.replaces = Some(old.into())))
    }

    /// Sets the id of the key that has replaced this key. This key is in its grace period until it
    /// expires.
    #[must_use]
    pub fn with_replaced_by(self, new: impl Into<KeyId>) -> Self {
        self.edit(|fields| fields.cold_mut().replaced_by = Some(new.into()))
    }

    /// Sets the first id of this key's chain of replacements.
    #[must_use]
    pub fn with_lineage(self, first: impl Into<KeyId>) -> Self {
        let first = first.into();
        self.edit(|fields| {
            let is_first = fields.id == first;
            fields.change_history(|history| history.lineage = (!is_first).then_some(first));
        })
    }

    /// Sets who issued or imported the key.
    #[must_use]
    pub fn with_created_by(self, author: impl Into<Option<Author>>) -> Self {
        self.edit(|fields| fields.change_history(|history| history.created_by = author.into()))
    }

    /// Sets when the record was last changed.
    #[must_use]
    pub fn with_updated_at(self, instant: impl Into<Option<SystemTime>>) -> Self {
        self.edit(|fields| fields.change_history(|history| history.updated_at = instant.into()))
    }

    /// Sets when the key was revoked, and who revoked it.
    #[must_use]
    pub fn with_revoked(self, at: impl Into<Option<SystemTime>>, by: impl Into<Option<Author>>) -> Self {
        self.edit(|fields| {
            fields.change_history(|history| (history.revoked_at, history.revoked_by) = (at.into(), by.into()));
        })
    }

    /// Sets why the key was disabled, revoked or replaced.
    #[must_use]
    pub fn with_reason(self, reason: impl Into<Option<String>>) -> Self {
        self.edit(|fields| fields.change_history(|history| history.reason = reason.into().map(Into::into)))
    }

    /// Sets how often the record was changed, see
    /// [`KeyRegistry::update`](crate::KeyRegistry::update).
    #[must_use]
    pub fn with_version(self, version: u64) -> Self {
        self.edit(|fields| fields.cold_mut().version = version)
    }

    /// Sets how often the key was used, and when last.
    #[must_use]
    pub fn with_usage(self, count: u64, last_used_at: impl Into<Option<SystemTime>>) -> Self {
        self.edit(|fields| {
            let cold = fields.cold_mut();
            cold.use_count = count;
            cold.last_used_at = last_used_at.into();
        })
    }

    /// Stores a text under a name. A second text under the same name replaces the first.
    #[must_use]
    pub fn with_metadata(self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.edit(|fields| {
            fields.cold_mut().metadata.insert(name.into(), text.into());
        })
    }

    /// Replaces all texts.
    #[must_use]
    pub(crate) fn with_all_metadata(self, metadata: BTreeMap<String, String>) -> Self {
        self.edit(|fields| fields.cold_mut().metadata = metadata)
    }

    /// Attaches a value. A handler gets it by its type: `key.extension::<Plan>()`.
    ///
    /// The value is in memory only: SQLite and PostgreSQL do not store it. Use
    /// [`KeyRecord::with_metadata`] for texts that must be stored.
    #[must_use]
    pub fn with_extension<T: Clone + Send + Sync + 'static>(self, value: T) -> Self {
        self.edit(|fields| {
            fields.cold_mut().values.0.insert(value);
        })
    }
}

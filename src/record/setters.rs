//! What a record says, said one by one.

use std::time::SystemTime;

use super::{KeyId, KeyRecord, Owner, Status};
use crate::permission::{Action, Permissions};

impl KeyRecord {
    /// Grants `action` on `resource` besides what is granted already.
    #[must_use]
    pub fn grant(self, resource: impl Into<String>, action: impl Into<Action>) -> Self {
        self.edit(|fields| {
            fields.permissions = std::mem::take(&mut fields.permissions).grant(resource, action);
        })
    }

    /// Replaces what is granted.
    #[must_use]
    pub fn with_permissions(self, permissions: Permissions) -> Self {
        self.edit(|fields| fields.permissions = permissions)
    }

    /// Says whose key it is.
    #[must_use]
    pub fn with_owner(self, owner: Owner) -> Self {
        self.edit(|fields| fields.cold_mut().owner = Some(owner))
    }

    /// Says to which organization the key belongs.
    #[must_use]
    pub fn with_organization(self, organization: impl Into<String>) -> Self {
        self.edit(|fields| fields.organization = Some(organization.into().into()))
    }

    /// Says for which environment the key is: `live`, `test`.
    #[must_use]
    pub fn with_environment(self, environment: impl Into<String>) -> Self {
        self.edit(|fields| fields.cold_mut().environment = Some(environment.into().into()))
    }

    /// Gives the key a name, for people.
    #[must_use]
    pub fn with_name(self, name: impl Into<String>) -> Self {
        self.edit(|fields| fields.cold_mut().name = Some(name.into().into()))
    }

    /// Keeps what may be shown of the key, see [`Mask`](crate::Mask).
    #[must_use]
    pub fn with_mask(self, mask: impl Into<String>) -> Self {
        self.edit(|fields| fields.cold_mut().mask = Some(mask.into().into()))
    }

    /// Switches the key off or on.
    #[must_use]
    pub fn with_status(self, status: Status) -> Self {
        self.edit(|fields| fields.status = status)
    }

    /// Says when the key was made.
    #[must_use]
    pub fn with_created_at(self, instant: SystemTime) -> Self {
        self.edit(|fields| fields.cold_mut().created_at = Some(instant))
    }

    /// Refuses the key before this instant; `None` takes that back.
    #[must_use]
    pub fn with_not_before(self, instant: impl Into<Option<SystemTime>>) -> Self {
        self.edit(|fields| fields.time(|times| times.not_before = instant.into()))
    }

    /// Refuses the key from this instant on; `None` takes that back, and the key does not expire.
    #[must_use]
    pub fn with_expires_at(self, instant: impl Into<Option<SystemTime>>) -> Self {
        self.edit(|fields| fields.time(|times| times.expires_at = instant.into()))
    }

    /// Names the key whose place this one has taken.
    #[must_use]
    pub fn with_replaces(self, old: impl Into<KeyId>) -> Self {
        self.edit(|fields| fields.cold_mut().replaces = Some(old.into()))
    }

    /// Names the key that has taken this one's place. Until it expires, this one is in grace.
    #[must_use]
    pub fn with_replaced_by(self, new: impl Into<KeyId>) -> Self {
        self.edit(|fields| fields.cold_mut().replaced_by = Some(new.into()))
    }

    /// Says how often the record was changed, see [`KeyRegistry::update`](crate::KeyRegistry::update).
    #[must_use]
    pub fn with_version(self, version: u64) -> Self {
        self.edit(|fields| fields.cold_mut().version = version)
    }

    /// Says how often the key was used, and when last.
    #[must_use]
    pub fn with_usage(self, count: u64, last_used_at: impl Into<Option<SystemTime>>) -> Self {
        self.edit(|fields| {
            let rare = fields.cold_mut();
            rare.use_count = count;
            rare.last_used_at = last_used_at.into();
        })
    }

    /// Keeps a text under a name.
    #[must_use]
    pub fn with_metadata(self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.edit(|fields| {
            fields.cold_mut().metadata.insert(name.into(), text.into());
        })
    }

    /// Attaches a value, which a handler gets back by its type: `key.extension::<Plan>()`.
    #[must_use]
    pub fn with_extension<T: Clone + Send + Sync + 'static>(self, value: T) -> Self {
        self.edit(|fields| {
            fields.cold_mut().values.insert(value);
        })
    }
}

//! The filter of a list.

use crate::record::{KeyId, KeyRecord, Owner, Status};

/// Selects the records of a list.
///
/// The default selects the first 100 keys that have no organization and are not revoked.
///
/// ```
/// use tower_api_key::{Owner, store::KeyFilter};
///
/// let filter = KeyFilter::organization("acme").owner(Owner::User("alice".into())).limit(20);
/// assert_eq!(filter.organization.as_deref(), Some("acme"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyFilter {
    /// Keys of this organization; `None` means keys without one.
    pub organization: Option<String>,
    /// Keys of this environment; `None` means any.
    pub environment: Option<String>,
    /// Keys of this owner; `None` means any.
    pub owner: Option<Owner>,
    /// Whether revoked keys are included.
    pub revoked: bool,
    /// Continues after this id, the last one of the previous page.
    pub after: Option<KeyId>,
    /// The maximum number of records in a page.
    pub limit: usize,
}

// === impl KeyFilter ===

impl Default for KeyFilter {
    fn default() -> Self {
        Self { organization: None, environment: None, owner: None, revoked: false, after: None, limit: 100 }
    }
}

impl KeyFilter {
    /// Selects the first 100 keys that belong to this organization and are not revoked.
    pub fn organization(organization: impl Into<String>) -> Self {
        Self { organization: Some(organization.into()), ..Self::default() }
    }

    /// Selects keys of this owner only.
    #[must_use]
    pub fn owner(mut self, owner: Owner) -> Self {
        self.owner = Some(owner);
        self
    }

    /// Selects keys of this environment only.
    #[must_use]
    pub fn environment(mut self, environment: impl Into<String>) -> Self {
        self.environment = Some(environment.into());
        self
    }

    /// Includes revoked keys.
    #[must_use]
    pub fn with_revoked(mut self) -> Self {
        self.revoked = true;
        self
    }

    /// Continues after this id, the last one of the previous page.
    #[must_use]
    pub fn after(mut self, id: impl Into<KeyId>) -> Self {
        self.after = Some(id.into());
        self
    }

    /// Sets the maximum number of records.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Returns whether a record is selected, regardless of `after` and `limit`.
    pub fn matches(&self, record: &KeyRecord) -> bool {
        record.organization() == self.organization.as_deref()
            && (self.environment.is_none() || record.environment() == self.environment.as_deref())
            && (self.owner.is_none() || record.owner() == self.owner.as_ref())
            && (self.revoked || record.status() != Status::Revoked)
    }
}

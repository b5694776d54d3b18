//! Which records a registry lists.

use crate::record::{KeyId, KeyRecord, Owner, Status};

/// Which records are listed. The default is all keys without an organization that are not revoked, the first 100.
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
    /// The keys of this organization; with `None`, those that have none.
    pub organization: Option<String>,
    /// The keys of this environment; with `None`, of any.
    pub environment: Option<String>,
    /// The keys of this owner; with `None`, of anybody.
    pub owner: Option<Owner>,
    /// Whether revoked keys are listed too.
    pub revoked: bool,
    /// Continues behind this id: the last one of the page before.
    pub after: Option<KeyId>,
    /// The most records of one page.
    pub limit: usize,
}

// === impl Filter ===

impl Default for KeyFilter {
    fn default() -> Self {
        Self { organization: None, environment: None, owner: None, revoked: false, after: None, limit: 100 }
    }
}

impl KeyFilter {
    /// The keys of this organization that are not revoked, the first 100.
    pub fn organization(organization: impl Into<String>) -> Self {
        Self { organization: Some(organization.into()), ..Self::default() }
    }

    /// Those of this owner.
    #[must_use]
    pub fn owner(mut self, owner: Owner) -> Self {
        self.owner = Some(owner);
        self
    }

    /// Those of this environment.
    #[must_use]
    pub fn environment(mut self, environment: impl Into<String>) -> Self {
        self.environment = Some(environment.into());
        self
    }

    /// Revoked ones too.
    #[must_use]
    pub fn with_revoked(mut self) -> Self {
        self.revoked = true;
        self
    }

    /// Those behind this id, the last one of the page before.
    #[must_use]
    pub fn after(mut self, id: impl Into<KeyId>) -> Self {
        self.after = Some(id.into());
        self
    }

    /// At most this many.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Whether this record is one of them, its place in the order and the limit apart.
    pub fn matches(&self, record: &KeyRecord) -> bool {
        record.organization() == self.organization.as_deref()
            && (self.environment.is_none() || record.environment() == self.environment.as_deref())
            && (self.owner.is_none() || record.owner() == self.owner.as_ref())
            && (self.revoked || record.status() != Status::Revoked)
    }
}

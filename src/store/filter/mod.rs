//! The filter of a list: what it selects, and in which order.

mod matching;
mod order;
mod parts;

use std::{collections::BTreeMap, time::SystemTime};

pub(crate) use order::SortValue;
pub use order::{KeyOrder, PageCursor};
pub use parts::{OwnerKind, TimeRange};

use crate::{
    clock::to_micros,
    record::{Author, KeyId, Owner, Status},
};

/// Selects the records of a list.
///
/// The default selects the first 100 keys that have no organization and are not revoked.
///
/// ```
/// use tower_api_key::{Owner, store::KeyFilter};
///
/// let filter = KeyFilter::organization("acme").owner(Owner::User("alice".into())).limit(20);
/// assert_eq!(filter.organization.as_deref(), Some("acme"));
///
/// // The keys of Terraform that were never used.
/// let idle = KeyFilter::organization("acme").metadata("made-by", "terraform").never_used();
/// assert!(idle.never_used);
/// ```
///
/// # What is fast
///
/// A store has an index for each list by organization, environment and owner, for
/// [`lineage`](Self::lineage), and for the orders by expiry and by name: there
/// [`expires_before`](Self::expires_before), [`expires_after`](Self::expires_after) and
/// [`name_prefix`](Self::name_prefix) are ranges of the index. Every other condition is compared
/// with each key of the list, in its order, so a page may be short: see
/// [`KeyRegistry::search`](super::KeyRegistry::search).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyFilter {
    /// Keys of this organization; `None` means keys without one.
    pub organization: Option<String>,
    /// Keys of every organization, whatever `organization` says.
    pub all_organizations: bool,
    /// Keys of this environment; `None` means any.
    pub environment: Option<String>,
    /// Keys of this owner; `None` means any.
    pub owner: Option<Owner>,
    /// Keys of users, or of service accounts; `None` means any.
    pub owner_kind: Option<OwnerKind>,
    /// Whether revoked keys are included.
    pub revoked: bool,
    /// Keys with this stored status. `revoked` does not matter then.
    pub status: Option<Status>,
    /// Keys whose name begins with these bytes.
    pub name_prefix: Option<String>,
    /// Keys whose name contains this text. The case of the letters A to Z does not matter.
    pub name_contains: Option<String>,
    /// Keys with all these texts in their metadata.
    pub metadata: BTreeMap<String, String>,
    /// Keys with exactly this mask.
    pub mask: Option<String>,
    /// Keys that this author issued or imported.
    pub created_by: Option<Author>,
    /// Keys of this chain of replacements: its first id.
    pub lineage: Option<KeyId>,
    /// When the key was issued.
    pub created: TimeRange,
    /// When the key was last used. Usage is written in batches, so it lags behind.
    pub used: TimeRange,
    /// Keys that were never used.
    pub never_used: bool,
    /// When the key expires by its record. The end by a manager's
    /// [`ExpiryPolicy`](crate::manage::ExpiryPolicy) does not count, since a store does not know
    /// it: use `created` for that.
    pub expires: TimeRange,
    /// The order of the list.
    pub order: KeyOrder,
    /// Continues after this id, the last one of the previous page. Set it with
    /// [`after`](Self::after).
    pub after: Option<KeyId>,
    /// Where that id is in an order other than by id.
    pub(crate) after_value: Option<SortValue>,
    /// The maximum number of records in a page.
    pub limit: usize,
}

// === impl KeyFilter ===

impl Default for KeyFilter {
    fn default() -> Self {
        Self {
            organization: None,
            all_organizations: false,
            environment: None,
            owner: None,
            owner_kind: None,
            revoked: false,
            status: None,
            name_prefix: None,
            name_contains: None,
            metadata: BTreeMap::new(),
            mask: None,
            created_by: None,
            lineage: None,
            created: TimeRange::default(),
            used: TimeRange::default(),
            never_used: false,
            expires: TimeRange::default(),
            order: KeyOrder::Newest,
            after: None,
            after_value: None,
            limit: 100,
        }
    }
}

impl KeyFilter {
    /// Selects the first 100 keys that belong to this organization and are not revoked.
    pub fn organization(organization: impl Into<String>) -> Self {
        Self { organization: Some(organization.into()), ..Self::default() }
    }

    /// Selects the first 100 keys of every organization that are not revoked. A manager lists them
    /// only for an actor [across organizations](crate::manage::Actor::across_organizations).
    pub fn all_organizations() -> Self {
        Self { all_organizations: true, ..Self::default() }
    }

    /// Selects keys of this owner only.
    #[must_use]
    pub fn owner(mut self, owner: Owner) -> Self {
        self.owner = Some(owner);
        self
    }

    /// Selects keys of users only, or of service accounts only.
    #[must_use]
    pub fn owner_kind(mut self, kind: OwnerKind) -> Self {
        self.owner_kind = Some(kind);
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

    /// Selects keys with this stored status only. An expired key is `active` or `disabled`: use
    /// [`expires_before`](Self::expires_before).
    #[must_use]
    pub fn status(mut self, status: Status) -> Self {
        self.status = Some(status);
        self
    }

    /// Selects keys whose name begins with this text, byte by byte. With [`KeyOrder::Name`] it is a
    /// range of an index.
    #[must_use]
    pub fn name_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.name_prefix = Some(prefix.into());
        self
    }

    /// Selects keys whose name contains this text. The case of the letters A to Z does not matter.
    #[must_use]
    pub fn name_contains(mut self, part: impl Into<String>) -> Self {
        self.name_contains = Some(part.into());
        self
    }

    /// Selects keys with this text in their metadata. Called again, it selects keys with both.
    #[must_use]
    pub fn metadata(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.metadata.insert(name.into(), text.into());
        self
    }

    /// Selects keys with exactly this mask.
    #[must_use]
    pub fn mask(mut self, mask: impl Into<String>) -> Self {
        self.mask = Some(mask.into());
        self
    }

    /// Selects keys that this author issued or imported.
    #[must_use]
    pub fn created_by(mut self, author: Author) -> Self {
        self.created_by = Some(author);
        self
    }

    /// Selects the keys of one chain of replacements: see
    /// [`KeyRecord::lineage`](crate::KeyRecord::lineage).
    #[must_use]
    pub fn lineage(mut self, first: impl Into<KeyId>) -> Self {
        self.lineage = Some(first.into());
        self
    }

    /// Selects keys that were issued at this time or later. Times are whole microseconds.
    #[must_use]
    pub fn created_after(mut self, from: SystemTime) -> Self {
        self.created.from = Some(to_micros(from));
        self
    }

    /// Selects keys that were issued earlier.
    #[must_use]
    pub fn created_before(mut self, until: SystemTime) -> Self {
        self.created.until = Some(to_micros(until));
        self
    }

    /// Selects keys that were last used at this time or later.
    #[must_use]
    pub fn used_after(mut self, from: SystemTime) -> Self {
        self.used.from = Some(to_micros(from));
        self
    }

    /// Selects keys whose last use was earlier. A key that was never used is not selected.
    #[must_use]
    pub fn used_before(mut self, until: SystemTime) -> Self {
        self.used.until = Some(to_micros(until));
        self
    }

    /// Selects keys that were never used.
    #[must_use]
    pub fn never_used(mut self) -> Self {
        self.never_used = true;
        self
    }

    /// Selects keys that expire at this time or later. A key without an expiry is not selected.
    #[must_use]
    pub fn expires_after(mut self, from: SystemTime) -> Self {
        self.expires.from = Some(to_micros(from));
        self
    }

    /// Selects keys that expire earlier.
    #[must_use]
    pub fn expires_before(mut self, until: SystemTime) -> Self {
        self.expires.until = Some(to_micros(until));
        self
    }

    /// Sets the order.
    #[must_use]
    pub fn ordered(mut self, order: KeyOrder) -> Self {
        self.order = order;
        self
    }

    /// Continues after the previous page: takes its `next`, or its last id in an order by id.
    #[must_use]
    pub fn after(mut self, cursor: impl Into<PageCursor>) -> Self {
        let PageCursor { id, sort_value } = cursor.into();
        (self.after, self.after_value) = (Some(id), sort_value);
        self
    }

    /// Sets the maximum number of records.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }
}

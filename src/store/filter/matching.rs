//! Compares records with a filter.

use std::cmp::Ordering;

#[cfg(feature = "postgres-no-tls")]
use super::SortValue;
use super::{KeyFilter, KeyOrder, OwnerKind};
#[cfg(feature = "postgres-no-tls")]
use crate::record::{Author, KeyId, Owner};
use crate::record::{KeyRecord, Status};

impl KeyFilter {
    /// Returns whether a record is selected, regardless of the cursor and the limit.
    pub fn matches(&self, record: &KeyRecord) -> bool {
        self.admits_status(record.status()) && self.is_within(record) && self.is_found(record) && self.is_timed(record)
    }

    /// The conditions that are also bounds of an actor.
    fn is_within(&self, record: &KeyRecord) -> bool {
        (self.all_organizations || record.organization() == self.organization.as_deref())
            && (self.environment.is_none() || record.environment() == self.environment.as_deref())
            && (self.owner.is_none() || record.owner() == self.owner.as_ref())
    }

    /// Returns whether a condition beside the organization and the revoked keys is set. The order
    /// is none, although two orders leave keys out.
    pub(crate) fn has_condition(&self) -> bool {
        let all = Self {
            organization: self.organization.clone(),
            all_organizations: self.all_organizations,
            revoked: self.revoked,
            order: self.order,
            limit: self.limit,
            ..Self::default()
        };
        self.clone().first_page() != all
    }

    /// Returns the filter without a cursor.
    pub(crate) fn first_page(self) -> Self {
        Self { after: None, after_value: None, ..self }
    }

    /// Returns whether revoked keys can be selected.
    pub(crate) fn has_revoked(&self) -> bool {
        self.status.map_or(self.revoked, |status| status == Status::Revoked)
    }

    fn admits_status(&self, status: Status) -> bool {
        match self.status {
            Some(wanted) => status == wanted,
            None => self.revoked || status != Status::Revoked,
        }
    }

    fn is_found(&self, record: &KeyRecord) -> bool {
        let name = record.name().unwrap_or_default();
        let begins = |prefix: &String| record.name().is_some() && name.starts_with(prefix.as_str());
        let contains = |part: &String| record.name().is_some() && contains_ignoring_case(name, part);
        self.name_prefix.as_ref().is_none_or(begins)
            && self.name_contains.as_ref().is_none_or(contains)
            && self.metadata.iter().all(|(name, text)| record.metadata().get(name) == Some(text))
            && (self.mask.is_none() || record.mask() == self.mask.as_deref())
            && self.owner_kind.is_none_or(|kind| record.owner().map(OwnerKind::from) == Some(kind))
            && (self.created_by.is_none() || record.created_by() == self.created_by.as_ref())
            && self.lineage.as_ref().is_none_or(|lineage| record.lineage() == lineage)
    }

    fn is_timed(&self, record: &KeyRecord) -> bool {
        self.created.admits(record.created_at())
            && self.used.admits(record.last_used_at())
            && self.expires.admits(record.expires_at())
            && (!self.never_used || record.last_used_at().is_none())
            && self.order.sort_value(record).is_some()
    }

    /// Returns whether every condition is one that each [`KeyRegistry::list`] knows.
    ///
    /// [`KeyRegistry::list`]: crate::store::KeyRegistry::list
    pub(crate) fn is_plain(&self) -> bool {
        *self == self.plain()
    }

    /// Returns whether a store reads the keys of this organization, owner and environment only.
    pub(crate) fn is_list(&self) -> bool {
        let by_id = matches!(self.order, KeyOrder::Newest | KeyOrder::Oldest);
        by_id && !self.all_organizations && self.lineage.is_none()
    }

    /// Returns the filter with only those conditions, in the order of the ids.
    pub(crate) fn plain(&self) -> Self {
        Self {
            organization: self.organization.clone(),
            all_organizations: self.all_organizations,
            environment: self.environment.clone(),
            owner: self.owner.clone(),
            revoked: self.has_revoked(),
            after: self.after.clone().filter(|_| self.order == KeyOrder::Newest),
            limit: self.limit,
            ..Self::default()
        }
    }

    /// Every text that is compared with a column.
    #[cfg(feature = "postgres-no-tls")]
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        let user = self.owner.as_ref().and_then(Owner::user);
        let author = self.created_by.as_ref().and_then(Author::id);
        let ids = [&self.lineage, &self.after].into_iter().flatten().map(KeyId::as_str);
        let texts = [&self.organization, &self.environment, &self.name_prefix, &self.name_contains, &self.mask];
        let name = match &self.after_value {
            Some(SortValue::Name(name)) => Some(name.as_str()),
            _ => None,
        };
        let members = self.metadata.iter().flat_map(|(name, text)| [name.as_str(), text.as_str()]);
        ids.chain(texts.into_iter().flatten().map(String::as_str)).chain(user).chain(author).chain(name).chain(members)
    }

    /// Compares two records in the order of the list.
    pub(crate) fn compare(&self, one: &KeyRecord, other: &KeyRecord) -> Ordering {
        let ids = one.id().as_str().cmp(other.id().as_str());
        match self.order {
            KeyOrder::Newest => ids.reverse(),
            order => order.sort_value(one).cmp(&order.sort_value(other)).then(ids),
        }
    }

    /// Returns whether a record of the list is on a page after the cursor.
    pub(crate) fn is_behind(&self, record: &KeyRecord) -> bool {
        let Some(after) = &self.after else { return true };
        let (id, after) = (record.id().as_str(), after.as_str());
        match self.order {
            KeyOrder::Newest => id < after,
            order => (order.sort_value(record).flatten(), id) > (self.after_value.clone(), after),
        }
    }
}

/// Compares the letters A to Z without their case. Other letters must be equal.
fn contains_ignoring_case(text: &str, part: &str) -> bool {
    let (text, part) = (text.as_bytes(), part.as_bytes());
    part.is_empty() || text.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part))
}

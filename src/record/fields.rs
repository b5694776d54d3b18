//! The fields of a record. The fields that every request reads are stored separately from the
//! rarely read fields.
//!
//! Add a new field to `ColdFields`. At the patterns without `..` below, the compiler then names
//! every place in `src/record/` that must handle it.

use std::{collections::BTreeMap, fmt, time::SystemTime};

use http::Extensions;

use super::{History, KeyId, Limiting, Owner, Status};
use crate::{address::AddressList, key::KeyDigest, permission::Permissions};

/// Ordered so that the fields of a check share one cache line with the counts of the `Arc`.
#[derive(Clone)]
#[repr(C)]
pub(crate) struct Fields {
    pub(crate) digest: KeyDigest,
    pub(crate) status: Status,
    /// Whether `not_before` or `expires_at` is set.
    pub(crate) is_timed: bool,
    /// Whether `allowed_addresses` is set, or the owner is blocked.
    pub(crate) is_conditional: bool,
    pub(crate) permissions: Permissions,
    pub(crate) id: KeyId,
    pub(crate) organization: Option<Box<str>>,
    pub(crate) cold: Option<Box<ColdFields>>,
}

/// The fields that a request reads rarely. A record that sets none of them does not allocate them.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct ColdFields {
    pub(crate) not_before: Option<SystemTime>,
    pub(crate) expires_at: Option<SystemTime>,
    pub(crate) environment: Option<Box<str>>,
    pub(crate) owner: Option<Owner>,
    pub(crate) name: Option<Box<str>>,
    pub(crate) mask: Option<Box<str>>,
    pub(crate) created_at: Option<SystemTime>,
    pub(crate) replaced_by: Option<KeyId>,
    pub(crate) version: u64,
    pub(crate) last_used_at: Option<SystemTime>,
    pub(crate) use_count: u64,
    pub(crate) metadata: BTreeMap<String, String>,
    /// `None` if no field of it is set: a record without history does not allocate it.
    pub(crate) history: Option<Box<History>>,
    /// `None` if no field of it is set.
    pub(crate) terms: Option<Box<UseTerms>>,
    pub(crate) values: Values,
}

/// The terms of a key's use, apart from its permissions and times. In one box, since few keys have
/// any of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct UseTerms {
    pub(crate) limiting: Limiting,
    /// `None` allows every address, and an empty list none.
    pub(crate) allowed_addresses: Option<AddressList>,
    /// Sorted, each name once.
    pub(crate) roles: Box<[Box<str>]>,
    /// Whether the owner may not use any key now. No store keeps it.
    pub(crate) is_blocked_by_owner: bool,
    /// When the token ends that a request has presented in place of the key. No store keeps it.
    pub(crate) token_ends_at: Option<SystemTime>,
}

/// The attached values, which are not compared.
#[derive(Clone, Default)]
pub(crate) struct Values(pub(super) Extensions);

// === impl Fields ===

impl Fields {
    pub(super) fn new(id: KeyId, digest: KeyDigest) -> Self {
        Self {
            digest,
            status: Status::Active,
            is_timed: false,
            is_conditional: false,
            permissions: Permissions::new(),
            id,
            organization: None,
            cold: None,
        }
    }

    pub(crate) fn organization(&self) -> Option<&str> {
        self.organization.as_deref()
    }

    pub(crate) fn owner(&self) -> Option<&Owner> {
        self.cold()?.owner.as_ref()
    }

    pub(crate) fn expires_at(&self) -> Option<SystemTime> {
        self.cold()?.expires_at
    }

    pub(crate) fn replaced_by(&self) -> Option<&KeyId> {
        self.cold()?.replaced_by.as_ref()
    }

    pub(crate) fn is_revoked(&self) -> bool {
        self.status == Status::Revoked
    }

    pub(super) fn cold(&self) -> Option<&ColdFields> {
        self.cold.as_deref()
    }

    pub(super) fn cold_mut(&mut self) -> &mut ColdFields {
        self.cold.get_or_insert_default()
    }

    pub(super) fn history(&self) -> Option<&History> {
        self.cold()?.history.as_deref()
    }

    pub(super) fn change_history(&mut self, change: impl FnOnce(&mut History)) {
        let history = &mut self.cold_mut().history;
        let mut changed = history.take().unwrap_or_default();
        change(&mut changed);
        *history = Some(changed).filter(|changed| **changed != History::default());
    }

    pub(super) fn terms(&self) -> Option<&UseTerms> {
        self.cold()?.terms.as_deref()
    }

    pub(super) fn change_terms(&mut self, change: impl FnOnce(&mut UseTerms)) {
        let terms = &mut self.cold_mut().terms;
        let mut changed = terms.take().unwrap_or_default();
        change(&mut changed);
        *terms = Some(changed).filter(|changed| **changed != UseTerms::default());
        self.is_conditional =
            self.terms().is_some_and(|terms| terms.is_blocked_by_owner || terms.allowed_addresses.is_some());
    }

    /// Changes `not_before` or `expires_at`.
    pub(super) fn change_times(&mut self, change: impl FnOnce(&mut ColdFields)) {
        let cold = self.cold_mut();
        change(cold);
        self.is_timed = cold.not_before.is_some() || cold.expires_at.is_some();
    }

    /// Turns this record into the record of the replacement key. Sets or clears the fields that the
    /// new key does not inherit.
    pub(super) fn succeed(&mut self, id: KeyId, digest: KeyDigest) {
        let old = std::mem::replace(&mut self.id, id);
        self.digest = digest;
        let ColdFields {
            replaced_by,
            version,
            last_used_at,
            use_count,
            history,
            // The fields that the new key inherits.
            not_before: _,
            expires_at: _,
            environment: _,
            owner: _,
            name: _,
            mask: _,
            created_at: _,
            metadata: _,
            terms: _,
            values: _,
        } = self.cold_mut();
        let lineage = history.take().and_then(|history| history.lineage).or_else(|| Some(old.clone()));
        *history = Some(Box::new(History { lineage, replaces: Some(old), ..History::default() }));
        (*replaced_by, *version, *last_used_at, *use_count) = (None, 0, None, 0);
    }
}

impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        let Self { digest, status, is_timed: _, is_conditional: _, permissions, id, organization, cold } = self;
        let hot = (digest, status, permissions, id, organization);
        hot == (&other.digest, &other.status, &other.permissions, &other.id, &other.organization)
            && match (cold, &other.cold) {
                (Some(cold), Some(other)) => cold == other,
                (Some(cold), None) | (None, Some(cold)) => **cold == ColdFields::default(),
                (None, None) => true,
            }
    }
}

/// Values of any type may lack equality.
impl PartialEq for Values {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// Shows neither the digest nor the attached values.
impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { digest: _, status, is_timed: _, is_conditional: _, permissions, id, organization, cold } = self;
        let defaults = ColdFields::default();
        let ColdFields {
            not_before,
            expires_at,
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
            terms,
            values: _,
        } = cold.as_deref().unwrap_or(&defaults);
        f.debug_struct("KeyRecord")
            .field("id", &id.as_str())
            .field("mask", mask)
            .field("name", name)
            .field("owner", owner)
            .field("organization", organization)
            .field("environment", environment)
            .field("permissions", permissions)
            .field("status", status)
            .field("created_at", created_at)
            .field("not_before", not_before)
            .field("expires_at", expires_at)
            .field("replaced_by", replaced_by)
            .field("version", version)
            .field("last_used_at", last_used_at)
            .field("use_count", use_count)
            .field("metadata", metadata)
            .field("history", history)
            .field("terms", terms)
            .finish_non_exhaustive()
    }
}

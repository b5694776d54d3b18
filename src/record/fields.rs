//! The fields of a record: what each request looks at, and apart from it what most look at never.

use std::{collections::BTreeMap, time::SystemTime};

use http::Extensions;

use super::{KeyId, Owner, Status};
use crate::{key::KeyDigest, permission::Permissions};

/// In this order, so that what a check needs is in one line of the processor's cache, the counts of the `Arc` included.
#[derive(Clone)]
#[repr(C)]
pub(crate) struct Fields {
    pub(crate) digest: KeyDigest,
    pub(crate) status: Status,
    /// Whether there is a time to be looked at.
    pub(crate) is_timed: bool,
    pub(crate) permissions: Permissions,
    pub(crate) id: KeyId,
    pub(crate) organization: Option<Box<str>>,
    pub(crate) rare: Option<Box<ColdFields>>,
}

/// What a small record does without.
#[derive(Clone, Default)]
pub(crate) struct ColdFields {
    pub(crate) not_before: Option<SystemTime>,
    pub(crate) expires_at: Option<SystemTime>,
    pub(crate) environment: Option<Box<str>>,
    pub(crate) owner: Option<Owner>,
    pub(crate) name: Option<Box<str>>,
    pub(crate) mask: Option<Box<str>>,
    pub(crate) created_at: Option<SystemTime>,
    pub(crate) replaces: Option<KeyId>,
    pub(crate) replaced_by: Option<KeyId>,
    pub(crate) version: u64,
    pub(crate) last_used_at: Option<SystemTime>,
    pub(crate) use_count: u64,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) values: Extensions,
}

// === impl Fields ===

impl Fields {
    pub(super) fn new(id: KeyId, digest: KeyDigest) -> Self {
        Self {
            digest,
            status: Status::Active,
            is_timed: false,
            permissions: Permissions::new(),
            id,
            organization: None,
            rare: None,
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

    pub(crate) fn is_revoked(&self) -> bool {
        self.status == Status::Revoked
    }

    pub(super) fn cold(&self) -> Option<&ColdFields> {
        self.rare.as_deref()
    }

    pub(super) fn cold_mut(&mut self) -> &mut ColdFields {
        self.rare.get_or_insert_default()
    }

    /// Changes the times.
    pub(super) fn time(&mut self, change: impl FnOnce(&mut ColdFields)) {
        let rare = self.cold_mut();
        change(rare);
        self.is_timed = rare.not_before.is_some() || rare.expires_at.is_some();
    }
}

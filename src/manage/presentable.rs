//! Which schemes the manager's layers have: a key that none of them can carry is of no use to anybody.

use std::sync::{Mutex, PoisonError};

use super::ManageError;
use crate::{key::ApiKey, scheme::SchemePolicy};

/// What the layers that were built of a manager accept, each policy once; the manager's own until the first is built.
#[derive(Debug, Default)]
pub(super) struct Policies {
    own: SchemePolicy,
    built: Mutex<Vec<SchemePolicy>>,
}

impl Policies {
    pub(super) fn new(own: SchemePolicy) -> Self {
        Self { own, built: Mutex::default() }
    }

    /// What a layer has unless it says otherwise.
    pub(super) fn own(&self) -> &SchemePolicy {
        &self.own
    }

    /// Remembers a layer that was built.
    pub(super) fn note(&self, policy: &SchemePolicy) {
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if !built.contains(policy) {
            built.push(policy.clone());
        }
    }

    /// Refuses a key that no request could present.
    pub(super) fn admit(&self, key: &ApiKey) -> Result<(), ManageError> {
        let built = self.built.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let policies = if built.is_empty() { vec![self.own.clone()] } else { built };
        let schemes: Vec<_> = policies.iter().flat_map(SchemePolicy::schemes).collect();
        if schemes.iter().any(|scheme| scheme.carries(key.expose())) {
            return Ok(());
        }
        let names: Vec<String> = schemes.iter().map(ToString::to_string).collect();
        Err(ManageError::UnsupportedKeyCharacters(names.join(", ")))
    }
}

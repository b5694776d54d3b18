//! The schemes of a manager's layers. A key that none of them can carry is not imported.

use std::sync::{Mutex, PoisonError};

use super::ManageError;
use crate::{key::ApiKey, scheme::SchemePolicy};

/// The distinct policies of the layers that were built from a manager. Until the first layer is
/// built, the policy of the manager applies.
#[derive(Debug, Default)]
pub(super) struct Policies {
    own: SchemePolicy,
    built: Mutex<Vec<SchemePolicy>>,
}

impl Policies {
    pub(super) fn new(own: SchemePolicy) -> Self {
        Self { own, built: Mutex::default() }
    }

    /// The default policy of a layer.
    pub(super) fn own(&self) -> &SchemePolicy {
        &self.own
    }

    /// Adds the policy of a new layer.
    pub(super) fn note(&self, policy: &SchemePolicy) {
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if !built.contains(policy) {
            built.push(policy.clone());
        }
    }

    /// Rejects a key that no request could present.
    pub(super) fn check_carried(&self, key: &ApiKey) -> Result<(), ManageError> {
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

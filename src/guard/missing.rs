//! Finds the permissions that a rejected key lacks.

use std::sync::Arc;

use http::{Method, request::Parts};

use super::{
    Require,
    check::{Check, Shape},
    outcome::Refusal,
};
use crate::{
    permission::Permissions,
    principal::Principal,
    rejection::{Missing, MissingPermission, Reason, Rejection},
};

/// The maximum number of alternatives that a detail names.
const MAX_ALTERNATIVES: usize = 16;

impl Require {
    /// Returns the rejection for a refusal of this guard. It names only missing permissions. It
    /// names no permission of a hidden guard, no organization and no check of the application.
    #[cold]
    pub(super) fn rejection(&self, refusal: Refusal, principal: &Principal, parts: &Parts) -> Rejection {
        let Refusal { reason, own } = refusal;
        if let Some(own) = own {
            return principal.complete(*own);
        }
        let rejection = principal.refused(reason);
        if reason != Reason::Forbidden {
            return rejection;
        }
        rejection.lacking(Missing::new(self.lacking(principal, parts)).map(Arc::new))
    }

    /// Returns the permissions that a rejected key lacks, as alternatives. A key needs all
    /// permissions of one alternative. Other checks may still reject it.
    fn lacking(&self, principal: &Principal, parts: &Parts) -> Vec<Vec<MissingPermission>> {
        if self.is_hidden {
            return Vec::new();
        }
        let mut lacking: Vec<Vec<MissingPermission>> = match self.check.shape(&parts.method) {
            Shape::Permission { .. } => {
                let permissions = principal.record().permissions();
                self.check.lacked(permissions, &parts.method).into_iter().map(|permission| vec![permission]).collect()
            }
            Shape::Instance(instance) => {
                let lacked = instance.lacked(principal.record().permissions(), parts);
                lacked.into_iter().map(|permission| vec![permission]).collect()
            }
            Shape::Unnamed { .. } => Vec::new(),
            Shape::Any(checks) => checks.iter().flat_map(|check| check.lacking(principal, parts)).collect(),
            Shape::All(checks) => {
                let refusing = checks
                    .iter()
                    .filter(|check| !check.has_own_check(parts) && check.evaluate(principal, parts).is_err());
                let each = refusing.map(|check| check.lacking(principal, parts)).filter(|lacking| !lacking.is_empty());
                each.reduce(|so_far, next| both(&so_far, &next)).unwrap_or_default()
            }
            Shape::Table(table) => {
                let guard = table.guard_of(parts);
                guard.map(|guard| guard.lacking(principal, parts)).unwrap_or_default()
            }
        };
        lacking.truncate(MAX_ALTERNATIVES);
        lacking
    }

    /// Returns whether an evaluation calls a [`Require::check`] of the application.
    fn has_own_check(&self, parts: &Parts) -> bool {
        match self.check.shape(&parts.method) {
            Shape::Permission { .. } | Shape::Instance(_) => false,
            Shape::Unnamed { is_own } => is_own,
            Shape::Any(checks) | Shape::All(checks) => checks.iter().any(|check| check.has_own_check(parts)),
            Shape::Table(table) => table.guard_of(parts).is_some_and(|guard| guard.has_own_check(parts)),
        }
    }
}

impl Check {
    /// Returns the required permission, if the key lacks it.
    fn lacked(&self, permissions: &Permissions, method: &Method) -> Option<MissingPermission> {
        let Shape::Permission { resource, action } = self.shape(method) else { return None };
        let action = action?;
        let is_lacked = !permissions.allow(resource, &action);
        is_lacked.then(|| MissingPermission::new(resource, action))
    }
}

/// Combines each alternative of one list with each of the other.
fn both(one: &[Vec<MissingPermission>], other: &[Vec<MissingPermission>]) -> Vec<Vec<MissingPermission>> {
    let mut both = Vec::new();
    for first in one {
        for second in other {
            let more = second.iter().filter(|permission| !first.contains(permission));
            both.push(first.iter().chain(more).cloned().collect());
        }
    }
    both.truncate(MAX_ALTERNATIVES);
    both
}

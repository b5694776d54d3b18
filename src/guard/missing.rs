//! Which permissions a key lacked that a guard has refused.

use std::sync::Arc;

use http::{Method, request::Parts};

use super::{Check, Require, action_of};
use crate::{
    permission::Permissions,
    principal::Principal,
    rejection::{Missing, MissingPermission, Reason, Rejection},
};

/// More alternatives than anybody reads.
const MOST: usize = 16;

impl Require {
    /// The rejection of a request that this guard has refused for `reason`. Only a missing permission is named: nothing that is hidden, and
    /// nothing of an organization or a check of one's own.
    #[cold]
    pub(super) fn rejection(&self, reason: Reason, principal: &Principal, parts: &Parts) -> Rejection {
        let rejection = principal.refused(reason);
        match reason {
            Reason::Forbidden => rejection.lacking(Missing::new(self.lacking(principal, parts)).map(Arc::new)),
            _ => rejection,
        }
    }

    /// The same for a guard that asks for one permission.
    #[cold]
    pub(super) fn without_permission(&self, principal: &Principal, method: &Method) -> Rejection {
        if self.hidden {
            return principal.refused(Reason::ForeignResourceHidden);
        }
        let lacked = self.check.lacked(principal.record().permissions(), method);
        let missing = Missing::new(lacked.into_iter().map(|permission| vec![permission]).collect());
        principal.refused(Reason::Forbidden).lacking(missing.map(Arc::new))
    }

    /// What a key lacks that does not pass: alternatives, each of which would be enough as far as permissions go.
    fn lacking(&self, principal: &Principal, parts: &Parts) -> Vec<Vec<MissingPermission>> {
        if self.hidden {
            return Vec::new();
        }
        let mut lacking: Vec<Vec<MissingPermission>> = match &*self.check {
            Check::Permission { .. } | Check::ByMethod { .. } => {
                let permissions = principal.record().permissions();
                self.check.lacked(permissions, &parts.method).into_iter().map(|permission| vec![permission]).collect()
            }
            Check::Organization(_) | Check::That(_) => Vec::new(),
            Check::Any(checks) => checks.iter().flat_map(|check| check.lacking(principal, parts)).collect(),
            Check::All(checks) => {
                let refusing = checks.iter().filter(|check| check.check(principal, parts).is_err());
                let each = refusing.map(|check| check.lacking(principal, parts)).filter(|lacking| !lacking.is_empty());
                each.reduce(|so_far, next| both(&so_far, &next)).unwrap_or_default()
            }
            Check::Table(table) => {
                let guard = table.guard_of(parts);
                guard.map(|guard| guard.lacking(principal, parts)).unwrap_or_default()
            }
        };
        lacking.truncate(MOST);
        lacking
    }
}

impl Check {
    /// The permission that is asked for, if one is and the key does not have it.
    pub(super) fn lacked(&self, permissions: &Permissions, method: &Method) -> Option<MissingPermission> {
        let (resource, action) = match self {
            Self::Permission { resource, action } => (resource, action.clone()),
            Self::ByMethod { resource } => (resource, action_of(method)?),
            _ => return None,
        };
        let is_lacked = !permissions.allow(resource, &action);
        is_lacked.then(|| MissingPermission::new(resource.clone(), action))
    }
}

/// Each alternative of the one with each of the other.
fn both(one: &[Vec<MissingPermission>], other: &[Vec<MissingPermission>]) -> Vec<Vec<MissingPermission>> {
    let mut both = Vec::new();
    for first in one {
        for second in other {
            let more = second.iter().filter(|permission| !first.contains(permission));
            both.push(first.iter().chain(more).cloned().collect());
        }
    }
    both.truncate(MOST);
    both
}

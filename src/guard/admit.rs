//! Admits a request, or rejects it.

use http::{Extensions, Method, request::Parts};

use super::{Require, check::Check, outcome::Refusal};
use crate::{
    principal::{CallerIdentity, Principal, Unauthenticated},
    rejection::{Reason, Rejection, Verdict, Wait},
};

impl Require {
    /// Returns the verdict of a guard for one permission. It needs only the method and the
    /// extensions, so the request is not split into its parts. Returns `None` for other guards, and
    /// without a principal.
    pub(super) fn admit_by_permissions(
        &self,
        method: &Method,
        extensions: &Extensions,
    ) -> Option<Result<(), Rejection>> {
        let principal = extensions.get::<Principal>()?;
        let is_allowed = self.check.permissions(principal, method)?;
        Some(if is_allowed { Ok(()) } else { Err(self.without_permission(principal, method)) })
    }

    pub(super) fn admit(&self, parts: &Parts) -> Verdict {
        let principal = match CallerIdentity::of(&parts.extensions, "a Require guard") {
            Ok(CallerIdentity::Known(principal)) => principal,
            Ok(CallerIdentity::Nobody(Unauthenticated::Preflight)) if parts.method == Method::OPTIONS => {
                return Verdict::Pass;
            }
            Ok(CallerIdentity::Nobody(_)) if self.lists_openly(parts) => return Verdict::Pass,
            Ok(CallerIdentity::Nobody(_)) => return Verdict::Reject(Rejection::new(Reason::Missing)),
            Err(misconfigured) => return Verdict::Reject(misconfigured),
        };
        match self.evaluate(principal, parts) {
            Ok(None) => Verdict::Pass,
            Ok(Some(wait)) => Verdict::Wait(wait),
            Err(refusal) => Verdict::Reject(self.rejection(refusal, principal, parts)),
        }
    }

    /// Returns whether a route table lists the request as open.
    fn lists_openly(&self, parts: &Parts) -> bool {
        matches!(&*self.check, Check::Table(table) if table.entries_of(parts).is_some_and(|entries| entries.are_open()))
    }

    pub(super) fn evaluate(&self, principal: &Principal, parts: &Parts) -> Result<Option<Wait>, Refusal> {
        let outcome = self.check.evaluate(principal, parts);
        if self.is_hidden { Refusal::map(outcome, Refusal::hidden) } else { outcome }
    }
}

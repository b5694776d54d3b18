//! Admits a request, or rejects it.

use http::{Extensions, Method, request::Parts};

use super::{
    Require,
    charge::Charge,
    check::Check,
    outcome::{Outcome, Pass, Refusal},
};
use crate::{
    principal::{CallerIdentity, Principal, Unauthenticated},
    rejection::{Reason, Rejection, Verdict},
};

impl Require {
    /// Returns whether a guard for one permission admits the request. It needs only the method and
    /// the extensions, so the request is not split into its parts. Returns false for other guards,
    /// without a principal, and for a request that is rejected.
    #[inline]
    pub(super) fn admits_by_permission(&self, method: &Method, extensions: &Extensions) -> bool {
        let has_permission = |principal| self.check.permissions(principal, method) == Some(true);
        self.charge.is_none() && extensions.get().is_some_and(has_permission)
    }

    /// Returns the verdict, and what to charge if the request passes.
    pub(super) fn admit(&self, parts: &Parts) -> (Verdict, Charge<'_>) {
        let passed = || (Verdict::Pass, Charge::default());
        let rejected = |rejection| (Verdict::Reject(rejection), Charge::default());
        let principal = match CallerIdentity::of(&parts.extensions, "a Require guard") {
            Ok(CallerIdentity::Known(principal)) => principal,
            Ok(CallerIdentity::Nobody(Unauthenticated::Preflight)) if parts.method == Method::OPTIONS => {
                return passed();
            }
            Ok(CallerIdentity::Nobody(_)) if self.lists_openly(parts) => return passed(),
            Ok(CallerIdentity::Nobody(_)) => return rejected(Rejection::new(Reason::Missing)),
            Err(misconfigured) => return rejected(misconfigured),
        };
        if self.is_unbound {
            return rejected(self.unbound());
        }
        match self.evaluate(principal, parts) {
            Ok(Pass { wait: None, charge }) => (Verdict::Pass, charge),
            Ok(Pass { wait: Some(wait), charge }) => (Verdict::Wait(wait), charge),
            Err(refusal) => rejected(self.rejection(refusal, principal, parts)),
        }
    }

    /// Returns whether a route table lists the request as open.
    fn lists_openly(&self, parts: &Parts) -> bool {
        matches!(&*self.check, Check::Table(table) if table.entries_of(parts).is_some_and(|entries| entries.are_open()))
    }

    pub(super) fn evaluate(&self, principal: &Principal, parts: &Parts) -> Outcome<'_> {
        let outcome = self.check.evaluate(principal, parts);
        let outcome = if self.is_hidden { Refusal::map(outcome, Refusal::hidden) } else { outcome };
        outcome.map(|mut pass| {
            pass.charge.add(&self.charge);
            pass
        })
    }
}

//! Authenticates a request without a service to call. Runs the same checks as [`super::admit`], and
//! does not change the request.

use std::time::Duration;

use http::Request;

use super::{
    admit::Authenticator,
    check::{Accepted, Check, PendingLookup, SlowCheck},
    failures::Caller,
    observation::Observation,
};
use crate::{
    clock::Stopwatch,
    observe::Decision,
    principal::Principal,
    rejection::{Rejection, Verdict, Wait},
};

/// The result of the steps that do not wait.
pub(super) enum Authentication {
    Done(Result<Principal, Rejection>),
    Pending(Box<PendingAuthentication>),
}

/// A request that waits for its lookup, or for a check after verification.
pub(super) struct PendingAuthentication {
    step: Step,
    /// A copy of the head, if there are checks after verification.
    head: Option<Request<()>>,
    observation: Observation,
    /// Read before the lookup, because the request is not available after it.
    caller: Caller,
}

enum Step {
    Lookup(PendingLookup),
    AfterVerify(Accepted, Wait),
}

/// An accepted key, and the verdict of the checks after verification.
struct Checked {
    accepted: Accepted,
    verdict: Verdict,
}

impl Authenticator {
    /// Authenticates the request until a step has to wait.
    pub(super) fn authenticate<B>(&self, request: &Request<B>) -> Authentication {
        let check = self.checker.check(request);
        let observation = self.watch_untouched(request);
        let accepted = match check {
            Check::Accepted(principal) if self.after_verify.is_empty() => {
                if self.is_observed() {
                    self.emit(Decision::accepted(&principal, None), observation);
                }
                return Authentication::Done(Ok(principal));
            }
            Check::Accepted(principal) => Accepted { principal, outdated: None },
            Check::Rejected(rejection) => {
                let rejection = self.failed(rejection, || self.caller(request));
                return Authentication::Done(self.report(Err(rejection), None, observation));
            }
            Check::Slow(slow) => match *slow {
                SlowCheck::Accepted(accepted) => accepted,
                SlowCheck::Pending(lookup) => {
                    let step = Step::Lookup(lookup);
                    let (head, caller) = (self.head_of(request), self.caller(request));
                    return Authentication::Pending(Box::new(PendingAuthentication {
                        step,
                        head,
                        observation,
                        caller,
                    }));
                }
            },
        };
        let head = self.head_of(request);
        let Checked { accepted, verdict } = self.after_verify(accepted, head.as_ref());
        match verdict {
            Verdict::Wait(wait) => {
                let step = Step::AfterVerify(accepted, wait);
                let caller = self.caller(request);
                Authentication::Pending(Box::new(PendingAuthentication { step, head, observation, caller }))
            }
            Verdict::Pass => Authentication::Done(self.report(Ok(accepted), None, observation)),
            Verdict::Reject(rejection) => {
                Authentication::Done(self.report_held(&accepted, rejection, None, observation))
            }
        }
    }

    /// Continues [`Authenticator::authenticate`] after the step that has to wait.
    pub(super) async fn authenticate_later(&self, pending: PendingAuthentication) -> Result<Principal, Rejection> {
        let PendingAuthentication { step, head, observation, caller } = pending;
        let (checked, store_time) = match step {
            Step::AfterVerify(accepted, wait) => (Ok(Checked { accepted, verdict: Verdict::Wait(wait) }), None),
            Step::Lookup(PendingLookup { presented, lookup }) => {
                let stopwatch = self.is_observed().then(Stopwatch::start);
                let answer = lookup.await;
                let store_time = stopwatch.map(|stopwatch| stopwatch.elapsed());
                let accepted = self.checker.check_answer(&presented, answer);
                (accepted.map(|accepted| self.after_verify(accepted, head.as_ref())), store_time)
            }
        };
        match checked {
            Ok(Checked { accepted, verdict }) => {
                let result = match verdict {
                    Verdict::Pass => Ok(()),
                    Verdict::Reject(rejection) => Err(rejection),
                    Verdict::Wait(wait) => wait.await,
                };
                match result {
                    Ok(()) => self.report(Ok(accepted), store_time, observation),
                    Err(rejection) => self.report_held(&accepted, rejection, store_time, observation),
                }
            }
            Err(rejection) => self.report(Err(self.failed(rejection, || caller)), store_time, observation),
        }
    }

    fn after_verify(&self, accepted: Accepted, head: Option<&Request<()>>) -> Checked {
        let verdict = head.map_or(Verdict::Pass, |head| self.after_verify.check(&accepted.principal, head));
        Checked { accepted, verdict }
    }

    /// Returns a copy of the head for the checks after verification, with its credentials marked
    /// sensitive.
    fn head_of<B>(&self, request: &Request<B>) -> Option<Request<()>> {
        if self.after_verify.is_empty() {
            return None;
        }
        let mut head = Request::new(());
        head.method_mut().clone_from(request.method());
        head.uri_mut().clone_from(request.uri());
        *head.version_mut() = request.version();
        head.headers_mut().clone_from(request.headers());
        head.extensions_mut().clone_from(request.extensions());
        self.checker.reader.mark_sensitive(head.headers_mut());
        Some(head)
    }

    fn report(
        &self,
        result: Result<Accepted, Rejection>,
        store_time: Option<Duration>,
        observation: Observation,
    ) -> Result<Principal, Rejection> {
        if self.is_observed() {
            let decision = match &result {
                Ok(accepted) => Decision::accepted(&accepted.principal, accepted.outdated),
                Err(rejection) => Decision::refused(rejection, None),
            };
            self.emit(decision.after_store_time(store_time), observation);
        }
        result.map(|accepted| accepted.principal)
    }

    /// Reports a verified key that a check after verification has rejected.
    fn report_held(
        &self,
        accepted: &Accepted,
        rejection: Rejection,
        store_time: Option<Duration>,
        observation: Observation,
    ) -> Result<Principal, Rejection> {
        let principal = &accepted.principal;
        let rejection = rejection.of_accepted(principal.interned_scheme());
        if self.is_observed() {
            let before = Decision::accepted(principal, accepted.outdated);
            self.emit(Decision::refused(&rejection, Some(before)).after_store_time(store_time), observation);
        }
        Err(rejection)
    }
}

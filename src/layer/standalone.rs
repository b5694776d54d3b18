//! Authenticates a request without a service to call. Runs the same checks as [`super::admit`], and
//! does not change the request.

use std::{mem, time::Duration};

use http::Request;

use super::{
    admit::Authenticator,
    check::{Check, SlowCheck},
    failures::Caller,
    found::{Accepted, FoundKey, PendingLookup},
    observation::Observation,
};
#[cfg(feature = "limits")]
use crate::limit::{Admitted, Unpaid};
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
    Accepted(AcceptedKey),
}

/// A key that is accepted.
enum AcceptedKey {
    /// Its limits wait.
    #[cfg_attr(not(feature = "limits"), expect(dead_code))]
    Unpaid(Accepted, Wait),
    Checked(Checked),
}

/// An accepted key, and the verdict of the checks after verification.
struct Checked {
    accepted: Accepted,
    verdict: Verdict,
    /// What the limits of the key were charged.
    #[cfg(feature = "limits")]
    admitted: Option<Admitted>,
}

impl Authenticator {
    /// Authenticates the request until a step has to wait.
    pub(super) fn authenticate<B>(&self, request: &Request<B>) -> Authentication {
        if self.is_insecure(request) {
            let rejection = self.insecure(request);
            return Authentication::Done(self.report(Err(rejection), None, self.watch_untouched(request)));
        }
        #[cfg(feature = "limits")]
        self.forget_time();
        let check = self.checker.check(request);
        let observation = self.watch_untouched(request);
        match check {
            Check::Accepted(principal) if self.after_verify.is_empty() && !self.has_limits() => {
                if self.is_observed() {
                    self.emit(Decision::accepted(&principal, None), observation);
                }
                Authentication::Done(Ok(principal))
            }
            check => self.authenticate_further(check, request, observation),
        }
    }

    /// Runs the steps that few requests have, apart from the fast path.
    #[inline(never)]
    fn authenticate_further<B>(&self, check: Check, request: &Request<B>, observation: Observation) -> Authentication {
        let accepted = match check {
            Check::Accepted(principal) => Ok(Accepted { principal, outdated: None }),
            Check::Conditional(matched, scheme, suspected) => {
                self.conditions(FoundKey { matched, scheme, outdated: None, suspected }, request)
            }
            Check::Rejected(rejection) => Err(self.failed(rejection, || self.caller(request))),
            Check::Slow(slow) => match *slow {
                SlowCheck::Found(found) => self.conditions(found, request),
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
        let accepted = match accepted {
            Ok(accepted) => accepted,
            Err(rejection) => return Authentication::Done(self.report(Err(rejection), None, observation)),
        };
        let head = self.head_of(request);
        let mut checked = match self.after_verify(accepted, head.as_ref()) {
            AcceptedKey::Checked(checked) => checked,
            unpaid @ AcceptedKey::Unpaid(..) => {
                let (step, caller) = (Step::Accepted(unpaid), self.caller(request));
                return Authentication::Pending(Box::new(PendingAuthentication { step, head, observation, caller }));
            }
        };
        match mem::replace(&mut checked.verdict, Verdict::Pass) {
            verdict @ Verdict::Wait(_) => {
                let step = Step::Accepted(AcceptedKey::Checked(Checked { verdict, ..checked }));
                let caller = self.caller(request);
                Authentication::Pending(Box::new(PendingAuthentication { step, head, observation, caller }))
            }
            Verdict::Pass => Authentication::Done(self.report(Ok(checked.accepted), None, observation)),
            Verdict::Reject(rejection) => {
                Authentication::Done(self.report_held(&checked, rejection, None, observation))
            }
        }
    }

    /// Accepts a key if the conditions on its use hold.
    fn conditions<B>(&self, found: FoundKey, request: &Request<B>) -> Result<Accepted, Rejection> {
        let accepted = found.used_from(|| self.checker.client_of(request));
        accepted.map_err(|rejection| self.failed(rejection, || self.caller(request)))
    }

    /// Continues [`Authenticator::authenticate`] after the step that has to wait.
    pub(super) async fn authenticate_later(&self, pending: PendingAuthentication) -> Result<Principal, Rejection> {
        let PendingAuthentication { step, head, observation, caller } = pending;
        let (accepted, store_time) = match step {
            Step::Lookup(PendingLookup { presented, lookup }) => {
                let stopwatch = self.is_observed().then(Stopwatch::start);
                let answer = lookup.await;
                let store_time = stopwatch.map(|stopwatch| stopwatch.elapsed());
                #[cfg(feature = "limits")]
                self.forget_time();
                let found = self.checker.check_answer(&presented, answer);
                let accepted = found.and_then(|found| found.used_from(|| caller.address));
                (accepted.map(|accepted| self.after_verify(accepted, head.as_ref())), store_time)
            }
            Step::Accepted(accepted) => (Ok(accepted), None),
        };
        let checked = match accepted {
            Ok(accepted) => Ok(self.paid(accepted, head.as_ref()).await),
            Err(rejection) => Err(rejection),
        };
        match checked {
            Ok(mut checked) => {
                let result = match mem::replace(&mut checked.verdict, Verdict::Pass) {
                    Verdict::Pass => Ok(()),
                    Verdict::Reject(rejection) => Err(rejection),
                    Verdict::Wait(wait) => wait.await,
                };
                match result {
                    Ok(()) => self.report(Ok(checked.accepted), store_time, observation),
                    Err(rejection) => self.report_held(&checked, rejection, store_time, observation),
                }
            }
            Err(rejection) => self.report(Err(self.failed(rejection, || caller)), store_time, observation),
        }
    }

    /// Gives back what the limits were charged for a request that would have to wait.
    #[cfg_attr(not(feature = "limits"), expect(unused_variables, clippy::unused_self))]
    pub(super) fn give_up(&self, pending: &PendingAuthentication) {
        #[cfg(feature = "limits")]
        if let (
            Step::Accepted(AcceptedKey::Checked(Checked { accepted, admitted: Some(admitted), .. })),
            Some(limits),
        ) = (&pending.step, &self.limits)
        {
            limits.limiter().give_back(admitted, Some(accepted.principal.record()), true);
        }
    }

    /// Waits until the limits of the key are charged, or have rejected the request.
    async fn paid(&self, mut accepted: AcceptedKey, head: Option<&Request<()>>) -> Checked {
        loop {
            match accepted {
                AcceptedKey::Checked(checked) => return checked,
                AcceptedKey::Unpaid(key, wait) => {
                    if let Err(rejection) = wait.await {
                        let verdict = Verdict::Reject(key.principal.complete(rejection));
                        return Checked {
                            accepted: key,
                            verdict,
                            #[cfg(feature = "limits")]
                            admitted: None,
                        };
                    }
                    #[cfg(feature = "limits")]
                    self.forget_time();
                    accepted = self.after_verify(key, head);
                }
            }
        }
    }

    /// Charges the limits of the key, then runs the checks after verification.
    fn after_verify(
        &self,
        #[cfg_attr(not(feature = "limits"), expect(unused_mut))] mut accepted: Accepted,
        head: Option<&Request<()>>,
    ) -> AcceptedKey {
        #[cfg(feature = "limits")]
        let mut admitted = None;
        #[cfg(feature = "limits")]
        let charged = match self.charge(&mut accepted.principal, &mut admitted) {
            Ok(()) => Ok(()),
            Err(Unpaid::Rejected(rejection)) => Err(rejection),
            Err(Unpaid::Wait(wait)) => return AcceptedKey::Unpaid(accepted, wait),
        };
        #[cfg(not(feature = "limits"))]
        let charged = Ok(());
        let verdict = match charged {
            Ok(()) => head.map_or(Verdict::Pass, |head| self.after_verify.check(&accepted.principal, head)),
            Err(rejection) => Verdict::Reject(rejection),
        };
        AcceptedKey::Checked(Checked {
            accepted,
            verdict,
            #[cfg(feature = "limits")]
            admitted,
        })
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

    #[cfg_attr(not(feature = "limits"), expect(clippy::unused_self))]
    fn has_limits(&self) -> bool {
        #[cfg(feature = "limits")]
        return self.limits.is_some();
        #[cfg(not(feature = "limits"))]
        return false;
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
        checked: &Checked,
        #[cfg_attr(not(feature = "limits"), expect(unused_mut))] mut rejection: Rejection,
        store_time: Option<Duration>,
        observation: Observation,
    ) -> Result<Principal, Rejection> {
        #[cfg(feature = "limits")]
        if let Some(admitted) = &checked.admitted {
            self.give_back(admitted, &mut rejection);
        }
        let Accepted { principal, outdated } = &checked.accepted;
        let rejection = rejection.of_accepted(principal.interned_scheme());
        if self.is_observed() {
            let before = Decision::accepted(principal, *outdated);
            self.emit(Decision::refused(&rejection, Some(before)).after_store_time(store_time), observation);
        }
        Err(rejection)
    }
}

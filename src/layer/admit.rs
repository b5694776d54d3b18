//! Admits a request, or rejects it: bypass rules, optional mode, and the effects of an accepted key on the request.
//!
//! A request in; an admitted request, a lookup to wait for, or a rejection out. [`Checker`] decides about the key.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response,
    header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN},
};

use super::{
    check::{Accepted, Check, Checker, PendingCredential, PendingLookup, SlowCheck},
    forward::IdentityHeader,
    observation::Observation,
};
use crate::{
    clock::Stopwatch,
    observe::{self, Decision, Observers, Outcome, PreviousPepper},
    path::Readings,
    principal::{CallerIdentity, Principal, Unauthenticated},
    rejection::{Reason, Rejection, Renderer, ResponseProtocol},
    scheme::{Diagnosis, Reader},
    store::Answer,
};

/// All that a layer knows, behind one `Arc`.
#[allow(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub(super) struct Authenticator {
    pub(super) checker: Checker,
    pub(super) renderer: Renderer,
    pub(super) optional: bool,
    pub(super) serves_grpc: bool,
    pub(super) pass_preflight: bool,
    pub(super) hide_credentials: bool,
    pub(super) forward_identity: Option<IdentityHeader>,
    pub(super) skip: Option<SkipPath>,
    pub(super) observers: Observers,
    /// Whether anything of a request is kept for observers, or for the format of refusals.
    pub(super) is_watched: bool,
}

pub(super) type SkipPath = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// The outcome of a check, for the service.
pub(super) enum Admission {
    Pass,
    Wait(Box<PendingLookup>),
    Refuse(Rejection),
}

/// Work deferred until the response: the decision to emit, headers to add.
#[derive(Default)]
pub(super) struct ResponseActions {
    /// The decision to emit, if there are observers.
    pub(super) decision: Option<Decision>,
    pub(super) watched: Observation,
    pub(super) answer: AnswerTo,
    /// Whether the principal is an outer layer's, which then renders and reports what a guard refuses to it.
    pub(super) keeps_outer: bool,
    /// Why a request that passes without a key has none.
    pub(super) unread: Option<(Reason, Diagnosis)>,
    /// The WebSocket protocol to select, if the service selects none.
    pub(super) protocol: Option<Box<HeaderValue>>,
}

/// The audience of a response, which decides its cache headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum AnswerTo {
    /// Every client: no key was looked for.
    #[default]
    Anybody,
    /// Every client without a key of this layer.
    Anonymous,
    /// The one caller whose key was accepted.
    Principal,
}

/// A request without a service to call, whose lookup is pending.
pub(super) struct Asked {
    pending: PendingLookup,
    watched: Observation,
}

impl Authenticator {
    /// Goes as far as it can without waiting.
    pub(super) fn admit<B>(&self, request: &mut Request<B>, passed: &mut ResponseActions) -> Admission {
        if let Some((nobody, outcome)) = self.bypass(request) {
            self.pass_bypassed(request, nobody, outcome, passed);
            return Admission::Pass;
        }
        match self.checker.check(request) {
            Check::Accepted(principal) => self.accept(request, principal, None, passed),
            Check::Slow(slow) => match *slow {
                SlowCheck::Accepted(Accepted { principal, outdated }) => {
                    self.accept(request, principal, outdated, passed);
                }
                SlowCheck::Pending(pending) => return Admission::Wait(Box::new(pending)),
            },
            Check::Rejected(rejection) if self.optional && rejection.reason().is_nothing_of_ours() => {
                passed.unread = rejection.diagnosis().map(|diagnosis| (rejection.reason(), diagnosis));
                self.pass_anonymous(request, passed);
            }
            Check::Rejected(rejection) => return Admission::Refuse(rejection),
        }
        Admission::Pass
    }

    /// Admits a request with the answer of a store that had to wait.
    pub(super) fn conclude<B>(
        &self,
        request: &mut Request<B>,
        presented: &PendingCredential,
        answer: Answer,
        passed: &mut ResponseActions,
    ) -> Result<(), Rejection> {
        let known = self.checker.check_answer(presented, answer)?;
        self.accept(request, known.principal, known.outdated, passed);
        Ok(())
    }

    /// Rejects a request that has not waited.
    pub(super) fn refuse(
        &self,
        rejection: &Rejection,
        dialect: ResponseProtocol,
        mut watched: Observation,
    ) -> Response<Bytes> {
        let render = watched.take_render();
        self.emit_decision(|| Decision::refused(rejection, None), watched);
        self.renderer.refusal(rejection, dialect, render)
    }

    /// Authenticates a request without calling a service.
    pub(super) fn authenticate<B>(&self, request: &Request<B>) -> Result<Result<Principal, Rejection>, Box<Asked>> {
        let check = self.checker.check(request);
        let watched = self.watch_untouched(request);
        let result = match check {
            Check::Accepted(principal) => {
                self.emit_decision(|| Decision::accepted(&principal, None), watched);
                return Ok(Ok(principal));
            }
            Check::Rejected(rejection) => Err(rejection),
            Check::Slow(slow) => match *slow {
                SlowCheck::Accepted(accepted) => Ok(accepted),
                SlowCheck::Pending(pending) => return Err(Box::new(Asked { pending, watched })),
            },
        };
        Ok(self.emit_result(result, None, watched))
    }

    /// Continues [`Authenticator::authenticate`] with the answer of the store.
    pub(super) async fn authenticate_later(&self, Asked { pending, watched }: Asked) -> Result<Principal, Rejection> {
        let stopwatch = self.is_observed().then(Stopwatch::start);
        let answer = pending.lookup.await;
        let store_time = stopwatch.map(|stopwatch| stopwatch.elapsed());
        self.emit_result(self.checker.check_answer(&pending.presented, answer), store_time, watched)
    }

    fn emit_result(
        &self,
        known: Result<Accepted, Rejection>,
        store_time: Option<Duration>,
        watched: Observation,
    ) -> Result<Principal, Rejection> {
        let decision = || {
            let decision = match &known {
                Ok(known) => Decision::accepted(&known.principal, known.outdated),
                Err(rejection) => Decision::refused(rejection, None),
            };
            decision.after_store_time(store_time)
        };
        self.emit_decision(decision, watched);
        known.map(|known| known.principal)
    }

    fn emit_decision(&self, decision: impl FnOnce() -> Decision, watched: Observation) {
        if self.is_observed() {
            self.emit(decision(), watched);
        }
    }

    /// Puts the principal into the request.
    fn accept<B>(
        &self,
        request: &mut Request<B>,
        principal: Principal,
        outdated: Option<PreviousPepper>,
        passed: &mut ResponseActions,
    ) {
        observe::record_on_span(&principal);
        self.checker.reader.mark_sensitive(request.headers_mut());
        let without_others = self.checker.others(request).map(|others| self.checker.reader.without(&others));
        let reader = without_others.as_ref().unwrap_or(&self.checker.reader);
        passed.protocol = reader.take_protocol(request.headers_mut()).map(Box::new);
        if self.hide_credentials {
            hide_credentials(reader, request);
        }
        if let Some(header) = &self.forward_identity {
            header.set(request.headers_mut(), Some(principal.id()));
        }
        passed.decision = self.is_observed().then(|| Decision::accepted(&principal, outdated));
        passed.answer = AnswerTo::Principal;
        CallerIdentity::set_principal(request.extensions_mut(), principal);
    }

    /// Whether this request needs no key.
    fn bypass<B>(&self, request: &Request<B>) -> Option<(Unauthenticated, Outcome)> {
        if self.pass_preflight && is_preflight(request) {
            Some((Unauthenticated::Preflight, Outcome::Preflight))
        } else if self.skips(request) {
            Some((Unauthenticated::Skipped, Outcome::Skipped))
        } else {
            None
        }
    }

    fn skips<B>(&self, request: &Request<B>) -> bool {
        let path = request.uri().path();
        let Some(skip) = &self.skip else { return false };
        let readings = || Readings::of_request(path, request.extensions());
        skip(path) && readings().is_some_and(|readings| readings.others().all(|(reading, _)| skip(reading)))
    }

    /// Admits a request without a key of ours. The principal of an outer layer stays.
    fn pass_anonymous<B>(&self, request: &mut Request<B>, passed: &mut ResponseActions) {
        self.checker.reader.mark_sensitive(request.headers_mut());
        let kept = CallerIdentity::keep_or_set_anonymous(request.extensions_mut());
        passed.keeps_outer = kept.is_some();
        if let Some(header) = &self.forward_identity {
            let id = kept.map(|principal| principal.id().clone());
            header.set(request.headers_mut(), id.as_ref());
        }
        passed.answer = AnswerTo::Anonymous;
        passed.decision = self.is_observed().then(|| Decision::of(Outcome::Anonymous));
    }

    /// Admits a request without reading its credentials.
    fn pass_bypassed<B>(
        &self,
        request: &mut Request<B>,
        nobody: Unauthenticated,
        outcome: Outcome,
        passed: &mut ResponseActions,
    ) {
        self.checker.reader.mark_sensitive(request.headers_mut());
        CallerIdentity::set_unauthenticated(request.extensions_mut(), nobody);
        if let Some(header) = &self.forward_identity {
            header.set(request.headers_mut(), None);
        }
        passed.decision = self.is_observed().then(|| Decision::of(outcome));
    }

    /// The decision to emit if the client disconnects during the lookup.
    pub(super) fn abandoned(&self, presented: &PendingCredential) -> Option<Decision> {
        self.is_observed().then(|| Decision::abandoned(presented.scheme))
    }

    pub(super) fn is_observed(&self) -> bool {
        !self.observers.is_empty()
    }
}

fn hide_credentials<B>(reader: &Reader, request: &mut Request<B>) {
    let mut uri = std::mem::take(request.uri_mut());
    reader.hide(request.headers_mut(), &mut uri);
    *request.uri_mut() = uri;
}

/// Whether this is a CORS-preflight request of the Fetch standard. Other `OPTIONS` requests need a key.
fn is_preflight<B>(request: &Request<B>) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(ORIGIN)
        && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

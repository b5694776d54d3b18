//! Admits a request, or rejects it: bypass rules, optional mode, and the effects of an accepted key
//! on the request.
//!
//! Takes a request and returns an admitted request, a lookup that waits, or a rejection.
//! [`Checker`] checks the key.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};

use super::{
    after_verify::AfterVerify,
    check::{Check, Checker, SlowCheck, used_from},
    forward::IdentityHeader,
    found::{Accepted, FoundKey, PendingCredential, PendingLookup},
    observation::Observation,
    plain::PlainAdmission,
    transport::TlsPolicy,
};
#[cfg(feature = "limits")]
use crate::{limit::Unpaid, rejection::Wait};
use crate::{
    observe::{self, Decision, Observers, PreviousPepper},
    principal::{CallerIdentity, Principal},
    record::{KeyRecord, Matched},
    rejection::{Reason, Rejection, Renderer, ResponseProtocol, Verdict},
    scheme::{Diagnosis, Reader, Scheme},
    store::Answer,
};

/// The state of a layer, behind one `Arc`.
#[allow(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub(super) struct Authenticator {
    pub(super) tls: Option<TlsPolicy>,
    pub(super) checker: Checker,
    pub(super) after_verify: AfterVerify,
    #[cfg(feature = "limits")]
    pub(super) limits: Option<crate::limit::Limits>,
    #[cfg(feature = "limits")]
    pub(super) rate_limit_fields: crate::limit::RateLimitFields,
    pub(super) renderer: Renderer,
    pub(super) optional: bool,
    pub(super) serves_grpc: bool,
    pub(super) pass_preflight: bool,
    pub(super) hide_credentials: bool,
    pub(super) forward_identity: Option<IdentityHeader>,
    pub(super) expiry_header: Option<HeaderName>,
    pub(super) skip: Option<SkipPath>,
    pub(super) observers: Observers,
    #[cfg(feature = "limits")]
    pub(super) failures: Option<crate::limit::Failures>,
    /// Whether the observers or the format of rejections read values of the request.
    pub(super) is_watched: bool,
    /// See [`Authenticator::accepts_plainly`].
    pub(super) is_plain: bool,
}

pub(super) type SkipPath = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// The result of the stages that do not wait.
pub(super) enum Progress {
    /// See [`Authenticator::accepts_plainly`].
    Plain(PlainAdmission),
    Done(Admission),
    Lookup(Box<PendingLookup>),
}

/// The outcome for a request after the check of its key.
pub(super) enum Admission {
    Pass(ResponseActions),
    /// The key is accepted, but a check after verification has rejected the request, or waits.
    Held(Box<Held>),
    /// The key is accepted, but its limits wait for units: accept it again after the wait.
    #[cfg(feature = "limits")]
    Unpaid(Box<(Accepted, Wait)>),
    Reject(Rejection),
}

/// A request with an accepted key that must not reach the inner service yet.
pub(super) struct Held {
    pub(super) actions: ResponseActions,
    pub(super) verdict: Verdict,
}

/// Work deferred until the response: the decision to emit, headers to add.
#[derive(Default)]
pub(super) struct ResponseActions {
    /// The decision to emit, if there are observers.
    pub(super) decision: Option<Decision>,
    pub(super) audience: Audience,
    /// The scheme of the accepted key.
    pub(super) scheme: Option<&'static Scheme>,
    /// Whether the principal comes from an outer layer. If so, the outer layer renders and reports
    /// the rejections of inner guards.
    pub(super) keeps_outer: bool,
    /// Why no key was read, for a request that passes as anonymous.
    pub(super) unread: Option<(Reason, Diagnosis)>,
    /// The headers to add, for the few requests that have any.
    pub(super) headers: Option<Box<HeadersToAdd>>,
    /// What the limits of the key were charged.
    #[cfg(feature = "limits")]
    pub(super) admitted: Option<crate::limit::Admitted>,
}

/// The headers that a response gets from the accepted key.
pub(super) struct HeadersToAdd {
    /// The WebSocket protocol to select, if the service selects none.
    pub(super) protocol: Option<HeaderValue>,
    /// When the key expires.
    pub(super) expiry: Option<HeaderValue>,
    /// The record whose limits the response has.
    pub(super) limited: Option<KeyRecord>,
}

/// The audience of a response, which decides its cache headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Audience {
    /// Every client. The layer has read no credential.
    #[default]
    Anybody,
    /// Every client without a key of this layer.
    Anonymous,
    /// Only the caller that sent the accepted key.
    Principal,
}

#[cfg(feature = "limits")]
impl Admission {
    /// Returns the outcome for a key whose limits are not charged.
    #[cold]
    pub(super) fn of_unpaid(unpaid: Unpaid, principal: Principal, outdated: Option<PreviousPepper>) -> Self {
        match unpaid {
            Unpaid::Rejected(rejection) => Self::Reject(rejection),
            Unpaid::Wait(wait) => Self::Unpaid(Box::new((Accepted { principal, outdated }, wait))),
        }
    }
}

impl Authenticator {
    /// Runs the stages before the inner service. Stops if the lookup has to wait.
    pub(super) fn admit<B>(&self, request: &mut Request<B>) -> Progress {
        if let Some((mark, outcome)) = self.bypass(request) {
            return Progress::Done(Admission::Pass(self.pass_bypassed(request, mark, outcome)));
        }
        if self.is_insecure(request) {
            return Progress::Done(Admission::Reject(self.insecure(request)));
        }
        #[cfg(feature = "limits")]
        self.forget_time();
        let admission = match self.checker.mark_and_check(request) {
            Check::Accepted(principal) => return self.accept_at_once(request, principal),
            Check::Conditional(matched, scheme, suspected) => {
                return self.accept_conditional(request, matched, scheme, suspected);
            }
            Check::Slow(slow) => match *slow {
                SlowCheck::Found(found) => self.accept_found(request, found),
                SlowCheck::Pending(pending) => return Progress::Lookup(Box::new(pending)),
            },
            Check::Rejected(rejection) if self.optional && rejection.reason().is_nothing_of_ours() => {
                let unread = rejection.diagnosis().map(|diagnosis| (rejection.reason(), diagnosis));
                Admission::Pass(self.pass_anonymous(request, unread))
            }
            Check::Rejected(rejection) => Admission::Reject(self.failed(rejection, || self.caller(request))),
        };
        Progress::Done(admission)
    }

    /// Continues [`Authenticator::admit`] with the answer of a store that had to wait.
    pub(super) fn conclude<B>(
        &self,
        request: &mut Request<B>,
        presented: &PendingCredential,
        answer: Answer,
    ) -> Admission {
        #[cfg(feature = "limits")]
        self.forget_time();
        match self.checker.check_answer(presented, answer) {
            Ok(found) => self.accept_found(request, found),
            Err(rejection) => Admission::Reject(self.failed(rejection, || self.caller(request))),
        }
    }

    /// Accepts a key that was found at once.
    #[inline]
    fn accept_at_once<B>(&self, request: &mut Request<B>, principal: Principal) -> Progress {
        if self.is_plain {
            self.accept_plainly(request, principal)
        } else {
            Progress::Done(self.accept(request, principal, None))
        }
    }

    /// Accepts a key that was found at once if the conditions on its use hold.
    #[inline(never)]
    fn accept_conditional<B>(
        &self,
        request: &mut Request<B>,
        matched: Matched,
        scheme: &'static Scheme,
        suspected: Option<Diagnosis>,
    ) -> Progress {
        match used_from(matched, scheme, suspected, || self.checker.client_of(request)) {
            Ok(principal) => self.accept_at_once(request, principal),
            Err(rejection) => Progress::Done(Admission::Reject(self.failed(rejection, || self.caller(request)))),
        }
    }

    /// Accepts a key if the conditions on its use hold.
    #[cold]
    #[inline(never)]
    fn accept_found<B>(&self, request: &mut Request<B>, found: FoundKey) -> Admission {
        match found.used_from(|| self.checker.client_of(request)) {
            Ok(Accepted { principal, outdated }) => self.accept(request, principal, outdated),
            Err(rejection) => Admission::Reject(self.failed(rejection, || self.caller(request))),
        }
    }

    /// Renders and reports the rejection of a request that did not wait for a lookup.
    pub(super) fn refuse(
        &self,
        rejection: &Rejection,
        protocol: ResponseProtocol,
        mut observation: Observation,
    ) -> Response<Bytes> {
        let render = observation.take_render();
        if self.is_observed() {
            self.emit(Decision::refused(rejection, None), observation);
        }
        let mut response = self.renderer.refusal(rejection, protocol, render);
        self.add_limits(rejection, None, protocol, response.headers_mut());
        response
    }

    /// Charges the limits of an accepted key, applies its effects to the request, runs the checks
    /// after verification, and sets the principal.
    pub(super) fn accept<B>(
        &self,
        request: &mut Request<B>,
        #[cfg_attr(not(feature = "limits"), expect(unused_mut))] mut principal: Principal,
        outdated: Option<PreviousPepper>,
    ) -> Admission {
        observe::record_on_span(&principal);
        let mut actions = ResponseActions::default();
        #[cfg(feature = "limits")]
        if let Err(unpaid) = self.charge(&mut principal, &mut actions.admitted) {
            return Admission::of_unpaid(unpaid, principal, outdated);
        }
        let without_others = self.checker.others(request).map(|others| self.checker.reader.without(&others));
        let reader = without_others.as_ref().unwrap_or(&self.checker.reader);
        let protocol = reader.take_protocol(request.headers_mut());
        let expiry = if self.expiry_header.is_some() { self.checker.expiry(&principal) } else { None };
        let limited = self.limited(&principal);
        let has_headers = protocol.is_some() || expiry.is_some() || limited.is_some();
        if self.hide_credentials {
            hide_credentials(reader, request);
        }
        if let Some(header) = &self.forward_identity {
            header.set(request.headers_mut(), Some(principal.id()));
        }
        actions.decision = self.is_observed().then(|| Decision::accepted(&principal, outdated));
        actions.audience = Audience::Principal;
        actions.scheme = Some(principal.interned_scheme());
        actions.headers = has_headers.then(|| Box::new(HeadersToAdd { protocol, expiry, limited }));
        let verdict = self.after_verify.check(&principal, request);
        CallerIdentity::set_principal(request.extensions_mut(), principal);
        match verdict {
            Verdict::Pass => Admission::Pass(actions),
            verdict @ (Verdict::Reject(_) | Verdict::Wait(_)) => Admission::Held(Box::new(Held { actions, verdict })),
        }
    }

    /// Returns the decision to emit if the client disconnects during the lookup.
    pub(super) fn abandoned(&self, presented: &PendingCredential) -> Option<Decision> {
        self.is_observed().then(|| Decision::abandoned(presented.scheme))
    }

    /// Returns what is to be done if the client disconnects while the limits of its key wait.
    #[cfg_attr(not(feature = "limits"), expect(unused_variables, clippy::unused_self))]
    pub(super) fn while_waiting(&self, admission: &Admission) -> ResponseActions {
        #[cfg(feature = "limits")]
        if let Admission::Unpaid(unpaid) = admission {
            let Accepted { principal, outdated } = &unpaid.0;
            let decision = self.is_observed().then(|| Decision::accepted(principal, *outdated).abandoned_by_caller());
            return ResponseActions { decision, ..ResponseActions::default() };
        }
        ResponseActions::default()
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

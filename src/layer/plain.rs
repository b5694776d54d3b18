//! The requests of a layer in which an accepted key has few effects: its limits are charged, the
//! request gets the principal, and the response gets its cache headers. Most layers are so.

use http::{Request, Response};

#[cfg(feature = "limits")]
use super::admit::Admission;
use super::{
    admit::{Audience, Authenticator, Progress, ResponseActions},
    observation::Observation,
    report::Report,
    sharded_arc::ArcShard,
};
#[cfg(feature = "limits")]
use crate::limit::Admitted;
use crate::{
    body::ResponseBody,
    observe,
    principal::{CallerIdentity, Principal},
    rejection::{Rejection, ResponseProtocol},
    scheme::Scheme,
};

/// An accepted key, until the response.
pub(super) struct PlainAdmission {
    scheme: &'static Scheme,
    /// What the limits of the key were charged.
    #[cfg(feature = "limits")]
    admitted: Option<Admitted>,
}

/// Sets the headers of the response. It is smaller than a [`Report`].
pub(super) struct PlainReport {
    authenticator: ArcShard<Authenticator>,
    protocol: ResponseProtocol,
    admission: PlainAdmission,
}

impl Authenticator {
    /// Does what [`Authenticator::accept`] does in a layer that accepts keys plainly.
    #[cfg_attr(not(feature = "limits"), expect(clippy::unused_self))]
    #[inline]
    pub(super) fn accept_plainly<B>(&self, request: &mut Request<B>, principal: Principal) -> Progress {
        observe::record_on_span(&principal);
        let admission = PlainAdmission {
            scheme: principal.interned_scheme(),
            #[cfg(feature = "limits")]
            admitted: None,
        };
        #[cfg(feature = "limits")]
        if self.limits.is_some() {
            return self.charge_plainly(request, principal, admission);
        }
        CallerIdentity::set_principal(request.extensions_mut(), principal);
        Progress::Plain(admission)
    }

    #[cfg(feature = "limits")]
    #[inline(never)]
    fn charge_plainly<B>(
        &self,
        request: &mut Request<B>,
        mut principal: Principal,
        mut admission: PlainAdmission,
    ) -> Progress {
        if let Err(unpaid) = self.charge(&mut principal, &mut admission.admitted) {
            return Progress::Done(Admission::of_unpaid(unpaid, principal, None));
        }
        CallerIdentity::set_principal(request.extensions_mut(), principal);
        Progress::Plain(admission)
    }

    /// Returns whether [`Authenticator::accept`] would do nothing but set the principal.
    ///
    /// It names every field, so that a new setting has to be decided here.
    pub(super) fn accepts_plainly(&self) -> bool {
        let Self {
            checker,
            after_verify,
            hide_credentials,
            forward_identity,
            expiry_header,
            #[cfg(feature = "limits")]
            rate_limit_fields,
            observers,
            is_watched,
            // Read before a key is accepted, or for a rejection.
            tls: _,
            optional: _,
            serves_grpc: _,
            pass_preflight: _,
            skip: _,
            renderer: _,
            #[cfg(feature = "limits")]
                failures: _,
            // [`Authenticator::accept_plainly`] reads these too.
            #[cfg(feature = "limits")]
                limits: _,
            is_plain: _,
        } = self;
        #[cfg(feature = "limits")]
        let adds_limits = matches!(rate_limit_fields, crate::limit::RateLimitFields::Always(_));
        #[cfg(not(feature = "limits"))]
        let adds_limits = false;
        let adds_headers = adds_limits || expiry_header.is_some();
        let changes_request = *hide_credentials || forward_identity.is_some() || checker.reader.takes_protocols();
        let is_reported = *is_watched || !observers.is_empty();
        after_verify.is_empty() && !changes_request && !is_reported && !adds_headers
    }
}

impl PlainReport {
    #[inline]
    pub(super) fn new(
        authenticator: ArcShard<Authenticator>,
        protocol: ResponseProtocol,
        admission: PlainAdmission,
    ) -> Self {
        Self { authenticator, protocol, admission }
    }

    /// Sets the cache headers of the response, or renders the rejection of a guard, an extractor or
    /// a handler.
    #[inline]
    pub(super) fn conclude<B>(&mut self, mut response: Response<B>) -> Response<ResponseBody<B>> {
        if response.extensions().get::<Rejection>().is_some() {
            return self.report().conclude(response);
        }
        self.authenticator.set_cache_headers(Audience::Principal, self.protocol, &mut response);
        #[cfg(feature = "limits")]
        let held = self.admission.admitted.as_ref().and_then(|admitted| Some(admitted.permit()?.held()));
        #[cfg(not(feature = "limits"))]
        let held = None;
        response.map(|body| ResponseBody::inner(body, held))
    }

    #[cold]
    fn report(&mut self) -> Report {
        let actions = ResponseActions {
            audience: Audience::Principal,
            scheme: Some(self.admission.scheme),
            #[cfg(feature = "limits")]
            admitted: self.admission.admitted.take(),
            ..ResponseActions::default()
        };
        Report::new(self.authenticator.clone(), self.protocol, Observation::default(), actions)
    }
}

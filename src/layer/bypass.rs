//! The requests that pass without a key: preflights, skipped paths, and those of an optional layer.

use http::{
    Method, Request,
    header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN},
};

use super::admit::{Audience, Authenticator, ResponseActions};
use crate::{
    observe::{Decision, Outcome},
    path::Readings,
    principal::{CallerIdentity, Unauthenticated},
    rejection::Reason,
    scheme::Diagnosis,
};

impl Authenticator {
    /// Returns the mark and the outcome of a request that needs no key.
    pub(super) fn bypass<B>(&self, request: &Request<B>) -> Option<(Unauthenticated, Outcome)> {
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

    /// Admits a request without a key for this layer. The principal of an outer layer stays.
    pub(super) fn pass_anonymous<B>(
        &self,
        request: &mut Request<B>,
        unread: Option<(Reason, Diagnosis)>,
    ) -> ResponseActions {
        let kept = CallerIdentity::keep_or_set_anonymous(request.extensions_mut());
        let keeps_outer = kept.is_some();
        if let Some(header) = &self.forward_identity {
            let id = kept.map(|principal| principal.id().clone());
            header.set(request.headers_mut(), id.as_ref());
        }
        ResponseActions {
            decision: self.is_observed().then(|| Decision::of(Outcome::Anonymous)),
            audience: Audience::Anonymous,
            keeps_outer,
            unread,
            ..ResponseActions::default()
        }
    }

    /// Admits a request without reading its credentials.
    pub(super) fn pass_bypassed<B>(
        &self,
        request: &mut Request<B>,
        mark: Unauthenticated,
        outcome: Outcome,
    ) -> ResponseActions {
        self.checker.reader.mark_sensitive(request.headers_mut());
        CallerIdentity::set_unauthenticated(request.extensions_mut(), mark);
        if let Some(header) = &self.forward_identity {
            header.set(request.headers_mut(), None);
        }
        let decision = self.is_observed().then(|| Decision::of(outcome));
        ResponseActions { decision, ..ResponseActions::default() }
    }
}

/// Returns whether this is a CORS preflight of the Fetch standard. Other `OPTIONS` requests need a
/// key.
fn is_preflight<B>(request: &Request<B>) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(ORIGIN)
        && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}
